"""Options of limits that a build must keep, and of the files that CI systems read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from convkit.cli.terminal import Terminal
from convkit.errors import PublishError

if TYPE_CHECKING:
    from convkit.analysis.gates import Gates
    from convkit.analysis.junit import Measured
    from convkit.comparison import Gate

F = TypeVar("F", bound=Callable[..., Any])

_ON_METRIC = (
    click.option(
        "--fail-drop",
        type=float,
        metavar="X",
        help="Exit with 6 if a model's metric is more than X below the reference's.",
    ),
    click.option(
        "--fail-under",
        multiple=True,
        metavar="NAME=X",
        help="Exit with 6 if the metric (metric=0.5) or one of its details is below X.",
    ),
)
_ON_SPEED = (
    click.option(
        "--fail-slower-than",
        type=float,
        metavar="X",
        help="Exit with 6 if a model surely takes more than X times the baseline's time.",
    ),
)
_FILES = (
    click.option("--junit", metavar="FILE", help="Write limits and failures as JUnit XML."),
    click.option("--csv", "csv_file", metavar="FILE", help="Write the table as CSV."),
)


def with_gates(*, metric: bool = True, speed: bool = True) -> Callable[[F], F]:
    """Add the options of limits on a metric, on speed, and of the files."""

    def add(function: F) -> F:
        chosen = (*_FILES, *(_ON_SPEED if speed else ()), *(_ON_METRIC if metric else ()))
        for option in chosen:
            function = option(function)
        return function

    return add


def limits_of(flags: Mapping[str, Any]) -> Gates:
    """The limits of the flags.

    Raises:
        UsageError: one that cannot be read.
    """
    from convkit.analysis.gates import Gates, parse_under

    return Gates(
        under=parse_under(flags.get("fail_under", ())),
        drop=flags.get("fail_drop"),
        slower_than=flags.get("fail_slower_than"),
    )


def write_files(
    terminal: Terminal,
    flags: Mapping[str, Any],
    table: Callable[[], str],
    gates: Sequence[Gate],
    models: Sequence[Measured],
) -> None:
    """Write the files that were asked for.

    Args:
        table: makes the CSV.

    Raises:
        PublishError: one cannot be written.
    """
    from convkit.analysis.junit import junit

    if flags["csv_file"]:
        _write(terminal, flags["csv_file"], table())
    if flags["junit"]:
        _write(terminal, flags["junit"], junit(gates, models))


def _write(terminal: Terminal, place: str, text: str) -> None:
    path = Path(place)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise PublishError(
            f"{path} cannot be written: {error.strerror}", hint="Choose another place."
        ) from error
    terminal.say(f"wrote {path}")
