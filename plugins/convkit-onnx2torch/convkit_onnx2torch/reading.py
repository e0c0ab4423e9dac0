"""Read an ONNX file for an importer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convkit.errors import InputError


def load(path: Path) -> Any:
    """The model with its weights in memory.

    onnx itself refuses external data outside the model's folder.

    Raises:
        InputError: not ONNX, damaged, or its external data is missing.
    """
    import onnx

    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(
            model if model.ByteSize() < onnx.checker.MAXIMUM_PROTOBUF else path
        )
    except Exception as exc:  # DecodeError, ValidationError, ValueError, OSError, ...
        text = str(exc).strip().splitlines()
        raise InputError(
            f"{path.name} cannot be read as an ONNX model: {text[0] if text else type(exc)}"
        ) from exc
    return model
