"""Operators that onnx2tf does not know, but that the standard defines by simpler ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from convkit_onnx2tf.tool import variables_restored
from convkit_onnx2tf.walking import all_nodes


def write_out(model: Any) -> Any:
    """The model with such operators replaced by what the standard says that they are; so are Gelu
    where it stands for its approximation, since onnx2tf 2.6.9 takes it for the exact one, and PRelu
    with a slope for each place, which it refuses.

    Returns:
        The same model where there are none.
    """
    from onnx.inliner import inline_selected_functions

    unknown = known_by_definition()
    weights = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    nodes = [
        node
        for node in all_nodes(model.graph)
        if node.domain in ("", "ai.onnx")
        and (node.op_type in unknown or _approximate(node) or _bent_by_place(node, weights))
    ]
    if not nodes:
        return model
    for node in nodes:
        _state_defaults(node, model)
    _state_types(model.graph)
    wanted = [("", name) for name in sorted({node.op_type for node in nodes})]
    return inline_selected_functions(model, wanted, inline_schema_functions=True)


def known_by_definition() -> Collection[str]:
    """Operators of the standard that are not in onnx2tf's table, and have a definition."""
    import onnx

    with variables_restored():
        from onnx2tf.tflite_builder.op_registry import get_supported_onnx_ops

    table = frozenset(get_supported_onnx_ops())
    schemas: Any = onnx.defs.get_all_schemas()
    return {
        schema.name
        for schema in schemas
        if schema.domain == ""
        and schema.name not in table
        and (schema.has_function or schema.has_context_dependent_function)
    }


def _approximate(node: Any) -> bool:
    return node.op_type == "Gelu" and any(
        attribute.name == "approximate" and attribute.s == b"tanh" for attribute in node.attribute
    )


def _bent_by_place(node: Any, weights: Mapping[str, Sequence[int]]) -> bool:
    """Whether a PRelu's slope varies along more than one axis."""
    if node.op_type != "PRelu":
        return False
    return sum(size > 1 for size in weights.get(node.input[1], ())) > 1


def _state_defaults(node: Any, model: Any) -> None:
    """Write attributes that are left to their defaults: definitions refer to them."""
    import onnx

    version = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    schema = onnx.defs.get_schema(node.op_type, version)
    said = {attribute.name for attribute in node.attribute}
    for name, attribute in schema.attributes.items():
        if name not in said and attribute.default_value.name:
            node.attribute.append(attribute.default_value)


def _state_types(graph: Any) -> None:
    """Say the types of the weights, which definitions may depend on."""
    import onnx

    said = {value.name for value in (*graph.input, *graph.value_info)}
    graph.value_info.extend(
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in graph.initializer
        if tensor.name not in said
    )
