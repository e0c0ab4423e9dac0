"""`onnxslim.simplify` and `onnxsim.simplify`: fold constants and shape arithmetic, keeping the
interface. Preparations for consumers that trip over shape arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convkit.artifact import PARAMETER_BYTES
from convkit.errors import ConversionError
from convkit.plans import OptionValue
from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    State,
    TraitProvision,
    TraitRequirement,
)
from convkit_onnx.reading import LARGE_BYTES


class Simplifier(ConverterBase):
    """What both tools share: each is handed the whole model as one message."""

    source: State = State("onnx")
    target: State = State("onnx")
    requires: tuple[TraitRequirement, ...] = (
        TraitRequirement(PARAMETER_BYTES, maximum=LARGE_BYTES),
    )
    provides: tuple[TraitProvision, ...] = (TraitProvision("simplified", value=True),)

    def run(self, model: Any) -> Any:
        """Simplify a model by the tool; whatever that raises is wrapped."""
        raise NotImplementedError

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """Simplify; see `Converter`. Opset, names and order of inputs and outputs stay.

        Raises:
            ConversionError: the tool failed, or changed the interface or the opset.
        """
        import onnx

        from convkit_onnx import reading, writing
        from convkit_onnx.result import describe

        tool = self.name.partition(".")[0]
        hint = f"Leave the step out with --avoid {self.name}."
        context.progress("loading", None)
        model = reading.load(artifact.path)
        before = _interface(model)
        context.progress("simplifying", None)
        try:
            simple = self.run(model)
            if simple is None:
                raise RuntimeError(f"{tool} returned nothing")
            onnx.checker.check_model(simple)
        except Exception as exc:  # SystemExit aside, the tools let any type through
            raise ConversionError(f"{tool} failed: {reading.first_line(exc)}", hint=hint) from exc
        if _interface(simple) != before:
            raise ConversionError(
                f"{tool} changed the model's interface from {before} to {_interface(simple)}",
                hint=hint,
            )
        context.progress("writing", None)
        writing.save(simple, output, artifact.path.parent)
        return describe(artifact, output, simple, self.target, simplified=True)


class Slim(Simplifier):
    """OnnxSlim. Pure Python, no subprocess."""

    name: str = "onnxslim.simplify"
    requirements: tuple[str, ...] = ("onnx", "onnxslim")
    seconds: float = 2.0

    def run(self, model: Any) -> Any:
        """See `Simplifier.run`."""
        import onnxslim

        return onnxslim.slim(model)


class Sim(Simplifier):
    """onnxsim: compiled, slower to load; steps in where OnnxSlim fails or is to be avoided."""

    name: str = "onnxsim.simplify"
    requirements: tuple[str, ...] = ("onnx", "onnxsim")
    seconds: float = 5.0

    def run(self, model: Any) -> Any:
        """See `Simplifier.run`."""
        import onnxsim

        simple, same = onnxsim.simplify(model)
        if not same:
            raise RuntimeError("its own check of the result failed")
        return simple


def _interface(model: Any) -> tuple[Any, ...]:
    weights = {tensor.name for tensor in model.graph.initializer}
    values = [v for v in model.graph.input if v.name not in weights]
    opsets = sorted((o.domain, o.version) for o in model.opset_import if o.domain == "")
    return (
        tuple((v.name, v.type.tensor_type.elem_type) for v in values),
        tuple((v.name, v.type.tensor_type.elem_type) for v in model.graph.output),
        tuple(opsets),
    )
