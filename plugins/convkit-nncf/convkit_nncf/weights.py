"""`nncf.openvino-int8-weights` and `nncf.openvino-int4-weights`: smaller weights, float arithmetic.

No calibration data: NNCF's data-aware ways (AWQ, GPTQ, scale estimation) are for large language
models and are left out.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from convkit.plans import OptionValue
from convkit.plugin import Artifact, HopContext, Obstacle, Option, State
from convkit_nncf.openvino_edge import OpenVinoEdge


class _CompressedWeights(OpenVinoEdge):
    @abstractmethod
    def arguments(self, nncf: Any, options: Mapping[str, OptionValue]) -> dict[str, Any]:
        """Keywords of `nncf.compress_weights`."""

    def quantized(
        self,
        nncf: Any,
        model: Any,
        artifact: Artifact,
        options: Mapping[str, OptionValue],
        context: HopContext,
        kept: tuple[str, ...],
    ) -> Any:
        """See `OpenVinoEdge.quantized`."""
        from convkit_nncf import scope

        context.progress("compressing weights", None)
        return nncf.compress_weights(
            model,
            ignored_scope=scope.ignored(nncf, kept),
            **self.arguments(nncf, options),
        )


class Int8Weights(_CompressedWeights):
    """Weights of convolutions, matrix products and embeddings in 8 bits, a scale for each channel
    of the output. The runtime expands them; activations stay in float."""

    name: str = "nncf.openvino-int8-weights"
    target: State = State("openvino", "int8-weights")
    loss: int = 1
    seconds: float = 6.0
    options: tuple[Option, ...] = (
        Option(
            "mode",
            "asymmetric",
            "with a zero point for each scale, or without",
            choices=("asymmetric", "symmetric"),
        ),
    )

    def arguments(self, nncf: Any, options: Mapping[str, OptionValue]) -> dict[str, Any]:
        """See `_CompressedWeights.arguments`."""
        modes = nncf.CompressWeightsMode
        symmetric = options["mode"] == "symmetric"
        return {"mode": modes.INT8_SYM if symmetric else modes.INT8_ASYM}


class Int4Weights(_CompressedWeights):
    """Weights of matrix products in 4 bits, a scale for each group of them; embeddings, the last
    layer and convolutions in 8 bits."""

    name: str = "nncf.openvino-int4-weights"
    target: State = State("openvino", "int4-weights")
    loss: int = 3
    seconds: float = 8.0
    options: tuple[Option, ...] = (
        Option(
            "mode",
            "asymmetric",
            "with a zero point for each scale, or without",
            choices=("asymmetric", "symmetric"),
        ),
        Option(
            "group_size",
            128,
            "weights that share a scale; layers that it does not divide take a smaller power of "
            "two, down to 32, else 8 bits; -1 for one scale per channel",
            minimum=-1,
        ),
        Option("ratio", 1.0, "share of weights in 4 bits, the rest in 8", minimum=0.0, maximum=1.0),
        Option("all_layers", False, "embeddings and the last layer in 4 bits, too"),
    )

    def check(self, artifact: Artifact, options: Mapping[str, OptionValue]) -> Sequence[Obstacle]:
        """Weights that stay at 8 bits, where those are most of all: the result would not be what
        its name says."""
        from convkit_nncf import ir, tool

        tool.load()
        counts = ir.weights(ir.read(artifact.path))
        others = [(node, size) for node, size in counts if node.get_type_name() != "MatMul"]
        total, rest = (sum(size for _, size in some) for some in (counts, others))
        if 2 * rest < total:
            return ()
        return (
            Obstacle(
                f"{rest:,} of {total:,} weights, which are in no matrix product and keep 8 bits,",
                tuple(node.friendly_name for node, _ in others),
                "Take openvino-int8-weights.",
            ),
        )

    def arguments(self, nncf: Any, options: Mapping[str, OptionValue]) -> dict[str, Any]:
        """See `_CompressedWeights.arguments`."""
        modes = nncf.CompressWeightsMode
        return {
            "mode": modes.INT4_SYM if options["mode"] == "symmetric" else modes.INT4_ASYM,
            "group_size": int(options["group_size"]),
            "ratio": float(options["ratio"]),
            "all_layers": bool(options["all_layers"]),
            "advanced_parameters": nncf.AdvancedCompressionParameters(
                group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST
            ),
        }
