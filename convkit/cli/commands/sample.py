"""`convkit sample`: lay out a bundled example."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

import click

from convkit.cli.common import with_terminal
from convkit.cli.terminal import Terminal
from convkit.errors import PublishError, UsageError


@click.command(name="sample")
@click.argument("name", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder to make.")
@with_terminal
def command(terminal: Terminal, name: str | None, output: Path | None) -> None:
    """Lay the bundled sample NAME into ./NAME/ (without NAME: list the samples)."""
    from convkit.engine.digest import digest_path
    from convkit.plugin.manager import PluginManager
    from convkit.plugin.registry import Registry

    samples = Registry(PluginManager.discover()).samples
    if name is None:
        terminal.table(("sample", "what"), [(s.name, s.title) for s in samples.values()])
        terminal.document(
            {"samples": [{"name": s.name, "title": s.title} for s in samples.values()]}
        )
        return
    if name not in samples:
        raise UsageError(
            f"there is no sample called {name!r}",
            hint=f"Samples: {', '.join(samples) or 'none; install convkit-samples'}.",
        )
    sample = samples[name]
    folder = output or Path(name)
    if folder.exists():
        if not folder.is_dir() or digest_path(folder) != digest_path(sample.folder):
            raise UsageError(
                f"{folder} exists and is not an unchanged copy of the sample",
                hint="Choose another folder with -o, or move it away.",
            )
        terminal.say(f"{folder} is there already")
    else:
        _copy(sample.folder, folder)
        terminal.say(f"{sample.title} is in {folder}/")
    model = folder / sample.model
    terminal.say(
        f"Try: convkit convert {model} --to tflite-int8 --calibration {folder / sample.calibration}"
    )
    terminal.document({"name": name, "folder": str(folder), "model": str(model)})


def _copy(source: Path, folder: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, temporary)
        os.replace(temporary, folder)
    except OSError as error:
        raise PublishError(
            f"{folder} cannot be written: {error.strerror}", hint="Choose another folder with -o."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
