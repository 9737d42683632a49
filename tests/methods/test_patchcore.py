"""PatchCore: the coreset covers, planted squares stand out, the score follows equation 7."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from uadbench.core.errors import DataError
from uadbench.core.seeding import torch_generator
from uadbench.core.types import ImageBatch, ImageSpec
from uadbench.methods.patchcore.config import PatchCoreConfig
from uadbench.methods.patchcore.coreset import greedy_k_centre, project
from uadbench.methods.patchcore.method import PatchCore
from uadbench.testing.fakes import InMemoryBatches, LocalFitContext, image_generators
from uadbench.testing.images import synthetic_images

SPEC = ImageSpec(1, 32, 32)


@pytest.fixture(scope="module")
def fitted() -> PatchCore:
    healthy = InMemoryBatches(synthetic_images(20, SPEC), SPEC)
    method = PatchCore.build(PatchCoreConfig.resolve("smoke"), SPEC)
    method.fit(healthy, healthy, LocalFitContext())
    return method


def radius(points: torch.Tensor, centres: torch.Tensor) -> float:
    return float(torch.cdist(points, centres).amin(dim=1).max())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 12))
def test_coreset_is_within_twice_the_best_radius(seed: int, count: int) -> None:
    points = torch.randn(40, 3, generator=torch_generator(seed), dtype=torch.float64)
    chosen = greedy_k_centre(points, count, 0)
    assert len(chosen.unique()) == count
    if count < len(points):
        # The next greedy centre and those chosen are count + 1 points at least r apart: any choice of ``count``
        # centres puts two of them together and so has a radius of r / 2 or more.
        r = radius(points, points[chosen])
        more = greedy_k_centre(points, count + 1, 0)
        apart = torch.cdist(points[more], points[more]) + torch.diag(torch.full((count + 1,), math.inf))
        assert float(apart.min()) >= r - 1e-9


def test_coreset_covers_a_rare_cluster_that_random_choice_misses() -> None:
    crowd = 0.1 * torch.randn(990, 8, generator=torch_generator("crowd"))
    rare = 0.1 * torch.randn(10, 8, generator=torch_generator("rare")) + 5
    points = torch.cat([crowd, rare])
    assert (greedy_k_centre(points, 5, 0) >= 990).any()


def test_equal_points_are_chosen_once_each() -> None:
    assert greedy_k_centre(torch.ones(6, 2), 6, 3).sort().values.tolist() == list(range(6))


def test_projections_keep_distances() -> None:
    points = torch.randn(30, 500, generator=torch_generator("points"))
    ratio = torch.pdist(project(points, 128, torch_generator("project"))) / torch.pdist(points)
    assert 0.6 < float(ratio.min()) < float(ratio.max()) < 1.4
    assert project(points, None, torch_generator("project")) is points


def test_memory_has_the_wanted_size_and_comes_from_the_kept_images(fitted: PatchCore) -> None:
    patches = 16 * 8 * 8  # bank_images of smoke, on the grid of layer 1
    assert len(fitted.bank) == math.ceil(0.1 * patches)
    everything = fitted.features(synthetic_images(20, SPEC).images.image).flatten(0, 2)
    # batches of another size differ in the last digits
    assert float(torch.cdist(fitted.bank, everything).amin(dim=1).max()) < 1e-2


def test_memory_is_the_same_whether_patches_are_held_or_computed_again(
    fitted: PatchCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uadbench.methods.patchcore.method.HELD", 780_000)  # bytes: of the first batch, not of both
    again = PatchCore.build(PatchCoreConfig.resolve("smoke"), SPEC)
    healthy = InMemoryBatches(synthetic_images(20, SPEC), SPEC)
    again.fit(healthy, healthy, LocalFitContext())
    assert torch.equal(again.bank, fitted.bank)


def test_bright_square_stands_out(fitted: PatchCore) -> None:
    images = synthetic_images(8, SPEC, part="test").images
    image = images.image.clone()
    image[:, :, 12:20, 12:20] = 1.0
    planted = fitted.predict(ImageBatch(images.uid, image, images.body), image_generators(images))
    healthy = fitted.predict(images, image_generators(images))
    square, rest = planted.anomaly_map[..., 13:19, 13:19].mean(dim=(1, 2, 3)), planted.anomaly_map.mean(dim=(1, 2, 3))
    assert (square > 1.3 * rest).all()
    assert (square > healthy.anomaly_map[..., 13:19, 13:19].mean(dim=(1, 2, 3))).all()
    assert (planted.score > healthy.score).all()


def test_distances_equal_an_independent_search(fitted: PatchCore) -> None:
    images = synthetic_images(2, SPEC, part="test").images
    plain = PatchCore.build(PatchCoreConfig.resolve("smoke", overrides={"blur_sigma": 0.0}), SPEC)
    plain.load_state_dict(fitted.state_dict())
    patches = plain.features(images.image).flatten(0, 2)
    expected, _ = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(plain.bank.numpy()).kneighbors(patches.numpy())
    grid = torch.from_numpy(expected).float().view(2, 1, 8, 8)
    wanted = torch.nn.functional.interpolate(grid, size=(32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(plain.predict(images, []).anomaly_map, wanted, rtol=1e-3, atol=1e-3)


def test_score_is_weighted_as_in_equation_7() -> None:
    method = PatchCore.build(PatchCoreConfig.resolve("smoke", overrides={"neighbours": 3}), SPEC)
    # one row of the memory is the nearest, two are around it, one is far and outside its neighbourhood
    method.bank = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [50.0, 0.0]])
    features = torch.tensor([[[-2.0, 0.0]]])
    distance, score = method._score(features, torch.ones(1, 32, 32, dtype=torch.bool))  # pyright: ignore[reportPrivateUsage]
    exponentials = [math.exp(2), math.exp(3), math.exp(math.sqrt(5))]
    assert float(distance) == pytest.approx(2.0)
    assert float(score) == pytest.approx(2.0 * (1 - exponentials[0] / sum(exponentials)), rel=1e-5)


def test_score_ignores_what_is_outside_the_body(fitted: PatchCore) -> None:
    images = synthetic_images(2, SPEC, part="test").images
    image = images.image.clone()
    image[:, :, :4, :4] = 1.0
    body = torch.zeros_like(images.body)
    body[..., 24:, 24:] = True
    prediction = fitted.predict(ImageBatch(images.uid, image, body), [])
    assert (prediction.score < prediction.anomaly_map[..., :8, :8].amax(dim=(1, 2, 3))).all()


def test_memory_travels_with_the_state(fitted: PatchCore) -> None:
    other = PatchCore.build(PatchCoreConfig.resolve("smoke"), SPEC)
    other.load_state_dict(fitted.state_dict())
    images = synthetic_images(2, SPEC, part="test").images
    assert torch.equal(fitted.predict(images, []).anomaly_map, other.predict(images, []).anomaly_map)


def test_nan_images_are_refused() -> None:
    images = synthetic_images(3, SPEC)
    images.images.image[1, 0, 5, 5] = torch.nan
    train = InMemoryBatches(images, SPEC)
    with pytest.raises(DataError, match="not finite"):
        PatchCore.build(PatchCoreConfig.resolve("smoke"), SPEC).fit(train, train, LocalFitContext())


def test_paper_preset_has_the_papers_values() -> None:
    config = PatchCoreConfig.resolve("paper")
    assert (config.image_size, config.layers, config.coreset_fraction, config.blur_sigma) == (224, (2, 3), 0.1, 4.0)
    with torch.device("meta"):
        method = PatchCore.build(config, ImageSpec(1, 224, 224))
        assert method.features(torch.empty(1, 1, 224, 224)).shape == (1, 28, 28, 1024)
    for preset in ("smoke", "quick"):
        assert not PatchCoreConfig.resolve(preset).pretrained
