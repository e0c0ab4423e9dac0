"""Which operators of a model file accelerators would take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convkit.artifact import ReadOptions
from convkit.delegates import DelegateMap
from convkit.events import Listener, silent
from convkit.kit import Kit


def delegates(
    model: str | Path,
    names: Sequence[str] = (),
    *,
    source: str | None = None,
    read: ReadOptions = ReadOptions(),
    listener: Listener = silent,
    plugins: Sequence[str] = (),
) -> tuple[DelegateMap, ...]:
    """Hold a model against the published rules of accelerators; nothing is run or compiled.

    Args:
        names: delegates, such as `edgetpu`; all that have rules for the format where there are
            none.

    Raises:
        UsageError: a format without rules, or an unknown delegate.
        InputError: the file is damaged.
    """
    from convkit.analysis.delegates import delegate_maps
    from convkit.engine.sources import load

    kit, path = Kit(plugins), Path(model)
    format_id = kit.format_of(path, source)
    with kit.session(listener) as session:
        found = load(session, path, format_id, read)
        return delegate_maps(session, path.name, found, names)
