"""Inputs and outputs of a model: their names, their order, and convkit's specs of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError
from convkit.plugin import Artifact, TensorSpec
from convkit_openvino import axes, dtypes

if TYPE_CHECKING:
    import openvino

    from convkit_openvino.frontends import Names


def file_specs(model: openvino.Model) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Specs of inputs and outputs, in the file's order; open axes bear the symbols that `bind`
    wrote down."""
    symbols = axes.read(model)
    inputs = zip(input_names(model), model.inputs, strict=True)
    outputs = zip(output_names(model), model.outputs, strict=True)
    return (
        tuple(axes.named(_spec(name, port), symbols.get(f"input {name}")) for name, port in inputs),
        tuple(
            axes.named(_spec(name, port), symbols.get(f"output {name}")) for name, port in outputs
        ),
    )


def input_names(model: openvino.Model) -> tuple[str, ...]:
    """A unique name for each input: the parameter's own, or that of its tensor."""
    own = []
    for port in model.inputs:
        name, names = port.node.friendly_name, sorted(port.names)
        own.append(name if name in names or not names else names[0])
    return _unique(own)


def output_names(model: openvino.Model) -> tuple[str, ...]:
    """A unique name for each output: that of its tensor, or of the operator that makes it."""
    own = []
    for port in model.outputs:
        node = port.node
        producer = node.input_value(0).node.friendly_name
        names = sorted(port.names)
        mine = node.friendly_name.removesuffix(_SINK)
        preferred = [n for n in (mine, producer) if n in names]
        own.append((*preferred, *names, producer)[0])
    return _unique(own)


_SINK = "/sink_port_0"
"""What OpenVINO's own ONNX front end appends to the name of an output's `Result`."""


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    taken: set[str] = set()
    for place, name in enumerate(names):
        taken.add(name if name not in taken else f"{name}#{place}")
    found: dict[str, None] = {}
    for place, name in enumerate(names):
        found[name if name not in found else f"{name}#{place}"] = None
    return tuple(found)


def _spec(name: str, port: Any) -> TensorSpec:
    shape = port.partial_shape
    sizes: tuple[int | None, ...] = ()
    if shape.rank.is_static:
        sizes = tuple(size.get_length() if size.is_static else None for size in shape)
    layout = port.node.layout
    letters = "".join(_letter(layout, place) for place in range(len(sizes)))
    dtype = dtypes.numpy_name(port.element_type.get_type_name())
    return TensorSpec(name, sizes, dtype, letters if letters in ("NCHW", "NHWC") else "")


def _letter(layout: Any, place: int) -> str:
    """The axis at a place, `?` where the layout does not say."""
    for letter in "NCHW":
        if layout.has_name(letter) and layout.get_index_by_name(letter) == place:
            return letter
    return "?"


def bind(model: openvino.Model, artifact: Artifact, names: Names) -> openvino.Model:
    """The same operators with the artifact's inputs and outputs: its names, order and layouts.

    An input that the front end dropped because nothing uses it is put back. An output that shares
    its tensor with another one, or is an input handed through, gets a tensor of its own: each can
    then be asked for by name.

    Args:
        names: what the source calls its inputs and outputs inside the file, where that is not
            their public name.

    Raises:
        ConversionError: an input or output of the artifact is not in the model.
    """
    import openvino
    from openvino import opset13 as operators

    parameters = _inputs(model, artifact.inputs, names.inputs)
    sources = _outputs(model, artifact.outputs, names.outputs)
    taken = [parameter.output(0) for parameter in parameters]
    results = []
    for parameter, spec in zip(parameters, artifact.inputs, strict=True):
        parameter.set_friendly_name(spec.name)
        parameter.output(0).set_names({spec.name})
        if spec.layout and len(spec.layout) == len(spec.shape):
            parameter.set_layout(openvino.Layout(spec.layout))
    for source, spec in zip(sources, artifact.outputs, strict=True):
        if any(source == other for other in taken):
            from openvino import opset16

            source = opset16.identity(source).output(0)
            source.node.set_friendly_name(spec.name)
        taken.append(source)
        source.set_names({spec.name})
        result = operators.result(source)
        result.set_friendly_name(spec.name + _SINK)
        if spec.layout and len(spec.layout) == len(spec.shape):
            result.set_layout(openvino.Layout(spec.layout))
        results.append(result)
    try:
        bound = openvino.Model(results, model.get_sinks(), parameters, "model")
        fixed = {
            parameter.output(0): shape
            for parameter, spec in zip(parameters, artifact.inputs, strict=True)
            if (shape := _narrowed(parameter.partial_shape, spec)) is not None
        }
        if fixed:
            bound.reshape(fixed)
        bound.validate_nodes_and_infer_types()
    except Exception as exc:  # RuntimeError, with the place in OpenVINO's source
        from convkit_openvino.runtime import first_line

        raise ConversionError(
            f"the shapes of {artifact.path.name} do not fit its operators: {first_line(exc)}"
        ) from exc
    axes.write(bound, artifact)
    return bound


