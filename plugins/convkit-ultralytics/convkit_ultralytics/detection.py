"""Is it a checkpoint of Ultralytics? Runs in the user's process: standard library only."""

from __future__ import annotations

from pathlib import Path

from convkit.plugin import Detection
from convkit_ultralytics import pickles

FORMAT = "ultralytics"
_HOMES = ("ultralytics.nn.", "ultralytics.yolo.")
_SURE = 1.0
_DESCRIPTION_BYTES = 65_536


def looks_like(path: Path, head: bytes) -> Detection | None:
    """A guess from the content; never raises, whatever the bytes are.

    Args:
        head: the first 4096 bytes of the file.
    """
    if head.startswith(pickles.ZIP_MAGIC):
        return Detection(FORMAT, _SURE) if _names_ultralytics(path) else None
    if b"\0" not in head and b"backbone" in head:
        return Detection(FORMAT, _SURE) if _is_description(path) else None
    return None


def _names_ultralytics(path: Path) -> bool:
    pickle = pickles.pickle_in(path)
    if pickle is None or b"ultralytics." not in pickle:  # opcodes are slow to read in Python
        return False
    try:
        return any(name.startswith(_HOMES) for name in pickles.globals_in(pickle))
    except Exception:  # no pickle at all, or one that hides its names: nothing to be sure of
        return False


def _is_description(path: Path) -> bool:
    """Whether a text has the keys that every model description has, at the start of lines."""
    try:
        with path.open("rb") as file:
            lines = file.read(_DESCRIPTION_BYTES).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    keys = {line.partition(":")[0].strip("'\" ") for line in lines if line[:1] not in (" ", "#")}
    return {"nc", "backbone", "head"} <= keys
