"""Naming the first layer at which a float result departs from the original.

Asked only of results that are wrong or degraded: a good one costs nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convkit.alignment import Finding, divergence
from convkit.codec import decode, encode
from convkit.engine.digest import digest_key
from convkit.engine.sample_files import load_outputs
from convkit.engine.session import Found, Samples, Session, Stage
from convkit.engine.verify import outputs_of
from convkit.errors import ConvkitError
from convkit.nodes import Node
from convkit.numerics import compare
from convkit.overlaps import agreement
from convkit.plugin.runtimes import Tracer
from convkit.traces import Trace, read
from convkit.verification import Divergence, Verdict, tolerance_of

FLOATS = ("fp32", "fp16")
"""Precisions whose layers ought to agree one by one; integers differ everywhere a little."""
BUDGET = 64 << 20
"""Bytes of values kept in a first trace; the few that are shown are traced anew if they do not
fit."""
SAME_DB = 40.0
"""An output and the traced tensor that it is: one runtime, perhaps with other kernels."""


def locate(
    session: Session,
    references: Sequence[Found],
    candidate: Found,
    samples: Samples,
    verdict: Verdict,
    stage: Stage | None = None,
) -> Divergence | None:
    """The first layer of a reference whose output the candidate does not reproduce.

    Args:
        references: the original, and what to try in its place (the predecessor) where the original
            cannot be traced.
        verdict: of the candidate.

    Returns:
        None for a result that is good or in integers, where a runtime cannot show its inside, and
        where all layers agree.
    """
    if verdict not in ("wrong", "degraded") or candidate.state.precision not in FLOATS:
        return None
    for reference in references:
        runners = [session.runner(found.state.format) for found in (reference, candidate)]
        tracers = [runner for runner in runners if isinstance(runner, Tracer)]
        if len(tracers) < 2:
            continue
        if stage is not None:
            stage.progress("looking for the first diverging layer", None)
        search = _Search(session, reference, candidate, tracers, samples, stage)
        try:
            return search.remembered()
        except ConvkitError as error:
            session.notice(f"no diverging layer can be named: {error.message}")
        except Exception as error:  # looking for the reason must not hide that there is a fault
            session.notice(f"no diverging layer can be named: {type(error).__name__}: {error}")
    return None


class _Search:
    """One pair of artifacts."""

    def __init__(
        self,
        session: Session,
        reference: Found,
        candidate: Found,
        tracers: Sequence[Tracer],
        samples: Samples,
        stage: Stage | None,
    ) -> None:
        self.session = session
        self.sides = (reference, candidate)
        self.tracers = tracers
        self.samples = samples
        self.stage = stage
        self.tolerance = tolerance_of(candidate.state.precision)

    def remembered(self) -> Divergence | None:
        """The answer, from the store where it was given before."""
        key = digest_key(
            {
                "kind": "divergence",
                "artifacts": [
                    [s.artifact.digest, encode(s.artifact.inputs), encode(s.artifact.outputs)]
                    for s in self.sides
                ],
                "samples": [self.samples.digest, self.samples.count],
                "tolerance": encode(self.tolerance),
                "tracers": [
                    self.session.implementation_key("runners", t.name, t.requirements)
                    for t in self.tracers
                ],
            }
        )

        def make(_: Path) -> Any:
            return {"divergence": encode(self.found())}

        _, document, _ = self.session.store.produce(key, make)
        found: Divergence | None = decode(Divergence | None, document["divergence"])
        return found

    def found(self) -> Divergence | None:
        """Trace both sides on the sample that shows the difference best, and compare."""
        left, right = (
            outputs_of(self.session, side.artifact, self.samples, self.stage) for side in self.sides
        )
        if left is None or right is None:
            return None
        ours, theirs = (load_outputs(path, self.samples.count) for path in (left, right))
        number = _worst_sample(ours, theirs, self.samples.count)
        with self.session.store.scratch() as folder:
            traces = [self._trace(place, number, folder / str(place), None) for place in (0, 1)]
            left_nodes, right_nodes = (trace.nodes for trace in traces)
            finding = divergence(
                left_nodes,
                right_nodes,
                self._wrong(traces, _of_sample(ours, number), _of_sample(theirs, number)),
                target_db=self.tolerance.target,
                floor_db=self.tolerance.floor,
            )
            shown = _sample_db(ours, theirs, number) < self.tolerance.target
            if finding is None or (finding.sqnr_db >= self.tolerance.target and not shown):
                return None  # what is wrong does not show on one sample
            values = self._values(traces, finding, number, folder)
            return _told(left_nodes, right_nodes, finding, values)

    def _trace(self, place: int, number: int, folder: Path, only: Sequence[int] | None) -> Trace:
        folder.mkdir()
        side, tracer = self.sides[place], self.tracers[place]
        arguments = {
            "artifact": encode(side.artifact),
            "inputs": str(self.samples.path),
            "sample": number,
            "threads": self.session.settings.threads,
            "folder": str(folder),
            "budget": BUDGET,
            "only": only,
        }
        self.session.ask("trace", "runners", tracer.name, arguments, stage=self.stage)
        return read(folder, side.inspection.layers)

    def _wrong(
        self, traces: Sequence[Trace], ours: Sequence[Any], theirs: Sequence[Any]
    ) -> list[tuple[int | None, int | None]]:
        """Where the wrong outputs are in the two traces; the worst one where none is wrong by
        itself, on this sample. None are known where outputs do not answer to each other at all."""
        from convkit.sketches import sketch

        if len(ours) != len(theirs):
            return []
        specs = zip(self.sides[0].artifact.outputs, self.sides[1].artifact.outputs, strict=True)
        found: list[tuple[float, tuple[int | None, int | None]]] = []
        for (one, other), a, b in zip(specs, ours, theirs, strict=True):
            if a.dtype.kind == b.dtype.kind == "f":
                left = _place(traces[0].nodes, one.name, sketch(a))
                right = _place(traces[1].nodes, other.name, sketch(b))
                found.append((_sqnr_db(a, b), (left, right)))
        worst = min((ratio for ratio, _ in found), default=0.0)
        limit = max(worst, self.tolerance.target)
        return [places for ratio, places in found if ratio < limit or ratio == worst]

    def _values(
        self, traces: Sequence[Trace], finding: Finding, number: int, folder: Path
    ) -> tuple[Any, Any] | None:
        """The two tensors that were compared."""
        if finding.candidate is None:
            return None
        values = []
        for side, place in enumerate((finding.compared, finding.candidate)):
            value = traces[side].value(place)
            if value is None:
                again = self._trace(side, number, folder / f"{side}-again", [place])
                value = again.value(place)
            values.append(value)
        return values[0], values[1]


def _worst_sample(ours: Sequence[Any], theirs: Sequence[Any], count: int) -> int:
    """The sample on which the outputs agree least."""
    return min(range(count), key=lambda number: (_sample_db(ours, theirs, number), number))


def _sample_db(ours: Sequence[Any], theirs: Sequence[Any], number: int) -> float:
    """Agreement of the worst output on one sample."""
    pairs = zip(_of_sample(ours, number), _of_sample(theirs, number), strict=False)
    return min((_sqnr_db(a, b) for a, b in pairs), default=0.0)


def _sqnr_db(reference: Any, candidate: Any) -> float:
    """Of the worst slice of one output on one sample."""
    if reference.shape != candidate.shape:
        return float("-inf")
    slices = compare("", [reference], [candidate])
    return min(float("-inf") if s.non_finite else s.sqnr_db for s in slices)


def _of_sample(outputs: Sequence[Any], number: int) -> list[Any]:
    return [samples[number] for samples in outputs]


def _place(nodes: Sequence[Node], name: str, output: Any) -> int | None:
    """The traced tensor that an output is: by its name, else by its values; the last of several
    equals, since what hands an output out comes last."""
    named = [place for place, node in enumerate(nodes) if node.tensor and node.tensor == name]
    if named:
        return named[-1]
    best, chosen = SAME_DB, None
    for place, node in enumerate(nodes):
        if node.sketch.size == output.size:
            ratio = min(agreement(output, node.sketch)[1], 2 * SAME_DB)
            if ratio >= best:
                best, chosen = ratio, place
    return chosen


def _told(
    reference: Sequence[Node],
    candidate: Sequence[Node],
    finding: Finding,
    values: tuple[Any, Any] | None,
) -> Divergence:
    first = reference[finding.first]
    last = reference[finding.last_good] if finding.last_good is not None else None
    other = candidate[finding.candidate] if finding.candidate is not None else None
    position: tuple[int, ...] = ()
    pair: tuple[float | None, float | None] = (None, None)
    if values is not None and _comparable(*values):
        position, *shown = _largest_difference(*values, finding.order)
        pair = (shown[0], shown[1])
    return Divergence(
        layer=first.layer,
        scope=first.scope,
        op_type=first.op_type,
        counterpart=other.layer if other else "",
        reference_value=pair[0],
        candidate_value=pair[1],
        position=position,
        sqnr_db=finding.sqnr_db,
        last_good=last.layer if last else "",
        last_good_scope=last.scope if last else "",
        merged=tuple(reference[place].layer for place in finding.members[1:]),
    )


def _comparable(reference: Any, candidate: Any) -> bool:
    """Whether values were kept on both sides, of one size: a result of another shape has none that
    stand for each other."""
    return reference is not None and candidate is not None and reference.size == candidate.size


def _largest_difference(
    reference: Any, candidate: Any, order: int
) -> tuple[tuple[int, ...], float, float]:
    """Where two tensors of one size differ most, and both values there."""
    import numpy as np

    from convkit.sketches import reordered

    ours = reordered(reference, order).reshape(-1).astype(np.float64)
    theirs = candidate.reshape(-1).astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.abs(ours - theirs)
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    difference = np.where(same, 0.0, np.where(np.isfinite(difference), difference, np.inf))
    flat = int(np.argmax(difference))
    places = np.arange(reference.size).reshape(reference.shape)
    origin = int(reordered(places, order).reshape(-1)[flat])
    position = np.unravel_index(origin, reference.shape)
    return tuple(int(i) for i in position), float(ours[flat]), float(theirs[flat])
