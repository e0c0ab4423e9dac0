"""The command group, and the one place that turns exceptions into messages and exit codes."""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from typing import Any

import click

from convkit import __version__
from convkit.cli.groups import Group
from convkit.cli.terminal import Terminal
from convkit.errors import ConvkitError, ExitCode

COMMANDS = (
    "convert",
    "quantize",
    "analyze",
    "plan",
    "evaluate",
    "bench",
    "compare",
    "report",
    "view",
    "sample",
    "inspect",
    "delegates",
    "profile",
    "formats",
    "plugins",
    "env",
    "doctor",
    "completion",
)

EPILOG = """\b
Exit codes: 0 done, 1 conversion failed, 2 usage, 3 nothing can make the path,
4 the result is numerically wrong, 5 refused as unsafe, 6 a gate failed,
130 interrupted. Human output goes to stderr; stdout belongs to --json.
"""


class LazyGroup(Group):
    """Imports a command's module when it is named (all of them are cheap, for --help)."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Names in the order in which a user meets them."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of a name."""
        if name not in COMMANDS:
            return None
        command = import_module(f"convkit.cli.commands.{name}").command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="convkit")
def group() -> None:
    """Carry a trained model to the format it ships in, and prove every hop.

    \b
    convkit convert model.pt2 --to tflite-int8 --calibration images/
    """


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; every outcome is an exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    argv = sys.argv[1:] if arguments is None else arguments
    terminal = Terminal(as_json="--json" in argv, debug="--debug" in argv)
    try:
        code = group.main(args=argv, prog_name="convkit", standalone_mode=False, obj=None)
        return code if isinstance(code, int) else ExitCode.DONE  # click returns that of an Exit
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        terminal.error(error.format_message(), _usage_hint(error), ExitCode.USAGE)
        return ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        terminal.error("interrupted; nothing half-written was left", "", ExitCode.INTERRUPTED)
        return ExitCode.INTERRUPTED
    except ConvkitError as error:
        terminal.failure(error)
        return error.exit_code
    except BrokenPipeError:
        return ExitCode.DONE
    except Exception as error:  # a fault of convkit itself: short, with the way to the traceback
        if terminal.debug:
            terminal.traceback(error)
        terminal.error(
            f"internal error: {type(error).__name__}: {error}",
            "This is a fault of convkit or of a plugin; --debug shows the traceback.",
            ExitCode.FAILED,
        )
        return ExitCode.FAILED


def _usage_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "convkit"
    return f"`{command} --help` shows the usage."


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
