"""The edge tf-frozen -> tf-saved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from convkit.errors import ConversionError
from convkit.plugin import Artifact, ConverterBase, HopContext, State, TraitRequirement
from convkit_tensorflow import frozen, graph, signatures
from convkit_tensorflow.runtime import REQUIREMENTS, first_line, tensorflow
from convkit_tensorflow.saving import save_constants

_NO_ARGUMENT_NAME = re.compile(r"\W", re.ASCII)


class Unfreeze(ConverterBase):
    """A SavedModel around the frozen graph, with one signature, `serving_default`.

    The weights stay constants: nothing becomes trainable. Inputs and outputs keep their names,
    except that a signature's inputs are Python arguments: `model/input.1` becomes `model_input_1`.
    """

    name: str = "tensorflow.unfreeze"
    source: State = State("tf-frozen")
    target: State = State("tf-saved")
    requirements: tuple[str, ...] = REQUIREMENTS
    requires: tuple[TraitRequirement, ...] = (graph.FITS_IN_ONE_MESSAGE,)
    seconds: float = 8.0

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, bool | int | float | str],
        context: HopContext,
    ) -> Artifact:
        """See `Converter.convert`."""
        context.progress("loading the frozen graph", None)
        tf = tensorflow(context.threads)
        model = frozen.load(tf, frozen.parse(tf, artifact.path), artifact.path.name)
        inputs = signatures.ordered("inputs", artifact.inputs, model.inputs, artifact)
        outputs = signatures.ordered("outputs", artifact.outputs, model.outputs, artifact)
        arguments = _arguments(name for name, _ in inputs)
        context.progress("saving", None)
        try:
            save_constants(
                tf,
                model.definition,
                {arguments[name]: (name, model.inputs[name]) for name, _ in inputs},
                {name: model.outputs[name].name for name, _ in outputs},
                signatures.DEFAULT,
                output,
            )
        except Exception as exc:
            raise ConversionError(
                f"TensorFlow could not save {artifact.path.name} as a SavedModel: {first_line(exc)}"
            ) from exc
        return Artifact(
            path=output,
            state=self.target,
            inputs=tuple(signatures.spec(arguments[n], model.inputs[n], s) for n, s in inputs),
            outputs=tuple(signatures.spec(n, model.outputs[n], s) for n, s in outputs),
            read=artifact.read,
        )


def _arguments(names: Iterable[str]) -> dict[str, str]:
    """A Python argument's name for each input, as TensorFlow itself would make it, but unique."""
    result: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = _NO_ARGUMENT_NAME.sub("_", name)
        plain = plain if plain[:1].isalpha() else f"arg_{plain}"
        unique, number = plain, 0
        while unique in taken:
            number += 1
            unique = f"{plain}_{number}"
        taken.add(unique)
        result[name] = unique
    return result
