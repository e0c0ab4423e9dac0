"""Small ONNX models, built by hand so that these tests need no exporter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")

from convkit.plugin import Artifact, HopContext, ReadOptions  # noqa: E402
from convkit_onnx.inspector import OnnxInspector  # noqa: E402

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def _weights(name: str, *shape: int) -> Any:
    seed = sum(name.encode())
    array = np.random.default_rng(seed).standard_normal(shape).astype("float32")
    return onnx.numpy_helper.from_array(array, name)


def _model(nodes: Any, inputs: Any, outputs: Any, weights: Any, opset: int = 13) -> Any:
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [info(n, t, s) for n, t, s in inputs],
        [info(n, t, s) for n, t, s in outputs],
        weights,
    )
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8
    )


def cnn() -> Any:
    """Two outputs; the second input is listed first in no alphabet; shape arithmetic to fold."""
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["image", "w", "b"], ["c"], name="/stem/Conv", pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"], name="/stem/Relu"),
        node("Shape", ["r"], ["shape"], name="/Shape"),
        node("Reshape", ["r", "shape"], ["map"], name="/Reshape"),
        node("GlobalAveragePool", ["r"], ["p"], name="/Pool"),
        node("Flatten", ["p"], ["f"], name="/Flatten"),
        node("Gemm", ["f", "g"], ["m"], name="/head/Gemm", transB=1),
        node("Add", ["m", "bias"], ["logits"], name="/Add"),
    ]
    return _model(
        nodes,
        [("image", FLOAT, [1, 3, 8, 8]), ("bias", FLOAT, [1, 5])],
        [("map", FLOAT, [1, 4, 8, 8]), ("logits", FLOAT, [1, 5])],
        [_weights("w", 4, 3, 3, 3), _weights("b", 4), _weights("g", 5, 4)],
    )


def cnn_dynamic() -> Any:
    """The same for pictures of any number and size."""
    model = cnn()
    sizes = {"image": ["n", 3, "h", "w"], "map": ["n", 4, "h", "w"], "logits": ["n", 5]}
    for value in (*model.graph.input, *model.graph.output):
        for axis, size in enumerate(sizes.get(value.name, ())):
            if isinstance(size, str):
                value.type.tensor_type.shape.dim[axis].dim_param = size
    return model


def mlp() -> Any:
    """Big enough for its weights to outweigh everything else."""
    node = onnx.helper.make_node
    nodes = [
        node("MatMul", ["x", "w1"], ["h"], name="/a/MatMul"),
        node("Relu", ["h"], ["r"], name="/Relu"),
        node("MatMul", ["r", "w2"], ["y"], name="/b/MatMul"),
    ]
    return _model(
        nodes,
        [("x", FLOAT, ["batch", 32])],
        [("y", FLOAT, ["batch", 8])],
        [_weights("w1", 32, 64), _weights("w2", 64, 8)],
    )


def embedding() -> Any:
    node = onnx.helper.make_node
    nodes = [
        node("Gather", ["table", "ids"], ["e"], name="gather"),
        node("ReduceMean", ["e"], ["pooled"], name="mean", axes=[1], keepdims=0),
    ]
    return _model(
        nodes, [("ids", INT64, [1, 6])], [("pooled", FLOAT, [1, 4])], [_weights("table", 9, 4)]
    )


MODELS = {"cnn": cnn, "cnn_dynamic": cnn_dynamic, "mlp": mlp, "embedding": embedding}


@pytest.fixture
def proto() -> Callable[[str], Any]:
    return lambda name: MODELS[name]()


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def save(name: str, file: str = "", **options: Any) -> Path:
        path = tmp_path / (file or f"{name}.onnx")
        onnx.save_model(MODELS[name](), str(path), **options)
        return path

    return save


@pytest.fixture
def artifact() -> Callable[[Path], Artifact]:
    def make(path: Path) -> Artifact:
        seen = OnnxInspector().inspect(path, ReadOptions())
        return Artifact(
            path, seen.state, seen.inputs, seen.outputs, seen.digest, traits=seen.traits
        )

    return make


@pytest.fixture
def context(tmp_path: Path) -> HopContext:
    folder = tmp_path / "work"
    folder.mkdir()
    return HopContext(folder, lambda phase, fraction: None)
