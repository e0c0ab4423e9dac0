"""Every condition of a rule: an operator that meets it, and one that does not."""

from __future__ import annotations

from typing import Any

import pytest

from convkit.delegates import Operand, Operation
from convkit.engine.delegate_conditions import CHECKED, activations, holds, reason_of
from convkit.plugin.delegate_rules import CONDITIONS

IMAGE = (1, 8, 8, 4)


def flow(
    *shape: int | None, dtype: str = "int8", scale: float | None = 1.0, **more: Any
) -> Operand:
    return Operand("x", shape or IMAGE, dtype, scale=scale, **more)


def fixed(*values: int, shape: tuple[int, ...] = (), dtype: str = "int32", **more: Any) -> Operand:
    return Operand("c", shape or (len(values),), dtype, constant=True, values=values, **more)


def op(
    *inputs: Operand | None, outputs: tuple[Operand, ...] | None = None, **attributes: Any
) -> Operation:
    made = (flow(),) if outputs is None else outputs
    return Operation("layer", "OP", inputs or (flow(),), made, attributes=attributes)


WEIGHT = Operand("w", (8, 3, 3, 4), "int8", constant=True, channels=8)
CASES: dict[str, tuple[Any, Operation, Operation]] = {
    "above": ("block_size=1", op(block_size=2), op(block_size=1)),
    "activation": (
        "NONE RELU",
        op(fused_activation_function="RELU"),
        op(fused_activation_function="TANH"),
    ),
    "axes": ("1:1,2 2", op(flow(), fixed(2, 1)), op(flow(), fixed(1))),
    "bias": (True, op(flow(), WEIGHT, fixed(1)), op(flow(), WEIGHT, None)),
    "broadcast": (True, op(flow(), flow(8, 4)), op(flow(), flow(3, 4))),
    "constant": ("1 2", op(flow(), WEIGHT), op(flow(), flow())),
    "equal": ("w h", op(w=2, h=2), op(w=2, h=1)),
    "exclusive": ("a b", op(a=True, b=False), op(a=True, b=True)),
    "fixed": ("beta=1.0", op(beta=1.0), op(beta=0.5)),
    "hybrid": (
        False,
        op(flow(), WEIGHT),
        op(flow(dtype="float32", scale=None), WEIGHT),
    ),
    "input_dtypes": ("int8 uint8", op(), op(flow(dtype="float32"))),
    "inputs": ("2-3", op(flow(), None, flow()), op(flow(), None)),
    "max_elements": (256, op(), op(flow(1, 257))),
    "max_rank": (4, op(), op(flow(1, 1, 1, 1, 1))),
    "multiple": ("1:4", op(flow(), fixed(-1)), op(flow(1, 8, 8, 3), fixed(3))),
    "non_negative": ("1", op(flow(), fixed(0, 1)), op(flow(), fixed(0, -1))),
    "ones": ("1", op(flow(), fixed(1, 1)), op(flow(), fixed(1, 2))),
    "output_dtypes": ("int8", op(), op(outputs=(flow(dtype="int32"),))),
    "outputs": ("1-2", op(), op(outputs=(flow(),) * 3)),
    "padding_only": (True, op(flow(), fixed(0)), op(flow(), flow(), fixed(0))),
    "per_tensor": (True, op(flow(channels=1)), op(flow(channels=4))),
    "positive": ("1", op(flow(), fixed(1, 2)), op(flow(), fixed(0, 2))),
    "product_ratio": (
        "0.5..2",
        op(flow(scale=2.0), flow(scale=1.0)),
        op(flow(scale=2.0), flow(scale=2.0)),
    ),
    "ranks": ("3 4", op(), op(flow(1, 4))),
    "runtime": ("0", op(), op(fixed(1), flow())),
    "runtime_inputs": ("1", op(flow(), fixed(1)), op(flow(), flow())),
    "same_dtypes": (True, op(), op(flow(dtype="uint8"))),
    "scalar_output": (False, op(), op(outputs=(Operand("y", (), "int8"),))),
    "scale_ratio": ("0.5..2", op(flow(scale=2.0)), op(flow(scale=3.0))),
    "spared_attribute": ("axis", op(axis=-1), op(axis=-4)),
    "spared_axes": ("1:0", op(flow(), fixed(1, 2)), op(flow(), fixed(-4))),
    "spared_padding": (
        "1:0",
        op(flow(), fixed(0, 0, 1, 1, 1, 1, 0, 0)),
        op(flow(), fixed(0, 1, 0, 0, 0, 0, 0, 0)),
    ),
    "symmetric": ("1", op(flow(), flow(zero_point=0)), op(flow(), flow(zero_point=3))),
    "unit_pool": (
        False,
        op(filter_height=1, filter_width=1, stride_h=1, stride_w=1),
        op(filter_height=1, filter_width=1, stride_h=2, stride_w=2),
    ),
    "vector": ("0", op(flow(1, 1, 9)), op(flow(1, 2, 9))),
    "vector_output": (True, op(outputs=(flow(1, 9),)), op(outputs=(flow(2, 9),))),
    "zero": ("mask", op(mask=0), op(mask=2)),
}


def test_every_condition_is_implemented_and_tried() -> None:
    assert set(CONDITIONS) == CHECKED == set(CASES)


@pytest.mark.parametrize("name", sorted(CASES))
def test_condition(name: str) -> None:
    value, good, bad = CASES[name]
    assert type(value) is CONDITIONS[name]
    assert holds(good, name, value)
    assert not holds(bad, name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("axes", "1:1,2"), ("spared_axes", "1:0"), ("multiple", "1:4"), ("fixed", "beta=1.0")],
)
def test_what_the_file_leaves_open_is_taken_to_be_met(name: str, value: str) -> None:
    unknown = Operand("axes", (2,), "int32", constant=True)
    assert holds(op(flow(1, 8, 8, 3), unknown), name, value)


def test_activations_are_what_flows() -> None:
    given = op(flow(), WEIGHT, None)
    assert activations(given) == (flow(), flow())


def test_reasons() -> None:
    assert reason_of("max_rank") == "rank"
    assert reason_of("same_dtypes") == "dtype"
    assert reason_of("activation") == "limit"
