"""Half precision and integers of a TFLite file, written out in float32.

float16 is widened, number for number. Of integers, weights and biases become what they stand for,
operators compute in float, and where a result was an integer it is rounded and limited as that
integer would have been, by operators of its own: `q = clip(round(x / scale))`, as the
specification of TFLite's quantization has it
(https://ai.google.dev/edge/litert/models/quantization_spec). Kernels of integers round inside as
well, so that the two agree to a step here and there, and not to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from convkit_litert import stored

LARGEST = 2**31 - 1
"""A flatbuffer has no more bytes."""

_UNROUNDED = b"/unrounded"

_MOVERS = frozenset(
    "BROADCAST_TO CONCATENATION DEPTH_TO_SPACE EXPAND_DIMS GATHER GATHER_ND MAXIMUM MAX_POOL_2D "
    "MINIMUM PACK PAD RELU RESHAPE RESIZE_NEAREST_NEIGHBOR REVERSE_V2 SLICE SPACE_TO_DEPTH SPLIT "
    "SPLIT_V SQUEEZE STRIDED_SLICE TILE TRANSPOSE UNPACK".split()
)
"""Operators that hand on what they are given, or zero: what was rounded need not be once more."""


def obstacles(model: Any) -> Iterator[tuple[str, str, int, int]]:
    """What cannot be written in float: the reason, a word for a person, and the places of the graph
    and of the operator.

    Args:
        model: a `ModelT`.
    """
    for number, graph in enumerate(model.subgraphs):
        for place, operator in enumerate(graph.operators or ()):
            tensors = [graph.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]
            for reason, found in (
                ("states in integers", any(t.isVariable and stored.is_integer(t) for t in tensors)),
                ("intermediate integers", _has_any(operator.intermediates)),
                ("weights stored sparsely", any(t.sparsity is not None for t in tensors)),
                ("scales of blocks", any(_in_blocks(t) for t in tensors)),
                ("weights in an order of their own", _is_shuffled(operator)),
            ):
                if found:
                    yield reason, _code(model, operator), number, place


def size(model: Any) -> int:
    """Bytes that the weights will take."""
    total = 0
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is not None:
                bits = stored.width(tensor) if stored.is_narrow(tensor) else 32
                total += len(data) * 32 // bits
    return total


def write_out(model: Any) -> None:
    """Rewrite a `ModelT` in place; it must have none of `obstacles`."""
    for number, graph in enumerate(model.subgraphs):
        rewriter = _Rewriter(model, graph)
        rewriter.rewrite()
        for signature in model.signatureDefs or ():
            if signature.subgraphIndex == number:
                for entry in signature.outputs or ():
                    entry.tensorIndex = rewriter.read(int(entry.tensorIndex))
    _drop_unused(model)


class _Rewriter:
    """Rewrites one graph.

    A tensor keeps its place, and with it its name and whoever reads it, as the rounded float; what
    an operator computes before it is rounded is a tensor of its own.
    """

    def __init__(self, model: Any, graph: Any) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema, self._model, self._graph = schema, model, graph
        self._constants = {i for i, t in enumerate(graph.tensors) if _bytes(model, t) is not None}
        self._integers = {i: t for i, t in enumerate(graph.tensors) if stored.is_integer(t)}
        self._steps = {
            i: (t.type, float(t.quantization.scale[0]), int(stored.zero_points(t)[0]))
            for i, t in self._integers.items()
            if i not in self._constants
        }
        self._same: dict[int, int] = {}
        self._operators: list[Any] = []

    def rewrite(self) -> None:
        """Once."""
        graph = self._graph
        self._merge_dequantized()
        for place, tensor in enumerate(list(graph.tensors)):
            if stored.is_narrow(tensor):
                self._to_float(place, tensor)
        for place in (int(i) for i in graph.inputs):
            if place in self._steps:
                if place not in self._same:
                    self._same[place] = self._copy(place, graph.tensors[place].name + b"/rounded")
                self._round(place, self._same[place], place)
        for operator in graph.operators or ():
            self._operator(operator)
        graph.operators = self._operators
        graph.outputs = [self.read(int(i)) for i in graph.outputs]

    def _merge_dequantized(self) -> None:
        """What DEQUANTIZE makes is the tensor that it reads: under the name of its result, which
        may be an output's, if the other's is none."""
        graph = self._graph
        outputs = {int(i) for i in graph.outputs}
        for operator in graph.operators or ():
            if not self._is(operator, "DEQUANTIZE"):
                continue
            source, result = int(operator.inputs[0]), int(operator.outputs[0])
            free = source not in outputs and source not in self._constants
            if free and source not in self._same:
                self._same[source] = result
            else:
                self._same[result] = self._same.get(source, source)

    def _operator(self, operator: Any) -> None:
        if self._is(operator, "DEQUANTIZE"):
            return
        read = [self.read(int(i)) for i in operator.inputs]
        if self._is(operator, "QUANTIZE"):
            result = int(operator.outputs[0])
            self._round(read[0], self.read(result), result)
            return
        given = {self._steps.get(int(i)) for i in operator.inputs if int(i) in self._integers}
        operator.inputs = read
        self._forget_types(operator)
        self._operators.append(operator)
        results = [int(i) for i in operator.outputs]
        operator.outputs = []
        for result in results:
            target, step = self.read(result), self._steps.get(result)
            if step is None or (given == {step} and self._only_moves(operator)):
                operator.outputs.append(target)
                continue
            unrounded = self._copy(target, self._graph.tensors[target].name + _UNROUNDED)
            operator.outputs.append(unrounded)
            self._round(unrounded, target, result)

    def _only_moves(self, operator: Any) -> bool:
        """Whether results are among the operands, or zero."""
        if _code(self._model, operator) not in _MOVERS:
            return False
        fused = getattr(operator.builtinOptions, "fusedActivationFunction", 0)
        kinds = self._schema.ActivationFunctionType
        return fused in (kinds.NONE, kinds.RELU)

    def _round(self, source: int, target: int, like: int) -> None:
        """`target = clip(round(source / scale), lowest, highest) * scale`, zero point at zero."""
        kind, scale, zero = self._steps[like]
        low, high = stored.limits(kind)
        options = self._schema.BuiltinOptions
        value = source
        for name, option, operand in (
            ("DIV", (options.DivOptions, self._schema.DivOptionsT), scale),
            ("ROUND", None, None),
            ("MAXIMUM", (options.MaximumMinimumOptions, self._schema.MaximumMinimumOptionsT), low),
            ("MINIMUM", (options.MaximumMinimumOptions, self._schema.MaximumMinimumOptionsT), high),
            ("MUL", (options.MulOptions, self._schema.MulOptionsT), scale),
        ):
            shift = zero if name in ("MAXIMUM", "MINIMUM") else 0
            operator = self._schema.OperatorT()
            operator.opcodeIndex = self._code_of(name)
            operator.inputs = [value]
            if operand is not None:
                operator.inputs.append(self._scalar(operand - shift))
            if option is not None:
                operator.builtinOptionsType, make = option
                operator.builtinOptions = make()
            label = b"/" + name.lower().encode()
            last = name == "MUL"
            value = target if last else self._copy(target, self._graph.tensors[target].name + label)
            operator.outputs = [value]
            self._operators.append(operator)

    def read(self, place: int) -> int:
        """Where the value of a tensor is now; -1, an operand left out, stays."""
        return self._same.get(place, place)

    def _to_float(self, place: int, tensor: Any) -> None:
        import numpy as np

        data = _bytes(self._model, tensor)
        if data is not None:
            values = stored.values(tensor, data)
            buffer = self._schema.BufferT()
            buffer.data = np.ascontiguousarray(values, np.float32).view(np.uint8).ravel()
            tensor.buffer = len(self._model.buffers)
            self._model.buffers.append(buffer)
        tensor.type = self._schema.TensorType.FLOAT32
        tensor.quantization = None

    def _copy(self, place: int, name: bytes) -> int:
        """A further tensor like this one."""
        like, made = self._graph.tensors[place], self._schema.TensorT()
        made.shape, made.shapeSignature = like.shape, like.shapeSignature
        made.hasRank = like.hasRank
        made.type = self._schema.TensorType.FLOAT32
        made.name = name
        self._graph.tensors.append(made)
        return len(self._graph.tensors) - 1

    def _scalar(self, value: float) -> int:
        import numpy as np

        buffer, made = self._schema.BufferT(), self._schema.TensorT()
        buffer.data = np.array([value], np.float32).view(np.uint8)
        made.shape, made.hasRank = [], True
        made.type = self._schema.TensorType.FLOAT32
        made.name = f"number_{len(self._model.buffers)}".encode()
        made.buffer = len(self._model.buffers)
        self._model.buffers.append(buffer)
        self._graph.tensors.append(made)
        return len(self._graph.tensors) - 1

    def _code_of(self, name: str) -> int:
        """The index of an operator's code, which is added where there is none."""
        wanted = getattr(self._schema.BuiltinOperator, name)
        for index, code in enumerate(self._model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == wanted:
                return index
        code = self._schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = wanted, min(wanted, 127), 1
        self._model.operatorCodes.append(code)
        return len(self._model.operatorCodes) - 1

    def _is(self, operator: Any, name: str) -> bool:
        return _code(self._model, operator) == name

    def _forget_types(self, operator: Any) -> None:
        """Options that say what type an operand has, or is to be quantized to."""
        options, kinds = operator.builtinOptions, self._schema.TensorType
        if hasattr(options, "quantizedBiasType"):
            options.quantizedBiasType = kinds.FLOAT32
        if hasattr(options, "asymmetricQuantizeInputs"):
            options.asymmetricQuantizeInputs = False
        for name in ("inDataType", "outDataType"):
            if stored.is_half(getattr(options, name, None)):
                setattr(options, name, kinds.FLOAT32)


def _in_blocks(tensor: Any) -> bool:
    quantization = tensor.quantization
    return quantization is not None and quantization.details is not None


def _is_shuffled(operator: Any) -> bool:
    return bool(getattr(operator.builtinOptions, "weightsFormat", 0))


def _has_any(values: Sequence[int] | None) -> bool:
    return values is not None and len(values) > 0


def _bytes(model: Any, tensor: Any) -> Any:
    """The data of a constant, None of anything else."""
    data = model.buffers[tensor.buffer].data
    return data if data is not None and len(data) else None


def _code(model: Any, operator: Any) -> str:
    """The name of an operator's kind."""
    code = model.operatorCodes[operator.opcodeIndex]
    return _operator_names().get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")


@cache
def _operator_names() -> dict[int, str]:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    return {v: k for k, v in vars(BuiltinOperator).items() if isinstance(v, int)}


def _drop_unused(model: Any) -> None:
    """Forget the data of buffers that nothing refers to any more."""
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used.update(entry.buffer for entry in model.metadata or ())
    for index, buffer in enumerate(model.buffers):
        if index not in used:
            buffer.data = None
            buffer.offset = buffer.size = 0
