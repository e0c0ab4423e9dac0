"""The edge onnx -> tf-saved. What runs inside the isolated environment is in `translate`."""

from __future__ import annotations

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


def environment() -> IsolatedEnvironment:
    """The environment of 2022 to 2024 that onnx-tf still runs in; sizes were measured on Linux."""
    return IsolatedEnvironment(
        name="onnx-tf",
        python="3.11",
        lock=_LOCK.read_text(encoding="utf-8"),
        size_mb=1240,
        seconds=40,
    )


class OnnxToSavedModel(ConverterBase):
    """ONNX to a TensorFlow SavedModel with one signature, `serving_default`.

    Inputs and outputs keep their order, their layout (NCHW stays NCHW; onnx-tf transposes around
    each convolution) and, where TensorFlow can bear them, their names.

    onnx-tf 1.10.0 implements operators up to opset 12, and shape arithmetic that a simplifier
    would have folded away often defeats it: hence the two requirements. They are soft, because
    many operators have not changed since; `check` names those of a newer model that have.
    """

    name: str = "onnx-tf.saved"
    source: State = State("onnx")
    target: State = State("tf-saved")
    seconds: float = 30.0
    isolated: IsolatedEnvironment | None = environment()
    options: tuple[Option, ...] = (
        Option(
            "auto_cast",
            False,
            "cast types that a TensorFlow operator lacks to wider or narrower ones, "
            "which may lose precision",
        ),
    )
    requires: tuple[TraitRequirement, ...] = (
        TraitRequirement("opset", maximum=12, soft=True),
        TraitRequirement("simplified", one_of=(True,), soft=True),
        # A SavedModel's graph holds the weights, in one message of at most 2 GiB.
        TraitRequirement(PARAMETER_BYTES, maximum=1_800_000_000),
    )

    def check(
        self, artifact: Artifact, options: Mapping[str, bool | int | float | str]
    ) -> Sequence[Obstacle]:
        """Operators that onnx-tf has no handler for, from its own table."""
        from convkit_onnx_tf.translate import known_obstacles

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
            from convkit_onnx_tf.translate import translate
        except ImportError as exc:
            raise ConversionError(
                f"onnx-tf cannot be imported here: {exc}",
                hint="This edge runs in an isolated environment that convkit builds.",
            ) from exc
        return translate(artifact, output, bool(options.get("auto_cast", False)), context)
