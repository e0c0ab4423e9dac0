"""A converter that lies: it hands out a TFLite file with one bias lost, and says it is done."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from convkit.plugin import (
    Artifact,
    Converter,
    ConverterBase,
    HopContext,
    ReadOptions,
    State,
    hookimpl,
)

FAULTY = "faulty.tflite"
CONV_2D = 3


class Liar(ConverterBase):
    """Takes the file that lies beside its source."""

    name = "liar.tflite"
    source = State("onnx")
    target = State("tflite")

    def convert(
        self, artifact: Artifact, output: Path, options: Mapping[str, Any], context: HopContext
    ) -> Artifact:
        """See `Converter.convert`."""
        from convkit_litert.inspector import LiteRtInspector

        context.progress("lying", None)
        shutil.copy(artifact.path.with_name(FAULTY), output)
        found = LiteRtInspector().inspect(output, ReadOptions())
        return Artifact(output, self.target, found.inputs, found.outputs)


@hookimpl
def convkit_converters() -> Iterable[Converter]:
    """The liar."""
    return (Liar(),)


def make(folder: Path) -> Mapping[str, Path]:
    """A small network as ONNX and, by another road and with a fault, as TFLite."""
    import torch
    from torch import nn

    from convkit_litert.converter import TorchToTflite

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
            self.body = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(), nn.Dropout())
            self.head = nn.Linear(8, 5)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features = self.stem(images)
            features = features + self.body(features)
            return self.head(features.mean((2, 3)))

    torch.manual_seed(0)
    program = torch.export.export(Network().eval(), (torch.rand(1, 3, 16, 16),))
    torch.export.save(program, folder / "model.pt2")
    torch.onnx.export(program, (), folder / "model.onnx", dynamo=True, verbose=False)
    source = Artifact(folder / "model.pt2", State("torch"))
    hop = HopContext(folder, lambda phase, fraction: None, threads=1)
    TorchToTflite().convert(source, folder / "right.tflite", {"batch": 1}, hop)
    (folder / FAULTY).write_bytes(_without_bias((folder / "right.tflite").read_bytes()))
    return {"source": folder / "model.onnx", "right": folder / "right.tflite"}


def _without_bias(data: bytes) -> bytes:
    """The file with the bias of its second convolution set to zero."""
    import numpy as np

    from convkit_litert import packing

    model = packing.unpack(data)
    graph = model.subgraphs[0]
    convolutions = [
        op for op in graph.operators if model.operatorCodes[op.opcodeIndex].builtinCode == CONV_2D
    ]
    buffer = model.buffers[graph.tensors[convolutions[1].inputs[2]].buffer]
    buffer.data = np.zeros(len(buffer.data), np.uint8)
    return bytes(packing.pack(model))
