"""The report shows what choices are worth, and published numbers beside ours; strangers stay harmless."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.report_records import export, made_cases, make_record, scored
from uadbench.core.errors import DataError
from uadbench.evaluation.cases import CaseMaps
from uadbench.evaluation.protocol.protocol import load_protocol
from uadbench.evaluation.scoring.score import score
from uadbench.records.read import read_entries
from uadbench.report import build_report
from uadbench.report.figures.choices import draw_choices
from uadbench.report.tables.beside import published_groups, to_markdown
from uadbench.report.tables.tables import make_leaderboard
from uadbench.runner.scoring.score_run import gaps_of, ladder_of

LEDGER = Path(__file__).parents[2] / "leaderboard" / "published.yaml"
PROTOCOL = load_protocol("strict-v1")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def parts() -> dict[str, list[CaseMaps]]:
    return {"calib": made_cases(12, healthy=True), "synthetic": made_cases(12), "test": made_cases(24)}


@pytest.fixture(scope="module")
def choices(parts: dict[str, list[CaseMaps]]) -> dict[str, Any]:
    """What the scorer writes beside a record."""
    evaluation = score(PROTOCOL, parts["calib"], parts["test"])
    return {"ladder.json": ladder_of(PROTOCOL, parts, 0), "gaps.json": gaps_of(evaluation, parts, 0)}


def exported(folder: Path, parts: dict[str, list[CaseMaps]], extra: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Writes three seeds of one method with what lies beside them; returns the last record."""
    record: dict[str, Any] = {}
    for seed in range(3):
        record = make_record(seed=seed, **changes)
        files = scored(record, parts["calib"], parts["test"])
        files |= {name: content if isinstance(content, str) else json.dumps(content) for name, content in extra.items()}
        record["hashes"] = {name: digest(text) for name, text in files.items()}
        export(folder, record, files)
    return record


def test_figures_and_run_page_show_what_the_scorer_wrote(
    tmp_path: Path, parts: dict[str, list[CaseMaps]], choices: dict[str, Any]
) -> None:
    record = exported(tmp_path / "records", parts, choices)
    entries, refusals = read_entries([tmp_path / "records"])
    assert not refusals
    (arena,) = make_leaderboard(entries, []).arenas
    found = {d.title.split(",")[0]: d for d in draw_choices(arena, {entry.record.id: entry for entry in entries})}
    ladder = pd.read_csv(io.StringIO(found["Post-processing ladder"].csv))
    wanted = [step["test_dice"]["value"] for step in choices["ladder.json"]["steps"]]
    assert ladder["dice"].tolist() == pytest.approx(wanted, rel=1e-5)
    assert ladder["step"].tolist() == ["raw", "erosion", "smoothing", "components"]
    gap = pd.read_csv(io.StringIO(found["Effects of protocol choices"].csv))
    start, steps = choices["gaps.json"]["protocol_gap"]["start"], choices["gaps.json"]["protocol_gap"]["steps"]
    assert gap["ap"].tolist() == pytest.approx([start["ap"], *(step["ap"] for step in steps)], rel=1e-5)
    build_report(tmp_path / "records", None, tmp_path / "out")
    page = (tmp_path / "out" / "site" / "runs" / f"{record['id']}.html").read_text()
    assert "Post-processing ladder" in page
    assert f"{wanted[-1]:.3f}" in page
    assert f"{choices['gaps.json']['oracle_gap']['value']:+.3f}" in page
    assert "-0.000" not in page


