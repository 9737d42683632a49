"""The conformance kit for datasets: requirements on every prepared store (docs/protocol.md).

Use::

    from uadbench.testing.dataset_checks import check_dataset

    for result in check_dataset(Path("prepared/my_data")):
        print("ok  " if result.passed else "FAIL", result.name, result.detail)
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from uadbench.core.roles import Role
from uadbench.data.storage.checks import DUPLICATE, OUTSIDE, alike_across_roles, body_correlation, count_patients
from uadbench.data.storage.store import IGNORE, Store
from uadbench.testing.results import CheckResult, require, run_checks

SUSPICIOUS_AUROC = 0.7  # AUROC above which body area predicts the label


class DatasetSubject:
    """A prepared store under check, opened on first access.

    Args:
        path: Folder of the store.
        published: Patients of each cohort according to the dataset's card.
    """

    def __init__(self, path: Path, published: Mapping[str, int]) -> None:
        self.path = path
        self.published = published

    @cached_property
    def store(self) -> Store:
        """The open store."""
        return Store(self.path)


def _hashes_match(subject: DatasetSubject) -> str:
    subject.store.verify()
    return f"{len(subject.store.items)} items"


def _patients_disjoint(subject: DatasetSubject) -> str:
    roles: defaultdict[str, set[str]] = defaultdict(set)
    patients: defaultdict[str, set[str]] = defaultdict(set)
    for item in subject.store.items:
        roles[item.patient].add(item.role)
        patients[item.case].add(item.patient)
    shared = sorted(patient for patient, found in roles.items() if len(found) > 1)
    require(not shared, f"patient {shared[0] if shared else ''} is in more than one role; split by patient")
    mixed = sorted(case for case, found in patients.items() if len(found) > 1)
    require(not mixed, f"case {mixed[0] if mixed else ''} belongs to more than one patient")
    counts = {role: sum(found == {role} for found in roles.values()) for role in Role}
    return ", ".join(f"{role} {count}" for role, count in counts.items() if count)


def _labels_fit_masks(subject: DatasetSubject) -> str:
    lesions = 0
    for item in subject.store.items:
        mask = subject.store.mask(item)
        found = bool((mask == 1).any())
        label_only = item.lesion and bool((mask == IGNORE).all())
        require(found == item.lesion or label_only, f"{item.uid} says lesion={item.lesion}, its mask says {found}")
        require(not label_only or item.role == Role.TEST, f"{item.uid} has a label alone, in role {item.role}")
        require(not (found and item.role in (Role.TRAIN, Role.CALIB)), f"{item.uid} in role {item.role} holds a lesion")
        lesions += found
    return f"{lesions} items with lesions, none in train or calib"


def _masks_inside_body(subject: DatasetSubject) -> str:
    outside = total = 0
    worst = ("", 0.0)
    for item in subject.store.items:
        if item.lesion:
            lesion = subject.store.mask(item) == 1
            out = int((lesion & ~subject.store.body(item)).sum())
            outside, total = outside + out, total + int(lesion.sum())
            worst = max(worst, (item.uid, out / max(int(lesion.sum()), 1)), key=lambda pair: pair[1])
    share = outside / total if total else 0.0
    require(share <= OUTSIDE, f"{share:.1%} of lesion pixels lie outside the body (worst: {worst[0]}, {worst[1]:.1%})")
    return f"{share:.2%} of lesion pixels outside"


def _intensities_in_range(subject: DatasetSubject) -> str:
    for item in subject.store.items:
        image, body = subject.store.image(item), subject.store.body(item)
        require(bool(body.any()), f"{item.uid} has an empty body mask")
        inside = image[:, body]
        require(bool(np.isfinite(image).all()), f"{item.uid} holds NaN or infinite values")
        require(float(inside.std()) > 0, f"{item.uid} is constant inside the body")
        require(float((np.abs(inside) > 1).mean()) <= 0.02, f"{item.uid}: more than 2 % of the body is beyond [-1, 1]")
    return "nominally in [-1, 1]"


def _roles_filled(subject: DatasetSubject) -> str:
    manifest = subject.store.manifest
    present = {item.role for item in subject.store.items}
    require(Role.TEST in present, "role test is empty")
    if manifest.ranked:
        missing = [role for role in (Role.TRAIN, Role.CALIB) if role not in present]
        require(not missing, f"a ranked dataset needs role {' and '.join(missing)}")
        labels = {item.lesion for item in subject.store.role(Role.TEST)}
        require(True in labels, "role test holds no lesion")
        if False not in labels:
            return "warning: role test holds no healthy item, so false positives on healthy images are not measured"
    return "ranked" if manifest.ranked else f"not ranked: {'; '.join(manifest.notes) or 'no reason given'}"


def _counts_fit_the_card(subject: DatasetSubject) -> str:
    counts = count_patients(subject.store, subject.published)
    for count in counts:
        # Downloaded data may be incomplete, a phantom may not.
        short = count.cohort == "phantom" and count.found < count.published
        require(not short and count.found <= count.published, str(count))
    return ", ".join(map(str, counts)) or "the card counts none of these patients"


def _no_paths(subject: DatasetSubject) -> str:
    text = (subject.path / "manifest.json").read_text()
    found = re.search(r'"[^"]*(?:/(?:home|Users|root|mnt|data|work)/|[A-Za-z]:\\\\)[^"]*"', text)
    require(found is None, f"the manifest holds a path: {found.group(0) if found else ''}")
    return ""


def _no_duplicates_across_roles(subject: DatasetSubject) -> str:
    proposed = 0
    for one, other in alike_across_roles(subject.store):
        value = body_correlation(subject.store, one, other)
        require(
            value <= DUPLICATE,
            f"{one.uid} ({one.role}) and {other.uid} ({other.role}) are near-duplicates (r = {value:.3f})",
        )
        proposed += 1
    return f"{proposed} pairs looked alike, none is a duplicate"


def _area_tells_little(subject: DatasetSubject) -> str:
    items = subject.store.role(Role.TEST)
    labels = [item.lesion for item in items]
    if len(set(labels)) < 2:
        return "test holds one label alone"
    areas = [float(subject.store.body(item).mean()) for item in items]
    value = float(roc_auc_score(labels, areas))
    told = f"body area alone predicts the label of a test item with AUROC {value:.2f}"
    return f"warning: {told}" if max(value, 1 - value) > SUSPICIOUS_AUROC else told


CHECKS: dict[str, Callable[[DatasetSubject], str]] = {
    "pixels match their hashes": _hashes_match,
    "patients are in one role": _patients_disjoint,
    "labels fit the masks": _labels_fit_masks,
    "lesions lie inside the body": _masks_inside_body,
    "intensities are in range": _intensities_in_range,
    "roles are filled": _roles_filled,
    "counts are as the card says": _counts_fit_the_card,
    "the manifest holds no path": _no_paths,
    "no near-duplicates across roles": _no_duplicates_across_roles,
    "body area says little about the label": _area_tells_little,
}


def check_dataset(store_path: Path, published: Mapping[str, int] | None = None) -> list[CheckResult]:
    """Runs the conformance kit on a prepared store.

    Args:
        store_path: Folder of the store.
        published: Patients of each cohort according to the dataset's card. A phantom has all of them; downloaded data
            may be incomplete.

    Returns:
        One result per check; a detail that starts with "warning:" does not fail.
    """
    return run_checks(CHECKS, DatasetSubject(store_path, published or {}))
