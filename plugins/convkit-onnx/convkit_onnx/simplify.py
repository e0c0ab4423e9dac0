"""`onnxslim.simplify`: folds constants and shape arithmetic, keeping the interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from convkit.errors import ConversionError
from convkit.plans import OptionValue
from convkit.plugin import Artifact, ConverterBase, HopContext, State, TraitProvision


class Simplify(ConverterBase):
    """A preparation for consumers that trip over shape arithmetic. Pure Python, no subprocess."""

    name: str = "onnxslim.simplify"
    source: State = State("onnx")
    target: State = State("onnx")
    requirements: tuple[str, ...] = ("onnx", "onnxslim")
    seconds: float = 2.0
    provides: tuple[TraitProvision, ...] = (TraitProvision("simplified", value=True),)

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """Simplify; see `Converter`. Opset, names and order of inputs and outputs stay.

        Raises:
            ConversionError: onnxslim failed, or changed the interface or the opset.
        """
        import onnx
        import onnxslim

        from convkit_onnx import reading
        from convkit_onnx.inspector import io_specs

        context.progress("loading", None)
        model = reading.load(artifact.path)
        before = _interface(model)
        context.progress("simplifying", None)
        try:
            slim = onnxslim.slim(model)
            if slim is None:
                raise RuntimeError("onnxslim returned nothing")
            if _weight_bytes(slim) < reading.LARGE_BYTES:
                onnx.checker.check_model(slim)
        except Exception as exc:  # SystemExit aside, onnxslim lets any type through
            raise ConversionError(
                f"onnxslim failed: {reading.first_line(exc)}",
                hint="Leave the step out with --avoid onnxslim.simplify.",
            ) from exc
        if _interface(slim) != before:
            raise ConversionError(
                f"onnxslim changed the model's interface from {before} to {_interface(slim)}",
                hint="Leave the step out with --avoid onnxslim.simplify.",
            )
        context.progress("writing", None)
        _save(slim, output)
        inputs, outputs = io_specs(slim)
        shapes = {spec.name: spec.shape for spec in (*inputs, *outputs)}
        return replace(
            artifact,
            path=output,
            inputs=tuple(replace(s, shape=shapes.get(s.name, s.shape)) for s in artifact.inputs),
            outputs=tuple(replace(s, shape=shapes.get(s.name, s.shape)) for s in artifact.outputs),
            traits={**artifact.traits, "simplified": True},
        )


def _interface(model: Any) -> tuple[Any, ...]:
    weights = {tensor.name for tensor in model.graph.initializer}
    values = [v for v in model.graph.input if v.name not in weights]
    opsets = sorted((o.domain, o.version) for o in model.opset_import if o.domain == "")
    return (
        tuple((v.name, v.type.tensor_type.elem_type) for v in values),
        tuple((v.name, v.type.tensor_type.elem_type) for v in model.graph.output),
        tuple(opsets),
    )


def _weight_bytes(model: Any) -> int:
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


def _save(model: Any, output: Path) -> None:
    import onnx

    from convkit_onnx import reading

    if _weight_bytes(model) < reading.LARGE_BYTES:
        output.write_bytes(model.SerializeToString(deterministic=True))
    else:
        onnx.save_model(
            model,
            str(output),
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location=output.name + ".data",
        )
