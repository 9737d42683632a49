"""Finds one or several public layouts in a source folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from uadbench.core.errors import DataError, UnknownName
from uadbench.datasets.brain_mri import pddpm
from uadbench.datasets.brain_mri.cases import Case
from uadbench.datasets.brain_mri.layouts import LAYOUTS, MODALITIES, Layout


@dataclass(frozen=True)
class Found:
    """The cases of a source folder.

    Attributes:
        cases: All volumes of one modality, without roles unless the layout defines them.
        titles: The layouts found.
        modality: One of ``MODALITIES``.
    """

    cases: list[Case]
    titles: list[str]
    modality: str


def discover(source: Path, modality: str | None) -> Found:
    """Finds the cases of every layout below a folder.

    Args:
        source: The folder.
        modality: One of ``MODALITIES``; None selects the first that all cohorts have.

    Raises:
        UnknownName: If there is no such modality.
        DataError: If no layout is found, or a cohort lacks the modality.
    """
    if modality is not None and modality not in MODALITIES:
        raise UnknownName("modality", modality, MODALITIES)
    wanted = MODALITIES if modality is None else (modality,)
    if (source / "Train").is_dir() and (source / "Test").is_dir():
        for each in wanted:
            if cases := pddpm.find(source, each):
                return Found(cases, [pddpm.TITLE], each)
        raise DataError(f"{source} holds the layout of pDDPM without {' or '.join(wanted)}.", "Check --modality.")
    present = {layout: _modalities(layout, source) for layout in LAYOUTS}
    present = {layout: names for layout, names in present.items() if names}
    if not present:
        known = "; ".join([*(layout.title for layout in LAYOUTS), pddpm.TITLE])
        raise DataError(f"{source} contains no layout known to brain_mri.", f"Known: {known}. Check --source.")
    chosen = _common(present, wanted, source)
    cases = [case for layout in present for case in layout.find(source, layout.names[chosen])]
    return Found(cases, [layout.title for layout in present], chosen)


def _modalities(layout: Layout, source: Path) -> list[str]:
    return [each for each in MODALITIES if each in layout.names and layout.find(source, layout.names[each])]


def _common(present: Mapping[Layout, list[str]], wanted: tuple[str, ...], source: Path) -> str:
    for each in wanted:
        if all(each in names for names in present.values()):
            return each
    lacking, names = next((layout, names) for layout, names in present.items() if wanted[0] not in names)
    raise DataError(
        f"{source}: {lacking.cohort} has no {' or '.join(wanted)} here, only {', '.join(names)}.",
        "Use a --modality that all cohorts have, or prepare the cohorts separately.",
    )
