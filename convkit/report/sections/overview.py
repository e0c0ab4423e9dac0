"""At a glance: the answers, the limits that were set, and one row a model."""

from __future__ import annotations

from convkit.comparison import Comparison
from convkit.report import words
from convkit.report.blocks import Block, Cell, Column, Note, Section, Table, Tile, Tiles
from convkit.report.entries import Entry, entries, made, metric_name
from convkit.report.headline import (
    agreement_words,
    best,
    fastest,
    keepers,
    quality_words,
    size_words,
    smallest,
    speed_words,
)
from convkit.report.palette import STATUS_OF


def overview(comparison: Comparison) -> Section | None:
    """Tiles, gates, drift, and the table of all models."""
    everything = entries(comparison)
    if not everything:
        return None
    blocks: list[Block] = [*_gates(comparison), *_drift(comparison)]
    tiles = _tiles(comparison)
    if tiles:
        blocks.append(Tiles(tiles))
    blocks.append(_table(comparison, everything))
    return Section("overview", "At a glance", blocks)


def _gates(comparison: Comparison) -> list[Block]:
    if not comparison.gates:
        return []
    failed = [g for g in comparison.gates if not g.passed]
    items = tuple(
        f"{'failed' if not g.passed else 'met'}: {g.limit}, {g.title}: {g.message}"
        for g in (*failed, *(g for g in comparison.gates if g.passed))
    )
    text = (
        f"{words.count(len(failed), 'limit')} of {len(comparison.gates)} not met"
        if failed
        else f"{words.count(len(items), 'limit')} set, all met"
    )
    return [Note(text, "bad" if failed else "good", items)]


def _drift(comparison: Comparison) -> list[Block]:
    if not comparison.drift:
        return []
    text = "Float formats that do not agree with the original in the metric"
    return [Note(text, "warn", comparison.drift)]


def _tiles(comparison: Comparison) -> tuple[Tile, ...]:
    files = made(entries(comparison))
    if len(files) < 2:
        return ()
    name = metric_name(comparison)
    questions: dict[int, list[str]] = {}
    quick, fast = fastest(keepers(files, comparison)), fastest(files)
    for question, entry in (
        (f"Fastest that keeps its {name}" if name else "Fastest", quick),
        (f"Fastest, whatever its {name}", fast if fast != quick else None),
        (f"Best {name}", best(files)),
        ("Smallest", smallest(files)),
    ):
        if entry is not None:
            questions.setdefault(entry.index, []).append(question)
    everything = entries(comparison)
    return tuple(
        _tile(
            ", ".join([q[0], *(f"{p[0].lower()}{p[1:]}" for p in q[1:])]),
            everything[at],
            comparison,
        )
        for at, q in questions.items()
    )


def _tile(question: str, entry: Entry, comparison: Comparison) -> Tile:
    figures = []
    if entry.ratio is not None:
        figures.append(f"{speed_words(entry)} ({words.time(entry.seconds)})")
    if entry.metric is not None:
        figures.append(quality_words(entry))
    elif entry.verification is not None:
        figures.append(agreement_words(entry))
    figures.append(size_words(entry, comparison))
    return Tile(question, entry.title, tuple(figures), entry.marker)


def _table(comparison: Comparison, everything: tuple[Entry, ...]) -> Table:
    """Only the columns that have something in them."""
    columns, cells = [Column("model")], [[_name(e)] for e in everything]
    name = metric_name(comparison)
    further = [
        (Column("size", numeric=True), [_size(e, everything[0]) for e in everything]),
        (Column(name, numeric=True), [_metric(e) for e in everything]),
        (
            Column("time", numeric=True, note="Time: median of one inference; share of the "
                   "baseline's with its confidence interval."),
            [_time(e) for e in everything],
        ),
        (Column("speed"), [_speed(e) for e in everything]),
        (
            Column("agreement", note="Agreement: of the outputs with the original's, on the "
                   "verification samples; SQNR of the worst part of an output."),
            [_agreement(e) for e in everything],
        ),
        (
            Column("integers", numeric=True, note="Integers: share of the multiply-accumulates "
                   "that compute in integers, as found in the file."),
            [Cell(words.percent(e.integer_share, 1)) for e in everything],
        ),
    ]  # fmt: skip
    for column, values in further:
        if any(cell.text != words.NONE for cell in values):
            columns.append(column)
            for row, cell in zip(cells, values, strict=True):
                row.append(cell)
    return Table(
        "All models", tuple(columns), tuple(tuple(row) for row in cells), cards=True, quiet=True
    )


def _name(entry: Entry) -> Cell:
    details = [] if entry.title == entry.model.state else [entry.model.state]
    if entry.original:
        details.append("the original")
    if entry.model.state.endswith("int8") and entry.precision != "int8":
        details.append(f"truly {entry.precision}")
    if entry.error:
        return Cell(entry.title, ": ".join([*details, entry.model.error]), "bad", entry.marker)
    if entry.model.pareto:
        details.append("on the Pareto front")
    return Cell(entry.title, ", ".join(details), "", entry.marker)


def _size(entry: Entry, original: Entry) -> Cell:
    if entry.size is None or original.size is None or entry.original:
        return Cell(words.size(entry.size))
    return Cell(words.size(entry.size), words.times(entry.size / original.size))


def _metric(entry: Entry) -> Cell:
    if entry.metric is None:
        error = entry.scored.error if entry.scored is not None else ""
        return Cell("not scored", error, "bad") if error else Cell(words.NONE)
    status = "bad" if entry.value is None else ""
    detail = words.change(entry.change) if entry.change is not None else ""
    return Cell(words.score(entry.metric.value), detail, "bad" if status else "")


def _time(entry: Entry) -> Cell:
    if entry.seconds is None:
        return Cell(words.NONE)
    ratio = entry.ratio
    if ratio is None:
        return Cell(words.time(entry.seconds))
    return Cell(
        words.time(entry.seconds),
        f"{words.times(ratio.value)} ({words.span(ratio.low, ratio.high)})",
    )


def _speed(entry: Entry) -> Cell:
    if entry.timed is None:
        return Cell(words.NONE)
    if entry.timed.error:
        return Cell("not measured", entry.timed.error, "bad")
    if entry.ratio is None:
        return Cell("baseline" if entry.seconds is not None else words.NONE)
    return Cell(entry.ratio.verdict, "", STATUS_OF.get(entry.ratio.verdict, ""))


def _agreement(entry: Entry) -> Cell:
    found = entry.verification
    if found is None:
        return Cell(words.NONE)
    detail = words.decibels(found.sqnr_db) if found.slices else ""
    return Cell(found.verdict, detail, STATUS_OF.get(found.verdict, ""))