def _inputs(
    model: openvino.Model, specs: Sequence[TensorSpec], aliases: Mapping[str, str]
) -> list[Any]:
    found: list[Any] = [None] * len(specs)
    rest = list(model.get_parameters())
    for place, spec in enumerate(specs):
        wanted = {spec.name, aliases.get(spec.name, spec.name)}
        for parameter in rest:
            if wanted & _spellings(parameter.output(0), parameter.friendly_name):
                found[place] = parameter
                rest.remove(parameter)
                break
    unmatched = [place for place, parameter in enumerate(found) if parameter is None]
    for place in unmatched:
        if len(unmatched) == len(rest) and _fits(rest[0].output(0), specs[place]):
            found[place] = rest.pop(0)
            unmatched = [p for p in unmatched if p != place]
    if rest and any(parameter.output(0).get_target_inputs() for parameter in rest):
        raise ConversionError(
            f"the front end made an input {rest[0].friendly_name!r}, which the model does not have"
        )
    return [
        parameter if parameter is not None else _unused(spec)
        for parameter, spec in zip(found, specs, strict=True)
    ]


def _unused(spec: TensorSpec) -> Any:
    """An input that nothing reads."""
    from openvino import PartialShape
    from openvino import opset13 as operators

    sizes = [size if isinstance(size, int) else -1 for size in spec.shape]
    return operators.parameter(PartialShape(sizes), _element_type(spec.dtype), spec.name)


def _element_type(dtype: str) -> Any:
    import numpy as np
    import openvino

    return openvino.Type.bf16 if dtype == "bfloat16" else openvino.Type(np.dtype(dtype).type)


def _outputs(
    model: openvino.Model, specs: Sequence[TensorSpec], aliases: Mapping[str, str]
) -> list[Any]:
    results = [result.input_value(0) for result in model.get_results()]
    named: dict[str, Any] = {}
    # An output of the source may be no end of the graph: its tensor is then found by name.
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Result":
            for port in node.outputs():
                for name in _spellings(port, ""):
                    named[name] = port
    ends = [*zip(model.get_results(), results, strict=True)]
    for result, source in ends:
        named |= dict.fromkeys(_spellings(result.output(0), ""), source)
    for result, source in ends:  # what names the output itself counts most
        named[result.friendly_name.removesuffix(_SINK)] = source
    wanted = [aliases.get(spec.name, spec.name) for spec in specs]
    if all(name in named for name in wanted):
        return [named[name] for name in wanted]
    if len(results) == len(specs) and all(
        _fits(source, spec) for source, spec in zip(results, specs, strict=True)
    ):
        return results
    missing = next(name for name in wanted if name not in named)
    raise ConversionError(f"the front end lost the output {missing!r}")


def _spellings(port: Any, own: str) -> set[str]:
    """Names of a tensor, without the port number that TensorFlow appends."""
    names = {own, *port.names} - {""}
    return names | {name.removesuffix(":0") for name in names}


def _fits(port: Any, spec: TensorSpec) -> bool:
    shape = port.partial_shape
    if shape.rank.is_dynamic:
        return True
    return len(shape) == len(spec.shape) and all(
        size.is_dynamic or not isinstance(wanted, int) or size.get_length() == wanted
        for size, wanted in zip(shape, spec.shape, strict=True)
    )


def _narrowed(shape: Any, spec: TensorSpec) -> Any:
    """The shape with the fixed sizes that the source knows, None where it says nothing new."""
    from openvino import PartialShape

    if shape.rank.is_dynamic and spec.shape:
        return PartialShape([size if isinstance(size, int) else -1 for size in spec.shape])
    if shape.rank.is_dynamic or len(shape) != len(spec.shape):
        return None
    sizes = [
        wanted if isinstance(wanted, int) and size.is_dynamic else size
        for size, wanted in zip(shape, spec.shape, strict=True)
    ]
    changed = any(isinstance(size, int) for size in sizes)
    return PartialShape(sizes) if changed else None
