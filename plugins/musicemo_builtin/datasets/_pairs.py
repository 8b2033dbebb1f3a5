"""Tables of judged pairs: which of two tracks listeners find higher."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from musicemo.contracts import Judgement
from musicemo.errors import nearest
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._sheet import Row, Sheet

__all__ = ["TIE", "PairColumns", "read_pairs"]

#: Cell of a listener for whom neither track is higher.
TIE = "tie"


@dataclass(frozen=True, slots=True)
class PairColumns:
    """The columns of a table of judged pairs.

    Attributes:
        first: Column with the id of one track.
        second: Column with the id of the other track.
        targets: Columns with the judgements.
        weight: Column with the number of listeners, or another weight of the row; None for one listener per row.
    """

    first: str
    second: str
    targets: tuple[str, ...]
    weight: str | None = None


def read_pairs(
    path: Path,
    columns: PairColumns,
    ids: Collection[str],
    problems: Problems,
    *,
    missing: Collection[str] | None = None,
    decimal: str | None = None,
) -> dict[str, dict[str, list[Judgement]]]:
    """Return track -> target -> its judgements.

    Args:
        path: Delimited text with a header and a row per judgement.
        columns: The names of its columns.
        ids: The ids of the tracks.
        problems: Collection of problems with the rows.
        missing: Cells that mark a missing value; see `is_missing`.
        decimal: The decimal separator of the weights.

    Raises:
        InputError: The file cannot be read, lacks a column, or has no rows.
    """
    needs = {"the first track": columns.first, "the second track": columns.second}
    needs |= {f"the judgement of {target}": target for target in columns.targets}
    if columns.weight is not None:
        needs["the number of listeners"] = columns.weight
    judgements: dict[str, dict[str, list[Judgement]]] = {}
    for row in Sheet(path, needs, problems, missing=missing, decimal=decimal):
        first, second = row.cells[columns.first], row.cells[columns.second]
        for column, name in ((columns.first, first), (columns.second, second)):
            if name not in ids:
                row.blame(column, f"{name!r} is not the id of a track{nearest(name, ids)}", "id")
        if first == second:
            row.blame(columns.second, f"compares {first!r} with itself", "itself")
        weight = _weight(row, columns.weight)
        if weight is None:
            continue
        for target in columns.targets:
            share = _share(row, target, columns)
            if share is not None:
                of_track = judgements.setdefault(first, {}).setdefault(target, [])
                of_track.append(Judgement(second, share * weight, (1 - share) * weight))
    return judgements


def _weight(row: Row, column: str | None) -> float | None:
    """Return the weight of a row; None if it has none, or an invalid one."""
    if column is None:
        return 1.0
    weight = row.number(column, 0, 1e9)
    if weight == 0:
        row.blame(column, "is 0, but must be above 0")
        return None
    return weight


def _share(row: Row, target: str, columns: PairColumns) -> float | None:
    """Return 1 if the first track is higher, 0 if the second is, 0.5 for a tie, None if it is missing."""
    first, second = row.cells[columns.first], row.cells[columns.second]
    answers = {first: 1.0, second: 0.0, columns.first: 1.0, columns.second: 0.0, TIE: 0.5}
    if first == second:
        return None
    if (answers[first], answers[second]) != (1.0, 0.0):
        row.blame(
            columns.first,
            f"the ids {first!r} and {second!r} cannot be told from the names of the columns and {TIE!r}. Rename the "
            "columns, and set pair_ids",
            "names",
        )
        return None
    cell = row.one_of(target, answers, "is not a judgement; allowed:")
    return None if cell is None else answers[cell]
