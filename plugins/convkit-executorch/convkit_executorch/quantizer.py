"""ExecuTorch's quantizer for XNNPACK, held to what a recipe spares and to what is real."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

_ANNOTATION = "quantization_annotation"


def quantizer(spared: Collection[str], per_channel: bool) -> Any:
    """A `torchao.quantization.pt2e.quantizer.Quantizer`.

    Args:
        spared: names of nodes that stay in float.
        per_channel: one scale per output channel of a weight, else one per weight.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer_utils import propagate_annotation

    class Sparing(XNNPACKQuantizer):  # type: ignore[misc]
        def transform_for_annotation(self, model: Any) -> Any:
            keep_indices(model)
            return super().transform_for_annotation(model)

        def annotate(self, model: Any) -> Any:
            # Not every operator's rule asks the filter: that of concatenations does not.
            model = self._annotate_for_quantization_config(model)
            for node in model.graph.nodes:
                if node.name in spared or not _is_float(node):
                    node.meta.pop(_ANNOTATION, None)
            propagate_annotation(model)
            return model

    made = Sparing().set_global(get_symmetric_quantization_config(is_per_channel=per_channel))
    return made.set_filter_function(lambda node: node.name not in spared and _is_float(node))


def keep_indices(module: Any) -> None:
    """Keep sums and products of integers with numbers what they are, in place.

    The quantizer makes a float32 tensor of every number that is added to or multiplied with a
    tensor, and so reals of integers. The operators that take the number itself it leaves alone.
    """
    import torch

    aten = torch.ops.aten
    taking_numbers = {aten.add.Tensor: aten.add.Scalar, aten.mul.Tensor: aten.mul.Scalar}
    for node in module.graph.nodes:
        if node.op != "call_function" or node.target not in taking_numbers or _is_float(node):
            continue
        if isinstance(node.args[1], bool | int):
            node.target = taking_numbers[node.target]
    module.recompile()


def _is_float(node: Any) -> bool:
    """The quantizer would take sums and products of indices for activations as well."""
    import torch

    value = node.meta.get("val")
    return not isinstance(value, torch.Tensor) or value.is_floating_point()
