from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from uadbench.core.catalog import METHODS
from uadbench.core.config import MethodConfig, parse_overrides
from uadbench.core.errors import UnknownName, UserError
from uadbench.core.job import method_label
from uadbench.core.registry import Registry
from uadbench.core.seeding import derive_seed


class ToyConfig(MethodConfig):
    PRESETS: ClassVar = {"quick": {"image_size": 64}}
    lr: float = Field(default=0.1, gt=0)


def test_order_is_defaults_preset_tuned_overrides() -> None:
    assert ToyConfig.resolve("paper").image_size == 128
    assert ToyConfig.resolve("quick").image_size == 64
    assert ToyConfig.resolve("quick", {"image_size": 32, "lr": 1}).image_size == 32
    assert ToyConfig.resolve("quick", {"image_size": 32}, {"image_size": 48}).image_size == 48


@pytest.mark.parametrize(
    ("preset", "overrides", "message"),
    [
        ("quik", {}, "Did you mean quick"),
        ("quick", {"lrr": 1}, "Did you mean lr"),
        ("quick", {"lr": -1}, "lr=-1 is not allowed"),
        ("quick", {"lr": "fast"}, "lr='fast' is not allowed"),
    ],
)
def test_bad_configs_name_the_key(preset: str, overrides: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ToyConfig.resolve(preset, None, overrides)


def test_overrides_are_yaml_scalars() -> None:
    assert parse_overrides(["t=200", "lr=1e-3", "noise=coarse", "direction=[1, -1]", "x=true"]) == {
        "t": 200,
        "lr": "1e-3",
        "noise": "coarse",
        "direction": [1, -1],
        "x": True,
    }
    # YAML 1.1 reads 1e-3 as text; the config's float field takes it all the same.
    assert ToyConfig.resolve("quick", None, parse_overrides(["lr=1e-3"])).lr == 1e-3
    with pytest.raises(UserError, match="key=value"):
        parse_overrides(["t"])


@given(st.lists(st.one_of(st.text(), st.integers()), min_size=1, max_size=4))
def test_seeds_depend_on_every_part(parts: list[str | int]) -> None:
    seed = derive_seed(*parts)
    assert 0 <= seed < 2**63
    assert seed == derive_seed(*parts)
    assert seed != derive_seed(*parts, "more")
    assert seed != derive_seed("first", *parts)


def test_a_number_and_its_text_give_different_seeds() -> None:
    assert derive_seed(1) != derive_seed("1")


def test_unknown_names_suggest_near_ones_and_duplicates_are_refused() -> None:
    with pytest.raises(UnknownName, match="Did you mean autoencoder"):
        METHODS.load("autoencodr")
    toys: Registry[type] = Registry("toy", "uadbench.toys")
    toys.register("one")(int)
    toys.register("one")(int)
    with pytest.raises(UserError, match="Two toys"):
        toys.register("one")(float)
    with pytest.raises(UserError, match="lower-case"):
        toys.register("../evil")


def test_labels_show_what_differs_from_the_preset_and_missing_pretraining() -> None:
    assert method_label("ddpm", {"noise": "gaussian", "t": 1}, {"noise": "coarse", "t": 1}) == "ddpm[noise=coarse]"
    assert method_label("synomaly", {"t": 1}, {"t": 1}) == "synomaly"
    assert method_label("patchcore", {"pretrained": False}, {"pretrained": False}) == "patchcore[pretrained=false]"
