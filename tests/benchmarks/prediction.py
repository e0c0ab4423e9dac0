"""What the analyzer expects of sets of tensors, against tensors really rounded together.

Per model, sets of every size are drawn: some at random, some contiguous stretches, and everything
but such. Every other set spares the tensor that ranks worst, as a search does first: with it, most
sets are about as bad as it is alone. Each set's error at the outputs is expected as
`convkit.analysis` expects it, from rankings with several seeds, and measured by rounding all of its
tensors. Printed are the mean absolute difference in decibels, that over the sets without the worst
tensor, the largest, the mean with its sign, the correlation, what leaving out the measured sets
(first order alone) and what adding up the errors of single tensors would give, and the float
passes of the ranking.

`--plot FILE.svg` draws the one against the other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.ranking import opened, ranked

DIFFERENCE, PASSES = 0.8, 12.0
"""Limits: dB, and float passes."""
STEPS = 20
"""Sizes per kind of set; there are four kinds."""
SEEDS = (0, 1, 2)
"""Of the rankings."""
PROMISED = ("digits-yolo", "yolov8n", "vit")
OTHERS = ("text", "residual")
"""Looked at as well, and held to no limit."""


@dataclass(frozen=True)
class Row:
    """One model; decibels but for the counts and `pearson`.

    Attributes:
        tensors: what can be rounded alone: tensors with a scale of their own, and weights.
        difference: mean absolute difference; `spared` over the sets without the worst tensor.
        largest, bias: of the differences: the largest, and the mean with its sign.
        pearson: of the decibels.
        first_order, additive: the mean absolute difference of simpler estimates.
        passes: float passes that the ranking took; median.
    """

    model: str
    tensors: int
    sets: int
    difference: float
    spared: float
    largest: float
    bias: float
    pearson: float
    first_order: float
    additive: float
    passes: float
    promised: bool

    @property
    def holds(self) -> bool:
        """Whether it is what is promised."""
        return self.difference <= DIFFERENCE and self.passes <= PASSES


def main(options: Sequence[str] = ()) -> bool:
    """Expect, measure, and compare."""
    parser = argparse.ArgumentParser(prog="prediction")
    parser.add_argument("--only", nargs="+", choices=(*PROMISED, *OTHERS))
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    given = parser.parse_args(options)
    rows, points = [], []
    print(
        f"{'model':14}{'tensors':>8}{'sets':>6}{'dB off':>8}{'spared':>8}{'largest':>9}{'bias':>7}"
        f"{'Pearson':>9}{'1st order':>11}{'additive':>10}{'passes':>8}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in given.only or (*PROMISED, *OTHERS):
            row, found = compare(name, *opened(name, Path(folder)))
            rows.append(row)
            points += found
            print(
                f"{name:14}{row.tensors:8}{row.sets:6}{row.difference:8.2f}{row.spared:8.2f}"
                f"{row.largest:9.1f}{row.bias:+7.2f}{row.pearson:9.3f}{row.first_order:11.2f}"
                f"{row.additive:10.2f}{row.passes:8.1f}" + ("" if row.holds else "  MISSED"),
                flush=True,
            )
    if given.plot:
        given.plot.write_text(_picture(points), "utf-8")
    shown = [{**asdict(row), "holds": row.holds} for row in rows]
    print(json.dumps({"benchmark": "prediction", "models": shown}), flush=True)
    return all(row.holds for row in rows if row.promised)


def compare(
    name: str, artifact: Any, samples: Sequence[Any]
) -> tuple[Row, list[dict[str, str | float]]]:
    """One model's row, and its points: of the first seed."""
    from convkit.analysis.sensitivity.noise import expected, known, shrunk
    from convkit.analysis.sensitivity.ranking import GRADIENTS, TOGETHER
    from convkit.plugin import RankSettings
    from tests.benchmarks.simulation import Simulation

    settings = [
        RankSettings(gradients=GRADIENTS, together=TOGETHER, seed=seed, threads=1) for seed in SEEDS
    ]
    truth = Simulation(artifact, samples, settings[0])
    members = sorted(
        [(place, "tensor") for place in truth.candidates]
        + [(place, "weights") for place in truth.weighted]
    )
    rankings = [ranked(artifact, samples, one) for one in settings]
    powers = [np.mean(_effects(found, members) ** 2, axis=0) for found in rankings]
    worst = int(np.mean(powers, axis=0).argmax())
    sets = _drawn(len(members), worst)
    measured = _decibels([_measured(truth, members, chosen) for chosen in sets])
    differences: list[Any] = []
    plain, added = [], []
    for found, power in zip(rankings, powers, strict=True):
        matrix = shrunk(_effects(found, members))
        places = [p + (kind == "weights") * len(truth.places) for p, kind in members]
        anchors = [
            (spared[places], first, error)
            for spared, first, error in known(found.activations, found.weights, found.together)
        ]
        guess = _decibels(expected(matrix, sets, anchors))
        differences.append(guess - measured)
        plain.append(np.abs(_decibels(expected(matrix, sets)) - measured).mean())
        added.append(np.abs(_decibels(sets @ power) - measured).mean())
    every = np.array(differences)
    row = Row(
        model=name,
        tensors=len(members),
        sets=len(sets),
        difference=float(np.abs(every).mean()),
        spared=float(np.abs(every[:, ~sets[:, worst]]).mean()),
        largest=float(np.abs(every).max()),
        bias=float(every.mean()),
        pearson=float(np.mean([np.corrcoef(measured + d, measured)[0, 1] for d in every])),
        first_order=float(np.mean(plain)),
        additive=float(np.mean(added)),
        passes=statistics.median(found.float_passes for found in rankings),
        promised=name in PROMISED,
    )
    return row, [
        {"model": name, "expected": float(e), "measured": float(m)}
        for e, m in zip(measured + every[0], measured, strict=True)
    ]


