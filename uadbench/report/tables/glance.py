"""The matrix as text: one sentence per modality on the best method, and a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from uadbench.core.files import atomic_text, between_markers
from uadbench.report import escape
from uadbench.report.tables.matrix import FLOOR, METHODS, SHOWN, Cell, Matrix, modality
from uadbench.report.tables.model import Arena, Number, Refused, Row, Versus
from uadbench.report.tables.tables import RANKING_KEY

BEGIN, END = "<!-- matrix: begin -->", "<!-- matrix: end -->"
DICE, AUROC = (key for key, _ in SHOWN)
Link = Callable[[str], str]
SYMBOLS = {"best": "", "tied": " ≈", "": ""}
LEGEND = (
    "Dice at the threshold that marks 1 % of healthy calibration pixels; pixel AUROC within each case; both are "
    "means over patients and seeds, ± half the width of the 95 % interval over patients. Rank: within the rows of "
    "the same supervision, by case AP, mean over the datasets. **Bold**: best of all rows without lesion labels; "
    "≈: not distinguishable from it (paired bootstrap); †: not shown to be better than the best trivial baseline (the "
    "interval of the paired difference in case AP is not above 0)."
)


def no_link(_method: str) -> str:
    """Returns an empty address."""
    return ""


@dataclass(frozen=True)
class Answer:
    """The best method on one dataset, by case AP.

    Attributes:
        arena: The question.
        modality: MRI, CT or US.
        method: The best method that is not trivial, None if none is ranked.
        floor: The best trivial baseline, likewise.
    """

    arena: Arena
    modality: str
    method: Row | None
    floor: Row | None

    @property
    def winner(self) -> Row | None:
        """The better of the two."""
        rows = [row for row in (self.method, self.floor) if row is not None]
        return max(rows, key=lambda row: row.metrics[RANKING_KEY].value or 0.0, default=None)

    @property
    def by_how_much(self) -> str:
        """The difference to the other one, as plain text."""
        if self.method is None or self.floor is None:
            return "" if self.method is None else "no trivial baseline is ranked"
        versus = self.method.versus_trivial
        floor = _floor_words(self.floor, versus)
        if self.winner is self.floor:
            return (
                f"a trivial baseline: no method is better. The best method: {self.method.label}, {_both(self.method)}"
            )
        if versus is None or versus.beats is None:
            return f"difference to {floor} not tested"
        ends = "" if versus.low is None else f" ({versus.low:+.3f} to {versus.high:+.3f})"
        return f"case AP {versus.difference:+.3f}{ends} over {floor}"

    @property
    def words(self) -> str:
        """The result as a sentence, plain text."""
        if self.method is None:
            return "no method is ranked yet."
        told = f"{self.method.label}, {_both(self.method)}"
        if self.floor is None:
            return f"{told}; no trivial baseline is ranked."
        versus = self.method.versus_trivial
        floor = _floor_words(self.floor, versus)
        if versus is None or versus.beats is None:
            return f"{told}; the difference to {floor} was not tested."
        if versus.beats:
            return f"{told}; case AP {versus.difference:+.3f} over {floor}."
        return f"no method is better than {floor}. The best is {told}."


def _floor_words(floor: Row, versus: Versus | None) -> str:
    """Returns the trivial baseline of a comparison; it may be one that is not ranked, with fewer seeds."""
    if versus is not None and versus.baseline != floor.label:
        return f"the best trivial baseline, {versus.baseline}"
    return f"the best trivial baseline, {floor.label} (Dice {_value(floor.metrics.get(DICE))})"


def answers(matrix: Matrix) -> list[Answer]:
    """Returns the best method on each dataset of a matrix."""
    return [
        Answer(arena, modality(arena.tested.name), _best(matrix, METHODS, i), _best(matrix, FLOOR, i))
        for i, arena in enumerate(matrix.columns)
    ]


def _best(matrix: Matrix, title: str, column: int) -> Row | None:
    lines = [line for block in matrix.blocks if block.title == title for line in block.lines]
    rows = [cell.row for line in lines if (cell := line.cells[column]) is not None and cell.row.rank is not None]
    return max(rows, key=lambda row: row.metrics[RANKING_KEY].value or 0.0, default=None)


def _both(row: Row) -> str:
    return f"Dice {_value(row.metrics.get(DICE))}, AUROC {_value(row.metrics.get(AUROC))}"


def _value(number: Number | None) -> str:
    return "–" if number is None or number.value is None else f"{number.value:.3f}"


def short_number(number: Number | None) -> str:
    """Returns a number in one line: its value and half the width of its interval."""
    if number is None or number.value is None:
        return "–"
    if number.low is None or number.high is None:
        return f"{number.value:.3f}"
    return f"{number.value:.3f} ± {(number.high - number.low) / 2:.2f}"


def matrix_table(matrix: Matrix, link: Link = no_link) -> str:
    """Returns the matrix as a Markdown table.

    Args:
        matrix: The matrix.
        link: Address of a method's page, "" for none.
    """
    heads = ["rank", "method"]
    for arena in matrix.columns:
        name = modality(arena.tested.name)
        heads += [f"{name}<br>Dice", f"{name}<br>pixel AUROC"]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "---|" * (len(heads) - 2)]
    for block in matrix.blocks:
        if block.title != METHODS:
            lines.append(f"| | ***{block.title}*** |" + " |" * (len(heads) - 2))
        for line in block.lines:
            name, address = escape.markdown(line.name), link(line.method)
            cells = ["–" if line.mean_rank is None else f"{line.mean_rank:.1f}"]
            cells.append(f"[{name}]({address})" if address else name)
            for cell in line.cells:
                cells += _pair(cell)
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _pair(cell: Cell | None) -> Iterator[str]:
    for key in (DICE, AUROC):
        if cell is None:
            yield ""
            continue
        text = short_number(cell.row.metrics.get(key))
        mark = cell.marks.get(key, "")
        text = f"**{text}**" if mark == "best" else f"{text}{SYMBOLS[mark]}"
        yield text + (" †" if cell.weak and key == DICE else "")


def columns_in_words(matrix: Matrix) -> str:
    """Returns the columns of a matrix with the version of their data and the number of seeds, as sentences."""
    told = (
        f"{modality(arena.tested.name)}: {arena.tested.name} (version {arena.tested.version}, {seeds})"
        for arena, seeds in zip(matrix.columns, matrix.seeds, strict=True)
    )
    return escape.markdown(f"{'; '.join(told)}. {mixed_words(matrix)}").strip()


def mixed_words(matrix: Matrix) -> str:
    """Returns a sentence on methods whose cells come from several versions of the method, "" if there are none."""
    if not matrix.mixed:
        return ""
    names = ", ".join(f"{name} {' and '.join(versions)}" for name, versions in matrix.mixed.items())
    return f"Different versions of a method, whose settings may differ, in one line: {names}."


def glance(matrices: list[Matrix], link: Link = no_link, more: str = "") -> str:
    """Returns the summary for the repository's front page: the best methods, and the first matrix.

    Args:
        matrices: All matrices, the first of which is shown.
        link: Address of a method's page, "" for none.
        more: A closing sentence in Markdown, with links to the rest.
    """
    if not matrices:
        return "No records yet.\n"
    first = matrices[0]
    lines = [f"**{escape.markdown(it.modality)}**: {escape.markdown(it.words)}" for it in answers(first)]
    setting = f"{escape.markdown(first.title)}; {columns_in_words(first)} Phantom results say nothing about patients."
    return "\n".join(
        [*(f"- {line}" for line in lines), "", matrix_table(first, link), f"{setting} {LEGEND} {more}".strip(), ""]
    )


INTRODUCTION = """\
# Leaderboard

