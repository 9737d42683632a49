"""Roles of patients, from a hash of the public identifier.

A patient's role does not depend on which other patients were downloaded. Version 1 of the rule is part of the seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from uadbench.core.roles import Role
from uadbench.core.seeding import derive_seed
from uadbench.datasets.brain_mri.cases import Case

SPLIT = "1"
# Shares of patients. A tumour cohort alone trains on its own healthy slices, as in the paper.
HEALTHY = {Role.TRAIN: 0.8, Role.CALIB: 0.1, Role.TEST: 0.1}
ALONE = {Role.TRAIN: 0.5, Role.CALIB: 0.15, Role.LABELLED: 0.1, Role.VAL: 0.05, Role.TEST: 0.2}
BESIDE = {Role.LABELLED: 0.1, Role.VAL: 0.1, Role.TEST: 0.8}
# Cohorts too small, or too different from the others, for anything but testing.
TEST_ONLY = ("mslub", "atlas", "wmh")


def assign_roles(cases: Sequence[Case]) -> list[Case]:
    """Returns the cases with roles; given roles are kept."""
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
