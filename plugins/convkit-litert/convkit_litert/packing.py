"""Reading a file for changes, and writing it back without waste."""

from __future__ import annotations

import hashlib
from typing import Any

_ALIGNMENT = 16
"""The schema asks for it on constant data; the generated Python writer does not keep it."""


def unpack(data: bytes | bytearray) -> Any:
    """A mutable `ModelT` of the schema; constants stored behind the flatbuffer are taken in."""
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.read_model_from_bytearray(bytearray(data))


def pack(model: Any) -> bytes:
    """Serialize a `ModelT`, writing equal vectors once.

    A quantized file repeats itself: every weight and bias carries a list of zero points that
    are all zero, every branch the same shapes. A flatbuffer may refer to one vector from many
    tables, so sharing loses nothing and every reader of the format takes it. Equal models give
    equal bytes. The lists in `model` become arrays.
    """
    _to_arrays(model)
    builder = _sharing_builder()(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _to_arrays(model: Any) -> None:
    """Numeric lists as arrays, which the generated writer passes to `CreateNumpyVector`."""
    import numpy as np

    def convert(owner: Any, kinds: dict[str, type[np.generic]]) -> None:
        for name, kind in kinds.items():
            value = getattr(owner, name)
            if value is not None:
                setattr(owner, name, np.asarray(value, dtype=kind))

    for graph in model.subgraphs:
        convert(graph, {"inputs": np.int32, "outputs": np.int32})
        for operator in graph.operators or ():
            convert(operator, {"inputs": np.int32, "outputs": np.int32})
        for tensor in graph.tensors or ():
            convert(tensor, {"shape": np.int32, "shapeSignature": np.int32})
            if tensor.quantization is not None:
                convert(
                    tensor.quantization,
                    {
                        "scale": np.float32,
                        "zeroPoint": np.int64,
                        "min": np.float32,
                        "max": np.float32,
                    },
                )
    for buffer in model.buffers:
        if buffer.data is not None:
            buffer.data = np.frombuffer(memoryview(buffer.data).cast("B"), dtype=np.uint8)


def _sharing_builder() -> type[Any]:
    import flatbuffers

    class SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
        """Writes a vector of numbers only if no equal one has been written."""

        def __init__(self, size: int) -> None:
            super().__init__(size)
            self._written: dict[tuple[int, bytes], int] = {}

        def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802,N803
            """Byte vectors are constants and custom options: aligned as the schema demands."""
            wanted = _ALIGNMENT if elemSize == 1 else alignment
            return super().StartVector(elemSize, numElems, wanted)

        def CreateNumpyVector(self, x: Any) -> int:  # noqa: N802
            """The offset of an equal earlier vector, else of a new one."""
            key = (int(x.itemsize), hashlib.sha256(x.tobytes()).digest())
            if key not in self._written:
                self._written[key] = int(super().CreateNumpyVector(x))
            return self._written[key]

    return SharingBuilder
