"""`compare`: one model in every form it can take, made, scored, timed and reported alike."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convkit.analysis.bench import BenchSettings
from convkit.analysis.gates import Gates
from convkit.api.board import Board
from convkit.api.run import Run, calibration_request, source_path, target_states
from convkit.artifact import ReadOptions, State
from convkit.comparison import Comparison
from convkit.engine.evaluate import check_metric
from convkit.engine.session import Settings
from convkit.engine.sources import load
from convkit.engine.worker import Limits
from convkit.errors import UsageError
from convkit.events import Listener, silent
from convkit.kit import DEFAULT_TIMEOUT, Kit, Steering

ALL = "all"
"""Stands for every state that the model can reach."""

BENCH_SAMPLES = 16


def compare(
    model: Any,
    *,
    to: str | Sequence[str] = (),
    files: Sequence[str | Path] = (),
    source: str | None = None,
    name: str | None = None,
    output_dir: str | Path | None = None,
    calibration: Any = None,
    calibration_limit: int | None = None,
    transform: Mapping[str, Any] | None = None,
    transform_fn: Any = None,
    synthetic_calibration: bool = False,
    example_inputs: Sequence[Any] | None = None,
    data: str | Path | None = None,
    metric: str | None = None,
    limit: int | None = None,
    bench: BenchSettings | None = BenchSettings(),
    gates: Gates = Gates(),
    report: str | Path | None = None,
    picture: str | Path | None = None,
    steering: Steering = Steering(),
    settings: Settings = Settings(),
    limits: Limits = Limits(DEFAULT_TIMEOUT),
    read: ReadOptions = ReadOptions(),
    overwrite: bool = False,
    listener: Listener = silent,
    plugins: Sequence[str] = (),
) -> Comparison:
    """Convert a model to several targets and measure them all, the original among them.

    A target that cannot be made, and a model that cannot be scored or timed, has its error in its
    row; the others are measured all the same.

    Args:
        model: a path, or a live model with `example_inputs`; see `convert`.
        to: target states; `all`, which is also meant where there are no `files` either, stands for
            every one that can be reached.
        files: models that were made before; they take the original's inputs.
        output_dir, name: where the models that were made are published; nowhere by default.
        calibration, calibration_limit, transform, transform_fn, synthetic_calibration: see
            `convert`. Targets that need calibration data have an error in their row without it.
        data, metric, limit: a labelled data set, the metric on it, and how much of it is used.
        bench: how times are measured; None leaves them out.
        gates: limits; whether they were met stands in `Comparison.gates`.
        report: an HTML page to write.
        picture: a PNG to draw the models' results in, side by side, for metrics that can.

    Raises:
        UsageError: what concerns all models alike.
        ConvkitError: the original cannot be read, or nothing at all could be made.
    """
    start = time.perf_counter()
    if (data is None) != (metric is None):
        raise UsageError(
            "--data and --metric go together",
            hint="A metric such as coco-map needs labelled data, and data a metric to score.",
        )
    if gates.on_metric and metric is None:
        raise UsageError("a limit on a metric needs --data and --metric")
    if gates.slower_than is not None and bench is None:
        raise UsageError("a limit on speed needs the benchmark")
    if report is not None:
        from convkit.report import check_place
        from convkit.report.page import require_libraries

        require_libraries()
        check_place(Path(report), overwrite)
    if bench is not None:
        bench.check()
    kit = Kit(plugins)
    wanted = [to] if isinstance(to, str) else list(to)
    everything = ALL in wanted or not (wanted or files)
    states = () if everything or not wanted else target_states(kit, wanted)
    wishes = kit.wishes(steering, read)
    request = calibration_request(
        calibration, transform_fn, transform, calibration_limit, synthetic_calibration
    )
    with kit.session(listener, settings, limits) as session, session.store.scratch() as scratch:
        if metric is not None:
            check_metric(session, metric)
        path = source_path(session, model, example_inputs, read, scratch)
        format_id = kit.format_of(path, source)
        run = Run(kit, session, load(session, path, format_id, read), wishes)
        if everything:
            states = _reachable(run)
        board = Board(session, run.source, path, name or path.stem)
        board.make(
            run, states, request, None if output_dir is None else Path(output_dir), overwrite
        )
        board.add(kit, [Path(file) for file in files], read)
        drawn = Path(picture) if picture is not None else scratch / "picture.png"
        if data is not None and metric is not None:
            board.evaluate(metric, Path(data), limit, drawn)
        if bench is not None:
            board.bench(bench, run.samples(BENCH_SAMPLES))
        board.look_inside()
        comparison = board.result(gates, run, time.perf_counter() - start)
        if report is not None:
            from convkit.report import write_report

            shown = drawn if drawn.is_file() else None
            write_report(comparison, Path(report), shown)
    return comparison


def _reachable(run: Run) -> tuple[State, ...]:
    """All states that the planner sees a path to, the original's own left out."""
    formats = run.session.registry.formats.values()
    states = [State(form.id, precision) for form in formats for precision in form.precisions]
    return tuple(s for s in states if s != run.source.state and run.plan(s).paths)
