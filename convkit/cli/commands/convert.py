"""`convkit convert`: the main job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from convkit.cli.calibration import transform_of, with_calibration
from convkit.cli.common import reading, steering, with_terminal
from convkit.cli.given import given_or_sample
from convkit.cli.making import with_labels, with_making, worker_limits
from convkit.cli.terminal import Terminal
from convkit.errors import GateError, UsageError
from convkit.evaluation import difference

if TYPE_CHECKING:
    from convkit.results import ConversionResult


@click.command(name="convert")
@click.argument("model", required=False)
@click.option("--from", "source", metavar="FORMAT", help="Source format; detected from MODEL.")
@click.option(
    "--to",
    "targets",
    multiple=True,
    required=True,
    metavar="FORMAT[-PRECISION]",
    help="Target; may be given several times.",
)
@click.option("-o", "--output", default=".", metavar="DIR", help="Folder for the outputs.")
@with_calibration
@with_labels(
    data="Labelled data to score the original and results on.",
    metric="Metric for --data, such as coco-map.",
    limit=False,
)
@click.option(
    "--fail-drop",
    type=float,
    metavar="X",
    help="Exit with 6 if the metric of an output is more than X below the original's.",
)
@click.option(
    "--keep-float",
    type=click.Choice(["auto", "none"]),
    default="auto",
    show_default=True,
    help="auto: measure what must stay in float; none: everything in integers.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Layers that stay in float, by name or by torch module (globs; re: for a regular "
    "expression); `auto` adds what convkit finds by measuring.",
)
@click.option(
    "--exclude-op",
    "exclude_ops",
    multiple=True,
    metavar="TYPE",
    help="Types of operators that stay in float, such as Softmax.",
)
@click.option(
    "--max-drop",
    type=float,
    metavar="X",
    help="With --exclude auto: find by `convkit analyze` what must stay in float so that the metric"
    " loses X at most (without --data: so that outputs agree to 20 dB).",
)
@click.option(
    "--max-time",
    type=float,
    metavar="X",
    help="With --exclude auto: time over the float model's, at most. Without --max-drop, what makes"
    " the result most accurate within it is looked for.",
)
@click.option(
    "--budget",
    type=int,
    default=40,
    show_default=True,
    metavar="N",
    help="With --max-drop or --max-time: quantized models to build, at most.",
)
@click.option("--no-verify", is_flag=True, help="Do not compare hops with the original.")
@click.option("--no-reroute", is_flag=True, help="Stop at the first hop that fails.")
@with_making(threads="Threads of tools and runtimes; 0: theirs.")
@with_terminal
def command(
    terminal: Terminal,
    model: str | None,
    source: str | None,
    targets: tuple[str, ...],
    **flags: Any,
) -> None:
    """Convert MODEL to one or several targets, verified after every hop.

    Without MODEL the bundled sample is converted.
    """
    from convkit.api.conversion import convert
    from convkit.cli.progress import ProgressView
    from convkit.cli.summary import show
    from convkit.engine.session import Settings

    given = given_or_sample(terminal, model, flags, "converting")
    if flags["fail_drop"] is not None and given.data is None:
        raise UsageError(
            "--fail-drop needs --data and --metric",
            hint="The gate is on a metric: for example --data validation --metric coco-map.",
        )
    analysis = None
    if flags["max_drop"] is not None or flags["max_time"] is not None:
        from convkit.analysis.sensitivity.analyze import AnalysisSettings

        analysis = AnalysisSettings(
            max_drop=flags["max_drop"],
            max_time=flags["max_time"],
            budget=flags["budget"],
            # where the time is all that is asked for, the search takes it itself
            timing=flags["max_drop"] is not None and flags["max_time"] is not None,
            ranking=False,
        )
    with ProgressView(terminal) as view:
        result = convert(
            given.model,
            to=targets,
            source=source,
            name=given.name,
            output_dir=flags["output"],
            calibration=given.calibration,
            calibration_limit=flags["calibration_limit"],
            transform=transform_of(flags),
            synthetic_calibration=flags["synthetic_calibration"],
            data=given.data,
            metric=given.metric,
            analysis=analysis,
            steering=steering(flags),
            settings=Settings(
                verify=not flags["no_verify"],
                reroute=not flags["no_reroute"],
                keep_float=flags["keep_float"],
                exclude=flags["exclude"],
                exclude_ops=flags["exclude_ops"],
                seed=flags["seed"],
                threads=flags["threads"],
            ),
            limits=worker_limits(flags),
            read=reading(flags),
            overwrite=flags["overwrite"],
            listener=view,
        )
    show(terminal, result)
    if flags["fail_drop"] is not None:
        _gate(result, flags["fail_drop"])
    terminal.document(result.to_json())


def _gate(result: ConversionResult, limit: float) -> None:
    """The outputs are written; whether they may ship is for the exit code to say.

    Raises:
        GateError: an output lost more than `limit` of the metric.
    """
    board = result.scoreboard
    assert board is not None
    original = next(iter(board.rows.values())).value
    for output in result.outputs:
        row = board.rows.get(str(output.state))
        if row is not None and difference(original, row.value) > limit:
            raise GateError(
                f"{output.path} loses {original - row.value:.4f} of {board.metric}; "
                f"at most {limit:g} was allowed",
                hint="The file was written all the same. More calibration data may help.",
                document=result.to_json(),
            )
