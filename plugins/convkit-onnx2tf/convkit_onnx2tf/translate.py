"""One conversion, from an artifact to an artifact. Runs inside the isolated environment."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError, InputError
from convkit.plugin import Artifact, HopContext, State, TensorSpec
from convkit_onnx2tf import results, tool
from convkit_onnx2tf.boundary import Port, prepare
from convkit_onnx2tf.functions import write_out
from convkit_onnx2tf.names import TENSORFLOW, TFLITE
from convkit_onnx2tf.nearest import rename_nearest
from convkit_onnx2tf.vectors import reshape_vectors

if TYPE_CHECKING:
    from convkit_onnx2tf.results import Found

_PROTOBUF_LIMIT = 1_900_000_000
_REASON = re.compile(r"\bmessage=(.*)", re.DOTALL)
_CHANNELS_LAST = {4: "NHWC", 5: "NDHWC"}
_HINT = (
    "onnx2tf has no way to say this in TFLite's operators. Simplify the model or fix its shapes, "
    "or take another road (`convkit plan --explain` shows them)."
)


def translate(
    artifact: Artifact, output: Path, target: State, native: bool, context: HopContext
) -> Artifact:
    """Write `output` as a TFLite file or a SavedModel.

    Raises:
        InputError: the file is not ONNX, or does not have the inputs that the artifact names.
        ConversionError: onnx2tf does not know an operator, or fails on one.
    """
    saved = target.format == "tf-saved"
    context.progress("preparing the model", None)
    # Parsing comes first: a damaged file should not have to wait for TensorFlow.
    model = _load(artifact.path)
    model = write_out(model)
    rename_nearest(model)
    reshape_vectors(model)
    inputs, outputs = prepare(model, TENSORFLOW if saved else TFLITE, native)
    _check_names(artifact, "inputs", artifact.inputs, inputs)
    _check_names(artifact, "outputs", artifact.outputs, outputs)
    with _made(context.workdir) as folder:
        source, made = folder / "model.onnx", folder / "made"
        _save(model, source)
        context.progress("translating operators", None)
        _run(artifact, source, made, [port.name for port in inputs.values()], saved)
        if saved:
            found = results.of_saved_model(made)
            results.take_saved_model(made, output)
        else:
            file = made / "model_float32.tflite"
            found = results.of_tflite(file)
            shutil.move(file, output)
    return Artifact(
        path=output,
        state=target,
        inputs=_specs(inputs, artifact.inputs, found[0], saved),
        outputs=_specs(outputs, artifact.outputs, found[1], saved),
        traits={"exporter": "onnx2tf"},
        read=artifact.read,
    )


def _load(path: Path) -> Any:
    import onnx

    try:
        model = onnx.load(str(path))
    except Exception as exc:
        raise InputError(
            f"{path.name} cannot be read as ONNX: {_first_line(exc)}",
            hint="The file is damaged, or its external data are missing beside it.",
        ) from exc
    if not model.graph.output:
        raise InputError(f"{path.name} holds no ONNX graph", hint="The file may be truncated.")
    return model


def _save(model: Any, path: Path) -> None:
    import onnx

    large = model.ByteSize() > _PROTOBUF_LIMIT
    onnx.save(model, str(path), save_as_external_data=large)


def _check_names(
    artifact: Artifact, what: str, specs: tuple[TensorSpec, ...], found: Mapping[str, Port]
) -> None:
    if specs and {spec.name for spec in specs} != set(found):
        raise InputError(
            f"{artifact.path.name} has the {what} {', '.join(found)} and not "
            f"{', '.join(spec.name for spec in specs)}"
        )


@contextmanager
def _made(workdir: Path) -> Iterator[Path]:
    """A folder for everything that onnx2tf writes; a worker stays there while it runs, since the
    tool writes some files where it stands."""
    folder, before = workdir / "onnx2tf", Path.cwd()
    folder.mkdir()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)


def _run(artifact: Artifact, source: Path, made: Path, inputs: list[str], saved: bool) -> None:
    try:
        tool.run(source, made, inputs, saved)
    except SystemExit as exc:  # its answer to what it calls a usage error
        raise ConversionError(
            f"onnx2tf gave up on {artifact.path.name}; its log says why", hint=_HINT
        ) from exc
    except Exception as exc:
        raise ConversionError(
            f"onnx2tf could not convert {artifact.path.name}: {_reason(exc)}", hint=_HINT
        ) from exc


def _specs(
    ports: Mapping[str, Port],
    sources: tuple[TensorSpec, ...],
    found: Mapping[str, Found],
    saved: bool,
) -> tuple[TensorSpec, ...]:
    """Specs in the artifact's order, in the file's own where it does not say.

    Raises:
        ConversionError: the result has other inputs or outputs than it should.
    """
    expected = {port.name for port in ports.values()}
    if expected != set(found):
        raise ConversionError(
            f"onnx2tf made a model with {', '.join(sorted(found)) or 'nothing'} "
            f"in the place of {', '.join(sorted(expected))}",
            hint=_HINT,
        )
    known = {spec.name: spec for spec in sources}
    return tuple(
        _spec(ports[old], found[ports[old].name], known.get(old), saved) for old in (known or ports)
    )


def _spec(port: Port, found: Found, source: TensorSpec | None, saved: bool) -> TensorSpec:
    """What the file says; names of open sizes and the layout come from the source.

    Raises:
        ConversionError: a size is not the source's.
    """
    shape: tuple[int | str | None, ...] = found.shape
    layout = source.layout if source else ""
    if source is not None:
        stated = tuple(source.shape[axis] for axis in port.permutation or range(len(source.shape)))
        if not stated and shape == (1,):
            shape = ()  # both say one value of a scalar, and take and give a scalar
        if len(shape) == len(stated) and set(shape) == {1}:
            shape = stated  # TFLite's way to write sizes that follow from an input's values
        if not _agree(shape, stated):
            raise ConversionError(
                f"onnx2tf gave {port.name} the shape {list(found.shape)} "
                f"in the place of {list(stated)}",
                hint=_HINT,
            )
        if 0 in stated:  # TFLite writes an empty axis as 1
            shape = stated
        shape = tuple(s if d is None else d for d, s in zip(shape, stated, strict=True))
    if port.permutation:
        layout = _CHANNELS_LAST[len(port.permutation)]
    return TensorSpec(port.name, shape, found.dtype, layout=layout, permutation=port.permutation)


def _agree(found: tuple[int | str | None, ...], stated: tuple[int | str | None, ...]) -> bool:
    return len(found) == len(stated) and (
        0 in stated
        or all(
            f == s
            for f, s in zip(found, stated, strict=True)
            if f is not None and isinstance(s, int)
        )
    )


def _reason(exc: BaseException) -> str:
    """The innermost message, which names the operator, without the codes around it."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    text = str(exc).strip()
    found = _REASON.search(text)
    return _clean(found.group(1) if found else text) or type(exc).__name__


def _first_line(exc: BaseException) -> str:
    return _clean(str(exc)) or type(exc).__name__


def _clean(text: str) -> str:
    """The first line, or the last where TensorFlow put a traceback before it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    return lines[-1 if lines[0].startswith("in user code") else 0].rstrip(".")[:300]
