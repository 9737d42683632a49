"""Quality of choices without labels: rank correlation and regret of objectives over the settings of a study.

The regret of a choice is the test metric of the best setting of the study minus that of the chosen one. The best of a
grid is optimistic and a narrow grid makes regret small, so the regret of a random setting is reported as well. For the
same reason a regret has no interval: resampled patients keep the optimism, so that the interval of 25 equally good
settings never contains the true regret 0. The difference to the default setting has one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from uadbench.core.seeding import numpy_generator

Floats = NDArray[np.float64]
_Resampled = Callable[[Floats], Floats]
RESAMPLES = 1000
FEWEST = 10
"""Patients below which there is no interval (docs/protocol.md)."""

DRAWS = 50
"""Number of draws of K labelled patients to average over."""

RANDOM, DEFAULT = "random setting", "default"


@dataclass(frozen=True)
class Grid:
    """The settings of one method on one dataset.

    Attributes:
        dataset: Name of the set.
        domain: Its domain: brain, liver, us.
        method: Registry name.
        settings: Labels, (n,).
        test: Test metric of each patient, (seeds, n, patients).
        objectives: Value of each objective that needs no test label, (seeds, n), by name.
        val: Metric of each labelled patient outside the test role, (seeds, n, patients); None if there are none.
        fixed: Index of settings that need no objective, such as the default, by name.
    """

    dataset: str
    domain: str
    method: str
    settings: Sequence[str]
    test: Floats
    objectives: Mapping[str, Floats]
    val: Floats | None = None
    fixed: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval over test patients; None if there are fewer than 10."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Regret:
    """The regret of a choice.

    Attributes:
        absolute: In the test metric.
        relative: As a share of the best setting's value.
        gain: Test metric of the choice minus that of the default setting; None if the study has no default.
    """

    absolute: float
    relative: float
    gain: Estimate | None


def rank_correlation(grid: Grid, objective: str) -> Estimate:
    """Returns Spearman's correlation over settings between an objective and the test metric, averaged over seeds."""
    values = grid.objectives[objective]
    ranks = np.apply_along_axis(rankdata, 1, values)

    def of(test: Floats) -> Floats:
        """Returns the correlation for each resample, test means (b, seeds, n)."""
        theirs = np.apply_along_axis(rankdata, 2, test)
        return np.mean([[_pearson(ranks[s], row[s]) for s in range(len(ranks))] for row in theirs], axis=1)

    return _estimate(grid, of)


def picks_of(grid: Grid, objective: str) -> NDArray[np.int64]:
    """Returns the setting that an objective picks for each seed; the first in case of ties."""
    return np.argmax(grid.objectives[objective], axis=1)


def regret(grid: Grid, picks: NDArray[np.int64]) -> Regret:
    """Returns the regret of picked settings, averaged over seeds and over rows of picks.

    Args:
        grid: The study.
        picks: Indices of the settings, (seeds,) or (draws, seeds).
    """
    rows = np.atleast_2d(picks)
    seeds = np.arange(grid.test.shape[0])

    def chosen(test: Floats) -> Floats:
        return np.mean([test[:, seeds, row] for row in rows], axis=0)

    return _as_regret(grid, chosen)


def random_regret(grid: Grid) -> Regret:
    """Returns the expected regret of a setting drawn at random."""
    return _as_regret(grid, lambda test: test.mean(axis=2))


def labelled_picks(grid: Grid, patients: int) -> NDArray[np.int64] | None:
    """Returns the choices of K labelled patients, (draws, seeds); None if there are fewer."""
    if grid.val is None or grid.val.shape[2] < patients:
        return None
    rng = numpy_generator("choice-labelled", grid.dataset, grid.method, patients)
    total = grid.val.shape[2]
    chosen = [rng.permutation(total)[:patients] for _ in range(DRAWS)]
    return np.array([np.argmax(np.nanmean(grid.val[:, :, rows], axis=2), axis=1) for rows in chosen])


def regrets(grid: Grid, labelled: Sequence[int] = (1, 2, 4, 8)) -> dict[str, Regret]:
    """Returns the regret of every choice: objectives, fixed settings, K labelled patients, and a random setting."""
    found = {name: regret(grid, picks_of(grid, name)) for name in grid.objectives}
    seeds = grid.test.shape[0]
    found |= {name: regret(grid, np.full(seeds, place)) for name, place in grid.fixed.items()}
    for count in labelled:
        picks = labelled_picks(grid, count)
        if picks is not None:
            found[f"val, {count} labelled patient{'s' if count > 1 else ''}"] = regret(grid, picks)
    found[RANDOM] = random_regret(grid)
    return found


def leave_one_domain_out(grids: Sequence[Grid]) -> dict[str, tuple[str, float]]:
    """Returns, by domain, the objective that has the least mean relative regret on the others, and its regret there.

    The value thus estimates the procedure "use the objective that is best elsewhere", not one objective. Single
    domains, or grids that lack an objective, are skipped.

    Args:
        grids: Studies of several domains.
    """
    found: dict[str, tuple[str, float]] = {}
    shared = set.intersection(*(set(grid.objectives) for grid in grids)) if grids else set[str]()
    domains = sorted({grid.domain for grid in grids})
    for domain in domains:
        others = [grid for grid in grids if grid.domain != domain]
        if others and shared:
            mean = {name: _mean_relative(others, name) for name in sorted(shared)}
            best = min(mean, key=lambda name: (mean[name], name))
            found[domain] = best, _mean_relative([grid for grid in grids if grid.domain == domain], best)
    return found


def _mean_relative(grids: Sequence[Grid], objective: str) -> float:
    return float(np.mean([regret(grid, picks_of(grid, objective)).relative for grid in grids]))


def _as_regret(grid: Grid, chosen: _Resampled) -> Regret:
    """Returns the regret of a choice, given its test means (b, seeds) for those of all settings, (b, seeds, n)."""
    means = _means(grid.test, np.ones((1, grid.test.shape[2])))
    best = float(means.max(axis=2).mean())
    absolute = best - float(chosen(means).mean())
    default = grid.fixed.get(DEFAULT)
    gain = None
    if default is not None:
        gain = _estimate(grid, lambda test: (chosen(test) - test[:, :, default]).mean(axis=1))
    return Regret(absolute, absolute / best if best > 0 else 0.0, gain)


def _estimate(grid: Grid, of: _Resampled) -> Estimate:
    """Returns a statistic of test means with the percentile interval over resampled patients."""
    patients = grid.test.shape[2]
    value = float(of(_means(grid.test, np.ones((1, patients))))[0])
    if patients < FEWEST:
        return Estimate(value)
    rng = numpy_generator("choice", grid.dataset, grid.method)
    weights = rng.multinomial(patients, np.full(patients, 1 / patients), size=RESAMPLES).astype(np.float64)
    drawn = of(_means(grid.test, weights))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate(value, float(low), float(high))


def _means(test: Floats, weights: Floats) -> Floats:
    """Returns the weighted mean over patients, (b, seeds, n)."""
    return np.einsum("snp,bp->bsn", test, weights) / weights.sum(axis=1)[:, None, None]


def _pearson(one: Floats, other: Floats) -> float:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
