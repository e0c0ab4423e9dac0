"""Bias correction: what rounding the weights adds to a layer's mean output, taken off its bias.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
section 4.2: with e = W' - W, a layer's output moves by E[e x] = e E[x] on average. A layer is
linear, so the mean input of the calibration samples, position by position, gives that exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

_LAYERS = frozenset({"Conv", "Gemm", "MatMul"})
_MATRIX = 2


def inputs(model: onnx.ModelProto) -> dict[str, str]:
    """Layer to the tensor that it multiplies by a constant."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return {
        node.name: node.input[0]
        for node in model.graph.node
        if node.op_type in _LAYERS and node.input[1] in weights and node.input[0] not in weights
    }


def means(samples: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Tensor to its mean over the samples, batch axis kept at 1; those that change their shape
    from sample to sample are left out."""
    import numpy as np

    totals: dict[str, Any] = {}
    count = 0
    for count, sample in enumerate(samples, 1):
        for name, value in sample.items():
            mean = np.asarray(value, np.float64).mean(0, keepdims=True)
            if count == 1:
                totals[name] = mean
            elif name in totals and totals[name].shape == mean.shape:
                totals[name] += mean
            else:
                totals.pop(name, None)
    return {name: total / count for name, total in totals.items()}


def correct(
    model: onnx.ModelProto, quantized: onnx.ModelProto, found: Mapping[str, Any]
) -> tuple[str, ...]:
    """Take the mean error off the biases of the float model, in place.

    A Conv or Gemm without a bias is given one. Of MatMul, the constant that is added to its result
    is the bias; where none is, nothing is corrected.

    Args:
        quantized: made from `model`, with conversions (QDQ) around the same nodes.
        found: tensor to mean, see `means`.

    Returns:
        Names of the layers that were corrected.
    """
    import numpy as np
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    twins = {node.name: node for node in quantized.graph.node}
    rounded = _Weights(quantized)
    done = []
    for node in list(model.graph.node):
        if node.op_type not in _LAYERS or node.input[1] not in stored:
            continue
        mean = found.get(node.input[0])
        twin = twins.get(node.name)
        weight = numpy_helper.to_array(stored[node.input[1]])
        now = (
            rounded.of(twin.input[1]) if twin is not None and twin.op_type == node.op_type else None
        )
        if mean is None or now is None or now.shape != weight.shape or mean.ndim < _MATRIX:
            continue
        shift = _mean_output(node, mean, now.astype(np.float64) - weight)
        bias = _bias(model, node, stored, len(shift))
        if bias is None:
            continue
        before = numpy_helper.to_array(bias)
        after = (before - shift.reshape(before.shape)).astype(before.dtype)
        bias.CopyFrom(numpy_helper.from_array(after, bias.name))
        done.append(node.name)
    return tuple(done)


class _Weights:
    """Weights of a model of conversions, as the reals that they stand for."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self._stored = {tensor.name: tensor for tensor in model.graph.initializer}

    def of(self, name: str) -> Any:
        """An array; None where the tensor is no dequantized constant."""
        import numpy as np
        from onnx import numpy_helper

        from convkit_onnx.chains import attribute

        node = self._makers.get(name)
        if node is None or node.op_type != "DequantizeLinear" or node.input[0] not in self._stored:
            return None
        integers, scale, *zero = (numpy_helper.to_array(self._stored[n]) for n in node.input if n)
        shape = [1] * integers.ndim
        if scale.ndim:
            shape[attribute(node, "axis", 1)] = -1
        offset = zero[0].astype(np.float64).reshape(shape) if zero else 0.0
        return (integers.astype(np.float64) - offset) * scale.astype(np.float64).reshape(shape)


def _mean_output(node: Any, mean: Any, error: Any) -> Any:
    """Of each output channel, the mean of the layer applied to the mean input with the error for
    weights."""
    import numpy as np
    import onnx
    import onnxruntime

    single = onnx.NodeProto()
    single.CopyFrom(node)
    del single.input[:]
    single.input.extend(("x", "w"))
    kinds = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, array.shape)
        for name, array in (("x", mean), ("w", error))
    ]
    graph = onnx.helper.make_graph(
        [single], "layer", kinds, [onnx.ValueInfoProto(name=node.output[0])]
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    made.ir_version = 8
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {"x": mean.astype(np.float32), "w": error.astype(np.float32)}
    (result,) = session.run(None, feeds)
    axis = 1 if node.op_type == "Conv" else result.ndim - 1
    return result.astype(np.float64).mean(tuple(a for a in range(result.ndim) if a != axis))


def _bias(
    model: onnx.ModelProto, node: Any, stored: dict[str, onnx.TensorProto], channels: int
) -> onnx.TensorProto | None:
    """The constant that is added to each channel of a layer's result, which nobody else reads;
    None where there is none of that shape."""
    import numpy as np
    from onnx import numpy_helper

    if node.op_type == "MatMul":
        readers = [n for n in model.graph.node if node.output[0] in n.input]
        if len(readers) != 1 or readers[0].op_type != "Add":
            return None
        names = [n for n in readers[0].input if n in stored]
    elif len(node.input) > 2 and node.input[2]:
        names = [node.input[2]]
    else:
        name = f"{node.name}/bias"
        tensor: onnx.TensorProto = model.graph.initializer.add()
        tensor.CopyFrom(numpy_helper.from_array(np.zeros(channels, np.float32), name))
        stored[name] = tensor
        del node.input[2:]
        node.input.append(name)
        return tensor
    uses = [n for other in model.graph.node for n in other.input if n in names]
    if len(names) != 1 or len(uses) != 1 or names[0] not in stored:
        return None
    found: onnx.TensorProto = stored[names[0]]
    return found if list(found.dims) == [channels] else None
