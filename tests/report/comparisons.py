"""Comparisons as they come out of real runs, and as they should never come but will."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from convkit.artifact import TensorSpec
from convkit.benchmark import Benchmark, BenchmarkRow, Latency, Machine, SpeedRatio, SpeedVerdict
from convkit.comparison import Compared, Comparison, Gate
from convkit.delegates import DelegatedLayer, DelegateMap, ExecutedLayer, ExecutionProfile
from convkit.evaluation import Evaluation, EvaluationRow
from convkit.manifest import Attempt, CalibrationRecord, Failure, HopRecord, Manifest
from convkit.plans import Rejection
from convkit.plugin.data import MetricResult
from convkit.quant import QuantRecipe, QuantRule
from convkit.verification import Divergence, SliceAgreement, Verdict, Verification

INF, NAN = float("inf"), float("nan")
SOURCE = "harbour-yolo.pt2"
HOSTILE = (
    '"><img src=x onerror="document.title=1">\u2028</script>'
    "<script>document.title=2</script>{{7*7}}"
)
"""A layer's name from a file that somebody prepared."""

FULL = (
    # state, hops, kilobytes, ms, metric, share of integers
    ("onnx", ("torch.onnx",), 11_240, 31.2, 0.5123, None),
    ("onnx-fp16", ("torch.onnx", "onnxruntime.fp16"), 5_690, 33.0, 0.5121, None),
    ("onnx-int8-dynamic", ("torch.onnx", "onnxruntime.dynamic"), 3_060, 58.4, 0.4988, None),
    ("onnx-int8", ("torch.onnx", "onnxruntime.int8"), 3_140, 17.9, 0.5051, 0.962),
    ("openvino", ("torch.onnx", "openvino.from-onnx"), 11_310, 24.1, 0.5123, None),
    (
        "openvino-int8",
        ("torch.onnx", "openvino.from-onnx", "nncf.int8"),
        3_420,
        11.8,
        0.5079,
        0.981,
    ),
    ("tf-frozen", ("torch.onnx", "onnx2tf.saved", "tensorflow.freeze"), 11_400, 46.0, 0.5123, None),
    ("tflite", ("torch.onnx", "onnx2tf.saved", "tensorflow.tflite"), 11_190, 41.5, 0.5123, None),
    (
        "tflite-fp16",
        ("torch.onnx", "onnx2tf.saved", "tensorflow.tflite-fp16"),
        5_630,
        41.9,
        0.5122,
        None,
    ),
    (
        "tflite-int8",
        ("torch.onnx", "onnx2tf.saved", "tensorflow.tflite-int8"),
        2_980,
        29.6,
        0.4871,
        0.617,
    ),
)

TARGETS = {
    "torch.onnx": ("torch", "onnx"),
    "onnxruntime.fp16": ("onnx", "onnx-fp16"),
    "onnxruntime.dynamic": ("onnx", "onnx-int8-dynamic"),
    "onnxruntime.int8": ("onnx", "onnx-int8"),
    "openvino.from-onnx": ("onnx", "openvino"),
    "nncf.int8": ("openvino", "openvino-int8"),
    "onnx2tf.saved": ("onnx", "tf-saved"),
    "tensorflow.freeze": ("tf-saved", "tf-frozen"),
    "tensorflow.tflite": ("tf-saved", "tflite"),
    "tensorflow.tflite-fp16": ("tf-saved", "tflite-fp16"),
    "tensorflow.tflite-int8": ("tf-saved", "tflite-int8"),
}

DB = {
    "fp32": (128.0, 121.0),
    "fp16": (62.0, 55.0),
    "int8-dynamic": (24.0, 19.5),
    "int8": (31.0, 14.1),
}


