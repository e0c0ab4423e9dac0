"""Inspectors and runners of the toy formats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.errors import ConversionError, InputError
from convkit.plugin import Artifact, Inspection, ReadOptions, TracedTensor
from tests.testing.toyplugin import model as toy


@dataclass(frozen=True)
class ToyInspector:
    """Reads one toy format."""

    name: str = ""
    format: str = ""
    requirements: tuple[str, ...] = ()

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        """See `Inspector.inspect`."""
        model = toy.read(path, self.format)
        try:
            dtypes = [h["weights"]["dtype"] for h in model["outputs"]]
            counts = [len(h["weights"]["data"]) for h in model["outputs"]]
            return Inspection(
                state=toy.state(model),
                inputs=toy.input_specs(model),
                outputs=toy.output_specs(model),
                operators={"MULTIPLY": len(dtypes), "POST": len(dtypes)},
                parameter_bytes={
                    d: sum(c for e, c in zip(dtypes, counts, strict=True) if e == d)
                    for d in sorted(set(dtypes))
                },
                layers=toy.layers(model),
                traits=model["traits"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path.name} is a damaged {self.format} file") from error


@dataclass(frozen=True)
class ToyRunner:
    """Runs one toy format."""

    name: str = ""
    format: str = ""
    requirements: tuple[str, ...] = ("numpy",)

    def open(self, artifact: Artifact, threads: int) -> ToySession:
        """See `Runner.open`."""
        try:
            return ToySession(artifact, toy.read(artifact.path, self.format))
        except InputError as error:
            raise ConversionError(f"{artifact.path.name} cannot be opened") from error

    def trace(
        self, artifact: Artifact, inputs: Sequence[Any], threads: int
    ) -> Iterator[TracedTensor]:
        """See `Tracer.trace`."""
        model = toy.read(artifact.path, self.format)
        given = toy.by_name(model, inputs, artifact.inputs)
        for head in model["outputs"]:
            name, hidden = head["name"], toy.hidden(head, given)
            yield TracedTensor(f"{name}/multiply", "MULTIPLY", "", hidden, f"{name}/hidden")
            found = toy.rounded(toy.post(head, hidden), head["output_scale"])
            yield TracedTensor(f"{name}/post", "POST", "", toy.upright(model, found), name)


class ToySession:
    """An opened toy model."""

    def __init__(self, artifact: Artifact, model: toy.Model) -> None:
        self._artifact, self._model = artifact, model

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """See `Session.run`."""
        given = toy.by_name(self._model, inputs, self._artifact.inputs)
        found = toy.compute(self._model, given)
        return [toy.upright(self._model, found[s.name]) for s in self._artifact.outputs]
