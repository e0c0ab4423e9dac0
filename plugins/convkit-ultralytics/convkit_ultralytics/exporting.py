"""The module that both exporters record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convkit.errors import ConversionError
from convkit.plugin import Artifact, Option, TensorSpec
from convkit_ultralytics import framework
from convkit_ultralytics.reading import Original, flat_tensors, output_names, place_of

FUSE = Option(
    "fuse",
    True,
    "fold batch normalization and parallel branches into convolutions, as ultralytics exports do",
)


def exportable(original: Original, artifact: Artifact, fuse: bool) -> tuple[Any, Any]:
    """A copy of the model in export mode, and an input for it.

    It is a copy because recording leaves tensors behind in the head's cache, and it has run once
    because a fresh head fills that cache in its first inference, which would be recorded too.

    Raises:
        ConversionError: its outputs are not those that the artifact describes.
    """
    import copy

    import torch

    shape = list(original.shape)
    if 0 in original.dynamic:
        shape[0] = max(2, shape[0])  # exporters take a batch of 1 for a constant
    images = torch.zeros(shape)
    module = copy.deepcopy(original.module)
    try:
        if fuse:
            module.fuse(verbose=False)
        for part in module.modules():
            _settle_forward(part)
            if hasattr(part, "export"):
                part.export = True
            if original.dynamic and hasattr(part, "dynamic"):
                part.dynamic = True
                part.stride = part.stride.tolist()  # plain numbers, which need no symbol
        with torch.no_grad():
            found = flat_tensors(module(images))
    except Exception as exc:  # the model's own code
        raise ConversionError(
            f"the model cannot be put into export mode: {framework.first_line(exc)}"
        ) from exc
    place_of([spec.name for spec in artifact.outputs], len(found))
    described = {spec.name: spec for spec in artifact.outputs}
    for name, tensor in zip(output_names(len(found)), found, strict=True):
        if not _fits(described[name], tuple(tensor.shape)):
            raise ConversionError(
                f"in export mode {name} is of shape {tuple(tensor.shape)}, "
                f"in eval mode {described[name].shape}"
            )
    return module, images


def _settle_forward(part: Any) -> None:
    """Move a `forward` that fusing has put on the instance to a class of its own: torch.export
    follows the path of modules through classes only, and would lose the layer's scope."""
    method = vars(part).get("forward")
    function = getattr(method, "__func__", None)
    if function is not None:
        kind = type(part)
        part.__class__ = type(kind.__name__, (kind,), {"forward": function})
        del part.forward


def _fits(spec: TensorSpec, shape: tuple[int, ...]) -> bool:
    return len(spec.shape) == len(shape) and all(
        not isinstance(ours, int) or ours == theirs
        for ours, theirs in zip(spec.shape, shape, strict=True)
    )


def returning(module: Any, shape_results: Callable[[tuple[Any, ...]], Any]) -> Any:
    """The same module, whose `forward` takes `images` and returns its tensors in another container.

    An attribute instead of a wrapping module keeps the scopes (`model.0.conv`) free of a level of
    ours.
    """
    inner = module.forward

    def forward(images: Any) -> Any:
        return shape_results(flat_tensors(inner(images)))

    module.forward = forward
    return module


def kept_traits(artifact: Artifact) -> dict[str, bool | int | str]:
    """What is to be known of every file made from this one: whether its weights mean anything."""
    return {key: artifact.traits[key] for key in ("weights", "seed") if key in artifact.traits}
