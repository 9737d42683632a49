"""Who is trained on and who is tested: by patient, from a hash of the public identifier.

A patient's role never depends on which other patients were downloaded. Version 1 of the rule is part of the seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from uadbench.core.roles import Role
from uadbench.core.seeding import derive_seed
from uadbench.datasets.brain_mri.cases import Case

SPLIT = "1"
# Shares of patients. A cohort of tumours that stands alone trains on its own healthy slices, as the paper does.
HEALTHY = {Role.TRAIN: 0.8, Role.CALIB: 0.1, Role.TEST: 0.1}
ALONE = {Role.TRAIN: 0.5, Role.CALIB: 0.15, Role.LABELLED: 0.1, Role.VAL: 0.05, Role.TEST: 0.2}
BESIDE = {Role.LABELLED: 0.1, Role.VAL: 0.1, Role.TEST: 0.8}
# Cohorts that are too small, or too far from the others, to give anything but test patients.
TEST_ONLY = ("mslub", "atlas", "wmh")


def assign_roles(cases: Sequence[Case]) -> list[Case]:
    """Returns the cases with roles; those that came with a role keep it."""
    healthy = any(case.lesions is None for case in cases)
    return [case if case.role else replace(case, role=_role(case, healthy)) for case in cases]


def _role(case: Case, healthy_cohort: bool) -> Role:
    if case.lesions is None:
        shares = HEALTHY
    elif case.cohort in TEST_ONLY:
        return Role.TEST
    else:
        shares = BESIDE if healthy_cohort else ALONE
    place = derive_seed("brain_mri", "split", SPLIT, case.cohort, case.person) / 2**63
    for role, share in shares.items():
        place -= share
        if place < 0:
            return role
    return Role.TEST
