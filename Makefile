# The whole developer interface: make setup | run | check | test | bench | docs | report.
# Needs Python >= 3.11 with venv, and make; everything else goes into .venv.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq -c constraints.txt
export OMP_NUM_THREADS ?= 2
# As uadbench sets it for runs; here also for tests that load torch first.
export OMP_WAIT_POLICY ?= PASSIVE
# Processes of the tests; 0 runs them in one process, in order.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: setup run check test slow gpu-test bench docs report help
.DEFAULT_GOAL := help

help:
	@echo "make setup   environment in .venv with everything that development needs"
	@echo "make run     the main job: synomaly on the embedded carotid phantom"
	@echo "make check   format, lint, types, import contracts, layout"
	@echo "make test    all tests that are not slow"
	@echo "make slow    the slow tests"
	@echo "make bench   measurements (benchmarks/)"
	@echo "make docs    documentation, built strictly into site/docs"
	@echo "make report  leaderboard/ from its records, and site/"

# A stamp says what was installed: a target that is up to date installs nothing again.
.venv/.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "uadbench needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -d uadbench/methods/ || \
		{ echo "uadbench/methods is no link to methods/: this clone was made without symbolic links."; \
		  echo "Run: git config core.symlinks true && git checkout -- uadbench"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing uadbench into .venv (once; some minutes)"
	@$(PIP) -e '.[dev]'
	@touch $@

# Some tests read medical files.
.venv/.stamp-medical: .venv/.stamp
	@$(PIP) -e '.[dev,medical]'
	@touch $@

# The slow tests run a Ray cluster, SLURM's local executor and a study's dashboard.
.venv/.stamp-cluster: .venv/.stamp-medical
	@$(PIP) -e '.[dev,medical,cluster,dashboard]'
	@touch $@

setup: .venv/.stamp-cluster

run: .venv/.stamp
	$(BIN)/python -m uadbench run --method synomaly --dataset carotid_us

check: .venv/.stamp-cluster
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/python tools/import_contracts.py
	$(BIN)/lint-imports --config .importlinter --no-logo
	$(BIN)/python tools/layout.py

test: .venv/.stamp-medical
	$(PYTEST) -m 'not slow and not gpu' $(PYTEST_ARGS)

slow: .venv/.stamp-cluster
	$(PYTEST) -m 'slow and not gpu' $(PYTEST_ARGS)

# On a machine with CUDA; skipped with a reason elsewhere.
gpu-test: .venv/.stamp
	$(BIN)/python -m pytest -m gpu -rs tests $(PYTEST_ARGS)

# On idle cores.
bench: .venv/.stamp-medical
	$(BIN)/python -m pytest benchmarks --benchmark-only $(PYTEST_ARGS)

docs: .venv/.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

report: .venv/.stamp
	$(BIN)/python -m uadbench report
	$(BIN)/python -m tools.findings
