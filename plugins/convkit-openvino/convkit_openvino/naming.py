"""Names of operators that are the same in every run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from convkit_openvino.layers import MATRIX
from convkit_openvino.scopes import scoped

if TYPE_CHECKING:
    import openvino

_AUTOMATIC = re.compile(r"[A-Z][A-Za-z0-9]*_\d+")
_MADE_UP = re.compile(r"([A-Z][A-Za-z0-9]*_)?\d+")
_NUMBER = re.compile(r"\d+")


def matrix_names(model: openvino.Model) -> list[tuple[str, str]]:
    """Type and name of every convolution and matrix product, in execution order."""
    return [(node.get_type_name(), node.friendly_name) for node in _matrices(model)]


def restore(model: openvino.Model, known: Sequence[tuple[str, str]]) -> None:
    """Give convolutions back the names that they lost when a normalization was folded into them.

    Done only where all that kept a name still stand at their place among the others.
    """
    nodes = _matrices(model)
    if [node.get_type_name() for node in nodes] != [kind for kind, _ in known]:
        return
    pairs = [(node, name) for node, (_, name) in zip(nodes, known, strict=True)]
    lost = [(node, name) for node, name in pairs if node.friendly_name != name]
    if all(_AUTOMATIC.fullmatch(node.friendly_name) for node, _ in lost):
        for node, name in lost:
            node.set_friendly_name(name)


def _matrices(model: openvino.Model) -> list[Any]:
    return [node for node in model.get_ordered_ops() if node.get_type_name() in MATRIX]


def settle(model: openvino.Model) -> None:
    """Replace the names that OpenVINO makes up, such as `Constant_5707`, in all graphs.

    Their numbers come from a counter of the process, so that the same model converted twice would
    differ. The operator gets the name of its tensor where it has one; else its type and place, as
    in `Relu#0`, which cannot be mistaken for a `Relu_0` of the source.
    """
    _settle(model.get_ordered_ops(), ("Parameter", "Result"))


def _settle(nodes: Sequence[Any], kept: tuple[str, ...]) -> None:
    counts: Counter[str] = Counter()
    taken = {node.friendly_name for node in nodes}
    for node in nodes:
        kind = node.get_type_name()
        for body in _bodies(node):
            _settle(body.get_ordered_ops(), ())
        for port in node.outputs() if kind != "Result" else ():
            # The torch front end also gives positions in a list of its own.
            port.set_names({name for name in port.names if not _NUMBER.fullmatch(name)})
        if kind in kept or not (kind == "Constant" or _MADE_UP.fullmatch(node.friendly_name)):
            continue
        names = sorted(node.output(0).names) if kind not in ("Constant", "Result") else []
        name = next((n for n in names if n not in taken), "")
        if not name:
            name = f"{kind}#{counts[kind]}"
            counts[kind] += 1
        taken.add(name)
        node.set_friendly_name(name)


def _bodies(node: Any) -> list[Any]:
    """The graphs inside a loop or a branch."""
    if hasattr(node, "get_then_body"):  # its `get_function` wants the number of a branch
        return [node.get_then_body(), node.get_else_body()]
    return [node.get_function()] if hasattr(node, "get_function") else []


def add_scopes(model: openvino.Model, modules: Mapping[str, str]) -> None:
    """Put the module path in front of an operator's name.

    Args:
        modules: name of a torch node, with which operators made of it begin, to module path.
    """
    for node in model.get_ordered_ops():
        head, slash, _ = node.friendly_name.partition("/")
        if slash and node.get_type_name() not in ("Parameter", "Result", "Constant"):
            node.set_friendly_name(scoped(modules.get(head, ""), node.friendly_name))
