"""Small models of the kinds that users bring, each with what it must compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convkit.plugin import Artifact, HopContext, ReadOptions, State, TensorSpec
from convkit_openvino.inspector import OpenVinoInspector
from convkit_openvino.runner import OpenVinoRunner

Arrays = Sequence[Any]


@dataclass(frozen=True)
class Case:
    """A model on disk, and the same model in its own framework.

    Attributes:
        draw: random inputs for a batch of this size.
        expect: what the framework computes.
    """

    artifact: Artifact
    draw: Callable[[int], list[Any]]
    expect: Callable[[Arrays], list[Any]]


def context(folder: Path) -> HopContext:
    """What the engine would give."""
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    return HopContext(work, lambda phase, fraction: None, threads=1)


def convert(converter: Any, artifact: Artifact, folder: Path, stem: str = "artifact") -> Artifact:
    """One conversion into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    made: Artifact = converter.convert(artifact, folder / f"{stem}.xml", {}, context(folder))
    return made


def inspect(path: Path) -> Any:
    """What the file really is."""
    return OpenVinoInspector().inspect(path, ReadOptions())


def run(artifact: Artifact, inputs: Arrays) -> list[Any]:
    """One inference by the runner."""
    return list(OpenVinoRunner().open(artifact, 1).run(inputs))


def opened(path: Path) -> Artifact:
    """An artifact of an IR as its inspector describes it."""
    seen = inspect(path)
    return Artifact(path, seen.state, seen.inputs, seen.outputs, seen.digest)


# torch


def torch_module(name: str) -> Any:
    """A seeded module in eval mode."""
    import torch
    from torch import nn

    class Cnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.SiLU(), nn.MaxPool2d(2)
            )
            self.boxes, self.scores = nn.Conv2d(8, 4, 1), nn.Linear(8, 5)

        def forward(self, images: Any) -> Any:
            features = self.stem(images)
            return self.boxes(features), self.scores(features.mean((2, 3))).softmax(-1)

    class Encoder(nn.Module):
        """Token ids and a boolean mask; a dictionary of results."""

        def __init__(self) -> None:
            super().__init__()
            self.embed, self.norm = nn.Embedding(50, 16), nn.LayerNorm(16)
            self.attend = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, ids: Any, padding: Any) -> Any:
            x = self.norm(self.embed(ids))
            y, _ = self.attend(x, x, x, key_padding_mask=padding, need_weights=False)
            return {"hidden": x + y, "best": (x + y).argmax(-1)}

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(6, 10, batch_first=True, bidirectional=True)
            self.head = nn.Linear(20, 2)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][:, -1])

    class Ends(nn.Module):
        """Inputs out of alphabetical order, one unused and one handed through; a result twice."""

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, b: Any, unused: Any, a: Any) -> Any:
            y = self.linear(b) - a
            return y, a * 2, b, y

    torch.manual_seed(0)
    torch.set_num_threads(1)
    module = {"cnn": Cnn, "encoder": Encoder, "lstm": Recurrent, "ends": Ends}[name]().eval()
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.running_mean.uniform_(-1, 1)
            child.running_var.uniform_(0.5, 2)
    return module


_DRAWS: dict[str, Callable[[np.random.Generator, int], list[Any]]] = {
    "cnn": lambda g, n: [g.standard_normal((n, 3, 16, 16), np.float32)],
    "encoder": lambda g, n: [
        g.integers(0, 50, (n, 7)),
        g.random((n, 7)) > np.array([2, *[0.7] * 6]),  # the first token is never masked
    ],
    "lstm": lambda g, n: [g.standard_normal((n, 5, 6), np.float32)],
    "ends": lambda g, n: [g.standard_normal((n, 4), np.float32) for _ in range(3)],
}
TORCH = tuple(_DRAWS)


def torch_case(name: str, folder: Path, dynamic: bool = False) -> Case:
    """An exported program; with `dynamic` the first axis of every input is open."""
    import torch

    module = torch_module(name)

    def draw(batch: int) -> list[Any]:
        return _DRAWS[name](np.random.default_rng(batch), batch)

    def expect(inputs: Arrays) -> list[Any]:
        with torch.no_grad():
            result = module(*(torch.from_numpy(np.asarray(a)) for a in inputs))
        values = list(result.values()) if isinstance(result, dict) else result
        values = [values] if isinstance(values, torch.Tensor) else list(values)
        return [value.numpy() for value in values]

    examples = tuple(torch.from_numpy(a) for a in draw(2))
    axes = ({0: torch.export.Dim("batch", min=1, max=64)},) * len(examples) if dynamic else None
    program = torch.export.export(module, examples, dynamic_shapes=axes)
    path = folder / f"{name}.pt2"
    torch.export.save(program, path)
    return Case(_of_program(path, program), draw, expect)


