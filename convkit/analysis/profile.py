"""Which kernels a runtime really runs for a model, in which arithmetic, and for how long."""

from __future__ import annotations

from dataclasses import replace

from convkit.codec import decode, encode
from convkit.delegates import ExecutionProfile
from convkit.engine.random_samples import random_samples
from convkit.engine.session import Found, Session, Stage
from convkit.errors import UsageError
from convkit.plugin.runtimes import Profiler

RUNS = 20
"""Inferences of a profile where nobody says how many."""


def profilers(session: Session, format_id: str) -> list[Profiler]:
    """The runners of a format that can be used here and can show what they run."""
    return [r for r in session.runners(format_id) if isinstance(r, Profiler)]


def profile_found(
    session: Session, title: str, found: Found, runs: int = RUNS, stage: Stage | None = None
) -> ExecutionProfile:
    """Profile a model in its runtime, on random inputs of its shapes.

    Raises:
        UsageError: no runner of the format can show what it runs.
        ConversionError: the runtime cannot load or run the model.
    """
    format_id = found.state.format
    runner = next(iter(profilers(session, format_id)), None)
    if runner is None:
        able = sorted(
            {r.format for r in session.registry.runners.values() if isinstance(r, Profiler)}
        )
        raise UsageError(
            f"no installed runtime shows what it runs of {format_id} files",
            hint=f"There are profilers for {', '.join(able)}: convert the model first."
            if able
            else "`convkit plugins` shows what is installed and what is broken.",
        )
    samples = random_samples(session, found.artifact)
    with session.store.scratch() as scratch:
        folder = scratch / "profile"
        folder.mkdir()
        answer = session.ask(
            "profile",
            "runners",
            runner.name,
            {
                "artifact": encode(found.artifact),
                "inputs": str(samples.path),
                "threads": session.settings.threads,
                "runs": runs,
                "folder": str(folder),
            },
            stage=stage,
        )
    seen: ExecutionProfile = decode(ExecutionProfile, answer)
    share = _integer_macs(seen, found)
    notes = seen.notes
    if share is None and found.inspection.macs:
        notes = (*notes, "Most of the multiply-accumulates are in layers that no kernel names.")
    return replace(seen, model=title, integer_macs=share, notes=notes)


def _integer_macs(profile: ExecutionProfile, found: Found) -> float | None:
    """The share of multiply-accumulates that ran in integers; None where kernels cannot be traced
    back to layers that hold most of them."""
    macs = {layer.name: layer.macs for layer in found.inspection.layers if layer.macs}
    total = sum(macs.values())
    known = integer = 0
    for kernel in profile.layers:
        own = sum(macs.pop(name, 0) for name in kernel.layers)
        if kernel.compute:
            known += own
            integer += own if kernel.integer else 0
    if not total or known < 0.5 * total:
        return None
    return integer / known
