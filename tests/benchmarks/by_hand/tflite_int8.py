"""tf-saved -> tflite-int8 by TFLiteConverter, with the post-processing kept in float.

The names of what to keep in float come from the float TFLite, so that is converted first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.by_hand.images import load


def main(folder: Path, calibration: Path) -> None:
    """Write `hand-int8.tflite`."""
    import tensorflow as tf

    images = load(calibration)
    saved = str(folder / "hand-saved")
    plain = tf.lite.TFLiteConverter.from_saved_model(saved).convert()
    interpreter = tf.lite.Interpreter(model_content=plain)
    operators = interpreter._get_ops_details()
    names = {t["index"]: t["name"] for t in interpreter.get_tensor_details()}
    last = max(i for i, op in enumerate(operators) if op["op_name"] == "CONV_2D")
    island = [names[op["outputs"][0]] for op in operators[last + 1 :]]

    def samples() -> Iterator[list[Any]]:
        yield from ([image] for image in images)

    converter = tf.lite.TFLiteConverter.from_saved_model(saved)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=island)
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=samples, debug_options=options
    )
    (folder / "hand-int8.tflite").write_bytes(debugger.get_nondebug_quantized_model())


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:3]))
