"""torch -> onnx at opset 12 by the legacy exporter, simplified."""

from __future__ import annotations

import sys
from pathlib import Path


def main(model: Path, folder: Path) -> None:
    """Write `hand.onnx`."""
    import onnx
    import onnxslim
    import torch

    program = torch.export.load(model)
    module = torch.export.unflatten(program)
    torch.onnx.export(
        module,
        (torch.zeros(1, 3, 160, 160),),
        str(folder / "raw.onnx"),
        dynamo=False,
        opset_version=12,
        input_names=["images"],
        output_names=["predictions"],
    )
    onnx.save(onnxslim.slim(onnx.load(folder / "raw.onnx")), folder / "hand.onnx")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:3]))
