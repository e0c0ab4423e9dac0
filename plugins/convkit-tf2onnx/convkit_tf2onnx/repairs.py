"""Translations that tf2onnx 1.17 lacks or has wrong, added to its registry of operators.

The wrong ones lose a part of an operator without a word: the bias of FULLY_CONNECTED whose input
is flattened, the bias of TRANSPOSE_CONV, the dilation of DEPTHWISE_CONV_2D, the shape of what goes
into WHILE. The missing ones are in most language models: GELU, the complement of the error
function, and the lookup of embeddings.
"""

from __future__ import annotations

from typing import Any

_ONNX, _TFLITE_TO_TF = "", "com.google.tensorflow"
"""tf2onnx translates an operator of TFLite to one of TensorFlow first, where there is one."""


def register() -> None:
    """Add them; doing it again changes nothing."""
    import tf2onnx.tfonnx  # noqa: F401  (registers tf2onnx's own)
    from tf2onnx.handler import tf_op

    for function, version, operator, domain in (
        (_fully_connected, 0, "TFL_FULLY_CONNECTED", _TFLITE_TO_TF),
        (_transpose_conv, 0, "TFL_TRANSPOSE_CONV", _TFLITE_TO_TF),
        (_depthwise_conv, 0, "TFL_DEPTHWISE_CONV_2D", _TFLITE_TO_TF),
        (_while, 7, "TFL_WHILE", _ONNX),
        (_embedding_lookup, 1, "TFL_EMBEDDING_LOOKUP", _ONNX),
        (_gelu, 9, "TFL_GELU", _ONNX),
        (_erfc, 9, "Erfc", _ONNX),
    ):
        tf_op.register_handler(function, version, [operator], domain, _keywords(operator))


def _keywords(operator: str) -> dict[str, str]:
    """The TensorFlow operator that tf2onnx's first pass makes of one of TFLite."""
    made = {
        "TFL_TRANSPOSE_CONV": "Conv2DBackpropInput",
        "TFL_DEPTHWISE_CONV_2D": "DepthwiseConv2dNative",
    }
    return {"tf_op": made[operator]} if operator in made else {}


def _fully_connected(ctx: Any, node: Any, **keywords: Any) -> None:
    """Flatten the input here, since tf2onnx forgets the bias when it does so itself."""
    import numpy as np
    from tf2onnx import utils
    from tf2onnx.tflite_handlers.tfl_math import TflFullyConnectedOp

    if node.attr["keep_num_dims"].i == 0 and ctx.get_rank(node.input[0]) != 2:
        shape = [-1, ctx.get_shape(node.input[1])[1]]
        wanted = ctx.make_const(utils.make_name("flat"), np.array(shape, np.int64))
        flat = ctx.make_node(
            "Reshape",
            [node.input[0], wanted.output[0]],
            op_name_scope=node.name,
            shapes=[shape],
            dtypes=[ctx.get_dtype(node.input[0])],
            skip_conversion=True,
        )
        ctx.replace_input(node, node.input[0], flat.output[0], 0)
    TflFullyConnectedOp.to_tf(ctx, node, **keywords)


def _transpose_conv(ctx: Any, node: Any, **keywords: Any) -> None:
    """Add the bias, the fourth input, before the activation."""
    from tf2onnx.tflite_handlers.tfl_nn import TflTransposeConv

    bias = node.input[3:]
    ctx.replace_inputs(node, node.input[:3])
    TflTransposeConv.to_tf(ctx, node, **keywords)
    if bias:
        add = ctx.insert_new_node_on_output("Add", node.output[0], inputs=[node.output[0], *bias])
        add.skip_conversion = True


def _depthwise_conv(ctx: Any, node: Any, **keywords: Any) -> None:
    """Keep the dilation."""
    from tf2onnx.tflite_handlers.tfl_nn import TflDepthwiseConv2D

    height = node.get_attr_int("dilation_h_factor")
    width = node.get_attr_int("dilation_w_factor")
    TflDepthwiseConv2D.to_tf(ctx, node, **keywords)
    node.set_attr("dilations", [1, height, width, 1])


def _while(ctx: Any, node: Any, **keywords: Any) -> None:
    """Let each operand be the first result of its operator, since that one's shape is taken."""
    from tf2onnx.tflite_handlers.tfl_controlflow import TflWhile

    for place, (name, maker) in enumerate(zip(list(node.input), node.inputs, strict=True)):
        if maker is not None and maker.output[0] != name:
            copy = ctx.make_node(
                "Identity",
                [name],
                op_name_scope=node.name,
                shapes=[ctx.get_shape(name)],
                dtypes=[ctx.get_dtype(name)],
                skip_conversion=True,
            )
            ctx.replace_input(node, name, copy.output[0], place)
    TflWhile.version_7(ctx, node, **keywords)


def _embedding_lookup(ctx: Any, node: Any, **_: Any) -> None:
    """Rows of the second input by the ids in the first."""
    ids, table = node.input
    ctx.replace_inputs(node, [table, ids])
    node.type = "Gather"
    node.set_attr("axis", 0)


def _gelu(ctx: Any, node: Any, **_: Any) -> None:
    """By its definition, or by its approximation with tanh where the file asks for it."""
    x = node.input[0]
    if node.get_attr_value("approximate"):
        cube = _call(ctx, node, "Mul", _call(ctx, node, "Mul", x, x), x)
        inner = _call(ctx, node, "Add", x, _call(ctx, node, "Mul", cube, 0.044715))
        bell = _call(ctx, node, "Tanh", _call(ctx, node, "Mul", inner, 0.7978845608028654))
    else:
        bell = _call(ctx, node, "Erf", _call(ctx, node, "Mul", x, 0.7071067811865476))
    half = _call(ctx, node, "Mul", x, 0.5)
    _becomes(ctx, node, "Mul", half, _call(ctx, node, "Add", bell, 1.0))


def _erfc(ctx: Any, node: Any, **_: Any) -> None:
    """1 - erf(x): right to the last digit of 1, not of its own far tail."""
    _becomes(ctx, node, "Sub", 1.0, _call(ctx, node, "Erf", node.input[0]))


def _call(ctx: Any, node: Any, operator: str, *operands: str | float) -> str:
    """Name of the result of a new operator, shaped as the node's own result."""
    made = ctx.make_node(
        operator,
        [_operand(ctx, node, x) for x in operands],
        op_name_scope=node.name,
        shapes=[ctx.get_shape(node.output[0])],
        dtypes=[ctx.get_dtype(node.output[0])],
        skip_conversion=True,
    )
    return str(made.output[0])


def _becomes(ctx: Any, node: Any, operator: str, *operands: str | float) -> None:
    """Turn the node itself into that operator; its result keeps its name."""
    for attribute in list(node.attr):
        del node.attr[attribute]
    ctx.replace_inputs(node, [_operand(ctx, node, x) for x in operands])
    node.type = operator


def _operand(ctx: Any, node: Any, value: str | float) -> str:
    """A tensor's name; a number becomes a constant of the node's type."""
    from tf2onnx import utils

    if isinstance(value, str):
        return value
    dtype = utils.map_onnx_to_numpy_type(ctx.get_dtype(node.output[0]))
    constant = ctx.make_const(utils.make_name(node.name), _scalar(value, dtype))
    return str(constant.output[0])


def _scalar(value: float, dtype: Any) -> Any:
    import numpy as np

    return np.array(value, dtype)
