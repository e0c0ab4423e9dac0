"""Starts TensorFlow quietly, and says which distribution it comes in."""

from __future__ import annotations

import os
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
    import tensorflow as tf

    tf.get_logger().setLevel(logging.ERROR)
    if threads:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError:
            pass  # TensorFlow has started
    return tf


def first_line(exc: BaseException) -> str:
    """What a TensorFlow error says, without the traceback in its message."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[0].rstrip(".:")[:300] if lines else type(exc).__name__
