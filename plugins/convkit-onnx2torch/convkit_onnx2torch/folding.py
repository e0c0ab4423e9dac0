"""Work out what an ONNX graph holds before any input comes: constants, shapes that are fixed, and
target shapes with a single open axis.

torch.export cannot look into a tensor, so a shape that stays a computation would stop it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from convkit_onnx2torch.graphs import copied, domain_of, graphs, inferred, values

SMALL = 4096
"""Constants up to this number of elements are computed; shapes and axes are smaller by far."""

_ARITHMETIC = frozenset(
    "Abs Add And Cast Ceil Concat ConstantOfShape Div Equal Expand Flatten Floor Gather Greater "
    "GreaterOrEqual Less LessOrEqual Max Min Mod Mul Neg Not Or Range ReduceMax ReduceMin "
    "ReduceProd ReduceSum Reshape Slice Split Sqrt Squeeze Sub Tile Transpose Unsqueeze "
    "Where".split()
)


def fold(model: Any) -> None:
    """Replace what is known by initializers."""
    import numpy as np
    import onnx

    graph = model.graph
    shapes = inferred(graph)
    known = {t.name: t for t in graph.initializer}
    aliases: dict[str, str] = {}
    kept = []
    made: dict[str, Any] = {}
    border = {value.name for value in graph.output}
    captured = set(_captured(graph))

    def put(name: str, array: Any) -> None:
        made[name] = known[name] = onnx.numpy_helper.from_array(np.asarray(array), name)

    for node in graph.node:
        node.input[:] = [aliases.get(name, name) for name in node.input]
        result = node.output[0] if node.output else ""
        free = not border & set(node.output)
        plain = domain_of(node.domain) == ""
        if plain and node.op_type == "Constant" and free:
            tensor = _constant(node)
            if tensor is not None:
                made[result] = known[result] = tensor
                continue
        elif plain and node.op_type == "Identity" and free and result not in captured:
            if node.input[0] in known:
                aliases[result] = node.input[0]
                continue
        elif plain and node.op_type in ("Shape", "Size") and free:
            shape = shapes.get(node.input[0])
            if shape is not None and all(isinstance(d, int) for d in shape):
                put(result, _measured(node, shape))
                continue
        elif plain and node.op_type in _ARITHMETIC and free:
            arrays = _computed(node, known, model.opset_import)
            if arrays is not None:
                for name, array in zip(node.output, arrays, strict=True):
                    if name:
                        put(name, array)
                continue
        if plain and node.op_type in ("Reshape", "Expand"):
            target = _target(node, known, shapes)
            if target is not None:
                node.input[1] = f"{result}__shape"
                put(node.input[1], np.array(target, np.int64))
        if plain and node.op_type == "Gather":
            indices = _from_the_start(node, known, shapes)
            if indices is not None:
                node.input[1] = f"{result}__indices"
                put(node.input[1], indices)
        if plain and node.op_type == "Reshape" and len(node.input) > 1:
            _forget_allowzero(node, known.get(node.input[1]))
        kept.append(node)
    nodes = [copied(node) for node in kept]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(made.values())


def _captured(graph: Any) -> Iterator[str]:
    """Values that graphs inside nodes read."""
    for inner in graphs(graph):
        if inner is not graph:
            yield from values(inner)


def _constant(node: Any) -> Any:
    """The tensor of a Constant node; None for texts and sparse tensors."""
    import numpy as np
    import onnx

    attribute = node.attribute[0]
    if attribute.name == "value":
        tensor = onnx.TensorProto()
        tensor.CopyFrom(attribute.t)
        tensor.name = node.output[0]
        return tensor
    types = {"value_int": "i", "value_ints": "ints", "value_float": "f", "value_floats": "floats"}
    if attribute.name not in types:
        return None
    value = getattr(attribute, types[attribute.name])
    dtype = np.int64 if "int" in attribute.name else np.float32
    array = np.array(value if isinstance(value, int | float) else list(value), dtype)
    return onnx.numpy_helper.from_array(array, node.output[0])


def _measured(node: Any, shape: tuple[Any, ...]) -> Any:
    """What Shape or Size gives for a known shape."""
    import math

    import numpy as np

    if node.op_type == "Size":
        return np.array(math.prod(shape), np.int64)
    ends = {attribute.name: int(attribute.i) for attribute in node.attribute}
    return np.array(shape[ends.get("start", 0) : ends.get("end", len(shape))], np.int64)


def _computed(node: Any, known: Mapping[str, Any], opsets: Any) -> list[Any] | None:
    """The node's results by ONNX's own reference; None where it is not all small constants."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    names = list(dict.fromkeys(name for name in node.input if name))
    if not names or not all(name in known for name in names):
        return None
    if any(_elements(known[name]) > SMALL for name in names):
        return None
    try:
        feeds = {name: onnx.numpy_helper.to_array(known[name]) for name in names}
        outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
        inputs = [onnx.helper.make_empty_tensor_value_info(name) for name in names]
        graph = onnx.helper.make_graph([node], "one", inputs, outputs)
        model = onnx.helper.make_model(graph, opset_imports=list(opsets))
        results: list[Any] = list(ReferenceEvaluator(model).run(None, feeds))
    except Exception:  # the reference does not know it: leave the node to the importer
        return None
    if any(result is None or result.size > SMALL for result in results):
        return None
    return results


def _elements(tensor: Any) -> int:
    import math

    return math.prod(tensor.dims)


def _target(
    node: Any, known: Mapping[str, Any], shapes: Mapping[str, tuple[int | str, ...]]
) -> list[int] | None:
    """A literal for the target shape that a node computes, from the inferred shape of its result.

    One axis of unknown size can be left to Reshape (-1), and one that the input has at the same
    place too (0). Expand takes sizes only.
    """
    if node.input[1] in known or node.output[0] not in shapes:
        return None
    result = shapes[node.output[0]]
    if all(isinstance(d, int) for d in result):
        return [int(d) for d in result]
    if node.op_type != "Reshape" or 0 in result:
        return None
    source = shapes.get(node.input[0], ())
    literal: list[int] = []
    for axis, size in enumerate(result):
        same = axis < len(source) and size != "" and source[axis] == size
        literal.append(size if isinstance(size, int) else 0 if same else -1)
    return literal if literal.count(-1) <= 1 else None


def _from_the_start(
    node: Any, known: Mapping[str, Any], shapes: Mapping[str, tuple[int | str, ...]]
) -> Any:
    """Constant indices that count from the end, counted from the start: onnx2fx looks a single one
    up with `index_select`, which knows no negative ones. None where there are none."""
    import numpy as np
    import onnx

    if node.input[1] not in known or node.input[0] not in shapes:
        return None
    indices = onnx.numpy_helper.to_array(known[node.input[1]])
    shape = shapes[node.input[0]]
    axis = next((int(a.i) for a in node.attribute if a.name == "axis"), 0)
    size = shape[axis] if -len(shape) <= axis < len(shape) else ""
    if not isinstance(size, int) or not (indices < 0).any():
        return None
    return np.where(indices < 0, indices + size, indices).astype(indices.dtype)


def _forget_allowzero(node: Any, target: Any) -> None:
    """`allowzero` says how to read a zero in the target: drop it where there is none, since old
    importers do not know it, or where the zero is ours and means to copy."""
    import onnx

    if target is None:
        return
    ours = node.input[1] == f"{node.output[0]}__shape"
    if ours or 0 not in onnx.numpy_helper.to_array(target):
        kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
        del node.attribute[:]
        node.attribute.extend(kept)
