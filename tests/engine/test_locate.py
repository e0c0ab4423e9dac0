"""The first diverging layer: found among random networks, and in files of real tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import convkit
from convkit import traces
from convkit.alignment import Finding, divergence
from convkit.artifact import Artifact, State
from convkit.codec import decode, encode
from convkit.engine.locate import locate
from convkit.engine.session import Found, Samples
from convkit.errors import ConversionError, NumericError
from convkit.events import Event, Notice
from convkit.inspection import Inspection
from convkit.nodes import Node, operator_kind, parents_of
from convkit.overlaps import agreement
from convkit.plugin.runtimes import TracedTensor
from convkit.quant import LayerInfo
from convkit.sketches import sketch
from convkit.verification import Divergence, Verdict
from tests.engine.networks import (
    FAULTS,
    Trace,
    candidate_trace,
    random_input,
    random_network,
    reference_trace,
    rounded,
    run,
)

TOY = "tests.testing.toyplugin.plugin"
LIMITS: Mapping[str, float] = {"target_db": 70.0, "floor_db": 50.0}
seeds = st.integers(0, 2**20)


def nodes_of(trace: Trace) -> list[Node]:
    """As they would be read back from a worker's files; the model has one input."""
    parents = parents_of([t.tensor for t in trace.tensors], trace.layers, 1)
    return [
        Node(t.layer, t.op_type, t.scope, t.tensor, p, sketch(t.value))
        for t, p in zip(trace.tensors, parents, strict=True)
    ]


def search(
    reference: Sequence[Node], candidate: Sequence[Node], *wrong: tuple[int, int]
) -> Finding | None:
    ends = wrong or ((len(reference) - 1, len(candidate) - 1),)
    return divergence(reference, candidate, ends, **LIMITS)


def differs(a: Any, b: Any) -> bool:
    """By more than what any tolerance of float32 passes."""
    error = float(np.square(a - b, dtype=np.float64).sum())
    return error > 10**-4.5 * float(np.square(a, dtype=np.float64).sum())


def poses(right: Sequence[Any], spoilt: Sequence[Any]) -> bool:
    """Whether a wrong tensor equals the right one of another layer (what was added to it died of
    the fault): no number tells then that the layers between were not removed rightly."""
    return any(
        differs(right[k], wrong)
        and any(r.shape == wrong.shape and not differs(r, wrong) for r in right)
        for k, wrong in enumerate(spoilt)
    )


