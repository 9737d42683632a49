"""Suite files: methods x datasets x seeds x variants, read without torch and data."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice, product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from uadbench.core.catalog import DATASETS, METHODS, config_type
from uadbench.core.config import PRESET_NAMES, is_result
from uadbench.core.errors import UnknownName, UserError
from uadbench.core.experiments import experiment_names
from uadbench.core.job import Seed, method_label
from uadbench.core.reading import read_yaml
from uadbench.core.record import stable_hash

MAX_JOBS = 5000  # maximum number of jobs of a suite including its includes
MAX_INCLUDED = 5  # maximum depth of includes
NAME = r"^[a-z0-9][a-z0-9_-]*$"
SEE = "See experiments/suites/smoke.yaml."


class Suite(BaseModel):
    """Contents of a suite file.

    A suffix distinguishes two folders (cohorts) of the same dataset: ``brain_mri@mslub``.

    Attributes:
        name: Name of the suite.
        include: Other suites in the same folder, by name, whose jobs are added to this one.
        preset: Preset of every method.
        protocol: Rules of scoring.
        seeds: Training seeds.
        methods: Registry names.
        datasets: Registry names, optionally with a suffix; their phantoms are used unless ``sources`` lists a folder.
        sources: Prepared folder of a dataset.
        test_on: Test datasets of a training dataset, if not itself.
        variants: Additional rows of a method, each a set of config values.
        folds: Number of folds of a dataset whose source is a folder of folds: every job runs once per fold, and the
            cases of all folds form one record.
        plain: Whether a method with variants also runs without one.
        tuned: Whether the committed tuned settings are used (experiments/tuned); jobs that have none are skipped.
        included: The suites in ``include``, filled in by ``load_suite``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME, max_length=80)
    include: list[Annotated[str, Field(pattern=NAME)]] = Field(default_factory=list[str], max_length=20)
    preset: str = "quick"
    protocol: str = "strict-v1"
    seeds: list[Seed] = Field(default_factory=list[int], max_length=1000)
    methods: list[str] = Field(default_factory=list[str])
    datasets: list[str] = Field(default_factory=list[str])
    sources: dict[str, str] = Field(default_factory=dict[str, str])
    test_on: dict[str, list[str]] = Field(default_factory=dict[str, list[str]])
    folds: dict[str, int] = Field(default_factory=dict[str, int])
    variants: dict[str, list[dict[str, Any]]] = Field(default_factory=dict[str, list[dict[str, Any]]])
    plain: bool = True
    tuned: bool = False
    included: tuple[Suite, ...] = Field(default=(), exclude=True)

    @property
    def exports(self) -> bool:
        """Whether records are exported: those of preset smoke are not results."""
        return any(is_result(row.preset) for row in rows(self))


class Row(BaseModel):
    """One job of a suite before its data are open.

    Attributes:
        method: Registry name.
        dataset: Data to train on, as named in the suite.
        source: "phantom" or a prepared folder.
        test_on: Data to test on, if different.
        test_source: Their source.
        seed: Training seed.
        preset: Preset of the method.
        protocol: Rules of scoring.
        tuned: Whether the committed tuned settings are used.
        fold: Number of the fold, 0 without folds.
        overrides: Config values of the variant.
    """

    model_config = ConfigDict(frozen=True)

    method: str
    dataset: str
    source: str = "phantom"
    test_on: str | None = None
    test_source: str = "phantom"
    seed: Seed
    preset: str
    protocol: str
    tuned: bool = False
    fold: int = 0
    overrides: dict[str, Any]

    @cached_property
    def label(self) -> str:
        """The method with its variant, e.g. ``ddpm[noise=coarse]``."""
        kind = config_type(self.method)
        plain, varied = kind.resolve(self.preset), kind.resolve(self.preset, None, self.overrides)
        values = plain.model_dump(mode="json"), varied.model_dump(mode="json")
        return method_label(self.method, *values, tuned=self.tuned)

    @property
    def data(self) -> str:
        """Readable name of the data: ``train`` or ``train -> test``, and the fold."""
        if self.fold:
            return f"{self.dataset}, fold {self.fold}"
        return f"{self.dataset} -> {self.test_on}" if self.test_on else self.dataset

    @cached_property
    def key(self) -> str:
        """Hash of everything that defines the row, with the config resolved."""
        config = config_type(self.method).resolve(self.preset, None, self.overrides)
        return stable_hash([self.model_dump(exclude={"overrides"}), config.model_dump(mode="json")])


