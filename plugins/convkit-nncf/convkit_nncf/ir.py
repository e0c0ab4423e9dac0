"""Read and write OpenVINO IR, and look into it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from convkit.errors import ConversionError, InputError
from convkit.plugin import TensorSpec
from convkit_nncf.structure import Graph, Node
from convkit_nncf.tool import first_line

if TYPE_CHECKING:
    import openvino

_MADE_UP = re.compile(r"(?:[A-Z][A-Za-z0-9]*_)?\d+")
"""Names that OpenVINO gives, numbered by a counter of the process."""
_WEIGHTED = frozenset(
    {
        "Convolution",
        "ConvolutionBackpropData",
        "Gather",
        "GroupConvolution",
        "GroupConvolutionBackpropData",
        "MatMul",
    }
)
_NO_OPERATORS = frozenset({"Parameter", "Constant", "Result"})
_DAMAGED = "It is damaged, or made by another version of OpenVINO."


def read(path: Path) -> openvino.Model:
    """The model of an IR, once `tool.load` has been called.

    Raises:
        InputError: it is damaged, or its `.bin` is missing or too short.
    """
    import openvino

    try:
        _check_weights(path)
        return openvino.Core().read_model(path)
    except InputError:
        raise
    except Exception as exc:  # ParseError, RuntimeError, OSError
        raise InputError(
            f"OpenVINO cannot read {path.name}: {first_line(exc)}", hint=_DAMAGED
        ) from exc


def _check_weights(path: Path) -> None:
    """OpenVINO maps the weights into memory without looking whether each constant lies in them."""
    weights = path.with_suffix(".bin")
    have = weights.stat().st_size if weights.exists() else 0
    for data in ElementTree.parse(path).iterfind(".//layer[@type='Const']/data"):
        if int(data.get("offset", 0)) + int(data.get("size", 0)) > have:
            raise InputError(f"{weights.name} is missing or too short", hint=_DAMAGED)


def operators(model: openvino.Model) -> list[Any]:
    """What computes, in execution order; constants, inputs and outputs are left out."""
    return [n for n in model.get_ordered_ops() if n.get_type_name() not in _NO_OPERATORS]


def graph(model: openvino.Model) -> Graph:
    """The model's operators and how they hang together, without what works on constants alone."""
    found: dict[str, Node] = {}
    inputs = {n.friendly_name for n in model.get_parameters()}
    for node in operators(model):
        producers = [port.get_node().friendly_name for port in node.input_values()]
        sources = tuple(name for name in producers if name in found or name in inputs)
        if sources:
            found[node.friendly_name] = Node(node.get_type_name(), sources)
    return found


def behind_quantizers(model: openvino.Model) -> frozenset[str]:
    """Operators with an operand that comes straight out of a FakeQuantize."""
    return frozenset(
        node.friendly_name
        for node in operators(model)
        if any(p.get_node().get_type_name() == "FakeQuantize" for p in node.input_values())
    )


def weights(model: openvino.Model) -> list[tuple[Any, int]]:
    """Convolutions, matrix products and lookups with the number of their weights, where those are
    reals, be they expanded from half precision."""
    found = []
    for node in operators(model):
        if node.get_type_name() not in _WEIGHTED:
            continue
        for port in node.input_values():
            maker = port.get_node()
            if maker.get_type_name() == "Convert":
                maker = maker.input_value(0).get_node()
            real = maker.get_type_name() == "Constant" and maker.get_element_type().is_real()
            if real:
                found.append((node, math.prod(maker.get_output_shape(0))))
    return found


def ports(model: openvino.Model, specs: Sequence[TensorSpec]) -> dict[int, str]:
    """For each of the artifact's inputs its place in the file, and the dtype taken there.

    Raises:
        ConversionError: an input is not in the file.
    """
    names = [{port.node.friendly_name, *port.names} for port in model.inputs]
    found: dict[int, str] = {}
    for position, spec in enumerate(specs):
        places = [p for p, own in enumerate(names) if spec.name in own and p not in found]
        place = places[0] if places else position
        if place in found or place >= len(names):
            raise ConversionError(f"the file has no input {spec.name!r}")
        found[place] = str(model.inputs[place].element_type.to_dtype())
    return found


def settle(model: openvino.Model, before: frozenset[str]) -> None:
    """Replace the names that OpenVINO made up for new operators: their numbers come from a counter
    of the process, so that the same model quantized twice would be two files.

    Args:
        before: names of all operators of the float model; those stay.
    """
    taken = {node.friendly_name for node in model.get_ordered_ops()}
    counts: Counter[str] = Counter()
    for node in model.get_ordered_ops():
        name, kind = node.friendly_name, node.get_type_name()
        if name in before or not (_MADE_UP.fullmatch(name) or kind == "Constant"):
            continue
        while f"{kind}#{counts[kind]}" in taken:
            counts[kind] += 1
        settled = f"{kind}#{counts[kind]}"
        taken.add(settled)
        node.set_friendly_name(settled)


def interface(model: openvino.Model) -> list[tuple[Any, ...]]:
    """What a caller sees: names, shapes and types of inputs and outputs."""
    return [
        (sorted(port.names), str(port.partial_shape), str(port.element_type))
        for port in (*model.inputs, *model.outputs)
    ]


def write(model: openvino.Model, output: Path) -> None:
    """Write both files, or none.

    Raises:
        ConversionError: OpenVINO could not write.
    """
    import openvino

    try:
        openvino.save_model(model, output, compress_to_fp16=False)
    except Exception as exc:  # RuntimeError
        for file in (output, output.with_suffix(".bin")):
            file.unlink(missing_ok=True)
        raise ConversionError(f"OpenVINO could not write the model: {first_line(exc)}") from exc
