"""What onnx2tf made, read back from the files."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SAVED_MODEL = ("saved_model.pb", "fingerprint.pb", "variables", "assets")


@dataclass(frozen=True)
class Found:
    """A tensor at an end of the result; None is an open size."""

    shape: tuple[int | None, ...]
    dtype: str


Ends = tuple[Mapping[str, Found], Mapping[str, Found]]
"""Inputs and outputs by name."""


def of_tflite(path: Path) -> Ends:
    """Read with the interpreter, but without making it ready to run."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))

    def ends(details: Iterable[Mapping[str, Any]]) -> Mapping[str, Found]:
        return {
            str(detail["name"]): Found(
                tuple(int(d) if d >= 0 else None for d in detail["shape_signature"]),
                np.dtype(detail["dtype"]).name,
            )
            for detail in details
        }

    return ends(interpreter.get_input_details()), ends(interpreter.get_output_details())


def of_saved_model(folder: Path) -> Ends:
    """Read the only signature."""
    import tensorflow as tf

    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]

    def found(spec: Any) -> Found:
        shape = () if spec.shape.rank is None else tuple(spec.shape)
        return Found(shape, spec.dtype.name)

    inputs = {name: found(spec) for name, spec in signature.structured_input_signature[1].items()}
    outputs = {name: found(spec) for name, spec in signature.structured_outputs.items()}
    return inputs, outputs


def take_saved_model(folder: Path, output: Path) -> None:
    """Move the SavedModel out of a folder in which much else lies."""
    output.mkdir()
    for name in _SAVED_MODEL:
        if (folder / name).exists():
            shutil.move(folder / name, output / name)
