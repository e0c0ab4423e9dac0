"""The toy plugin's good edges."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convkit.plans import OptionValue
from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    Option,
    State,
    TraitProvision,
    TraitRequirement,
    sample_key,
)
from tests.testing.toyplugin import model as toy

OPSET = Option("opset", 17, "operator set of the result", minimum=7, maximum=21)
ROUNDING = Option("rounding", "nearest", "how weights are rounded", choices=("nearest", "none"))


def describe(model: toy.Model, path: Path, source: Artifact) -> Artifact:
    """The artifact of a written model, in the source's order."""
    known = {s.name: s for s in toy.output_specs(model)}
    return Artifact(
        path=path,
        state=toy.state(model),
        inputs=toy.input_specs(model),
        outputs=tuple(known[s.name] for s in source.outputs),
        traits=model["traits"],
    )


class ToyConverter(ConverterBase):
    """Reads, changes and writes; subclasses say what changes.

    The file's outputs are written in reverse, as exporters do that sort or renumber them.
    """

    requirements: tuple[str, ...] = ("numpy",)
    seconds: float = 1.0

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """See `Converter.convert`."""
        context.progress("reading", None)
        model = toy.read(artifact.path, self.source.format)
        context.progress("converting", 0.5)
        model = {**self.change(model, options, context), "format": self.target.format}
        model["outputs"] = model["outputs"][::-1]
        toy.write(model, output, self.target.format)
        return describe(model, output, artifact)

    def change(
        self, model: toy.Model, options: Mapping[str, OptionValue], context: HopContext
    ) -> toy.Model:
        """The model as it is to be written."""
        traits: dict[str, Any] = dict(model["traits"])
        traits.update({p.trait: p.value for p in self.provides if not p.option})
        traits.update({p.trait: options[p.option] for p in self.provides if p.option})
        return {**model, "traits": traits}


class Brick(ToyConverter):
    """toy -> brick, at an operator set of choice."""

    name: str = "toy.brick"
    source: State = State("toy")
    target: State = State("brick")
    options: tuple[Option, ...] = (OPSET, ROUNDING)
    provides: tuple[TraitProvision, ...] = (TraitProvision("opset", option="opset"),)


class Simplify(ToyConverter):
    """A preparation: brick to the same brick, simplified."""

    name: str = "mason.simplify"
    source: State = State("brick")
    target: State = State("brick")
    provides: tuple[TraitProvision, ...] = (TraitProvision("simplified", value=True),)


class Crate(ToyConverter):
    """brick -> toy-crate, for old and simplified bricks only."""

    name: str = "mason.crate"
    source: State = State("brick")
    target: State = State("toy-crate")
    requires: tuple[TraitRequirement, ...] = (
        TraitRequirement("opset", maximum=12),
        TraitRequirement("simplified", one_of=(True,)),
    )


class Half(ToyConverter):
    """brick -> brick-fp16."""

    name: str = "kiln.fp16"
    source: State = State("brick")
    target: State = State("brick", "fp16")
    loss: int = 1

    def change(
        self, model: toy.Model, options: Mapping[str, OptionValue], context: HopContext
    ) -> toy.Model:
        import numpy as np

        model = super().change(model, options, context)
        heads = [
            {**h, "weights": toy.pack(toy.unpack(h["weights"]).astype(np.float16))}
            for h in model["outputs"]
        ]
        return {**model, "outputs": heads}


class Dynamic(ToyConverter):
    """brick -> brick-int8-dynamic."""

    name: str = "kiln.dynamic"
    source: State = State("brick")
    target: State = State("brick", "int8-dynamic")
    loss: int = 2

    def change(
        self, model: toy.Model, options: Mapping[str, OptionValue], context: HopContext
    ) -> toy.Model:
        model = super().change(model, options, context)
        heads = [{**h, "weights": toy.quantize_weights(h)} for h in model["outputs"]]
        return {**model, "outputs": heads}


class Static(ToyConverter):
    """brick -> brick-int8: calibrated, and able to keep operators in float."""

    name: str = "kiln.int8"
    source: State = State("brick")
    target: State = State("brick", "int8")
    loss: int = 3
    needs_calibration: bool = True
    takes_recipe: bool = True

    def change(
        self, model: toy.Model, options: Mapping[str, OptionValue], context: HopContext
    ) -> toy.Model:
        model = super().change(model, options, context)
        kept = set(context.recipe.float_layers if context.recipe else ())
        samples = list(self._samples(model, context))
        heads = []
        for head in model["outputs"]:
            changed = dict(head)
            values = [toy.hidden(head, s) for s in samples]
            if f"{head['name']}/multiply" not in kept:
                changed["weights"] = toy.quantize_weights(head)
                changed["hidden_scale"] = _scale(values)
            if f"{head['name']}/post" not in kept:
                changed["output_scale"] = _scale([toy.post(head, v) for v in values])
            heads.append(changed)
        return {**model, "outputs": heads}

    def _samples(self, model: toy.Model, context: HopContext) -> Any:
        from safetensors import safe_open

        assert context.calibration is not None
        with safe_open(context.calibration.path, framework="numpy") as file:
            for sample in range(context.calibration.count):
                yield {
                    spec["name"]: toy.upright(model, file.get_tensor(sample_key(sample, index)))
                    for index, spec in enumerate(model["inputs"])
                }


class Direct(Static):
    """toy -> brick-int8 in one call; its layers are named as those of the float brick."""

    name: str = "furnace.int8"
    source: State = State("toy")
    seconds: float = 5.0
    float_twin: str = "toy.brick"


def _scale(values: Any) -> float:
    return max(float(abs(v).max()) for v in values) / toy.QUANTIZED_MAX