def _of_program(path: Path, program: Any) -> Artifact:
    nodes = {node.name: node.meta.get("val") for node in program.graph.nodes}
    kinds = (("input_specs", "USER_INPUT"), ("output_specs", "USER_OUTPUT"))
    found = []
    for which, kind in kinds:
        names = [s.arg.name for s in getattr(program.graph_signature, which) if s.kind.name == kind]
        specs = []
        for place, name in enumerate(names):
            value = nodes[name]
            shape = tuple(d if isinstance(d, int) else str(d) for d in value.shape)
            dtype = str(value.dtype).removeprefix("torch.")
            layout = "NCHW" if len(shape) == 4 and which == "input_specs" else ""
            public = name if which == "input_specs" else f"result_{place}"
            specs.append(TensorSpec(public, shape, dtype, layout))
        found.append(tuple(specs))
    return Artifact(path, State("torch"), *found)


# ONNX

_CNN = """
<ir_version: 8, opset_import: ["": 17]>
cnn (float[B,3,16,16] image, float[B,5] bias) => (float[B,4,8,8] map, float[B,5] logits)
{
  c = Conv <pads=[1,1,1,1], strides=[2,2]> (image, w, b)
  map = Relu (c)
  p = GlobalAveragePool (map)
  f = Flatten (p)
  m = Gemm <transB=1> (f, g)
  logits = Add (m, bias)
}
"""
_TOKENS = """
<ir_version: 8, opset_import: ["": 17]>
tokens (int64[B,6] ids, bool[B,6] keep) => (float[B,8] pooled, int64[B] best)
{
  e = Gather (table, ids)
  n = LayerNormalization <axis=-1> (e, scale, shift)
  u = Unsqueeze (keep, axis)
  z = Where (u, n, zero)
  pooled = ReduceMean <axes=[1], keepdims=0> (z)
  best = ArgMax <axis=-1, keepdims=0> (pooled)
}
"""
_LSTM = """
<ir_version: 8, opset_import: ["": 17]>
lstm (float[B,5,6] x) => (float[B,3] y)
{
  t = Transpose <perm=[1,0,2]> (x)
  s, h, c = LSTM <hidden_size=7> (t, wi, wr)
  q = Squeeze (h, first)
  y = MatMul (q, wd)
}
"""
_ONNX: dict[str, tuple[str, dict[str, Any]]] = {
    "cnn": (_CNN, {"w": (4, 3, 3, 3), "b": (4,), "g": (5, 4)}),
    "tokens": (
        _TOKENS,
        {
            "table": (9, 8),
            "scale": (8,),
            "shift": (8,),
            "axis": np.array([2]),
            "zero": np.zeros((), np.float32),
        },
    ),
    "lstm": (
        _LSTM,
        {"wi": (1, 28, 6), "wr": (1, 28, 7), "wd": (7, 3), "first": np.array([0])},
    ),
}
_ONNX_DRAWS: dict[str, Callable[[np.random.Generator, int], list[Any]]] = {
    "cnn": lambda g, n: [
        g.standard_normal((n, 3, 16, 16), np.float32),
        g.standard_normal((n, 5), np.float32),
    ],
    "tokens": lambda g, n: [g.integers(0, 9, (n, 6)), g.random((n, 6)) > 0.3],
    "lstm": lambda g, n: [g.standard_normal((n, 5, 6), np.float32)],
}
ONNX = tuple(_ONNX)


def onnx_model(name: str, batch: int | None = None) -> Any:
    """The protobuf; its first axis is open unless a batch is given."""
    import onnx

    text, weights = _ONNX[name]
    model = onnx.parser.parse_model(text.replace("[B", f"[{batch}" if batch else "[batch"))
    for node in model.graph.node:
        node.name = f"/{node.output[0]}/{node.op_type}"
    generator = np.random.default_rng(0)
    for key, value in weights.items():
        shaped = isinstance(value, tuple)
        array = generator.standard_normal(value, np.float32) if shaped else value
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, key))
    onnx.checker.check_model(model)
    return model


