"""What the quantizers of OpenVINO models share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from convkit.errors import ConversionError
from convkit.plans import OptionValue
from convkit.plugin import Artifact, ConverterBase, HopContext, State
from convkit_nncf.tool import REQUIREMENTS


class OpenVinoEdge(ConverterBase):
    """Reads an IR, has NNCF work on it, and writes it with the interface that it had."""

    source: State = State("openvino")
    requirements: tuple[str, ...] = REQUIREMENTS
    takes_recipe: bool = True

    @abstractmethod
    def quantized(
        self,
        nncf: Any,
        model: Any,
        artifact: Artifact,
        options: Mapping[str, OptionValue],
        context: HopContext,
        kept: tuple[str, ...],
    ) -> Any:
        """NNCF's result.

        Args:
            model: an `openvino.Model`, which may be used up.
            kept: layers that stay in float.
        """

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """See `Converter.convert`. The weights go to a `.bin` beside `output`.

        Raises:
            InputError: the IR is damaged.
            ConversionError: NNCF fails, or a layer of the recipe does not exist or did not stay
                in float.
        """
        from convkit_nncf import ir, scope, tool

        context.progress("loading NNCF", None)
        nncf = tool.load()
        model = ir.read(artifact.path)
        before = frozenset(node.friendly_name for node in model.get_ordered_ops())
        ends = ir.interface(model)
        kept = scope.wanted(context, {node.friendly_name for node in ir.operators(model)})
        with tool.failures("quantize the model"):
            made = self.quantized(nncf, model, artifact, options, context, kept)
        scope.prove(kept, ir.behind_quantizers(made))
        if ir.interface(made) != ends:
            raise ConversionError("NNCF changed the model's inputs or outputs")
        ir.settle(made, before)
        context.progress("writing", None)
        ir.write(made, output)
        return replace(artifact, path=output, state=self.target, digest="", size_bytes=0)
