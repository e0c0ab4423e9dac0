"""Small torch programs and the shared machinery of this plugin's tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from convkit.plugin import (
    Artifact,
    CalibrationData,
    ConverterBase,
    HopContext,
    Inspection,
    QuantRecipe,
    QuantRule,
    ReadOptions,
    State,
    TensorSpec,
    sample_key,
)
from convkit_litert.converter import TorchToTflite
from convkit_litert.inspector import LiteRtInspector
from convkit_litert.runner import LiteRtRunner


class Detector(nn.Module):
    """Boxes in pixels and scores in 0..1 in one output, as YOLO models have them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.SiLU())
        self.body = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1), nn.SiLU(), nn.MaxPool2d(3, 1, 1))
        self.up = nn.Upsample(scale_factor=2)
        self.box = nn.Conv2d(48, 16, 1)
        self.score = nn.Conv2d(48, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        fine = self.stem(images)
        joined = torch.cat([fine, self.up(self.body(fine))], dim=1)
        bins = self.box(joined).flatten(2).reshape(-1, 4, 4, 256).transpose(2, 3).softmax(3)
        boxes = (bins @ torch.arange(4.0).reshape(4, 1)).squeeze(3) * 200.0
        return torch.cat([boxes, self.score(joined).flatten(2).sigmoid()], dim=1)


class Encoder(nn.Module):
    """A transformer over ids, averaged under a mask (which ends in a division)."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 32)
        self.block = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True, activation="gelu")
        self.head = nn.Linear(32, 5)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = self.block(self.table(ids))
        weights = mask.unsqueeze(-1).float()
        return self.head((hidden * weights).sum(1) / weights.sum(1))


class Many(nn.Module):
    """Twelve inputs, outputs in a dict whose keys are not sorted, one of them given twice."""

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        total = sum(inputs, start=torch.zeros(1, 4))
        return {"z": inputs[11] * 2, "b": total, "a": inputs[2] - inputs[10], "again": total}


class Recurrent(nn.Module):
    """An LSTM with two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 8, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        states, (hidden, _) = self.lstm(x)
        return self.head(states[:, -1]), hidden


class TwoEnds(nn.Module):
    """A picture and ids in, a map and a vector out; big enough to be worth quantizing."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(16, 32, 3, 1, 1), nn.ReLU())
        self.table = nn.Embedding(12, 32)
        self.head = nn.Linear(32, 40)

    def forward(self, image: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(self.stem(image))
        return features, self.head(features.mean((2, 3)) + self.table(ids).mean(1))


def export(module: nn.Module, inputs: tuple[Tensor, ...], path: Path, **kwargs: object) -> Artifact:
    """A `.pt2` of the module, described as the torch plugin's inspector does."""
    program = torch.export.export(module.eval(), inputs, **kwargs)  # type: ignore[arg-type]
    torch.export.save(program, path)
    signature = program.graph_signature
    nodes = {node.name: node for node in program.graph.nodes}

    def specs(names: Sequence[str]) -> tuple[TensorSpec, ...]:
        values = [(name, nodes[name].meta["val"]) for name in names]
        return tuple(
            TensorSpec(
                name,
                tuple(d if isinstance(d, int) else str(d) for d in value.shape),
                str(value.dtype).removeprefix("torch."),
            )
            for name, value in values
        )

    return Artifact(
        path,
        State("torch"),
        specs(signature.user_inputs),
        specs(signature.user_outputs),
        traits={"container": "pt2"},
    )


def context(
    folder: Path, calibration: CalibrationData | None = None, keep: Sequence[str] = ()
) -> HopContext:
    """A hop's context with a recipe that keeps the named layers in float."""
    recipe = QuantRecipe("test", (QuantRule(tuple(keep), "asked"),)) if keep else QuantRecipe()
    return HopContext(
        folder, lambda phase, fraction: None, calibration=calibration, recipe=recipe, threads=1
    )


def to_tflite(source: Artifact, path: Path) -> Artifact:
    """Convert with the default options."""
    return TorchToTflite().convert(source, path, {"batch": 1}, context(path.parent))


def quantize(
    quantizer: ConverterBase,
    source: Artifact,
    path: Path,
    calibration: CalibrationData | None = None,
    keep: Sequence[str] = (),
    **options: object,
) -> Artifact:
    """Run a quantizer with its defaults and the given options."""
    chosen = {option.name: option.default for option in quantizer.options} | options
    hop = context(path.parent, calibration, keep)
    made: Artifact = quantizer.convert(source, path, chosen, hop)  # type: ignore[attr-defined]
    return made


def calibration(path: Path, samples: Sequence[Sequence[np.ndarray]]) -> CalibrationData:
    """Write samples as the engine does."""
    save_file(
        {
            sample_key(number, place): np.ascontiguousarray(array)
            for number, sample in enumerate(samples)
            for place, array in enumerate(sample)
        },
        path,
    )
    return CalibrationData(path, len(samples), "0" * 64, "test")


def inspect(path: Path) -> Inspection:
    """Read a file back."""
    return LiteRtInspector().inspect(path, ReadOptions())


def run(artifact: Artifact, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """One inference."""
    return list(LiteRtRunner().open(artifact, 1).run(inputs))


def moved(artifact: Artifact, path: Path) -> Artifact:
    """The same description for another file."""
    return replace(artifact, path=path)


def sqnr(reference: np.ndarray, value: np.ndarray) -> float:
    """Signal to noise in dB."""
    noise = float(((reference - value) ** 2).sum())
    return 10 * float(np.log10(float((reference**2).sum()) / max(noise, 1e-30)))


@dataclass(frozen=True)
class Converted:
    """A module, its `.pt2`, its float TFLite file, and data for it."""

    module: nn.Module
    source: Artifact
    tflite: Artifact
    calibration: CalibrationData
    sample: list[np.ndarray]

    def reference(self) -> list[np.ndarray]:
        """The module's own outputs on the sample."""
        with torch.no_grad():
            made = self.module(*map(torch.from_numpy, self.sample))
        if isinstance(made, dict):
            made = list(made.values())
        return [v.numpy() for v in (made if isinstance(made, list | tuple) else (made,))]
