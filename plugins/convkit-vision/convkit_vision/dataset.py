"""The `dataset.toml` of a labelled data set: a `[transform]`, and one table for its metric."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import InputError
from convkit_vision import settings

if TYPE_CHECKING:
    from convkit_vision.transform import Transform

SETTINGS = "dataset.toml"


def read_settings(data: Path, table: str) -> tuple[Transform, Mapping[str, Any]]:
    """The `[transform]` of `dataset.toml`, and the metric's own table.

    Raises:
        InputError: the file is missing or wrong; names the file and the key.
    """
    from convkit_vision.transform import parse_transform

    file = data / SETTINGS
    if not file.is_file():
        raise InputError(
            f"{data} has no {SETTINGS}",
            hint=f"Write one with [transform], as in calibration.toml, and [{table}].",
        )
    document = settings.attempt(lambda: settings.read_toml(file), str(file), InputError)

    def parse() -> tuple[Transform, Mapping[str, Any]]:
        settings.check_keys(document, ("transform", table))
        if "transform" not in document:
            raise settings.SettingError("there is no [transform]")
        declared = parse_transform(settings.table(document, "transform"), {})
        return declared, settings.table(document, table)

    return settings.attempt(parse, str(file), InputError)
