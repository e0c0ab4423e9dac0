"""Silent faults of converters, as edits of the ONNX file that an honest converter wrote.

Every function here makes one mistake that some tool has made: the file stays valid, runs, and has
the inputs and outputs that it should have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from convkit.plugin import Artifact
from tests.mutants.networks import BRIGHT, CLASSES, samples

Edit = Callable[[Any], None]


@dataclass(frozen=True)
class Fault:
    """A mistake.

    Attributes:
        network: the one that it shows on.
        edit: changes the file.
        describe: changes what the converter says of it.
    """

    name: str
    network: str
    edit: Edit
    describe: Callable[[Artifact], Artifact] = lambda artifact: artifact


FAULTS: dict[str, Fault] = {}


def fault(network: str, **further: Any) -> Callable[[Edit], Edit]:
    """Register an edit under its own name."""

    def register(edit: Edit) -> Edit:
        name = edit.__name__.replace("_", "-")
        FAULTS[name] = Fault(name, network, edit, **further)
        return edit

    return register


def outputs_backwards(artifact: Artifact) -> Artifact:
    """The file's own order, where the original's was asked for."""
    return dataclasses.replace(artifact, outputs=artifact.outputs[::-1])


# --- boundaries ------------------------------------------------------------------------------


@fault("vision")
def swapped_inputs(model: Any) -> None:
    rename_uses(model, {"image": "guide", "guide": "image"})


@fault("vision")
def swapped_outputs(model: Any) -> None:
    """Two of one shape: only their values tell them apart."""
    logits, scores = output(model, 0), output(model, 1)
    rename(model, {logits: scores, scores: logits})


@fault("text", describe=outputs_backwards)
def reordered_outputs(model: Any) -> None:
    """Sorted, as some exporters do, and described in that order."""
    outputs = list(model.graph.output)
    del model.graph.output[:]
    model.graph.output.extend(outputs[::-1])


@fault("text")
def renamed_output(model: Any) -> None:
    """The converter speaks of a name that the file does not have."""
    rename(model, {output(model, 0): "Identity:0"})
    model.graph.output[0].name = "Identity:0"


@fault("vision")
def channels_as_bgr(model: Any) -> None:
    flipped = put(model, "Gather", ["image", ints(model, [2, 1, 0])], axis=1, first=True)
    rename_uses(model, {"image": flipped}, but=(flipped,))


@fault("vision")
def rows_for_columns(model: Any) -> None:
    """A layout transposed in height and width: the shape is the same where images are square."""
    turned = put(model, "Transpose", ["image"], perm=[0, 1, 3, 2], first=True)
    rename_uses(model, {"image": turned}, but=(turned,))


@fault("vision")
def nchw_read_as_nhwc(model: Any) -> None:
    """The bytes of one layout taken for the other's."""
    read = put(model, "Reshape", ["image", ints(model, [2, 16, 16, 3])], first=True)
    turned = put(model, "Transpose", [read], perm=[0, 3, 1, 2], after=read)
    rename_uses(model, {"image": turned}, but=(read,))


@fault("vision")
def batch_hard_coded(model: Any) -> None:
    """The first image is computed and its result repeated."""
    features = kind(model, "Flatten").output[0]
    first = put(model, "Slice", [features, ints(model, [0]), ints(model, [1])], after=features)
    wide = put(model, "Expand", [first, ints(model, [2, 8])], after=first)
    rename_uses(model, {features: wide}, but=(first,))


@fault("open")
def open_batch_hard_coded(model: Any) -> None:
    """As before, but the axis is open: with one image at a time nothing is wrong."""
    shape = put(model, "Shape", ["image"], first=True)
    one = put(model, "Slice", ["image", *ints_of(model, [0], [1])], after=shape)
    wide = put(model, "Expand", [one, shape], after=one)
    rename_uses(model, {"image": wide}, but=(shape, one))


def batch_of_one(model: Any) -> None:
    """Not silent: a second image makes the runtime stop."""
    one = put(model, "Reshape", ["image", ints(model, [1, 3, 16, 16])], first=True)
    rename_uses(model, {"image": one}, but=(one,))