@given(
    seed=seeds,
    length=st.integers(3, 16),
    branches=st.booleans(),
    channels_last=st.booleans(),
    fuse=st.booleans(),
    place=st.integers(0, 40),
    kind=st.sampled_from(FAULTS),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_the_planted_layer_is_found(
    seed: int,
    length: int,
    branches: bool,
    channels_last: bool,
    fuse: bool,
    place: int,
    kind: str,
) -> None:
    network = random_network(seed, length, branches=branches)
    x = random_input(network, seed)
    step = place % len(network.steps)
    right, spoilt = run(network, x), run(network, x, (step, kind))
    trace, groups = candidate_trace(
        network, x, (step, kind), channels_last=channels_last, fuse=fuse
    )
    home = next(group for group in groups if step in group)
    assume(differs(right[home[-1] + 1], spoilt[home[-1] + 1]))  # not swallowed at once
    assume(differs(right[-1], spoilt[-1]))
    idle = any(np.array_equal(right[step + 1], right[i]) for i in network.steps[step].inputs)
    assume(not (fuse and idle))  # a layer that does nothing may as well have been removed
    assume(not poses(right, spoilt))
    found = search(nodes_of(reference_trace(network, x)), nodes_of(rounded(trace, seed)))
    assert found is not None
    names = [place - 1 for place in found.members]  # the input comes first
    assert names[0] == home[0]
    assert set(names) <= set(home), "layers that the candidate computes apart are not mixed up"
    assert found.candidate is not None


@given(
    seed=seeds,
    length=st.integers(3, 16),
    last=st.booleans(),
    fuse=st.booleans(),
    dead=st.booleans(),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_faithful_network_has_none(
    seed: int, length: int, last: bool, fuse: bool, dead: bool
) -> None:
    network = random_network(seed, length, dead=dead)
    x = random_input(network, seed)
    trace, _ = candidate_trace(network, x, None, channels_last=last, fuse=fuse)
    reference = nodes_of(reference_trace(network, x))
    found = divergence(reference, nodes_of(rounded(trace, seed)), (), **LIMITS)
    assert found is None


def chain(values: Sequence[Any], ops: Sequence[str], prefix: str) -> list[Node]:
    """A trace without branches, of given values."""
    tensors = tuple(
        TracedTensor(f"{prefix}{i}", op, "", value, f"{prefix}{i}")
        for i, (value, op) in enumerate(zip(values, ops, strict=True))
    )
    layers = tuple(
        LayerInfo(t.layer, t.op_type, (f"{prefix}{i - 1}",) if i else (), (t.tensor,))
        for i, t in enumerate(tensors)
    )
    parents = parents_of([t.tensor for t in tensors], layers)
    return [
        Node(t.layer, t.op_type, "", t.tensor, p, sketch(t.value))
        for t, p in zip(tensors, parents, strict=True)
    ]


def noise(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_something_more_done_to_an_output() -> None:
    """An extra softmax: every layer of the original is there and right."""
    values = [noise(i, 1, 10) for i in range(3)]
    extra = np.exp(values[2]) / np.exp(values[2]).sum()
    reference = chain(values, ["Conv", "Relu", "Gemm"], "r")
    candidate = chain([*values, extra], ["CONV_2D", "RELU", "FULLY_CONNECTED", "SOFTMAX"], "c")
    found = search(reference, candidate, (2, 3))
    assert found is not None
    assert (found.first, found.candidate, found.last_good) == (2, 3, 1)


def test_axes_exchanged_wrongly_are_no_change_of_layout() -> None:
    """Height and width: the same values in the same shape, and yet wrong."""
    values = [noise(i, 1, 4, 6, 6) for i in range(4)]
    swapped = [
        values[0],
        values[1].transpose(0, 1, 3, 2),
        noise(8, 1, 4, 6, 6),
        noise(9, 1, 4, 6, 6),
    ]
    ops = ["Conv", "Resize", "Conv", "Conv"]
    found = search(chain(values, ops, "r"), chain(swapped, ops, "c"))
    assert found is not None
    assert (found.first, found.compared, found.candidate) == (1, 1, 1)


def test_a_layer_taken_apart() -> None:
    """One layer normalization against its pieces, the last of which is wrong."""
    x, y, z = noise(0, 2, 8, 16), noise(1, 2, 8, 16), noise(2, 2, 8, 16)
    mean = y.mean(2, keepdims=True)
    scale = 1 / y.std(2, keepdims=True)
    normal = (y - mean) * scale
    wrong = normal * 1.1
    reference = chain([x, y, normal, z], ["Gemm", "Add", "LayerNormalization", "Gemm"], "r")
    parts = [x, y, mean, y - mean, scale, wrong, z + 1]
    ops = ["FULLY_CONNECTED", "ADD", "MEAN", "SUB", "RSQRT", "MUL", "FULLY_CONNECTED"]
    found = search(reference, chain(parts, ops, "c"))
    assert found is not None
    assert (found.first, found.compared, found.candidate) == (2, 2, 5)


def test_a_layer_put_together_is_no_fault() -> None:
    """The other way round: the pieces have no counterpart, but what follows agrees."""
    x, y, z, out = (noise(i, 2, 8, 16) for i in range(4))
    pieces = [x, x.mean(2, keepdims=True), x * 2, y, z, out]
    ops = ["Gemm", "ReduceMean", "Mul", "Add", "Gemm", "Gemm"]
    bad = z + 0.5
    candidate = chain([x, y, bad, out * 1.2], ["MATMUL", "LAYER_NORM", "MATMUL", "MATMUL"], "c")
    found = search(chain(pieces, ops, "r"), candidate)
    assert found is not None
    assert (found.first, found.candidate, found.last_good) == (4, 2, 3)


@pytest.mark.parametrize(
    ("levels", "culprit"), [((46.0, 39.0, 37.0, 5.0), 3), ((90.0, 33.0, 32.0, 29.0), 1)]
)
def test_rounding_is_not_blamed_for_what_follows(levels: tuple[float, ...], culprit: int) -> None:
    """Half precision falls below its target at layer 1 and below the floor at layer 3. The layer
    with the greater fall is named."""
    values = [noise(i, 1, 4096) for i in range(4)]
    spoilt = [
        v + noise(10 + i, 1, 4096) * np.float32(10 ** (-db / 20))
        for i, (v, db) in enumerate(zip(values, levels, strict=True))
    ]
    ops = ["Conv"] * 4
    found = divergence(
        chain(values, ops, "r"), chain(spoilt, ops, "c"), ((3, 3),), target_db=40, floor_db=30
    )
    assert found is not None
    assert found.first == culprit


def test_infinity_diverges() -> None:
    values = [noise(i, 1, 64) for i in range(3)]
    broken = [v.copy() for v in values]
    broken[1][0, 7] = np.inf
    broken[2][0, :] = np.nan
    found = search(chain(values, ["Mul"] * 3, "r"), chain(broken, ["Mul"] * 3, "c"))
    assert found is not None
    assert (found.first, found.sqnr_db) == (1, float("-inf"))


def test_dead_layers_prove_nothing() -> None:
    """A rectifier whose output is all zeros here and not there."""
    x, y = noise(0, 1, 32), noise(1, 1, 32)
    nothing = np.zeros((1, 32), np.float32)
    reference = chain([x, nothing, y], ["Conv", "Relu", "Conv"], "r")
    candidate = chain([x, np.abs(x), y * 1.5], ["CONV_2D", "ABS", "CONV_2D"], "c")
    found = search(reference, candidate)
    assert found is not None
    assert (found.first, found.candidate) == (1, 1)


def graph(prefix: str, *layers: tuple[str, Any, tuple[int, ...]]) -> list[Node]:
    """A trace of given operators, values and parents."""
    return [
        Node(f"{prefix}{i}", op, "", f"{prefix}{i}", parents, sketch(value))
        for i, (op, value, parents) in enumerate(layers)
    ]


def test_a_network_that_ends_in_zeros_is_faithful() -> None:
    """The last convolution was fused with its rectifier, and its zeros alone prove nothing; that
    both sides compute them from the same tensor does."""
    x, y, nothing = noise(0, 1, 32), -np.abs(noise(1, 1, 32)), np.zeros((1, 32), np.float32)
    reference = chain([x, y, nothing], ["Conv", "Conv", "Relu"], "r")
    assert divergence(reference, chain([x, nothing], ["CONV_2D"] * 2, "c"), (), **LIMITS) is None
    further = chain([x, y, nothing, nothing + 0.5], ["Conv", "Conv", "Relu", "Sigmoid"], "r")
    fused = chain([x, nothing, nothing + 0.5], ["CONV_2D", "CONV_2D", "LOGISTIC"], "c")
    assert divergence(further, fused, (), **LIMITS) is None


def test_zeros_from_elsewhere_are_no_counterpart() -> None:
    """The rectifier before the last gives zeros in the candidate, the last one does not."""
    x, y, z = (noise(i, 1, 32) for i in range(3))
    nothing = np.zeros((1, 32), np.float32)
    reference = chain([x, y, nothing], ["Conv", "Conv", "Relu"], "r")
    candidate = chain([x, nothing, y, z], ["CONV_2D", "RELU", "CONV_2D", "ABS"], "c")
    found = divergence(reference, candidate, ((2, 3),), **LIMITS)
    assert found is not None
    assert (found.first, found.candidate) == (2, 3)


def test_what_follows_zeros_is_not_blamed_on_what_made_them() -> None:
    x, y, z = noise(0, 1, 32), -np.abs(noise(1, 1, 32)), noise(2, 1, 32)
    nothing = np.zeros((1, 32), np.float32)
    reference = chain([x, y, nothing, z], ["Conv", "Conv", "Relu", "Mul"], "r")
    found = search(reference, chain([x, nothing, z * 2], ["CONV_2D", "CONV_2D", "MUL"], "c"))
    assert found is not None
    assert (found.first, found.candidate, found.last_good, found.members) == (3, 2, 2, (3,))


def test_zeros_that_came_alive_are_blamed_and_not_their_sum() -> None:
    """The sum equals its other operand where the rectifier is dead: its agreement is borrowed."""
    x, y, z = noise(0, 1, 64), -np.abs(noise(1, 1, 64)), noise(2, 1, 64)
    nothing, alive = np.zeros((1, 64), np.float32), np.abs(noise(3, 1, 64)) / 10
    reference = graph(
        "r",
        ("Conv", x, ()),
        ("Conv", y, (0,)),
        ("Relu", nothing, (1,)),
        ("Add", y, (1, 2)),
        ("Conv", z, (3,)),
    )
    candidate = graph(
        "c",
        ("CONV_2D", x, ()),
        ("CONV_2D", y, (0,)),
        ("RELU", alive, (1,)),
        ("ADD", y + alive, (1, 2)),
        ("CONV_2D", z * 2, (3,)),
    )
    found = search(reference, candidate)
    assert found is not None
    assert (found.first, found.compared, found.candidate, found.last_good) == (2, 2, 2, 1)


def test_a_removed_layer_is_not_blamed_for_the_next() -> None:
    """An identity has no counterpart; the wrong tensor is that of the layer after it."""
    x, y, z, out = noise(0, 1, 64), noise(1, 1, 64), noise(2, 1, 64), noise(3, 1, 64)
    y = x + y / 4
    wrong = 0.7 * x + 0.3 * y  # nearer to the identity's, which tells nothing
    reference = chain([z, x, x, y, out], ["Conv", "Conv", "Identity", "Scale", "Tanh"], "r")
    candidate = chain([z, x, wrong, out / 2], ["CONV_2D", "CONV_2D", "MUL_ADD", "TANH"], "c")
    found = search(reference, candidate)
    assert found is not None
    assert (found.first, found.compared, found.members) == (3, 3, (3,))


def test_what_swallows_a_fault_clears_nothing_fused_with_it() -> None:
    """A convolution and its norm are computed in one, and wrong where the rectifier cuts off; it
    shows where they are added."""
    x, y, normal, out = noise(0, 1, 64), noise(1, 1, 64), noise(2, 1, 64), noise(3, 1, 64)
    cut = np.maximum(normal, 0)
    wrong = np.where(normal < 0, normal / 3, normal)
    names = ["Conv", "Conv", "BatchNormalization", "Relu", "Add", "Conv"]
    sums = (normal + cut, wrong + cut)
    parents = ((), (0,), (1,), (2,), (2, 3), (4,))
    reference = graph("r", *zip(names, [x, y, normal, cut, sums[0], out], parents, strict=True))
    candidate = graph(
        "c",
        ("CONV_2D", x, ()),
        ("CONV_2D", wrong, (0,)),
        ("RELU", cut, (1,)),
        ("ADD", sums[1], (1, 2)),
        ("CONV_2D", out * 2, (3,)),
    )
    found = search(reference, candidate)
    assert found is not None
    assert (found.first, found.candidate, found.last_good) == (1, 1, 0)
    assert found.members in ((1,), (1, 2))


@given(
    seed=seeds,
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    level=st.floats(-10, 120),
)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_sketches_measure_the_difference(seed: int, shape: list[int], level: float) -> None:
    a = noise(seed, *shape)
    error = noise(seed + 1, *shape) * np.float32(10 ** (-level / 20))
    b = (a + error).astype(np.float32)
    true = float(np.square(a, dtype=np.float64).sum())
    true /= max(float(np.square(a.astype(np.float64) - b).sum()), 1e-30)
    order, measured = agreement(sketch(a), sketch(b))
    if order == 0 and true < 1e14:  # five deviations of the estimate
        assert abs(measured - 10 * np.log10(true)) < 2.3
    if a.ndim >= 3:
        turned = np.moveaxis(a, 1, -1)
        assert agreement(sketch(a), sketch(turned))[1] == float("inf")
        assert agreement(sketch(turned), sketch(a))[1] == float("inf")
        assert agreement(sketch(a), sketch(turned.reshape(-1)))[1] == float("inf")


@pytest.mark.parametrize(
    "names",
    [
        ("Conv", "CONV_2D", "aten.conv2d", "Convolution", "Conv2D", "DEPTHWISE_CONV_2D"),
        ("Gemm", "MatMul", "FULLY_CONNECTED", "aten.linear", "aten.addmm", "aten.mm"),
        ("Sigmoid", "LOGISTIC", "aten.sigmoid"),
        ("Concat", "CONCATENATION", "aten.cat", "ConcatV2"),
        ("Mul", "MUL", "aten.mul", "Multiply"),
    ],
)
def test_operators_have_one_name(names: tuple[str, ...]) -> None:
    assert len({operator_kind(name) for name in names}) == 1
    assert operator_kind("MaxPool") != operator_kind("AveragePool")
    assert operator_kind("ConvTranspose") == operator_kind("TRANSPOSE_CONV") != "conv"


def test_a_fused_operator_names_what_it_hands_out() -> None:
    """Where numbers cannot tell which of two layers a wrong tensor is, its name does."""
    x, y, z = (noise(i, 1, 64) for i in range(3))
    ops = ["Gemm", "Conv2D", "BiasAdd", "Gemm"]
    reference = chain([x, y, y + 0.5, z], ops, "net/act")
    bad = chain([x, y + 0.25, z * 2], ["FULLY_CONNECTED", "CONV_2D", "FULLY_CONNECTED"], "c")
    for place in (1, 2):
        tensor = f"act{place};conv/Conv2D"
        candidate = [n if n.tensor != "c1" else replace(n, tensor=tensor) for n in bad]
        found = search(reference, candidate)
        assert found is not None
        assert (found.first, found.compared) == (1, place)


def test_untraced_tensors_are_looked_through() -> None:
    layers = (
        LayerInfo("a", "Conv", ("x",), ("t0",)),
        LayerInfo("b", "Cast", ("t0",), ("ids",)),
        LayerInfo("c", "Gather", ("ids", "x"), ("t1",)),
        LayerInfo("d", "Add", ("t0", "t1"), ("t2",)),
    )
    assert parents_of(["x", "t0", "t1", "t2"], layers, 1) == ((), (0,), (0, 1), (1, 2))
    assert parents_of(["x", "y", "z"], (), 1) == ((), (0,), (1,)), "a chain where nothing is known"


def traced(values: Sequence[Any]) -> Iterator[TracedTensor]:
    for i, value in enumerate(values):
        yield TracedTensor(f"l{i}", "Conv", f"net.{i}", value, f"t{i}")


def test_values_are_kept_within_a_budget(tmp_path: Path) -> None:
    values = [noise(i, 4, 100) for i in range(4)]  # 1,600 bytes each
    assert traces.write(traced(values), tmp_path, 3500) == 4
    layers = tuple(LayerInfo(f"l{i}", "Conv", (f"t{i - 1}",), (f"t{i}",)) for i in range(4))
    trace = traces.read(tmp_path, layers)
    assert [n.scope for n in trace.nodes] == ["net.0", "net.1", "net.2", "net.3"]
    assert [n.parents for n in trace.nodes] == [(), (0,), (1,), (2,)]
    np.testing.assert_array_equal(trace.value(1), values[1])
    assert trace.value(2) is None
    assert agreement(sketch(values[2]), trace.nodes[2].sketch) == (0, float("inf"))
    traces.write(traced(values), tmp_path, 0, only={2})
    trace = traces.read(tmp_path, layers)
    assert trace.value(0) is None
    np.testing.assert_array_equal(trace.value(2), values[2])


def test_an_empty_trace(tmp_path: Path) -> None:
    assert traces.write((), tmp_path, 100) == 0
    assert traces.read(tmp_path, ()).nodes == ()
    assert divergence((), (), (), target_db=70, floor_db=50) is None


def test_a_divergence_in_words() -> None:
    told = Divergence(
        "node_conv2d_7",
        "model.4.conv",
        "Conv",
        "c9",
        0.81318,
        0.129,
        (0, 3, 7, 7),
        12.0,
        "n3",
        "model.3",
    )
    assert str(told) == (
        "first diverging layer: model.4.conv (Conv, node_conv2d_7): 0.8132 became 0.129 "
        "at [0, 3, 7, 7]; up to model.3 all agrees"
    )
    bare = Divergence("l0", "", "MUL", "", None, None, (), float("-inf"), merged=("l1", "l2"))
    assert str(bare) == "first diverging layer: l0 (MUL), in one with 1 more up to l2"
    for one in (told, bare):
        assert decode(Divergence, encode(one)) == one


class Tracing:
    """A runner that could trace."""

    name, format, requirements = "fake.run", "onnx", ()

    def open(self, artifact: Artifact, threads: int) -> Any:
        raise AssertionError("the engine asks workers")

    def trace(self, artifact: Artifact, inputs: Sequence[Any], threads: int) -> Any:
        raise AssertionError("the engine asks workers")


class Plain:
    """One that could not."""

    name, format, requirements = "fake.run", "onnx", ()

    def open(self, artifact: Artifact, threads: int) -> Any:
        raise AssertionError("the engine asks workers")


def ask_locate(
    runner: Any, verdict: Verdict = "wrong", precision: str = "fp32"
) -> tuple[Divergence | None, list[str]]:
    """With a session that can do nothing."""
    told: list[str] = []

    def produce(key: str, make: Any) -> Any:
        raise ConversionError("cannot show its inside")

    session: Any = SimpleNamespace(
        runner=lambda _: runner,
        notice=told.append,
        implementation_key=lambda *_: "",
        store=SimpleNamespace(produce=produce),
    )
    state = State("onnx", precision)
    found = Found(Artifact(Path("m.onnx"), state), Inspection(state, (), ()))
    samples = Samples(Path("s"), "", 1, synthetic=True)
    return locate(session, (found, found), found, samples, verdict), told


def test_without_tracers_nothing_is_named_and_nothing_breaks() -> None:
    assert ask_locate(Plain()) == (None, [])
    assert ask_locate(None) == (None, [])
    found, told = ask_locate(Tracing())
    assert found is None
    assert told == ["no diverging layer can be named: cannot show its inside"] * 2


@pytest.mark.parametrize(
    ("verdict", "precision"), [("ok", "fp32"), ("unproven", "fp16"), ("wrong", "int8")]
)
def test_a_good_result_costs_nothing(verdict: Verdict, precision: str) -> None:
    assert ask_locate(Tracing(), verdict, precision) == (None, [])


@pytest.fixture
def toy_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from tests.testing.toyplugin import model as toy

    monkeypatch.setenv("CONVKIT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "net.toy"
    toy.write(toy.build({"a": (6, 0), "b": (6, 0)}), path, "toy")
    return path


@pytest.mark.parametrize(
    ("kind", "layer"), [("WrongNumbers", "a/multiply (MULTIPLY)"), ("WrongOrder", "a/post (POST)")]
)
def test_the_report_tells_of_it(toy_source: Path, kind: str, layer: str) -> None:
    events: list[Event] = []
    result = convkit.convert(
        toy_source,
        to="brick",
        output_dir=toy_source.parent / "out",
        plugins=(TOY, f"tests.testing.toyplugin.bad:{kind}_only"),
        listener=events.append,
    )
    (failure,) = result.failed
    assert f"first diverging layer: {layer}: " in failure.message
    notices = [e.message for e in events if isinstance(e, Notice)]
    assert any("first diverging layer" in message for message in notices)
    assert result.verification is not None
    assert result.verification.divergence is None


def test_a_lying_converter_of_real_files(
    liar: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ONNX, channels first, against TFLite, channels last and with rectifiers fused, where one
    convolution lost its bias."""
    monkeypatch.setenv("CONVKIT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(NumericError) as caught:
        convkit.convert(
            liar["source"],
            to="tflite",
            output_dir=tmp_path / "out",
            plugins=("tests.engine.liar",),
            steering=convkit.Steering(converters=("liar.tflite",)),
            settings=convkit.Settings(reroute=False),
        )
    text = caught.value.message
    assert "first diverging layer: body.0 (Conv, " in text
    assert "up to stem.2 all agrees" in text or "up to stem.1 all agrees" in text


@pytest.fixture(scope="module")
def liar(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A model in two formats, the second one with a fault."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("litert_torch")
    pytest.importorskip("onnxscript")
    from tests.engine.liar import make

    del torch
    return make(tmp_path_factory.mktemp("liar"))
