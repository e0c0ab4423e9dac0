"""What the models of a benchmark are run on: the same numbers for all, in each one's axes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from convkit.artifact import Artifact, TensorSpec
from convkit.engine.random_samples import random_samples
from convkit.engine.sample_files import shapes_in
from convkit.engine.session import Found, Samples, Session
from convkit.errors import ConvkitError, InputError, UsageError

Shape = tuple[int | str | None, ...]


class Inputs:
    """Samples for models whose inputs are in one order; see `bench_found`."""

    def __init__(self, session: Session, models: Sequence[Found], samples: Samples | None) -> None:
        self._session = session
        self._artifacts = [found.artifact for found in models]
        self._given = samples
        self._common = samples

    def of(self, found: Found) -> tuple[Samples, bool]:
        """The samples that a model is run on, and whether they are only its own.

        Raises:
            InputError: the user's samples do not fit it.
            UsageError: the sizes of open axes cannot be guessed.
        """
        if self._common is None:
            self._common = self._make()
        shapes = _shapes(self._common, len(self._artifacts[0].inputs))
        if _fits(found.artifact, shapes):
            return self._common, False
        if self._given is not None:
            wanted = "; ".join(f"{s.name} {_shown(s.shape)}" for s in found.artifact.inputs)
            raise InputError(
                f"the given samples do not fit it: it takes {wanted or 'no input'}",
                hint="Measure models of equal inputs together, or leave --inputs out.",
            )
        return random_samples(self._session, _upright(found.artifact)), True

    def _make(self) -> Samples:
        """Random samples for the first model that they can be made for: sizes that its file leaves
        open are those of another file, else such that it runs."""
        refusal: ConvkitError | None = None
        for artifact in self._artifacts:
            try:
                return random_samples(self._session, self._filled(artifact))
            except ConvkitError as error:
                refusal = refusal or error
        raise refusal or UsageError("there is no model to measure")

    def _filled(self, artifact: Artifact) -> Artifact:
        """An artifact in the original's axes, with sizes of open axes as its rivals have them."""
        upright = _upright(artifact)
        inputs = list(upright.inputs)
        for rival in map(_upright, self._artifacts):
            if len(rival.inputs) != len(inputs):
                continue
            inputs = [
                dataclasses.replace(ours, shape=_merged(_shape(ours, artifact), _shape(its, rival)))
                for ours, its in zip(inputs, rival.inputs, strict=True)
            ]
        return dataclasses.replace(upright, inputs=tuple(inputs))


def shapes_of(artifact: Artifact, samples: Samples) -> dict[str, tuple[int, ...]]:
    """Input name to the shape of the samples."""
    shapes = _shapes(samples, len(artifact.inputs))
    return {spec.name: shape for spec, shape in zip(artifact.inputs, shapes, strict=False)}


def _shapes(samples: Samples, width: int) -> list[tuple[int, ...]]:
    return shapes_in(samples.path)[:width] if width else []


def _fits(artifact: Artifact, shapes: Sequence[tuple[int, ...]]) -> bool:
    inputs = _upright(artifact).inputs
    return len(inputs) == len(shapes) and all(
        len(_shape(spec, artifact)) == len(shape)
        and all(
            not isinstance(own, int) or own <= 0 or own == size
            for own, size in zip(_shape(spec, artifact), shape, strict=True)
        )
        for spec, shape in zip(inputs, shapes, strict=True)
    )


def _upright(artifact: Artifact) -> Artifact:
    """An artifact whose inputs are described in the original's axes."""
    return dataclasses.replace(artifact, inputs=tuple(map(_unturned, artifact.inputs)))


def _unturned(spec: TensorSpec) -> TensorSpec:
    if not spec.permutation:
        return spec
    shape: list[int | str | None] = [None] * len(spec.shape)
    for place, axis in enumerate(spec.permutation):
        shape[axis] = spec.shape[place]
    return dataclasses.replace(spec, shape=tuple(shape), permutation=())


def _shape(spec: TensorSpec, artifact: Artifact) -> Shape:
    return artifact.read.shapes.get(spec.name, spec.shape)


def _merged(ours: Shape, its: Shape) -> Shape:
    if len(ours) != len(its):
        return ours
    return tuple(
        b if not isinstance(a, int) and isinstance(b, int) else a
        for a, b in zip(ours, its, strict=True)
    )


def _shown(shape: Shape) -> str:
    return "x".join("?" if size is None else str(size) for size in shape) or "scalar"
