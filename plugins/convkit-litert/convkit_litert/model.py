"""A TFLite file as plain data, read through bounds checks that the interpreter does not make.

The flatbuffer schema is the one that `ai-edge-litert` ships. Nothing here allocates in
proportion to a number found in the file before that number was checked against the file's size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.errors import InputError

IDENTIFIER = b"TFL3"
MAX_RANK = 16
"""Far above what any kernel takes (8); a greater rank means damage."""

_MIN_TABLE_BYTES = 4
_BITS = {
    "bool": 8,
    "int2": 2,
    "int4": 4,
    "uint4": 4,
    "int8": 8,
    "uint8": 8,
    "int16": 16,
    "uint16": 16,
    "float16": 16,
    "bfloat16": 16,
    "int32": 32,
    "uint32": 32,
    "float32": 32,
    "int64": 64,
    "uint64": 64,
    "float64": 64,
    "complex64": 64,
    "complex128": 128,
}


@dataclass(frozen=True)
class Tensor:
    """A tensor of a subgraph.

    Attributes:
        name: unique in the subgraph; a repeated name has got a suffix.
        shape: as stored; a dimension that may change at run time is stored as 1.
        signature: the shape with None for dimensions that may change.
        dtype: numpy's name, or `int4`, `string`, `resource`, ... for what numpy lacks.
        constant_bytes: size of its data in the file; 0 for an activation.
        scales, zero_points: affine quantization, one entry or one per channel; else empty.
    """

    name: str
    shape: tuple[int, ...]
    signature: tuple[int | None, ...]
    dtype: str
    constant_bytes: int = 0
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()

    @property
    def constant(self) -> bool:
        """Whether its data are in the file."""
        return self.constant_bytes > 0

    @property
    def elements(self) -> int:
        """Number of elements, dynamic dimensions counted as 1."""
        return math.prod(self.shape)

    @property
    def quantized(self) -> bool:
        """An integer that stands for a real number."""
        return bool(self.scales) and "int" in self.dtype


@dataclass(frozen=True)
class Operator:
    """An operator; `inputs` holds -1 for an optional input that is left out.

    Attributes:
        transposed: (adj_x, adj_y) of a BATCH_MATMUL, else (False, False).
    """

    op_type: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    transposed: tuple[bool, bool] = (False, False)


@dataclass(frozen=True)
class Subgraph:
    """Operators in execution order over indexed tensors."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    """Names that the file gives to the inputs and outputs of one of its subgraphs."""

    key: str
    subgraph: int
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Port:
    """An input or output: its public name (the signature's where there is one) and tensor."""

    name: str
    index: int
    tensor: Tensor


@dataclass(frozen=True)
class Model:
    """A parsed file."""

    subgraphs: tuple[Subgraph, ...]
    signatures: tuple[Signature, ...] = ()
    description: str = ""
    metadata: tuple[str, ...] = ()

    @property
    def signature(self) -> Signature | None:
        """The signature of the main subgraph, if the file has one."""
        return next((s for s in self.signatures if s.subgraph == 0), None)

    @property
    def main(self) -> Subgraph:
        """The subgraph that an interpreter runs."""
        return self.subgraphs[0]

    def inputs(self) -> tuple[Port, ...]:
        """Inputs of the main subgraph, in its order."""
        graph = self.main
        named = {index: name for name, index in self.signature.inputs} if self.signature else {}
        return tuple(
            Port(named.get(i, graph.tensors[i].name), i, graph.tensors[i]) for i in graph.inputs
        )

    def outputs(self) -> tuple[Port, ...]:
        """Outputs of the main subgraph, in its order; a signature may name one tensor twice."""
        graph = self.main
        names: dict[int, list[str]] = {}
        for name, index in self.signature.outputs if self.signature else ():
            names.setdefault(index, []).append(name)
        ports = []
        for index in dict.fromkeys(graph.outputs):
            for name in names.get(index) or [graph.tensors[index].name]:
                ports.append(Port(name, index, graph.tensors[index]))
        return tuple(ports)


def load(path: Path) -> Model:
    """Parse the file.

    Raises:
        InputError: not TFLite, truncated, or inconsistent in itself.
    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise InputError(f"{path.name} cannot be read: {exc.strerror}") from exc
    return parse(data, path.name)


def parse(data: bytes, name: str = "the file") -> Model:
    """As `load`, from bytes; `name` is used in messages."""
    if len(data) < 8 or data[4:8] != IDENTIFIER:
        raise InputError(
            f"{name} is not a TFLite file", hint="A TFLite file carries TFL3 at byte 4."
        )
    try:
        return _Reader(data).model()
    except _Damage as exc:
        raise InputError(
            f"{name} is a damaged TFLite file: {exc}", hint="Copy or convert it again."
        ) from exc
    except Exception as exc:  # every accessor may fail on damaged offsets, in many ways
        raise InputError(
            f"{name} is a damaged TFLite file: its tables point outside of it",
            hint="Copy or convert it again.",
        ) from exc


class _Damage(Exception):
    """A check failed; the message says which."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise _Damage(message)


class _Reader:
    """Walks the tables once, with a budget that keeps damaged counts from running away."""

    def __init__(self, data: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._data = data
        # Tables do not overlap in a sound file, so there cannot be more than fit.
        self._budget = len(data) // _MIN_TABLE_BYTES
        self._operator_names = _enum_names(schema.BuiltinOperator)
        self._type_names = {v: k.lower() for v, k in _enum_names(schema.TensorType).items()}
        self._table = schema.Model.GetRootAs(data, 0)

    def model(self) -> Model:
        table = self._table
        _require(table.Version() == 3, f"schema version {table.Version()} instead of 3")
        self._buffers = [
            self._buffer(table.Buffers(i)) for i in range(self._count(table.BuffersLength()))
        ]
        self._codes = [
            self._code(table.OperatorCodes(i))
            for i in range(self._count(table.OperatorCodesLength()))
        ]
        graphs = tuple(
            self._subgraph(table.Subgraphs(i)) for i in range(self._count(table.SubgraphsLength()))
        )
        _require(bool(graphs), "it has no graph")
        return Model(
            subgraphs=graphs,
            signatures=tuple(
                self._signature(table.SignatureDefs(i), graphs)
                for i in range(self._count(table.SignatureDefsLength()))
            ),
            description=_text(table.Description()),
            metadata=tuple(
                self._metadata(table.Metadata(i))
                for i in range(self._count(table.MetadataLength()))
            ),
        )

    def _count(self, length: int) -> int:
        self._budget -= length
        _require(length >= 0 and self._budget >= 0, "it lists more entries than it can hold")
        return length

    def _buffer(self, table: Any) -> int:
        """Size of a buffer's data, inside the flatbuffer or behind it."""
        offset, size = table.Offset(), table.Size()
        if offset > 1:
            _require(offset + size <= len(self._data), "a constant lies behind its end")
            return int(size)
        start = table._tab.Offset(4)
        if not start:
            return 0
        length = int(table.DataLength())
        _require(
            length >= 0 and table._tab.Vector(start) + length <= len(self._data),
            "a constant lies behind its end",
        )
        return length

    def _code(self, table: Any) -> str:
        code = max(table.BuiltinCode(), table.DeprecatedBuiltinCode())
        _require(code in self._operator_names, f"operator code {code} does not exist")
        name = self._operator_names[code]
        return f"CUSTOM:{_text(table.CustomCode())}" if name == "CUSTOM" else name

    def _metadata(self, table: Any) -> str:
        _require(table.Buffer() < len(self._buffers), "metadata refers to a missing buffer")
        return _text(table.Name())

    def _subgraph(self, table: Any) -> Subgraph:
        names: set[str] = set()
        tensors = tuple(
            self._tensor(table.Tensors(i), i, names)
            for i in range(self._count(table.TensorsLength()))
        )
        inputs = self._indices(table, "Inputs", tensors)
        outputs = self._indices(table, "Outputs", tensors)
        known = {i for i, t in enumerate(tensors) if t.constant} | set(inputs)
        operators = []
        for i in range(self._count(table.OperatorsLength())):
            operator = self._operator(table.Operators(i), tensors)
            operators.append(operator)
            known.update(operator.outputs)
        _require(known.issuperset(outputs), "an output is computed by no operator")
        return Subgraph(tensors, tuple(operators), inputs, outputs)

    def _indices(
        self, table: Any, what: str, tensors: Sequence[Tensor], optional: bool = False
    ) -> tuple[int, ...]:
        length = self._count(getattr(table, f"{what}Length")())
        values = tuple(int(getattr(table, what)(i)) for i in range(length))
        lowest = -1 if optional else 0
        _require(
            all(lowest <= v < len(tensors) for v in values),
            "an operator refers to a missing tensor",
        )
        return values

    def _operator(self, table: Any, tensors: Sequence[Tensor]) -> Operator:
        index = table.OpcodeIndex()
        _require(index < len(self._codes), "an operator has no code")
        op_type = self._codes[index]
        return Operator(
            op_type=op_type,
            inputs=self._indices(table, "Inputs", tensors, optional=True),
            outputs=self._indices(table, "Outputs", tensors),
            transposed=self._transposed(table) if op_type == "BATCH_MATMUL" else (False, False),
        )

    def _transposed(self, table: Any) -> tuple[bool, bool]:
        raw = table.BuiltinOptions()
        if raw is None:
            return (False, False)
        options = self._schema.BatchMatMulOptions()
        options.Init(raw.Bytes, raw.Pos)
        return (bool(options.AdjX()), bool(options.AdjY()))

    def _tensor(self, table: Any, index: int, names: set[str]) -> Tensor:
        type_code = table.Type()
        _require(type_code in self._type_names, f"tensor type {type_code} does not exist")
        dtype = self._type_names[type_code]
        shape = self._ints(table, "Shape", MAX_RANK)
        signature = self._ints(table, "ShapeSignature", MAX_RANK) or shape
        _require(len(signature) == len(shape), "a tensor has two ranks")
        _require(all(d >= 0 for d in shape), "a tensor has a negative dimension")
        _require(table.Buffer() < len(self._buffers), "a tensor refers to a missing buffer")
        size = self._buffers[table.Buffer()]
        bits = _BITS.get(dtype)
        if size and bits and table.Sparsity() is None:
            needed = (math.prod(shape) * bits + 7) // 8
            _require(needed == size, f"a constant of {needed} bytes is stored in {size}")
        scales, zero_points = self._quantization(table.Quantization(), shape)
        return Tensor(
            name=unique_name(_text(table.Name()) or f"tensor_{index}", names),
            shape=shape,
            signature=tuple(None if d < 0 else d for d in signature),
            dtype=dtype,
            constant_bytes=size,
            scales=scales,
            zero_points=zero_points,
        )

    def _quantization(
        self, table: Any, shape: tuple[int, ...]
    ) -> tuple[tuple[float, ...], tuple[int, ...]]:
        if table is None or not table.ScaleLength():
            return (), ()
        limit = max(1, math.prod(shape))
        scales = tuple(float(table.Scale(i)) for i in range(self._vector(table.ScaleLength())))
        zeros = tuple(int(table.ZeroPoint(i)) for i in range(self._vector(table.ZeroPointLength())))
        _require(len(scales) <= limit, "a tensor has more scales than elements")
        _require(len(zeros) in (0, 1, len(scales)), "scales and zero points do not match")
        _require(all(math.isfinite(s) for s in scales), "a scale is not a finite number")
        if len(scales) > 1 and len(shape):
            _require(0 <= table.QuantizedDimension() < len(shape), "a scale's axis does not exist")
        return scales, zeros or (0,) * len(scales)

    def _vector(self, length: int) -> int:
        _require(0 <= length <= len(self._data) // 4, "a list is longer than the file")
        return length

    def _ints(self, table: Any, what: str, limit: int) -> tuple[int, ...]:
        length = getattr(table, f"{what}Length")()
        _require(0 <= length <= limit, f"a tensor has {length} dimensions")
        return tuple(int(getattr(table, what)(i)) for i in range(length))

    def _signature(self, table: Any, graphs: Sequence[Subgraph]) -> Signature:
        index = table.SubgraphIndex()
        _require(index < len(graphs), "a signature refers to a missing graph")
        tensors = graphs[index].tensors
        return Signature(
            key=_text(table.SignatureKey()),
            subgraph=index,
            inputs=self._named(table, "Inputs", len(tensors)),
            outputs=self._named(table, "Outputs", len(tensors)),
        )

    def _named(self, table: Any, what: str, tensors: int) -> tuple[tuple[str, int], ...]:
        entries = []
        for i in range(self._count(getattr(table, f"{what}Length")())):
            entry = getattr(table, what)(i)
            _require(entry.TensorIndex() < tensors, "a signature refers to a missing tensor")
            entries.append((_text(entry.Name()), int(entry.TensorIndex())))
        return tuple(entries)


def unique_name(name: str, taken: set[str]) -> str:
    """The name, or the name with the first free of `#1`, `#2`, ...; adds it to `taken`."""
    candidate, number = name, 0
    while candidate in taken:
        number += 1
        candidate = f"{name}#{number}"
    taken.add(candidate)
    return candidate


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8")


def _enum_names(enum: type) -> dict[int, str]:
    return {v: k for k, v in vars(enum).items() if isinstance(v, int) and not k.startswith("_")}
