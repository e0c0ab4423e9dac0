"""Integers against float32 in ONNX Runtime on this processor: a convolutional network and one that
is mostly Linear layers, random weights, one thread, interleaved."""

from __future__ import annotations

import itertools
import tempfile
from typing import Any

import convkit
from tests.benchmarks.measure import Ratio, inferences, report

ROUNDS = 30
TARGETS = {"float32": "onnx", "static int8": "onnx-int8", "dynamic int8": "onnx-int8-dynamic"}
LIMITS = {
    ("convolutions", "static int8"): 1 / 1.3,
    ("convolutions", "dynamic int8"): 10.0,  # slower by nature; measured to say how much
    ("linear layers", "static int8"): 1 / 1.3,
    ("linear layers", "dynamic int8"): 1 / 1.3,
}


def main() -> bool:
    """Convert and measure both."""
    ratios = []
    for name, (module, example) in _networks().items():
        with tempfile.TemporaryDirectory() as folder:
            result = convkit.convert(
                module,
                to=list(TARGETS.values()),
                example_inputs=(example,),
                synthetic_calibration=True,
                output_dir=folder,
                name="network",
                settings=convkit.Settings(verify=False, keep_float="none"),
            )
            paths = {str(o.state): o.path for o in result.outputs}
            files = [paths[state] for state in TARGETS.values()]
            medians = inferences(files, example.numpy(), ROUNDS)
            times = dict(zip(TARGETS, medians, strict=True))
        for title in list(TARGETS)[1:]:
            limit = LIMITS[name, title]
            milliseconds = 1000 * times[title], 1000 * times["float32"]
            ratios.append(Ratio(f"{name}: {title} / float32, ms", *milliseconds, limit))
    return report("integers", ratios)


def _networks() -> dict[str, tuple[Any, Any]]:
    import torch
    from torch import nn

    torch.manual_seed(0)

    def block(a: int, b: int, stride: int) -> Any:
        return nn.Sequential(
            nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.SiLU()
        )

    widths = [32, 64, 128, 256]
    stages = [block(3, 32, 2)]
    for a, b in itertools.pairwise(widths):
        stages += [block(a, b, 2), block(b, b, 1), block(b, b, 1)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10)]
    layer = nn.TransformerEncoderLayer(768, 8, 3072, batch_first=True, activation="gelu")
    return {
        "convolutions": (nn.Sequential(*stages, *head).eval(), torch.randn(1, 3, 224, 224)),
        "linear layers": (nn.TransformerEncoder(layer, 3).eval(), torch.randn(1, 64, 768)),
    }
