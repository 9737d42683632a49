"""Comparisons of rows over the same patients. A row with a missing patient is refused, never averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from uadbench.core.errors import DataError, UserError
from uadbench.evaluation.statistics.intervals import on_grid, patient_interval, weighted_mean

Floats = NDArray[np.float64]
MIN_PATIENTS = 10
RESAMPLES = 2000


@dataclass(frozen=True)
class Difference:
    """A paired difference of two rows.

    Attributes:
        value: Mean over patients of first minus second.
        low: Lower limit of its 95 % interval; None with too few patients.
        high: Upper limit.
        p_value: Two-sided Wilcoxon signed-rank test, adjusted by Holm within the declared family; None with too few.
        n_patients: Patients behind it.
    """

    value: float
    low: float | None
    high: float | None
    p_value: float | None
    n_patients: int

    @property
    def better(self) -> bool:
        """Whether the first row is better: the lower limit of the interval is above 0."""
        return self.low is not None and self.low > 0


def table_of(rows: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Returns values as patients x rows.

    Args:
        rows: For each row, the value of each patient (larger = better).

    Raises:
        DataError: If there are no rows, or one lacks a patient or holds a value that is not finite.
    """
    if not rows:
        raise DataError("There are no rows to compare.")
    patients = sorted({patient for values in rows.values() for patient in values})
    for name, values in rows.items():
        missing = [patient for patient in patients if not np.isfinite(values.get(patient, np.nan))]
        if missing:
            raise DataError(
                f"Row {name} has no value for {len(missing)} of {len(patients)} patients (first: {missing[0]}).",
                "Compare rows over the same patients.",
            )
    return pd.DataFrame(
        {name: [values[p] for p in patients] for name, values in rows.items()}, index=pd.Index(patients)
    )


def paired_difference(
    first: Floats, second: Floats, *, seed: int = 0, resamples: int = RESAMPLES, minimum: int = MIN_PATIENTS
) -> Difference:
    """Compares two rows patient by patient: BCa bootstrap of the mean difference, and an unadjusted Wilcoxon test.

    Args:
        first: One value per patient, (n,).
        second: The same patients in the same order, (n,).
        seed: Seed of the resampling.
        resamples: Number of resamples.
        minimum: With fewer patients there is neither interval nor test.

    Raises:
        DataError: If the rows differ in length, or a value is not finite.
    """
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise DataError(f"Paired rows need the same patients; got {first.shape} and {second.shape}.")
    difference = first - second
    if not np.isfinite(difference).all():
        raise DataError("A paired row holds a value that is not finite.", "Never compare incomplete rows.")
    n = len(difference)
    interval = patient_interval(
        weighted_mean(difference), n, resamples=resamples, confidence=0.95, seed=seed, minimum=minimum
    )
    p_value = None if n < minimum else _wilcoxon(difference)
    return Difference(float(difference.mean()), interval.low, interval.high, p_value, n)


def declared_comparisons(
    table: pd.DataFrame, pairs: Sequence[tuple[str, str]], *, seed: int = 0
) -> dict[tuple[str, str], Difference]:
    """Compares pairs specified in advance; p values are adjusted jointly by Holm's method.

    Args:
        table: Patients x rows, as from ``table_of``.
        pairs: (first, second) row names.
        seed: Seed of the resampling.

    Raises:
        UserError: If a row is unknown.
    """
    results: dict[tuple[str, str], Difference] = {}
    for first, second in pairs:
        for name in (first, second):
            if name not in table:
                raise UserError(f"Row '{name}' is not in the table.", f"Rows: {', '.join(map(str, table.columns))}.")
        a, b = (table[name].to_numpy(np.float64) for name in (first, second))
        results[first, second] = paired_difference(a, b, seed=seed)
    tested = [pair for pair, result in results.items() if result.p_value is not None]
    adjusted = holm([results[pair].p_value or 0.0 for pair in tested])
    for pair, p_value in zip(tested, adjusted, strict=True):
        old = results[pair]
        results[pair] = Difference(old.value, old.low, old.high, p_value, old.n_patients)
    return results


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p values adjusted by Holm's step-down method (Holm 1979), in the given order."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    steps = np.maximum.accumulate(np.asarray(p_values, np.float64)[order] * factors)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(steps, 1.0)
    return [float(p) for p in adjusted]


@dataclass(frozen=True)
class CriticalDifference:
    """A Friedman test with Nemenyi's comparison of all pairs, patients as blocks.

    Attributes:
        friedman_p: p value of "all rows are equal".
        mean_ranks: Mean rank of each row, 1 = best.
        nemenyi: p value of each pair, rows x rows.
        critical_difference: Difference of mean ranks that is significant at 5 %.
    """

    friedman_p: float
    mean_ranks: dict[str, float]
    nemenyi: pd.DataFrame
    critical_difference: float


