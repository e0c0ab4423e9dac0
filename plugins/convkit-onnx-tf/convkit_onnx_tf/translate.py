"""The translation itself. Runs inside the isolated environment, beside onnx-tf."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from convkit.errors import ConversionError, InputError
from convkit.plugin import Artifact, HopContext, Obstacle, State, TensorSpec
from convkit_onnx_tf import pooling
from convkit_onnx_tf.names import name_nodes, rename_boundary
from convkit_onnx_tf.operators import obstacles
from convkit_onnx_tf.recurrent import pure_cells

_RAISED = re.compile(r"^[A-Z]\w*: ")
_SIGNATURE = "serving_default"
_HINT = (
    "onnx-tf implements the operators of opset 12 and older. Export at opset 12, simplify, or take "
    "another road (`convkit plan --explain` shows them)."
)


def translate(artifact: Artifact, output: Path, auto_cast: bool, context: HopContext) -> Artifact:
    """Write `output` as a SavedModel.

    Raises:
        InputError: the file is not ONNX, or does not have the inputs that the artifact names.
        ConversionError: onnx-tf does not know an operator, or fails on one.
    """
    context.progress("loading onnx-tf", None)
    with _quiet():
        import onnx

        # Parsing comes first: a damaged file should not have to wait for TensorFlow.
        model = _load(onnx, artifact.path)
        inputs, outputs = _boundary(model, artifact)
        pooling.write_out(model)
        tf, prepare = _frameworks(context)
        context.progress("translating operators", None)
        with _counted_suffixes(), pure_cells():
            try:
                # The level is given again because onnx-tf sets its own.
                rep = prepare(model, auto_cast=auto_cast, logging_level="ERROR")
                module = rep.tf_module
                # Lets the module restore static output shapes that tracing has lost.
                module.is_export = True
                function = module.__call__.get_concrete_function(**rep.signatures)
                context.progress("writing the SavedModel", None)
                tf.saved_model.save(module, str(output), signatures={_SIGNATURE: function})
            except Exception as exc:
                raise ConversionError(
                    f"onnx-tf could not translate {artifact.path.name}: {_message(exc)}", hint=_HINT
                ) from exc
    taken = {spec.name: spec for spec in artifact.inputs}
    given = {spec.name: spec for spec in artifact.outputs}
    arguments = function.structured_input_signature[1]
    results = function.structured_outputs
    return Artifact(
        path=output,
        state=State("tf-saved"),
        inputs=tuple(
            _spec(new, arguments[new], taken.get(old)) for old, new in _order(inputs, taken)
        ),
        outputs=tuple(
            _spec(new, results[new], given.get(old)) for old, new in _order(outputs, given)
        ),
        traits={"exporter": "onnx-tf"},
        read=artifact.read,
    )


def known_obstacles(artifact: Artifact) -> Sequence[Obstacle]:
    """What onnx-tf's table of handlers says against the artifact; see `operators.obstacles`."""
    with _quiet(), TemporaryDirectory() as folder, _keras_home(Path(folder)):
        import onnx
        from onnx_tf.common.handler_helper import get_all_backend_handlers

        model = onnx.load(str(artifact.path), load_external_data=False)
        opsets = {opset.domain: opset.version for opset in model.opset_import}
        return obstacles(model, get_all_backend_handlers(opsets))


def _load(onnx: Any, path: Path) -> Any:
    try:
        model = onnx.load(str(path))
    except Exception as exc:
        raise InputError(
            f"{path.name} cannot be read as ONNX: {_message(exc)}",
            hint="The file is damaged, or its external data are missing beside it.",
        ) from exc
    if not model.graph.node or not model.graph.output:
        raise InputError(f"{path.name} holds no ONNX graph", hint="The file may be truncated.")
    return model


def _boundary(model: Any, artifact: Artifact) -> tuple[dict[str, str], dict[str, str]]:
    """Safe names for inputs and outputs, after a check that they are the artifact's."""
    name_nodes(model)
    inputs, outputs = rename_boundary(model)
    for what, specs, found in (
        ("inputs", artifact.inputs, inputs),
        ("outputs", artifact.outputs, outputs),
    ):
        if specs and {spec.name for spec in specs} != set(found):
            raise InputError(
                f"{artifact.path.name} has the {what} {', '.join(found)} and not "
                f"{', '.join(spec.name for spec in specs)}"
            )
    return dict(inputs), dict(outputs)


def _order(names: dict[str, str], specs: dict[str, TensorSpec]) -> list[tuple[str, str]]:
    """(Old, new) names in the artifact's order, in the file's own where it does not say."""
    return [(old, names[old]) for old in (specs or names)]


def _spec(name: str, tensor: Any, source: TensorSpec | None) -> TensorSpec:
    """What TensorFlow says about a tensor; symbolic dimensions and layout from the source."""
    shape: tuple[int | str | None, ...]
    if tensor.shape.rank is None:
        shape = source.shape if source else ()
    else:
        shape = tuple(tensor.shape)
        if source is not None and len(source.shape) == len(shape):
            shape = tuple(s if d is None else d for d, s in zip(shape, source.shape, strict=True))
    return TensorSpec(name, shape, tensor.dtype.name, layout=source.layout if source else "")


def _frameworks(context: HopContext) -> tuple[Any, Any]:
    with _keras_home(context.workdir):
        import tensorflow as tf

        if context.threads:
            try:
                tf.config.threading.set_intra_op_parallelism_threads(context.threads)
                tf.config.threading.set_inter_op_parallelism_threads(context.threads)
            except RuntimeError:
                pass  # TensorFlow runs already in this worker; its threads cannot change any more
        from onnx_tf.backend import prepare

    return tf, prepare


@contextmanager
def _keras_home(folder: Path) -> Iterator[None]:
    """Let Keras, which onnx-tf imports, neither read nor write settings in the user's home."""
    before = os.environ.get("KERAS_HOME")
    os.environ["KERAS_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["KERAS_HOME"]
        else:
            os.environ["KERAS_HOME"] = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence TensorFlow's start-up messages and the farewells of tensorflow-addons.

    Logging is switched off as a whole, because onnx-tf's handlers set levels while they run.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def _counted_suffixes() -> Iterator[None]:
    """Let onnx-tf number the names that it makes unique.

    It asks for random ones (`uuid4`), which would give other bytes at each run.
    """
    from onnx_tf import common

    numbers = count()
    original = common.uuid
    common.uuid = SimpleNamespace(
        uuid4=lambda: uuid.UUID(hashlib.md5(b"%d" % next(numbers)).hexdigest())
    )
    try:
        yield
    finally:
        common.uuid = original


def _message(exc: BaseException) -> str:
    """The line that says something, without the traceback that TensorFlow puts into messages."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    if not lines:
        return type(exc).__name__
    if not lines[0].startswith("in user code"):
        return lines[0].rstrip(".")[:300]
    last = max((i for i, line in enumerate(lines) if _RAISED.match(line)), default=len(lines) - 1)
    return _RAISED.sub("", lines[last]).rstrip(".")[:300]
