"""Small float models, written straight into OpenVINO IR and ONNX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convkit.plugin import (
    Artifact,
    CalibrationData,
    HopContext,
    QuantRecipe,
    QuantRule,
    State,
    TensorSpec,
    sample_key,
)

Feed = Sequence[Any]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def real(*shape: int) -> Any:
    return rng().standard_normal(shape, np.float32) / np.float32(shape[-1] ** 0.5)


# OpenVINO


def named(node: Any, name: str) -> Any:
    node.set_friendly_name(name)
    return node


def save(results: Sequence[tuple[str, Any]], parameters: Sequence[Any], path: Path) -> Path:
    import openvino
    from openvino import opset13 as ops

    for name, node in results:
        node.output(0).set_names({name})
    ends = [ops.result(node) for _, node in results]
    model = openvino.Model(ends, list(parameters), "model")
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


def parameter(name: str, shape: Sequence[int], dtype: Any = np.float32) -> Any:
    from openvino import opset13 as ops

    node = ops.parameter(list(shape), dtype, name=name)
    node.output(0).set_names({name})
    return node


def convolution(x: Any, inputs: int, outputs: int, name: str) -> Any:
    from openvino import opset13 as ops

    weight = ops.constant(real(outputs, inputs, 3, 3))
    made = ops.convolution(x, weight, [1, 1], [1, 1], [1, 1], [1, 1])
    named(made, name)
    return named(ops.add(made, ops.constant(real(1, outputs, 1, 1))), f"{name}/bias")


def linear(x: Any, inputs: int, outputs: int, name: str) -> Any:
    from openvino import opset13 as ops

    made = ops.matmul(x, ops.constant(real(outputs, inputs)), False, True)
    return named(made, name)


def cnn_ir(path: Path) -> Path:
    """An image and ids in, whose order is not alphabetical; a map and scores out."""
    from openvino import opset13 as ops

    picture = parameter("picture", (1, 3, 16, 16))
    ids = parameter("ids", (1, 4), np.int64)
    x = named(ops.relu(convolution(picture, 3, 16, "stem")), "stem/relu")
    x = named(ops.relu(convolution(x, 16, 32, "body")), "body/relu")
    rows = ops.gather(ops.constant(real(9, 32)), ids, np.int64(0))
    both = ops.add(ops.reduce_mean(x, np.array([2, 3])), ops.reduce_mean(rows, np.array([1])))
    scores = linear(both, 32, 10, "head")
    return save([("map", x), ("scores", scores)], [picture, ids], path)


def attention_ir(path: Path, size: int = 32) -> Path:
    """One block of a transformer: two products of activations with a Softmax between."""
    from openvino import opset13 as ops

    x = parameter("tokens", (1, 6, size))
    normal = ops.mvn(x, np.array([2]), True, 1e-5, "INSIDE_SQRT")
    query, key, value = (linear(normal, size, size, name) for name in ("q", "k", "v"))
    product = ops.matmul(query, key, False, True)
    scores = ops.softmax(ops.multiply(product, ops.constant(np.float32(size**-0.5))), -1)
    mixed = linear(named(ops.matmul(scores, value, False, False), "mix"), size, size, "o")
    x2 = ops.add(x, mixed)
    wide = ops.gelu(linear(x2, size, 4 * size, "up"), "erf")
    return save([("hidden", ops.add(x2, linear(wide, 4 * size, size, "down")))], [x], path)


def mlp_ir(path: Path) -> Path:
    """Matrix products only, wide enough for groups of 4-bit weights."""
    from openvino import opset13 as ops

    x = parameter("x", (1, 128))
    y = ops.relu(linear(x, 128, 256, "first"))
    y = ops.relu(linear(y, 256, 128, "second"))
    return save([("y", linear(y, 128, 8, "last"))], [x], path)


# ONNX

_CNN = """
<ir_version: 8, opset_import: ["": OPSET]>
cnn (float[1,3,16,16] picture, int64[1,4] ids) => (float[1,32,16,16] map, float[1,10] scores)
{
  a = Conv <pads=[1,1,1,1]> (picture, w1, b1)
  r = Relu (a)
  c = Conv <pads=[1,1,1,1]> (r, w2, b2)
  map = Relu (c)
  p = GlobalAveragePool (map)
  f = Flatten (p)
  e = Gather (table, ids)
  m = ReduceMean <axes=[1], keepdims=0> (e)
  both = Add (f, m)
  scores = Gemm <transB=1> (both, w3, b3)
}
"""


def cnn_onnx(path: Path, opset: int = 17, names: Mapping[int, str] | None = None) -> Path:
    """The same kind of model; its nodes bear no names but those given by place."""
    import onnx

    model = onnx.parser.parse_model(_CNN.replace("OPSET", str(opset)))
    for place, name in (names or {}).items():
        model.graph.node[place].name = name
    weights = {
        "w1": real(16, 3, 3, 3),
        "b1": real(16),
        "w2": real(32, 16, 3, 3),
        "b2": real(32),
        "table": real(9, 32),
        "w3": real(10, 32),
        "b3": real(10),
    }
    for key, value in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, key))
    onnx.checker.check_model(model)
    onnx.save_model(model, str(path))
    return path


PICTURE = TensorSpec("picture", (1, 3, 16, 16), "float32", "NCHW")
IDS = TensorSpec("ids", (1, 4), "int64")
CNN_OUTPUTS = (
    TensorSpec("map", (1, 32, 16, 16), "float32"),
    TensorSpec("scores", (1, 10), "float32"),
)


def cnn(path: Path, form: str = "openvino") -> Artifact:
    """The artifact of a cnn above."""
    return Artifact(path, State(form), (PICTURE, IDS), CNN_OUTPUTS)


def draw(specs: Sequence[TensorSpec], number: int) -> list[Any]:
    """A sample; numbers below 9 where they are ids."""
    generator = np.random.default_rng(number)
    return [
        generator.integers(0, 9, spec.shape)
        if spec.dtype == "int64"
        else generator.standard_normal(spec.shape, np.float32)
        for spec in specs
    ]


def context(
    folder: Path, artifact: Artifact, keep: Sequence[str] = (), samples: int = 6
) -> HopContext:
    """What the engine would give: samples in a file, and a recipe."""
    from safetensors.numpy import save_file

    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    path = folder / "calibration.safetensors"
    save_file(
        {
            sample_key(number, place): array
            for number in range(samples)
            for place, array in enumerate(draw(artifact.inputs, number))
        },
        path,
    )
    recipe = QuantRecipe("test", (QuantRule(tuple(keep), "asked for"),)) if keep else None
    return HopContext(
        work,
        lambda phase, fraction: None,
        CalibrationData(path, samples, "0" * 64, "drawn"),
        recipe,
        threads=1,
    )


def defaults(converter: Any, **options: Any) -> dict[str, Any]:
    """All options with their values."""
    return {o.name: o.default for o in converter.options} | options


def quantize(
    converter: Any,
    artifact: Artifact,
    folder: Path,
    keep: Sequence[str] = (),
    **options: Any,
) -> Artifact:
    """One conversion into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / f"made{artifact.path.suffix}"
    given = context(folder, artifact, keep)
    made: Artifact = converter.convert(artifact, output, defaults(converter, **options), given)
    return made
