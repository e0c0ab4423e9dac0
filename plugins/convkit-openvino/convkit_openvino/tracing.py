"""The values of all layers of one inference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError
from convkit.plugin import Artifact, LayerInfo, TracedTensor

if TYPE_CHECKING:
    import openvino

_FLOATS = ("f64", "f32", "f16", "bf16")
_BATCH_BYTES = 256 * 2**20
"""Values that are kept at a time: a model is run again for each batch of its layers."""


@dataclass(frozen=True)
class _Point:
    """An output port to look at."""

    layer: LayerInfo
    node: str
    port: int
    tensor: str
    size: int


def trace(artifact: Artifact, inputs: Sequence[Any], threads: int) -> Iterator[TracedTensor]:
    """See `Tracer.trace`.

    Raises:
        InputError: the file is damaged.
        ConversionError: the model cannot be compiled, or none of its layers can be shown.
    """
    from convkit_openvino import interface, ir, runtime
    from convkit_openvino.layers import layer_infos
    from convkit_openvino.runner import places

    layers = layer_infos(ir.load(artifact.path).graph)
    model = runtime.read_model(artifact.path)
    order = places(artifact.inputs, interface.input_names(model), "input")
    points = _points(model, layers)
    if not points:
        raise ConversionError(f"{artifact.path.name} computes nothing in floating point")
    for batch in _batches(points):
        yield from _show(model, batch, order, inputs, threads, artifact.path.name)


def _points(model: openvino.Model, layers: Sequence[LayerInfo]) -> list[_Point]:
    nodes = {node.friendly_name: node for node in model.get_ordered_ops() if _computes(node)}
    points = []
    for layer in layers:
        node = nodes.get(layer.name)
        for place, port in enumerate(node.outputs() if node is not None else ()):
            if port.element_type.get_type_name() in _FLOATS:
                shape = [d.get_length() if d.is_static else 1 for d in _dimensions(port)]
                tensor = layer.outputs[place] if place < len(layer.outputs) else ""
                points.append(_Point(layer, layer.name, place, tensor, 4 * prod(shape)))
    return points


def _computes(node: Any) -> bool:
    # A Result may bear the name of the operator that feeds it.
    return node.get_type_name() not in ("Parameter", "Constant", "Result")


def _dimensions(port: Any) -> Any:
    return port.partial_shape if port.partial_shape.rank.is_static else ()


def _batches(points: Sequence[_Point]) -> Iterator[list[_Point]]:
    batch: list[_Point] = []
    for point in points:
        if batch and sum(p.size for p in batch) + point.size > _BATCH_BYTES:
            yield batch
            batch = []
        batch.append(point)
    yield batch


def _show(
    model: openvino.Model,
    batch: Sequence[_Point],
    order: Sequence[int],
    inputs: Sequence[Any],
    threads: int,
    name: str,
) -> Iterator[TracedTensor]:
    """Run with the points as outputs; where the runtime refuses so many, in halves.

    Raises:
        ConversionError: it refuses a single one.
    """
    import numpy as np

    from convkit_openvino.runner import compiled, feed

    try:
        request = compiled(_opened(model, batch), name, threads).create_infer_request()
        feed(request, order, inputs)
    except ConversionError:
        if len(batch) == 1:
            raise
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            yield from _show(model, half, order, inputs, threads, name)
        return
    for place, point in enumerate(batch):
        yield TracedTensor(
            layer=point.layer.name,
            op_type=point.layer.op_type,
            scope=point.layer.scope,
            value=np.array(request.get_output_tensor(place).data, dtype=np.float32),
            tensor=point.tensor,
        )


def _opened(model: openvino.Model, batch: Sequence[_Point]) -> openvino.Model:
    """A copy of the model with these points as its only outputs."""
    import openvino
    from openvino import opset13 as operators

    copy = model.clone()
    nodes = {node.friendly_name: node for node in copy.get_ordered_ops() if _computes(node)}
    results = [operators.result(nodes[point.node].output(point.port)) for point in batch]
    return openvino.Model(results, copy.get_sinks(), copy.get_parameters(), "traced")
