"""What the user gave, or the bundled sample in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.cli.terminal import Terminal
from convkit.errors import UsageError


@dataclass(frozen=True)
class Given:
    """A model and its data; `name` is set where the file's name says nothing."""

    model: Any
    name: str | None
    calibration: Any
    data: Any
    metric: str | None


def given_or_sample(
    terminal: Terminal, model: str | None, flags: Mapping[str, Any], doing: str
) -> Given:
    """What the user gave; without a model the bundled sample, which must not go unnoticed.

    Args:
        doing: what the command does with it, such as `converting`.

    Raises:
        UsageError: no model was given, and there is no sample.
    """
    if model is not None:
        return Given(model, None, flags["calibration"], flags["data"], flags["metric"])
    from convkit.plugin.manager import PluginManager
    from convkit.plugin.registry import Registry

    samples = Registry(PluginManager.discover()).samples
    if not samples:
        raise UsageError(
            "no MODEL was given, and no plugin with a bundled sample is installed",
            hint="Give a model file, or install plugins/convkit-samples.",
        )
    sample = next(iter(samples.values()))
    rule = "*" * 78
    terminal.say(rule)
    terminal.say(f"* No MODEL was given: {doing} the BUNDLED SAMPLE {sample.name}")
    terminal.say(f"* {sample.title}")
    terminal.say("* Its own calibration and validation data are used. Give a MODEL for yours.")
    terminal.say(rule)
    folder: Path = sample.folder
    return Given(
        folder / sample.model,
        sample.name,
        flags["calibration"] or (folder / sample.calibration if sample.calibration else None),
        flags["data"] or (folder / sample.validation if sample.validation else None),
        flags["metric"] or sample.metric or None,
    )
