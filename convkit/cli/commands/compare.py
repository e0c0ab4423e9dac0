"""`convkit compare`: every form of a model, made and measured alike, on one page."""

from __future__ import annotations

from typing import Any

import click

from convkit.cli.calibration import transform_of, with_calibration
from convkit.cli.common import reading, steering, with_terminal
from convkit.cli.gating import limits_of, with_gates, write_files
from convkit.cli.given import calibration_beside, given_or_sample
from convkit.cli.making import with_labels, with_making, worker_limits
from convkit.cli.terminal import Terminal
from convkit.errors import ExitCode


@click.command(name="compare")
@click.argument("model", required=False)
@click.argument("files", nargs=-1)
@click.option("--from", "source", metavar="FORMAT", help="Source format; detected from MODEL.")
@click.option(
    "--to",
    "targets",
    multiple=True,
    metavar="FORMAT[-PRECISION]",
    help="Target, several times; all (the default without FILES) is all that can be reached.",
)
@click.option("-o", "--output", metavar="FILE.html", help="Write the report.")
@click.option("--models", metavar="DIR", help="Keep the models that were made, in this folder.")
@click.option("--picture", metavar="FILE.png", help="Draw the models' results side by side.")
@with_calibration
@with_labels(
    data="Labelled data to score all models on.",
    metric="Metric for --data, such as coco-map.",
)
@click.option("--no-bench", is_flag=True, help="Do not measure times.")
@click.option(
    "--seconds", type=float, default=5.0, show_default=True, help="Measuring time per model."
)
@click.option(
    "--streams", default="1", show_default=True, metavar="N,N", help="Parallel streams to measure."
)
@with_gates()
@with_making(threads="Of every model while it is timed.", default=1)
@with_terminal
def command(
    terminal: Terminal,
    model: str | None,
    files: tuple[str, ...],
    source: str | None,
    targets: tuple[str, ...],
    **flags: Any,
) -> None:
    """Convert MODEL to several targets and measure them all: quality, speed, size.

    FILES are further models that were made before. Calibration data may also lie in a folder
    `calibration` beside MODEL, with a calibration.toml in it. Without MODEL the bundled sample is
    compared. What cannot be made or measured is told in its row and the rest is measured all the
    same; the exit code is 1 where it was asked for by name.
    """
    from convkit.analysis.bench import BenchSettings
    from convkit.analysis.gates import require
    from convkit.analysis.rows import to_csv
    from convkit.api.comparing import compare
    from convkit.cli.commands.bench import parse_streams
    from convkit.cli.compare_view import show
    from convkit.cli.progress import ProgressView
    from convkit.engine.session import Settings

    given = given_or_sample(terminal, model, flags, "comparing")
    calibration = given.calibration
    if calibration is None and model is not None and not flags["synthetic_calibration"]:
        calibration = calibration_beside(terminal, model)
    bench = BenchSettings(
        threads=flags["threads"],
        seconds=flags["seconds"],
        streams=parse_streams(flags["streams"]),
        seed=flags["seed"],
    )
    with ProgressView(terminal) as view:
        found = compare(
            given.model,
            to=targets,
            files=files,
            source=source,
            name=given.name,
            output_dir=flags["models"],
            calibration=calibration,
            calibration_limit=flags["calibration_limit"],
            transform=transform_of(flags),
            synthetic_calibration=flags["synthetic_calibration"],
            data=given.data,
            metric=given.metric,
            limit=flags["limit"],
            bench=None if flags["no_bench"] else bench,
            gates=limits_of(flags),
            report=flags["output"],
            picture=flags["picture"],
            steering=steering(flags),
            settings=Settings(seed=flags["seed"]),
            limits=worker_limits(flags),
            read=reading(flags),
            overwrite=flags["overwrite"],
            listener=view,
        )
    show(terminal, found)
    write_files(terminal, flags, lambda: to_csv(found), found.gates, found.models)
    for place in (flags["output"], flags["picture"]):
        if place:
            terminal.say(f"wrote {place}")
    require(found.gates, found.to_json())
    terminal.document(found.to_json())
    asked = set() if "all" in targets else {*targets, *files}
    if any(m.error and (m.state in asked or m.path in asked) for m in found.models):
        raise click.exceptions.Exit(ExitCode.FAILED)
