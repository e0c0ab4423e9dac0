"""What a program calls its inputs and outputs, kept in the program itself.

ExecuTorch stores neither names nor which axes are open. Its convention for such facts is a method
that returns a constant (as language models carry their vocabulary's size); ours is `METHOD`, a
JSON text. The method that computes is as it would be without.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from convkit.plugin import TensorSpec

METHOD = "convkit_tensors"

Specs = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]
"""Of inputs and of outputs."""


def to_text(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> str:
    """The value of the method."""
    return json.dumps({"inputs": list(map(_plain, inputs)), "outputs": list(map(_plain, outputs))})


def from_text(text: str) -> Specs:
    """The reverse of `to_text`.

    Raises:
        ValueError: not such a text.
    """
    try:
        told: Mapping[str, Any] = json.loads(text)
        inputs = tuple(map(_spec, told["inputs"]))
        return inputs, tuple(map(_spec, told["outputs"]))
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"not a description of tensors: {exc!r}") from exc


def agrees(told: Sequence[TensorSpec], found: Sequence[TensorSpec]) -> bool:
    """Whether a description fits the tensors of the program, whose open axes have their largest
    size there."""
    return len(told) == len(found) and all(
        a.dtype == b.dtype
        and len(a.shape) == len(b.shape)
        and all(not isinstance(x, int) or x == y for x, y in zip(a.shape, b.shape, strict=True))
        for a, b in zip(told, found, strict=True)
    )


def _plain(spec: TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "layout": spec.layout,
    }


def _spec(told: Mapping[str, Any]) -> TensorSpec:
    shape = tuple(told["shape"])
    texts = (told["name"], told["dtype"], told["layout"])
    sound = all(isinstance(text, str) for text in texts) and all(
        isinstance(size, int | str) or size is None for size in shape
    )
    if not sound:
        raise ValueError("not a description of tensors")
    return TensorSpec(told["name"], shape, told["dtype"], told["layout"])
