"""Labels in array files: the key `y` of an `.npz`, or `y.npy` beside `x.npy`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convkit.errors import InputError

KEYS = ("y", "label", "labels", "target", "targets")


def holds_arrays(data: Path) -> bool:
    """Whether the data set is an array file, or a folder with `x.npy` and `y.npy`."""
    if data.is_dir():
        return all((data / name).is_file() for name in ("x.npy", "y.npy"))
    return data.suffix.lower() in (".npz", ".npy")


def labels_of(data: Path, limit: int | None) -> Any:
    """The labels of the first `limit` samples; nothing is unpickled.

    Raises:
        InputError: unreadable, or without labels.
    """
    import numpy as np

    file = data / "y.npy" if data.is_dir() else data
    hint = f"Save the labels under one of {', '.join(KEYS)}, or as y.npy beside x.npy."
    try:
        content = np.load(file, allow_pickle=False)
        if not hasattr(content, "files"):
            if file.name != "y.npy":
                raise InputError(f"{file} holds no labels", hint=hint)
            labels = content
        else:
            with content:
                key = next((k for k in KEYS if k in content.files), None)
                if key is None:
                    raise InputError(
                        f"{file} holds no labels, only {', '.join(content.files)}", hint=hint
                    )
                labels = content[key]
    except InputError:
        raise
    except Exception as exc:  # a damaged file makes numpy raise almost anything
        raise InputError(f"{file} cannot be read: {exc}") from exc
    if not labels.ndim or not len(labels):
        raise InputError(f"{file} holds no labels: their shape is {labels.shape}", hint=hint)
    return labels[:limit]
