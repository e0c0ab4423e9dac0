"""onnx2tf itself: how it is called, and what it must not do. The lock pins its version exactly, so
that what is changed in it here is known to be there."""

from __future__ import annotations

import functools
import gc
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from convkit_onnx2tf.kernels import kernels_mended
from convkit_onnx2tf.simplifier import simplifier_kept

SCHEMA_SOURCE = (
    "ONNX2TF_TFLITE_SCHEMA_REPOSITORY",
    "ONNX2TF_TFLITE_SCHEMA_TAG",
    "ONNX2TF_TFLITE_SCHEMA_RELATIVE_PATH",
)
"""Variables that point onnx2tf at another TFLite schema than the one it brings along."""

_schema: dict[str, Any] = {}
"""The TFLite schema, once it is loaded."""


def run(model: Path, folder: Path, inputs: Sequence[str], saved: bool) -> None:
    """Convert a file that may be overwritten; `folder` gets the results and much besides.

    Inputs and outputs keep the shape that they have in ONNX. Only builtin operators of TFLite come
    out. Never goes online: samples are downloaded for int8 and for onnx2tf's own accuracy checks
    only, which are not asked for.
    """
    with ExitStack() as stack:
        stack.enter_context(_environment(model.parent))
        from onnx2tf.onnx2tf import convert

        stack.enter_context(_output_layout_kept())
        stack.enter_context(_first_failure_counts())
        stack.enter_context(_schema_loaded_once())
        stack.enter_context(simplifier_kept())
        if saved:
            _provide_tensorflow()
            stack.enter_context(kernels_mended())
        _modules_are_no_garbage(saved)
        convert(
            input_onnx_file_path=str(model),
            output_folder_path=str(folder),
            tflite_backend="flatbuffer_direct",
            flatbuffer_direct_output_saved_model=saved,
            keep_shape_absolutely_input_names=list(inputs),
            verbosity="error",
        )


@contextmanager
def variables_restored() -> Iterator[None]:
    """onnx2tf and OpenCV, which it imports, set variables of the process as they load."""
    kept = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Let onnx2tf find `onnxsim`, which it starts by name, beside the running interpreter; let it
    and Keras write temporary files and settings into the work folder; let it use no schema but
    its own."""
    before = tempfile.tempdir
    with variables_restored():
        binaries = str(Path(sys.executable).parent)
        os.environ["PATH"] = os.pathsep.join(filter(None, (binaries, os.environ.get("PATH"))))
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        os.environ["KERAS_HOME"] = str(folder)
        for name in SCHEMA_SOURCE:
            os.environ.pop(name, None)
        try:
            yield
        finally:
            tempfile.tempdir = before


@contextmanager
def _output_layout_kept() -> Iterator[None]:
    """Let outputs have the axes that ONNX says.

    onnx2tf drops a transpose before an output, the model's own as well as one that it made itself
    to return from channels last, and tells nobody: the shape is another then, or, among equal
    sizes, only the values are.
    """
    from onnx2tf.tflite_builder.passes import layout_transpose

    dropped = layout_transpose._TRAILING_OUTPUT_LAYOUT_PERMS
    layout_transpose._TRAILING_OUTPUT_LAYOUT_PERMS = frozenset()
    try:
        yield
    finally:
        layout_transpose._TRAILING_OUTPUT_LAYOUT_PERMS = dropped


@contextmanager
def _first_failure_counts() -> Iterator[None]:
    """Let a refusal be one.

    After a failure onnx2tf tries again with custom operators, which no runtime has, and with
    another meaning of NonMaxSuppression (one class for each box), and calls that a success.
    """
    from onnx2tf import tflite_builder

    original = tflite_builder.export_tflite_model_flatbuffer_direct
    failures: list[Exception] = []

    def export(**settings: Any) -> Any:
        if failures:
            raise failures[0]
        try:
            return original(**settings, flatbuffer_direct_show_progress=False)
        except Exception as exc:
            failures.append(exc)
            raise

    tflite_builder.export_tflite_model_flatbuffer_direct = export
    try:
        yield
    finally:
        tflite_builder.export_tflite_model_flatbuffer_direct = original


@contextmanager
def _schema_loaded_once() -> Iterator[None]:
    """onnx2tf executes the 680 kB of its own TFLite schema anew for each model; the variables that
    would point it at another are taken away above."""
    from onnx2tf import tflite_builder

    original = tflite_builder.load_schema_module

    def load(folder: str) -> dict[str, Any]:
        Path(folder).mkdir(parents=True, exist_ok=True)  # the original does so, too
        if not _schema:
            _schema.update(original(folder))
        return _schema

    tflite_builder.load_schema_module = load
    try:
        yield
    finally:
        tflite_builder.load_schema_module = original


@functools.cache
def _modules_are_no_garbage(saved: bool) -> None:
    """onnx2tf collects garbage twice for each model, which took most of the time of small ones
    while the million objects of what is imported were looked at."""
    gc.freeze()


def _provide_tensorflow() -> None:
    """Hand TensorFlow to onnx2tf, which would import it together with tf-keras.

    Nothing on this road uses Keras, and tf-keras depends on the GPU build of TensorFlow.
    """
    import tensorflow as tf
    from onnx2tf.utils import tf_optional

    if tf_optional._TF_MODULES is None:
        tf.get_logger().setLevel("FATAL")
        tf_optional._TF_MODULES = tf_optional.TensorFlowModules(
            tf=tf, tf_keras=None, wrapper_function_type=None
        )
