"""A plan as a graph to look at: Mermaid, DOT and GraphML.

Nodes are states, arcs are edges of the registry. What lies on no road between the plan's two
states is left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import UsageError
from convkit.plans import Plan
from convkit.plugin.edges import Converter

if TYPE_CHECKING:
    import networkx as nx

CHOSEN, FALLBACK, REJECTED, UNUSED = "chosen", "fallback", "rejected", "unused"
"""What an arc is to the plan: on the best path, on another ranked one, turned down, or neither."""

STYLES = {
    CHOSEN: ("#1a7f37", 3, "solid"),
    FALLBACK: ("#57606a", 1, "solid"),
    REJECTED: ("#cf222e", 1, "dashed"),
    UNUSED: ("#afb8c1", 1, "solid"),
}
"""Colour, width and stroke of an arc."""


def plan_graph(plan: Plan, converters: Iterable[Converter]) -> nx.MultiDiGraph[str]:
    """The part of the graph that lies between a plan's source and target.

    Nodes carry `role` (`source`, `target`, `chosen` or empty); arcs carry `converter`, `role`,
    `rank` (of the best path that they are on, 0 for none), `step` (on that path, from 1), `loss`,
    `seconds`, `environment`, and `reason` and `remedy` of their rejections. An arc may be chosen
    and have a reason: it was turned down on another path.
    """
    import networkx as nx

    converters = tuple(converters)
    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    source, target = str(plan.source), str(plan.target)
    places: dict[str, tuple[int, int]] = {}
    for rank, path in enumerate(plan.paths, 1):
        for number, step in enumerate(path.steps, 1):
            places.setdefault(step.converter, (rank, number))
    graph.add_nodes_from(_between(source, target, converters))
    for edge in converters:
        if str(edge.source) not in graph or str(edge.target) not in graph:
            continue
        turned_down = [r for r in plan.rejections if r.subject == edge.name]
        rank, number = places.get(edge.name, (0, 0))
        role = FALLBACK if rank else REJECTED if turned_down else UNUSED
        graph.add_edge(
            str(edge.source),
            str(edge.target),
            key=edge.name,
            converter=edge.name,
            role=CHOSEN if rank == 1 else role,
            rank=rank,
            step=number,
            loss=edge.loss,
            seconds=float(edge.seconds),
            environment=edge.isolated.name if edge.isolated else "",
            reason="; ".join(r.reason for r in turned_down),
            remedy="; ".join(r.remedy for r in turned_down if r.remedy),
        )
    chosen = {
        str(s) for p in plan.paths[:1] for step in p.steps for s in (step.source, step.target)
    }
    for state, attributes in graph.nodes(data=True):
        ends = {source: "source", target: "target"}
        attributes["role"] = ends.get(state, CHOSEN if state in chosen else "")
    return graph


def mermaid(graph: nx.MultiDiGraph[str]) -> str:
    """A Mermaid flowchart."""
    ids = _ids(graph)
    lines = ["flowchart LR"]
    for state, attributes in graph.nodes(data=True):
        kind = f":::{attributes['role']}" if attributes["role"] else ""
        lines.append(f'  {ids[state]}(["{_mermaid_text(state)}"]){kind}')
    styles = []
    for number, (start, end, edge) in enumerate(graph.edges(data=True)):
        arrow = {CHOSEN: "==>", REJECTED: "-.->"}.get(edge["role"], "-->")
        label = "<br>".join(_mermaid_text(line) for line in _label(edge))
        lines.append(f'  {ids[start]} {arrow}|"{label}"| {ids[end]}')
        colour, width, _ = STYLES[edge["role"]]
        styles.append(f"  linkStyle {number} stroke:{colour},stroke-width:{width}px")
    colour = STYLES[CHOSEN][0]
    lines += styles
    lines += [f"  classDef {role} stroke:{colour},stroke-width:3px" for role in _NODE_ROLES]
    return "\n".join(lines) + "\n"


def dot(graph: nx.MultiDiGraph[str]) -> str:
    """A DOT digraph, for Graphviz."""
    lines = ["digraph convkit {", "  rankdir=LR;", "  node [shape=box, style=rounded];"]
    for state, attributes in graph.nodes(data=True):
        bold = f', color="{STYLES[CHOSEN][0]}", penwidth=3' if attributes["role"] else ""
        lines.append(f"  {_quoted(state)} [label={_quoted(state)}{bold}];")
    for start, end, edge in graph.edges(data=True):
        colour, width, stroke = STYLES[edge["role"]]
        label = _quoted("\n".join(_label(edge)))
        look = f'color="{colour}", fontcolor="{colour}", penwidth={width}, style={stroke}'
        lines.append(f"  {_quoted(start)} -> {_quoted(end)} [label={label}, {look}];")
    return "\n".join([*lines, "}"]) + "\n"


def graphml(graph: nx.MultiDiGraph[str]) -> str:
    """GraphML with every attribute; `networkx.read_graphml` reads it back."""
    import networkx as nx

    clean: Any = nx.MultiDiGraph()
    for state, attributes in graph.nodes(data=True):
        clean.add_node(_xml_text(state), **_xml_values(attributes))
    for start, end, key, edge in graph.edges(keys=True, data=True):
        clean.add_edge(_xml_text(start), _xml_text(end), key=_xml_text(key), **_xml_values(edge))
    return "\n".join(nx.generate_graphml(clean)) + "\n"


_NODE_ROLES = ("source", "target", CHOSEN)

WRITERS: Mapping[str, Callable[[Any], str]] = {
    ".mmd": mermaid,
    ".mermaid": mermaid,
    ".dot": dot,
    ".gv": dot,
    ".graphml": graphml,
}
"""By the suffix of the file."""


def check_suffix(path: Path) -> None:
    """Refuse a file that no writer is for.

    Raises:
        UsageError: naming the suffixes that there are.
    """
    if path.suffix.lower() not in WRITERS:
        raise UsageError(
            f"{path} does not say how to write the graph",
            hint=f"Its name must end in {', '.join(WRITERS)}; - prints Mermaid.",
        )


def write_graph(graph: nx.MultiDiGraph[str], path: Path) -> None:
    """Write the graph as the file's suffix says, whole or not at all.

    Raises:
        UsageError: no writer is for this suffix.
        PublishError: it cannot be written.
    """
    from convkit.engine.publish import publish_file

    check_suffix(path)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "graph"
        draft.write_text(WRITERS[path.suffix.lower()](graph), "utf-8")
        publish_file(draft, path)


def _between(source: str, target: str, converters: Iterable[Converter]) -> list[str]:
    """States on a road from source to target, both among them, in the order of the roads."""
    import networkx as nx

    roads: Any = nx.DiGraph()
    roads.add_nodes_from((source, target))
    roads.add_edges_from((str(e.source), str(e.target)) for e in converters)
    near = ({source} | nx.descendants(roads, source)) & ({target} | nx.ancestors(roads, target))
    far = nx.single_source_shortest_path_length(roads, source)
    ordered = sorted(near, key=lambda state: (far[state], state))
    return [source, *(s for s in ordered if s not in (source, target)), target]


def _label(edge: Mapping[str, Any]) -> list[str]:
    lines = [edge["converter"]]
    if edge["environment"]:
        lines.append(f"in {edge['environment']}")
    if edge["role"] == FALLBACK:
        lines.append(f"path {edge['rank']}")
    if edge["role"] == REJECTED:
        lines.append(edge["reason"])
        if edge["remedy"]:
            lines.append(f"remedy: {edge['remedy']}")
    return lines


def _ids(graph: nx.MultiDiGraph[str]) -> dict[str, str]:
    """Names without meaning: some words, `end` among them, break a flowchart."""
    return {state: f"n{number}" for number, state in enumerate(graph.nodes)}


def _mermaid_text(text: str) -> str:
    """Text for a quoted label: what could end the quotes, start an entity or be markup is spelled
    as a character code."""
    return "".join(f"#{ord(c)};" if c in '"#&<>`\\' else c for c in " ".join(text.split()))


def _quoted(text: str) -> str:
    """A quoted string of DOT; a line end becomes its escape."""
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + text.replace("\r", "").replace("\n", "\\n") + '"'


def _xml_text(text: str) -> str:
    """XML has no control characters."""
    return "".join(c for c in text if c.isprintable() or c in "\n\t")


def _xml_values(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {n: _xml_text(v) if isinstance(v, str) else v for n, v in attributes.items()}