def full(picture: Path | None = None) -> Comparison:
    """A detector in ten files and one that could not be made, with everything measured."""
    models = [Compared(SOURCE, "torch", SOURCE, 11_180_000, "fp32")]
    models += [_compared(*row) for row in FULL]
    models.append(
        Compared(
            "harbour-yolo-saved-int8",
            "tf-saved-int8",
            "",
            0,
            error="nothing makes tf-saved-int8 from torch",
            hint="tflite-int8 is the quantized form of a SavedModel.",
        )
    )
    comparison = Comparison(
        title=SOURCE,
        convkit="0.1.0",
        models=tuple(models),
        evaluation=_evaluation(models, picture),
        benchmark=_benchmark(models),
        delegates=_delegates(),
        profiles=_profiles(),
        rejected=(
            Rejection(
                "litert-torch.tflite",
                "needs litert-torch, which is not installed",
                "pip install litert-torch",
            ),
            Rejection(
                "onnx-tf.saved",
                "requires opset at most 12, the artifact has opset 17",
                "-O torch.onnx.opset=12",
            ),
        ),
        failed=(
            Failure(
                "onnx2tf.tflite",
                "tflite",
                "NumericError",
                "the result of onnx2tf.tflite does not compute what the original does: "
                "output0 [:, 4:84] 3.1 dB; first diverging layer: model.9.cv2 (Conv)",
                source="onnx",
            ),
        ),
        gates=(
            Gate(
                "--fail-drop 0.01", "harbour-yolo-int8.tflite", False, "lost 0.0252, at most 0.0100"
            ),
            Gate("--fail-slower-than 1.0", "harbour-yolo-int8.onnx", True, "0.57 times"),
        ),
        seconds={"convert": 214.2, "evaluate": 96.0, "benchmark": 61.3, "total": 371.5},
    )
    return _with_front(comparison)


def many() -> Comparison:
    """Twelve files with names as long as names get."""
    base = full()
    stem = (
        "experiment-2026-11-22-yolov8x-worldv2-harbour-cranes-1280px-finetuned-epoch0300-ema_best"
    )
    models = [base.models[0]]
    for number, model in enumerate(base.models[1:]):
        models.append(
            replace(
                model,
                title=f"{stem}{model.title.removeprefix('harbour-yolo')}"
                if number % 2
                else f"{stem} {number}.onnx",
            )
        )
    models.append(replace(models[1], title=f"another/folder/{stem}.onnx", state="coreml-int4"))
    comparison = replace(base, models=tuple(models), gates=())
    return _with_front(
        replace(comparison, evaluation=_evaluation(models, None), benchmark=_benchmark(models))
    )


def single() -> Comparison:
    """What `convkit report` makes of one manifest."""
    model = _compared(*FULL[-1])
    original = Compared(SOURCE, "torch", "", 0)
    return Comparison(title=model.title, convkit="0.1.0", models=(original, model))


def without_benchmark() -> Comparison:
    return replace(full(), benchmark=None, profiles=(), delegates=())


def without_evaluation() -> Comparison:
    base = full()
    return replace(
        base, evaluation=None, gates=(), models=tuple(replace(m, pareto=False) for m in base.models)
    )


def broken() -> Comparison:
    """Everything that can be wrong in the figures of a run that went on all the same."""
    base = full()
    assert base.evaluation is not None and base.benchmark is not None
    models = list(base.models)
    wrong = models[4]
    assert wrong.manifest is not None
    hop = wrong.manifest.hops[-1]
    slices = (
        SliceAgreement("output0", "[:, 0:4]", INF, 1.0, 0.0, 640.0),
        SliceAgreement("output0", "[:, 4:84]", -INF, NAN, INF, 1.0, collapsed=True, unit=True),
        SliceAgreement("mask", "all", NAN, NAN, NAN, 0.0, non_finite=True, constant=True),
    )
    place = Divergence(
        "/model.9/cv2/Conv",
        "model.9.cv2.conv",
        "Conv",
        "model.9.cv2/conv_2d",
        1.25,
        -88.5,
        (0, 3, 17, 4),
        -INF,
        last_good="/model.9/cv1/Conv",
        merged=("/model.9/cv2/Sigmoid",),
    )
    judged = Verification(
        "degraded",
        samples=8,
        slices=slices,
        divergence=place,
        problems=("output0 [:, 4:84] is constant where the original varies",),
    )
    manifest = replace(
        wrong.manifest, hops=(*wrong.manifest.hops[:-1], replace(hop, verification=judged))
    )
    models[4] = replace(wrong, manifest=manifest)
    scored = list(base.evaluation.rows)
    scored[3] = replace(
        scored[3],
        metric=MetricResult("coco-map", NAN, {"map50": NAN}, 100),
        change=NAN,
        problems=("NaN among the outputs of 100 samples",),
    )
    scored[5] = replace(
        scored[5],
        metric=None,
        change=None,
        error="the model wants another input",
        hint="Its input is 1x3x320x320.",
    )
    timed = list(base.benchmark.rows)
    timed[6] = replace(
        timed[6],
        latency=None,
        ratio=None,
        throughput={},
        error="onnxruntime crashed: signal 11",
        hint="See the log.",
    )
    timed[2] = replace(timed[2], ratio=SpeedRatio(SOURCE, INF, 0.0, INF, 0.95, 0.03, "cannot tell"))
    return replace(
        base,
        models=tuple(models),
        evaluation=replace(base.evaluation, rows=tuple(scored)),
        benchmark=replace(
            base.benchmark, rows=tuple(timed), notes=("The machine was loaded: 7.9 on 2 cores.",)
        ),
        drift=("harbour-yolo-fp16.onnx differs by 0.0120; the hop to blame is onnxruntime.fp16",),
    )


