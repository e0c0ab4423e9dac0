"""Operators of a TFLite file with all that the rules of accelerators speak of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convkit.errors import InputError
from convkit.plugin import Operand, Operation
from convkit_litert.model import Model, Operator, Tensor, parse

_FEW = 64
"""Constants up to so many elements are shown: axes, paddings, strides, shapes."""
_SIZES = {
    "BROADCAST_TO": (1,),
    "EXPAND_DIMS": (1,),
    "FILL": (0,),
    "MEAN": (1,),
    "ONE_HOT": (1,),
    "PAD": (1,),
    "PADV2": (1,),
    "RANGE": (0, 1, 2),
    "REDUCE_MAX": (1,),
    "REDUCE_MIN": (1,),
    "RESHAPE": (1,),
    "RESIZE_BILINEAR": (1,),
    "RESIZE_NEAREST_NEIGHBOR": (1,),
    "SLICE": (1, 2),
    "SPLIT_V": (1,),
    "STRIDED_SLICE": (1, 2, 3),
    "SUM": (1,),
    "TILE": (1,),
    "TOPK_V2": (1,),
    "TRANSPOSE": (1,),
    "TRANSPOSE_CONV": (0,),
}
"""Operands that decide the size of the result."""
_DATA_DEPENDENT = ("NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "UNIQUE", "WHERE")
_WIDTHS = {"int32": 4, "int64": 8}
_ENUMS = {
    "fusedActivationFunction": "ActivationFunctionType",
    "mode": "MirrorPadMode",
    "padding": "Padding",
    "weightsFormat": "FullyConnectedOptionsWeightsFormat",
}


def operations(path: Path) -> tuple[Operation, ...]:
    """The operators of the main graph, in execution order.

    Raises:
        InputError: not TFLite, truncated, or inconsistent in itself.
    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise InputError(f"{path.name} cannot be read: {exc.strerror}") from exc
    model = parse(data, path.name)
    try:
        return _Reader(model, data).operations()
    except Exception as exc:  # every accessor may fail on damaged offsets, in many ways
        raise InputError(
            f"{path.name} is a damaged TFLite file: the options of an operator lie outside of it",
            hint="Copy or convert it again.",
        ) from exc


class _Reader:
    """Reads beside a parsed model what that leaves in the file."""

    def __init__(self, model: Model, data: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._data = data
        self._model = model
        self._file = schema.Model.GetRootAs(data, 0)
        self._graph = self._file.Subgraphs(0)
        graph = model.main
        written = {*graph.inputs, *(i for op in graph.operators for i in op.outputs)}
        self._constant = {
            # a constant without elements, such as the shape of a scalar, has no bytes either
            i
            for i, t in enumerate(graph.tensors)
            if t.constant or (not t.elements and i not in written)
        }
        self._known = set(self._constant)
        """Tensors whose elements are known before a run: computed from constants and sizes."""
        self._dynamic: set[int] = set()

    def operations(self) -> tuple[Operation, ...]:
        from convkit_litert.layers import layers

        graph, found = self._model.main, []
        pairs = zip(layers(self._model), graph.operators, strict=True)
        for number, (layer, op) in enumerate(pairs):
            given = {i for i in op.inputs if i >= 0}
            folded = bool(given) and given <= self._constant
            if folded:
                self._constant.update(op.outputs)
            self._size(op)
            table = self._graph.Operators(number)
            found.append(
                Operation(
                    layer=layer.name,
                    op_type=layer.op_type,
                    inputs=tuple(self._operand(i) if i >= 0 else None for i in op.inputs),
                    outputs=tuple(self._operand(i) for i in op.outputs),
                    version=int(self._file.OperatorCodes(table.OpcodeIndex()).Version()),
                    attributes=self._attributes(table),
                    macs=layer.macs,
                    scope=layer.scope,
                )
            )
        return tuple(found)

    def _size(self, op: Operator) -> None:
        """Tell whether the interpreter could allocate an operator's results beforehand.

        An input that the file leaves open has the size that is stored until somebody resizes it.
        """
        given = {i for i in op.inputs if i >= 0}
        deciding = {op.inputs[p] for p in _SIZES.get(op.op_type, ()) if p < len(op.inputs)}
        unknown = {i for i in deciding if i >= 0} - self._known
        if unknown or given & self._dynamic or op.op_type in _DATA_DEPENDENT:
            self._dynamic.update(op.outputs)
        elif given <= self._known or op.op_type in ("SHAPE", "RANK"):
            self._known.update(op.outputs)

    def _operand(self, index: int) -> Operand:
        tensor = self._model.main.tensors[index]
        single = tensor.quantized and len(tensor.scales) == 1
        shape: tuple[int | None, ...] = tensor.shape
        if index in self._dynamic:
            shape = tensor.signature if None in tensor.signature else (None,) * len(shape)
        return Operand(
            name=tensor.name,
            shape=shape,
            dtype=tensor.dtype,
            constant=index in self._constant,
            values=self._values(index, tensor) if tensor.constant else (),
            scale=tensor.scales[0] if single else None,
            zero_point=tensor.zero_points[0] if single else None,
            channels=len(tensor.scales) if tensor.quantized else 0,
        )

    def _values(self, index: int, tensor: Tensor) -> tuple[int, ...]:
        """The elements of a small integer constant."""
        width = _WIDTHS.get(tensor.dtype)
        if width is None or tensor.elements > _FEW:
            return ()
        buffer = self._file.Buffers(self._graph.Tensors(index).Buffer())
        if buffer.Offset() > 1:  # behind the flatbuffer
            raw = self._data[buffer.Offset() : buffer.Offset() + buffer.Size()]
        else:
            raw = bytes(buffer.Data(i) for i in range(buffer.DataLength()))
        return tuple(
            int.from_bytes(raw[i : i + width], "little", signed=True)
            for i in range(0, len(raw), width)
        )

    def _attributes(self, table: Any) -> Mapping[str, str | int | float | bool]:
        """The scalar options of an operator, by the names of the schema; finite numbers only."""
        schema = self._schema
        raw = table.BuiltinOptions()
        kind = _names(schema.BuiltinOptions).get(table.BuiltinOptionsType(), "NONE")
        if raw is None or kind == "NONE":
            return {}
        options = getattr(schema, kind)()
        options.Init(raw.Bytes, raw.Pos)
        unpacked = getattr(schema, f"{kind}T").InitFromObj(options)
        found: dict[str, str | int | float | bool] = {}
        for name, value in vars(unpacked).items():
            if name in _ENUMS:
                names = _names(getattr(schema, _ENUMS[name]))
                found[_snake(name)] = names.get(value, str(value))
            elif isinstance(value, bool | int) or (
                isinstance(value, float) and math.isfinite(value)
            ):
                found[_snake(name)] = value
        return found


def _names(enum: type) -> dict[int, str]:
    return {v: k for k, v in vars(enum).items() if isinstance(v, int) and not k.startswith("_")}


def _snake(name: str) -> str:
    """`fusedActivationFunction`, as the generated code spells it, is the schema's
    `fused_activation_function`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
