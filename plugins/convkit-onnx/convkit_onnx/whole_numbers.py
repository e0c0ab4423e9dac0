"""Integer tensors as float32 tensors of the same whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convkit_onnx.graph_writer import GraphWriter

FLOAT, UINT8, INT32 = 1, 2, 6
"""ONNX's numbers of element types."""


class Unsupported(Exception):
    """An operator that cannot be written in float; says why."""


class WholeNumbers:
    """What is known of a graph's integers while it is written anew.

    Attributes:
        writer: where nodes go.
        twins: integer tensor to the float32 tensor of the same numbers.
    """

    def __init__(self, writer: GraphWriter) -> None:
        self.writer = writer
        self.twins: dict[str, str] = {}

    def floats(self, name: str) -> str:
        """The same numbers as float32."""
        import numpy as np

        if name not in self.twins:
            array = self.writer.value(name)
            self.twins[name] = (
                self.writer.constant(array.astype(np.float32), name)
                if array is not None
                else self.writer.add("Cast", [name], name, to=FLOAT)
            )
        return self.twins[name]

    def integers(self, twin: str, kind: int, output: str) -> None:
        """Let `output` be the integer tensor of these numbers."""
        self.twins[output] = twin
        self.writer.add("Cast", [twin], name=output, to=kind)

    def kind(self, zero: str, default: int = UINT8) -> int:
        """The type of integers: that of their zero point.

        Raises:
            Unsupported: the file does not tell.
        """
        kind = self.writer.kind(zero) if zero else default
        if not kind:
            raise Unsupported("integers of a type that the file does not tell")
        return kind

    def binary(self, op_type: str, left: str, right: str, like: str) -> str:
        """Elementwise arithmetic of floats; done at once where both are constant."""
        import numpy as np

        a, b = self.writer.value(left), self.writer.value(right)
        if a is None or b is None:
            return self.writer.add(op_type, [left, right], like)
        of = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}
        return self.writer.constant(np.asarray(of[op_type](a, b), np.float32), like)

    def number(self, value: float, like: str) -> str:
        """A constant."""
        import numpy as np

        return self.writer.constant(np.float32(value), like)

    def along(self, name: str, rank: int | None, axis: int) -> str:
        """A vector laid along an axis of a tensor of that rank; a single number, or what has
        several axes already, as it is.

        Raises:
            Unsupported: a rank is unknown.
        """
        import numpy as np

        shape = self.writer.shape(name)
        if shape is None:
            raise Unsupported("scales of unknown number")
        array = self.writer.value(name)
        if array is not None and array.size == 1:
            return self.writer.constant(array.reshape(()), name) if array.ndim else name
        if len(shape) != 1 or shape == (1,):
            return name
        if rank is None:
            raise Unsupported("scales along an axis, of a tensor whose rank is unknown")
        sizes = [1] * rank
        sizes[axis] = -1
        if array is not None:
            return self.writer.constant(array.reshape(sizes), name)
        laid = self.writer.constant(np.asarray(sizes, np.int64), name)
        return self.writer.add("Reshape", [name, laid], name)

    def shift(self, zero: str, rank: int | None = None, axis: int = 0) -> str:
        """A zero point as float32, laid as `along` does; empty where it is zero."""
        import numpy as np

        array = self.writer.value(zero) if zero else None
        if not zero or (array is not None and not array.any()):
            return ""
        if array is not None:
            return self.along(self.writer.constant(array.astype(np.float32), zero), rank, axis)
        return self.floats(self.along(zero, rank, axis))

    def centred(self, name: str, shift: str) -> str:
        """Numbers less their zero point."""
        return self.binary("Sub", self.floats(name), shift, name) if shift else self.floats(name)

    def real(self, name: str, scale: str, zero: str) -> str:
        """What integers of a single scale stand for."""
        centred = self.centred(name, self.shift(zero))
        return self.binary("Mul", centred, self.along(scale, None, 0), name)

    def round_to(self, steps: str, shift: str, kind: int, output: str) -> None:
        """Let `output` be steps of a scale as integers: rounded, shifted, clipped.

        Raises:
            Unsupported: not integers of 4, 8 or 16 bits.
        """
        ends = [self.number(end, output) for end in bounds(kind)]
        whole = self.writer.add("Round", [steps], output)
        if shift:
            whole = self.writer.add("Add", [whole, shift], output)
        self.integers(self.writer.add("Clip", [whole, *ends], output), kind, output)

    def store(self, value: str, scale: str, zero: str, output: str) -> None:
        """Let `output` be real numbers as integers of a single scale."""
        steps = self.binary("Div", value, self.along(scale, None, 0), output)
        self.round_to(steps, self.shift(zero), self.kind(zero), output)

    def measure(self, data: str, scale: str, zero: str) -> None:
        """Let `scale` and `zero` be those of what comes: its range, with zero in it, in 255 steps.
        Where it is zero throughout, the scale is 1, as ONNX Runtime has it."""
        writer, nought = self.writer, self.number(0, data)
        ends = []
        for reduce, extreme in (("ReduceMin", "Min"), ("ReduceMax", "Max")):
            end = writer.add(reduce, [data], data, keepdims=0)
            ends.append(writer.add(extreme, [end, nought], data))
        low, high = ends
        width = writer.add("Sub", [high, low], data)
        step = writer.add("Div", [width, self.number(255, data)], data)
        empty = writer.add("Equal", [step, nought], data)
        writer.add("Where", [empty, self.number(1, data), step], name=scale)
        lowest = writer.add("Div", [writer.add("Neg", [low], data), scale], data)
        self.round_to(lowest, "", UINT8, zero)

    def move(self, node: Any, data: Sequence[str]) -> None:
        """Pass twins on through an operator of one output that moves numbers about, where it has
        them; `data` are its inputs that hold numbers, its first ones."""
        known = [n in self.twins or self._is_narrow_constant(n) for n in data]
        if all(known) and len(node.output) == 1:
            inputs = [*map(self.floats, data), *node.input[len(data) :]]
            self.twins[node.output[0]] = self.writer.add(
                node.op_type, inputs, node.output[0], **attributes(node)
            )

    def _is_narrow_constant(self, name: str) -> bool:
        try:
            bounds(self.writer.kind(name))
        except Unsupported:
            return False
        return self.writer.value(name) is not None


def bounds(kind: int) -> tuple[int, int]:
    """The least and the largest number of an integer type.

    Raises:
        Unsupported: it is none of those that quantizers use.
    """
    from onnx import TensorProto

    for bits in (4, 8, 16):
        if kind == getattr(TensorProto, f"INT{bits}"):
            return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        if kind == getattr(TensorProto, f"UINT{bits}"):
            return 0, 2**bits - 1
    raise Unsupported("numbers of another type than integers of 4, 8 or 16 bits")


def attributes(node: Any, *left_out: str) -> dict[str, Any]:
    """A node's attributes by name."""
    import onnx

    return {
        a.name: onnx.helper.get_attribute_value(a) for a in node.attribute if a.name not in left_out
    }


def integer(node: Any, name: str, default: int = 0) -> int:
    """One attribute."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def inputs_of(node: Any, count: int) -> list[str]:
    """The first inputs, those left out as empty names."""
    return [*node.input, *[""] * count][:count]
