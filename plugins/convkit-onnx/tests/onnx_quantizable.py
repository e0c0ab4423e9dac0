"""Models for the quantizers' tests, built by hand: several inputs, token ids, masks, recurrence."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
node, info = helper.make_node, helper.make_tensor_value_info


def weight(name: str, *shape: int) -> Any:
    """Normal, scaled as a trained layer's weights are."""
    rng = np.random.default_rng(sum(name.encode()))
    fan = max(int(np.prod(shape[1:])), 1)
    return numpy_helper.from_array(
        (rng.standard_normal(shape) / np.sqrt(fan)).astype("float32"), name
    )


def constant(name: str, content: Any, kind: str = "float32") -> Any:
    """A constant tensor."""
    return numpy_helper.from_array(np.array(content, kind), name)


def model(
    nodes: Any, inputs: Any, outputs: Any, weights: Any, opset: int = 17, named: bool = True
) -> Any:
    """A model; nodes are named after their results, or not at all."""
    for n in nodes:
        n.name = f"/{n.output[0]}" if named else ""
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def residual(opset: int = 17, named: bool = True) -> Any:
    """Convolutions with batch normalization, ReLU, SiLU, a sum, a transposed one, and a side input
    that joins the head."""
    nodes = [
        node("Conv", ["image", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c1", "g", "b", "m", "v"], ["n1"]),
        node("Relu", ["n1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        node("Sigmoid", ["c2"], ["s2"]),
        node("Mul", ["c2", "s2"], ["a2"]),
        node("Add", ["a2", "r1"], ["sum"]),
        node("ConvTranspose", ["sum", "wt"], ["up"], strides=[2, 2]),
        node("GlobalAveragePool", ["up"], ["pool"]),
        node("Flatten", ["pool"], ["flat"]),
        node("Concat", ["flat", "side"], ["both"], axis=1),
        node("Gemm", ["both", "wg", "bg"], ["logits"], transB=1),
    ]
    rng = np.random.default_rng(5)
    extra = [
        constant("g", rng.uniform(0.5, 1.5, 16)),
        constant("b", rng.normal(size=16) * 0.1),
        constant("m", rng.normal(size=16) * 0.1),
        constant("v", rng.uniform(0.5, 1.5, 16)),
    ]
    return model(
        nodes,
        [info("image", FLOAT, [1, 3, 16, 16]), info("side", FLOAT, [1, 4])],
        [info("logits", FLOAT, [1, 5]), info("sum", FLOAT, [1, 16, 16, 16])],
        [
            weight("w1", 16, 3, 3, 3),
            weight("b1", 16),
            weight("w2", 16, 16, 3, 3),
            weight("wt", 16, 4, 2, 2),
            weight("wg", 5, 8),
            weight("bg", 5),
            *extra,
        ],
        opset,
        named,
    )


def encoder(opset: int = 17) -> Any:
    """One block of a transformer over token ids, with a mask of minus infinity in disguise. Query
    and key are the same projection, so that fusion may compute it once."""
    nodes = [
        node("Gather", ["table", "ids"], ["e"]),
        node("LayerNormalization", ["e", "g", "b"], ["n"], axis=-1),
        node("MatMul", ["n", "wq"], ["q0"]),
        node("Add", ["q0", "bq"], ["q"]),
        node("MatMul", ["n", "wq"], ["k0"]),
        node("Add", ["k0", "bq"], ["k"]),
        node("MatMul", ["n", "wv"], ["val"]),
        node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["scores"]),
        node("Cast", ["mask"], ["seen"], to=TensorProto.BOOL),
        node("Where", ["seen", "scores", "low"], ["masked"]),
        node("Softmax", ["masked"], ["p"], axis=-1),
        node("MatMul", ["p", "val"], ["mixed"]),
        node("Add", ["mixed", "e"], ["res"]),
        node("MatMul", ["res", "w1"], ["f1"]),
        node("Relu", ["f1"], ["f2"]),
        node("MatMul", ["f2", "w2"], ["f3"]),
        node("ReduceMean", ["f3"], ["pooled"], axes=[1], keepdims=0),
    ]
    return model(
        nodes,
        [info("ids", INT64, [1, 8]), info("mask", INT64, [1, 1, 8])],
        [info("pooled", FLOAT, [1, 16]), info("f3", FLOAT, [1, 8, 16])],
        [
            weight("table", 40, 16),
            constant("g", np.ones(16)),
            constant("b", np.zeros(16)),
            weight("wq", 16, 16),
            weight("bq", 16),
            weight("wv", 16, 16),
            weight("w1", 16, 64),
            weight("w2", 64, 16),
            constant("low", np.finfo("float32").min),
        ],
        opset,
    )


def lstm(layout: int = 0) -> Any:
    """A recurrent layer and a classifier that weighs little beside it."""
    shape = [1, 6, 8] if layout else [6, 1, 8]
    nodes = [
        node("LSTM", ["x", "W", "R", "B"], ["y", "h"], hidden_size=16, layout=layout),
        node("Reshape", ["h", "flat"], ["z"]),
        node("Gemm", ["z", "wg"], ["logits"]),
    ]
    return model(
        nodes,
        [info("x", FLOAT, shape)],
        [info("logits", FLOAT, [1, 4])],
        [
            weight("W", 1, 64, 8),
            weight("R", 1, 64, 16),
            weight("B", 1, 128),
            weight("wg", 16, 4),
            constant("flat", [1, 16], "int64"),
        ],
    )


MODELS = {"residual": residual, "encoder": encoder, "lstm": lstm}


def samples(artifact: Any, count: int, seed: int = 0) -> list[list[Any]]:
    """Inputs that fit: token ids, masks with at least one entry, normal numbers."""
    rng = np.random.default_rng(seed)

    def one(spec: Any) -> Any:
        if spec.name == "mask":
            return (np.arange(8) < rng.integers(2, 9)).astype("int64").reshape(1, 1, 8)
        if spec.dtype == "int64":
            return rng.integers(0, 40, spec.shape)
        return rng.standard_normal(spec.shape).astype("float32")

    return [[one(spec) for spec in artifact.inputs] for _ in range(count)]
