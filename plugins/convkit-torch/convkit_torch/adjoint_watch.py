"""Who watches a program run: first for ranges, then for gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from convkit_torch.fake_quant import Grid, activation_grid

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Place:
    """A floating-point tensor that is watched.

    Attributes:
        layer, op_type, scope, tensor: see `TracedTensor`; `tensor` is the layer's own name for the
            last part of an operator that was taken apart.
        weighted: it is computed with weights.
        derived: it is computed from another floating-point tensor.
        moved: it holds values of another one, perhaps times a number, and takes that one's scale.
    """

    layer: str
    op_type: str
    scope: str
    tensor: str
    weighted: bool = False
    derived: bool = False
    moved: bool = False


class Watch:
    """Who watches. Each method is called in execution order and answers what the program goes on
    with, which is what it was given unless a kind of watch says otherwise; places are numbers into
    `WatchedProgram.places`."""

    def tensor(self, place: int, value: torch.Tensor) -> torch.Tensor:
        """A tensor that has a scale of its own."""
        return value

    def moved(self, place: int, value: torch.Tensor) -> torch.Tensor:
        """A tensor that holds values of another one."""
        return value

    def kernel(self, place: int, weight: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """A weight of an operator that is linear in it, and the error of quantizing it; a place
        asks with the same two every time."""
        return weight

    def effect(
        self,
        place: int,
        value: torch.Tensor,
        target: Callable[..., torch.Tensor],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> torch.Tensor:
        """What is about to become the tensor of a place; `target(*args, **kwargs)` is by how much
        it changes when its operator's weights are quantized."""
        return value

    def weight(self, place: int, value: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """A weight of an operator that is not linear in it, and the error of quantizing it."""
        return value


class Ranges(Watch):
    """Notes the smallest and the largest finite value of each tensor, over all runs.

    Attributes:
        first: the values of the first run, by place, until it is over.
        broken: places at which a value was not finite, such as a mask with infinities.
    """

    def __init__(self, places: int) -> None:
        self._low, self._high = [math.inf] * places, [-math.inf] * places
        self.first: dict[int, torch.Tensor] = {}
        self._first_run = True
        self.broken: set[int] = set()

    def tensor(self, place: int, value: torch.Tensor) -> torch.Tensor:
        """See `Watch`."""
        self.moved(place, value)
        if not value.numel():
            return value
        low, high = (float(x) for x in value.aminmax())
        if not (math.isfinite(low) and math.isfinite(high)):
            self.broken.add(place)
            finite = value[value.isfinite()]
            if not finite.numel():
                return value
            low, high = (float(x) for x in finite.aminmax())
        self._low[place] = min(self._low[place], low)
        self._high[place] = max(self._high[place], high)
        return value

    def moved(self, place: int, value: torch.Tensor) -> torch.Tensor:
        """See `Watch`."""
        if self._first_run:
            self.first[place] = value
        return value

    def first_run_over(self) -> None:
        """Let go of the values."""
        self._first_run = False
        self.first.clear()

    def grids(self, bits: int, symmetric: bool) -> list[Grid | None]:
        """What each tensor would be rounded to; None for those that need no grid of their own."""
        return [
            activation_grid(low, high, bits, symmetric) if low <= high else None
            for low, high in zip(self._low, self._high, strict=True)
        ]


class Gradients(Watch):
    """Multiplies the rounding error of each tensor by its gradient while a backward pass comes by.

    Attributes:
        leaves: places at which a gradient ends, since nothing before them has one.
    """

    def __init__(self, grids: Sequence[Grid | None], broken: set[int]) -> None:
        """`broken`: places with values that are not finite, which are left out."""
        import numpy as np

        self._grids, self._broken = grids, broken
        self._steps = np.array([grid.step if grid is not None else 0.0 for grid in grids])
        self._errors: dict[int, torch.Tensor] = {}
        self._flat: dict[int, torch.Tensor] = {}
        self._effects: dict[int, torch.Tensor] = {}
        self._activations: dict[int, torch.Tensor] = {}
        self._weights: dict[int, torch.Tensor] = {}
        self.leaves: set[int] = set()

    def tensor(self, place: int, value: torch.Tensor) -> torch.Tensor:
        """See `Watch`."""
        plain = value.detach()
        if not value.requires_grad:
            value = plain.requires_grad_()
            plain = value.detach()
            self.leaves.add(place)
        grid = self._grids[place]
        if grid is not None:
            old = self._errors.get(place)
            same = old is not None and old.shape == value.shape
            error = self._errors[place] = grid.error_in_steps(plain, old if same else None)
            if place in self._broken:
                error.masked_fill_(~plain.isfinite(), 0.0)
            self._flat[place] = error.reshape(-1)
        _hook(value, partial(self._met, place))
        return value

    def moved(self, place: int, value: torch.Tensor) -> torch.Tensor:
        """See `Watch`: a tensor that moves values of another has the other's grid, on which
        they lie already, so its column stays zero."""
        return value

    def effect(
        self,
        place: int,
        value: torch.Tensor,
        target: Callable[..., torch.Tensor],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> torch.Tensor:
        """See `Watch`."""
        # operands without their past: a switch of the mode takes longer
        plain = [a.detach() if getattr(a, "requires_grad", False) else a for a in args]
        self._effects[place] = target(*plain, **kwargs).reshape(-1)
        return value

    def weight(self, place: int, value: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """See `Watch`: a copy for this use, whose gradient is this use's."""
        value = value.detach().clone().requires_grad_()
        _hook(value, partial(self._met_weight, place, error))
        return value

    def collect(self, activations: Any, weights: Any) -> None:
        """Put the products of the last backward pass into two arrays (places,)."""
        import torch

        for found, row in ((self._activations, activations), (self._weights, weights)):
            if found:
                row[list(found)] = torch.stack(list(found.values())).double().numpy()
            found.clear()
        activations *= self._steps

    def _met(self, place: int, gradient: torch.Tensor) -> None:
        gradient = gradient.reshape(-1)
        error, effect = self._flat.get(place), self._effects.get(place)
        if error is not None:
            self._activations[place] = gradient.dot(error)
        if effect is not None:
            self._weights[place] = gradient.dot(effect)

    def _met_weight(self, place: int, error: torch.Tensor, gradient: torch.Tensor) -> None:
        product = gradient.detach().reshape(-1).dot(error.reshape(-1))
        before = self._weights.get(place)
        self._weights[place] = product if before is None else before + product


class Rounded(Watch):
    """Really rounds the tensors at some places, and the weights at others."""

    def __init__(self, grids: Sequence[Grid | None], broken: set[int]) -> None:
        """`broken`: places with values that are not finite, which stay as they are."""
        self._grids, self._broken = grids, broken
        self._kernels: dict[int, torch.Tensor] = {}
        self.activations: Collection[int] = ()
        self.weights: Collection[int] = ()

    def tensor(self, place: int, value: torch.Tensor) -> torch.Tensor:
        """See `Watch`."""
        grid = self._grids[place]
        if grid is None or place not in self.activations:
            return value
        near = grid.nearest(value)
        return near.where(value.isfinite(), value) if place in self._broken else near

    def kernel(self, place: int, weight: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """See `Watch`. Done here, the operator need not compute the change on its own."""
        if place not in self.weights:
            return weight
        if place not in self._kernels:
            self._kernels[place] = weight + error
        return self._kernels[place]

    def weight(self, place: int, value: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """See `Watch`."""
        return value + error if place in self.weights else value


def _hook(value: torch.Tensor, met: Callable[[torch.Tensor], None]) -> None:
    """Let a function meet the gradient of a value in each backward pass."""
    register: Callable[..., object] = value.register_hook
    register(met)
