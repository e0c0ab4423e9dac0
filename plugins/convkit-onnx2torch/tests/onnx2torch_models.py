"""ONNX models as exporters and people write them, built with the onnx package alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    """Small normal numbers."""
    return (RNG.standard_normal(shape) * 0.3).astype(np.float32)


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[Sequence[int | str], int]],
    outputs: Mapping[str, Sequence[int | str | None]],
    constants: Mapping[str, np.ndarray],
    opset: int = 17,
    kinds: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """A checked model; outputs are float unless `kinds` says otherwise."""
    kinds = kinds or {}
    graph = helper.make_graph(
        list(nodes),
        "main",
        [helper.make_tensor_value_info(n, kind, list(s)) for n, (s, kind) in inputs.items()],
        [
            helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), list(s))
            for n, s in outputs.items()
        ],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def two_ends(batch: int | str = 1) -> onnx.ModelProto:
    """A picture and ids in, a map and scores out; names that are no identifiers, and shape
    arithmetic as exporters leave it behind."""
    n = helper.make_node
    nodes = [
        n("Conv", ["input.1", "stem.weight", "stem_weight"], ["c"], "/stem/Conv", pads=[1] * 4),
        n("Relu", ["c"], ["map:0"], "/stem/Relu"),
        n("GlobalAveragePool", ["map:0"], ["p"], "/pool/GlobalAveragePool"),
        n("Shape", ["p"], ["s"], "/Shape"),
        n("Gather", ["s", "zero"], ["s0"], "/Gather", axis=0),
        n("Unsqueeze", ["s0", "axes"], ["s1"], "/Unsqueeze"),
        n("Concat", ["s1", "minus"], ["target"], "/Concat", axis=0),
        n("Reshape", ["p", "target"], ["flat"], "/Reshape"),
        n("Gather", ["table", "Ids"], ["e"], "/embed/Gather"),
        n("ReduceMean", ["e"], ["m"], "/ReduceMean", axes=[1], keepdims=0),
        n("Add", ["flat", "m"], ["sum"], "/Add"),
        n("Gemm", ["sum", "head.weight", "head.bias"], ["scores"], "/head/Gemm", transB=1),
    ]
    constants = {
        "stem.weight": weights(4, 3, 3, 3),
        "stem_weight": weights(4),
        "zero": np.array(0, np.int64),
        "axes": np.array([0], np.int64),
        "minus": np.array([-1], np.int64),
        "table": weights(12, 4),
        "head.weight": weights(5, 4),
        "head.bias": weights(5),
    }
    return build(
        nodes,
        {
            "input.1": ((batch, 3, 8, 8), TensorProto.FLOAT),
            "Ids": ((batch, 6), TensorProto.INT64),
        },
        {"map:0": (batch, 4, 8, 8), "scores": (batch, 5)},
        constants,
    )


def masked() -> onnx.ModelProto:
    """A boolean input, and an output that is an integer."""
    n = helper.make_node
    nodes = [
        n("Where", ["mask", "x", "low"], ["w"], "Where"),
        n("Softmax", ["w"], ["probabilities"], "Softmax", axis=-1),
        n("ArgMax", ["probabilities"], ["best"], "ArgMax", axis=1, keepdims=0),
    ]
    return build(
        nodes,
        {"x": ((2, 5), TensorProto.FLOAT), "mask": ((2, 5), TensorProto.BOOL)},
        {"best": (2,), "probabilities": (2, 5)},
        {"low": np.array(-1e9, np.float32)},
        opset=12,
        kinds={"best": TensorProto.INT64},
    )


def several() -> onnx.ModelProto:
    """One node that makes two outputs, given out in another order."""
    n = helper.make_node
    nodes = [
        n("MatMul", ["x", "w"], ["y"], "MatMul"),
        n("TopK", ["y", "k"], ["values", "places"], "TopK"),
    ]
    return build(
        nodes,
        {"x": ((2, 6), TensorProto.FLOAT)},
        {"places": (2, 3), "values": (2, 3)},
        {"w": weights(6, 8), "k": np.array([3], np.int64)},
        opset=13,
        kinds={"places": TensorProto.INT64},
    )


def upsampled() -> onnx.ModelProto:
    """Scales as constants, and a split: what detectors do."""
    n = helper.make_node
    nodes = [
        n("Split", ["x", "parts"], ["a", "b"], "Split", axis=1),
        n("Resize", ["a", "", "scales"], ["up"], "Resize", mode="nearest"),
        n("Resize", ["b", "", "scales"], ["vp"], "Resize_1", mode="linear"),
        n("Concat", ["up", "vp"], ["y"], "Concat", axis=1),
    ]
    return build(
        nodes,
        {"x": ((1, 4, 5, 6), TensorProto.FLOAT)},
        {"y": (1, 4, 10, 12)},
        {"parts": np.array([2, 2], np.int64), "scales": np.array([1, 1, 2, 2], np.float32)},
        opset=18,
    )


def recurrent() -> onnx.ModelProto:
    """An LSTM whose hidden state is an output."""
    n = helper.make_node
    nodes = [
        n("LSTM", ["x", "W", "R", "B"], ["all", "last"], "LSTM", hidden_size=5),
        n("Squeeze", ["all", "one"], ["y"], "Squeeze"),
    ]
    return build(
        nodes,
        {"x": ((4, 2, 3), TensorProto.FLOAT)},
        {"y": (4, 2, 5), "last": (1, 2, 5)},
        {
            "W": weights(1, 20, 3),
            "R": weights(1, 20, 5),
            "B": weights(1, 40),
            "one": np.array([1], np.int64),
        },
        opset=14,
    )


def normalized() -> onnx.ModelProto:
    """Attention by hand with LayerNormalization, as dynamo writes it: opset 20."""
    n = helper.make_node
    nodes = [
        n("LayerNormalization", ["x", "gamma", "beta"], ["h"], "norm", axis=-1),
        n("MatMul", ["h", "wq"], ["q"], "q"),
        n("MatMul", ["h", "wk"], ["k"], "k"),
        n("Transpose", ["k"], ["kt"], "kt", perm=[0, 2, 1]),
        n("MatMul", ["q", "kt"], ["s"], "s"),
        n("Softmax", ["s"], ["p"], "p", axis=-1),
        n("MatMul", ["p", "h"], ["a"], "a"),
        n("Gelu", ["a"], ["g"], "gelu"),
        n("Reshape", ["g", "shape"], ["y"], "view", allowzero=1),
    ]
    return build(
        nodes,
        {"x": ((2, 7, 8), TensorProto.FLOAT)},
        {"y": (2, 56)},
        {
            "gamma": weights(8) + 1,
            "beta": weights(8),
            "wq": weights(8, 8),
            "wk": weights(8, 8),
            "shape": np.array([2, 56], np.int64),
        },
        opset=20,
    )


def enlarged() -> onnx.ModelProto:
    """Transposed convolutions cut unevenly: by pads, as TensorFlow's `SAME` is written, and by a
    stated size; one with something added at the end."""
    n = helper.make_node
    nodes = [
        n("ConvTranspose", ["x", "w"], ["a"], "a", pads=[0, 0, 1, 1], strides=[2, 2]),
        n(
            "ConvTranspose",
            ["a", "v", "b"],
            ["c"],
            "c",
            output_shape=[17, 20],
            strides=[2, 2],
            auto_pad="SAME_UPPER",
        ),
        n("ConvTranspose", ["c", "v"], ["d"], "d", output_shape=[34, 38], strides=[2, 2]),
        n(
            "ConvTranspose",
            ["d", "w"],
            ["y"],
            "y",
            pads=[2, 0, 1, 1],
            strides=[3, 2],
            output_padding=[2, 1],
        ),
    ]
    return build(
        nodes,
        {"x": ((1, 4, 5, 5), TensorProto.FLOAT)},
        {"y": (1, 4, None, None)},
        {"w": weights(4, 4, 3, 3), "v": weights(4, 4, 4, 3), "b": weights(4)},
    )


def sized_by_input() -> onnx.ModelProto:
    """The target shape is an input: no program of fixed operators can follow it."""
    return build(
        [helper.make_node("Reshape", ["x", "shape"], ["y"], "Reshape")],
        {"x": ((2, 6), TensorProto.FLOAT), "shape": ((2,), TensorProto.INT64)},
        {"y": (None, None)},
        {},
    )


def unknown() -> onnx.ModelProto:
    """An operator that no importer has, twice."""
    n = helper.make_node
    nodes = [
        n("Relu", ["x"], ["a"], "fine"),
        n("Bend", ["a"], ["b"], "bend_1", domain="acme"),
        n("Bend", ["b"], ["y"], "bend_1", domain="acme"),
    ]
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    return model


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "two_ends": two_ends,
    "masked": masked,
    "several": several,
    "upsampled": upsampled,
    "recurrent": recurrent,
    "normalized": normalized,
}


def feeds(model: onnx.ModelProto, batch: int = 1) -> dict[str, np.ndarray]:
    """Seeded inputs by name; symbolic axes take the batch size."""
    rng = np.random.default_rng(1)
    arrays = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        shape = [d.dim_value or batch for d in kind.shape.dim]
        if kind.elem_type == TensorProto.FLOAT:
            arrays[value.name] = rng.standard_normal(shape).astype(np.float32)
        elif kind.elem_type == TensorProto.BOOL:
            arrays[value.name] = rng.random(shape) > 0.4
        else:
            arrays[value.name] = rng.integers(0, 12, shape)
    return arrays


def write(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    """The file."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path
