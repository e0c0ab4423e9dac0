"""`executorch.inspect`: what a `.pte` file is, without starting the runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from convkit.artifact import Trait
from convkit.errors import InputError
from convkit.plugin import Inspection, LayerInfo, ReadOptions, State
from convkit_executorch.layers import HYBRID
from convkit_executorch.program import DTYPES, Pte, is_constant
from convkit_executorch.xnnpack import DTYPES as STORED
from convkit_executorch.xnnpack import Graph


class ExecutorchInspector:
    """Reads programs of any producer; inside XNNPACK's parts too, of other backends by name."""

    name: str = "executorch.inspect"
    format: str = "executorch"
    requirements: tuple[str, ...] = ("executorch>=1.5,<1.6",)

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        """See `Inspector.inspect`. The digest is left empty: the same conversion writes the same
        bytes.

        Raises:
            InputError: damaged, truncated, or no ExecuTorch program.
        """
        from convkit_executorch import layers, program

        pte = program.load(path)
        try:
            parts = layers.delegated(pte)
            return _describe(pte, parts, layers.layers(pte, parts))
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            raise InputError(f"{path.name} is damaged: {exc}", hint="Copy the file again.") from exc


def _describe(pte: Pte, parts: dict[int, Graph], found: tuple[LayerInfo, ...]) -> Inspection:
    sizes = parameter_bytes(pte, parts)
    backends = sorted({str(delegate.id) for delegate in pte.plan.delegates})
    traits: dict[str, Trait] = {"dynamic": pte.dynamic, "delegated": ", ".join(backends) or "none"}
    return Inspection(
        state=State("executorch", precision(found, sizes)),
        inputs=pte.inputs,
        outputs=pte.outputs,
        operators=dict(sorted(Counter(layer.op_type for layer in found).items())),
        parameter_bytes=sizes,
        layers=found,
        traits=traits,
        producer="executorch",
    )


def parameter_bytes(pte: Pte, parts: dict[int, Graph]) -> dict[str, int]:
    """Bytes of constants by dtype, of kernels and of XNNPACK; what several share counts once."""
    sizes: Counter[str] = Counter()
    buffers = {
        value.val.data_buffer_idx: value.val for value in pte.plan.values if is_constant(value.val)
    }
    for tensor in buffers.values():
        name = str(tensor.scalar_type.name)
        sizes[DTYPES.get(name, name.lower())] += _elements(tensor.sizes) * _width(name)
    seen: set[str] = set()
    for part in parts.values():
        for value in part.values.values():
            for place, kind in ((value.data, value.kind), (value.scales, "fp32")):
                if not place:
                    continue
                constant = part.constants[place]
                if constant.key and constant.key in seen:
                    continue
                seen.add(constant.key)
                sizes[STORED.get(kind, kind)] += constant.size
    return dict(sorted(sizes.items()))


def _elements(sizes: Sequence[int]) -> int:
    from math import prod

    return prod(sizes)


def _width(scalar_type: str) -> int:
    """Bytes of an element."""
    wide = {"SHORT": 2, "HALF": 2, "BFLOAT16": 2, "UINT16": 2, "INT": 4, "FLOAT": 4, "UINT32": 4}
    return 8 if scalar_type in ("LONG", "DOUBLE", "UINT64") else wide.get(scalar_type, 1)


def precision(found: Sequence[LayerInfo], sizes: dict[str, int]) -> str:
    """The true precision: `int8` or `int8-dynamic` where most multiply-accumulates are in integers,
    told apart by where the scale of activations comes from; else by what most weights are."""
    work = [layer for layer in found if layer.macs]
    integer = [layer for layer in work if "int8" in layer.compute]
    amount = sum(layer.macs for layer in integer)
    if amount and 2 * amount >= sum(layer.macs for layer in work):
        dynamic = sum(layer.macs for layer in integer if layer.compute == HYBRID)
        return "int8-dynamic" if 2 * dynamic > amount else "int8"
    half = sizes.get("float16", 0) + sizes.get("bfloat16", 0)
    return "fp16" if half > sizes.get("float32", 0) else "fp32"
