"""Labelled images as inputs of a model that is being scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import InputError, UsageError
from convkit.plugin import Artifact
from convkit_vision import pixels

if TYPE_CHECKING:
    from convkit_vision.transform import Transform


def image_samples(
    files: Sequence[Path],
    artifact: Artifact,
    transform: Transform,
    check: Callable[[Path, Any], None] = lambda file, image: None,
) -> Iterator[tuple[Any, ...]]:
    """Yield `(image,)`, batch 1, for every file in order.

    Args:
        check: given the file and the decoded Pillow image, may raise.

    Raises:
        InputError: a file is unreadable.
        UsageError: the model has several inputs, a fixed batch beyond 1, or takes another shape.
    """
    if len(artifact.inputs) != 1:
        names = ", ".join(spec.name for spec in artifact.inputs) or "none known"
        raise UsageError(f"labelled images can feed a model with one input, not with {names}")
    spec = artifact.inputs[0]
    if spec.shape and isinstance(spec.shape[0], int) and spec.shape[0] != 1:
        raise UsageError(
            f"labelled images are scored one by one, but input {spec.name} has a batch of"
            f" {spec.shape[0]}",
            hint="Export the model with a batch of 1.",
        )

    def samples() -> Iterator[tuple[Any, ...]]:
        for file in files:
            image = pixels.load(file, InputError)
            check(file, image)
            try:
                array = pixels.to_array(image, transform)
            except ValueError as exc:
                raise InputError(f"image {file}: {exc}") from exc
            yield (pixels.fit(array, spec, transform, UsageError),)

    return samples()