def nothing_made() -> Comparison:
    """Only failures."""
    failed = tuple(
        Compared(f"{state}", state, "", 0, error=f"every way to {state} failed", hint="See above.")
        for state in ("tflite-int8", "openvino-int8")
    )
    return Comparison(
        SOURCE,
        "0.1.0",
        (Compared(SOURCE, "torch", SOURCE, 11_180_000), *failed),
        failed=(Failure("torch.onnx", "onnx", "ConversionError", "aten::weird has no symbol"),),
    )


def hostile() -> Comparison:
    """Names that try to leave their place on the page."""
    base = full()
    assert base.models[1].manifest is not None
    named = replace(base.models[1], title=HOSTILE, path=HOSTILE)
    manifest = replace(base.models[1].manifest, source_name=HOSTILE, path=HOSTILE, notes=(HOSTILE,))
    layer = DelegatedLayer(HOSTILE, HOSTILE, HOSTILE, False, scope=HOSTILE, remedy=HOSTILE)
    models = (base.models[0], replace(named, manifest=manifest), *base.models[2:])
    comparison = replace(
        base,
        title=HOSTILE,
        models=models,
        delegates=(replace(base.delegates[0], model=HOSTILE, layers=(layer,)),),
        profiles=(
            ExecutionProfile(HOSTILE, HOSTILE, (ExecutedLayer(HOSTILE, HOSTILE, HOSTILE, 1.0),), 1),
        ),
        rejected=(Rejection(HOSTILE, HOSTILE, HOSTILE),),
        drift=(HOSTILE,),
    )
    return _with_front(
        replace(comparison, evaluation=_evaluation(models, None), benchmark=_benchmark(models))
    )


def _compared(
    state: str, hops: Sequence[str], kilobytes: int, _ms: float, _metric: float, share: float | None
) -> Compared:
    precision = next(
        (p for p in ("int8-dynamic", "int8", "fp16") if state.endswith(f"-{p}")), "fp32"
    )
    suffix = {"onnx": ".onnx", "openvino": ".xml", "tf-frozen": ".pb", "tflite": ".tflite"}[
        state.removesuffix(f"-{precision}")
    ]
    middle = "" if precision == "fp32" else f"-{precision}"
    title = f"harbour-yolo{middle}{suffix}"
    size = kilobytes * 1000
    manifest = Manifest(
        convkit="0.1.0",
        source_name=SOURCE,
        source_state="torch",
        source_digest="bd4522d8e06486c41433b32a3528d03051e7f66f2db3e8b1bf56ab7a7f315d55",
        target=state,
        path=" -> ".join(["torch", *(TARGETS[h][1] for h in hops)]),
        digest=f"{sum(state.encode()):064x}",
        size_bytes=size,
        precision=precision,
        inputs=(TensorSpec("images", (1, 3, 640, 640), "float32", "NCHW"),),
        outputs=(TensorSpec("output0", (1, 84, 8400), "float32"),),
        hops=tuple(_hop(h, size) for h in hops),
        python="3.11.2",
        platform="linux-x86_64",
        cpu_features=("avx2",),
        seed=0,
        threads=2,
        integer_macs=share,
        float_islands=None if share is None else 34,
        calibration=CalibrationRecord("images/", "letterbox 640, 0..1", 128, "5d" * 32, 0, False)
        if precision == "int8"
        else None,
        notes=("calibrated on 128 samples; 200 to 300 are usual",) if precision == "int8" else (),
    )
    return Compared(title, state, f"build/{title}", size, precision, manifest)


