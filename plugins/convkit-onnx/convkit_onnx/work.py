"""What a quantizer is given to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from convkit.plans import OptionValue
from convkit.plugin import Artifact, HopContext
from convkit_onnx.prepare import Prepared


@dataclass(frozen=True)
class Work:
    """One conversion under way.

    Attributes:
        excluded: nodes of the prepared model that stay in float.
        op_types: types of operators that are quantized.
        result: where the tool is to write.
    """

    artifact: Artifact
    prepared: Prepared
    excluded: tuple[str, ...]
    op_types: tuple[str, ...]
    reduce_range: bool
    options: Mapping[str, OptionValue]
    context: HopContext
    result: Path
