import io
import re
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from tests.support.stores import write_store
from uadbench.data.storage.store import Store
from uadbench.runner.execution.run import execute
from uadbench.runner.planning.plan import Plan, plan_run
from uadbench.runner.progress.bars import StageBar, TimeLeft, stage_bar
from uadbench.runner.progress.later_stages import prediction_share
from uadbench.runner.scoring.score_run import scored_parts


@pytest.mark.parametrize(
    ("later", "text"),
    [(None, "1:30 left"), (0.0, "1:30 left"), (0.5, "1:30, run 2:30 left"), (60.0, "1:30, run 2:01:30 left")],
)
def test_the_time_left_includes_the_later_stages(later: float | None, text: str) -> None:
    now = 0.0
    bars = Progress(console=Console(quiet=True), get_time=lambda: now)
    bar = StageBar(bars, "training", total=120, done=0, later=later)
    column, task = TimeLeft(), bars.tasks[0]
    assert column.render(task).plain == "-:--"
    for done in range(1, 31):
        now += 1.0
        bar.update(done, "")
    column.max_refresh = 0
    assert column.render(task).plain == text


def test_a_resumed_stage_counts_the_speed_of_its_new_steps_alone() -> None:
    now = 0.0
    bars = Progress(console=Console(quiet=True), get_time=lambda: now)
    bar = StageBar(bars, "training", total=120, done=100, later=0.5)
    for done in range(101, 111):
        now += 1.0
        bar.update(done, "")
    assert TimeLeft().render(bars.tasks[0]).plain == "0:10, run 1:10 left"


def test_a_bar_fits_one_line_of_a_narrow_terminal() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    with stage_bar(console, "1/3 training synomaly (denoiser)", 256, later=1.0) as bar:
        for done in range(1, 4):
            time.sleep(0.01)
            bar.update(done, "loss 0.01234")
    lines = [line for line in re.split(r"[\r\n]|\x1b\[[^m]*?[A-Za-z]", out.getvalue()) if line.strip()]
    assert "3/256 loss 0.01234" in lines[-1]
    assert re.search(r"run \d+:\d\d left", lines[-1])
    assert all(line.startswith("1/3 training synomaly (denoiser) ") and len(line) <= 80 for line in lines)


def _plan(store: Path, method: str = "autoencoder", **overrides: object) -> Plan:
    return plan_run(method=method, train=Store(store), preset="smoke", overrides=overrides)


def test_the_share_of_prediction_is_that_of_a_stored_run(tiny_store: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert prediction_share(_plan(tiny_store), [runs]) is None
    record, _, _ = execute(_plan(tiny_store), root=runs)
    assert record.cost is not None
    store = Store(tiny_store)
    images = sum(len(items) for _, items in scored_parts(store, store).values())
    expected = images * record.cost.predict_ms_per_image / 1000 / record.cost.train_s
    assert prediction_share(_plan(tiny_store), [runs]) == pytest.approx(expected)
    assert prediction_share(_plan(tiny_store, method="vae"), [runs]) is None
    other = _plan(write_store(tmp_path / "other", name="other", frames=1))
    share = prediction_share(other, [runs])
    assert share is not None
    assert share < expected, "fewer images take less time beside the same training"


def test_the_nearest_stored_run_is_taken_wherever_it_is_read(tiny_store: Path, tmp_path: Path) -> None:
    plain, variant, elsewhere = (
        _plan(tiny_store),
        _plan(tiny_store, width=8),
        _plan(write_store(tmp_path / "other", dataset="liver_ct", name="other", frames=1)),
    )
    roots = {name: tmp_path / name for name in ("plain", "variant", "elsewhere")}
    for plan, root in ((plain, "plain"), (variant, "variant"), (elsewhere, "elsewhere")):
        record, folder, _ = execute(plan, root=roots[root])
        assert record.cost is not None
        cost = record.cost.model_copy(update={"predict_ms_per_image": {"plain": 1.0, "variant": 2.0}.get(root, 4.0)})
        told = record.model_copy(update={"cost": cost.model_copy(update={"train_s": 1.0})})
        (folder / "record.json").write_text(told.model_dump_json())
    store = Store(tiny_store)
    images = sum(len(items) for _, items in scored_parts(store, store).values())
    found = [prediction_share(plan, roots.values()) for plan in (plain, variant)]
    assert found == pytest.approx([images / 1000, 2 * images / 1000])
    assert prediction_share(plain, reversed(roots.values())) == pytest.approx(images / 1000)
    assert prediction_share(plain, [roots["variant"], roots["elsewhere"]]) == pytest.approx(2 * images / 1000)
