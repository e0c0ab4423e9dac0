"""`openvino.inspect`: what an OpenVINO IR really is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from convkit.artifact import Trait
from convkit.plugin import Inspection, ReadOptions, State, TensorSpec
from convkit_openvino.runtime import REQUIREMENTS

if TYPE_CHECKING:
    from convkit_openvino.ir import Graph, Ir

_REALS = frozenset({"f64", "f32", "f16", "bf16"})


class OpenVinoInspector:
    """Reads `.xml` files with their `.bin`."""

    name: str = "openvino.inspect"
    format: str = "openvino"
    requirements: tuple[str, ...] = REQUIREMENTS

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        """Read both files, and let OpenVINO itself confirm that it accepts them.

        Raises:
            InputError: not an IR, damaged, the `.bin` missing or of another model.
        """
        from convkit_openvino import ir, runtime
        from convkit_openvino.digest import digest
        from convkit_openvino.interface import file_specs
        from convkit_openvino.layers import layer_infos
        from convkit_openvino.precision import parameter_bytes, true_precision

        found = ir.load(path)
        inputs, outputs = file_specs(runtime.read_model(path))
        layers = layer_infos(found.graph)
        sizes = parameter_bytes(found)
        return Inspection(
            state=State("openvino", true_precision(layers, sizes, _weights(found))),
            inputs=inputs,
            outputs=outputs,
            digest=digest(found),
            operators=_operators(found),
            parameter_bytes=sizes,
            layers=layers,
            traits=_traits(found, (*inputs, *outputs)),
            producer=_producer(found),
            companions=(found.weights.name,) if any(found.constants) else (),
        )


def _operators(found: Ir) -> dict[str, int]:
    borders = ("Parameter", "Result", "Constant")
    return dict(
        sorted(Counter(x.type for x in found.graph.walk() if x.type not in borders).items())
    )


def _weights(found: Ir) -> dict[str, int]:
    """Element type to number of elements, of constants that stand for reals.

    An integer constant does where it is expanded to float; else it holds ids or shapes.
    """
    counts: Counter[str] = Counter()
    for graph in _graphs(found.graph):
        expanded = _expanded(graph)
        for layer in graph.layers:
            constant = layer.constant
            if constant is not None and (constant.element_type in _REALS or layer.id in expanded):
                counts[constant.element_type] += constant.elements
    return dict(counts)


def _graphs(graph: Graph) -> Iterator[Graph]:
    yield graph
    for layer in graph.layers:
        for body in layer.bodies:
            yield from _graphs(body)


def _expanded(graph: Graph) -> set[str]:
    """Ids of integer constants that are converted to a type of reals before they are used."""
    from convkit_openvino.dtypes import FLOATS, LOW_BIT

    return {
        source.id
        for layer in graph.layers
        if layer.type == "Convert" and any(port.dtype in FLOATS for port in layer.outputs.values())
        for source, _ in graph.sources(layer)
        if source.constant is not None and source.constant.element_type in LOW_BIT
    }


def _traits(found: Ir, specs: tuple[TensorSpec, ...]) -> dict[str, Trait]:
    kinds = {layer.type for layer in found.graph.walk()}
    return {
        "dynamic": any(not isinstance(size, int) for spec in specs for size in spec.shape),
        "stateful": bool(kinds & {"ReadValue", "Assign"}),
    }


def _producer(found: Ir) -> str:
    for entry in found.root.iterfind("rt_info/*"):
        if entry.get("name", entry.tag) in ("Runtime_version", "OpenVINO Runtime"):
            return f"OpenVINO {entry.get('value', '')}".strip()
    return ""
