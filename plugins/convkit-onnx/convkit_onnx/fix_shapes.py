"""`onnx.fix-shapes`: give every input a fixed shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convkit.errors import ConversionError
from convkit.plans import OptionValue
from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    Obstacle,
    Option,
    State,
    TraitProvision,
)
from convkit.plugin.shapes import fixed_shapes


class FixShapes(ConverterBase):
    """A preparation for consumers that take fixed shapes only.

    Sizes come from the shapes that the user stated; an axis that bears the same symbol elsewhere
    takes the same size, and a first axis of which nothing is known takes the batch size. The sizes
    of everything behind the inputs are inferred. An output whose size depends on the data stays of
    unknown size.
    """

    name: str = "onnx.fix-shapes"
    source: State = State("onnx")
    target: State = State("onnx")
    requirements: tuple[str, ...] = ("onnx",)
    seconds: float = 1.0
    options: tuple[Option, ...] = (
        Option("batch", 1, "size of a first axis that nothing is known of", minimum=1),
    )
    provides: tuple[TraitProvision, ...] = (TraitProvision("dynamic", value=False),)

    def check(self, artifact: Artifact, options: Mapping[str, OptionValue]) -> Sequence[Obstacle]:
        """Axes whose size nobody has said."""
        from convkit_onnx import reading

        model = reading.load_graph(artifact.path)
        try:
            resolve(model, artifact.read.shapes, int(options["batch"]))
        except ConversionError as error:
            return (Obstacle(error.message, remedy=error.hint),)
        return ()

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """Fix the shapes; see `Converter`.

        Raises:
            ConversionError: a size is missing, or the model does not take these sizes.
        """
        from convkit_onnx import reading, writing
        from convkit_onnx.result import describe

        context.progress("loading", None)
        model = reading.load_light(artifact.path)
        shapes = resolve(model, artifact.read.shapes, int(options["batch"]))
        context.progress("inferring shapes", None)
        fixed = _inferred(model, shapes)
        context.progress("writing", None)
        writing.save(fixed, output, artifact.path.parent)
        return describe(artifact, output, fixed, self.target, dynamic=False)


def resolve(
    model: Any, stated: Mapping[str, tuple[int, ...]], batch: int
) -> dict[str, tuple[int, ...]]:
    """The fixed shape of every input.

    Raises:
        ConversionError: a size is missing, or contradicts the file or another size.
    """
    from convkit_onnx.inspector import io_specs

    inputs, _ = io_specs(model)
    ranked = {v.name for v in model.graph.input if v.type.tensor_type.HasField("shape")}
    unranked = {spec.name for spec in inputs} - ranked
    return fixed_shapes(inputs, stated, batch, unranked=unranked)


def _inferred(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """A copy of the model with these input shapes and what follows from them."""
    import onnx

    from convkit_onnx import reading

    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    symbols: dict[str, int] = {}
    for value in fixed.graph.input:
        if value.name not in shapes:
            continue
        dims = value.type.tensor_type.shape.dim
        old = [dim.dim_param for dim in dims] or [""] * len(shapes[value.name])
        symbols.update(
            (name, size) for name, size in zip(old, shapes[value.name], strict=True) if name
        )
        del dims[:]
        for size in shapes[value.name]:
            dims.add(dim_value=size)
    for graph in reading.graphs(fixed.graph):
        del graph.value_info[:]  # said of the old shapes
    unknown: dict[tuple[str, int], str] = {}
    for value in fixed.graph.output:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            name = dim.dim_param
            if name in symbols:
                dim.dim_value = symbols[name]
            elif name:  # an old expression such as `2*batch`: inference is to say
                unknown[value.name, axis] = name
                dim.Clear()
    infer = onnx.shape_inference.infer_shapes
    try:
        result = infer(fixed, strict_mode=True, data_prop=True)
    except Exception as exc:
        if _consistent(model):
            wanted = ", ".join(f"{n} {'x'.join(map(str, s))}" for n, s in shapes.items())
            raise ConversionError(
                f"the model does not take {wanted}: {reading.first_line(exc)}",
                hint="A size may be fixed inside the model, in a Reshape for example.",
            ) from exc
        result = infer(fixed)  # the model puzzles inference whatever its shapes
    for value in result.graph.output:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):  # inference invents names such as `unk__0`
                dim.dim_param = unknown.get((value.name, axis), "")
    return result


def _consistent(model: Any) -> bool:
    import onnx

    try:
        onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception:
        return False
    return True
