"""Ranked paths through the graph of states, and every edge that was turned down with its reason.

networkx searches a collapsed graph (one arc per pair of states, weighted by its best edge), since
its k-shortest-simple-paths refuses multigraphs and tuple weights; each path of states is then
expanded into its parallel edges, bound backwards on traits, and ranked by the exact cost.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from convkit.artifact import State, Trait
from convkit.engine.machine import install_command, unmet_requirement
from convkit.engine.traits import Infeasible, bind
from convkit.environment import Environment
from convkit.errors import NoPathError, UsageError
from convkit.plans import Cost, OptionValue, Path, Plan, Rejection, Step
from convkit.plugin.edges import Converter, TraitRequirement
from convkit.plugin.registry import Registry

LOSS_WEIGHT, HOP_WEIGHT = 1e9, 1e5
"""Scalar ranks of the collapsed graph: one unit of loss outweighs any number of hops."""

FLOAT = "fp32"
FLOATS = frozenset({FLOAT, "fp16"})
_AGAIN = "the model was quantized before: a second rounding would add to the first"
_FURTHER_ON = "only the model given may be widened"

MAX_CANDIDATES = 2000
"""Expanded paths looked at for one target; far above what a real graph needs."""

FAR_CANDIDATES = 50_000
"""The same where the user wants a certain road: it may be far down, and most are soon passed."""

MIN_CANDIDATES = 64
"""Looked at even where the best paths are known already, for the sake of the rejections."""


@dataclass(frozen=True)
class Wishes:
    """How the user steers.

    Attributes:
        via: formats, states or converters that the path must contain.
        avoid: formats, states, tools or converters that it must not.
        converters: converters (or tools, `onnx-tf`) that it must use.
        options: `(converter, option)` to value.
        unfit: converters that cannot have an option as the user wants it, and why.
        prepared: what the source is to be made first, where a preparation can, such as of fixed
            shapes.
    """

    via: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    converters: tuple[str, ...] = ()
    options: Mapping[tuple[str, str], OptionValue] = field(default_factory=dict)
    unfit: Mapping[str, str] = field(default_factory=dict)
    prepared: tuple[TraitRequirement, ...] = ()


Beginning = tuple[tuple[str, tuple[tuple[str, OptionValue], ...]], ...]
"""The first steps of a path: converters with their options."""


def beginning(steps: Sequence[Step]) -> Beginning:
    """What tells a path's first steps from another's."""
    return tuple((s.converter, tuple(sorted(s.options.items()))) for s in steps)


@dataclass(frozen=True)
class Banned:
    """What failed, with the evidence.

    Attributes:
        edges: converters that are out whatever they are given.
        beginnings: first steps of a path; the last of them failed on what the others made, and
            may do better on what another road makes.
    """

    edges: Mapping[str, str] = field(default_factory=dict)
    beginnings: Mapping[Beginning, str] = field(default_factory=dict)

    def forbids(self, steps: Sequence[Step]) -> bool:
        """Whether a path begins like one that failed."""
        whole = beginning(steps)
        return any(whole[: len(start)] == start for start in self.beginnings)


class Planner:
    """Plans over one registry in one environment."""

    def __init__(
        self,
        registry: Registry,
        environment: Environment,
        isolated_fault: Callable[[Converter], str] = lambda _: "",
    ) -> None:
        """`isolated_fault` says why a converter's own environment cannot be had, or nothing."""
        self._registry = registry
        self._environment = environment
        self._isolated_fault = isolated_fault

    def plan(
        self,
        source: State,
        target: State,
        *,
        traits: Mapping[str, Trait] | None = None,
        wishes: Wishes | None = None,
        banned: Banned | None = None,
        limit: int = 5,
    ) -> Plan:
        """Rank the best `limit` paths from source to target.

        Args:
            traits: of the source artifact, where it has been inspected.
            banned: what failed earlier in this run.

        Returns:
            A plan whose `paths` may be empty; see `require_path`.

        Raises:
            UsageError: the source is the target already.
        """
        if source == target:
            raise UsageError(
                f"the model is {target} already", hint="`convkit formats` lists other targets."
            )
        wishes = wishes or Wishes()
        rejections: dict[tuple[str, str], Rejection] = {}

        def reject(subject: str, reason: str, remedy: str = "") -> None:
            rejections.setdefault((subject, reason), Rejection(subject, reason, remedy))

        banned = banned or Banned()
        usable = [e for e in self._registry.converters.values() if e.name not in banned.edges]
        for name, evidence in banned.edges.items():
            reject(name, evidence)
        for start, evidence in banned.beginnings.items():
            reject(start[-1][0], evidence)
        usable = [e for e in usable if self._admit(e, source, wishes, reject)]
        preparations = [e for e in usable if e.source == e.target]
        arcs: dict[tuple[State, State], list[Converter]] = {}
        for edge in usable:
            if edge.source != edge.target:
                arcs.setdefault((edge.source, edge.target), []).append(edge)
        paths: list[Path] = []
        candidates = _candidates(source, target, arcs)
        most = FAR_CANDIDATES if wishes.via or wishes.converters else MAX_CANDIDATES
        for number, (bound, edges) in enumerate(itertools.islice(candidates, most)):
            if number >= MIN_CANDIDATES and _settled(paths, limit, bound):
                break
            missing = _missing_wish(edges, wishes)
            if missing:
                continue
            steps = None
            for helpers in (preparations, ()):  # what they prepared may be what failed
                try:
                    steps = bind(edges, traits or {}, helpers, wishes.options, wishes.prepared)
                except Infeasible as fault:
                    reject(fault.subject, fault.reason, fault.remedy)
                    break
                if not banned.forbids(steps):
                    break
                steps = None
            if steps is None:
                continue
            paths.append(Path(steps, self._cost(steps)))
        paths.sort(key=lambda path: path.cost)
        relevant = _relevant(rejections.values(), self._registry, source, target)
        return Plan(source, target, tuple(paths[:limit]), relevant)

    def _admit(
        self, edge: Converter, source: State, wishes: Wishes, reject: Callable[..., None]
    ) -> bool:
        if _named(edge, wishes.avoid):
            reject(edge.name, "avoided, as you asked")
            return False
        if edge.name in wishes.unfit:
            reject(edge.name, wishes.unfit[edge.name])
            return False
        fault = _precision_fault(edge, source)
        if fault:
            reject(edge.name, fault)
            return False
        fault = (
            self._isolated_fault(edge)
            if edge.isolated is not None
            else unmet_requirement(edge.requirements, self._environment)
        )
        if fault:
            remedy = "" if edge.isolated else install_command(edge.requirements)
            reject(edge.name, fault, remedy)
            return False
        return True

    def _cost(self, steps: Sequence[Step]) -> Cost:
        edges = [self._registry.converters[s.converter] for s in steps]
        return Cost(sum(e.loss for e in edges), len(edges), sum(e.seconds for e in edges))


