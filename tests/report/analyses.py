"""Analyses as they come out of real runs, and as they should never come but will."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from convkit.quant import QuantRule
from convkit.sensitivity import Cost, Region, Sensitivity, SensitivityRow, Trial, decibels
from tests.report.comparisons import HOSTILE

INF, NAN = math.inf, math.nan


def detector(blocks: int = 22) -> Sensitivity:
    """A detector with a metric and limits; some 300 layers."""
    chance = random.Random(blocks)
    rows: list[SensitivityRow] = []

    def add(kind: str, scope: str, macs: int = 0) -> str:
        number = sum(row.op_type == kind for row in rows)
        name = f"node_{kind.lower()}_{number}"
        error = 10 ** chance.uniform(-7, -3.2) * (4 if len(rows) < 60 else 1)
        weights = error * chance.uniform(0.05, 0.5) if macs else None
        rows.append(SensitivityRow(name, kind, scope, error, weights, macs, macs // 900))
        return name

    for block in range(blocks):
        for half in ("cv1", "m.0.cv1", "m.0.cv2", "cv2"):
            scope = f"model.{block}.{half}"
            add("Conv", f"{scope}.conv", 1_000_000 * (1 + block % 5))
            add("Sigmoid", f"{scope}.act")
            add("Mul", f"{scope}.act")
        add("Concat", "" if block % 2 else f"model.{block}")
    head = f"model.{blocks}"
    for scale in range(3):
        for part in ("cv2", "cv3"):
            add("Conv", f"{head}.{part}.{scale}.0.conv", 3_000_000)
            add("Conv", f"{head}.{part}.{scale}.1", 200_000)
    post = [add(kind, f"{head}.dfl") for kind in ("Reshape", "Softmax", "MatMul")]
    post += [add(kind, head) for kind in ("Sub", "Add", "Concat", "Sigmoid", "Concat")]
    rows = [replace(r, activation=0.02) if r.layer in post[-3:] else r for r in rows]
    rows[3] = replace(rows[3], integer=False, activation=None, weights=None)
    stem = tuple(r.layer for r in rows[:13])
    concatenations = tuple(r.layer for r in rows if r.op_type == "Concat")
    acts = tuple(r.layer for r in rows if r.scope.endswith(".act"))
    regions = (
        Region("post-processing", "output", tuple(post), "boxes and scores share one scale"),
        Region("model.0", "module", stem, "first layers; errors reach everything behind them"),
        Region("concatenations", "kind", concatenations, "one scale for unlike inputs"),
        Region(
            "model.0 to model.2", "stretch", tuple(r.layer for r in rows[:39]), "early backbone"
        ),
        Region("activations", "kind", acts, "elementwise activations"),
    )

    def trial(name: str, *kept: str, **given: Any) -> Trial:
        known = {r.name: r for r in regions}
        layers = [layer for k in kept for layer in known[k].layers]
        return Trial(
            name, kept, tuple(dict.fromkeys(layers)), islands=len(kept), seconds=21.4, **given
        )

    names = [region.name for region in regions]
    trials = [
        trial("nothing kept in float", phase="baseline", predicted_db=13.1, sqnr_db=12.4,
              metric=0.7796, drop=0.1315, size_bytes=3_120_000, float_macs=0.0,
              time=0.58, time_low=0.57, time_high=0.60, predicted_time=0.58),
        trial(names[0], names[0], phase="ladder", predicted_db=22.0, sqnr_db=21.3, metric=0.9034,
              drop=0.0077, size_bytes=3_121_000, float_macs=0.0004, time=0.59, time_low=0.58,
              time_high=0.61, predicted_time=0.58),
        trial(f"{names[0]} + {names[1]}", *names[:2], predicted_db=27.9, sqnr_db=27.2,
              metric=0.9087, drop=0.0024, size_bytes=3_180_000, float_macs=0.031, time=0.63,
              time_low=0.61, time_high=0.66, predicted_time=0.61),
        trial(f"{names[0]} + {names[3]}", names[0], names[3], predicted_db=31.2, sqnr_db=30.8,
              metric=0.9102, drop=0.0009, size_bytes=3_410_000, float_macs=0.118, time=0.71,
              time_low=0.69, time_high=0.73, predicted_time=0.69),
        trial(names[2], names[2], predicted_db=14.0, sqnr_db=13.8, float_macs=0.0,
              size_bytes=3_120_500, predicted_time=0.60),
        trial(f"{names[0]} + {names[2]}", names[0], names[2], predicted_db=22.4, sqnr_db=21.0,
              metric=0.9030, drop=0.0081, float_macs=0.0004, time=0.66, size_bytes=3_121_500),
        trial(f"{names[0]} + {names[1]} + {names[4]}", *names[:2], names[4], predicted_db=INF,
              error="the quantizer failed: node_mul_3 has no range"),
        trial(f"{names[0]} + {names[1]} + {names[2]}", *names[:3], phase="predicted",
              predicted_db=28.8, float_macs=0.031, predicted_time=0.64),
        trial(f"{names[0]} + {names[3]} + {names[4]}", names[0], names[3], names[4],
              phase="predicted", predicted_db=33.5, float_macs=0.118, predicted_time=0.92),
        trial(f"{names[1]} (method=Entropy)", names[1], phase="repair", sqnr_db=14.1,
              predicted_db=14.5, float_macs=0.031, predicted_time=0.61, size_bytes=3_180_000,
              options={"method": "Entropy", "percentile": 99.9}),
    ]  # fmt: skip
    chosen = trials[2]
    rows = [replace(r, kept=r.layer in chosen.float_layers) for r in rows]
    return Sensitivity(
        convkit="0.1.0",
        model="harbour-yolo.pt2",
        target="onnx-int8",
        converter="onnxruntime.int8",
        ranker="torch.adjoint",
        samples=16,
        float_size=11_240_000,
        reached=True,
        chosen=chosen.name,
        rows=tuple(rows),
        regions=regions,
        trials=tuple(trials),
        front=tuple(t.name for t in trials[:4]),
        metric="coco-map",
        data="validation",
        float_metric=0.9111,
        max_drop=0.005,
        max_time=0.8,
        cost=Cost(6.4, 4, 16, 8, 6, 40, 311.0),
        notes=(
            f"onnx-int8: {len(chosen.float_layers)} of {len(rows)} layers stay in float, coco-map "
            "0.9087 (-0.0024), 96.9% of the arithmetic in integers. The goal of a drop of 0.005 is "
            "met.",
            "With nothing in float: coco-map 0.7796 (-0.1315), 12.4 dB.",
        ),
        warnings=("200 samples are few for a drop of 0.005: a single one decides about 0.005",),
    )


def tiny() -> Sensitivity:
    """Three layers, no metric, no limit, nothing to say."""
    rows = (
        SensitivityRow("fc1", "Gemm", "fc1", 1e-4, 2e-4, 4096, 4160),
        SensitivityRow("relu", "Relu", "", 0.0),
        SensitivityRow("fc2", "Gemm", "fc2", 3e-3, 1e-4, 640, 650, kept=True),
    )
    regions = (Region("fc2", "layer", ("fc2",), "last layer"),)
    trials = (
        Trial("nothing kept in float", phase="baseline", predicted_db=25.0, sqnr_db=24.0),
        Trial("fc2", ("fc2",), ("fc2",), predicted_db=37.0, sqnr_db=INF),
    )
    return Sensitivity(
        "0.1.0", "digits.onnx", "onnx-int8-dynamic", "", "tap", 8, 18_000, True, "fc2",
        rows, regions, trials, front=tuple(t.name for t in trials),
    )  # fmt: skip


def unscoped() -> Sensitivity:
    """300 layers of a file that knows no modules, whose names have no folders; no metric."""
    chance = random.Random(3)
    kinds = ("Conv", "Relu", "Add")
    rows = tuple(
        SensitivityRow(
            f"t{place}", kinds[place % 3], "", 10 ** chance.uniform(-6, -3), None, place % 3 or 7
        )
        for place in range(300)
    )
    return _measured(rows, "tflite-int8", "litert.int8")


def deep() -> Sensitivity:
    """A transformer with long scopes and folders in its names."""
    rows = []
    for layer in range(24):
        scope = f"transformer.encoder_with_a_long_name.layers.{layer}.self_attention"
        for part in ("q_proj", "k_proj", "v_proj", "softmax", "out_proj"):
            kind = "Softmax" if part == "softmax" else "MatMul"
            name = f"/{scope.replace('.', '/')}/{part}/{kind}"
            macs = 0 if part == "softmax" else 2_000_000
            rows.append(
                SensitivityRow(name, kind, f"{scope}.{part}", 1e-5 * (layer + 1), 1e-6, macs)
            )
        rows.append(SensitivityRow(f"node_layer_norm_{layer}", "LayerNormalization",
                                   f"transformer.encoder_with_a_long_name.layers.{layer}.norm",
                                   2e-4, integer=False))  # fmt: skip
    return _measured(tuple(rows), "openvino-int8", "nncf.int8")


def unranked() -> Sensitivity:
    """No ranker could tell; structure decided. Limits that nothing keeps."""
    found = detector(4)
    rows = tuple(replace(r, activation=None, weights=None) for r in found.rows)
    trials = tuple(replace(t, predicted_db=None) for t in found.trials if t.phase != "predicted")
    return replace(
        found, rows=rows, trials=trials, ranker="", reached=False, max_drop=0.0001,
        max_size=1_000_000, max_time=0.1, notes=(),
    )  # fmt: skip


def failed() -> Sensitivity:
    """Nothing but the beginning could be built, and that computes nonsense."""
    found = detector(3)
    trials = tuple(
        replace(t, error="no range for model.0.cv1.conv", sqnr_db=None, drop=None, metric=None)
        if n
        else replace(t, sqnr_db=-INF, drop=NAN, metric=NAN, time=None, time_low=None,
                     time_high=None)
        for n, t in enumerate(found.trials)
        if t.phase != "predicted"
    )  # fmt: skip
    rows = tuple(
        replace(r, activation=INF if n == 5 else NAN if n == 6 else r.activation)
        for n, r in enumerate(found.rows)
    )
    return replace(
        found, trials=trials, rows=rows, chosen=trials[0].name, front=(), reached=False, notes=()
    )


def asked() -> Sensitivity:
    """The user wants layers in float too."""
    found = detector(5)
    names = tuple(r.layer for r in found.rows if r.scope.startswith("model.2."))
    return replace(found, asked=(QuantRule(names, "asked for by --exclude model.2"),))


def hostile() -> Sensitivity:
    """Every text that a file or a user has a say in."""
    found = detector(2)
    rows = tuple(
        replace(r, layer=f"{HOSTILE}{r.layer}", scope=f"{HOSTILE}.x" if n % 2 else "a.b" * 3000)
        for n, r in enumerate(found.rows)
    )
    layers = tuple(r.layer for r in rows[:4])
    return replace(
        found,
        model=HOSTILE,
        rows=rows,
        regions=tuple(replace(r, layers=layers, reason=HOSTILE) for r in found.regions),
        trials=tuple(
            replace(t, float_layers=layers if t.regions else (), error=t.error and HOSTILE)
            for t in found.trials
        ),
        metric=HOSTILE,
        notes=(HOSTILE, HOSTILE),
        warnings=(HOSTILE,),
    )


def long() -> Sensitivity:
    """A whole budget spent, and many guesses."""
    found = detector(30)
    chance = random.Random(1)
    regions = list(found.regions)
    for number in range(30):
        layers = tuple(r.layer for r in found.rows[number * 12 : number * 12 + 17])
        regions.append(Region(f"stretch {number}", "stretch", layers, "consecutive layers"))
    trials = list(found.trials)
    for number in range(80):
        kept = chance.sample(regions, 1 + number % 5)
        guess = number >= 40
        value = 15 + number % 17
        trials.append(
            Trial(
                f"try {number}: {' + '.join(r.name for r in kept)}",
                tuple(r.name for r in kept),
                tuple(dict.fromkeys(name for r in kept for name in r.layers)),
                "predicted" if guess else "search",
                predicted_db=value + chance.uniform(-1, 1),
                sqnr_db=None if guess else float(value),
                float_macs=number / 100,
                predicted_time=0.58 + number / 200,
            )
        )
    return replace(found, regions=tuple(regions), trials=tuple(trials))


def _measured(rows: Sequence[SensitivityRow], target: str, converter: str) -> Sensitivity:
    """Growing beginnings of the model in float; the SQNR decides."""
    regions, trials = [], []
    for number in range(5):
        layers = tuple(row.layer for row in rows[: number * 11])
        rest = sum(row.error for row in rows[number * 11 :])
        if layers:
            regions.append(Region(f"the first {len(layers)}", "stretch", layers, "early"))
        trials.append(
            Trial(
                f"the first {len(layers)}" if layers else "nothing kept in float",
                (f"the first {len(layers)}",) if layers else (),
                layers,
                "search" if layers else "baseline",
                predicted_db=decibels(rest),
                sqnr_db=decibels(rest * 1.1),
                size_bytes=900_000 + 20_000 * number,
                float_macs=number / 30,
                islands=int(bool(layers)),
            )
        )
    chosen = trials[3]
    return Sensitivity(
        "0.1.0", "encoder.onnx", target, converter, "torch.adjoint", 16, 3_400_000, True,
        chosen.name, tuple(replace(r, kept=r.layer in chosen.float_layers) for r in rows),
        tuple(regions), tuple(trials), front=tuple(t.name for t in trials),
        notes=(f"{target}: {len(chosen.float_layers)} of {len(rows)} layers stay in float.",),
    )  # fmt: skip


ALL: dict[str, Callable[[], Sensitivity]] = {
    "detector": detector,
    "tiny": tiny,
    "unscoped": unscoped,
    "deep": deep,
    "unranked": unranked,
    "failed": failed,
    "asked": asked,
    "hostile": hostile,
    "long": long,
}
