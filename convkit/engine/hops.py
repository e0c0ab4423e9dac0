"""One hop: run a converter in a worker, read the result back, and keep it in the store."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.artifact import Artifact, State
from convkit.calibration import CalibrationData
from convkit.codec import decode, encode
from convkit.engine import layout
from convkit.engine.companions import content_digest, places, whole_size
from convkit.engine.digest import digest_file, digest_key
from convkit.engine.session import Found, Session, Stage, traits_of
from convkit.errors import ConversionError, InputError, PrecisionError
from convkit.inspection import Inspection
from convkit.plans import Step
from convkit.plugin.edges import Converter
from convkit.quant import QuantRecipe

RESULT_STEM = "artifact"
FLOATS = frozenset({"fp32", "fp16"})
PERMUTED_FILE = "calibration.safetensors"


@dataclass(frozen=True)
class HopResult:
    """A finished hop.

    Attributes:
        seconds: the converter's own time, of the run that filled the store.
        cached: it came from the store.
    """

    found: Found
    seconds: float
    cached: bool


def run_hop(
    session: Session,
    step: Step,
    source: Artifact,
    calibration: CalibrationData | None,
    recipe: QuantRecipe | None,
    stage: Stage,
) -> HopResult:
    """Run (or find) one hop.

    Raises:
        ConversionError: the converter failed, or broke its contract.
        PrecisionError: the file is not of the precision that it was to be.
    """
    converter = session.registry.converters[step.converter]
    data = calibration if converter.needs_calibration else None
    key = digest_key(
        {
            "kind": "hop",
            "implementation": session.implementation_key(
                "converters", converter.name, converter.requirements
            ),
            "lock": converter.isolated.lock if converter.isolated else "",
            "source": [source.digest, encode(source.inputs), encode(source.outputs)],
            "read": encode(source.read),
            "options": encode(step.options),
            "calibration": data.digest if data else "",
            "recipe": encode(recipe),
            "cpu": sorted(session.environment.cpu_features),
            "seed": session.settings.seed,
            "threads": session.settings.threads,
        }
    )

    def make(folder: Path) -> Any:
        return _convert(session, step, converter, source, data, recipe, folder, stage)

    folder, document, cached = session.store.produce(key, make)
    artifact = decode(Artifact, document["artifact"])
    artifact = dataclasses.replace(artifact, path=folder / artifact.path)
    stage.outcome = "cached" if cached else "done"
    found = Found(artifact, decode(Inspection, document["inspection"]))
    return HopResult(found, document["seconds"], cached)


def _convert(
    session: Session,
    step: Step,
    converter: Converter,
    source: Artifact,
    calibration: CalibrationData | None,
    recipe: QuantRecipe | None,
    folder: Path,
    stage: Stage,
) -> Any:
    home = session.registry.formats[step.target.format]
    output = folder / (RESULT_STEM + home.suffix(step.target.precision))
    before = _fingerprint(source.path)
    with session.store.scratch() as workdir:
        start = time.perf_counter()
        arguments = {
            "artifact": encode(dataclasses.replace(layout.plain(source), notes=())),
            "output": str(output),
            "options": dict(step.options),
            "workdir": str(workdir),
            "calibration": encode(_in_its_axes(calibration, source, folder)),
            "recipe": encode(recipe),
            "seed": session.settings.seed,
            "threads": session.settings.threads,
            "cpu_features": sorted(session.environment.cpu_features),
        }
        with _not_the_users_fault(converter):
            answer = session.ask(
                "convert",
                "converters",
                converter.name,
                arguments,
                stage=stage,
                isolated=converter.isolated,
            )
        seconds = time.perf_counter() - start
    described = decode(Artifact, answer)
    if not output.exists() or described.state != step.target:
        raise ConversionError(
            f"{converter.name} said it was done, but did not write {step.target}",
            hint="This is a fault of the plugin; its conformance suite shows more.",
        )
    if _fingerprint(source.path) != before:
        raise ConversionError(f"{converter.name} changed its own input file")
    stage.progress("reading the result back", None)
    with _not_the_users_fault(converter):
        inspection = session.inspect(output, step.target.format, described.read, stage)
    _check_truth(step, inspection)
    strange = {*inspection.companions} - {place.name for place in places(output, home)}
    if strange:
        raise ConversionError(
            f"{converter.name} wrote {', '.join(sorted(strange))}, which no {home.title} file has",
            hint="This is a fault of the plugin: its format declares the names of companions.",
        )
    (folder / PERMUTED_FILE).unlink(missing_ok=True)
    artifact = dataclasses.replace(
        described,
        path=Path(output.name),
        digest=inspection.digest or content_digest(output, inspection.companions),
        size_bytes=whole_size(output, inspection.companions),
        traits={**traits_of(inspection), **described.traits},
        inputs=layout.chain(source.inputs, described.inputs or inspection.inputs, "inputs"),
        outputs=layout.chain(source.outputs, described.outputs or inspection.outputs, "outputs"),
    )
    return {
        "artifact": encode(artifact),
        "inspection": encode(inspection),
        "seconds": seconds,
    }


def _in_its_axes(
    data: CalibrationData | None, source: Artifact, folder: Path
) -> CalibrationData | None:
    """Calibration samples in the axes of the artifact that is to be calibrated."""
    if data is None or not layout.permuted(source.inputs):
        return data
    path = folder / PERMUTED_FILE
    layout.permute_samples(data.path, source.inputs, path)
    return dataclasses.replace(data, path=path)


@contextmanager
def _not_the_users_fault(converter: Converter) -> Iterator[None]:
    """The user's file was inspected and found good, so a damaged one is the converter's doing."""
    try:
        yield
    except InputError as error:
        raise ConversionError(
            f"{converter.name} made a file that cannot be read: {error.message}",
            hint="Another road or recipe may do better.",
        ) from error


def _check_truth(step: Step, inspection: Inspection) -> None:
    found = inspection.state
    if found == step.target or _bears_no_precision(step.target, inspection):
        return
    raise PrecisionError(
        f"{step.converter} was to write {step.target}, but the file is {found}",
        hint="The file's own operators and weights say so; `convkit inspect` shows them.",
    )


def _bears_no_precision(target: State, inspection: Inspection) -> bool:
    """A file without a single float weight is as much float16 as float32: inspectors have only the
    types of its tensors to go by, and which of them count is each format's own custom."""
    weightless = not any("float" in kind for kind in inspection.parameter_bytes)
    alike = target.format == inspection.state.format
    return weightless and alike and {target.precision, inspection.state.precision} <= FLOATS


def _fingerprint(path: Path) -> str:
    """Digest of a file; size and times for a directory, whose digest would cost too much."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        return digest_key([[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in files])
    return digest_file(path)
