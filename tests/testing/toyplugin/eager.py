"""A plugin that loads a framework when it is imported."""

from __future__ import annotations

import numpy as np

from convkit.plugin import Format, hookimpl

KIND = np.dtype("float32").name


@hookimpl
def convkit_formats() -> tuple[Format, ...]:
    return (Format("eager", KIND, (".eager",)),)
