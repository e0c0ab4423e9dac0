"""Write an ONNX model: one file while it fits one, else with its weights beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import onnx

DATA_SUFFIX = ".data"
"""What the file of external weights is called: the model's own name and this."""

_INLINE_BYTES = 1024
"""Weights up to this size stay in the model: scales, shapes and the like."""

_ALIGNMENT = 4096
"""Larger weights begin at a page of their own, so that a runtime can map them into memory."""


def save(model: onnx.ModelProto, output: Path, folder: Path) -> None:
    """Write the model to `output`, and to `output` with `DATA_SUFFIX` where it passes
    `reading.LARGE_BYTES`. External weights are copied piece by piece. The model is used up.

    Args:
        folder: where the files of external weights lie that have not been read.
    """
    from convkit_onnx import reading

    if reading.weight_bytes(model) < reading.LARGE_BYTES:
        reading.load_weights(model, folder)
    else:
        with output.with_name(output.name + DATA_SUFFIX).open("wb") as data:
            for tensor in model.graph.initializer:
                if _movable(tensor):
                    _move(tensor, data, folder, output.name + DATA_SUFFIX)
    output.write_bytes(model.SerializeToString(deterministic=True))


def _movable(tensor: Any) -> bool:
    import onnx

    from convkit_onnx import reading

    text = tensor.data_type == onnx.TensorProto.STRING
    outside = tensor.data_location == onnx.TensorProto.EXTERNAL
    return outside or (not text and reading.byte_size(tensor) > _INLINE_BYTES)


def _move(tensor: Any, data: BinaryIO, folder: Path, name: str) -> None:
    import onnx

    from convkit_onnx import reading

    data.seek(-data.tell() % _ALIGNMENT, 1)
    start = data.tell()
    for piece in reading.content(tensor, folder):
        data.write(piece)
    for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data"):
        tensor.ClearField(field)
    tensor.ClearField("uint64_data")
    del tensor.external_data[:]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    where = {"location": name, "offset": start, "length": data.tell() - start}
    for key, value in where.items():
        tensor.external_data.add(key=key, value=str(value))
