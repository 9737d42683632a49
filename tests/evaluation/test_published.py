"""Published numbers beside ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from uadbench.core.errors import DataError
from uadbench.core.record import DatasetPart, Environment, MethodPart, Metric, ProtocolPart, Record
from uadbench.evaluation.published import Comparison, compare_published, load_published

FILE = Path(__file__).parents[2] / "leaderboard" / "published.yaml"
LEDGER = load_published(FILE)


def record(seed: int = 0, *, method: str = "ddpm", source: str = "real", dice: float = 0.3, **config: object) -> Record:
    data = DatasetPart.model_validate(
        {"name": "brain_mri", "version": "1", "recipe": "strict", "fingerprint": "f", "source": source}
    )
    keys = {"dice@val": dice, "dice@oracle": dice + 0.1, "dice@healthy-fpr@0.01": dice - 0.1, "case_ap": 0.2}
    return Record(
        id=f"{method}{source}{seed}",
        seed=seed,
        created="",
        status="done",
        method=MethodPart(
            name=method, label=method, version="1", supervision="healthy", preset="standard", config=dict(config)
        ),
        dataset=data,
        protocol=ProtocolPart(name="strict-v1", version="1", hash="h"),
        metrics={key: Metric(value=value, n_patients=20) for key, value in keys.items()},
        env=Environment(commit="c", dirty=False, device="cpu", precision="fp32", versions={}),
    )


def find(found: list[Comparison], method: str, cohort: str, metric: str) -> Comparison:
    return next(c for c in found if (c.method, c.cohort, c.metric) == (method, cohort, metric))


def test_the_ledger_holds_the_numbers_with_source_and_protocol() -> None:
    found = compare_published(LEDGER, [], {})
    assert len(found) > 80
    assert {c.state for c in found} == {"no record"}
    assert find(found, "ddpm", "mslub", "dice").published == 0.064
    assert find(found, "synomaly[sigma=7]", "in-house", "dice").published == 0.7305
    assert find(found, "patchcore", "brats21", "pixel_auroc").published == 0.97
    assert all("confirmed" in c.source.standing for c in found if c.method.startswith("synomaly"))
    assert find(found, "synomaly[sigma=3]", "lits", "dice").measured.threshold == "test"


def test_real_data_of_the_same_cohort_are_compared_by_the_same_kind_of_threshold() -> None:
    records = [record(seed, dice=0.2 + 0.1 * seed) for seed in range(3)]
    found = compare_published(LEDGER, records, {records[0].id: ["mslub"]})
    dice = find(found, "ddpm", "mslub", "dice")
    assert (dice.state, dice.key) == ("compared", "dice@val")
    assert dice.ours == pytest.approx(0.3)
    assert dice.honest == pytest.approx(0.2)
    assert dice.gap == pytest.approx(0.3 - 0.064)
    assert len(dice.records) == 3
    words = [cause.what for cause in dice.causes]
    assert any("trained on ixi; here on brain_mri" in word for word in words)
    assert any("preset standard" in word for word in words)
    assert find(found, "ddpm", "mslub", "ap").key == "case_ap"
    assert find(found, "ddpm", "brats21", "dice").state == "other data"
    assert find(found, "vae", "mslub", "dice").state == "no record"


def test_what_is_no_real_data_of_that_cohort_is_never_compared() -> None:
    phantom, unknown = record(source="phantom"), record()
    for each, cohorts, words in (
        (phantom, {phantom.id: ["mslub"]}, "a phantom"),
        (unknown, {}, "not known"),
        (unknown, {unknown.id: ["atlas"]}, "atlas"),
    ):
        found = find(compare_published(LEDGER, [each], cohorts), "ddpm", "mslub", "dice")
        assert (found.state, found.ours, found.gap) == ("other data", None, None)
        assert words in found.causes[0].what


def test_settings_must_be_those_of_the_row_and_causes_are_measured_where_gaps_are_known() -> None:
    ours = record(method="synomaly", sigma=3, stages=5, image_size=64)
    step = {"choice": "slice pool", "dice": 0.5, "ap": 0.5, "alone": {"dice": 0.07, "ap": 0.01}}
    found = compare_published(LEDGER, [ours], {ours.id: ["brats23"]}, {ours.id: {"protocol_gap": {"steps": [step]}}})
    same = find(found, "synomaly[sigma=3]", "brats23", "dice")
    assert (same.state, same.key, same.ours) == ("compared", "dice@oracle", pytest.approx(0.4))
    sizes = {cause.what: cause.size for cause in same.causes}
    assert sizes["averaged over slices; here over patients"] == 0.07
    assert "128 pixels; here 64" in sizes
    assert "slices with lesions only; here whole cases" in sizes
    assert find(found, "synomaly[sigma=7]", "brats23", "dice").state == "no record"


def test_a_seed_without_a_value_leaves_no_mean() -> None:
    broken = record(1).model_copy(update={"metrics": {}})
    found = compare_published(LEDGER, [record(0), broken], {record(0).id: ["mslub"]})
    assert find(found, "ddpm", "mslub", "dice").ours is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0.197, 0.203", "19.7, 20.3", "fractions"),
        ("0.197, 0.203", "0.197", "1 values"),
        ("source: iqa-2024", "source: nobody", "unknown source"),
        ("metrics: [dice, ap]", "metrics: [dice, f1]", "dice"),
        ('version: "1"', "version: !!python/object:os.system 1", "cannot be read"),
    ],
)
def test_a_malformed_ledger_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = FILE.read_text()
    assert old in text
    (tmp_path / "published.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=words):
        load_published(tmp_path / "published.yaml")
    with pytest.raises(DataError, match="is missing"):
        load_published(tmp_path / "none.yaml")
