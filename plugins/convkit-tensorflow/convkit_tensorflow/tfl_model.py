"""Reading and writing TFLite flatbuffers with the schema that TensorFlow ships."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convkit.errors import ConversionError
from convkit.plugin import Artifact, TensorSpec

IDENTIFIER = b"TFL3"
_DATA_ALIGNMENT = 16
"""Of constants, as `force_align` in the schema demands; runtimes map them in place."""
QUANTIZE, DEQUANTIZE = "QUANTIZE", "DEQUANTIZE"


def read(data: bytes) -> Any:
    """A mutable `ModelT`."""
    from tensorflow.lite.tools.flatbuffer_utils import read_model_from_bytearray

    return read_model_from_bytearray(bytearray(data))


def write(model: Any) -> bytes:
    """The bytes of a `ModelT`, each distinct vector and string stored once.

    A quantized file repeats itself: a zero point for every channel of every weight and bias, the
    same shapes and permutations over and over. Sharing them saves about 7 % of a small network
    and changes nothing for a reader.
    """
    import flatbuffers

    class Sharing(flatbuffers.Builder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(1 << 20)
            self._vectors: dict[tuple[str, bytes], int] = {}
            self._strings: dict[Any, int] = {}

        def CreateNumpyVector(self, x: Any) -> int:  # noqa: N802
            key = (x.dtype.str, x.tobytes())
            if key not in self._vectors:
                if x.dtype.itemsize == 1:
                    self.Prep(_DATA_ALIGNMENT, x.nbytes)
                self._vectors[key] = super().CreateNumpyVector(x)
            return self._vectors[key]

        def CreateString(self, s: Any, *args: Any, **keywords: Any) -> int:  # noqa: N802
            if s not in self._strings:
                self._strings[s] = super().CreateString(s, *args, **keywords)
            return self._strings[s]

    builder = Sharing()
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def op_types(model: Any) -> list[str]:
    """Type of each operator of the main graph, such as `CONV_2D`."""
    from tensorflow.lite.python import schema_py_generated as schema

    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    codes = [
        names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes
    ]
    return [codes[op.opcodeIndex] for op in model.subgraphs[0].operators]


def dtype_names() -> dict[int, str]:
    """numpy's name of each tensor type."""
    from tensorflow.lite.python import schema_py_generated as schema

    return {v: k.lower() for k, v in vars(schema.TensorType).items() if isinstance(v, int)}


def tensor_names(graph: Any) -> list[str]:
    """Names of a subgraph's tensors, made unique in the way of convkit's TFLite inspector.

    A repeated name gets the first free of `#1`, `#2`, ...
    """
    taken: set[str] = set()
    result = []
    for index, tensor in enumerate(graph.tensors):
        name = tensor.name.decode() if tensor.name else f"tensor_{index}"
        candidate, number = name, 0
        while candidate in taken:
            number += 1
            candidate = f"{name}#{number}"
        taken.add(candidate)
        result.append(candidate)
    return result


def is_constant(model: Any, tensor: Any) -> bool:
    """Whether the tensor's data are in the file."""
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def is_quantized(tensor: Any) -> bool:
    """An integer that stands for a real number."""
    from tensorflow.lite.python import schema_py_generated as schema

    kind = schema.TensorType
    integer = tensor.type in (kind.INT8, kind.UINT8, kind.INT16, kind.INT32, kind.INT4, kind.INT64)
    quantization = tensor.quantization
    return integer and quantization is not None and quantization.scale is not None


def specs(model: Any, artifact: Artifact) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs as the file has them, in the artifact's order.

    Raises:
        ConversionError: the file's signature does not have the artifact's names.
    """
    signature = model.signatureDefs[0]
    tensors = model.subgraphs[signature.subgraphIndex].tensors
    return (
        _specs("inputs", signature.inputs, tensors, artifact.inputs),
        _specs("outputs", signature.outputs, tensors, artifact.outputs),
    )


def _specs(
    what: str, entries: Sequence[Any], tensors: Sequence[Any], wanted: Sequence[TensorSpec]
) -> tuple[TensorSpec, ...]:
    names = dtype_names()
    found = {entry.name.decode(): tensors[entry.tensorIndex] for entry in entries}
    if {source.name for source in wanted} - set(found):
        raise ConversionError(
            f"the TFLite file has the {what} {', '.join(found)} and not "
            f"{', '.join(source.name for source in wanted)}"
        )
    result = []
    for source in wanted:
        tensor = found[source.name]
        stored = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
        shape: tuple[int | str | None, ...] = tuple(
            None if d < 0 else int(d) for d in (() if stored is None else stored)
        )
        if len(shape) == len(source.shape):
            shape = tuple(s if d is None else d for d, s in zip(shape, source.shape, strict=True))
        quantized = is_quantized(tensor)
        result.append(
            TensorSpec(
                source.name,
                shape,
                names[tensor.type],
                layout=source.layout,
                scale=float(tensor.quantization.scale[0]) if quantized else None,
                zero_point=int(tensor.quantization.zeroPoint[0]) if quantized else None,
            )
        )
    return tuple(result)