def onnx_case(name: str, folder: Path, batch: int | None = None) -> Case:
    """A model by hand, with the reference that the onnx package gives."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    model = onnx_model(name, batch)
    path = folder / f"{name}.onnx"
    onnx.save_model(model, str(path))
    evaluator = ReferenceEvaluator(model)
    names = [value.name for value in model.graph.input]

    def draw(size: int) -> list[Any]:
        return _ONNX_DRAWS[name](np.random.default_rng(size), size)

    def expect(inputs: Arrays) -> list[Any]:
        return list(evaluator.run(None, dict(zip(names, inputs, strict=True))))

    return Case(onnx_artifact(path, model), draw, expect)


def onnx_artifact(path: Path, model: Any) -> Artifact:
    """An artifact as its inspector would describe it."""
    import onnx

    specs = []
    for values in (model.graph.input, model.graph.output):
        found = []
        for value in values:
            kind = value.type.tensor_type
            shape = tuple(d.dim_param or d.dim_value for d in kind.shape.dim)
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
            found.append(TensorSpec(value.name, shape, dtype))
        specs.append(tuple(found))
    return Artifact(path, State("onnx"), *specs)


# TensorFlow and TFLite, written by a process of their own: TensorFlow takes long to import

TENSORFLOW = """
import sys
from pathlib import Path
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

folder = Path(sys.argv[1])
rng = np.random.default_rng(0)

def weights(*shape):
    return tf.Variable(0.3 * rng.standard_normal(shape).astype(np.float32))

class TwoEnds(tf.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.body = weights(3, 3, 3, 16), weights(3, 3, 16, 32)
        self.rows, self.head = weights(12, 32), weights(32, 40)

    @tf.function
    def __call__(self, image, ids, flag):
        x = tf.nn.relu(tf.nn.conv2d(image, self.stem, 2, "SAME"))
        x = tf.nn.relu(tf.nn.conv2d(x, self.body, 1, "SAME"))
        both = tf.reduce_mean(x, (1, 2)) + tf.reduce_mean(tf.gather(self.rows, ids), 1)
        y = tf.matmul(both, self.head)
        return {"map": x, "classes": tf.where(flag[:, None], y, -y)}

def draw(batch):
    g = np.random.default_rng(batch)
    return {"image": g.standard_normal((batch, 16, 16, 3)).astype(np.float32),
            "ids": g.integers(0, 12, (batch, 6)), "flag": g.random(batch) > 0.5}

def keep(module, name, batch):
    function = module.__call__.get_concrete_function(
        image=tf.TensorSpec((batch, 16, 16, 3), tf.float32, name="image"),
        ids=tf.TensorSpec((batch, 6), tf.int64, name="ids"),
        flag=tf.TensorSpec((batch,), tf.bool, name="flag"),
    )
    tf.saved_model.save(module, str(folder / f"{name}-saved"), signatures=function)
    return function

module = TwoEnds()
function = keep(module, "open", None)
keep(module, "fixed", 2)
frozen = convert_variables_to_constants_v2(function).graph.as_graph_def()
(folder / "frozen.pb").write_bytes(frozen.SerializeToString())
for batch in (2, 3):
    given = draw(batch)
    made = function(**{k: tf.constant(v) for k, v in given.items()})
    np.savez(folder / f"batch{batch}.npz", **given, **{k: v.numpy() for k, v in made.items()})

def lite(name, source, configure):
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / source))
    configure(converter)
    (folder / f"{name}.tflite").write_bytes(converter.convert())

def half(converter):
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]

def integer(converter):
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (draw(2) for _ in range(4))

lite("open", "open-saved", lambda converter: None)
lite("fp16", "fixed-saved", half)
lite("int8", "fixed-saved", integer)

inputs = tf.keras.Input((5, 6), name="x")
keras = tf.keras.Model(inputs, tf.keras.layers.Dense(3)(tf.keras.layers.LSTM(7)(inputs)))
keras.export(str(folder / "lstm-saved"), verbose=False)
x = np.random.default_rng(2).standard_normal((2, 5, 6)).astype(np.float32)
np.savez(folder / "lstm.npz", x=x, y=keras(x).numpy())
"""
"""A picture, ids and a flag in; a map and a vector out: in alphabetical order they would be turned
round. An LSTM, which TensorFlow writes as a loop."""


def tensorflow_artifact(path: Path, state: State, batch: int | None) -> Artifact:
    """An artifact of a file that the script above wrote."""
    sizes: Any = batch
    return Artifact(
        path,
        state,
        (
            TensorSpec("image", (sizes, 16, 16, 3), "float32"),
            TensorSpec("ids", (sizes, 6), "int64"),
            TensorSpec("flag", (sizes,), "bool"),
        ),
        (
            TensorSpec("map", (sizes, 8, 8, 32), "float32"),
            TensorSpec("classes", (sizes, 40), "float32"),
        ),
    )
