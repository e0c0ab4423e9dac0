"""The hooks that a plugin may implement. All are optional; all return cheap data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pluggy import HookspecMarker

from convkit.plugin.marker import PROJECT

if TYPE_CHECKING:
    from convkit.artifact import Detection, Format
    from convkit.plans import Step
    from convkit.plugin.data import CalibrationSource, Metric, Sample
    from convkit.plugin.edges import Converter
    from convkit.plugin.ranking import ExclusionRule, Ranker
    from convkit.plugin.reading import Inspector
    from convkit.plugin.runtimes import Runner

hookspec = HookspecMarker(PROJECT)


@hookspec
def convkit_formats() -> Iterable[Format]:  # type: ignore[empty-body]
    """Formats that the plugin adds to the graph."""


@hookspec
def convkit_converters() -> Iterable[Converter]:  # type: ignore[empty-body]
    """Edges: converters, quantizers and preparations. Built anew in every worker."""


@hookspec
def convkit_runners() -> Iterable[Runner]:  # type: ignore[empty-body]
    """Runtimes that execute artifacts."""


@hookspec
def convkit_inspectors() -> Iterable[Inspector]:  # type: ignore[empty-body]
    """Readers that say what an artifact really is."""


@hookspec
def convkit_detect_format(path: Path, head: bytes) -> Detection | None:
    """Guess the format from the path and its first 4096 bytes (empty for a directory).

    Runs in the user's process: standard library only, quick, and safe on hostile files.
    """


@hookspec
def convkit_calibration_sources() -> Iterable[CalibrationSource]:  # type: ignore[empty-body]
    """Readers of calibration data."""


@hookspec
def convkit_metrics() -> Iterable[Metric]:  # type: ignore[empty-body]
    """Task metrics, such as COCO mAP."""


@hookspec
def convkit_exclusion_rules() -> Iterable[ExclusionRule]:  # type: ignore[empty-body]
    """Structures that the analyzer looks at first."""


@hookspec
def convkit_rankers() -> Iterable[Ranker]:  # type: ignore[empty-body]
    """What tells the analyzer how much each tensor suffers from quantization."""


@hookspec
def convkit_delegate_rules() -> Iterable[Path]:  # type: ignore[empty-body]
    """TOML files that say which operators an accelerator takes; `convkit.plugin.delegate_rules`
    describes them. The files are read where they are asked for, so naming them costs nothing."""


@hookspec
def convkit_samples() -> Iterable[Sample]:  # type: ignore[empty-body]
    """Examples for `convkit sample`."""


@hookspec
def convkit_step_started(step: Step) -> None:
    """A hop begins."""


@hookspec
def convkit_step_finished(step: Step, seconds: float, ok: bool) -> None:
    """A hop ended."""


@hookspec(firstresult=True)
def convkit_save_live(
    model: object,
    example_inputs: Sequence[object],
    output: Path,
    dynamic: Mapping[str, tuple[int, ...]],
) -> str | None:
    """Write a live model object from the Python API to `output`; return its format id.

    `dynamic` names inputs with the axes that are to stay open (`ReadOptions.dynamic`).

    Return None for an object of a framework that is not yours. Runs in the user's process,
    because the object lives there.
    """
