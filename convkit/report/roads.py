"""The hops of all manifests as one tree: what several outputs share is there once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from convkit.comparison import Comparison
from convkit.manifest import Failure, HopRecord
from convkit.report.entries import Entry, entries


@dataclass
class Road:
    """An artifact on the way.

    Attributes:
        state: as spelled in the manifest.
        hop: how it was made; None for the original.
        outputs: models of the comparison that are this artifact.
        failures: hops from here that failed and were routed around.
        refusals: models that could not be made at all, at the original.
    """

    state: str
    hop: HopRecord | None = None
    outputs: list[Entry] = field(default_factory=list)
    children: list[Road] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    refusals: list[Entry] = field(default_factory=list)

    def walk(self) -> Iterator[Road]:
        """This one and all below, a parent before its children."""
        yield self
        for child in self.children:
            yield from child.walk()


def roads(comparison: Comparison) -> Road | None:
    """The tree from the original; None where no hop is known and nothing failed."""
    everything = entries(comparison)
    if not everything:
        return None
    root = Road(everything[0].model.state, outputs=[everything[0]])
    for entry in everything[1:]:
        if entry.model.manifest is not None:
            _add(root, entry)
        elif entry.model.error:
            root.refusals.append(entry)
    for failure in _failures(comparison, everything):
        _parent(root, failure).failures.append(failure)
    return root if root.children or root.failures or root.refusals else None


def _add(root: Road, entry: Entry) -> None:
    assert entry.model.manifest is not None
    at = root
    for hop in entry.model.manifest.hops:
        same = [
            c
            for c in at.children
            if c.hop is not None
            and (c.hop.converter, c.hop.target, c.hop.digest)
            == (hop.converter, hop.target, hop.digest)
        ]
        if not same:
            at.children.append(Road(hop.target, hop))
        at = same[0] if same else at.children[-1]
    at.outputs.append(entry)


def _failures(comparison: Comparison, everything: tuple[Entry, ...]) -> list[Failure]:
    """All of the run, each once: a hop that several targets needed failed for each of them."""
    found = list(comparison.failed)
    for entry in everything:
        found += entry.model.manifest.failed if entry.model.manifest is not None else ()
    return list({(f.converter, f.target, f.source, f.message): f for f in found}.values())


def _parent(root: Road, failure: Failure) -> Road:
    """Where a failed hop would have begun: the first artifact of its source state, else the
    original, since what lay between was never kept."""
    if not failure.source:
        return root
    return next((r for r in root.walk() if r.state == failure.source), root)
