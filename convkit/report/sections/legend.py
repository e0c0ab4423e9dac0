"""What the markers of some models mean."""

from __future__ import annotations

from collections.abc import Sequence

from convkit.report.blocks import Legend, Marker
from convkit.report.entries import Entry
from convkit.report.palette import SHAPES, colour, shape, split_state


def legend(drawn: Sequence[Entry]) -> Legend:
    """Shapes for formats, colours for precisions."""
    states = [split_state(e.model.state) for e in drawn]
    formats = dict.fromkeys(f for f, _ in states)
    precisions = dict.fromkeys(p for _, p in states)
    return Legend(
        (
            ("shape: format", tuple((f, Marker(shape(f), "var(--ink)")) for f in formats)),
            (
                "colour: precision",
                tuple((p, Marker(SHAPES["square"], colour(p))) for p in precisions),
            ),
        )
    )
