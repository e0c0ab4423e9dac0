"""The models of the matrix, each written as a file that convkit starts from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

IMAGE = 320
"""Sides of the ultralytics models' input, in pixels."""


def digits_yolo(folder: Path) -> Path:
    """The bundled detector, trained."""
    from convkit.plugin.manager import PluginManager
    from convkit.plugin.registry import Registry

    sample = Registry(PluginManager.discover()).samples["digits-yolo"]
    return sample.folder / sample.model


def deit_tiny(folder: Path) -> Path:
    """A vision transformer from timm, without pretrained weights."""
    import timm
    import torch
    from timm.layers import set_fused_attn

    set_fused_attn(False)  # as one operator it exists from ONNX opset 14 on only
    torch.manual_seed(0)
    model = timm.create_model("deit_tiny_patch16_224", pretrained=False)
    return _export(model, (torch.rand(1, 3, 224, 224),), folder / "deit-tiny.pt2")


def text_encoder(folder: Path) -> Path:
    """Token ids through an Embedding and two pre-norm transformer blocks with LayerNorm."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, width: int, heads: int) -> None:
            super().__init__()
            self.heads = heads
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            batch, length, width = x.shape
            parts = self.qkv(self.norm1(x)).reshape(batch, length, 3, self.heads, -1)
            query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
            weights = torch.softmax(query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5, -1)
            x = x + self.out((weights @ value).transpose(1, 2).reshape(batch, length, width))
            return x + self.down(torch.relu(self.up(self.norm2(x))))

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(500, 64), nn.Embedding(32, 64)
            self.blocks = nn.Sequential(Block(64, 4), Block(64, 4))
            self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 8)

        def forward(self, ids: Any) -> Any:
            x = self.tokens(ids) + self.places.weight[: ids.shape[1]]
            return self.head(self.norm(self.blocks(x)).mean(1))

    torch.manual_seed(0)
    return _export(Encoder(), (torch.randint(0, 8, (1, 24)),), folder / "text-encoder.pt2")


def lstm(folder: Path) -> Path:
    """A recurrent classifier of sequences."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(12, 24, batch_first=True), nn.Linear(24, 5)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][:, -1])

    torch.manual_seed(0)
    return _export(Net(), (torch.rand(1, 10, 12),), folder / "lstm.pt2")


def ultralytics(name: str, packaged: str) -> Callable[[Path], Path]:
    """A detector that ultralytics describes, of seeded weights: a file of its own format, whose
    name says the scale."""

    def write(folder: Path) -> Path:
        from importlib.util import find_spec

        spec = find_spec("ultralytics")
        assert spec is not None and spec.origin is not None
        text = (Path(spec.origin).parent / "cfg" / "models" / packaged).read_text("utf-8")
        path = folder / f"{name}.yaml"
        path.write_text(text, "utf-8")
        return path

    return write


MODELS: dict[str, Callable[[Path], Path]] = {
    "digits-yolo": digits_yolo,
    "deit-tiny": deit_tiny,
    "text-encoder": text_encoder,
    "lstm": lstm,
    "yolov8n": ultralytics("yolov8n", "v8/yolov8.yaml"),
    "yolov5n": ultralytics("yolov5n", "v5/yolov5.yaml"),
    "yolov3-tiny": ultralytics("yolov3-tiny", "v3/yolov3-tiny.yaml"),
}


def _export(module: Any, example: tuple[Any, ...], path: Path) -> Path:
    import torch

    torch.export.save(torch.export.export(module.eval(), example), path)
    return path
