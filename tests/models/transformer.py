"""Encoder blocks of a transformer, pre-norm, written out in plain operators."""

from __future__ import annotations

from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Map (n, tokens, width) to the same shape; `bias` is added to the attention's logits."""
        n, count, width = x.shape
        size = width // self.heads
        query, key, value = (
            part(x).reshape(n, count, self.heads, size).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        logits = query @ key.transpose(2, 3) * size**-0.5
        if bias is not None:
            logits = logits + bias
        mixed = (logits.softmax(3) @ value).transpose(1, 2).reshape(n, count, width)
        y: Tensor = self.out(mixed)
        return y


class Block(nn.Module):
    """Attention and a two-layer perceptron, each behind a LayerNorm and beside a skip."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 3 * width)
        self.act = nn.GELU()
        self.narrow = nn.Linear(3 * width, width)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Keep the shape (n, tokens, width)."""
        x = x + self.attention(self.norm1(x), bias)
        y: Tensor = x + self.narrow(self.act(self.wide(self.norm2(x))))
        return y
