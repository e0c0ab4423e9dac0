"""A made-up plugin with isolated environments, and wheels small enough to install in a second."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

PLUGIN = """
from convkit.plugin import ConverterBase, IsolatedEnvironment, State, hookimpl


class Edge(ConverterBase):
    def __init__(self, name, isolated):
        self.name = name
        self.source, self.target = State("onnx"), State("tf-saved")
        self.isolated = isolated

    def convert(self, artifact, output, options, context):
        raise NotImplementedError


def environment(name, python, lock):
    return IsolatedEnvironment(name, python, lock, size_mb=3, seconds=1)


@hookimpl
def convkit_converters():
    import platform

    mine = platform.python_version().rpartition(".")[0]
    small = environment("tiny-tool", mine, {lock!r})
    return (
        Edge("tiny.first", small),
        Edge("tiny.second", small),
        Edge("tiny.impossible", environment("old-python", "2.4", "tinytool==1.0")),
    )
"""


def wheel(folder: Path, name: str, version: str, requires: Sequence[str] = ()) -> Path:
    """A wheel with one module."""
    info = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {text}" for text in requires]
    contents = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    contents[f"{info}/RECORD"] = "".join(f"{n},,\n" for n in (*contents, f"{info}/RECORD"))
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for place, text in contents.items():
            archive.writestr(place, text)
    return path


def settings(folder: Path, *wheels: Path) -> dict[str, str]:
    """Variables with which pip and uv find those wheels and nothing else."""
    config = folder / "pip.conf"
    links = "\n  ".join(sorted({str(w.parent) for w in wheels}))
    config.write_text(f"[global]\nfind-links =\n  {links}\n")
    return {
        "PIP_CONFIG_FILE": str(config),
        "PIP_FIND_LINKS": links.split()[0] if links else "",
        "UV_OFFLINE": "1",
        "UV_CACHE_DIR": str(folder / "uv-cache"),
    }


def plugin(folder: Path, lock: str) -> Path:
    """A folder for `PYTHONPATH` in which the plugin counts as installed."""
    site = folder / "site"
    info = site / "tiny_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[convkit.v1]\ntiny = tiny_plugin\n")
    (site / "tiny_plugin.py").write_text(PLUGIN.replace("{lock!r}", repr(lock)))
    return site
