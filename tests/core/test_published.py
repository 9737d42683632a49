"""Which published values apply to which data."""

from __future__ import annotations

import pytest

from uadbench.core.catalog import METHODS
from uadbench.core.config import PRESET_NAMES
from uadbench.core.published import NOTHING
from uadbench.methods.anoddpm.config import AnoDdpmConfig
from uadbench.methods.autoddpm.config import AutoDdpmConfig
from uadbench.methods.dae.config import DaeConfig
from uadbench.methods.ddpm.config import DdpmConfig
from uadbench.methods.synomaly.config import SynomalyConfig

NOISE = {
    "mr-brain-flair": (3.0, 175.0, 0.5, (1,)),
    "ct-liver": (3.0, 175.0, 1.0, (-1,)),
    "us-carotid": (7.0, 150.0, 0.5, (1,)),
}
INFERENCE = {
    "mr-brain-flair": (150, 5, 15, 0.2),
    "ct-liver": (150, 5, 5, 0.2),
    "us-carotid": (250, 5, 15, 0.3),
}
TRAINING = {"mr-brain-flair": (1e-5, 8, True), "ct-liver": (1e-4, 12, False), "us-carotid": (1e-5, 8, True)}


def resolved(preset: str, modality: str, polarity: int = 0, **overrides: object) -> SynomalyConfig:
    values = SynomalyConfig.published(preset, modality, polarity).values
    return SynomalyConfig.resolve(preset, overrides=overrides, published=values)


@pytest.mark.parametrize("modality", NOISE)
@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_noise_holds_in_every_preset_the_rest_where_training_is_long(preset: str, modality: str) -> None:
    config, plain = resolved(preset, modality), SynomalyConfig.resolve(preset)
    assert (config.sigma, config.threshold, config.offset, config.direction) == NOISE[modality]
    inference = (config.t, config.stages, config.map_k, config.tau)
    long = preset in ("standard", "paper")
    assert inference == (INFERENCE[modality] if long else (plain.t, plain.stages, plain.map_k, plain.tau))
    training = (config.lr, config.batch_size, config.flip_vertical)
    assert training == (TRAINING[modality] if preset == "paper" else (plain.lr, plain.batch_size, False))


def test_a_told_polarity_beats_the_published_sign() -> None:
    assert resolved("quick", "ct-liver", 1).direction is None  # then the method takes the polarity of the data
    assert resolved("quick", "ct-liver", -1).direction == (-1,)


@pytest.mark.parametrize(
    ("modality", "like"), [("mr", "mr-brain-flair"), ("mr-flair", "mr-brain-flair"), ("ct", "ct-liver")]
)
def test_an_untold_organ_takes_the_values_of_its_modality_but_no_sign(modality: str, like: str) -> None:
    config = resolved("quick", modality)
    assert (config.sigma, config.threshold, config.offset) == NOISE[like][:3]
    assert config.direction is None
    origin = SynomalyConfig.published("quick", modality, 0).origin
    assert like in origin
    assert f"taken for {modality}" in origin


def test_breast_takes_the_noise_of_carotid_and_its_own_sign() -> None:
    config = resolved("quick", "us-breast", -1)
    assert (config.sigma, config.threshold, config.direction) == (7.0, 150.0, None)


@pytest.mark.parametrize("modality", ["", "other", "mr-t1", "mr-brain-t1", "mr-t2"])
def test_where_nothing_was_published_nothing_is_taken(modality: str) -> None:
    assert SynomalyConfig.published("paper", modality, 1) == NOTHING
    assert DdpmConfig.published("paper", "us-carotid", 1) == NOTHING


def test_tuned_and_set_values_win() -> None:
    published = SynomalyConfig.published("quick", "us-carotid", 1).values
    config = SynomalyConfig.resolve("quick", {"sigma": 5.0, "offset": 0.25}, {"offset": 1.0}, published)
    assert (config.sigma, config.threshold, config.offset) == (5.0, 150.0, 1.0)


@pytest.mark.parametrize("name", ["dae", "anoddpm", "autoddpm"])
def test_published_values_are_those_of_the_method_s_own_paper_preset(name: str) -> None:
    kind = METHODS.load(name).config_type
    for row in kind.PUBLISHED:
        paper = kind.resolve("paper").model_dump()
        for part in (row.noise, row.inference, row.training):
            assert {key: paper[key] for key in part} == part
        assert set(row.inference) <= kind.INFERENCE
        assert not set(row.noise) & kind.INFERENCE


def test_each_method_takes_its_own_modality_alone() -> None:
    assert DaeConfig.published("quick", "mr-brain-flair", 1).values == {"noise_std": 0.4, "noise_cells": 16}
    assert DaeConfig.published("standard", "mr-brain-t1", 0).values["erode"] == 5
    assert "clip" not in DaeConfig.published("standard", "mr-brain-t1", 0).values
    assert DaeConfig.published("paper", "us-carotid", 1) == NOTHING
    assert DaeConfig.published("paper", "ct-liver", -1) == NOTHING
    assert AnoDdpmConfig.published("standard", "mr-brain-t1", 0).values["t"] == 250
    assert AnoDdpmConfig.published("paper", "mr-brain-flair", 1) == NOTHING
    assert AutoDdpmConfig.published("paper", "mr-brain-t1", 0).cohorts == {"atlas"}
