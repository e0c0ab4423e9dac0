"""`openvino.from-tf-saved` and `openvino.from-tf-frozen`: TensorFlow to OpenVINO IR."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from convkit.errors import InputError
from convkit.plugin import Artifact, HopContext, State
from convkit_openvino.edge import IntoOpenVino
from convkit_openvino.runtime import REQUIREMENTS

if TYPE_CHECKING:
    import openvino


class FromFrozenGraph(IntoOpenVino):
    """A frozen graph; names of its placeholders and ends, and NHWC, are kept. OpenVINO reads it
    itself, TensorFlow is not needed."""

    name: str = "openvino.from-tf-frozen"
    source: State = State("tf-frozen")

    def translate(self, artifact: Artifact, context: HopContext | None) -> openvino.Model:
        """See `IntoOpenVino.translate`."""
        from convkit_openvino import frontends

        return frontends.translate("tf", str(artifact.path))


class FromSavedModel(FromFrozenGraph):
    """A SavedModel's serving signature; names of the signature and NHWC are kept. OpenVINO reads it
    itself, but looks at no checksum: for those TensorFlow is needed."""

    name: str = "openvino.from-tf-saved"
    source: State = State("tf-saved")
    requirements: tuple[str, ...] = (*REQUIREMENTS, "tensorflow-cpu|tensorflow")
    seconds: float = 10.0

    def translate(self, artifact: Artifact, context: HopContext | None) -> openvino.Model:
        """See `IntoOpenVino.translate`."""
        if context is not None:  # a trial translation computes nothing
            _check_variables(artifact.path)
        return super().translate(artifact, context)


def _check_variables(path: Path) -> None:
    """Read every variable, which compares its checksum.

    Raises:
        InputError: one is damaged.
    """
    import tensorflow as tf

    if not (path / "variables" / "variables.index").is_file():
        return
    try:
        reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except Exception as exc:  # DataLossError, NotFoundError, UnicodeDecodeError, ...
        raise InputError(
            f"the variables of {path.name} are damaged", hint="Copy the folder again."
        ) from exc
