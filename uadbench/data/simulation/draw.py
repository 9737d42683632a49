"""Drawing the roles of patients if there is no public list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from uadbench.core.roles import Role


def draw_roles(patients: Iterable[str], shares: Mapping[Role, float], rng: np.random.Generator) -> dict[str, Role]:
    """Returns a role for each patient.

    If there are few, each role gets one patient before any gets two.

    Args:
        patients: Their names, in any order.
        shares: Share of each role, the most important first; the last role gets the remaining patients.
        rng: Draws the order.
    """
    group = sorted(patients)
    order = [group[int(index)] for index in rng.permutation(len(group))]
    found: dict[str, Role] = {}
    start = 0
    for number, (role, share) in enumerate(shares.items()):
        others = len(shares) - number - 1
        fair = max(start + 1, min(start + round(share * len(order)), len(order) - others))
        end = fair if others else len(order)
        found |= dict.fromkeys(order[start:end], role)
        start = end
    return found
