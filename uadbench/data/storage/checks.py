"""Checks of a prepared store: errors and warnings (docs/protocol.md).

Near-duplicates across roles are refused. A perceptual hash alone flags many innocent neighbouring slices, so it only
proposes pairs; the correlation over body pixels decides. Problems that only weaken a result are returned as warnings:
labels predictable from body area, and healthy test patients whose images differ from those of train and calib.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.stats import rankdata

from uadbench.core.errors import DataError
from uadbench.core.roles import Role
from uadbench.data.storage.batches import resize_image, resize_mask
from uadbench.data.storage.store import Item, Store

HASH_SIDE = 8  # the perceptual hash keeps 8 x 8 low frequencies
HASH_DISTANCE = 8  # bits of 63 by which near-duplicates may differ: a proposal, so generous
NEAREST = 3  # candidates per item: a duplicate is among the nearest, and the work remains linear
BLOCK = 2048  # items compared at once
DUPLICATE = 0.99  # docs/protocol.md: a correlation above this on body pixels decides
FAR = 0.2  # distance of a control's AUROC from 0.5 that is worth a warning
CHANCE_SDS = 2.5  # and the number of standard deviations by which it must exceed chance
FEWEST = 5  # patients per group below which a control is meaningless
OUTSIDE = 0.01  # tolerated share of lesion pixels outside the body
SIDE = 64  # grid on which images of different shapes are compared


LISTED = 10  # pairs listed in a message before it only counts the rest


@dataclass(frozen=True, slots=True)
class Pair:
    """Two nearly equal images of different patients, and their correlation over the body."""

    one: Item
    other: Item
    value: float

    @property
    def leaks(self) -> bool:
        """Whether their roles differ."""
        return self.one.role != self.other.role


def near_duplicates(store: Store, *, within: bool = False) -> list[Pair]:
    """Returns all pairs of nearly equal images in different roles, equal ones included.

    Args:
        store: The store.
        within: Whether pairs of different patients in one role are returned too.
    """
    found: dict[tuple[str, str], Pair] = {}
    first: dict[str, Item] = {}
    for item in store.items:
        other = first.setdefault(item.sha256, item)
        if other.patient != item.patient and (within or other.role != item.role):
            found[other.uid, item.uid] = Pair(other, item, 1.0)
    for one, other in alike_across_roles(store, within=within):
        key = (one.uid, other.uid)
        if key not in found and key[::-1] not in found and (value := body_correlation(store, one, other)) > DUPLICATE:
            found[key] = Pair(one, other, value)
    return sorted(found.values(), key=lambda pair: (-pair.value, pair.one.uid, pair.other.uid))


def duplicates_error(pairs: Sequence[Pair], name: Callable[[str], str]) -> DataError:
    """Returns the error that lists near-duplicates in different roles as a table.

    Args:
        pairs: The pairs.
        name: File of an item, by its uid.
    """
    rows = [(f"{name(p.one.uid)} ({p.one.role})", f"{name(p.other.uid)} ({p.other.role})", p.value) for p in pairs]
    wide = [max(len(names[k]) for *names, _ in rows[:LISTED]) for k in (0, 1)]
    lines = [f"  {one:<{wide[0]}}  {other:<{wide[1]}}  r = {value:.3f}" for one, other, value in rows[:LISTED]]
    if len(rows) > LISTED:
        lines.append(f"  and {len(rows) - LISTED} more pairs")
    what = "pair of images is a near-duplicate" if len(rows) == 1 else "pairs of images are near-duplicates"
    return DataError(
        "\n".join([f"{len(rows)} {what} across roles:", *lines]),
        "\nRemove one of each pair, or give both the same patient.",
    )


def check_store(
    store: Store, published: Mapping[str, int] | None = None, name: Callable[[str], str] = str
) -> list[str]:
    """Checks a newly prepared store.

    Args:
        store: The store.
        published: Patients of each cohort according to the dataset's card.
        name: File of an item by its uid, for messages.

    Returns:
        Warnings, one line each.

    Raises:
        DataError: If two roles share an image (exactly or nearly), or lesions are outside the body.
    """
    pairs = near_duplicates(store)
    if pairs:
        raise duplicates_error(pairs, name)
    _refuse_lesions_outside(store, name)
    counted = [f"{count}." for count in count_patients(store, published or {}) if count.found != count.published]
    return [*counted, *_same_images(store, name), *_area_control(store), *_healthy_control(store)]


@dataclass(frozen=True, slots=True)
class Count:
    """Patients of a cohort in a store and in the dataset's card."""

    cohort: str
    found: int
    published: int

    def __str__(self) -> str:
        """Returns a readable line."""
        more = ": more than published, so a patient may have two names" if self.found > self.published else ""
        return f"{self.cohort}: {self.found} of {self.published} patients{more}"


def count_patients(store: Store, published: Mapping[str, int]) -> list[Count]:
    """Returns the patient count of each cohort that is in the card."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for item in store.items:
        found[item.cohort].add(item.patient)
    return [Count(name, len(found[name]), published[name]) for name in sorted(found.keys() & published.keys())]


def perceptual_hash(image: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Returns 63 bits: which low frequencies of the cosine transform exceed their median.

    The mean intensity is omitted, so that brightness and gain do not affect the hash.

    Args:
        image: Intensities, (c, h, w); channels are averaged.
    """
    small = resize_image(image.mean(0, keepdims=True), (4 * HASH_SIDE, 4 * HASH_SIDE))[0, 0].numpy()
    low = dctn(small.astype(np.float64), norm="ortho")[:HASH_SIDE, :HASH_SIDE].ravel()[1:]
    return low > np.median(low)


