"""Int8 of a transformer that is mostly Linear layers against float32 in torch, in every runtime:
`transformer [--blocks 4]`.

Blocks as of AIMv2: RMS normalization, attention without biases, a SwiGLU feed-forward network,
width 1024, 256 tokens. Random weights: speed and agreement with the float model are measured, not
accuracy. One thread, all models in turns.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import convkit
from convkit.benchmark import SpeedRatio
from convkit.results import Output

TARGETS = ("onnx-int8", "onnx-int8-dynamic", "openvino-int8", "torch-int8-dynamic")
WIDTH, HEADS, HIDDEN, TOKENS = 1024, 8, 2816, 256
LIMIT = 0.5
"""Time over float32 torch's that the best runtime must not exceed."""


@dataclass(frozen=True)
class Row:
    """One target."""

    target: str
    ratio: SpeedRatio
    sqnr_db: float | None
    size_bytes: int


def main(arguments: Sequence[str] = ()) -> bool:
    """Convert, measure and print."""
    parser = argparse.ArgumentParser(prog="transformer")
    parser.add_argument("--blocks", type=int, default=4)
    given = parser.parse_args(arguments)
    import torch

    model, example = _network(given.blocks)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "transformer.pt2"
        torch.export.save(torch.export.export(model, (example,)), source)
        samples = [torch.randn(1, TOKENS, WIDTH) for _ in range(8)]
        results: dict[str, Output] = {}
        for target in TARGETS:
            result = convkit.convert(source, to=target, calibration=samples, output_dir=folder)
            results[target] = result.outputs[0]
        paths = [source, *(o.path for o in results.values())]
        times = convkit.bench(paths, seconds=20, streams=())
        for target, output in results.items():
            timed = times.row(output.path.name)
            assert timed is not None
            assert timed.ratio is not None, f"{target} was not timed"
            seen = output.verification
            rows.append(Row(target, timed.ratio, seen.sqnr_db if seen else None, output.size_bytes))
    best = min(rows, key=lambda r: r.ratio.value)
    holds = best.ratio.value <= LIMIT
    print(f"\ntransformer of {given.blocks} blocks, width {WIDTH}, time over float32 torch's")
    for row in rows:
        ratio = row.ratio
        print(
            f"  {row.target:20} {ratio.value:.3f} ({ratio.low:.3f}..{ratio.high:.3f})"
            f"  {row.sqnr_db or 0:.1f} dB  {row.size_bytes / 1e6:.1f} MB"
        )
    print(f"  best {best.target}: {1 / best.ratio.value:.2f} times as fast, at least 2 wanted")
    document = {
        "benchmark": "transformer",
        "rows": [asdict(r) for r in rows],
        "limit": LIMIT,
        "holds": holds,
    }
    print(json.dumps(document))
    return holds


def _network(blocks: int) -> tuple[Any, Any]:
    import torch
    from torch import nn
    from torch.nn.functional import scaled_dot_product_attention, silu

    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
            self.out = nn.Linear(WIDTH, WIDTH, bias=False)
            self.gate = nn.Linear(WIDTH, HIDDEN, bias=False)
            self.up = nn.Linear(WIDTH, HIDDEN, bias=False)
            self.down = nn.Linear(HIDDEN, WIDTH, bias=False)

        def forward(self, x: Any) -> Any:
            """Map (n, tokens, width) to the same."""
            n, t, _ = x.shape
            parts = self.qkv(self.norm1(x)).reshape(n, t, 3, HEADS, WIDTH // HEADS)
            q, k, v = parts.permute(2, 0, 3, 1, 4)
            mixed = scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, WIDTH)
            x = x + self.out(mixed)
            y = self.norm2(x)
            return x + self.down(silu(self.gate(y)) * self.up(y))

    model = nn.Sequential(*(Block() for _ in range(blocks)), nn.RMSNorm(WIDTH))
    return model.eval(), torch.randn(1, TOKENS, WIDTH)
