"""Starts TensorFlow quietly, and says which distribution it comes in."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

REQUIREMENTS = ("tensorflow-cpu>=2.18|tensorflow>=2.18",)
"""Either will do; this plugin's own dependencies name the smaller one where it has wheels."""

FLATBUFFERS = "flatbuffers>=24.3"
SAFETENSORS = "safetensors>=0.4"


def tensorflow(threads: int = 0) -> Any:
    """The module.

    Args:
        threads: of one operator; 0 leaves it to TensorFlow. It can be set only before the first
            operator runs in this process; afterwards the first setting stays.
    """
    import logging

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _keras_home():
        import tensorflow as tf

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
    """Let Keras, which TensorFlow imports, write its settings into no user's home.

    Keras 3 writes them as soon as it is imported, and reads them only then.
    """
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
    """What a TensorFlow error says, without the traceback in its message."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[0].rstrip(".:")[:300] if lines else type(exc).__name__
