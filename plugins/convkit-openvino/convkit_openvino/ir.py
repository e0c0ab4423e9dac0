"""Parse an OpenVINO IR, and check that graph and weights belong together.

Done on the XML itself, since the runtime maps the weights into memory without looking whether each
constant lies inside them, and reports less than is needed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from convkit.errors import InputError
from convkit_openvino import dtypes

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

BODIES = ("body", "then_body", "else_body")
_DAMAGED = "The file is truncated or damaged; copy or convert it again."
_SLACK = 64
"""Bytes that may follow the last constant: writers pad to an alignment."""

Shape = tuple[int | None, ...]
Place = tuple[str, str]
"""A port: id of the layer and of the port."""


@dataclass(frozen=True)
class Port:
    """An input or output of a layer; unknown dimensions are None."""

    dtype: str
    shape: Shape
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Constant:
    """Where the bytes of a constant lie in the `.bin`."""

    element_type: str
    shape: tuple[int, ...]
    offset: int
    size: int

    @property
    def elements(self) -> int:
        """Number of values."""
        return prod(self.shape)


@dataclass(frozen=True)
class Layer:
    """One operator.

    Attributes:
        data: attributes of the operator, as texts.
        inputs, outputs: ports by id, in the file's order.
        result_names: names of the model's output that a `Result` stands for.
        constant: set for constants only.
        bodies: graphs that a loop or a branch runs.
        rounds: how often a loop runs where that follows from a shape, else 1.
    """

    id: str
    name: str
    type: str
    data: Mapping[str, str]
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]
    result_names: tuple[str, ...] = ()
    constant: Constant | None = None
    bodies: tuple[Graph, ...] = ()
    rounds: int = 1


@dataclass(frozen=True)
class Graph:
    """Layers in execution order, and for each input port the output port that feeds it."""

    layers: tuple[Layer, ...]
    feeds: Mapping[Place, Place]
    by_id: Mapping[str, Layer] = field(default_factory=dict)

    def sources(self, layer: Layer) -> tuple[tuple[Layer, str], ...]:
        """The producers of a layer's inputs, each with the output port, in the layer's order."""
        return tuple(
            (self.by_id[producer], port)
            for producer, port in (self.feeds[layer.id, i] for i in layer.inputs)
        )

    def walk(self) -> Iterator[Layer]:
        """Layers of this graph and of all bodies inside it."""
        for layer in self.layers:
            yield layer
            for body in layer.bodies:
                yield from body.walk()


@dataclass(frozen=True)
class Ir:
    """A parsed file.

    Attributes:
        root: the XML.
        weights: path of the `.bin`, which need not exist where there are no constants.
    """

    root: Element
    graph: Graph
    weights: Path

    @property
    def constants(self) -> Iterator[Constant]:
        """All constants, bodies included; several may share their bytes."""
        return (x.constant for x in self.graph.walk() if x.constant is not None)


class _Damage(Exception):
    """What is wrong with the file."""


def load(path: Path) -> Ir:
    """Parse and check the file.

    Raises:
        InputError: not an IR, truncated, inconsistent in itself, or not made with this `.bin`.
    """
    from xml.etree import ElementTree

    if not path.is_file():
        raise InputError(f"{path} is not a file", hint="Give the .xml of an OpenVINO IR.")
    content = path.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        # Entities can be made to expand without end; no writer of IRs uses them.
        raise InputError(f"{path.name} declares XML entities, which an OpenVINO IR does not have")
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as exc:
        raise InputError(f"{path.name} is not well-formed XML: {exc}", hint=_DAMAGED) from exc
    if root.tag != "net" or not root.get("version", "").isdigit():
        raise InputError(f"{path.name} is XML, but not an OpenVINO IR")
    try:
        found = Ir(root, _graph(root), path.with_suffix(".bin"))
    except RecursionError as exc:
        raise InputError(f"{path.name} is nested too deeply", hint=_DAMAGED) from exc
    except (_Damage, KeyError, ValueError) as exc:
        raise InputError(f"{path.name} is damaged: {exc}", hint=_DAMAGED) from exc
    _check_weights(found, path)
    return found


def _check_weights(ir: Ir, path: Path) -> None:
    """Raises InputError where the `.bin` is missing, too short or too long for the constants."""
    end = max((c.offset + c.size for c in ir.constants), default=0)
    if not end:
        return
    weights = ir.weights
    if not weights.is_file():
        raise InputError(
            f"{path.name} keeps its weights in {weights.name}, which is missing",
            hint="Copy that file into the same folder; the two share one stem.",
        )
    size = weights.stat().st_size
    if not end <= size < end + _SLACK:
        raise InputError(
            f"{weights.name} does not belong to {path.name}: {size} bytes, {end} expected",
            hint="It is truncated, or the weights of another model.",
        )


def _graph(element: Element) -> Graph:
    layers = {}
    for item in element.iterfind("layers/layer"):
        layer = _layer(item)
        if layer.id in layers:
            raise _Damage(f"two layers have the id {layer.id}")
        layers[layer.id] = layer
    if not layers:
        raise _Damage("it has no layers")
    feeds: dict[Place, Place] = {}
    for edge in element.iterfind("edges/edge"):
        start = (edge.attrib["from-layer"], edge.attrib["from-port"])
        end = (edge.attrib["to-layer"], edge.attrib["to-port"])
        known = start[0] in layers and start[1] in layers[start[0]].outputs
        if not known or end[0] not in layers or end[1] not in layers[end[0]].inputs:
            raise _Damage(f"an edge leads from {start} to {end}, which are not both there")
        if end in feeds:
            raise _Damage(f"input {end[1]} of {layers[end[0]].name} is fed twice")
        feeds[end] = start
    for layer in layers.values():
        loose = [port for port in layer.inputs if (layer.id, port) not in feeds]
        if loose:
            raise _Damage(f"input {loose[0]} of {layer.name} is not connected")
    ordered = tuple(_in_order(layers, feeds))
    return Graph(ordered, feeds, layers)


def _in_order(layers: Mapping[str, Layer], feeds: Mapping[Place, Place]) -> Iterator[Layer]:
    """Producers before consumers, else in the file's order."""
    done: set[str] = set()
    for start in layers:
        stack = [(start, False)]
        open_: set[str] = set()
        while stack:
            current, finished = stack.pop()
            if finished:
                open_.discard(current)
                if current not in done:
                    done.add(current)
                    yield layers[current]
                continue
            if current in done:
                continue
            if current in open_:
                raise _Damage(f"{layers[current].name} depends on itself")
            open_.add(current)
            stack.append((current, True))
            producers = [feeds[current, port][0] for port in layers[current].inputs]
            stack += [(p, False) for p in reversed(producers) if p not in done]


