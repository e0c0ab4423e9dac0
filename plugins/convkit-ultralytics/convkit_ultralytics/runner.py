"""`ultralytics.run`: the original model, unfused, in eval mode and not in export mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from convkit.errors import ConversionError, ConvkitError
from convkit.plugin import Artifact, Session, TracedTensor


class UltralyticsRunner:
    """Runs what exports are compared with: pixels in 0..1, NCHW, predictions before any
    suppression of overlapping boxes."""

    name: str = "ultralytics.run"
    format: str = "ultralytics"
    requirements: tuple[str, ...] = ("ultralytics", "torch", "numpy", "pyyaml")

    def open(self, artifact: Artifact, threads: int) -> Session:
        """Load the model; torch's thread count is a setting of the whole process.

        Raises:
            ConversionError: it cannot be loaded.
        """
        from convkit_ultralytics import reading

        return UltralyticsSession(
            _module(artifact, threads),
            reading.place_of([spec.name for spec in artifact.outputs], len(artifact.outputs)),
        )

    def trace(
        self, artifact: Artifact, inputs: Sequence[Any], threads: int
    ) -> Iterator[TracedTensor]:
        """The results of all innermost modules of one inference, then the outputs.

        Raises:
            ConversionError: it cannot be loaded or run.
        """
        import numpy as np
        import torch

        from convkit_ultralytics import framework, layers

        module = _module(artifact, threads)
        try:
            tensors = layers.traced(module, torch.from_numpy(np.array(inputs[0], order="C")))
        except Exception as exc:
            raise ConversionError(f"the model cannot run: {framework.first_line(exc)}") from exc
        yield from tensors


def _module(artifact: Artifact, threads: int) -> Any:
    import torch

    from convkit_ultralytics import framework, reading

    if threads > 0:
        torch.set_num_threads(threads)
    try:
        return reading.load(artifact.path, artifact.read).module
    except ConvkitError:
        raise
    except Exception as exc:
        raise ConversionError(f"the model cannot be loaded: {framework.first_line(exc)}") from exc


@dataclass(frozen=True)
class UltralyticsSession:
    """A loaded model.

    Attributes:
        outputs: for each output of the artifact its place among the model's results.
    """

    module: Any
    outputs: tuple[int, ...]

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """One inference; see `Session`."""
        import numpy as np
        import torch

        from convkit_ultralytics import reading

        (images,) = inputs
        found = reading.results(self.module, torch.from_numpy(np.array(images, order="C")))
        if len(found) != len(self.outputs):
            raise ConversionError(
                f"the model returns {len(found)} tensors, expected are {len(self.outputs)}"
            )
        return tuple(np.array(found[place].cpu().numpy()) for place in self.outputs)
