"""Float outputs of a quantized file, put right where ai-edge-quantizer leaves them wrong."""

from __future__ import annotations

from typing import Any

from convkit.errors import ConversionError
from convkit_litert.model import Model

_DEQUANTIZE = 6
"""Code of the builtin operator in the schema."""


def restore_float_outputs(raw: Any, source: Model) -> None:
    """Let the graph's and the signature's outputs be the float tensors that stand for the source's.

    Where an output of the model is also an operand that must be rescaled (the last state of an
    unrolled LSTM that is concatenated with the others), ai-edge-quantizer 0.10 makes the output
    the *rescaled integer* tensor, and leaves the dequantized one that it also inserted unused.

    Args:
        raw: the quantized `ModelT`, changed in place.
        source: the float file; tensors keep their names.

    Raises:
        ConversionError: an output has no float tensor.
    """
    graph = raw.subgraphs[0]
    index = {tensor.name.decode(): place for place, tensor in enumerate(graph.tensors)}
    dequantized = {
        operator.inputs[0]: operator.outputs[0]
        for operator in graph.operators
        if _code(raw.operatorCodes[operator.opcodeIndex]) == _DEQUANTIZE
    }
    replaced: dict[int, int] = {}
    for place in source.main.outputs:
        tensor = source.main.tensors[place]
        made = index.get(tensor.name)
        if made is not None and graph.tensors[made].type != _type(tensor.dtype):
            made = dequantized.get(made)
        if made is None:
            raise ConversionError(f"ai-edge-quantizer lost the output {tensor.name}")
        replaced[place] = made
    graph.outputs = [replaced[place] for place in source.main.outputs]
    for signature in raw.signatureDefs or ():
        wanted = source.signature
        if wanted is None or signature.signatureKey.decode() != wanted.key:
            continue
        places = dict(wanted.outputs)
        for entry in signature.outputs:
            place = places[entry.name.decode()]
            entry.tensorIndex = replaced.get(place, entry.tensorIndex)


def _code(code: Any) -> int:
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def _type(dtype: str) -> int:
    from ai_edge_litert import schema_py_generated as schema

    return int(getattr(schema.TensorType, dtype.upper()))
