"""torch -> tflite -> tflite-int8 by litert-torch and ai-edge-quantizer, in one script."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.benchmarks.by_hand.images import load

FLOAT = r".*Decode.*|.*serving_default_output.*"
"""The sample's post-processing, as one would find it by hand in litert-torch's names."""


def main(model: Path, calibration: Path, folder: Path) -> None:
    """Write `hand.tflite` and `hand-int8.tflite`."""
    import litert_torch
    import torch
    from ai_edge_quantizer import qtyping, quantizer, recipe

    images = load(calibration)
    program = torch.export.load(model)
    edge = litert_torch.convert(program.module(), (torch.from_numpy(images[0]),))
    edge.export(str(folder / "hand.tflite"))
    tool = quantizer.Quantizer(str(folder / "hand.tflite"))
    tool.load_quantization_recipe(recipe.static_wi8_ai8())
    tool.update_quantization_recipe(
        regex=FLOAT,
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        algorithm_key=recipe.AlgorithmName.NO_QUANTIZE,
    )
    ranges = tool.calibrate({"serving_default": [{"args_0": image} for image in images]})
    (folder / "hand-int8.tflite").write_bytes(bytes(tool.quantize(ranges).quantized_model))


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
