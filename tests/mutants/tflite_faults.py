"""Silent faults of quantizers, as edits of the int8 file that the real one wrote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.mutants.networks import CLASSES

Edit = Callable[[Any], None]


@dataclass(frozen=True)
class Fault:
    """A mistake, made on the flatbuffer's objects."""

    name: str
    change: Edit

    def edit(self, content: bytes) -> bytes:
        """The file with the mistake in it."""
        from convkit_litert import packing

        model = packing.unpack(content)
        self.change(model)
        return packing.pack(model)


FAULTS: dict[str, Fault] = {}

HIDDEN = ("conv_2d", "body/pad", "conv_2d#1", "transpose", "reshape")
"""Activations between the input and the two heads."""


def fault(change: Edit) -> Edit:
    """Register an edit under its own name."""
    name = change.__name__.replace("_", "-")
    FAULTS[name] = Fault(name, change)
    return change


@fault
def weight_scale_of_another_layer(model: Any) -> None:
    """The two heads' scales are right; the first convolution has the second one's times four."""
    scale = quantization(weights(model, "CONV_2D", 0))
    scale.scale = scale.scale * 4


@fault
def zero_point_counted_twice(model: Any) -> None:
    """Folded into the bias by the converter, where the runtime takes it off once more."""
    operator = operators(model, "CONV_2D")[1]
    offset = int(quantization(model.subgraphs[0].tensors[operator.inputs[0]]).zeroPoint[0])
    filters = constant(model, operator.inputs[1], "int8").reshape(8, -1).astype("int32")
    put(model, operator.inputs[2], lambda bias: bias - offset * filters.sum(1), "int32")


@fault
def integer_bias_dropped(model: Any) -> None:
    for index in (0, 1):
        dense = operators(model, "FULLY_CONNECTED")[index]
        put(model, dense.inputs[2], lambda bias: bias * 0, "int32")


@fault
def flipped_signs_of_two_classes(model: Any) -> None:
    def flip(values: Any) -> Any:
        rows = values.reshape(CLASSES, -1)
        rows[:2] = -rows[:2]
        return rows.reshape(-1)

    for dense in operators(model, "FULLY_CONNECTED"):
        put(model, dense.inputs[1], flip, "int8")


@fault
def two_bits_of_weights(model: Any) -> None:
    """Stored as integers of eight bits, computed with two."""
    for name in ("CONV_2D", "FULLY_CONNECTED"):
        for operator in operators(model, name):
            put(model, operator.inputs[1], lambda values: values // 64 * 64, "int8")


@fault
def swapped_outputs(model: Any) -> None:
    left, right = model.signatureDefs[0].outputs
    left.tensorIndex, right.tensorIndex = right.tensorIndex, left.tensorIndex


@fault
def saturated_activations(model: Any) -> None:
    """Ranges far too narrow, as calibration on black images would give."""
    for tensor in named(model, *HIDDEN):
        quantization(tensor).scale = quantization(tensor).scale / 16


@fault
def flattened_in_another_layout(model: Any) -> None:
    """The weights behind were made for NCHW, and NHWC is what is flattened."""
    turn = operators(model, "TRANSPOSE")[1]
    put(model, turn.inputs[1], lambda axes: axes * 0 + [0, 1, 2, 3], "int32")


def operators(model: Any, name: str) -> list[Any]:
    """All operators of a kind, in execution order."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    wanted = getattr(BuiltinOperator, name)
    codes = [code.builtinCode for code in model.operatorCodes]
    return [o for o in model.subgraphs[0].operators if codes[o.opcodeIndex] == wanted]


def named(model: Any, *names: str) -> list[Any]:
    """Tensors by name."""
    found = [t for t in model.subgraphs[0].tensors if t.name.decode() in names]
    assert len(found) == len(names)
    return found


def weights(model: Any, name: str, index: int) -> Any:
    """The weight tensor of an operator."""
    return model.subgraphs[0].tensors[operators(model, name)[index].inputs[1]]


def quantization(tensor: Any) -> Any:
    """Scales and zero points as arrays."""
    import numpy as np

    found = tensor.quantization
    found.scale = np.asarray(found.scale, np.float32)
    found.zeroPoint = np.asarray(found.zeroPoint, np.int64)
    return found


def constant(model: Any, tensor: int, dtype: str) -> Any:
    """The constant behind a tensor."""
    import numpy as np

    buffer = model.buffers[model.subgraphs[0].tensors[tensor].buffer]
    return np.frombuffer(np.asarray(buffer.data, np.uint8).tobytes(), dtype).copy()


def put(model: Any, tensor: int, how: Callable[[Any], Any], dtype: str) -> None:
    """Change the constant behind a tensor."""
    import numpy as np

    changed = np.ascontiguousarray(how(constant(model, tensor, dtype)), dtype)
    buffer = model.buffers[model.subgraphs[0].tensors[tensor].buffer]
    buffer.data = np.frombuffer(changed.tobytes(), np.uint8)


def _range_from_zero(model: Any) -> None:
    """Hidden activations as if their integers began at 0: the upper half of a range is cut off."""
    for tensor in named(model, *HIDDEN):
        quantization(tensor).zeroPoint = quantization(tensor).zeroPoint + 128


def _input_range_from_zero(model: Any) -> None:
    """The zero point of an image of 0 to 1, where this one has a negative half."""
    for tensor in named(model, "image_quantized", "stem/transpose"):
        quantization(tensor).zeroPoint = quantization(tensor).zeroPoint * 0 - 128


WITHIN_TOLERANCE = {
    "range-from-zero": Fault("range-from-zero", _range_from_zero),
    "input-range-from-zero": Fault("input-range-from-zero", _input_range_from_zero),
}
"""Far above the noise of a good quantizer, and less than a bad model's honest noise."""
