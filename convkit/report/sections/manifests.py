"""The record of every output: what was done, with what."""

from __future__ import annotations

from convkit.artifact import TensorSpec
from convkit.comparison import Comparison
from convkit.manifest import MANIFEST_SUFFIX, Manifest
from convkit.report import words
from convkit.report.blocks import Block, Details, Document, Facts, Note, Section


def manifests(comparison: Comparison) -> Section | None:
    """None where no file has one."""
    blocks = [
        _manifest(number, model.title, model.manifest)
        for number, model in enumerate(comparison.models)
        if model.manifest is not None
    ]
    return Section("manifests", "Manifests", blocks) if blocks else None


def _manifest(number: int, title: str, found: Manifest) -> Details:
    facts = [
        ("made from", f"{found.source_name} ({found.source_state})"),
        ("road", words.road(found.path)),
        ("digest", found.digest),
        ("digest of the original", found.source_digest),
        ("inputs", "; ".join(_tensor(t) for t in found.inputs)),
        ("outputs", "; ".join(_tensor(t) for t in found.outputs)),
        ("precision found in the file", found.precision),
    ]
    if found.integer_macs is not None:
        facts.append(("multiply-accumulates in integers", words.percent(found.integer_macs, 1)))
    if found.float_islands is not None:
        facts.append(("operators in float among integers", str(found.float_islands)))
    if found.calibration is not None:
        data = found.calibration
        kind = "random numbers" if data.synthetic else data.source
        facts.append(("calibrated on", f"{words.count(data.count, 'sample')} from {kind}"))
        facts.append(("transform", data.transform))
    versions: dict[str, str] = {}
    for hop in found.hops:
        versions.update(hop.versions)
    facts += [
        ("tools", ", ".join(f"{n} {v}" for n, v in sorted(versions.items()))),
        ("convkit", f"{found.convkit}, Python {found.python}, {found.platform}"),
        ("processor features", ", ".join(found.cpu_features)),
        ("seed, threads", f"{found.seed}, {found.threads}"),
    ]
    blocks: list[Block] = [Facts(tuple((k, v) for k, v in facts if v))]
    if found.notes:
        blocks.insert(0, Note("Noted", "warn", found.notes))
    blocks.append(Document(("models", number, "manifest"), f"{title}{MANIFEST_SUFFIX}"))
    return Details(title, tuple(blocks), summary=words.road(found.path))


def _tensor(spec: TensorSpec) -> str:
    shape = "x".join("?" if d is None else str(d) for d in spec.shape) or "scalar"
    return f"{spec.name} {shape} {spec.dtype}" + (f" {spec.layout}" if spec.layout else "")
