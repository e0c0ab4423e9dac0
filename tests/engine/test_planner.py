"""Ranking, binding of traits, steering, and a reason for everything that was turned down."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convkit.artifact import Format, State
from convkit.engine.planner import Banned, Planner, Wishes, beginning, require_path
from convkit.environment import Environment, IsolatedEnvironment
from convkit.errors import ExitCode, NoPathError
from convkit.plans import Plan
from convkit.plugin.edges import Converter, ConverterBase, Option, TraitProvision, TraitRequirement
from convkit.plugin.manager import PluginManager
from convkit.plugin.registry import Registry

MACHINE = Environment("3.11.7", "linux", "x86_64", {"here": "1.5"})
OPSET = Option("opset", 17, "operator set", minimum=7, maximum=21)
BY_OPTION = (TraitProvision("opset", option="opset"),)
OLD = (TraitRequirement("opset", maximum=12),)


class Edge(ConverterBase):
    """An edge that is planned with and never run."""

    def __init__(self, **declared: Any) -> None:
        vars(self).update(declared)

    def convert(self, *arguments: Any) -> Any:
        raise AssertionError("the planner runs nothing")


def edge(name: str, source: str, target: str, **changes: Any) -> Converter:
    """States are spelled `format` or `format:precision`."""
    ends = [State(*text.split(":")) for text in (source, target)]
    return Edge(name=name, source=ends[0], target=ends[1], **{"seconds": 1.0, **changes})


def planner(*edges: Converter, faults: Mapping[str, str] | None = None) -> Planner:
    registry = Registry(PluginManager())
    formats = {s.format: Format(s.format, s.format) for e in edges for s in (e.source, e.target)}
    vars(registry).update(formats=formats, converters={e.name: e for e in edges})
    return Planner(registry, MACHINE, lambda e: (faults or {}).get(e.name, ""))


def names(plan: Plan) -> list[str]:
    """Each path as its converters."""
    return [" ".join(s.converter for s in path.steps) for path in plan.paths]


def reasons(plan: Plan) -> dict[str, tuple[str, str]]:
    return {r.subject: (r.reason, r.remedy) for r in plan.rejections}


A, B, C = State("a"), State("b"), State("c")


def test_fidelity_outweighs_hops_and_hops_outweigh_seconds() -> None:
    found = planner(
        edge("lossy", "a", "c", loss=1),
        edge("slow", "a", "c", seconds=900.0),
        edge("first", "a", "b"),
        edge("second", "b", "c"),
    ).plan(A, C)
    assert names(found) == ["slow", "first second", "lossy"]
    assert [p.cost for p in found.paths] == sorted(p.cost for p in found.paths)


def test_parallel_edges_are_all_ranked_and_the_best_k_kept() -> None:
    edges = [edge(f"x{n}", "a", "b", seconds=float(n)) for n in (4, 2, 3, 1)]
    found = planner(*edges, edge("y", "b", "c"))
    assert names(found.plan(A, C)) == ["x1 y", "x2 y", "x3 y", "x4 y"]
    assert names(found.plan(A, C, limit=2)) == ["x1 y", "x2 y"]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_best_path_of_a_random_graph_is_found(data: st.DataObject) -> None:
    """Against all simple paths, enumerated naively."""
    places = "abcdef"
    edges = [
        edge(f"e{n}", *ends, loss=data.draw(st.integers(0, 2)), seconds=data.draw(st.floats(0, 9)))
        for n, ends in enumerate(
            data.draw(
                st.lists(
                    st.tuples(st.sampled_from(places), st.sampled_from(places)).filter(
                        lambda p: p[0] != p[1]
                    ),
                    max_size=12,
                )
            )
        )
    ]

    def walk(place: str, seen: tuple[str, ...], cost: tuple[int, int, float]) -> list[Any]:
        if place == "f":
            return [cost]
        return [
            found
            for e in edges
            if e.source.format == place and e.target.format not in seen
            for found in walk(
                e.target.format,
                (*seen, e.target.format),
                (cost[0] + e.loss, cost[1] + 1, cost[2] + e.seconds),
            )
        ]

    costs = sorted(walk("a", ("a",), (0, 0, 0.0)))
    plan = planner(*edges).plan(A, State("f"))
    found = [(p.cost.loss, p.cost.hops, p.cost.seconds) for p in plan.paths]
    assert [c[:2] for c in found] == [c[:2] for c in costs[:5]]
    assert [c[2] for c in found] == pytest.approx([c[2] for c in costs[:5]])


def test_options_are_bound_backwards() -> None:
    found = planner(
        edge("export", "a", "b", options=(OPSET,), provides=BY_OPTION),
        edge("old", "b", "c", requires=OLD),
    ).plan(A, C)
    export, old = found.paths[0].steps
    assert (dict(export.options), export.bound) == ({"opset": 12}, ("opset",))
    assert old.bound == ()


def test_a_default_that_fits_is_left_alone() -> None:
    found = planner(
        edge("export", "a", "b", options=(OPSET,), provides=BY_OPTION),
        edge("new", "b", "c", requires=(TraitRequirement("opset", minimum=13),)),
    ).plan(A, C)
    assert found.paths[0].steps[0].options == {"opset": 17}
    assert found.paths[0].steps[0].bound == ()


def test_an_exporter_that_cannot_go_so_low_is_out_with_the_reason() -> None:
    modern = Option("opset", 18, "operator set", minimum=18, maximum=21)
    found = planner(
        edge("dynamo", "a", "b", options=(modern,), provides=BY_OPTION, seconds=0.1),
        edge("legacy", "a", "b", options=(OPSET,), provides=BY_OPTION),
        edge("old", "b", "c", requires=OLD),
    ).plan(A, C)
    assert names(found) == ["legacy old"]
    assert reasons(found)["old"][0] == (
        "requires opset at most 12, which dynamo cannot give (it can give 18 to 21)"
    )


def test_the_user_insists() -> None:
    found = planner(
        edge("export", "a", "b", options=(OPSET,), provides=BY_OPTION),
        edge("old", "b", "c", requires=OLD),
    ).plan(A, C, wishes=Wishes(options={("export", "opset"): 15}))
    assert not found.paths
    assert "with opset=15 as you asked" in reasons(found)["old"][0]


def test_preparations_are_inserted_where_they_are_needed() -> None:
    edges = (
        edge("export", "a", "b"),
        edge("simplify", "b", "b", provides=(TraitProvision("simple", value=True),)),
        edge("picky", "b", "c", requires=(TraitRequirement("simple", one_of=(True,)),)),
        edge("easy", "b", "d"),
    )
    assert names(planner(*edges).plan(A, C)) == ["export simplify picky"]
    assert names(planner(*edges).plan(A, State("d"))) == ["export easy"]
    assert names(planner(*edges).plan(B, C, traits={"simple": False})) == ["simplify picky"]
    assert names(planner(*edges).plan(B, C, traits={"simple": True})) == ["picky"]


def test_traits_of_the_source_decide() -> None:
    found = planner(edge("old", "b", "c", requires=OLD))
    assert names(found.plan(B, C, traits={"opset": 11})) == ["old"]
    assert names(found.plan(B, C)) == ["old"]  # unknown: the benefit of the doubt
    refused = found.plan(B, C, traits={"opset": 17})
    assert not refused.paths
    assert reasons(refused)["old"] == (
        "requires opset at most 12; this model has opset 17",
        "give a model with opset at most 12",
    )


def test_every_rejection_has_reason_and_remedy() -> None:
    isolated = IsolatedEnvironment("own", "3.10", "")
    found = planner(
        edge("absent", "a", "c", requirements=("not-here>=2",)),
        edge("outdated", "a", "c", requirements=("here>=2",)),
        edge("garbled", "a", "c", requirements=("here>>2",)),
        edge("alone", "a", "c", isolated=isolated),
        edge("failed", "a", "c"),
        edge("requantize", "c:int8", "c:int8-dynamic"),
        edge("elsewhere", "x", "y", requirements=("not-here",)),
        faults={"alone": "needs Python 3.10"},
    ).plan(A, C, banned=Banned({"failed": "failed in this run: boom"}))
    assert reasons(found) == {
        "absent": ("not-here is not installed", "python -m pip install 'not-here>=2'"),
        "outdated": ("here 1.5 is installed, here>=2 is needed", "python -m pip install 'here>=2'"),
        "garbled": (
            "the plugin's requirement 'here>>2' cannot be read",
            "python -m pip install 'here>>2'",
        ),
        "alone": ("needs Python 3.10", ""),
        "failed": ("failed in this run: boom", ""),
    }
    with pytest.raises(NoPathError) as caught:
        require_path(found)
    assert caught.value.exit_code is ExitCode.NO_PATH
    assert "python -m pip install 'not-here>=2'" in caught.value.hint


def test_quantizers_start_from_float_and_precision_never_rises() -> None:
    found = planner(
        edge("half", "a", "a:fp16"),
        edge("again", "a:fp16", "a:int8"),
        edge("carry", "a:fp16", "b:fp16"),
    )
    assert names(found.plan(A, State("b", "fp16"))) == ["half carry"]
    assert not found.plan(A, State("a", "int8")).paths


def test_the_model_given_may_be_widened_and_nothing_else() -> None:
    found = planner(
        edge("widen", "a:fp16", "a", widens=True),
        edge("half", "a", "a:fp16"),
        edge("carry-half", "a:fp16", "b:fp16"),
        edge("carry", "a", "c"),
        edge("other", "b", "a:fp16"),
    )
    assert names(found.plan(State("a", "fp16"), C)) == ["widen carry"]
    assert names(found.plan(State("a", "fp16"), State("b", "fp16"))) == ["carry-half"]
    beyond = found.plan(B, C)
    assert not beyond.paths, "what an edge of the path has lost is not to be made up"
    assert reasons(beyond)["widen"][0] == "only the model given may be widened"


@pytest.mark.parametrize(("precision", "again"), [("fp16", True), ("int8", False)])
def test_what_was_quantized_is_not_quantized_again(precision: str, again: bool) -> None:
    start = State("a", precision)
    found = planner(
        edge("widen", f"a:{precision}", "a", widens=True),
        edge("carry", "a", "b"),
        edge("quantize", "b", "b:int8"),
    )
    plan = found.plan(start, State("b", "int8"))
    assert names(found.plan(start, B)) == ["widen carry"]
    assert names(plan) == (["widen carry quantize"] if again else [])
    assert again or "was quantized before" in reasons(plan)["quantize"][0]


STEERED = (
    edge("short.direct", "a", "c"),
    edge("long.first", "a", "b"),
    edge("long.second", "b", "c"),
    edge("other.second", "b", "c", seconds=5.0),
)


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        (Wishes(), ["short.direct", "long.first long.second", "long.first other.second"]),
        (Wishes(via=("b",)), ["long.first long.second", "long.first other.second"]),
        (Wishes(via=("other",)), ["long.first other.second"]),
        (Wishes(avoid=("b",)), ["short.direct"]),
        (Wishes(avoid=("long",)), ["short.direct"]),
        (Wishes(avoid=("short.direct", "other")), ["long.first long.second"]),
        (Wishes(converters=("other.second",)), ["long.first other.second"]),
        (Wishes(converters=("short", "other")), []),
    ],
)
def test_steering(wishes: Wishes, expected: list[str]) -> None:
    assert names(planner(*STEERED).plan(A, C, wishes=wishes)) == expected


def test_what_was_avoided_is_said() -> None:
    found = planner(*STEERED).plan(A, C, wishes=Wishes(avoid=("short",)))
    assert reasons(found)["short.direct"][0] == "avoided, as you asked"


def test_no_way_at_all() -> None:
    with pytest.raises(NoPathError, match="no path leads from c to a"):
        require_path(planner(*STEERED).plan(C, A))
    with pytest.raises(NoPathError):
        require_path(planner(*STEERED).plan(A, State("nowhere")))


@pytest.mark.timeout(60)
def test_a_graph_of_a_thousand_states_and_ten_thousand_edges() -> None:
    rng = random.Random(0)
    edges = [
        edge(
            f"t{n}.x",
            f"s{rng.randrange(1000)}",
            f"s{rng.randrange(1000)}",
            loss=rng.randrange(3),
            seconds=rng.random() * 10,
        )
        for n in range(10_000)
    ]
    found = planner(*(e for e in edges if e.source != e.target)).plan(State("s0"), State("s999"))
    assert len(found.paths) == 5
    assert [p.cost for p in found.paths] == sorted(p.cost for p in found.paths)


def test_the_size_is_foreseen_across_formats() -> None:
    """A container at the far end that cannot hold the parameters turns the road down at once."""
    small = (TraitRequirement("parameter_bytes", maximum=100),)
    found = planner(
        edge("first", "a", "b"),
        edge("frozen", "b", "c", requires=small),
        edge("roomy", "b", "d"),
        edge("last", "d", "c"),
    ).plan(A, C, traits={"parameter_bytes": 3_000_000_000})
    assert names(found) == ["first roomy last"]
    (rejection,) = found.rejections
    assert rejection.subject == "frozen"
    assert "the parameters of this model take 3.00 GB" in rejection.reason


def test_a_smaller_precision_before_the_container_settles_its_size() -> None:
    small = (TraitRequirement("parameter_bytes", maximum=100),)
    found = planner(
        edge("halve", "a", "a:fp16"), edge("frozen", "a:fp16", "c:fp16", requires=small)
    ).plan(A, State("c", "fp16"), traits={"parameter_bytes": 3_000_000_000})
    assert names(found) == ["halve frozen"]


SOFT = (TraitRequirement("opset", maximum=12, soft=True),)


def test_a_soft_requirement_binds_where_it_can() -> None:
    found = planner(
        edge("export", "a", "b", options=(OPSET,), provides=BY_OPTION),
        edge("old", "b", "c", requires=SOFT),
    ).plan(A, C)
    assert found.paths[0].steps[0].options == {"opset": 12}
    assert found.paths[0].steps[0].bound == ("opset",)


@pytest.mark.parametrize("traits", [{"opset": 18}, {}])
def test_a_soft_requirement_turns_nothing_down(traits: dict[str, int]) -> None:
    assert names(planner(edge("old", "a", "c", requires=SOFT)).plan(A, C, traits=traits)) == ["old"]


def test_what_another_edge_makes_must_meet_a_soft_requirement() -> None:
    new = (TraitProvision("opset", value=18),)
    rigid = planner(edge("new", "a", "b", provides=new), edge("old", "b", "c", requires=SOFT))
    found = rigid.plan(A, C)
    assert not found.paths
    assert "which new cannot give" in found.rejections[0].reason


def test_what_failed_on_one_artifact_is_tried_on_another() -> None:
    plans = planner(edge("one", "a", "b"), edge("two", "a", "b"), edge("next", "b", "c"))
    first = plans.plan(A, C).paths[0]
    banned = Banned(beginnings={beginning(first.steps): "failed in this run: boom"})
    found = plans.plan(A, C, banned=banned)
    assert names(found) == ["two next"]
    assert [(r.subject, r.reason) for r in found.rejections] == [
        ("next", "failed in this run: boom")
    ]


def test_a_preparation_that_led_to_failure_is_left_out() -> None:
    wish = (TraitRequirement("simplified", one_of=(True,), soft=True),)
    plans = planner(
        edge("simplify", "a", "a", provides=(TraitProvision("simplified", value=True),)),
        edge("next", "a", "c", requires=wish),
    )
    first = plans.plan(A, C).paths[0]
    assert [s.converter for s in first.steps] == ["simplify", "next"]
    banned = Banned(beginnings={beginning(first.steps): "failed in this run: boom"})
    assert names(plans.plan(A, C, banned=banned)) == ["next"]


def test_shapes_that_the_user_gave_are_fixed_first() -> None:
    fixed = edge("fix", "a", "a", provides=(TraitProvision("dynamic", value=False),))
    wishes = Wishes(prepared=(TraitRequirement("dynamic", one_of=(False,)),))
    plans = planner(fixed, edge("next", "a", "c"))
    assert names(plans.plan(A, C, traits={"dynamic": True}, wishes=wishes)) == ["fix next"]
    assert names(plans.plan(A, C, traits={"dynamic": False}, wishes=wishes)) == ["next"]
    assert names(
        planner(edge("next", "a", "c")).plan(A, C, traits={"dynamic": True}, wishes=wishes)
    ) == ["next"]
