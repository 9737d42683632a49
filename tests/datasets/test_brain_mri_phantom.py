"""The brain phantom: always the same, patient-wise, with lesions where the mask says, and checkable physics."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uadbench.core.roles import Role
from uadbench.data.preprocessing.normalise import robust_location
from uadbench.datasets.brain_mri import BrainMri, phantom
from uadbench.datasets.brain_mri.field import draw_field
from uadbench.datasets.brain_mri.signal import Scanner, Tissue, acquire, flair

EVERYONE = {patient.uid: patient for patient in phantom.patients()}
SCANNER = Scanner(tr=9000, te=95, ti=2475, snr=20, blur=0.4, gain=1)


def test_patients_have_one_role_and_the_test_has_enough() -> None:
    counts = Counter((patient.role, bool(patient.kind)) for patient in EVERYONE.values())
    assert len(EVERYONE) == sum(phantom.PARAMETERS["patients"].values()) == BrainMri.card.patients["phantom"]
    assert counts[Role.TEST, True] >= 30
    assert counts[Role.TEST, False] >= 10
    assert counts[Role.TRAIN, True] == counts[Role.CALIB, True] == 0
    assert {patient.kind for patient in EVERYONE.values()} == {"", "tumour", "ms"}


@pytest.mark.parametrize("uid", ["train-000", "test_lesion-002", "test_lesion-030"])
def test_a_volume(uid: str) -> None:
    patient = EVERYONE[uid]
    scan = phantom.simulate(patient)
    np.testing.assert_array_equal(scan.image, phantom.simulate(patient).image)
    assert (scan.image[~scan.body] == 0).all()
    assert not (scan.mask & ~scan.body).any()
    assert scan.mask.any() == bool(patient.kind)
    # between 80 and 210 cm2 of brain in every slice, 1.6 mm a pixel
    areas = scan.body.sum((1, 2)) * 1.6**2 / 100
    assert ((areas > 80) & (areas < 210)).all()
    level = robust_location(scan.image[scan.body])
    if patient.kind:
        # bright on average, and yet not everywhere brighter than all healthy tissue
        assert scan.image[scan.mask].mean() > 1.1 * level
        assert np.quantile(scan.image[scan.mask], 0.05) < np.quantile(scan.image[scan.body & ~scan.mask], 0.999)
    # fluid is dark
    assert np.quantile(scan.image[scan.body], 0.02) < 0.6 * level


def test_patients_differ() -> None:
    one, other = (phantom.simulate(EVERYONE[uid]) for uid in ("train-001", "train-002"))
    both = one.body & other.body
    assert np.corrcoef(one.image[both], other.image[both])[0, 1] < 0.7


def test_key_changes_with_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    before = BrainMri().phantom_key()
    assert before == BrainMri("t2").phantom_key()
    monkeypatch.setitem(phantom.PARAMETERS, "patients", {"train": 1})
    assert BrainMri().phantom_key() != before


@given(t1=st.floats(300, 5000), t2=st.floats(20, 2000))
def test_flair_grows_with_t2_and_nulls_fluid(t1: float, t2: float) -> None:
    signal = flair(Tissue(t1, t2, 0.8), SCANNER)
    assert 0 <= signal <= 0.8
    assert flair(Tissue(t1, 1.1 * t2, 0.8), SCANNER) >= signal
    assert flair(Tissue(4200, 900, 1.0), SCANNER) < 0.25 * flair(Tissue(860, 75, 0.7), SCANNER)


@settings(deadline=None, max_examples=10)
@given(level=st.floats(0.0, 5.0))
def test_noise_is_rician(level: float) -> None:
    """E[M^2] = A^2 + 2 sigma^2 (Gudbjartsson & Patz 1995)."""
    signal = np.full((4, 80, 80), level, np.float32)
    image = acquire(signal, 1.0, SCANNER, np.random.default_rng(0))
    assert (image.astype(float) ** 2).mean() == pytest.approx(level**2 + 2 / SCANNER.snr**2, rel=0.05)


def test_fields_have_their_scale() -> None:
    rng = np.random.default_rng(1)
    x = np.linspace(-90, 90, 2000)
    crossings = []
    for _ in range(12):
        field = draw_field(rng, 20)
        line = field.at(np.stack([x, 0 * x, 0 * x]).astype(np.float32))
        crossings.append((np.diff(np.sign(line)) != 0).sum())
    assert 180 / np.mean(crossings) == pytest.approx(0.9 * 20, rel=0.2)