def body_correlation(store: Store, one: Item, other: Item) -> float:
    """Returns the normalised correlation of two images over the pixels that are in either body.

    Images of equal shape are compared directly, others on a common grid.
    """
    size = one.shape[1:] if one.shape == other.shape else (SIDE, SIDE)
    inside = resize_mask(store.body(one), size)[0, 0] | resize_mask(store.body(other), size)[0, 0]
    values = torch.stack([resize_image(store.image(item), size)[0][:, inside].flatten() for item in (one, other)])
    return float(torch.nan_to_num(torch.corrcoef(values.double()))[0, 1])


def alike_across_roles(store: Store, *, within: bool = False) -> Iterator[tuple[Item, Item]]:
    """Yields pairs of items of different roles with similar hashes, the nearest few of each item.

    Args:
        store: The store.
        within: Whether to yield pairs of different patients in one role too.
    """
    roles = {role: store.role(role) for role in Role if store.role(role)}
    # As signs, so that the number of equal bits of all pairs is one matrix product.
    signs = {
        role: np.array([perceptual_hash(store.image(item)) for item in items]).astype(np.float32) * 2 - 1
        for role, items in roles.items()
    }
    for left, right in (combinations_with_replacement if within else combinations)(roles, 2):
        patients = np.array([item.patient for item in roles[right]])
        for start in range(0, len(roles[left]), BLOCK):
            block = signs[left][start : start + BLOCK]
            differing = (block.shape[1] - block @ signs[right].T) / 2
            if left == right:
                own = np.array([item.patient for item in roles[left][start : start + BLOCK]])
                differing[own[:, None] == patients] = np.inf
            nearest = np.argsort(differing, axis=1, kind="stable")[:, :NEAREST]
            for i, row in enumerate(nearest):
                for j in row:
                    if differing[i, j] <= HASH_DISTANCE:
                        yield roles[left][start + i], roles[right][int(j)]


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Returns the probability that a positive value exceeds a negative one, ties counted as half."""
    ranks = rankdata([*positive, *negative])[: len(positive)]
    n, m = len(positive), len(negative)
    return float((ranks.sum() - n * (n + 1) / 2) / (n * m))


def _far(value: float, n: int, m: int) -> bool:
    """Whether an AUROC of n against m deviates from 0.5 relevantly and more than by chance (Mann & Whitney 1947)."""
    return abs(value - 0.5) > max(FAR, CHANCE_SDS * np.sqrt((n + m + 1) / (12 * n * m)))


def _refuse_lesions_outside(store: Store, name: Callable[[str], str]) -> None:
    for item in store.items:
        if item.lesion:
            lesion = store.mask(item) == 1
            out = int((lesion & ~store.body(item)).sum())
            if out > max(1, OUTSIDE * int(lesion.sum())):
                raise DataError(
                    f"{name(item.uid)}: {out} of {int(lesion.sum())} lesion pixels lie outside the body.",
                    "Check that image, body and mask belong together.",
                )


def _same_images(store: Store, name: Callable[[str], str]) -> list[str]:
    """One image for two patients with the same role: not a leak, but counted twice."""
    seen: dict[str, Item] = {}
    for item in store.items:
        other = seen.setdefault(item.sha256, item)
        if other.patient != item.patient:
            return [f"{name(other.uid)} and {name(item.uid)} are the same image for two patients: remove one."]
    return []


def _area_control(store: Store) -> list[str]:
    """Whether body area alone separates images with and without lesions."""
    areas: dict[bool, list[float]] = {True: [], False: []}
    for item in store.role(Role.TEST):
        areas[item.lesion].append(float(store.body(item).mean()))
    if min(len(areas[True]), len(areas[False])) < FEWEST:
        return []
    value = auroc(areas[True], areas[False])
    if not _far(value, len(areas[True]), len(areas[False])):
        return []
    return [
        f"Body area alone predicts the label of a test image (AUROC {value:.2f}): image-level metrics are meaningless."
    ]


def _healthy_control(store: Store) -> list[str]:
    """Healthy patients of train and calib against healthy patients of test, by simple statistics of their images."""
    known = _patient_statistics([*store.role(Role.TRAIN), *store.role(Role.CALIB)], store)
    tested = _patient_statistics(store.role(Role.TEST), store)
    if min(len(known), len(tested)) < FEWEST:
        return []
    values = {
        name: auroc([row[k] for row in tested], [row[k] for row in known])
        for k, name in enumerate(("mean", "spread", "body area"))
    }
    name, value = max(values.items(), key=lambda pair: abs(pair[1] - 0.5))
    if not _far(value, len(tested), len(known)):
        return []
    return [
        f"Healthy images of test differ from those of train and calib ({name} inside the body: AUROC {value:.2f} over "
        "patients): a cohort shift may be mistaken for detection."
    ]


def _patient_statistics(items: Sequence[Item], store: Store) -> list[tuple[float, ...]]:
    """Returns mean, spread and area of the body, averaged over the lesion-free images of each patient."""
    rows: defaultdict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for item in items:
        if not item.lesion:
            body = store.body(item)
            inside = store.image(item)[:, body]
            rows[item.patient].append((float(inside.mean()), float(inside.std()), float(body.mean())))
    return [tuple(np.mean(values, axis=0).tolist()) for values in rows.values()]
