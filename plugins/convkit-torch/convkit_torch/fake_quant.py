"""Rounding to integer grids in float arithmetic: what a quantizer does to the values of a tensor.

Written out in in-place steps: torch's own `fake_quantize_per_tensor_affine` takes about five times
as long on a CPU, which would be as long as the convolution that computed the tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Grid:
    """The numbers `step * k` for the integers k in `low..high`."""

    step: float
    low: int
    high: int

    def error(self, values: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Nearest number of the grid minus the value, for every value; what lies beyond the grid
        goes to its end.

        Args:
            out: where to put it: fresh memory takes longer to get than to fill.
        """
        import torch

        near = torch.mul(values, 1.0 / self.step, out=out).round_().clamp_(self.low, self.high)
        return near.mul_(self.step).sub_(values)

    def error_in_steps(self, values: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """The same in units of `step`, in three instead of five walks over the memory. For values
        that do not lie beyond the grid, such as those that it was made for."""
        import torch

        scale = 1.0 / self.step
        return torch.mul(values, scale, out=out).round_().sub_(values, alpha=scale)

    def nearest(self, values: torch.Tensor) -> torch.Tensor:
        """For every value the nearest number of the grid."""
        near = values.mul(1.0 / self.step).round_().clamp_(self.low, self.high)
        return near.mul_(self.step)


def activation_grid(low: float, high: float, bits: int, symmetric: bool) -> Grid | None:
    """The grid of `2**bits` numbers (one fewer where symmetric) over a range, which holds 0 as the
    runtimes want it; None where the range is a point at 0, which every grid holds."""
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        top = 2 ** (bits - 1) - 1
        step = max(-low, high) / top
        return Grid(step, -top, top) if step > 0.0 else None
    step = (high - low) / (2**bits - 1)
    if step <= 0.0:
        return None
    zero = round(-low / step)
    return Grid(step, -zero, 2**bits - 1 - zero)


def weight_error(weight: torch.Tensor, bits: int, axis: int | None) -> torch.Tensor:
    """Symmetric signed rounding of a weight minus the weight.

    Args:
        axis: that of the output channels, which have a scale each; None: one for all.
    """
    top = 2 ** (bits - 1) - 1
    size = weight.abs()
    if axis is None or weight.dim() < 2:
        peak = size.max()
    else:
        channels = axis % weight.dim()
        peak = size.amax([d for d in range(weight.dim()) if d != channels], keepdim=True)
    step = (peak / top).clamp_min(2.0**-126)  # the smallest normal float32: a channel of zeros
    return weight.div(step).round_().mul_(step).sub_(weight)
