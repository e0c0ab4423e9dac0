"""What can be mended in a float model before, or because, it is quantized statically."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError
from convkit.plugin import Option

if TYPE_CHECKING:
    from convkit_onnx.chains import Chain
    from convkit_onnx.work import Work

OPTIONS = (
    Option(
        "equalize",
        "off",
        "cross-layer equalization: move scales between layers that follow each other, so that the "
        "channels of the first one's `weights`, or of the `activations` in between, and the second "
        "one's weights for them have the same range; auto takes what shares a scale",
        choices=("off", "auto", "weights", "activations"),
        repairs=("auto",),
    ),
    Option(
        "bias_correction",
        False,
        "take what rounding the weights adds to a layer's mean output off its bias",
        repairs=(True,),
    ),
)

_TOLERANCE = 1e-5
"""Of the float function after equalization, relative to the largest output."""


def equalized(work: Work) -> list[str]:
    """Equalize the prepared model as asked for, in memory and on disk; answers notes.

    Raises:
        ConversionError: the float function is not what it was.
    """
    import onnx

    from convkit_onnx.chains import chains
    from convkit_onnx.equalize import equalize

    how = work.options["equalize"]
    if how == "off":
        return []
    model = work.prepared.model
    before = onnx.ModelProto.FromString(model.SerializeToString())
    found = [chain for chain in chains(model) if _by_activations(work, chain)]
    extremes = _extremes(work, {chain.tensor: chain.axis for chain in found}) if found else {}
    count = equalize(model, extremes)
    if not count:
        return ["equalize found no layers that follow each other without a branch"]
    _prove(work, before)
    work.prepared.path.write_bytes(model.SerializeToString(deterministic=True))
    return [f"scales were moved between {count} pairs of layers (equalize)"]


def _by_activations(work: Work, chain: Chain) -> bool:
    """Whether the range of the tensor in between counts, and not that of the first weights. Where
    channels of a weight have scales of their own, and for a normalization, which has no matrix,
    it is the tensor that shares a scale."""
    from convkit_onnx.chains import NORMALIZATION

    how = work.options["equalize"]
    apart = bool(work.options["per_channel"]) or chain.first.op_type == NORMALIZATION
    return how == "activations" or (how == "auto" and apart)


def corrected(work: Work, quantize: Callable[[], None]) -> list[str]:
    """Correct biases by what a first quantized model shows, and quantize again; answers notes.

    Args:
        quantize: from `work.prepared.path` to `work.result`.
    """
    import onnx

    from convkit_onnx import bias

    if not work.options["bias_correction"]:
        return []
    model = work.prepared.model
    found = bias.means(_values(work, sorted(set(bias.inputs(model).values()))))
    done = bias.correct(model, onnx.load(str(work.result)), found)
    work.prepared.path.write_bytes(model.SerializeToString(deterministic=True))
    quantize()
    return [f"the biases of {len(done)} layers were corrected"]


def _values(work: Work, tensors: list[str]) -> Any:
    from convkit_onnx import observe

    context = work.context
    assert context.calibration is not None
    return observe.values(
        work.prepared.model,
        tensors,
        context.calibration,
        work.artifact,
        context.workdir,
        context.threads,
        context.progress,
    )


def _extremes(work: Work, tensors: Mapping[str, int]) -> dict[str, Any]:
    """Tensor to the largest absolute value of each channel.

    Args:
        tensors: each with the axis of its channels.
    """
    import numpy as np

    found: dict[str, Any] = {}
    for sample in _values(work, sorted(tensors)):
        for name, value in sample.items():
            apart = np.moveaxis(np.abs(value), tensors[name], 0)
            far = apart.reshape(len(apart), -1).max(1)
            found[name] = np.maximum(found[name], far) if name in found else far
    return found


def _prove(work: Work, before: Any) -> None:
    """Raises:
    ConversionError: the model gives other outputs than before on a calibration sample.
    """
    import numpy as np

    from convkit_onnx import runner
    from convkit_onnx.ranges import sample

    assert work.context.calibration is not None
    feeds: Mapping[str, Any] = sample(work.context.calibration, work.artifact, 0)
    pair = [
        runner.load(model.SerializeToString(), work.context.threads, plain=True).run(None, feeds)
        for model in (before, work.prepared.model)
    ]
    for old, new in zip(*pair, strict=True):
        largest = float(np.abs(old).max()) if old.size else 0.0
        if not np.allclose(old, new, rtol=0, atol=_TOLERANCE * max(largest, 1e-30)):
            raise ConversionError(
                "equalization changed what the float model computes",
                hint="Leave it out: -O equalize=off.",
            )
