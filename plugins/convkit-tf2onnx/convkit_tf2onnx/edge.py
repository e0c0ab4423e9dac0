"""What the edges from TensorFlow's graphs to ONNX have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    Obstacle,
    Option,
    State,
    TraitProvision,
    TraitRequirement,
)
from convkit_tf2onnx import coverage, translate, writing
from convkit_tf2onnx.tool import REQUIREMENTS, start


class GraphEdge(ConverterBase, ABC):
    """Load a graph, hold it against tf2onnx's registry or translate it; subclasses say how it is
    loaded."""

    target: State = State("onnx")
    requirements: tuple[str, ...] = REQUIREMENTS
    seconds: float = 15.0
    options: tuple[Option, ...] = (translate.OPSET,)
    requires: tuple[TraitRequirement, ...] = (translate.FITS_IN_ONE_MESSAGE,)
    provides: tuple[TraitProvision, ...] = translate.PROVIDES
    what: str = ""

    @abstractmethod
    def load(self, tf: Any, artifact: Artifact) -> translate.Source:
        """The graph that is to be translated: frozen, folded, with its inputs and outputs."""

    def check(
        self, artifact: Artifact, options: Mapping[str, bool | int | float | str]
    ) -> Sequence[Obstacle]:
        """By tf2onnx's registry, on the graph that it would translate."""
        source = self.load(start(), artifact)
        return coverage.tensorflow_obstacles(source.definition.node, int(options["opset"]))

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, bool | int | float | str],
        context: HopContext,
    ) -> Artifact:
        """See `Converter.convert`."""
        context.progress(f"loading the {self.what}", None)
        tf = start(context.threads)
        source = self.load(tf, artifact)
        context.progress("translating", None)
        model = translate.translate(tf, source, artifact, int(options["opset"]))
        return writing.write(model, artifact, output)
