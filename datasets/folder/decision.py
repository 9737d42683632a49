"""The scale of a folder, decided from the survey of its files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from uadbench.data.preprocessing.intake import FILLED, Intake, fault_of, type_of
from uadbench.data.preprocessing.look import Look
from uadbench.datasets.folder.rows import Fault, Row, faulty
from uadbench.datasets.folder.survey import Seen

FAMILIES = {"US": "us", "MR": "mr"}
"""Modalities in the DICOM headers of 2-D images."""


@dataclass
class Decision:
    """The scale of a folder.

    Attributes:
        intake: The scale.
        faults: Rows that cannot be used under it.
        notes: Assumptions.
        taken: One line: the assumed kind of images.
    """

    intake: Intake
    faults: dict[int, Fault] = field(default_factory=dict[int, Fault])
    notes: list[str] = field(default_factory=list[str])
    taken: str = ""


def decide(rows: Sequence[Row], seen: Sequence[Seen], told: Intake, said: str, *, alone: bool = False) -> Decision:
    """Decides the scale of a folder from the survey.

    Args:
        rows: The images.
        seen: Survey result of each.
        told: Options of the user.
        said: Modality according to the layout, "" if unknown.
        alone: Whether no patients are known.
    """
    usable = [n for n, one in enumerate(seen) if one.fault is None]
    made = Decision(told if told.modality else told.model_copy(update={"modality": said}))
    volumes = [n for n in usable if rows[n].image.shape == "volume"]
    pictures = [n for n in usable if rows[n].image.shape == "frame"]
    if volumes and pictures:
        few = min(volumes, pictures, key=len)
        for n in few:
            kind = "volume" if few is volumes else "2-D image"
            made.faults[n] = faulty(
                rows[n].place,
                f"{rows[n].place} is a {kind}: the folder mixes volumes and 2-D images, which have no common scale.",
                "Prepare them separately.",
            )
        volumes, pictures = ([], pictures) if few is volumes else (volumes, [])
    made.intake = made.intake.model_copy(update={"shape": "volume" if volumes else "frame", "alone": alone})
    if volumes:
        _decide_volumes(rows, seen, volumes, made)
    if pictures:
        _decide_pictures(rows, seen, pictures, made)
    for note, count in sorted(Counter(note for n in usable for note in seen[n].notes).items()):
        first = next(n for n in usable if note in seen[n].notes)
        made.notes.append(f"{count} files: {note}." if count > 1 else f"{rows[first].place.name}: {note}.")
    return made


def _decide_volumes(rows: Sequence[Row], seen: Sequence[Seen], which: list[int], made: Decision) -> None:
    looks = {n: look for n in which if (look := seen[n].look) is not None}
    intake = made.intake
    if not intake.modality:
        intake = _by_values(rows, looks, made)
    else:
        made.taken = f"{intake.modality} as told"
    for n, look in looks.items():
        if look.low == look.high:
            made.faults[n] = faulty(rows[n].place, f"{rows[n].place} is constant.", "Remove the file.")
    whole = [look for n, look in looks.items() if n not in made.faults]
    if whole and (intake.hu or intake.family in ("us", "other")) and not intake.window:
        low, high = min(look.low for look in whole), max(look.high for look in whole)
        low, high = (0.0, 255.0) if low >= 0 and high <= 255 else (low, high)
        intake = intake.model_copy(update={"window": (low, high)})
    for n, look in looks.items():
        fault = fault_of(look, intake)
        if fault and n not in made.faults:
            made.faults[n] = faulty(rows[n].place, f"{rows[n].place} {fault[0]}.", fault[1])
    if intake.window:
        scale = f"window {intake.window[0]:g} to {intake.window[1]:g}"
    elif intake.family == "ct":
        scale = "window -160 to 240 HU"
    else:
        scale = "each volume by its robust location"
        made.notes += _levels([look for n, look in looks.items() if n not in made.faults])
    made.taken += f"; {scale}"
    made.intake = intake


def _by_values(rows: Sequence[Row], looks: Mapping[int, Look], made: Decision) -> Intake:
    """Returns the scale with the modality that most volumes have; refuses those that may be either."""
    votes = sum(look.is_ct for look in looks.values())
    by = "DICOM headers" if any(look.modality for look in looks.values()) else "their values"
    taken = "ct" if 2 * votes >= len(looks) else "mr"
    made.taken = f"{'CT in HU' if taken == 'ct' else 'MR magnitudes'} by {by}"
    for n, look in looks.items():
        if look.is_ct and look.is_padded and not look.modality:
            made.faults[n] = faulty(
                rows[n].place,
                f"{rows[n].place} has a background of {look.low:g} and no other negative value: CT in HU, or MR with "
                "padding.",
                "Use --set modality=ct or modality=mr.",
            )
    return made.intake.model_copy(update={"modality": taken})


def _levels(looks: Sequence[Look]) -> list[str]:
    """Returns notes on backgrounds other than 0."""
    notes: list[str] = []
    for padded, meaning in ((False, "taken as the zero of the scale"), (True, "taken as padding, and so as 0")):
        levels = [look.level for look in looks if look.level and look.is_padded == padded]
        if levels:
            least, most = min(levels), max(levels)
            notes.append(f"{len(levels)} volumes have a background of {least:g} to {most:g}, not 0: {meaning}.")
    return notes


def _decide_pictures(rows: Sequence[Row], seen: Sequence[Seen], which: list[int], made: Decision) -> None:
    intake, updates = made.intake, {}
    headers = {seen[n].modality for n in which}
    if not intake.modality and len(headers) == 1:
        updates["modality"] = FAMILIES.get(headers.pop(), "")
    family = str(updates.get("modality", intake.modality)).split("-")[0]
    for n in which:
        one, place = seen[n], rows[n].place
        if one.coloured and not intake.colour:
            made.faults[n] = faulty(
                place, f"{place} is a colour image.", "Convert it to grey, or use --set colour=grey or rgb."
            )
    greyed = sum(seen[n].grey_as_colour for n in which)
    if greyed and intake.colour != "rgb":
        made.notes.append(f"{greyed} images have three equal channels: taken as grey.")
    good = [n for n in which if n not in made.faults]
    numbered = any(rows[n].index >= 0 for n in good)
    updates["together"] = not intake.window and (family == "mr" or (numbered and family in ("", "mr")))
    updates["loose"] = any(rows[n].index >= 0 and rows[n].image.kind == "dicom" for n in good)
    _signed(rows, seen, good, intake, family, made)
    good = [n for n in good if n not in made.faults]
    tops, scale = _tops(seen, good, made)
    updates["tops"] = tops
    if not updates["together"]:
        for n in good:
            if seen[n].low == seen[n].high:
                made.faults[n] = faulty(rows[n].place, f"{rows[n].place} is constant.", "Remove the file.")
        if intake.window:
            scale = f"window {intake.window[0]:g} to {intake.window[1]:g}"
        black = float(np.mean([seen[n].black for n in good])) if good else 0.0
        if black > 0.2 and not intake.body:
            made.notes.append(
                f"{black:.0%} of the pixels are exactly 0 and count as body: say --set body=auto to leave a background "
                "out."
            )
    else:
        scale = "the slices of a patient and series together, by their robust location"
    made.intake = intake.model_copy(update=updates)
    what = made.intake.modality or "pictures of unknown modality"
    made.taken = f"{made.taken}; {what}; {scale}" if made.taken else f"{what}; {scale}"


def _signed(
    rows: Sequence[Row], seen: Sequence[Seen], which: list[int], intake: Intake, family: str, made: Decision
) -> None:
    """Refuses 2-D images that may contain HU unless the user specifies the values, and CT without HU."""
    if intake.window:
        return
    for n in which:
        one, place = seen[n], rows[n].place
        if family == "ct":
            if not intake.hu and one.low > -50:
                made.faults[n] = faulty(
                    place,
                    f"{place} is CT without Hounsfield units: its minimum is {one.low:g}.",
                    "Use --set hu=windowed for windowed images, or --set window=low,high.",
                )
        elif one.low < 0 and family == "mr":
            made.faults[n] = faulty(
                place,
                f"{place} holds values from {one.low:g} to {one.high:g}, and magnitudes are not negative: perhaps "
                "padding.",
                "Set the background to 0, or use --set window=low,high.",
            )
        elif one.low < 0:
            made.faults[n] = faulty(
                place,
                f"{place} holds values from {one.low:g} to {one.high:g}: perhaps HU.",
                "Use --set modality=ct if it is CT in HU, or --set window=low,high.",
            )
        elif one.bits == 0 and one.high > 255:
            made.faults[n] = faulty(
                place,
                f"{place} holds floats outside [0, 1] and [0, 255].",
                "Scale all images equally to [0, 1], or use --set window=low,high.",
            )


def _tops(seen: Sequence[Seen], which: list[int], made: Decision) -> tuple[dict[str, float], str]:
    """Returns the white level of each type of 2-D image, from all of them, and a line on it."""
    highest: defaultdict[str, float] = defaultdict(float)
    for n in which:
        highest[type_of(seen[n].bits)] = max(highest[type_of(seen[n].bits)], seen[n].high)
    tops = dict(Intake().tops)
    if "16" in highest:
        tops["16"] = next((top for top in (255.0, 1023.0, 4095.0, 16383.0) if highest["16"] <= top), 65535.0)
        if tops["16"] < 65535:
            bits = round(np.log2(tops["16"] + 1))
            made.notes.append(f"16-bit images hold no value above {highest['16']:g}: taken as {bits} bits.")
    if highest["float"] > 1:
        tops["float"] = 255.0
        made.notes.append(f"Float images hold values up to {highest['float']:g}: taken as 0 to 255.")
    used = {key: top for key, top in tops.items() if highest[key]}
    for key, top in used.items():
        if highest[key] < FILLED * top:
            made.notes.append(
                f"Images fill {highest[key] / top:.0%} of the range 0 to {top:g}: say --set window=0,{highest[key]:g}."
            )
    return tops, "0 to " + " or ".join(f"{top:g} ({key})" if len(used) > 1 else f"{top:g}" for key, top in used.items())
