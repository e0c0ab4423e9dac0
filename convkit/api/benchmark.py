"""`bench`: several models timed against each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convkit.analysis.bench import BenchSettings, bench_found
from convkit.analysis.titles import titles_of
from convkit.artifact import ReadOptions
from convkit.benchmark import Benchmark, BenchmarkRow
from convkit.engine.calibrate import CalibrationRequest, collect
from convkit.engine.matching import matched
from convkit.engine.session import Found, Samples, Session, Settings
from convkit.engine.sources import load
from convkit.engine.worker import Limits
from convkit.errors import ConvkitError, UsageError
from convkit.events import Listener, silent
from convkit.kit import DEFAULT_TIMEOUT, Kit

MOST_SAMPLES = 16
"""Of the user's inputs: rounds go through them again and again."""


def bench(
    models: Sequence[str | Path] | str | Path,
    *,
    threads: int = 1,
    seconds: float = 5.0,
    rounds: int | None = None,
    streams: Sequence[int] = (1,),
    baseline: str = "",
    inputs: Any = None,
    transform: Mapping[str, Any] | None = None,
    margin: float = 0.03,
    confidence: float = 0.95,
    seed: int = 0,
    read: ReadOptions = ReadOptions(),
    limits: Limits = Limits(DEFAULT_TIMEOUT),
    listener: Listener = silent,
    plugins: Sequence[str] = (),
) -> Benchmark:
    """Time models of any format against each other, in one run and in turns.

    A model that cannot be read, opened or run has its error in its row; the others are measured
    all the same.

    Args:
        models: paths.
        threads: of every model, pinned to the same cores; 0 for as many as there are cores.
        seconds: measuring time per model at most; the run ends earlier where all is told.
        rounds: how many turns each model has at most.
        streams: numbers of parallel streams whose throughput is measured; a stream is a process
            of its own with its own copy of the model.
        baseline: title of the model that the others are compared with: its file's name. The first
            that can be measured where empty.
        inputs: samples as `convert` takes for calibration; random numbers of a fixed seed where
            None.
        transform: image settings that win over `calibration.toml`.
        margin: differences below it count as none.
        read: how files are to be read; shapes that a file does not know are left out for it.

    Raises:
        UsageError: no models, a file that does not exist, or a setting that makes no sense.
    """
    paths = [Path(models)] if isinstance(models, str | Path) else [Path(m) for m in models]
    if not paths:
        raise UsageError("there is no model to measure", hint="Give one model file or several.")
    for path in paths:
        if not path.exists():
            raise UsageError(f"there is no file {path}", hint="Give paths of model files.")
    titles = _titles(paths)
    settings = BenchSettings(
        threads=threads,
        seconds=seconds,
        rounds=BenchSettings.rounds if rounds is None else rounds,
        streams=tuple(streams),
        margin=margin,
        confidence=confidence,
        seed=seed,
        baseline=baseline,
    )
    settings.check()
    kit = Kit(plugins)
    with kit.session(listener, Settings(seed=seed, threads=threads), limits) as session:
        found, failed = _load(kit, session, titles, paths, read)
        if not found:
            raise next(iter(failed.values()))
        if baseline in failed:
            raise failed[baseline]
        reference = next(iter(found.values()))
        models_found = [(title, _alike(reference, model)) for title, model in found.items()]
        samples = _samples(session, inputs, transform, reference)
        result = bench_found(session, models_found, settings, samples)
    rows = {row.title: row for row in result.rows}
    for title, path in zip(titles, paths, strict=True):
        if title in failed:
            error = failed[title]
            rows[title] = BenchmarkRow(
                title=title, state="", path=str(path), size_bytes=0,
                error=error.message, hint=error.hint,
            )  # fmt: skip
    return dataclasses.replace(result, rows=tuple(rows[title] for title in titles))


def _titles(paths: Sequence[Path]) -> list[str]:
    """One file may be given twice: what is measured against itself shows the noise."""
    distinct = list(dict.fromkeys(paths))
    names = dict(zip(distinct, titles_of(distinct), strict=True))
    seen: dict[Path, int] = {}
    titles = []
    for path in paths:
        seen[path] = seen.get(path, 0) + 1
        titles.append(names[path] + (f" #{seen[path]}" if seen[path] > 1 else ""))
    return titles


def _load(
    kit: Kit, session: Session, titles: Sequence[str], paths: Sequence[Path], read: ReadOptions
) -> tuple[dict[str, Found], dict[str, ConvkitError]]:
    """What could be read, and why the rest could not."""
    found: dict[str, Found] = {}
    failed: dict[str, ConvkitError] = {}
    unused: list[ConvkitError] = []
    for title, path in zip(titles, paths, strict=True):
        try:
            form = kit.format_of(path, None)
            try:
                found[title] = load(session, path, form, read)
            except UsageError as error:
                if type(error) is not UsageError or not (read.shapes or read.dynamic):
                    raise
                # the shapes are for other files, whose inputs have those names
                unused.append(error)
                plain = dataclasses.replace(read, shapes={}, dtypes={}, dynamic={})
                found[title] = load(session, path, form, plain)
        except ConvkitError as error:
            failed[title] = error
    if unused and len(unused) == len(found):
        raise unused[0]
    return found, failed


def _alike(reference: Found, model: Found) -> Found:
    """The model with its inputs in the reference's order, where there is such an order."""
    try:
        return Found(matched(reference.artifact, model.artifact), model.inspection)
    except UsageError:
        return model


def _samples(
    session: Session, inputs: Any, transform: Mapping[str, Any] | None, reference: Found
) -> Samples | None:
    if inputs is None:
        return None
    quiet = dataclasses.replace(session, listener=silent)  # few are enough here
    request = CalibrationRequest(data=inputs, transform=dict(transform or {}), limit=MOST_SAMPLES)
    data = collect(quiet, request, reference.artifact)
    return None if data is None else Samples.of(data, MOST_SAMPLES)