def test_a_run_without_honest_threshold_has_neither(tmp_path: Path, parts: dict[str, list[CaseMaps]]) -> None:
    extra = {"ladder.json": None, "gaps.json": {"oracle_gap": None, "protocol_gap": None}}
    record = exported(tmp_path / "records", parts, extra)
    build_report(tmp_path / "records", None, tmp_path / "out")
    page = (tmp_path / "out" / "site" / "runs" / f"{record['id']}.html").read_text()
    assert "Post-processing ladder" not in page
    assert "Effects of the protocol" not in page


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("gaps.json", '{"oracle_gap": {"honest_rule": "a", "value": NaN}}'),
        ("gaps.json", '{"oracle_gap": {"honest_rule": "' + "a" * 1000 + '", "value": 0}}'),
        ("ladder.json", '{"tuned_on": "synthetic", "rule": "r", "steps": [{"step": "raw"}]}'),
        ("ladder.json", "[]"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, parts: dict[str, list[CaseMaps]], name: str, content: str) -> None:
    exported(tmp_path, parts, {name: content})
    entries, refusals = read_entries([tmp_path])
    assert not entries
    assert len(refusals) == 3


def test_choices_of_another_run_are_refused(
    tmp_path: Path, parts: dict[str, list[CaseMaps]], choices: dict[str, Any]
) -> None:
    exported(tmp_path, parts, choices)
    for file in tmp_path.rglob("*.gaps.json"):
        file.write_text("{}")
    _, refusals = read_entries([tmp_path])
    assert {refusal.reason for refusal in refusals} == {"its gaps.json does not have the hash in the record"}


def test_markup_in_them_is_shown_as_text(
    tmp_path: Path, parts: dict[str, list[CaseMaps]], choices: dict[str, Any]
) -> None:
    hostile = json.loads(json.dumps(choices).replace("threshold on test", "<script>=1</script>"))
    record = exported(tmp_path / "records", parts, hostile)
    build_report(tmp_path / "records", None, tmp_path / "out")
    page = (tmp_path / "out" / "site" / "runs" / f"{record['id']}.html").read_text()
    assert "<script>=1" not in page
    assert "&lt;script&gt;=1" in page


def test_real_data_of_the_cohort_are_compared_and_the_cause_has_its_size(
    tmp_path: Path, parts: dict[str, list[CaseMaps]], choices: dict[str, Any]
) -> None:
    real = {"name": "carotid_us", "version": "1", "recipe": "strict", "fingerprint": "f" * 64, "source": "real"}
    record = exported(tmp_path / "records", parts, choices, dataset=real, method__config={"sigma": 7})
    entries, _ = read_entries([tmp_path / "records"])
    named = [
        replace(entry, cases=entry.cases.assign(cohort="in-house")) for entry in entries if entry.cases is not None
    ]
    lines = [line for group in published_groups(LEDGER, named) for line in group.lines if line.ours]
    (line,) = lines
    assert (line.method, line.published) == ("synomaly[sigma=7]", "0.731")
    assert float(line.gap) == pytest.approx(float(line.ours) - 0.7305, abs=6e-4)
    assert record["id"] in line.records
    worth = next(s for s in choices["gaps.json"]["protocol_gap"]["steps"] if s["choice"] == "slice pool")
    assert f"({worth['alone']['dice']:+.3f} on our maps)" in line.why
    page = to_markdown(published_groups(LEDGER, named))
    assert f"| {line.ours} | {line.gap} |" in page


def test_the_page_lists_every_published_number_once(tmp_path: Path, parts: dict[str, list[CaseMaps]]) -> None:
    exported(tmp_path / "records", parts, {})
    build_report(tmp_path / "records", None, tmp_path / "out", published=LEDGER)
    site = (tmp_path / "out" / "site" / "published.html").read_text()
    text = (tmp_path / "out" / "leaderboard" / "published.md").read_text()
    numbers = sum(len(group.lines) for group in published_groups(LEDGER, []))
    assert numbers > 80
    assert site.count('<th scope="row">') == numbers
    assert "ours is a phantom" not in site  # the made records hold no sigma, so none of the rows is theirs
    assert text.count("no record of this method") == numbers
    assert "published.html" in (tmp_path / "out" / "site" / "index.html").read_text()


def test_a_missing_ledger_is_named(tmp_path: Path, parts: dict[str, list[CaseMaps]]) -> None:
    exported(tmp_path / "records", parts, {})
    with pytest.raises(DataError, match="absent"):
        build_report(tmp_path / "records", None, tmp_path / "out", published=tmp_path / "absent.yaml")
