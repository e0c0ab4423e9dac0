"""How outputs agree, part by part: shared by evaluation and verification."""

from __future__ import annotations

from collections.abc import Sequence

from convkit.report import words
from convkit.report.blocks import Cell, Column, Table
from convkit.verification import SliceAgreement


def slice_table(slices: Sequence[SliceAgreement], caption: str) -> Table:
    """One row a slice."""
    classes = any(s.top1 is not None for s in slices)
    columns = [
        Column("output"),
        Column("SQNR", numeric=True),
        Column("cosine", numeric=True),
        Column("largest difference", numeric=True),
        Column("largest value", numeric=True),
    ]
    if classes:
        columns.append(Column("same class", numeric=True))
    columns.append(Column("remarks"))
    rows = []
    for part in slices:
        cells = [
            Cell(part.output, part.part, code=True),
            Cell(words.decibels(part.sqnr_db)),
            Cell(words.fixed(part.cosine, 6)),
            Cell(words.figure(part.max_abs)),
            Cell(words.figure(part.reference_max)),
        ]
        if classes:
            cells.append(Cell(words.percent(part.top1)))
        remark = "; ".join(remarks(part))
        bad = part.collapsed or part.non_finite
        cells.append(Cell(remark or words.NONE, status="bad" if bad else ""))
        rows.append(tuple(cells))
    return Table(caption, tuple(columns), tuple(rows))


def remarks(part: SliceAgreement) -> list[str]:
    """What the figures alone do not say."""
    found = []
    if part.collapsed:
        found.append("constant, where the original varies")
    if part.non_finite:
        found.append("NaN or infinity in other places")
    if part.constant:
        found.append("constant in the original: proves little")
    if part.faintest_db < part.sqnr_db - 10:
        found.append(f"worst sample {words.decibels(part.faintest_db)}")
    if part.varying_db < part.sqnr_db - 10:
        found.append(f"what varies between samples {words.decibels(part.varying_db)}")
    return found
