"""The error tree: what went wrong, what to do about it, and the exit code for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line; each error class carries one."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_PATH = 3
    NUMERIC = 4
    UNSAFE = 5
    GATE = 6
    INTERRUPTED = 130


class ConvkitError(Exception):
    """Base of every error that convkit raises on purpose.

    Args:
        message: one sentence that says what happened, without a trailing full stop.
        hint: what the user can do next; an empty string where there is nothing to add.
    """

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = ""
        """What the tool itself said, where an error wraps one."""


class UsageError(ConvkitError):
    """The request itself is wrong: a missing file, an unknown target, contradicting options."""

    exit_code = ExitCode.USAGE


class InputError(UsageError):
    """A file that the user gave cannot be read as what it claims to be."""


class CalibrationError(UsageError):
    """Calibration data is missing, unreadable, or does not fit the model's inputs."""


class PluginError(ConvkitError):
    """A plugin is broken, incompatible, or breaks its contract."""


class NoPathError(ConvkitError):
    """No chain of converters and quantizers leads to the target on this machine."""

    exit_code = ExitCode.NO_PATH


class ConversionError(ConvkitError):
    """A converter or quantizer ran and failed."""


class WorkerError(ConversionError):
    """The worker process crashed, hung past its time limit, or exceeded its memory limit."""


class EnvironmentBuildError(ConvkitError):
    """An isolated environment could not be built."""


class PublishError(ConvkitError):
    """The output cannot be written: no permission, no space, or something is in the way."""


class NumericError(ConvkitError):
    """The result was produced but does not compute what the original model computes."""

    exit_code = ExitCode.NUMERIC


class PrecisionError(NumericError):
    """The result is not of the precision that it was asked to be."""


class UnsafeError(ConvkitError):
    """The input would run code when loaded and `--trust` was not given."""

    exit_code = ExitCode.UNSAFE


class GateError(ConvkitError):
    """A limit that the user set (for example on the loss of a metric) was not met.

    Attributes:
        document: what there is to report all the same, for `--json`.
    """

    exit_code = ExitCode.GATE

    def __init__(
        self, message: str, *, hint: str = "", document: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.document = dict(document or {})


def did_you_mean(word: str, known: Iterable[str], *, likeness: float = 0.5, most: int = 3) -> str:
    """`Did you mean this or that?` for a hint; empty where nothing known is like the word.

    Args:
        likeness: the least that counts, 0 to 1, as `difflib.get_close_matches` measures it.
    """
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=most, cutoff=likeness)
    return f"Did you mean {' or '.join(near)}?" if near else ""
