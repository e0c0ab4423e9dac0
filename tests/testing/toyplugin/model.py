"""The toy model: linear heads over one float input, as a JSON file.

Each head computes `hidden = x @ weights + step * bias`, then either scales a column (`gain`, boxes
in pixels) or squashes it to 0..1 (scores). In integers a head has one scale for `hidden` and one
for its output, which is how a detector's concatenated output comes to harm.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convkit.errors import InputError
from convkit.plugin import LayerInfo, State, TensorSpec

Model = dict[str, Any]

CRATE_FILE = "model.json"
QUANTIZED_MAX = 127


def read(path: Path, format_id: str) -> Model:
    """Parse a file of one of the toy formats.

    Raises:
        InputError: not such a file.
    """
    file = path / CRATE_FILE if format_id == "toy-crate" else path
    try:
        model: Model = json.loads(file.read_text("utf-8"))
        found = model["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path.name} is no {format_id} file") from error
    if found != format_id:
        raise InputError(f"{path.name} is a {found} file, not {format_id}")
    return model


def write(model: Model, path: Path, format_id: str) -> None:
    """Write a model as one of the toy formats."""
    text = json.dumps({**model, "format": format_id}, sort_keys=True)
    if format_id == "toy-crate":
        path.mkdir()
        path = path / CRATE_FILE
    path.write_text(text, "utf-8")


def build(
    heads: Mapping[str, tuple[int, int]],
    *,
    width: int = 8,
    step: bool = False,
    seed: int = 0,
    opset: int = 17,
) -> Model:
    """A random model.

    Args:
        heads: output name to (columns in pixels or plain, columns squashed to 0..1); a head with
            both kinds multiplies its plain columns by 100.
        step: adds a second, integer input.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    inputs = [{"name": "x", "shape": [1, width], "dtype": "float32"}]
    if step:
        inputs.append({"name": "step", "shape": [1], "dtype": "int64"})
    outputs = []
    for name, (plain, squashed) in heads.items():
        columns = plain + squashed
        outputs.append(
            {
                "name": name,
                "weights": pack(rng.normal(size=(width, columns)).astype(np.float32)),
                "bias": pack(rng.normal(size=columns).astype(np.float32)),
                "gain": [100.0 if squashed else 1.0] * plain + [1.0] * squashed,
                "squash": [False] * plain + [True] * squashed,
                "hidden_scale": None,
                "output_scale": None,
            }
        )
    return {"inputs": inputs, "outputs": outputs, "traits": {"opset": opset}}


def pack(array: Any, scale: float | None = None) -> dict[str, Any]:
    """An array as JSON, with the scale of its integers."""
    data = [float(v) if array.dtype.kind == "f" else int(v) for v in array.ravel()]
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": data, "scale": scale}


def unpack(tensor: Mapping[str, Any]) -> Any:
    """A stored array as float32."""
    import numpy as np

    array = np.array(tensor["data"], dtype=tensor["dtype"]).reshape(tensor["shape"])
    return array.astype(np.float32) * np.float32(tensor["scale"] or 1.0)


def compute(model: Model, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs by name."""
    import numpy as np

    return {
        head["name"]: rounded(post(head, hidden(head, inputs)), head["output_scale"]).astype(
            np.float32
        )
        for head in model["outputs"]
    }


def hidden(head: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
    """What a head's multiplication gives."""
    step = inputs["step"].astype("float32") if "step" in inputs else 1.0
    value = inputs["x"] @ unpack(head["weights"]) + step * unpack(head["bias"])
    return rounded(value, head["hidden_scale"])


def post(head: Mapping[str, Any], value: Any) -> Any:
    """What a head does with its columns."""
    import numpy as np

    squashed = 1.0 / (1.0 + np.exp(-value))
    return np.where(np.array(head["squash"]), squashed, value * np.array(head["gain"]))


def rounded(value: Any, scale: float | None) -> Any:
    """Through int8 and back; unchanged where there is no scale."""
    import numpy as np

    if scale is None:
        return value
    return np.clip(np.round(value / scale), -QUANTIZED_MAX, QUANTIZED_MAX) * scale


def precision(model: Model) -> str:
    """The true precision: what the stored weights and scales say."""
    dtypes = {head["weights"]["dtype"] for head in model["outputs"]}
    if "int8" in dtypes:
        static = any(head["hidden_scale"] is not None for head in model["outputs"])
        return "int8" if static else "int8-dynamic"
    return "fp16" if dtypes == {"float16"} else "fp32"


def state(model: Model) -> State:
    """Format and true precision."""
    return State(model["format"], precision(model))


def input_specs(model: Model) -> tuple[TensorSpec, ...]:
    """In the file's order."""
    return tuple(
        TensorSpec(i["name"], _turned(model, tuple(i["shape"])), i["dtype"])
        for i in model["inputs"]
    )


def output_specs(model: Model) -> tuple[TensorSpec, ...]:
    """In the file's order."""
    return tuple(
        TensorSpec(h["name"], _turned(model, (1, h["weights"]["shape"][1])), "float32")
        for h in model["outputs"]
    )


def _turned(model: Model, shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[::-1] if model.get("sideways") else shape


def layers(model: Model) -> tuple[LayerInfo, ...]:
    """Two operators a head: the multiplication and what follows it."""
    found = []
    names = tuple(i["name"] for i in model["inputs"])
    for head in model["outputs"]:
        name, (rows, columns) = head["name"], head["weights"]["shape"]
        integers = head["weights"]["dtype"] == "int8"
        found.append(
            LayerInfo(
                f"{name}/multiply",
                "MULTIPLY",
                names,
                (f"{name}/hidden",),
                macs=rows * columns,
                parameter_count=(rows + 1) * columns,
                compute="int8" if integers else head["weights"]["dtype"],
            )
        )
        kind = "int8" if head["output_scale"] is not None else "float32"
        found.append(LayerInfo(f"{name}/post", "POST", (f"{name}/hidden",), (name,), compute=kind))
    return tuple(found)


def quantize_weights(head: Mapping[str, Any]) -> dict[str, Any]:
    """A head's weights as int8."""
    import numpy as np

    weights = unpack(head["weights"])
    scale = float(np.abs(weights).max()) / QUANTIZED_MAX
    return pack(np.round(weights / scale).astype(np.int8), scale)


def by_name(model: Model, arrays: Sequence[Any], specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Arrays in the order of an artifact's specs, as the file's names know them."""
    return {spec.name: upright(model, array) for spec, array in zip(specs, arrays, strict=True)}


def upright(model: Model, array: Any) -> Any:
    """An array of a model whose axes may be turned, the usual way round; and back again."""
    return array.T if model.get("sideways") else array