Generated by `uadbench report` from the records in `records/`; do not edit.
"""
CLOSING = """\
[details.md](details.md) lists every row with intervals, spread over seeds, ceilings and records, including ablations;
`leaderboard.csv`, `.json` and `.tex` contain the same data; [published.md](published.md) compares published numbers
with ours. `uadbench report` builds the site with figures, and `uadbench verify runs/ID` recomputes every number of a
run from its maps.
"""


def board_page(matrices: list[Matrix], refused: list[Refused], link: Link = no_link) -> str:
    """Returns the first page of the leaderboard: the matrix, then a short table for each other preset and source.

    Args:
        matrices: All matrices.
        refused: Files that were refused.
        link: Address of a method's page, "" for none.
    """
    parts = [INTRODUCTION, glance(matrices, link), CLOSING]
    for matrix in matrices[1:]:
        parts += [f"## {escape.markdown(matrix.title)}\n", matrix_table(matrix, link)]
        rules = f"Protocol {matrix.rules[0]}, version {matrix.rules[1]}"
        parts.append(f"{columns_in_words(matrix)} {escape.markdown(rules)}.\n")
    if refused:
        parts.append("## Refused files\n")
        parts += [f"- {escape.markdown(item.file)}: {escape.markdown(item.reason)}" for item in refused]
        parts.append("")
    return "\n".join(parts)


def fill_markers(file: Path, text: str) -> list[Path]:
    """Writes text between the two markers of a file; a missing file or one without markers is not changed.

    Returns:
        The file, if it was written.
    """
    page = file.read_text(encoding="utf-8") if file.is_file() else ""
    content = between_markers(page, BEGIN, END, text)
    return [] if content is None else [atomic_text(file, content)]
