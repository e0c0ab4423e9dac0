"""Starts tf2onnx quietly, with this plugin's repairs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

REQUIREMENTS = ("tf2onnx>=1.17", "tensorflow-cpu>=2.18|tensorflow>=2.18", "onnx>=1.17")


def start(threads: int = 0) -> Any:
    """The module `tensorflow`; afterwards `tf2onnx` and its registry of operators are ready.

    Args:
        threads: of one operator; 0 leaves it to TensorFlow. They count only before its first
            operator in this process.
    """
    import logging

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _keras_home():
        import tensorflow as tf

        from convkit_tf2onnx import repairs

        repairs.register()
    tf.get_logger().setLevel(logging.ERROR)
    if threads:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError:
            pass  # TensorFlow has started
    return tf


@contextmanager
def _keras_home() -> Iterator[None]:
    """Let Keras, which TensorFlow imports, write its settings into no user's home."""
    if "keras" in sys.modules:
        yield
        return
    before = os.environ.get("KERAS_HOME")
    with TemporaryDirectory() as folder:
        os.environ["KERAS_HOME"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["KERAS_HOME"]
            else:
                os.environ["KERAS_HOME"] = before


def first_line(exc: BaseException) -> str:
    """What an error says, without the traceback in its message."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[0].rstrip(".:")[:300] if lines else type(exc).__name__
