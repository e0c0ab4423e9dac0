"""What quantizing any set of layers does to the outputs, expected from one ranking.

A ranking gives, for every tensor, its first-order effect on random combinations of the outputs, row
by row. Effects add up before they are squared, so errors that cancel or reinforce each other are
told from the same passes: with the columns of the tensors that are quantized as vector sum a, the
error power is the mean of a squared, the quadratic form 1' M 1 with M = A'A / rows.

Large errors are no longer of first order. What is of second order grows with the square of the
amplitude, so to an expected amplitude a (the root of the power) belongs a true one of a (1 + c a),
or a / (1 + c a) where it saturates. The curvature c is that of an `Anchor`: a set that was really
rounded. It also takes away what chance does to all large sets alike. Curvature is mostly the worst
tensors' own, so the smallest anchor counts that holds the whole set.

A tensor escapes quantization only when everything that writes or reads it stays in float: that is
why a contiguous island of float gains more than its layers do one by one.

numpy is imported inside the functions: the command line must start without it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convkit.plugin.ranking import Together
from convkit.quant import LayerInfo


@dataclass(frozen=True)
class Anchor:
    """A set of tensors whose error is known as well as expected: all but a few.

    Attributes:
        tensors, weights: what is not in it: tensors, and layers whose weights.
        expected: its relative error power to first order; positive.
        measured: the true one; positive.
    """

    tensors: frozenset[str]
    weights: frozenset[str]
    expected: float
    measured: float


class Noise:
    """The expected error of any choice of float layers."""

    def __init__(
        self,
        layers: Sequence[LayerInfo],
        integer: Collection[str],
        tensors: Mapping[str, Any],
        weights: Mapping[str, Any],
        anchors: Sequence[Anchor] = (),
    ) -> None:
        """
        Args:
            layers: of the float model.
            integer: names of those that compute in integers when nothing is kept in float.
            tensors: tensor name to its column of effects, of one length all.
            weights: layer name to the column of its weights.
            anchors: each without some of what is in the one before.
        """
        import numpy as np

        self._place = {layer.name: place for place, layer in enumerate(layers)}
        guards: list[list[int]] = []
        columns: list[Any] = []
        spared: list[list[bool]] = []
        self.alone: dict[str, tuple[float | None, float | None]] = {}
        touching: dict[str, list[int]] = {}
        for place, layer in enumerate(layers):
            if layer.name in integer:
                for name in (*layer.inputs, *layer.outputs):
                    touching.setdefault(name, []).append(place)
        for name, column in tensors.items():
            if name in touching:
                guards.append(touching[name])
                columns.append(column)
                spared.append([name in anchor.tensors for anchor in anchors])
        for name, column in weights.items():
            if name in integer and name in self._place:
                guards.append([self._place[name]])
                columns.append(column)
                spared.append([name in anchor.weights for anchor in anchors])
        for layer in layers:
            results = [_power(tensors[name]) for name in layer.outputs if name in tensors]
            own = _power(weights[layer.name]) if layer.name in weights else None
            self.alone[layer.name] = (sum(results) if results else None, own)
        self._guards = np.zeros((len(guards), len(layers)), np.float32)
        for row, guard in enumerate(guards):
            self._guards[row, guard] = 1.0
        self._needed = self._guards.sum(axis=1)
        effects = np.stack(columns, axis=1) if columns else np.zeros((1, 0))
        self._matrix = shrunk(effects)
        masks = np.array(spared, np.bool_).reshape(len(spared), len(anchors)).T
        self._anchors = [
            (mask, anchor.expected, anchor.measured)
            for mask, anchor in zip(masks, anchors, strict=True)
        ]

    def error(self, float_layers: Iterable[str]) -> float:
        """The relative error power at the outputs when these layers stay in float."""
        return float(self.errors([float_layers])[0])

    def errors(self, choices: Sequence[Iterable[str]]) -> Any:
        """The same for many choices: a float64 array."""
        import numpy as np

        chosen = np.zeros((len(choices), len(self._place)), np.float32)
        for row, names in enumerate(choices):
            chosen[row, [self._place[name] for name in names if name in self._place]] = 1.0
        return expected(self._matrix, chosen @ self._guards.T < self._needed, self._anchors)


def _power(column: Any) -> float:
    return float((column**2).mean())


def expected(matrix: Any, active: Any, anchors: Sequence[tuple[Any, float, float]] = ()) -> Any:
    """The relative error power that any sets of columns cause together.

    Args:
        matrix: float64 array (columns, columns); see `shrunk`.
        active: bool array (sets, columns): what is in each set.
        anchors: sets whose error is known, each without some columns of the one before: a bool
            array (columns,) of those that are not in it, the error power expected of it to first
            order, and the measured one.

    Returns:
        A float64 array (sets,).
    """
    import numpy as np

    rows = np.asarray(active, np.float64)
    plain = np.maximum(np.einsum("ij,ij->i", rows @ matrix, rows), 0.0)
    found = plain
    for spared, first, measured in anchors:
        within = ~active[:, spared].any(axis=1)
        growth = math.sqrt(measured / first)
        share = np.sqrt(plain / first)
        if growth >= 1.0:
            factor = 1.0 + np.minimum(share, 1.0) * (growth - 1.0)
        else:
            factor = 1.0 / (1.0 + share * (1.0 / growth - 1.0))
        found = np.where(within, plain * factor**2, found)
    return found


def known(
    activations: Any, weights: Any, together: Sequence[Together]
) -> list[tuple[Any, float, float]]:
    """Anchors, in the form that `expected` takes, of a ranking's columns, those of the weights
    behind those of the activations. Sets whose error has no logarithm are left out."""
    import numpy as np

    effects = np.concatenate([activations, weights], axis=1)
    matrix, effective = shrunk(effects), effects.any(axis=0)
    found = []
    for group in together:
        active = np.concatenate([group.activations, group.weights])
        first = float(expected(matrix, active[None])[0])
        if 0.0 < group.error < math.inf and 0.0 < first < math.inf:
            found.append((effective & ~active, first, group.error))
    return found


def shrunk(effects: Any) -> Any:
    """The second-moment matrix of the columns, drawn toward its diagonal by as much as its entries
    are uncertain: with fewer rows than columns, chance alone makes errors seem to cancel.

    The intensity is that of Schaefer and Strimmer (2005), "A Shrinkage Approach to Large-Scale
    Covariance Matrix Estimation and Implications for Functional Genomics", target D, with raw
    second moments in place of central ones.

    Args:
        effects: float64 array (rows, tensors).

    Returns:
        A float64 array (tensors, tensors).
    """
    import numpy as np

    rows = len(effects)
    matrix = effects.T @ effects / rows
    diagonal = np.diag(np.diag(matrix))
    beside = matrix - diagonal
    spread = float((beside**2).sum())
    if rows < 2 or spread == 0.0:
        return diagonal
    squares = effects**2
    products = float((squares.sum(axis=1) ** 2).sum() - (squares**2).sum())
    variance = (products / rows - spread) / (rows - 1)
    intensity = min(1.0, max(0.0, variance / spread))
    return diagonal + (1.0 - intensity) * beside
