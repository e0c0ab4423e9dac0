"""Options of commands that make models: the labelled data that judges them, and how they work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from convkit.cli.common import with_reading, with_steering

if TYPE_CHECKING:
    from convkit.engine.worker import Limits

F = TypeVar("F", bound=Callable[..., Any])


def with_labels(data: str, metric: str, *, limit: bool = True) -> Callable[[F], F]:
    """Add --data, --metric and, where wanted, --limit.

    Args:
        data, metric: what they are for.
    """

    def add(function: F) -> F:
        if limit:
            function = click.option(
                "--limit", type=int, metavar="N", help="Use the first N samples of --data."
            )(function)
        function = click.option("--metric", metavar="NAME", help=metric)(function)
        return click.option("--data", metavar="DIR", help=data)(function)

    return add


def with_making(threads: str, default: int = 0) -> Callable[[F], F]:
    """Add --overwrite, --seed, --threads, limits on workers, and what steers the planner and says
    how the model is to be read.

    Args:
        threads: what --threads is for; `default` of 0, the choice of the tools, is not shown.
    """

    def add(function: F) -> F:
        function = with_steering(with_reading(function))
        for option in (
            click.option(
                "--memory-limit", type=int, metavar="MB", help="Resident memory per worker."
            ),
            click.option(
                "--timeout", type=float, default=3600.0, show_default=True, help="Seconds per hop."
            ),
            click.option(
                "--threads", type=int, default=default, show_default=default > 0, help=threads
            ),
            click.option("--seed", type=int, default=0, show_default=True),
            click.option(
                "--overwrite", is_flag=True, help="Replace files that convkit did not write."
            ),
        ):
            function = option(function)
        return function

    return add


def worker_limits(flags: Mapping[str, Any]) -> Limits:
    """The `Limits` of the flags."""
    from convkit.engine.worker import Limits

    return Limits(flags["timeout"], flags["memory_limit"])
