"""The layers of an analysis as a tree of modules, coloured by their share of the error."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from convkit.report import words
from convkit.report.blocks import HeatMap, HeatNode
from convkit.sensitivity import SensitivityRow, decibels

STEPS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""The least share of levels 1 to 6: equal steps to the eye, since shares span orders."""

SHOWN = 40
"""Lines that are open at first."""

LONGEST = 60
"""Layers in one module before they are put into parts."""

PART = 40
"""The most layers of such a part."""

DEEPEST = 15
"""Modules inside modules; names from a file may nest without end."""

NOWHERE = "in no module"
LETTERS = 44


@dataclass
class _Module:
    """A node while the tree grows; `at` is what it holds, in the order of execution."""

    path: tuple[str, ...] = ()
    at: dict[str, _Module | int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Model:
    """What the figures of every line stand on.

    Attributes:
        shares: of each row, see `error_shares`.
        ranked: any share is known.
    """

    rows: Sequence[SensitivityRow]
    shares: Sequence[float | None]
    macs: int
    ranked: bool


def heat_map(rows: Sequence[SensitivityRow]) -> HeatMap:
    """Every row as a line below the modules of its scope.

    Without scopes the folders of the layers' names (`/block/conv/Conv`) are the modules.
    """
    shares = error_shares(rows)
    ranked = any(share is not None for share in shares)
    model = _Model(rows, shares, sum(row.macs for row in rows), ranked)
    nodes = [_node(held, model) for held in _parts(_tree(rows))]
    columns = ("error", "activations", "weights", "MACs") if ranked else ("MACs",)
    notes = [
        "error: the share of all layers' errors, as if they were independent; "
        "activations, weights: what is left of the signal at the outputs if these alone were "
        "quantized (more dB is better)."
        if ranked
        else "No ranker could tell the errors of single layers here, so nothing is coloured.",
        "MACs: the share of the model's multiply-accumulates.",
    ]
    if any(not row.integer for row in rows):
        notes.append("always float: what the runtime or the quantizer computes in float anyway.")
    steps = tuple(words.percent(step, 1 if step < 0.01 else 0) for step in STEPS) if ranked else ()
    return HeatMap("Layers by module", columns, steps, _opened(nodes, model), (" ".join(notes),))


def error_shares(rows: Sequence[SensitivityRow]) -> list[float | None]:
    """Of each row in the sum of all errors; None where no ranker could tell.

    Infinite errors share the whole among themselves.
    """
    known = [None if row.activation is None and row.weights is None else row.error for row in rows]
    errors = [e if e is not None and not math.isnan(e) else None for e in known]
    endless = sum(e == math.inf for e in errors)
    if endless:
        return [None if e is None else (1 / endless if e == math.inf else 0.0) for e in errors]
    total = sum(e for e in errors if e is not None)
    return [None if e is None else (e / total if total > 0 else 0.0) for e in errors]


def level(share: float | None) -> int | None:
    """Of the colour, 0 to 6."""
    return None if share is None else sum(share >= step for step in STEPS)


def _path(row: SensitivityRow, scoped: bool) -> tuple[str, ...]:
    if scoped:
        return tuple(row.scope.split(".", DEEPEST)) if row.scope else (NOWHERE,)
    return tuple(row.layer.strip("/").split("/", DEEPEST)[:-1])


def _tree(rows: Sequence[SensitivityRow]) -> _Module:
    scoped = any(row.scope for row in rows)
    root = _Module()
    for place, row in enumerate(rows):
        here = root
        for part in _path(row, scoped):
            inner = here.at.setdefault(f"module {part}", _Module((*here.path, part)))
            assert isinstance(inner, _Module)
            here = inner
        here.at[f"layer {place}"] = place
    return root


def _parts(module: _Module) -> Iterator[_Module | int]:
    """What a module holds; many layers in parts."""
    layers = [held for held in module.at.values() if isinstance(held, int)]
    if len(layers) <= LONGEST:
        yield from module.at.values()
        return
    yield from (held for held in module.at.values() if isinstance(held, _Module))
    size = math.ceil(len(layers) / math.ceil(len(layers) / PART))
    for start in range(0, len(layers), size):
        some = layers[start : start + size]
        name = f"layers {start + 1} to {start + len(some)}"
        yield _Module((*module.path, name), {f"layer {place}": place for place in some})


def _places(held: _Module | int) -> Iterator[int]:
    if isinstance(held, int):
        yield held
        return
    for inner in held.at.values():
        yield from _places(inner)


def _node(held: _Module | int, model: _Model) -> HeatNode:
    """What is shown for a module or a layer."""
    if isinstance(held, int):
        row = model.rows[held]
        return _leaf(held, row.layer.rpartition("/")[2] or row.layer, row.op_type, model)
    name = held.path[-1]
    while len(held.at) == 1:  # `a` with nothing but `b` in it is shown as `a.b`
        (only,) = held.at.values()
        if isinstance(only, int):
            if held.path[-1] == NOWHERE:
                break
            row = model.rows[only]
            return _leaf(only, name, f"{row.op_type} {row.layer.rpartition('/')[2]}", model)
        held = only
        name = f"{name}.{held.path[-1]}"
    places = list(_places(held))
    share = _sum(model.shares[p] for p in places)
    return HeatNode(
        words.middle(name, LETTERS),
        ".".join(held.path),
        words.count(len(places), "layer"),
        level(share),
        _figures([model.rows[p] for p in places], share, model),
        children=tuple(_node(inner, model) for inner in _parts(held)),
    )


def _leaf(place: int, name: str, detail: str, model: _Model) -> HeatNode:
    row, share = model.rows[place], model.shares[place]
    whole = f"{row.layer} ({row.op_type})" + (f" in {row.scope}" if row.scope else "")
    return HeatNode(
        words.middle(name, LETTERS),
        whole,
        words.middle(detail, LETTERS),
        level(share),
        _figures([row], share, model),
        place=place,
        fixed=not row.integer,
    )


def _figures(rows: Sequence[SensitivityRow], share: float | None, model: _Model) -> tuple[str, ...]:
    """One text for each column."""
    work = sum(row.macs for row in rows)
    part = share_words(work / model.macs) if work else words.NONE
    if not model.ranked:
        return (part,)
    return (share_words(share), _alone(rows, _activation), _alone(rows, _weights), part)


def _activation(row: SensitivityRow) -> float | None:
    return row.activation


def _weights(row: SensitivityRow) -> float | None:
    return row.weights


def _alone(rows: Sequence[SensitivityRow], which: Callable[[SensitivityRow], float | None]) -> str:
    error = _sum(which(row) for row in rows)
    if error is None or math.isnan(error):
        return words.NONE
    return words.decibels(-math.inf if error == math.inf else decibels(error))


def share_words(share: float | None) -> str:
    """`12 %`, `0.3 %`, `under 0.1 %`."""
    if share is None or share == 0:
        return words.NONE if share is None else words.percent(0.0)
    if share < 0.001:
        return f"<{words.NBSP}{words.percent(0.001, 1)}"
    return words.percent(share, 0 if share >= 0.1 else 1)


def _sum(values: Iterable[float | None]) -> float | None:
    """Of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _opened(nodes: Sequence[HeatNode], model: _Model) -> tuple[HeatNode, ...]:
    """The tree with the modules open that say most, until there are `SHOWN` lines."""

    def weight(node: HeatNode) -> float:
        places = node.places
        if model.ranked:
            return sum(model.shares[p] or 0.0 for p in places)
        return sum(model.rows[p].kept for p in places)

    opened: set[int] = set()
    lines = len(nodes)
    waiting: list[tuple[float, int, HeatNode]] = []
    for node in nodes:
        heapq.heappush(waiting, (-weight(node), len(waiting), node))
    pushed = len(waiting)
    while waiting:
        least, number, node = heapq.heappop(waiting)
        if (least == 0 and number >= len(nodes)) or lines + len(node.children) > SHOWN:
            continue
        opened.add(id(node))
        lines += len(node.children)
        for child in node.children:
            heapq.heappush(waiting, (-weight(child), pushed, child))
            pushed += 1

    def copy(node: HeatNode) -> HeatNode:
        children = tuple(copy(child) for child in node.children)
        return replace(node, open=bool(children) and id(node) in opened, children=children)

    return tuple(copy(node) for node in nodes)
