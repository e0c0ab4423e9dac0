"""The graph of a plan, and that what is written can be read again."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from convkit.artifact import State
from convkit.engine import plan_graph as drawing
from convkit.environment import IsolatedEnvironment
from convkit.errors import UsageError
from convkit.plans import Cost, Plan, Rejection, Step
from convkit.plans import Path as Road
from convkit.plugin import ConverterBase

EVIL = 'says "no" & <b>#1;</b> \\ `x`\nend\r\x1b[31m'
"""Everything that could break out of a label, in one reason."""

DOT_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


class Edge(ConverterBase):
    def __init__(self, name: str, source: str, target: str, isolated: str = "") -> None:
        self.name, self.source, self.target = name, State(source), State(target)
        self.isolated = IsolatedEnvironment(isolated, "3.11", "x==1") if isolated else None


EDGES = (
    Edge("a.b", "a", "b"),
    Edge("a.b2", "a", "b"),
    Edge("b.prepare", "b", "b"),
    Edge("b.end", "b", "end", isolated="old"),
    Edge("a.end", "a", "end"),
    Edge("evil", "a", "end"),
    Edge("elsewhere", "end", "z"),
)


def road(*names: str) -> Road:
    edges = {e.name: e for e in EDGES}
    steps = tuple(Step(n, edges[n].source, edges[n].target) for n in names)
    return Road(steps, Cost(0, len(steps), 1.0))


@pytest.fixture
def graph() -> Any:
    rejections = (
        Rejection("evil", EVIL, 'pip install "it"'),
        Rejection("b.end", "needs an older b"),
        Rejection("elsewhere", "is not near"),
    )
    paths = (road("a.b", "b.prepare", "b.end"), road("a.end"))
    plan = Plan(State("a"), State("end"), paths, rejections)
    return drawing.plan_graph(plan, EDGES)


def test_roles(graph: Any) -> None:
    roles = {key: data["role"] for _, _, key, data in graph.edges(keys=True, data=True)}
    assert roles == {
        "a.b": "chosen",
        "b.prepare": "chosen",
        "b.end": "chosen",
        "a.end": "fallback",
        "a.b2": "unused",
        "evil": "rejected",
    }
    assert dict(graph.nodes(data="role")) == {"a": "source", "b": "chosen", "end": "target"}
    chosen = graph.edges["b", "end", "b.end"]
    assert (chosen["rank"], chosen["step"], chosen["environment"]) == (1, 3, "old")
    assert chosen["reason"] == "needs an older b", "turned down on another path"
    assert graph.edges["a", "end", "a.end"]["rank"] == 2


def test_without_a_path_the_rejections_are_drawn() -> None:
    plan = Plan(State("a"), State("end"), (), (Rejection("a.end", "no"),))
    graph = drawing.plan_graph(plan, EDGES)
    assert graph.edges["a", "end", "a.end"]["role"] == "rejected"
    assert "chosen" not in {role for _, _, role in graph.edges(data="role")}


def test_states_that_nothing_joins() -> None:
    graph = drawing.plan_graph(Plan(State("z"), State("a"), ()), EDGES)
    assert list(graph.nodes) == ["z", "a"]
    assert graph.number_of_edges() == 0


def test_graphml_reads_back(graph: Any) -> None:
    read = nx.read_graphml(io.BytesIO(drawing.graphml(graph).encode()), force_multigraph=True)
    assert set(read.nodes) == set(graph.nodes)
    assert read.is_directed()
    ours = {key: (a, b, data) for a, b, key, data in graph.edges(keys=True, data=True)}
    theirs = {key: (a, b, data) for a, b, key, data in read.edges(keys=True, data=True)}
    assert theirs.keys() == ours.keys()
    for key, (start, end, data) in theirs.items():
        assert (start, end) == ours[key][:2]
        if key != "evil":
            assert {n: v if v is not None else "" for n, v in data.items()} == ours[key][2]
    assert 'says "no" & <b>#1;</b> \\ `x`\nend' in theirs["evil"][2]["reason"]
    assert theirs["evil"][2]["remedy"] == 'pip install "it"'


def test_dot_is_well_formed(graph: Any) -> None:
    text = drawing.dot(graph)
    strings = DOT_STRING.findall(text)
    rest = DOT_STRING.sub("S", text)
    assert '"' not in rest, "every quote is part of a string"
    statements = rest.strip().splitlines()
    assert statements[0] == "digraph convkit {" and statements[-1] == "}"
    edges = [s for s in statements if "->" in s]
    assert len(edges) == graph.number_of_edges()
    shape = r"  S -> S \[label=S, color=S, fontcolor=S, penwidth=\d, style=(solid|dashed)\];"
    assert all(re.fullmatch(shape, s) for s in edges)
    assert sum("style=dashed" in s for s in edges) == 1
    assert sum("penwidth=3, style=solid" in s for s in edges) == 3
    label = next(s for s in strings if s.startswith("evil"))
    meant = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), label)
    assert meant.startswith('evil\nsays "no" & <b>#1;</b> \\ `x`\nend')
    assert meant.endswith('remedy: pip install "it"')


def test_mermaid_is_well_formed(graph: Any) -> None:
    header, *lines = drawing.mermaid(graph).splitlines()
    assert header == "flowchart LR"
    nodes = dict(m.groups() for x in lines if (m := re.match(r'  (n\d+)\(\["([^"]*)"\]\)', x)))
    assert set(nodes.values()) == {"a", "b", "end"}
    arrow = re.compile(r'  (n\d+) (==>|-->|-\.->)\|"([^"]*)"\| (n\d+)')
    arrows = [m.groups() for x in lines if (m := arrow.fullmatch(x))]
    assert len(arrows) == graph.number_of_edges()
    by_label = {
        label.partition("<br>")[0]: (nodes[a], kind, nodes[b]) for a, kind, label, b in arrows
    }
    assert by_label["a.b"] == ("a", "==>", "b")
    assert by_label["a.b2"] == ("a", "-->", "b")
    assert by_label["evil"] == ("a", "-.->", "end")
    (label,) = (text for _, _, text, _ in arrows if text.startswith("evil"))
    assert not set(label.replace("<br>", "")) & set('"&<>`\\')
    meant = re.sub(r"#(\d+);", lambda m: chr(int(m[1])), label.replace("<br>", "\n"))
    assert meant.splitlines()[1].startswith('says "no" & <b>#1;</b> \\ `x` end')
    assert sum(line.startswith("  linkStyle") for line in lines) == len(arrows)
    rest = [x for x in lines if not arrow.fullmatch(x) and not x.startswith("  n")]
    assert all(x.startswith(("  linkStyle ", "  classDef ")) for x in rest)


@pytest.mark.parametrize("suffix", drawing.WRITERS)
def test_written_whole(graph: Any, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / f"roads{suffix}"
    drawing.write_graph(graph, path)
    assert path.read_text("utf-8") == drawing.WRITERS[suffix](graph)
    assert list(path.parent.iterdir()) == [path]


def test_unknown_suffix(graph: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="roads.png") as caught:
        drawing.write_graph(graph, tmp_path / "roads.png")
    assert ".graphml" in caught.value.hint
