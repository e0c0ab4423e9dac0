"""An analysis for people: what suffers, what was tried, what was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convkit.cli.terminal import Terminal, human_bytes, human_seconds
from convkit.sensitivity import decibels

if TYPE_CHECKING:
    from convkit.sensitivity import Sensitivity, Trial

WORST = 12
"""So many layers are shown, the most sensitive first; --json and the report have them all."""


def show(terminal: Terminal, found: Sensitivity) -> None:
    """The ranking, the trials, the choice."""
    terminal.say()
    _ranking(terminal, found)
    _trials(terminal, found)
    for sentence in found.warnings:
        terminal.warn(sentence)
    for number, sentence in enumerate(found.notes):
        terminal.say(sentence, style="" if number else "1")
    cost = found.cost
    parts = f", and some on {cost.partial:.0%} of the data" if cost.partial else ""
    passes = f"{cost.float_passes:.1f} float passes, " if found.ranker else ""
    terminal.say(
        f"took {human_seconds(cost.seconds)}: {passes}{cost.builds} builds of at most"
        f" {cost.budget}, {cost.evaluations} models scored{parts}"
    )


def _ranking(terminal: Terminal, found: Sensitivity) -> None:
    if not found.ranker:
        return
    suffering = [row for row in found.rows if row.integer and row.error > 0]
    rows = sorted(suffering, key=lambda row: -row.error)[:WORST]
    if not rows:
        return
    body = [
        (
            row.scope or row.layer,
            row.op_type,
            "-" if not row.activation else f"{decibels(row.activation):.1f} dB",
            "-" if not row.weights else f"{decibels(row.weights):.1f} dB",
            "float" if row.kept else "",
        )
        for row in rows
    ]
    terminal.say(f"most sensitive of {len(found.rows)} layers, if each alone were in integers:")
    header = ("layer", "operator", "result", "weights", "chosen")
    terminal.table(header, body, right=(2, 3))
    terminal.say()


def _trials(terminal: Terminal, found: Sensitivity) -> None:
    front = set(found.front)
    shown = [t for t in found.trials if t.name in front or t.phase == "baseline"]
    chosen = found.choice
    if chosen not in shown:
        shown.append(chosen)
    shown.sort(key=lambda t: (t.price or t.float_macs or 0.0, t.islands))
    header = ["kept in float", "layers", "SQNR"]
    header += [found.metric, "drop"] if found.metric else []
    header += ["in integers", "islands", "size", "x time", ""]
    body = [_cells(found, trial) for trial in shown]
    terminal.table(header, body, right=tuple(range(1, len(header) - 1)))
    terminal.say()


def _cells(found: Sensitivity, trial: Trial) -> tuple[str, ...]:
    cells = [trial.name, str(len(trial.float_layers)), _db(trial.sqnr_db)]
    if found.metric:
        cells += [
            "-" if trial.metric is None else f"{trial.metric:.4f}",
            "-" if trial.drop is None else f"{'about ' if trial.part else ''}{trial.drop:+.4f}",
        ]
    cells += [
        "-" if trial.float_macs is None else f"{1 - trial.float_macs:.1%}",
        str(trial.islands),
        "-" if trial.size_bytes is None else human_bytes(trial.size_bytes),
        "-" if trial.time is None else f"{trial.time:.2f}",
        "chosen" if trial.name == found.chosen else "",
    ]
    return tuple(cells)


def _db(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} dB"
