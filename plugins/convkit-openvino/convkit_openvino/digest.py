"""The canonical digest of an IR: equal programs, equal digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from convkit_openvino.ir import Ir


def digest(ir: Ir) -> str:
    """sha256 of the program: operators, attributes, connections, names and the bytes of weights.

    Left out is what does not compute: all of `rt_info` (versions, conversion parameters, paths of
    the original, layouts), the network's name, names of constants, and where in the `.bin` a
    constant lies.
    """
    total = hashlib.sha256()
    for line in _lines(ir.root, _Weights(ir.weights)):
        total.update(line.encode())
        total.update(b"\n")
    return total.hexdigest()


class _Weights:
    """Digests of stretches of a file, each read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[tuple[int, int], str] = {}

    def of(self, offset: int, size: int) -> str:
        place = (offset, size)
        if size and place not in self._known:
            with self._path.open("rb") as file:
                file.seek(offset)
                self._known[place] = hashlib.sha256(file.read(size)).hexdigest()
        return self._known.get(place, "")


def _lines(element: Element, weights: _Weights, depth: int = 0) -> Iterator[str]:
    attributes = dict(element.attrib)
    if element.tag == "net":
        attributes.pop("name", None)
    constant = element.tag == "layer" and attributes.get("type") == "Const"
    if constant:
        del attributes["name"]
    yield f"{depth} {element.tag} {sorted(attributes.items())} {(element.text or '').strip()}"
    for child in element:
        if child.tag == "rt_info":
            continue
        if constant and child.tag == "data":
            kept = {k: v for k, v in child.attrib.items() if k not in ("offset", "size")}
            content = weights.of(int(child.attrib["offset"]), int(child.attrib["size"]))
            yield f"{depth + 1} data {sorted(kept.items())} {content}"
            continue
        if child.tag == "edges":
            yield from sorted(f"{depth + 1} edge {sorted(e.attrib.items())}" for e in child)
            continue
        yield from _lines(child, weights, depth + 1)