# --- parameters ------------------------------------------------------------------------------


@fault("vision")
def dropped_bias(model: Any) -> None:
    change(model, "head.bias", lambda bias: bias * 0)


@fault("vision")
def stale_batch_norm(model: Any) -> None:
    """The statistics of a fresh layer."""
    change(model, "norm.running_mean", lambda mean: mean * 0)
    change(model, "norm.running_var", lambda variance: variance * 0 + 1)


@fault("vision")
def batch_norm_epsilon(model: Any) -> None:
    """The default of another framework."""
    attribute(kind(model, "BatchNormalization"), "epsilon").f = 1e-3


@fault("vision")
def flipped_sign_of_one_weight(model: Any) -> None:
    def flip(weights: Any) -> Any:
        import numpy as np

        at = np.unravel_index(np.abs(weights).argmax(), weights.shape)
        weights[at] = -weights[at]
        return weights

    change(model, "head.weight", flip)


@fault("vision")
def truncated_weights(model: Any) -> None:
    """Five bits of mantissa are left."""

    def truncate(weights: Any) -> Any:
        import numpy as np

        kept = weights.view(np.uint32) & np.uint32(0xFFFC0000)
        return kept.view(np.float32)

    for name in ("stem.weight", "block.weight", "down.weight", "square.weight", "head.weight"):
        change(model, name, truncate)


@fault("vision")
def transposed_square_weight(model: Any) -> None:
    change(model, "square.weight", lambda weights: weights.T)


@fault("vision")
def filters_turned_around(model: Any) -> None:
    """Convolution in the mathematician's sense: the kernel mirrored."""
    change(model, "stem.weight", lambda weights: weights[:, :, ::-1, ::-1])


# --- operators -------------------------------------------------------------------------------


@fault("vision")
def padding_at_the_end(model: Any) -> None:
    """`SAME` of another framework: of equal shape, one pixel aside."""
    down = next(n for n in model.graph.node if "down.weight" in n.input)
    set_ints(down, "pads", [0, 0, 2, 2])


@fault("vision")
def resize_by_nearest(model: Any) -> None:
    attribute(kind(model, "Resize"), "mode").s = b"nearest"


@fault("vision")
def resize_with_aligned_corners(model: Any) -> None:
    mode = attribute(kind(model, "Resize"), "coordinate_transformation_mode")
    mode.s = b"align_corners"


@fault("vision")
def average_for_maximum(model: Any) -> None:
    pool = kind(model, "MaxPool")
    pool.op_type = "AveragePool"
    keep = [a for a in pool.attribute if a.name != "dilations"]
    del pool.attribute[:]
    pool.attribute.extend(keep)


@fault("vision")
def relu6_for_relu(model: Any) -> None:
    relu = [n for n in model.graph.node if n.op_type == "Relu"][1]
    replace(model, relu, "Clip", [relu.input[0], floats(model, 0.0), floats(model, 6.0)])


@fault("vision")
def hard_sigmoid(model: Any) -> None:
    sigmoid = kind(model, "Sigmoid")
    sigmoid.op_type = "HardSigmoid"


@fault("vision")
def dropped_residual(model: Any) -> None:
    add = kind(model, "Add")
    replace(model, add, "Identity", [add.input[1]])


@fault("vision")
def concatenated_in_another_order(model: Any) -> None:
    concat = kind(model, "Concat")
    parts = list(concat.input)
    del concat.input[:]
    concat.input.extend(parts[::-1])


@fault("vision")
def crop_off_by_one(model: Any) -> None:
    crop = [n for n in model.graph.node if n.op_type == "Slice"][-1]
    replace(model, crop, "Slice", [crop.input[0], *ints_of(model, [2], [12], [3])])


@fault("vision")
def extra_softmax(model: Any) -> None:
    name = output(model, 0)
    before = detach(model, name)
    put(model, "Softmax", [before], axis=1, into=name)


@fault("vision")
def missing_softmax(model: Any) -> None:
    softmax = producer(model, output(model, 1))
    replace(model, softmax, "Identity", [softmax.input[0]])