def _hop(converter: str, size: int) -> HopRecord:
    source, target = TARGETS[converter]
    precision = next(
        (p for p in ("int8-dynamic", "int8", "fp16") if target.endswith(f"-{p}")), "fp32"
    )
    boxes, scores = DB[precision]
    if target == "tflite-int8":
        scores = 8.6
    verdict: Verdict = "degraded" if scores < 12 else "ok"
    slices = (
        SliceAgreement("output0", "[:, 0:4]", boxes, 0.99996, 10.7, 639.8, faintest_db=boxes - 4),
        SliceAgreement("output0", "[:, 4:84]", scores, 0.98953, 0.113, 0.974, unit=True),
    )
    layers = tuple(f"/model.22/cv3.{n}/cv3.{n}.2/Conv" for n in range(3))
    layers = (*layers, "/model.22/Concat_5")
    recipe = QuantRecipe(
        "float output island",
        (QuantRule(layers, "an output mixes magnitudes that one integer scale cannot carry"),),
    )
    attempts = (
        Attempt(QuantRecipe(), -2.1, "wrong", size - 90_000),
        Attempt(recipe, scores, verdict, size),
    )
    quantized = precision == "int8"
    return HopRecord(
        converter=converter,
        source=source,
        target=target,
        digest=f"{sum(converter.encode()):064x}",
        size_bytes=size if quantized or precision == "fp16" else 11_300_000,
        seconds=0.4 + len(converter) / 3,
        cached=converter == "torch.onnx",
        options={"opset": 17, "simplify": True},
        bound=("opset",) if converter == "torch.onnx" else (),
        versions={"torch": "2.13.0", "onnx": "1.23.0"},
        environment="onnx2tf@3f2a" if converter.startswith("onnx2tf") else "",
        recipe=recipe if quantized else None,
        attempts=attempts if quantized else (),
        verification=Verification(
            verdict,
            samples=8,
            slices=slices,
            problems=("output0 [:, 4:84] 8.6 dB, under the 12.0 dB that int8 reaches",)
            if verdict == "degraded"
            else (),
        ),
    )


def _evaluation(models: Sequence[Compared], picture: Path | None) -> Evaluation:
    rows = []
    values = {"torch": 0.5123, **{row[0]: row[4] for row in FULL}, "coreml-int4": 0.41}
    for model in models:
        if model.error:
            continue
        value = values[model.state]
        details = {
            "map50": value + 0.17,
            "map75": value + 0.04,
            "map_small": value - 0.22,
            "map_medium": value + 0.05,
            "map_large": value + 0.18,
            "recall": value + 0.1,
            "detections": 3921,
            "score_max": 0.9712,
            "invalid": 0,
        }
        original = model.title == models[0].title
        slices = (
            model.manifest.hops[-1].verification.slices
            if (model.manifest and model.manifest.hops[-1].verification)
            else ()
        )
        rows.append(
            EvaluationRow(
                model.title,
                model.state,
                model.path,
                model.size_bytes,
                MetricResult("coco-map", value, details, 200),
                None if original else value - 0.5123,
                slices,
            )
        )
    return Evaluation("coco-map", "val2026", 200, models[0].title, tuple(rows), 96.0, picture)


def _benchmark(models: Sequence[Compared]) -> Benchmark:
    dice = random.Random(3)
    rows = []
    speeds = {"torch": 38.4, **{row[0]: row[3] for row in FULL}, "coreml-int4": 30.0}
    for model in models:
        if model.error:
            continue
        ms = speeds[model.state] / 1e3
        value = ms / 0.0384
        half = value * dice.uniform(0.012, 0.07)
        verdict: SpeedVerdict = (
            "faster" if value + half < 1 else "slower" if value - half > 1 else "cannot tell"
        )
        original = model.title == models[0].title
        family = model.state.split("-")[0]
        runner = {
            "torch": "torch",
            "onnx": "onnxruntime",
            "openvino": "openvino",
            "tf": "tensorflow",
            "tflite": "litert",
            "coreml": "coreml",
        }[family]
        rows.append(
            BenchmarkRow(
                model.title,
                model.state,
                model.path,
                model.size_bytes,
                runner,
                {runner: "1.2.3"},
                ms * 3,
                ms * 2,
                int(model.size_bytes * 2.6),
                Latency(240, ms * 1.02, ms * 0.94, ms, ms * 1.07, ms * 1.11, ms * 1.3, ms * 0.05),
                {"1": 1 / ms, "2": 1.7 / ms},
                None
                if original
                else SpeedRatio(
                    models[0].title, value, value - half, value + half, 0.95, 0.03, verdict
                ),
            )
        )
    machine = Machine(
        "Intel(R) Xeon(R) Processor @ 2.60GHz",
        2,
        ("AVX2", "FMA"),
        ("AVX512-VNNI", "AMX-INT8"),
        "linux-x86_64",
        "3.11.2",
        0.42,
    )
    return Benchmark(
        tuple(rows),
        models[0].title,
        2,
        24,
        10,
        machine,
        61.3,
        {"images": (1, 3, 640, 640)},
        ("This processor has no VNNI: int8 gains less here than on newer ones.",),
    )


