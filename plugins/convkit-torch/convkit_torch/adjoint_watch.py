"""Who watches a program run: first for ranges, then for gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from convkit_torch.fake_quant import Grid, activation_grid

if TYPE_CHECKING:
    import torch


class Ranges:
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

    def effect(
        self, place: int, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """See `Watch`."""

    def weight(self, place: int, value: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """See `Watch`."""
        return value

    def grids(self, bits: int, symmetric: bool) -> list[Grid | None]:
        """What each tensor would be rounded to; None for those that need no grid of their own."""
        return [
            activation_grid(low, high, bits, symmetric) if low <= high else None
            for low, high in zip(self._low, self._high, strict=True)
        ]


class Gradients:
    """Multiplies the rounding error of each tensor by its gradient while a backward pass comes by.

    Attributes:
        leaves: places at which a gradient ends, since nothing before them has one.
    """

    def __init__(self, grids: Sequence[Grid | None], broken: set[int]) -> None:
        """`broken`: places with values that are not finite, which are left out."""
        self._grids, self._broken = grids, broken
        self._errors: dict[int, torch.Tensor] = {}
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
            error = self._errors[place] = grid.error(plain, old if same else None)
            if place in self._broken:
                error.masked_fill_(~plain.isfinite(), 0.0)
        value.register_hook(partial(self._met, place))
        return value

    def moved(self, place: int, value: torch.Tensor) -> torch.Tensor:
        """See `Watch`: a tensor that moves values of another has the other's grid, on which
        they lie already, so its column stays zero."""
        return value

    def effect(
        self, place: int, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """See `Watch`."""
        import torch

        with torch.no_grad():
            self._effects[place] = target(*args, **kwargs)

    def weight(self, place: int, value: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """See `Watch`: a copy for this use, whose gradient is this use's."""
        value = value.detach().clone().requires_grad_()
        value.register_hook(partial(self._met_weight, place, error))
        return value

    def collect(self, activations: Any, weights: Any) -> None:
        """Put the products of the last backward pass into two arrays (places,)."""
        import torch

        for found, row in ((self._activations, activations), (self._weights, weights)):
            if found:
                row[list(found)] = torch.stack(list(found.values())).double().numpy()
            found.clear()

    def _met(self, place: int, gradient: torch.Tensor) -> None:
        gradient = gradient.reshape(-1)
        error, effect = self._errors.get(place), self._effects.get(place)
        if error is not None:
            self._activations[place] = gradient.dot(error.reshape(-1))
        if effect is not None:
            self._weights[place] = gradient.dot(effect.reshape(-1))

    def _met_weight(self, place: int, error: torch.Tensor, gradient: torch.Tensor) -> None:
        product = gradient.detach().reshape(-1).dot(error.reshape(-1))
        before = self._weights.get(place)
        self._weights[place] = product if before is None else before + product
