"""Import ultralytics so that it stays offline, installs nothing and leaves no settings behind."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from convkit.errors import ConversionError

_QUIET = {"YOLO_OFFLINE": "True", "YOLO_AUTOINSTALL": "False", "YOLO_VERBOSE": "False"}


def tasks() -> Any:
    """The module `ultralytics.nn.tasks`, where the model classes live.

    Raises:
        ConversionError: it cannot be imported here.
    """
    if "ultralytics.nn.tasks" not in sys.modules:
        with _private():
            _import()
    return sys.modules["ultralytics.nn.tasks"]


def version() -> str:
    """The installed version of ultralytics."""
    from importlib.metadata import version as version_of

    return version_of("ultralytics")


@contextlib.contextmanager
def _private() -> Iterator[None]:
    """An environment to import in, put back afterwards.

    ultralytics looks at these variables once, at import; then it writes a settings file, sets
    variables of other libraries (the number of OpenMP threads among them) and replaces torch.save.
    """
    import torch

    before, save = dict(os.environ), torch.save
    with tempfile.TemporaryDirectory(prefix="convkit-ultralytics-") as folder:
        os.environ.update(_QUIET, YOLO_CONFIG_DIR=folder)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
            torch.save = save


def _import() -> None:
    try:
        import ultralytics.nn.tasks  # noqa: F401
    except Exception as exc:  # torchvision without its operators raises RuntimeError
        raise ConversionError(
            f"ultralytics cannot be imported: {first_line(exc)}",
            hint="Try `python -c 'import torchvision'`: torch and torchvision must be of versions "
            "and builds that belong together.",
        ) from exc


def first_line(exc: BaseException) -> str:
    """The first non-empty line of an exception's text, shortened."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return (lines[0] if lines else type(exc).__name__)[:300]
