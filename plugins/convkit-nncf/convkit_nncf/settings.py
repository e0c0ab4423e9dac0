"""Options of the static quantizers, and what they mean to NNCF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convkit.errors import UsageError
from convkit.plans import OptionValue
from convkit.plugin import Option
from convkit_nncf.structure import Graph, is_lopsided, is_transformer

_AUTO = "auto"
_DEVICES = ("any", "cpu", "gpu", "npu", "cpu_spr")
_RANGES = {
    "min-max": "MINMAX",
    "mean-min-max": "MEAN_MINMAX",
    "median-min-max": "MEDIAN_MINMAX",
    "mean-quantile": "MEAN_QUANTILE",
    "histogram": "HISTOGRAM",
}
"""Ours to NNCF's names of ways to find the range of an activation."""

STATIC: tuple[Option, ...] = (
    Option(
        "preset",
        _AUTO,
        "ranges of activations: `performance` symmetric, `mixed` asymmetric; `auto` takes `mixed` "
        "for transformers and where SiLU, GELU and the like stand in the graph",
        choices=(_AUTO, "performance", "mixed"),
    ),
    Option(
        "model_type",
        _AUTO,
        "`transformer` spares what attention and normalization need in float and smooths "
        "outliers; `auto` looks for attention in the graph",
        choices=(_AUTO, "transformer", "none"),
    ),
    Option("subset_size", 300, "take so many calibration samples at most", minimum=1),
    Option(
        "bias_correction",
        "fast",
        "`full` is more accurate and much slower",
        choices=("fast", "full", "none"),
        repairs=("none", "full"),
    ),
    Option(
        "smooth_quant",
        _AUTO,
        "how much of the outliers moves from activations of matrix products into their weights: "
        "0 to 1, or `off`; `auto` leaves it to NNCF, which smooths transformers",
    ),
    Option(
        "activation_ranges",
        _AUTO,
        "how the range of an activation is found over the samples; `auto` leaves it to NNCF",
        choices=(_AUTO, *_RANGES),
        repairs=("histogram",),
    ),
    Option(
        "overflow_fix",
        "first-layer",
        "weights that keep to half their range, since processors without VNNI clip sums: those "
        "of the first layers, `all`, or `none`",
        choices=("first-layer", "all", "none"),
    ),
)

TARGET_DEVICE = Option("target_device", "any", "what the model is to run on", choices=_DEVICES)


def arguments(
    nncf: Any, options: Mapping[str, OptionValue], graph: Graph, *, lopsided: bool | None = None
) -> dict[str, Any]:
    """Keywords of `nncf.quantize` for options of `STATIC` and `TARGET_DEVICE`.

    Args:
        lopsided: what `auto` takes the graph's activations for, instead of looking.

    Raises:
        UsageError: a value that the option cannot have.
    """
    kind = options["model_type"]
    transformer = is_transformer(graph) if kind == _AUTO else kind == "transformer"
    preset = options["preset"]
    if preset == _AUTO:
        asymmetric = is_lopsided(graph) if lopsided is None else lopsided
        preset = "mixed" if transformer or asymmetric else "performance"
    advanced = nncf.AdvancedQuantizationParameters(
        overflow_fix={
            "first-layer": nncf.OverflowFix.FIRST_LAYER,
            "all": nncf.OverflowFix.ENABLE,
            "none": nncf.OverflowFix.DISABLE,
        }[str(options["overflow_fix"])],
        disable_bias_correction=options["bias_correction"] == "none",
    )
    alpha = _alpha(options["smooth_quant"])
    if alpha is not None:
        advanced.smooth_quant_alphas = nncf.AdvancedSmoothQuantParameters(matmul=alpha)
    if options["activation_ranges"] != _AUTO:
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet as Ranges

        chosen = getattr(Ranges, _RANGES[str(options["activation_ranges"])])
        advanced.activations_range_estimator_params = chosen
    return {
        "preset": nncf.QuantizationPreset(preset),
        "model_type": nncf.ModelType.TRANSFORMER if transformer else None,
        "target_device": nncf.TargetDevice(str(options.get("target_device", "any")).upper()),
        "fast_bias_correction": options["bias_correction"] != "full",
        "advanced_parameters": advanced,
    }


def _alpha(text: OptionValue) -> float | None:
    """SmoothQuant's exponent, negative for `off`, None for `auto`."""
    if text == _AUTO:
        return None
    if text == "off":
        return -1.0
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise UsageError(
            f"smooth_quant cannot be {text!r}", hint="Give a number from 0 to 1, `off` or `auto`."
        )
    return value