def load_suite(path: Path) -> Suite:
    """Reads a suite with its includes and checks every name in it.

    Raises:
        UserError: If a file is missing or malformed, suites include each other in a circle, a name is unknown, a value
            is not allowed, or a job occurs twice.
    """
    suite = _read(path, ())
    seen = set[str]()
    if sum(1 for _ in islice(rows(suite), MAX_JOBS + 1)) > MAX_JOBS:
        raise UserError(f"{path} holds more than {MAX_JOBS} jobs.", "Divide it into several suites.")
    for row in rows(suite):
        # A variant that gives a value of the preset may still differ from the plain row, where another is published.
        key = stable_hash(row.model_dump(mode="json"))
        if key in seen:
            raise UserError(
                f"{path}: {row.label} on {row.data} with seed {row.seed} occurs twice.", "Remove one of them."
            )
        seen.add(key)
    if not seen:
        raise UserError(f"{path} contains no jobs.", "Add methods, datasets and seeds, or include a suite.")
    return suite


def rows(suite: Suite) -> Iterator[Row]:
    """Yields the rows seed by seed, so that a suite stopped early has complete seeds."""
    for inner in suite.included:
        yield from rows(inner)
    for seed, dataset, method in product(suite.seeds, suite.datasets, suite.methods):
        variants = suite.variants.get(method, [])
        folds = range(1, suite.folds[dataset] + 1) if dataset in suite.folds else range(1)
        chosen = [{}, *variants] if suite.plain or not variants else variants
        for test in suite.test_on.get(dataset, [dataset]):
            for values, fold in product(chosen, folds):
                source = suite.sources.get(dataset, "phantom")
                yield Row(
                    method=method,
                    dataset=dataset,
                    source=f"{source}/fold-{fold}" if fold else source,
                    fold=fold,
                    test_on=None if test == dataset else test,
                    test_source=suite.sources.get(test, "phantom"),
                    seed=seed,
                    preset=suite.preset,
                    protocol=suite.protocol,
                    tuned=suite.tuned,
                    overrides=values,
                )


def registered(dataset: str) -> str:
    """Returns the registry name of a dataset in a suite: the part before ``@``."""
    return dataset.partition("@")[0]


def _read(path: Path, within: tuple[Path, ...]) -> Suite:
    here = path.resolve()
    if here in within:
        circle = " -> ".join(each.stem for each in [*within[within.index(here) :], here])
        raise UserError(f"Suites include each other in a circle: {circle}.", "Remove one include.")
    if not path.exists():
        known = ", ".join(experiment_names("suites"))
        raise UserError(f"There is no suite {path}.", f"Those in experiments/suites: {known}.")
    if len(within) > MAX_INCLUDED:
        raise UserError(f"{path} is included {len(within)} suites deep.", f"Include at most {MAX_INCLUDED} deep.")
    try:
        suite = Suite.model_validate(read_yaml(path, SEE))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path} is not a suite: {where}: {first['msg']}.", SEE) from error
    if suite.included:
        raise UserError(f"{path} is not a suite: unknown key 'included'.", "Write include: [NAME].")
    _check(suite, path)
    inner = tuple(_read(path.with_name(f"{name}.yaml"), (*within, here)) for name in suite.include)
    return suite.model_copy(update={"included": inner})


def _check(suite: Suite, path: Path) -> None:
    if suite.preset not in PRESET_NAMES:
        raise UnknownName("preset", suite.preset, PRESET_NAMES)
    if suite.protocol not in experiment_names("protocols"):
        raise UnknownName("protocol", suite.protocol, experiment_names("protocols"))
    tests = [name for names in suite.test_on.values() for name in names]
    for kind, known, names in (
        ("method", METHODS.names(), suite.methods),
        ("dataset", DATASETS.names(), [registered(name) for name in [*suite.datasets, *tests]]),
        ("dataset of sources", [*suite.datasets, *tests], suite.sources),
        ("dataset of folds", [name for name in suite.datasets if name in suite.sources], suite.folds),
        ("dataset of test_on", suite.datasets, suite.test_on),
        ("method of variants", suite.methods, suite.variants),
    ):
        for name in names:
            if name not in known:
                raise UnknownName(kind, name, known)
    for name in suite.methods:
        for values in [{}, *suite.variants.get(name, [])]:
            config_type(name).resolve(suite.preset, None, values)
    if (suite.methods or suite.datasets) and not suite.seeds:
        raise UserError(f"{path} has no seeds.", "Write for example seeds: [0, 1, 2].")
