"""Keeping named operators of a quantized TFLite graph in float, names included.

TensorFlow's quantizer can be told to leave operators alone, by the name of their only output. That
leaves three things to mend, all done here on the finished graph:

- Operators with several results (SPLIT, UNPACK) bear no such name and are quantized all the same.
- Operators with a fixed output scale (LOGISTIC, SOFTMAX) are left in float, but their result is
  still squeezed through int8 and back, even between two operators in float.
- The quantizer renames tensors, so that a layer of the float file cannot be found again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy
from typing import Any

from convkit.errors import ConversionError
from convkit_tensorflow.tfl_model import (
    DEQUANTIZE,
    QUANTIZE,
    dtype_names,
    is_constant,
    is_quantized,
    op_types,
    tensor_names,
)


def layer_names(model: Any) -> list[str]:
    """Name of each operator of the main graph: that of its first result."""
    graph = model.subgraphs[0]
    names = tensor_names(graph)
    return [names[op.outputs[0]] if len(op.outputs) else "" for op in graph.operators]


def denied_nodes(model: Any, layers: Collection[str]) -> list[str]:
    """What `denylisted_nodes` must hold for these layers: names as stored.

    Raises:
        ConversionError: a layer is not in the model.
    """
    names = layer_names(model)
    unknown = sorted(set(layers) - set(names))
    if unknown:
        raise ConversionError(
            f"the recipe keeps {', '.join(unknown)} in float, but there is no such layer",
            hint="Layers are named by the float TFLite file of tensorflow.tflite.",
        )
    graph = model.subgraphs[0]
    return [
        graph.tensors[op.outputs[0]].name.decode()
        for op, name in zip(graph.operators, names, strict=True)
        if name in layers
    ]


class QuantizedGraph:
    """The main graph of a quantized model beside the float graph that it came from."""

    def __init__(self, model: Any, float_model: Any) -> None:
        self._model = model
        self._graph = model.subgraphs[0]
        self._float_graph = float_model.subgraphs[0]
        self._float_names = tensor_names(self._float_graph)
        self._pairs = self._align(op_types(float_model))

    def _align(self, float_types: Sequence[str]) -> list[tuple[Any, Any]]:
        """(Float operator, its quantized counterpart).

        The quantizer inserts QUANTIZE and DEQUANTIZE and otherwise keeps operators and order; where
        it does not, the names that survived tell.
        """
        quantized = [
            (op, kind)
            for op, kind in zip(self._graph.operators, op_types(self._model), strict=True)
            if kind not in (QUANTIZE, DEQUANTIZE)
        ]
        floats = [
            (op, kind)
            for op, kind in zip(self._float_graph.operators, float_types, strict=True)
            if kind not in (QUANTIZE, DEQUANTIZE)
        ]
        if [kind for _, kind in floats] == [kind for _, kind in quantized]:
            return [(f, q) for (f, _), (q, _) in zip(floats, quantized, strict=True)]
        found = {
            (self._graph.tensors[i].name, kind): op for op, kind in quantized for i in op.outputs
        }
        pairs = []
        for op, kind in floats:
            names = [self._float_graph.tensors[i].name for i in op.outputs]
            match = next((found[n, kind] for n in names if (n, kind) in found), None)
            if match is not None:
                pairs.append((op, match))
        return pairs

    def keep_float(self, layers: Collection[str]) -> None:
        """Bring the named layers to float and prove it.

        Raises:
            ConversionError: one of them computes in integers and cannot be brought back.
        """
        counterparts = {
            self._float_names[f.outputs[0]]: (f, q) for f, q in self._pairs if len(f.outputs)
        }
        for name in layers:
            if name not in counterparts:
                raise ConversionError(
                    f"the quantizer has rewritten {name}, so that it cannot be kept in float"
                )
            if not self._is_float(*counterparts[name]):
                self._bring_back(counterparts[name][1], name)
        self._drop_round_trips()
        for name in layers:
            if not self._is_float(*counterparts[name]):
                raise ConversionError(f"TensorFlow's quantizer cannot keep {name} in float")

    def restore_names(self) -> None:
        """Give every layer the name that it has in the float file; other tensors make way."""
        names: dict[int, str] = {}
        for float_op, op in self._pairs:
            for source, index in zip(float_op.outputs, op.outputs, strict=False):
                names[int(index)] = self._float_names[source]
        taken = set(names.values())
        for index, tensor in enumerate(self._graph.tensors):
            if index in names:
                continue
            name = tensor.name.decode() if tensor.name else f"tensor_{index}"
            candidate, number = name, 0
            while candidate in taken:
                number += 1
                candidate = f"{name}#{number}"
            names[index] = candidate
            taken.add(candidate)
        for index, tensor in enumerate(self._graph.tensors):
            tensor.name = names[index].encode()

    def _is_float(self, float_op: Any, op: Any) -> bool:
        """Whether all operands have the types that they have in the float graph."""
        operands = [self._graph.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
        types = [self._graph.tensors[i].type for i in op.outputs]
        expected = [self._float_graph.tensors[i].type for i in float_op.outputs]
        return types == expected and not any(is_quantized(tensor) for tensor in operands)

    def _bring_back(self, op: Any, name: str) -> None:
        """Let an operator without quantized constants compute in float, between conversions."""
        operators = self._graph.operators
        tensors = self._graph.tensors
        operands = [tensors[i] for i in op.inputs if i >= 0]
        if any(is_quantized(t) and is_constant(self._model, t) for t in operands):
            raise ConversionError(f"TensorFlow's quantizer cannot keep {name} in float")
        op.inputs, op.outputs = op.inputs.copy(), op.outputs.copy()
        for place, index in enumerate(op.inputs):
            if index >= 0 and is_quantized(tensors[index]):
                op.inputs[place] = self._float_copy(index)
                converted = self._operator(DEQUANTIZE, index, op.inputs[place])
                operators.insert(operators.index(op), converted)
        for place, index in enumerate(op.outputs):
            if is_quantized(tensors[index]):
                op.outputs[place] = self._float_copy(index)
                converted = self._operator(QUANTIZE, op.outputs[place], index)
                operators.insert(operators.index(op) + 1, converted)

    def _float_copy(self, index: int) -> int:
        """A new float32 tensor like the one at `index`."""
        from tensorflow.lite.python import schema_py_generated as schema

        tensor = copy(self._graph.tensors[index])
        tensor.type = schema.TensorType.FLOAT32
        tensor.quantization = None
        tensor.buffer = 0
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _operator(self, kind: str, source: int, target: int) -> Any:
        import numpy as np
        from tensorflow.lite.python import schema_py_generated as schema

        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(getattr(schema.BuiltinOperator, kind))
        operator.inputs = np.array([source], np.int32)
        operator.outputs = np.array([target], np.int32)
        return operator

    def _code(self, builtin: int) -> int:
        from tensorflow.lite.python import schema_py_generated as schema

        codes = self._model.operatorCodes
        for index, code in enumerate(codes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin:
                return index
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version = 2 if builtin == schema.BuiltinOperator.DEQUANTIZE else 1  # for int8
        codes.append(code)
        return len(codes) - 1

    def _drop_round_trips(self) -> None:
        """Let float operators read float results directly, and not through int8 and back."""
        graph = self._graph
        float_name = dtype_names()
        kinds = op_types(self._model)
        made_from = {
            int(op.outputs[0]): int(op.inputs[0])
            for op, kind in zip(graph.operators, kinds, strict=True)
            if kind == QUANTIZE and float_name[graph.tensors[op.inputs[0]].type] == "float32"
        }
        for op, kind in zip(list(graph.operators), kinds, strict=True):
            if kind == DEQUANTIZE and int(op.inputs[0]) in made_from:
                origin, copied = made_from[int(op.inputs[0])], int(op.outputs[0])
                graph.operators.remove(op)
                # A graph output keeps its tensor, since signatures refer to it.
                if copied in graph.outputs:
                    self._replace(origin, copied)
                    made_from = {k: copied if v == origin else v for k, v in made_from.items()}
                else:
                    self._replace(copied, origin)
        self._drop_unread()

    def _replace(self, old: int, new: int) -> None:
        for op in self._graph.operators:
            op.inputs = _replaced(op.inputs, old, new)
            op.outputs = _replaced(op.outputs, old, new)

    def _drop_unread(self) -> None:
        """Remove QUANTIZE operators whose result nobody reads any more."""
        graph = self._graph
        read = {int(i) for op in graph.operators for i in op.inputs} | set(map(int, graph.outputs))
        kinds = op_types(self._model)
        graph.operators = [
            op
            for op, kind in zip(graph.operators, kinds, strict=True)
            if kind != QUANTIZE or int(op.outputs[0]) in read
        ]


def _replaced(indices: Any, old: int, new: int) -> Any:
    if old not in indices:
        return indices
    result = indices.copy()
    result[result == old] = new
    return result
