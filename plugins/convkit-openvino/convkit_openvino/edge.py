"""What all edges into OpenVINO share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convkit.errors import ConversionError, ConvkitError
from convkit.plans import OptionValue
from convkit.plugin import Artifact, ConverterBase, HopContext, Obstacle, State
from convkit_openvino.runtime import REQUIREMENTS

if TYPE_CHECKING:
    import openvino

    from convkit_openvino.frontends import Names

_REMEDY = "Take another road, or rewrite that part of the model."


class IntoOpenVino(ConverterBase):
    """A front end of OpenVINO, and the interface of the source put back onto its result."""

    target: State = State("openvino")
    requirements: tuple[str, ...] = REQUIREMENTS
    seconds: float = 3.0

    @abstractmethod
    def translate(self, artifact: Artifact, context: HopContext | None) -> openvino.Model:
        """The front end's result.

        Raises:
            Unsupported: the front end lacks operators.
            ConvkitError: anything else.
        """

    def names(self, artifact: Artifact) -> Names:
        """What the source calls its inputs and outputs inside the file."""
        from convkit_openvino.frontends import Names

        return Names()

    def holders(self, artifact: Artifact, operator: str) -> tuple[str, ...]:
        """Layers of the source with an operator that the front end names; empty where unknown."""
        return ()

    def check(self, artifact: Artifact, options: Mapping[str, OptionValue]) -> Sequence[Obstacle]:
        """The operators that the front end has no rule for. It knows them only by translating,
        which takes it a second or so: no weights are copied."""
        from convkit_openvino.frontends import Unsupported

        try:
            self.translate(artifact, None)
        except Unsupported as exc:
            return tuple(
                Obstacle(name, self.holders(artifact, name), _REMEDY) for name in exc.operators
            )
        except ConvkitError:
            return ()  # no matter of operators; the conversion itself will say what it is
        return ()

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """See `Converter.convert`. The weights go to a `.bin` beside `output`."""
        from convkit_openvino import interface, naming, saving
        from convkit_openvino.frontends import Unsupported

        context.progress("converting with OpenVINO", None)
        try:
            model = self.translate(artifact, context)
        except Unsupported as exc:
            raise ConversionError(
                f"OpenVINO has no rule for {', '.join(exc.operators)} in {artifact.path.name}",
                hint=_REMEDY,
            ) from exc
        model = interface.bind(model, artifact, self.names(artifact))
        naming.settle(model)
        context.progress("writing", None)
        inputs, outputs = interface.file_specs(model)
        saving.save(model, output, context.workdir, half=self.target.precision == "fp16")
        return Artifact(output, self.target, inputs, outputs, read=artifact.read)