def require_path(plan: Plan) -> Path:
    """The best path.

    Raises:
        NoPathError: with the rejections and their remedies in its hint.
    """
    if plan.paths:
        return plan.paths[0]
    again = FLOATS.isdisjoint((plan.source.precision, plan.target.precision))
    obvious = (_AGAIN, _FURTHER_ON) if again else ()
    lines = [
        f"{r.subject}: {r.reason}" + (f" ({r.remedy})" if r.remedy else "")
        for r in plan.rejections
        if r.reason not in obvious
    ]
    said = []
    if again:
        said.append(
            f"What comes in {plan.source.precision} is not quantized once more. Start from the "
            f"float model, or write it out in float32: --to {plan.target.format}."
        )
    if lines:
        said.append("Turned down:\n  " + "\n  ".join(lines))
    raise NoPathError(
        f"no path leads from {plan.source} to {plan.target}",
        hint=" ".join(said) or "No installed plugin knows a way.",
    )


def _candidates(
    source: State, target: State, arcs: Mapping[tuple[State, State], Sequence[Converter]]
) -> Iterator[tuple[float, tuple[Converter, ...]]]:
    """Sequences of edges, each with the least rank that this and all later ones can have."""
    import networkx as nx

    graph: Any = nx.DiGraph()
    for (start, end), edges in arcs.items():
        graph.add_edge(start, end, rank=min(_rank(e) for e in edges))
    if source not in graph or target not in graph:
        return
    try:
        for states in nx.shortest_simple_paths(graph, source, target, weight="rank"):
            hops = [arcs[pair] for pair in itertools.pairwise(states)]
            bound = sum(min(_rank(e) for e in edges) for edges in hops)
            yield from ((bound, edges) for edges in itertools.product(*hops))
    except nx.NetworkXNoPath:
        return


def _settled(paths: Sequence[Path], limit: int, bound: float) -> bool:
    """Whether `limit` paths are known that nothing of at least this rank can beat."""
    ranks = sorted(
        p.cost.loss * LOSS_WEIGHT + p.cost.hops * HOP_WEIGHT + p.cost.seconds for p in paths
    )
    return len(ranks) >= limit and bound > ranks[limit - 1]


def _rank(edge: Converter) -> float:
    return edge.loss * LOSS_WEIGHT + HOP_WEIGHT + edge.seconds


def _precision_fault(edge: Converter, source: State) -> str:
    """Why an edge has no place on a path from `source` for the precisions that it joins."""
    if edge.widens:
        # further on, it would only undo what an edge before it has lost
        return "" if edge.source == source else _FURTHER_ON
    if edge.source.precision == edge.target.precision:
        return ""
    if edge.source.precision != FLOAT:
        return "a quantizer starts from fp32"
    if source.precision not in FLOATS:
        return _AGAIN
    return ""


def _named(edge: Converter, names: Iterable[str]) -> bool:
    """Whether a name means this edge: itself, its tool, or a state or format that it touches."""
    tool = edge.name.partition(".")[0]
    return any(
        n in (edge.name, tool, str(edge.target), str(edge.source))
        or (n == edge.target.format != edge.source.format)
        or (n == edge.source.format != edge.target.format)
        for n in names
    )


def _missing_wish(edges: Sequence[Converter], wishes: Wishes) -> str:
    """The first `--via` or `--converter` that the path does not honour; empty if it does."""
    for name in wishes.via:
        places = {str(s) for e in edges for s in (e.source, e.target)}
        formats = {s.format for e in edges for s in (e.source, e.target)}
        tools = {t for e in edges for t in (e.name, e.name.partition(".")[0])}
        if name not in places | formats | tools:
            return name
    for name in wishes.converters:
        if not any(name in (e.name, e.name.partition(".")[0]) for e in edges):
            return name
    return ""


def _relevant(
    rejections: Iterable[Rejection], registry: Registry, source: State, target: State
) -> tuple[Rejection, ...]:
    """Leave out edges that could lie on no path between the two states."""
    import networkx as nx

    graph: Any = nx.DiGraph()
    graph.add_nodes_from((source, target))
    for edge in registry.converters.values():
        graph.add_edge(edge.source, edge.target)
    near = ({source} | nx.descendants(graph, source)) & ({target} | nx.ancestors(graph, target))
    kept = []
    for rejection in rejections:
        guilty = registry.converters.get(rejection.subject)
        if guilty is None or (guilty.source in near and guilty.target in near):
            kept.append(rejection)
    return tuple(kept)
