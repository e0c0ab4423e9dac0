"""Asking a ranker, and bringing its answer to the layers of the target's float model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convkit.analysis.sensitivity import tap
from convkit.analysis.sensitivity.layermap import LayerMap, columns, layer_map
from convkit.analysis.sensitivity.noise import Anchor, known
from convkit.codec import decode, encode
from convkit.engine.digest import digest_key
from convkit.engine.machine import unmet_requirement
from convkit.engine.session import Found, Samples, Session, Stage
from convkit.errors import ConvkitError
from convkit.plugin.ranking import Ranker, RankSettings, Together
from convkit.plugin.runtimes import Tracer
from convkit.traces import Trace, read

MATRICES = "ranking.safetensors"
GRADIENTS, TOGETHER = 16, 2
"""What sets are expected from: the samples whose outputs are compared too, and so many sets that
are really rounded together."""
SUFFICIENT = 0.5
"""Share of the multiply-accumulates whose layers must be found again for a ranking to count."""


@dataclass(frozen=True)
class Effects:
    """A ranking by the names of the target's float model.

    Attributes:
        ranker: empty where none could be had; `reason` says why no better one could.
        tensors, weights: names of tensors and of layers with weights to columns of effects.
        anchors: sets of them whose error was measured.
    """

    ranker: str = ""
    reason: str = ""
    tensors: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)
    forward: int = 0
    backward: int = 0
    float_passes: float = 0.0
    anchors: tuple[Anchor, ...] = ()


def effects(
    session: Session,
    source: Found,
    twin: Found,
    samples: Samples,
    differentiable: Callable[[str], Found],
    full: Found | None,
) -> Effects:
    """What quantizing each tensor of a float model does to its outputs, to first order.

    Args:
        source: the original, which is ranked itself where a ranker reads its format.
        twin: the float model in the target's format.
        differentiable: makes the source in the format of a ranker, or raises.
        full: the target with everything in integers; None where it cannot be made.
    """
    rankers = [
        ranker
        for ranker in session.registry.rankers.values()
        if not unmet_requirement(ranker.requirements, session.environment)
    ]
    reason = "no installed plugin ranks layers"
    for ranker in sorted(rankers, key=lambda r: r.format != source.state.format):
        try:
            with session.stage(f"ranking all tensors by {ranker.name}") as stage:
                same = ranker.format == source.state.format
                form = source if same else differentiable(ranker.format)
                found = _ranked(session, ranker, form, twin, samples, stage)
                stage.detail = f"{found.float_passes:.1f} float passes"
        except ConvkitError as error:
            reason = f"{ranker.name}: {error.message}"
            continue
        share = _share(twin, found)
        if share < SUFFICIENT:
            reason = f"only {share:.0%} of the model's arithmetic could be found again"
            continue
        return found
    if full is None:
        return Effects(reason=reason)
    try:
        with session.stage("ranking all tensors by tapping them") as stage:
            return _tapped(session, twin, full, samples, stage, reason)
    except ConvkitError as error:
        return Effects(reason=f"{reason}; {error.message}")


def completed(
    session: Session, found: Effects, twin: Found, full: Found, samples: Samples, missing: float
) -> Effects:
    """A ranking with what it cannot explain laid upon the tensors that it does not know: a runtime
    that takes a normalization apart quantizes tensors that the ranked form never had.

    Args:
        missing: the relative error power that was measured beyond what the ranking expects.
    """
    try:
        with session.stage("looking for what the ranking does not explain") as stage:
            errors = _injected(session, twin, full, samples, stage)
    except ConvkitError as error:
        session.notice(f"what the ranking does not explain stays unknown: {error.message}")
        return found
    unknown = {name: error for name, error in errors.items() if name not in found.tensors}
    total = sum(unknown.values())
    if not total:
        return found
    shares = {name: error * missing / total for name, error in unknown.items()}
    tensors = tap.beside(found.tensors, shares)
    weights = tap.beside(found.weights, {}, rows=len(shares))
    return dataclasses.replace(found, tensors=tensors, weights=weights)


def _tapped(
    session: Session, twin: Found, full: Found, samples: Samples, stage: Stage, reason: str
) -> Effects:
    """See `convkit.analysis.sensitivity.tap`.

    Raises:
        ConvkitError: a runtime cannot show its inside, or names nothing alike.
    """
    errors = _injected(session, twin, full, samples, stage)
    return Effects(tap.NAME, reason, tap.beside({}, errors), {}, 2, 0, 2.0)


def _injected(
    session: Session, twin: Found, full: Found, samples: Samples, stage: Stage
) -> Mapping[str, float]:
    traces = []
    with session.store.scratch() as scratch:
        for number, found in enumerate((twin, full)):
            folder = scratch / str(number)
            folder.mkdir()
            traces.append(trace(session, found, samples, folder, stage).nodes)
    errors = tap.injected(twin.inspection.layers, traces[0], traces[1])
    if not errors:
        raise ConvkitError("the quantized file names none of its tensors as the float one does")
    return errors


def _ranked(
    session: Session, ranker: Ranker, form: Found, twin: Found, samples: Samples, stage: Stage
) -> Effects:
    settings = RankSettings(
        gradients=GRADIENTS,
        together=TOGETHER,
        seed=session.settings.seed,
        threads=session.settings.threads,
    )
    key = digest_key(
        {
            "kind": "ranking",
            "ranker": session.implementation_key("rankers", ranker.name, ranker.requirements),
            "artifact": [form.artifact.digest, encode(form.artifact.inputs)],
            "samples": [samples.digest, samples.count],
            "settings": encode(settings),
        }
    )

    def make(folder: Path) -> Any:
        arguments = {
            "artifact": encode(form.artifact),
            "inputs": str(samples.path),
            "limit": samples.count,
            "settings": encode(settings),
            "folder": str(folder),
            "matrices": MATRICES,
        }
        return session.ask("rank", "rankers", ranker.name, arguments, stage=stage)

    folder, document, cached = session.store.produce(key, make)
    stage.outcome = "cached" if cached else "done"
    ranked = read(folder, form.inspection.layers)
    activations, weights, weighted, together = _matrices(folder / MATRICES)
    stage.progress("finding the layers again", None)
    with session.store.scratch() as scratch:
        traced = trace(session, twin, samples, scratch, stage)
        found = layer_map(ranked.nodes, weighted, traced.nodes, twin.inspection.layers)
    tensors, layers = columns(found, activations, weights)
    return Effects(
        ranker=ranker.name,
        tensors=tensors,
        weights=layers,
        forward=int(decode(int, document["forward"])),
        backward=int(decode(int, document["backward"])),
        float_passes=float(document["float_passes"]),
        anchors=_anchors(found, activations, weights, together),
    )


def _anchors(
    found: LayerMap, activations: Any, weights: Any, together: Sequence[Together]
) -> tuple[Anchor, ...]:
    places = activations.shape[1]
    return tuple(
        Anchor(
            frozenset(name for place, name in found.tensors.items() if spared[place]),
            frozenset(name for place, name in found.layers.items() if spared[places + place]),
            first,
            measured,
        )
        for spared, first, measured in known(activations, weights, together)
    )


def _matrices(path: Path) -> tuple[Any, Any, list[bool], list[Together]]:
    from safetensors.numpy import load_file

    arrays = load_file(path)
    sets = zip(arrays["together"], arrays["together_errors"], strict=True)
    return (
        arrays["activations"],
        arrays["weights"],
        [bool(w) for w in arrays["weighted"]],
        [Together(some, others, float(error)) for (some, others), error in sets],
    )


def trace(session: Session, twin: Found, samples: Samples, folder: Path, stage: Stage) -> Trace:
    """What the float model computes on the first sample.

    Raises:
        ConvkitError: its runtime cannot show its inside.
    """
    tracer = session.runner(twin.state.format)
    if not isinstance(tracer, Tracer):
        raise ConvkitError(f"no installed runner shows the inside of {twin.state.format} files")
    arguments = {
        "artifact": encode(twin.artifact),
        "inputs": str(samples.path),
        "sample": 0,
        "threads": session.settings.threads,
        "folder": str(folder),
        "budget": 0,
        "only": None,
    }
    session.ask("trace", "runners", tracer.name, arguments, stage=stage)
    return read(folder, twin.inspection.layers)


def _share(twin: Found, found: Effects) -> float:
    """Share of the multiply-accumulates whose layer's result or weights were found again."""
    layers = twin.inspection.layers
    known = sum(
        x.macs
        for x in layers
        if x.name in found.weights or any(name in found.tensors for name in x.outputs)
    )
    return known / max(1, sum(x.macs for x in layers))
