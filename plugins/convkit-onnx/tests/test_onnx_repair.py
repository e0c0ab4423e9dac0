"""Equalization and bias correction: the float function stays, the integers come closer to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime", minversion="1.32")
pytest.importorskip("safetensors")

import onnx_quantizable as quantizable  # noqa: E402
from onnx_quantizable import FLOAT, info, model, node, weight  # noqa: E402

from convkit.errors import UsageError  # noqa: E402
from convkit.plugin import CalibrationData, QuantRecipe, QuantRule, sample_key  # noqa: E402
from convkit_onnx import bias  # noqa: E402
from convkit_onnx.chains import chains  # noqa: E402
from convkit_onnx.equalize import equalize  # noqa: E402
from convkit_onnx.static_int8 import StaticInt8  # noqa: E402

SPREAD = 3.0
"""Decades, about, between the largest and the smallest channel of a lopsided layer."""


def lopsided(first, second, axis=1):
    """Give the channels between two layers very different sizes; the function does not change."""
    rng = np.random.default_rng(3)
    a, b = (onnx.numpy_helper.to_array(t).copy() for t in (first, second))
    scale = 10 ** rng.uniform(-SPREAD / 2, SPREAD / 2, len(a)).astype("float32")
    a *= scale.reshape(-1, *[1] * (a.ndim - 1))
    shape = [1] * b.ndim
    shape[axis] = -1
    b /= scale.reshape(shape)
    return (
        onnx.numpy_helper.from_array(a, first.name),
        onnx.numpy_helper.from_array(b, second.name),
    )


def separable():
    """Pointwise, depthwise, pointwise: what MobileNets are made of."""
    nodes = [
        node("Conv", ["image", "w1", "b1"], ["c1"]),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "wd"], ["c2"], group=16, pads=[1, 1, 1, 1]),
        node("LeakyRelu", ["c2"], ["r2"], alpha=0.1),
        node("Conv", ["r2", "w3"], ["c3"]),
        node("Relu", ["c3"], ["r3"]),
        node("GlobalAveragePool", ["r3"], ["pool"]),
        node("Flatten", ["pool"], ["flat"]),
        node("Gemm", ["flat", "wg", "bg"], ["logits"], transB=1),
    ]
    w1, wd = lopsided(weight("w1", 16, 3, 1, 1), weight("wd", 16, 1, 3, 3), axis=0)
    wd, w3 = lopsided(wd, weight("w3", 8, 16, 1, 1))
    return model(
        nodes,
        [info("image", FLOAT, [1, 3, 12, 12])],
        [info("logits", FLOAT, [1, 5])],
        [w1, weight("b1", 16), wd, w3, weight("wg", 5, 8), weight("bg", 5)],
    )


def grouped():
    """Groups of several channels, pooling, positions behind a Flatten, a Gemm of inputs x outputs
    and one of outputs x inputs."""
    nodes = [
        node("Conv", ["image", "w1"], ["c1"], group=1),
        node("PRelu", ["c1", "slope"], ["p1"]),
        node("Conv", ["p1", "w2", "b2"], ["c2"], group=4),
        node("Relu", ["c2"], ["r2"]),
        node("MaxPool", ["r2"], ["m2"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["m2"], ["flat"]),
        node("Gemm", ["flat", "w3", "b3"], ["g3"]),
        node("Relu", ["g3"], ["r3"]),
        node("Gemm", ["r3", "w4"], ["logits"], transB=1),
    ]
    return model(
        nodes,
        [info("image", FLOAT, [1, 3, 10, 10])],
        [info("logits", FLOAT, [1, 6])],
        [
            weight("w1", 8, 3, 3, 3),
            weight("slope", 8, 1, 1),
            weight("w2", 12, 2, 3, 3),
            weight("b2", 12),
            weight("w3", 12 * 9, 10),
            weight("b3", 10),
            weight("w4", 6, 10),
        ],
    )


def normalized():
    """A normalization with outliers in a few channels, read by two products."""
    rng = np.random.default_rng(5)
    gamma = rng.uniform(0.5, 1.5, 32).astype("float32")
    gamma[[3, 17]] = 60.0
    nodes = [
        node("LayerNormalization", ["x", "gamma", "beta"], ["n"], axis=-1),
        node("MatMul", ["n", "wa"], ["a"]),
        node("Add", ["a", "ba"], ["query"]),
        node("MatMul", ["n", "wb"], ["key"]),
    ]
    wa, wb = weight("wa", 32, 16), weight("wb", 32, 16)
    small = [onnx.numpy_helper.to_array(w).copy() for w in (wa, wb)]
    for array in small:
        array[[3, 17]] /= 60
    return model(
        nodes,
        [info("x", FLOAT, [1, 7, 32])],
        [info("query", FLOAT, [1, 7, 16]), info("key", FLOAT, [1, 7, 16])],
        [
            quantizable.constant("gamma", gamma),
            quantizable.constant("beta", rng.normal(size=32) * 0.1),
            *(onnx.numpy_helper.from_array(a, n) for a, n in zip(small, ("wa", "wb"), strict=True)),
            weight("ba", 16),
        ],
    )


def run(proto, samples):
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    names = [i.name for i in session.get_inputs()]
    return [session.run(None, dict(zip(names, s, strict=True))) for s in samples]


def pictures(proto, count=8, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in proto.graph.input]
    return [[rng.normal(size=s).astype("float32") for s in shapes] for _ in range(count)]


def extremes(proto):
    """What the edge would see of the tensors between layers."""
    seen = {c.tensor: c.axis for c in chains(proto)}
    shown = onnx.ModelProto.FromString(proto.SerializeToString())
    shown.graph.output.extend(onnx.ValueInfoProto(name=n) for n in seen)
    values = run(shown, pictures(proto))
    first = len(proto.graph.output)
    found = {}
    for place, (name, axis) in enumerate(seen.items(), first):
        moved = [np.moveaxis(np.abs(v[place]), axis, 0) for v in values]
        found[name] = np.max([m.reshape(len(m), -1).max(1) for m in moved], axis=0)
    return found


@pytest.mark.parametrize("by", ["weights", "activations"])
@pytest.mark.parametrize(("build", "pairs"), [(separable, 3), (grouped, 3), (normalized, 1)])
def test_the_float_function_stays(build, pairs, by):
    proto = build()
    wanted = run(proto, pictures(proto, seed=4))
    count = equalize(proto, extremes(proto) if by == "activations" else {})
    assert count == (0 if build is normalized and by == "weights" else pairs)
    for old, new in zip(wanted, run(proto, pictures(proto, seed=4)), strict=True):
        for a, b in zip(old, new, strict=True):
            assert np.abs(a - b).max() <= 1e-5 * np.abs(a).max()


def test_ranges_are_equal_afterwards():
    """The paper's fixed point: each channel's range is the same on both sides."""
    proto = separable()
    equalize(proto, {})
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    before = np.abs(stored["w1"]).reshape(16, -1).max(1)
    after = np.abs(stored["wd"]).reshape(16, -1).max(1)
    assert np.allclose(before, after, rtol=1e-2)


@pytest.mark.parametrize("change", ["branch", "output", "shared", "clip"])
def test_nothing_moves_where_it_would_show(change):
    proto = separable()
    if change == "branch":  # somebody else reads what the first layer makes
        proto.graph.node.append(node("GlobalMaxPool", ["r1"], ["side"], name="/side"))
        proto.graph.output.append(info("side", FLOAT, None))
    elif change == "output":
        proto.graph.output.append(info("r1", FLOAT, None))
    elif change == "shared":  # another layer has the same weight
        proto.graph.node.append(node("Conv", ["image", "w1"], ["twin"], name="/twin"))
        proto.graph.output.append(info("twin", FLOAT, None))
    else:  # 6 is 6, whatever the scale
        proto.graph.initializer.append(quantizable.constant("low", 0.0))
        proto.graph.initializer.append(quantizable.constant("high", 6.0))
        proto.graph.node[1].CopyFrom(node("Clip", ["c1", "low", "high"], ["r1"], name="/clip"))
    assert "/c1" not in {chain.first.name for chain in chains(proto)}
    wanted = run(proto, pictures(proto))
    equalize(proto, {})
    for old, new in zip(wanted, run(proto, pictures(proto)), strict=True):
        for a, b in zip(old, new, strict=True):
            assert np.allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(a).max())


@pytest.fixture
def decibels(artifact, context, tmp_path):
    from safetensors.numpy import save_file

    def measure(proto, *float_layers, **options):
        path = tmp_path / "m.onnx"
        onnx.save(proto, path)
        drawn = pictures(proto, 24)
        arrays = {sample_key(n, i): a for n, s in enumerate(drawn) for i, a in enumerate(s)}
        save_file(arrays, str(tmp_path / "c.safetensors"))
        edge = StaticInt8()
        rules = (QuantRule(float_layers, "test"),)
        used = replace(
            context,
            calibration=CalibrationData(tmp_path / "c.safetensors", 24, "", "numbers"),
            recipe=QuantRecipe("test", rules) if float_layers else None,
            threads=1,
        )
        chosen = {o.name: o.default for o in edge.options} | {"reduce_range": "off"} | options
        result = edge.convert(artifact(path), tmp_path / "q.onnx", chosen, used)
        fresh = pictures(proto, 16, seed=9)
        pairs = zip(run(proto, fresh), run(onnx.load(result.path), fresh), strict=True)
        a, b = (
            np.concatenate([x.ravel() for x in s])
            for s in zip(
                *(
                    (np.concatenate([y.ravel() for y in f]), np.concatenate([y.ravel() for y in q]))
                    for f, q in pairs
                ),
                strict=True,
            )
        )
        return 10 * np.log10(np.square(a).sum() / np.square(a - b).sum()), result

    return measure


@pytest.mark.parametrize("build", [separable, normalized])
@pytest.mark.parametrize("per_channel", [True, False])
def test_equalization_helps_lopsided_channels(decibels, build, per_channel):
    plain, _ = decibels(build(), per_channel=per_channel)
    equal, result = decibels(build(), per_channel=per_channel, equalize="auto")
    assert equal > plain + 3
    assert any("equalize" in note for note in result.notes)


def test_equalized_layers_can_stay_in_float(decibels):
    equal, _ = decibels(separable(), "/c3", equalize="weights")
    assert equal > 25


def test_bias_correction_takes_the_mean_error_off():
    """By hand: a layer whose weights are rounded down, all of them."""
    proto = model(
        [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["y"])],
        [info("x", FLOAT, [4, 8])],
        [info("y", FLOAT, [4, 3])],
        [weight("w", 8, 3), weight("b", 3)],
    )
    exact = onnx.numpy_helper.to_array(proto.graph.initializer[0])
    step = 0.1
    rounded = np.floor(exact / step).astype("int8")
    twin = onnx.ModelProto.FromString(proto.SerializeToString())
    del twin.graph.initializer[0]
    twin.graph.initializer.extend(
        [
            quantizable.constant("w_q", rounded, "int8"),
            quantizable.constant("w_s", step),
            quantizable.constant("w_z", 0, "int8"),
        ]
    )
    twin.graph.node.insert(0, node("DequantizeLinear", ["w_q", "w_s", "w_z"], ["w"], name="/dq"))
    rng = np.random.default_rng(0)
    samples = [{"x": (1 + rng.normal(size=(4, 8))).astype("float32")} for _ in range(50)]
    wanted = np.mean([s["x"] @ exact for s in samples], axis=(0, 1))
    found = np.mean([s["x"] @ (rounded * step) for s in samples], axis=(0, 1))
    before = onnx.numpy_helper.to_array(proto.graph.initializer[1])
    assert bias.correct(proto, twin, bias.means(samples)) == ("/m",)
    after = onnx.numpy_helper.to_array(proto.graph.initializer[1])
    assert np.abs(found - wanted).min() > 0.01
    assert np.allclose(after - before, wanted - found, atol=1e-5)


@pytest.mark.parametrize("build", [separable, grouped, normalized])
def test_bias_correction_does_no_harm(decibels, build):
    plain, _ = decibels(build(), per_channel=False)
    better, result = decibels(build(), per_channel=False, bias_correction=True)
    assert better > plain - 1
    assert any("biases of" in note for note in result.notes)


def test_bias_correction_needs_float_layers_to_compare(decibels):
    with pytest.raises(UsageError, match="format=QDQ"):
        decibels(separable(), bias_correction=True, format="qoperator")
