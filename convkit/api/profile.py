"""Which kernels a runtime really runs for a model file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convkit.artifact import ReadOptions
from convkit.delegates import ExecutionProfile
from convkit.events import Listener, silent
from convkit.kit import DEFAULT_TIMEOUT, Kit


def profile(
    model: str | Path,
    runs: int | None = None,
    *,
    source: str | None = None,
    threads: int = 0,
    timeout: float = DEFAULT_TIMEOUT,
    read: ReadOptions = ReadOptions(),
    listener: Listener = silent,
    plugins: Sequence[str] = (),
) -> ExecutionProfile:
    """Run a model on random inputs and say which kernels ran, in which arithmetic and how long.

    Args:
        runs: inferences that times are averaged over.

    Raises:
        UsageError: no installed runtime shows what it runs of such files.
        ConversionError: the runtime cannot load or run the model.
    """
    from convkit.analysis.profile import RUNS, profile_found
    from convkit.engine.session import Settings
    from convkit.engine.sources import load
    from convkit.engine.worker import Limits

    kit, path = Kit(plugins), Path(model)
    format_id = kit.format_of(path, source)
    with kit.session(listener, Settings(threads=threads), Limits(timeout)) as session:
        found = load(session, path, format_id, read)
        with session.stage(f"profiling {path.name}") as stage:
            return profile_found(session, path.name, found, runs or RUNS, stage)