@fault("vision")
def softmax_over_another_axis(model: Any) -> None:
    attribute(producer(model, output(model, 2)), "axis").i = 2


@fault("vision")
def dropped_last_class(model: Any) -> None:
    """Kept in shape, without its value."""
    name = output(model, 0)
    before = detach(model, name)
    put(model, "Mul", [before, floats(model, [1.0] * (CLASSES - 1) + [0.0])], into=name)


@fault("vision")
def constant_output(model: Any) -> None:
    name = output(model, 0)
    before = detach(model, name)
    nothing = put(model, "Mul", [before, floats(model, 0.0)])
    put(model, "Add", [nothing, "head.bias"], into=name)


@fault("vision")
def not_a_number_on_one_sample(model: Any) -> None:
    """A root of something that is negative where the image is bright."""
    name = output(model, 0)
    before = detach(model, name)
    light = sorted(
        (float(sample[0].mean()), number) for number, sample in enumerate(samples("vision"))
    )
    assert light[-1][1] == BRIGHT
    limit = (light[-1][0] + light[-2][0]) / 2
    mean = put(model, "ReduceMean", ["image"], keepdims=0)
    room = put(model, "Sub", [floats(model, limit), mean])
    nothing = put(model, "Mul", [put(model, "Sqrt", [room]), floats(model, 0.0)])
    put(model, "Add", [before, nothing], into=name)


@fault("vision")
def faint_sample_rounded_away(model: Any) -> None:
    """Fixed point: the step is small beside most samples, and as large as all of a faint one."""
    name = output(model, 4)
    before = detach(model, name)
    steps = put(model, "Round", [put(model, "Mul", [before, floats(model, 400.0)])])
    put(model, "Div", [steps, floats(model, 400.0)], into=name)


@fault("vision")
def half_the_stride(model: Any) -> None:
    """Boxes stay near their places, which is nearly all of their numbers."""
    add = producer(model, output(model, 5))
    offset = next(name for name in add.input if any(name in n.output for n in model.graph.node))
    half = put(model, "Mul", [offset, floats(model, 0.5)], after=offset)
    rename_uses(model, {offset: half}, but=(half,))


@fault("vision")
def float16_overflow(model: Any) -> None:
    squares = kind(model, "Pow").output[0]
    half = put(model, "Cast", [squares], to=10, after=squares)
    whole = put(model, "Cast", [half], to=1, after=half)
    rename_uses(model, {squares: whole}, but=(half,))


@fault("vision")
def float16_saturation(model: Any) -> None:
    squares = kind(model, "Pow").output[0]
    limits = [floats(model, -65504.0), floats(model, 65504.0)]
    kept = put(model, "Clip", [squares, *limits], after=squares)
    rename_uses(model, {squares: kept}, but=(kept,))


# --- text ------------------------------------------------------------------------------------


@fault("text")
def layer_norm_epsilon(model: Any) -> None:
    attribute(kind(model, "LayerNormalization"), "epsilon").f = 1e-3


@fault("text")
def gelu_by_tanh(model: Any) -> None:
    """The approximation, as sold under the same name."""
    erf = kind(model, "Erf")
    x = producer(model, erf.input[0]).input[0]
    exact = [n for n in model.graph.node if n.op_type == "MatMul"][-1].input[0]
    cube = put(model, "Pow", [x, floats(model, 3.0)], after=exact)
    part = put(model, "Mul", [cube, floats(model, 0.044715)], after=cube)
    inner = put(model, "Add", [x, part], after=part)
    scaled = put(model, "Mul", [inner, floats(model, 0.7978845608)], after=inner)
    tanh = put(model, "Tanh", [scaled], after=scaled)
    one = put(model, "Add", [tanh, floats(model, 1.0)], after=tanh)
    half = put(model, "Mul", [x, floats(model, 0.5)], after=one)
    product = put(model, "Mul", [half, one], after=half)
    rename_uses(model, {exact: product}, but=())


