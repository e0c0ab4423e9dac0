"""The two edges. What runs inside the isolated environment is in `translate` and below."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from convkit.artifact import PARAMETER_BYTES
from convkit.errors import ConversionError
from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    IsolatedEnvironment,
    Obstacle,
    Option,
    State,
    TraitRequirement,
)

_LOCK = Path(__file__).with_name("requirements.lock")
_PYTHONS = ("3.12", "3.13")
"""What onnx2tf 2.6.9 declares and all of its pins have wheels for."""


def environment() -> IsolatedEnvironment:
    """onnx2tf with its own pins; sizes were measured on Linux.

    The running Python is taken where it fits, because that one is certainly there.
    """
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    return IsolatedEnvironment(
        name="onnx2tf",
        python=running if running in _PYTHONS else _PYTHONS[0],
        lock=_LOCK.read_text(encoding="utf-8"),
        size_mb=2070,
        seconds=100,
    )


class _Onnx2Tf(ConverterBase):
    """What both edges share: onnx2tf lowers ONNX to TFLite operators in either case."""

    source: State = State("onnx")
    isolated: IsolatedEnvironment | None = environment()
    options: tuple[Option, ...] = (
        Option(
            "io_layout",
            "source",
            "layout of inputs and outputs: that of the ONNX model, or channels last for pictures, "
            "which saves the transposes at both ends",
            choices=("source", "native"),
        ),
    )
    # Both containers hold graph and weights in one message of at most 2 GiB.
    requires: tuple[TraitRequirement, ...] = (
        TraitRequirement(PARAMETER_BYTES, maximum=1_800_000_000),
    )

    def check(
        self, artifact: Artifact, options: Mapping[str, bool | int | float | str]
    ) -> Sequence[Obstacle]:
        """Operators that onnx2tf has no converter for, from its own table."""
        try:
            from convkit_onnx2tf.operators import known_obstacles
        except ImportError as exc:
            raise _misplaced(exc) from exc
        return known_obstacles(artifact)

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, bool | int | float | str],
        context: HopContext,
    ) -> Artifact:
        """See `Converter.convert`."""
        try:
            from convkit_onnx2tf.translate import translate
        except ImportError as exc:
            raise _misplaced(exc) from exc
        native = options.get("io_layout", "source") == "native"
        return translate(artifact, output, self.target, native, context)


class OnnxToTflite(_Onnx2Tf):
    """ONNX to a float32 TFLite file of builtin operators only."""

    name: str = "onnx2tf.tflite"
    target: State = State("tflite")
    seconds: float = 12.0


class OnnxToSavedModel(_Onnx2Tf):
    """ONNX to a SavedModel with one signature, `serving_default`, by way of TFLite operators.

    What TFLite has no operator for cannot pass, although TensorFlow might have one.
    """

    name: str = "onnx2tf.saved"
    target: State = State("tf-saved")
    seconds: float = 20.0


def _misplaced(exc: ImportError) -> ConversionError:
    return ConversionError(
        f"onnx2tf cannot be imported here: {exc}",
        hint="This edge runs in an isolated environment that convkit builds.",
    )