def critical_difference(table: pd.DataFrame) -> CriticalDifference:
    """Tests whether rows differ, with patients as blocks (Demsar 2006).

    Args:
        table: Patients x rows, larger = better; at least 3 rows and 10 patients.

    Raises:
        DataError: If there are too few rows or patients.
    """
    import scikit_posthocs

    n, k = table.shape
    if k < 3 or n < MIN_PATIENTS:
        raise DataError(f"{k} rows over {n} patients are too few for a critical-difference diagram.")
    values = table.to_numpy(np.float64)
    ranks = stats.rankdata(-values, axis=1)
    nemenyi = scikit_posthocs.posthoc_nemenyi_friedman(values)
    nemenyi.index = nemenyi.columns = table.columns
    width = float(stats.studentized_range.ppf(0.95, k, np.inf)) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n))
    names = [str(name) for name in table.columns]
    same = bool((values == values[:, :1]).all())  # the test is undefined if all values in every block are tied
    return CriticalDifference(
        friedman_p=1.0 if same else float(stats.friedmanchisquare(*values.T).pvalue),
        mean_ranks={name: float(rank) for name, rank in zip(names, ranks.mean(axis=0), strict=True)},
        nemenyi=nemenyi,
        critical_difference=float(width),
    )


@dataclass(frozen=True)
class Rank:
    """Rank of a row by its mean over patients, with the 95 % percentile interval of the rank."""

    rank: float
    low: float
    high: float


def rank_intervals(table: pd.DataFrame, *, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Rank]:
    """Ranks rows by their patient mean (1 = best), with intervals of the ranks over resampled patients.

    Args:
        table: Patients x rows, larger = better.
        seed: Seed of the resampling.
        resamples: Number of resamples.
    """
    values = on_grid(table.to_numpy(np.float64))
    n = len(values)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    drawn = stats.rankdata(-(counts @ values), axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    ranks = stats.rankdata(-values.mean(axis=0))
    return {str(name): Rank(float(ranks[i]), float(low[i]), float(high[i])) for i, name in enumerate(table.columns)}


def probability_of_improvement(first: Floats, second: Floats, *, seed: int = 0) -> Difference:
    """Returns the share of patients on whom the first row is better, ties counted half, with its interval."""
    wins = (first > second) + 0.5 * (first == second)
    result = paired_difference(wins.astype(np.float64), np.zeros(len(wins)), seed=seed)
    return Difference(result.value, result.low, result.high, None, result.n_patients)


def minimum_detectable_difference(differences: Floats, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """Returns the smallest true mean difference that a paired t test on such data finds with the given power.

    Args:
        differences: Paired differences of two comparable rows, (n,), n > 1.
        power: Required power.
        alpha: Two-sided level.

    Returns:
        (t_(1 - alpha/2) + t_power) s / sqrt(n), with n - 1 degrees of freedom.

    Raises:
        DataError: If there are fewer than two patients.
    """
    n = len(differences)
    if n < 2:
        raise DataError("A minimum detectable difference needs at least two patients.")
    quantiles = float(stats.t.ppf(1 - alpha / 2, n - 1)) + float(stats.t.ppf(power, n - 1))
    return float(quantiles * differences.std(ddof=1) / np.sqrt(n))


@dataclass(frozen=True)
class VarianceComponents:
    """Variances of a metric in a seeds x patients design.

    Attributes:
        seed: Between training seeds: it is the same for all patients of a run.
        patient: Between patients: it is the same for all seeds.
        residual: The rest, including the interaction.
        n_seeds: Number of seeds; a spread over three is descriptive.
        n_patients: Number of patients.
    """

    seed: float
    patient: float
    residual: float
    n_seeds: int
    n_patients: int


def variance_components(values: Floats) -> VarianceComponents:
    """Separates seeds and patients by the mean squares of a two-way layout without replication.

    Args:
        values: Metric of each seed (rows) on each patient (columns), (s, n), s and n at least 2.

    Raises:
        DataError: If the table is too small or incomplete.
    """
    if values.ndim != 2 or min(values.shape) < 2 or not np.isfinite(values).all():
        raise DataError("Variance components need a complete table of at least 2 seeds x 2 patients.")
    s, n = values.shape
    mean = values.mean()
    rows, columns = values.mean(axis=1) - mean, values.mean(axis=0) - mean
    rest = values - mean - rows[:, None] - columns[None]
    residual = float(np.square(rest).sum() / ((s - 1) * (n - 1)))
    between_seeds = float(n * np.square(rows).sum() / (s - 1))
    between_patients = float(s * np.square(columns).sum() / (n - 1))
    # Negative estimates mean "indistinguishable from the residual".
    return VarianceComponents(
        max(0.0, (between_seeds - residual) / n), max(0.0, (between_patients - residual) / s), residual, s, n
    )


def _wilcoxon(difference: Floats) -> float:
    if not difference.any():
        return 1.0
    return float(stats.wilcoxon(difference, zero_method="zsplit").pvalue)