def _effects(found: Any, members: Sequence[tuple[int, str]]) -> Any:
    """The columns of the members: a float64 array (rows, members)."""
    return np.stack(
        [(found.weights if kind == "weights" else found.activations)[:, p] for p, kind in members],
        axis=1,
    )


def _measured(truth: Any, members: Sequence[tuple[int, str]], chosen: Any) -> float:
    active = [member for member, inside in zip(members, chosen, strict=True) if inside]
    tensors = {place for place, kind in active if kind == "tensor"}
    weights = {place for place, kind in active if kind == "weights"}
    return float(np.mean(truth.errors(tensors, weights)))


def _drawn(members: int, worst: int) -> Any:
    """Sets by member, a bool array: of each kind one of every size, from one to nearly all in
    equal ratios."""
    rng = np.random.default_rng(0)
    sets = []
    for step in range(STEPS):
        size = max(1, round(members ** ((step + 0.5) / STEPS)))
        for kind in range(4):
            chosen = np.zeros(members, np.bool_)
            if kind % 2:
                start = rng.integers(0, members - size + 1)
                chosen[start : start + size] = True
            else:
                chosen[rng.choice(members, size, replace=False)] = True
            if kind >= 2:
                chosen = ~chosen
            if (step + kind) % 2:
                chosen[worst] = False
            while not chosen.any():
                chosen[rng.integers(0, members)] = True
            sets.append(chosen)
    return np.array(sets)


def _decibels(power: Any) -> Any:
    return 10.0 * np.log10(np.maximum(power, 1e-30))


def _picture(points: Sequence[dict[str, str | float]]) -> str:
    """An SVG: one panel for each model."""
    import vl_convert

    axis = {"titleFontWeight": "normal", "tickCount": 4}
    models = list(dict.fromkeys(str(point["model"]) for point in points))
    panels = []
    for name in models:
        inside = [point for point in points if point["model"] == name]
        values = [float(point[key]) for point in inside for key in ("expected", "measured")]
        low, high = 10.0 * np.floor(min(values) / 10.0), 10.0 * np.ceil(max(values) / 10.0)
        scale = {"domain": [float(low), float(high)], "nice": False}
        line = [{"expected": float(end), "measured": float(end)} for end in (low, high)]
        encoding = {
            "x": {
                "field": "expected",
                "type": "quantitative",
                "scale": scale,
                "axis": {**axis, "title": "expected, dB"},
            },
            "y": {
                "field": "measured",
                "type": "quantitative",
                "scale": scale,
                "axis": {**axis, "title": "measured, dB" if name == models[0] else None},
            },
        }
        panels.append(
            {
                "title": {"text": name, "fontWeight": "normal"},
                "width": 190,
                "height": 190,
                "encoding": encoding,
                "layer": [
                    {"data": {"values": line}, "mark": {"type": "line", "color": "#999999"}},
                    {
                        "data": {"values": inside},
                        "mark": {"type": "point", "filled": True, "size": 22, "opacity": 0.75},
                        "encoding": {"color": {"value": _COLOURS[models.index(name)]}},
                    },
                ],
            }
        )
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "white",
        "hconcat": panels,
    }
    return vl_convert.vegalite_to_svg(spec)


_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56657a")
"""Told apart by the colour-blind too (Okabe and Ito)."""


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
