"""Writing down what was done: an outcome becomes a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from convkit import __version__
from convkit.calibration import CalibrationData
from convkit.engine.outcomes import Outcome, WalkedHop
from convkit.engine.session import Found, Session
from convkit.lint import CalibrationWarning
from convkit.manifest import CalibrationRecord, HopRecord, Manifest
from convkit.plugin.data import MetricResult


def record(
    session: Session,
    source: Found,
    source_name: str,
    outcome: Outcome,
    metrics: Mapping[str, MetricResult] | None = None,
    warnings: tuple[CalibrationWarning, ...] = (),
) -> Manifest:
    """Describe an outcome; see `Manifest`. `warnings` are those of the calibration lint."""
    final = outcome.final
    macs = final.inspection.macs
    used = [session.registry.converters[h.step.converter] for h in outcome.hops]
    data = outcome.calibration if any(c.needs_calibration for c in used) else None
    environment = session.environment
    return Manifest(
        convkit=__version__,
        source_name=source_name,
        source_state=str(source.state),
        source_digest=source.artifact.digest,
        target=str(final.state),
        path=str(outcome.path),
        digest=final.artifact.digest,
        size_bytes=final.artifact.size_bytes,
        precision=final.inspection.state.precision,
        inputs=final.artifact.inputs,
        outputs=final.artifact.outputs,
        hops=tuple(_hop(session, h) for h in outcome.hops),
        python=environment.python,
        platform=f"{environment.platform}-{environment.machine}",
        cpu_features=tuple(sorted(environment.cpu_features & NOTED_FEATURES)),
        seed=session.settings.seed,
        threads=session.settings.threads,
        integer_macs=final.inspection.integer_macs / macs if macs else None,
        float_islands=len(final.inspection.float_islands),
        calibration=_calibration(data, warnings),
        failed=outcome.failed,
        metrics=dict(metrics or {}),
        notes=_notes(session, data),
    )


NOTED_FEATURES = frozenset({"avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})
"""Processor features that change what integer arithmetic gives or costs."""


def _hop(session: Session, hop: WalkedHop) -> HopRecord:
    converter = session.registry.converters[hop.step.converter]
    plugin = session.registry.owner("converters", converter.name)
    versions = session.versions(converter.requirements)
    if plugin.distribution:
        versions[plugin.distribution] = plugin.version
    isolated = converter.isolated
    lock = hashlib.sha256(isolated.lock.encode()).hexdigest()[:12] if isolated else ""
    artifact = hop.result.found.artifact
    return HopRecord(
        converter=converter.name,
        source=str(hop.step.source),
        target=str(hop.step.target),
        digest=artifact.digest,
        size_bytes=artifact.size_bytes,
        seconds=round(hop.result.seconds, 3),
        cached=hop.result.cached,
        options=hop.step.options,
        bound=hop.step.bound,
        versions=versions,
        environment=f"{isolated.name}@{lock}" if isolated else "",
        recipe=hop.recipe,
        attempts=hop.attempts,
        verification=hop.verification,
        predecessor=hop.predecessor,
        notes=artifact.notes,
    )


def _calibration(
    data: CalibrationData | None, warnings: tuple[CalibrationWarning, ...]
) -> CalibrationRecord | None:
    if data is None:
        return None
    return CalibrationRecord(
        source=data.source,
        transform=data.transform,
        count=data.count,
        digest=data.digest,
        seed=data.seed,
        synthetic=data.synthetic,
        warnings=warnings,
    )


def _notes(session: Session, data: CalibrationData | None) -> tuple[str, ...]:
    notes = []
    if not session.settings.verify:
        notes.append("NOT VERIFIED: verification was switched off")
    if data is not None and data.synthetic:
        notes.append("SYNTHETIC CALIBRATION: ranges come from random numbers")
    return tuple(notes)
