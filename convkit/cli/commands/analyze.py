"""`convkit analyze`: which layers must stay in float, found by measurement."""

from __future__ import annotations

from typing import Any

import click

from convkit.cli.calibration import transform_of, with_calibration
from convkit.cli.common import reading, steering, with_terminal
from convkit.cli.given import calibration_beside, given_or_sample
from convkit.cli.making import with_labels, with_making, worker_limits
from convkit.cli.terminal import Terminal
from convkit.errors import ExitCode


@click.command(name="analyze")
@click.argument("model", required=False)
@click.option("--from", "source", metavar="FORMAT", help="Source format; detected from MODEL.")
@click.option(
    "--to",
    "target",
    required=True,
    metavar="FORMAT-PRECISION",
    help="A quantized target, such as onnx-int8, openvino-int8 or tflite-int8.",
)
@with_calibration
@with_labels(
    data="Labelled data that says what is lost.",
    metric="Metric for --data, such as coco-map or top1.",
)
@click.option(
    "--max-drop",
    type=float,
    metavar="X",
    help="What the metric may lose against the float model; 0.005 by default.",
)
@click.option(
    "--min-sqnr",
    type=float,
    metavar="DB",
    help="How well the outputs must agree with the float model's: 20 without --data; with it,"
    " asked for besides --max-drop.",
)
@click.option(
    "--max-time",
    type=float,
    metavar="X",
    help="Time over the float model's, at most. Without --max-drop or --min-sqnr the most accurate"
    " choice within it is looked for, not the cheapest one that is accurate enough.",
)
@click.option(
    "--max-size", type=float, metavar="MB", help="Size of the file, at most; the same holds."
)
@click.option(
    "--budget",
    type=int,
    default=40,
    show_default=True,
    metavar="N",
    help="Quantized models to build, at most.",
)
@click.option("--no-bench", is_flag=True, help="Do not time the best ones.")
@click.option("-o", "--output", metavar="FILE.html", help="Write the report.")
@with_making(threads="For converters and runners; 0 lets them.")
@with_terminal
def command(
    terminal: Terminal, model: str | None, source: str | None, target: str, **flags: Any
) -> None:
    """Find the smallest set of layers of MODEL to keep in float.

    All tensors are ranked in a few passes of the float model; regions are then built in the
    target's own runtime and measured. Without --data and --metric the outputs are held against the
    float model's. Calibration data may also lie in a folder `calibration` beside MODEL. Without
    MODEL the bundled sample is analysed. The exit code is 6 where the goal is missed. An analysis
    that was interrupted goes on where it was.

    \b
    convkit analyze model.pt2 --to onnx-int8 --calibration images/ --data val/ --metric coco-map
    """
    from convkit.analysis.sensitivity.analyze import AnalysisSettings
    from convkit.api.analysis import analyze
    from convkit.cli.analyze_view import show
    from convkit.cli.progress import ProgressView
    from convkit.engine.session import Settings

    given = given_or_sample(terminal, model, flags, "analysing")
    calibration = given.calibration
    if calibration is None and model is not None:
        calibration = calibration_beside(terminal, model)
    size = flags["max_size"]
    with ProgressView(terminal) as view:
        found = analyze(
            given.model,
            to=target,
            source=source,
            name=given.name,
            calibration=calibration,
            calibration_limit=flags["calibration_limit"],
            transform=transform_of(flags),
            synthetic_calibration=flags["synthetic_calibration"],
            data=given.data,
            metric=given.metric,
            limit=flags["limit"],
            analysis=AnalysisSettings(
                max_drop=flags["max_drop"],
                min_sqnr=flags["min_sqnr"],
                max_time=flags["max_time"],
                max_size=None if size is None else int(size * 1e6),
                budget=flags["budget"],
                timing=not flags["no_bench"],
            ),
            report=flags["output"],
            steering=steering(flags),
            settings=Settings(seed=flags["seed"], threads=flags["threads"]),
            limits=worker_limits(flags),
            read=reading(flags),
            overwrite=flags["overwrite"],
            listener=view,
        )
    show(terminal, found)
    if flags["output"]:
        terminal.say(f"wrote {flags['output']}")
    terminal.document(found.to_json())
    if not found.reached:
        raise click.exceptions.Exit(ExitCode.GATE)
