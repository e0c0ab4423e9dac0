"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from convkit.cli.terminal import Terminal
from convkit.errors import UsageError

if TYPE_CHECKING:
    from convkit.artifact import ReadOptions
    from convkit.kit import Steering

F = TypeVar("F", bound=Callable[..., Any])


def with_terminal(function: F) -> F:
    """Add --json, -q, -v and --debug, and hand the command a `Terminal` as its first argument."""

    @click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
    @click.option("-q", "--quiet", is_flag=True, help="Errors only.")
    @click.option("-v", "--verbose", is_flag=True, help="More detail.")
    @click.option("--debug", is_flag=True, help="Tracebacks of errors.")
    @wraps(function)
    def wrapper(as_json: bool, quiet: bool, verbose: bool, debug: bool, **rest: Any) -> Any:
        level = -1 if quiet else int(verbose)
        return function(Terminal(as_json=as_json, verbosity=level, debug=debug), **rest)

    return wrapper  # type: ignore[return-value]


def with_reading(function: F) -> F:
    """Add the options that say how a model file is to be read."""
    for option in (
        click.option("--trust", is_flag=True, help="Allow code inside the model file to run."),
        click.option(
            "--factory",
            metavar="PKG.MOD:FUNC",
            default="",
            help="Function that builds the module of a bare state dict.",
        ),
        click.option(
            "--shape",
            "shapes",
            metavar="NAME=1x3x224x224",
            multiple=True,
            help="Shape of an input where the file leaves it open; NAME=1x8:int64 gives a dtype.",
        ),
        click.option(
            "--dynamic",
            metavar="NAME=0,2,3",
            multiple=True,
            help="Axes of an input that stay variable, for files that hold no shapes themselves.",
        ),
    ):
        function = option(function)
    return function


def with_steering(function: F) -> F:
    """Add the options that steer the planner."""
    for option in (
        click.option("--via", multiple=True, metavar="NAME", help="Format, state or tool to pass."),
        click.option(
            "--avoid", multiple=True, metavar="NAME", help="Format, state or tool to avoid."
        ),
        click.option(
            "--converter", "converters", multiple=True, metavar="NAME", help="Converter to use."
        ),
        click.option(
            "--io-layout",
            type=click.Choice(["source", "native"]),
            default="source",
            show_default=True,
            help="Axes of inputs and outputs: as in MODEL, or as a converting tool leaves them.",
        ),
        click.option(
            "-O",
            "--option",
            "options",
            multiple=True,
            metavar="[CONVERTER.]NAME=VALUE",
            help="An option of a converter; `convkit plugins -v` lists them.",
        ),
    ):
        function = option(function)
    return function


def reading(flags: Mapping[str, Any]) -> ReadOptions:
    """The `ReadOptions` of the flags that `with_reading` adds.

    Raises:
        UsageError: a shape or a list of axes that cannot be read.
    """
    from convkit.artifact import ReadOptions

    sizes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, str] = {}
    for text in flags["shapes"]:
        name, _, rest = text.rpartition("=")
        shape, _, dtype = rest.partition(":")
        try:
            sizes[name or "input"] = tuple(int(part) for part in shape.lower().split("x"))
        except ValueError:
            raise UsageError(
                f"--shape {text} is no shape", hint="For example --shape images=1x3x224x224."
            ) from None
        if dtype:
            dtypes[name or "input"] = dtype
    axes: dict[str, tuple[int, ...]] = {}
    for text in flags["dynamic"]:
        name, _, rest = text.rpartition("=")
        try:
            axes[name or "input"] = tuple(sorted({int(part) for part in rest.split(",")}))
        except ValueError:
            raise UsageError(
                f"--dynamic {text} is no list of axes", hint="For example --dynamic images=0,2,3."
            ) from None
    return ReadOptions(
        trust=flags["trust"],
        factory=flags["factory"],
        shapes=sizes,
        dtypes=dtypes,
        dynamic=axes,
    )


def steering(flags: Mapping[str, Any]) -> Steering:
    """The `Steering` of the flags that `with_steering` adds.

    Raises:
        UsageError: an option without a value.
    """
    from convkit.kit import Steering

    pairs = {}
    for text in flags["options"]:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"-O {text} has no value", hint="For example -O opset=13.")
        pairs[name.strip()] = value.strip()
    return Steering(flags["via"], flags["avoid"], flags["converters"], pairs, flags["io_layout"])