def _layer(item: Element) -> Layer:
    kind = item.attrib["type"]
    data = item.find("data")
    attributes = dict(data.attrib) if data is not None else {}
    inputs = {p.attrib["id"]: _port(p) for p in item.iterfind("input/port")}
    return Layer(
        id=item.attrib["id"],
        name=item.attrib["name"],
        type="Constant" if kind == "Const" else kind,
        data=attributes,
        inputs=inputs,
        outputs={p.attrib["id"]: _port(p) for p in item.iterfind("output/port")},
        result_names=_split(item.get("output_names", "")),
        constant=_constant(item.attrib["name"], attributes) if kind == "Const" else None,
        bodies=tuple(_graph(body) for tag in BODIES for body in item.iterfind(tag)),
        rounds=_rounds(item, inputs),
    )


def _rounds(item: Element, inputs: Mapping[str, Port]) -> int:
    """A loop over slices of an input runs as often as that input has slices."""
    for entry in item.iterfind("port_map/input"):
        outside = inputs.get(entry.get("external_port_id", ""))
        axis = int(entry.get("axis", "-1"))
        if outside is not None and 0 <= axis < len(outside.shape):
            return max((outside.shape[axis] or 1) // max(int(entry.get("part_size", "1")), 1), 1)
    return 1


def _port(item: Element) -> Port:
    sizes = (int(dim.text or "") for dim in item.iterfind("dim"))
    shape = tuple(size if size >= 0 else None for size in sizes)
    return Port(dtypes.of_port(item.get("precision", "")), shape, _split(item.get("names", "")))


def _split(names: str) -> tuple[str, ...]:
    """Names are divided by commas; a comma inside a name is escaped by a backslash."""
    parts = names.replace("\\,", "\0").split(",")
    return tuple(part.replace("\0", ",") for part in parts if part)


def _constant(name: str, data: Mapping[str, str]) -> Constant:
    shape = tuple(int(size) for size in data.get("shape", "").split(",") if size.strip())
    found = Constant(data["element_type"], shape, int(data["offset"]), int(data["size"]))
    width = dtypes.bits(found.element_type)
    if width is None:
        raise _Damage(f"the constant {name} is of an unknown type, {found.element_type!r}")
    if min((*shape, found.offset, found.size)) < 0:
        raise _Damage(f"the constant {name} has a negative size")
    if width and found.size != (found.elements * width + 7) // 8:
        raise _Damage(f"the constant {name} has {found.size} bytes for the shape {shape}")
    return found
