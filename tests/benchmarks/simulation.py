"""The truth that a ranking is held against: tensors really rounded, alone or together, in torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch

from convkit.numerics import kinds
from convkit.plugin import Artifact, RankSettings
from convkit_torch import reading, runner
from convkit_torch.adjoint_program import watched
from convkit_torch.adjoint_watch import Ranges, Watch
from convkit_torch.fake_quant import Grid, weight_error


class Rounding(Watch):
    """A watch that rounds the tensors at some places and the weights at others."""

    def __init__(self, grids: Sequence[Grid | None]) -> None:
        self._grids = grids
        self.activations: Collection[int] = ()
        self.weights: Collection[int] = ()

    def tensor(self, place: int, value: torch.Tensor) -> torch.Tensor:
        grid = self._grids[place] if place in self.activations else None
        if grid is None:
            return value
        error = grid.error(value)
        return value + error.masked_fill_(~value.isfinite(), 0.0)

    def effect(
        self,
        place: int,
        value: torch.Tensor,
        target: Callable[..., torch.Tensor],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> torch.Tensor:
        return value + target(*args, **kwargs) if place in self.weights else value

    def weight(self, place: int, value: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        return value + error if place in self.weights else value


class Simulation:
    """A model some of whose tensors are rounded to integers.

    Attributes:
        places: see `WatchedProgram`.
        candidates: places of tensors with a scale of their own; `weighted`: those with weights.
    """

    def __init__(
        self, artifact: Artifact, samples: Sequence[Sequence[Any]], settings: RankSettings
    ) -> None:
        program = runner.traceable_program(artifact)
        self._samples = [runner.placed_inputs(artifact, program, s) for s in samples]

        def rounding(weight: torch.Tensor, axis: int | None) -> torch.Tensor:
            per = axis if settings.per_channel else None
            return weight_error(weight, settings.weight_bits, per)

        whole = watched(program, rounding)
        self._run, self.places = whole.run, whole.places
        ranges = Ranges(len(self.places))
        with torch.no_grad():
            self._floats = [
                reading.flat_tensors(self._run(ranges, *sample)) for sample in self._samples
            ]
        grids = ranges.grids(settings.activation_bits, settings.symmetric)
        self._rounding = Rounding(grids)
        self.candidates = [
            i for i, p in enumerate(self.places) if not p.moved and grids[i] is not None
        ]
        self.weighted = [i for i, p in enumerate(self.places) if p.weighted]
        self._parts = self._slices()

    def _slices(self) -> list[tuple[int, Any, float]]:
        """Of each slice: the output's number, its index, its mean square over the samples."""
        found = []
        for number, values in enumerate(zip(*self._floats, strict=True)):
            if not values[0].is_floating_point():
                continue
            for part in kinds([v.float().numpy() for v in values]):
                power = sum(float(v[part.index].double().square().mean()) for v in values)
                if power > 0:
                    found.append((number, part.index, power / len(values)))
        return found

    def errors(self, activations: Collection[int], weights: Collection[int]) -> list[float]:
        """The relative error power of each sample, averaged over slices, when the tensors at
        these places are rounded together."""
        self._rounding.activations, self._rounding.weights = activations, weights
        found = []
        with torch.no_grad():
            for sample, floats in zip(self._samples, self._floats, strict=True):
                results = reading.flat_tensors(self._run(self._rounding, *sample))
                found.append(
                    sum(
                        float((results[n][i] - floats[n][i]).double().square().mean()) / power
                        for n, i, power in self._parts
                    )
                    / len(self._parts)
                )
        return found
