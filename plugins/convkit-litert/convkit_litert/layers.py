"""What the operators of a parsed file do: multiply-accumulates, compute types, module scopes."""

from __future__ import annotations

import math
import re

from convkit.plugin import LayerInfo
from convkit_litert.model import Model, Operator, Subgraph, Tensor

INDEX = "index"
"""Compute type of bookkeeping on ids, shapes and masks: integers that stand for themselves and
not for quantized reals, so that they count neither as quantized nor as float."""

_WEIGHT_OPERAND = {
    "CONV_2D": 1,
    "CONV_3D": 1,
    "DEPTHWISE_CONV_2D": 1,
    "TRANSPOSE_CONV": 1,
    "FULLY_CONNECTED": 1,
    "BATCH_MATMUL": 1,
}
_RECURRENT = (
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "LSTM",
    "RNN",
)


def layers(model: Model) -> tuple[LayerInfo, ...]:
    """Every operator of the main subgraph, in execution order.

    A layer bears the name of its first output tensor (names are unique in a parsed model).
    """
    graph = model.main
    return tuple(_layer(op, graph, position) for position, op in enumerate(graph.operators))


def _layer(op: Operator, graph: Subgraph, position: int) -> LayerInfo:
    operands = [graph.tensors[i] for i in op.inputs if i >= 0]
    outputs = [graph.tensors[i] for i in op.outputs]
    return LayerInfo(
        name=outputs[0].name if outputs else f"{op.op_type.lower()}#{position}",
        op_type=op.op_type,
        inputs=tuple(t.name for t in operands if not t.constant),
        outputs=tuple(t.name for t in outputs),
        macs=macs(op, graph),
        parameter_count=sum(t.elements for t in operands if t.constant),
        compute=compute(op, graph),
        scope=scope(outputs[0].name) if outputs else "",
    )


def macs(op: Operator, graph: Subgraph) -> int:
    """Multiply-accumulates of one inference, dynamic dimensions counted as stored."""
    tensors = [graph.tensors[i] if i >= 0 else None for i in op.inputs]
    if not op.outputs or len(tensors) < 2 or tensors[0] is None or tensors[1] is None:
        return 0
    first, weight = tensors[0], tensors[1]
    output = graph.tensors[op.outputs[0]]
    match op.op_type:
        case "CONV_2D" | "CONV_3D" if len(weight.shape) >= 4:
            # CONV_3D keeps its output channels last, CONV_2D first.
            last = op.op_type == "CONV_3D"
            return output.elements * math.prod(weight.shape[:-1] if last else weight.shape[1:])
        case "DEPTHWISE_CONV_2D" if len(weight.shape) == 4:
            return output.elements * weight.shape[1] * weight.shape[2]
        case "TRANSPOSE_CONV" if len(weight.shape) == 4 and len(tensors) > 2 and tensors[2]:
            return tensors[2].elements * math.prod(weight.shape[:3])
        case "FULLY_CONNECTED" if weight.shape:
            return output.elements * weight.shape[-1]
        case "BATCH_MATMUL" if len(first.shape) >= 2:
            return output.elements * first.shape[-2 if op.transposed[0] else -1]
        case kind if kind in _RECURRENT and len(first.shape) >= 2:
            weights = sum(t.elements for t in tensors[1:] if t and t.constant and len(t.shape) == 2)
            return math.prod(first.shape[:-1]) * weights
    return 0


def weight(op: Operator, graph: Subgraph) -> Tensor | None:
    """The constant weight of an operator with multiply-accumulates, else None."""
    place = _WEIGHT_OPERAND.get(op.op_type)
    if place is None and op.op_type in _RECURRENT:
        matrices = (graph.tensors[i] for i in op.inputs[1:] if i >= 0)
        return next((t for t in matrices if t.constant and len(t.shape) == 2), None)
    if place is None or place >= len(op.inputs) or op.inputs[place] < 0:
        return None
    tensor = graph.tensors[op.inputs[place]]
    return tensor if tensor.constant else None


def compute(op: Operator, graph: Subgraph) -> str:
    """The dtype in which an operator computes.

    `int8` (or another integer dtype) where its activations are quantized; `hybrid-int8` where
    integer weights meet float activations, which the kernels quantize at run time; `float32`
    or `float16`; `index` for integers that are not quantized reals.
    """
    activations = [graph.tensors[i] for i in op.inputs if i >= 0 and not graph.tensors[i].constant]
    activations += [graph.tensors[i] for i in op.outputs]
    floats = [t for t in activations if "float" in t.dtype]
    quantized = [t for t in activations if t.quantized]
    if op.op_type == "QUANTIZE":
        return graph.tensors[op.outputs[0]].dtype
    if floats:
        matrix = weight(op, graph)
        if matrix is not None and matrix.quantized:
            return f"hybrid-{matrix.dtype}"
        return floats[0].dtype
    return quantized[0].dtype if quantized else INDEX


_TORCH_SCOPE = re.compile(r"^[A-Za-z_][\w.]*(/[A-Za-z_][\w.]*)*;")
_READER = "_input_nhwc"
"""onnx2tf names a tensor so after the convolution that reads it in another layout."""
_OWN_SCOPE = re.compile(r"^([\w.]+)/[a-z0-9_]+(#\d+)?$")


def scope(tensor_name: str) -> str:
    """The module path inside a tensor's name, empty where there is none.

    Reads the names that this plugin writes (`neck.up/resize_nearest_neighbor`), those of
    litert-torch (`pkg.Net/pkg.Neck_neck/torch.nn.modules.upsampling.Upsample_up;3`) and those that
    come from torch's older ONNX exporter (`/neck/blocks.0/conv/Conv_output_0`).
    """
    if tensor_name.startswith("/"):
        return _onnx_scope(tensor_name)
    own = _OWN_SCOPE.match(tensor_name)
    if own:
        return own.group(1)
    if not _TORCH_SCOPE.match(tensor_name):
        return ""
    first = next((part for part in tensor_name.split(";") if part and not part.isdigit()), "")
    return ".".join(attribute for attribute in map(_attribute, first.split("/")[1:]) if attribute)


def _onnx_scope(name: str) -> str:
    """A tensor that is named after the operator which reads it says nothing of its own place. A
    child of a container repeats the end of the container's path: `/head/cv2.0/cv2.0.1/Conv`."""
    if _READER in name:
        return ""
    path = ""
    for part in name.split("/")[1:-1]:
        known = path.split(".")
        ends = (".".join(known[place:]) for place in range(len(known)))
        shared = next((end for end in ends if end and part.startswith(end + ".")), "")
        path += part.removeprefix(shared) if shared else ("." if path else "") + part
    return path


def _attribute(component: str) -> str:
    """`torch.nn.modules.conv.Conv2d_conv` is attribute `conv` of class `Conv2d`."""
    return component.rpartition(".")[2].partition("_")[2]
