"""The toy plugin's hooks."""

from __future__ import annotations

from pathlib import Path

from convkit.plugin import Converter, Detection, Format, Inspector, Runner, hookimpl
from tests.testing.toyplugin import converters
from tests.testing.toyplugin.reading import ToyInspector, ToyRunner

FORMATS = ("toy", "brick", "toy-crate")


@hookimpl
def convkit_formats() -> tuple[Format, ...]:
    every = ("fp32", "fp16", "int8-dynamic", "int8")
    return (
        Format("toy", "Toy", (".toy",)),
        Format("brick", "Brick", (".brick",), precisions=every),
        Format("toy-crate", "Crate of toys", directory_suffix="-crate"),
    )


@hookimpl
def convkit_converters() -> tuple[Converter, ...]:
    return (
        converters.Brick(),
        converters.Simplify(),
        converters.Crate(),
        converters.Half(),
        converters.Dynamic(),
        converters.Static(),
        converters.Direct(),
    )


@hookimpl
def convkit_runners() -> tuple[Runner, ...]:
    return tuple(ToyRunner(f"{name}.run", name) for name in FORMATS)


@hookimpl
def convkit_inspectors() -> tuple[Inspector, ...]:
    return tuple(ToyInspector(f"{name}.inspect", name) for name in FORMATS)


@hookimpl
def convkit_detect_format(path: Path, head: bytes) -> Detection | None:
    """Every toy file says near its end what it is, so the whole (small) file is looked at."""
    if path.is_dir():
        return Detection("toy-crate", 0.9) if (path / "model.json").is_file() else None
    if not head.startswith(b"{"):
        return None
    text = path.read_bytes()
    for name in ("toy", "brick"):
        if f'"format": "{name}"'.encode() in text:
            return Detection(name, 1.0)
    return None