def _delegates() -> tuple[DelegateMap, ...]:
    statuses = (
        ("MAX_POOL_2D", 6, "More than one subgraph is not supported", False, ""),
        ("QUANTIZE", 1, "Mapped to Edge TPU", True, ""),
        ("CONV_2D", 1, "Mapped to Edge TPU", True, ""),
        (
            "CONV_2D",
            12,
            "More than one subgraph is not supported",
            False,
            "replace the LEAKY_RELU before it",
        ),
        (
            "RESIZE_NEAREST_NEIGHBOR",
            1,
            "Operation version not supported",
            False,
            "export at an older version",
        ),
        ("LEAKY_RELU", 11, "Operation not supported", False, "train with RELU6"),
    )
    layers = tuple(
        DelegatedLayer(
            f"model.{number}/{op.lower()}",
            op,
            status,
            mapped,
            f"model.{number}",
            0 if mapped else None,
            remedy,
        )
        for op, count, status, mapped, remedy in statuses
        for number in range(count)
    )
    title = "harbour-yolo-int8.tflite"
    return (
        DelegateMap(
            title, "Edge TPU", "coral.ai, operators", "16.0", "2026-11-20", layers, 1, 0.021
        ),
        DelegateMap(
            title,
            "XNNPACK",
            "tensorflow, xnnpack README",
            "2.21",
            "2026-11-20",
            tuple(replace(layer, mapped=True, status="delegated", subgraph=0) for layer in layers),
            1,
            1.0,
        ),
    )


def _profiles() -> tuple[ExecutionProfile, ...]:
    def layers(whole: str, share: float, count: int) -> tuple[ExecutedLayer, ...]:
        return tuple(
            ExecutedLayer(
                f"/model.{n}/conv/Conv",
                "Conv",
                whole if n < share * count else "float32",
                0.0178 / count * (1 + (n % 5) / 4),
                f"jit_avx2_{whole}",
                (f"model.{n}.conv",),
            )
            for n in range(count)
        )

    return (
        ExecutionProfile(
            "harbour-yolo-int8.onnx", "onnxruntime", layers("int8", 0.8, 140), 20, 0.0283, 0.81
        ),
        ExecutionProfile(
            "harbour-yolo-int8.xml",
            "openvino",
            layers("int8", 0.95, 60),
            20,
            notes=("Reorders are counted with the node that needs them.",),
        ),
        ExecutionProfile("harbour-yolo.onnx", "onnxruntime", layers("float32", 1, 40), 20),
    )


def _with_front(comparison: Comparison) -> Comparison:
    """Set `pareto` as `compare` does."""
    if comparison.evaluation is None or comparison.benchmark is None:
        return comparison
    points = {}
    for model in comparison.models:
        scored, timed = (
            comparison.evaluation.row(model.title),
            comparison.benchmark.row(model.title),
        )
        if scored and scored.metric and timed and timed.latency:
            points[model.title] = (timed.latency.median, -scored.metric.value)
    front = {
        title
        for title, (t, v) in points.items()
        if not any(a <= t and b <= v and (a, b) != (t, v) for a, b in points.values())
    }
    return replace(
        comparison,
        models=tuple(replace(m, pareto=m.title in front) for m in comparison.models),
    )


ALL = {
    "full": full,
    "many": many,
    "single": single,
    "without-benchmark": without_benchmark,
    "without-evaluation": without_evaluation,
    "broken": broken,
    "nothing-made": nothing_made,
    "hostile": hostile,
}