@fault("text")
def indices_cast_to_eight_bits(model: Any) -> None:
    narrow = put(model, "Cast", ["ids"], to=3, first=True)
    wide = put(model, "Cast", [narrow], to=7, after=narrow)
    rename_uses(model, {"ids": wide}, but=(narrow,))


@fault("text")
def attention_without_its_scale(model: Any) -> None:
    scale = kind(model, "Div")
    replace(model, scale, "Identity", [scale.input[0]])


@fault("text")
def mask_ignored(model: Any) -> None:
    masked = kind(model, "Where")
    replace(model, masked, "Identity", [masked.input[2]])


@fault("text")
def mask_the_wrong_way(model: Any) -> None:
    no = kind(model, "Not")
    replace(model, no, "Identity", [no.input[0]])


@fault("text")
def softmax_over_queries(model: Any) -> None:
    attribute(kind(model, "Softmax"), "axis").i = 1


# --- the tools of the trade ------------------------------------------------------------------


def output(model: Any, index: int) -> str:
    """Name of an output."""
    return str(model.graph.output[index].name)


def kind(model: Any, op_type: str) -> Any:
    """The first node of an operator."""
    return next(n for n in model.graph.node if n.op_type == op_type)


def producer(model: Any, tensor: str) -> Any:
    """The node that writes a tensor."""
    return next(n for n in model.graph.node if tensor in n.output)


def attribute(node: Any, name: str) -> Any:
    """An attribute that is there."""
    return next(a for a in node.attribute if a.name == name)


def set_ints(node: Any, name: str, values: list[int]) -> None:
    """Set a list of integers."""
    found = attribute(node, name)
    del found.ints[:]
    found.ints.extend(values)


def change(model: Any, name: str, how: Callable[[Any], Any]) -> None:
    """Change an initializer."""
    import numpy as np
    from onnx import numpy_helper

    tensor = next(t for t in model.graph.initializer if t.name == name)
    values = how(numpy_helper.to_array(tensor).copy())
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), name))


def floats(model: Any, value: Any) -> str:
    """A new float initializer."""
    return _constant(model, value, "float32")


def ints(model: Any, value: Any) -> str:
    """A new integer initializer."""
    return _constant(model, value, "int64")


def ints_of(model: Any, *values: Any) -> list[str]:
    """Several."""
    return [ints(model, value) for value in values]


def _constant(model: Any, value: Any, dtype: str) -> str:
    import numpy as np
    from onnx import numpy_helper

    name = f"mutant_constant_{len(model.graph.initializer)}"
    model.graph.initializer.append(numpy_helper.from_array(np.array(value, dtype), name))
    return name


def put(
    model: Any,
    op_type: str,
    inputs: list[str],
    *,
    into: str = "",
    first: bool = False,
    after: str = "",
    **attributes: Any,
) -> str:
    """Insert a node, at the end where not told otherwise; answers the tensor that it writes."""
    from onnx import helper

    name = into or f"mutant_{len(model.graph.node)}"
    node = helper.make_node(op_type, inputs, [name], **attributes)
    nodes = list(model.graph.node)
    place = len(nodes)
    if first:
        place = 0
    elif after:
        place = next(i for i, n in enumerate(nodes) if after in n.output) + 1
    nodes.insert(place, node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return name


def replace(model: Any, node: Any, op_type: str, inputs: list[str]) -> None:
    """Put another operator in a node's place."""
    from onnx import helper

    node.CopyFrom(helper.make_node(op_type, inputs, list(node.output), name=node.name))


def rename_uses(model: Any, names: dict[str, str], but: tuple[str, ...] = ()) -> None:
    """Let nodes read other tensors, except those that write one of `but`."""
    for node in model.graph.node:
        if not set(node.output) & set(but):
            for index, name in enumerate(node.input):
                node.input[index] = names.get(name, name)


def rename(model: Any, names: dict[str, str]) -> None:
    """Rename tensors where they are written and read."""
    rename_uses(model, names)
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            node.output[index] = names.get(name, name)


def detach(model: Any, name: str) -> str:
    """Free an output's name: what was written to it goes to the returned tensor."""
    rename(model, {name: f"{name}_before"})
    return f"{name}_before"
