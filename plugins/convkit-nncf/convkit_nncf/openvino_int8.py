"""`nncf.openvino-int8`: weights and activations of an OpenVINO model in 8 bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convkit.plans import OptionValue
from convkit.plugin import Artifact, HopContext, Option, State
from convkit_nncf.openvino_edge import OpenVinoEdge
from convkit_nncf.settings import STATIC, TARGET_DEVICE


class OpenVinoInt8(OpenVinoEdge):
    """Post-training quantization, with ranges of activations from calibration data. Operators that
    NNCF does not quantize stay in float by themselves."""

    name: str = "nncf.openvino-int8"
    target: State = State("openvino", "int8")
    loss: int = 3
    seconds: float = 15.0
    needs_calibration: bool = True
    options: tuple[Option, ...] = (*STATIC, TARGET_DEVICE)

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
        from convkit_nncf import ir, samples, scope, settings

        limit = int(options["subset_size"])
        data = samples.of(context, ir.ports(model, artifact.inputs), limit)
        return nncf.quantize(
            model,
            nncf.Dataset(data),
            subset_size=limit,
            ignored_scope=scope.ignored(nncf, kept),
            **settings.arguments(nncf, options, ir.graph(model)),
        )
