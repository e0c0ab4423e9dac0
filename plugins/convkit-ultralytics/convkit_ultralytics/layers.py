"""What happens inside: the layers of one inference, by forward hooks on the modules."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from convkit.plugin import LayerInfo, TracedTensor
from convkit_ultralytics.reading import flat_tensors, output_names, results

Seen = Callable[[str, Any, tuple[Any, ...], Any], None]
"""Told of a module's unique name in this inference, the module, its inputs and its output."""


def walk(module: Any, images: Any, seen: Seen) -> tuple[Any, ...]:
    """Run one inference and tell of every innermost module in execution order.

    A module that runs several times gets `:2`, `:3` and so on behind its path.

    Returns:
        The model's outputs.
    """
    counts: dict[str, int] = {}

    def hook_for(path: str) -> Callable[[Any, tuple[Any, ...], Any], None]:
        def hook(part: Any, inputs: tuple[Any, ...], output: Any) -> None:
            counts[path] = counts.get(path, 0) + 1
            name = path if counts[path] == 1 else f"{path}:{counts[path]}"
            seen(name, part, inputs, output)

        return hook

    innermost = [(p, m) for p, m in module.named_modules() if not any(True for _ in m.children())]
    hooks = [part.register_forward_hook(hook_for(path)) for path, part in innermost]
    try:
        return results(module, images)
    finally:
        for hook in hooks:
            hook.remove()


def layers_of(module: Any, images: Any) -> tuple[tuple[LayerInfo, ...], tuple[Any, ...]]:
    """The innermost modules of one inference as layers, then the head, and the model's outputs.

    What happens between modules (additions, concatenations) is not listed; what the head does with
    the results of its own modules, such as decoding boxes, is the head's.
    """
    layers: list[LayerInfo] = []

    def seen(name: str, part: Any, inputs: tuple[Any, ...], output: Any) -> None:
        layers.append(
            LayerInfo(
                name=name,
                op_type=type(part).__name__,
                outputs=(name,),
                macs=_macs(part, inputs, output),
                parameter_count=sum(p.numel() for p in part.parameters()),
                scope=name.partition(":")[0],
            )
        )

    outputs = walk(module, images, seen)
    path, kind = _head(module)
    names = tuple(output_names(len(outputs)))
    layers.append(LayerInfo(name=path, op_type=kind, outputs=names, scope=path))
    return tuple(layers), outputs


def _head(module: Any) -> tuple[str, str]:
    """Path and class name of the last of the model's parts."""
    return f"model.{len(module.model) - 1}", type(module.model[-1]).__name__


def traced(module: Any, images: Any) -> list[TracedTensor]:
    """The results of all innermost modules, then the model's outputs."""
    tensors: list[TracedTensor] = []

    def seen(name: str, part: Any, inputs: tuple[Any, ...], output: Any) -> None:
        for tensor in flat_tensors(output)[:1]:
            if tensor.is_floating_point():
                # A copy: the activation that follows may work in place.
                value = tensor.detach().float().clone().numpy()
                scope = name.partition(":")[0]
                tensors.append(TracedTensor(name, type(part).__name__, scope, value, name))

    outputs = walk(module, images, seen)
    path, kind = _head(module)
    for name, tensor in zip(output_names(len(outputs)), outputs, strict=True):
        if tensor.is_floating_point():
            tensors.append(TracedTensor(path, kind, path, tensor.float().numpy(), name))
    return tensors


def _macs(part: Any, inputs: tuple[Any, ...], output: Any) -> int:
    import torch

    weight = getattr(part, "weight", None)
    if not isinstance(weight, torch.Tensor) or not isinstance(output, torch.Tensor):
        return 0
    if isinstance(part, torch.nn.ConvTranspose2d):
        return int(inputs[0].numel() * prod(weight.shape[1:]))
    if isinstance(part, torch.nn.Conv2d | torch.nn.Linear):
        return int(output.numel() * prod(weight.shape[1:]))
    return 0
