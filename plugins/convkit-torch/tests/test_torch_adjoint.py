"""`torch.adjoint` predicts what rounding does to the outputs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")
nn = torch.nn

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from convkit.errors import ConversionError  # noqa: E402
from convkit.plugin import (  # noqa: E402
    Artifact,
    Ranker,
    Ranking,
    RankSettings,
    ReadOptions,
    TracedTensor,
)
from convkit_torch.adjoint import AdjointRanker  # noqa: E402
from convkit_torch.inspector import TorchInspector  # noqa: E402
from tests.benchmarks.simulation import Simulation  # noqa: E402

RANKER = AdjointRanker()
Samples = Sequence[Sequence[Any]]


def whole(values: Sequence[Any]) -> Sequence[tuple[slice, ...]]:
    return [()]


def opened(path: Path, read: ReadOptions | None = None) -> Artifact:
    read = read or ReadOptions()
    seen = TorchInspector().inspect(path, read)
    return Artifact(path, seen.state, seen.inputs, seen.outputs, seen.digest, read=read)


def saved(module: Any, inputs: tuple[Any, ...], folder: Path) -> Artifact:
    path = folder / "model.pt2"
    torch.export.save(torch.export.export(module.eval(), inputs), path)
    return opened(path)


def ranked(
    artifact: Artifact, samples: Samples, wanted: RankSettings, parts: Any = whole
) -> tuple[list[TracedTensor], Ranking]:
    shown: list[TracedTensor] = []
    found = RANKER.rank(artifact, samples, wanted, parts, shown.append, lambda *_: None)
    return shown, found


def draws(count: int, *shape: int, seed: int = 0) -> list[list[Any]]:
    rng = np.random.default_rng(seed)
    return [[rng.normal(size=shape).astype("float32")] for _ in range(count)]


def power(columns: Any) -> float:
    """The error that the ranking expects of all these columns together."""
    return float((columns.sum(axis=1) ** 2).mean())


def relative(one: float, other: float) -> float:
    return abs(one - other) / max(one, other)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    return Path(tmp_path_factory.mktemp("adjoint"))


def test_it_is_a_ranker():
    assert isinstance(RANKER, Ranker)


# Of a linear model the estimate is the truth but for the random signs.


@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    widths=st.lists(st.integers(2, 9), min_size=2, max_size=4),
    bits=st.sampled_from((4, 8)),
    per_channel=st.booleans(),
    symmetric=st.booleans(),
    seed=st.integers(0, 99),
)
def test_of_a_linear_model_each_estimate_is_the_error(
    widths, bits, per_channel, symmetric, seed, folder
):
    torch.manual_seed(seed)
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    artifact = saved(nn.Sequential(*layers), (torch.zeros(3, widths[0]),), folder)
    samples = draws(2, 3, widths[0], seed=seed)
    wanted = RankSettings(bits, bits, symmetric, per_channel, probes=500, seed=seed)
    _, found = ranked(artifact, samples, wanted)
    truth = Simulation(artifact, samples, wanted)
    for place in range(len(truth.places)):
        for columns, chosen in (
            (found.activations, ({place}, ())),
            (found.weights, ((), {place})),
        ):
            error = float(np.mean(truth.errors(*chosen)))
            guess = power(columns[:, [place]])
            assert guess == pytest.approx(error, rel=0.25, abs=1e-12)


def test_of_a_linear_model_sets_are_told_with_their_interactions(tmp_path):
    """Two paths of opposite sign: their errors cancel where the same values are rounded, so that
    the sum of the single errors is far off."""

    class Twins(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.one, self.two = (nn.Linear(16, 16) for _ in range(3))
            with torch.no_grad():
                self.two.weight.copy_(-0.98 * self.one.weight)
                self.two.bias.copy_(-self.one.bias)

        def forward(self, x):
            x = self.stem(x)
            return self.one(x) + self.two(x) + 0.1 * x

    torch.manual_seed(0)
    artifact = saved(Twins(), (torch.zeros(2, 16),), tmp_path)
    samples = draws(4, 2, 16)
    wanted = RankSettings(probes=500)
    _, found = ranked(artifact, samples, wanted)
    truth = Simulation(artifact, samples, wanted)
    rng = np.random.default_rng(0)
    pool = [("a", i) for i in truth.candidates] + [("w", i) for i in truth.weighted]
    twins = [("w", i) for i in truth.weighted[1:3]]
    sets = [[pool[i] for i in rng.permutation(len(pool))[: 2 + n]] for n in range(6)] + [twins]
    added_up = []
    for chosen in sets:
        a, w = ([i for kind, i in chosen if kind == which] for which in "aw")
        error = float(np.mean(truth.errors(a, w)))
        columns = np.hstack([found.activations[:, a], found.weights[:, w]])
        assert power(columns) == pytest.approx(error, rel=0.3)
        added_up.append(relative(float((columns**2).mean(0).sum()), error))
    assert max(added_up) > 0.5


@pytest.mark.parametrize(
    "make, shape",
    [
        (lambda: nn.Conv2d(3, 5, 3, padding=1), (2, 3, 6, 6)),
        (lambda: nn.Conv1d(4, 6, 3, stride=2, groups=2, bias=False), (1, 4, 9)),
        (lambda: nn.ConvTranspose2d(4, 3, 2, stride=2), (1, 4, 5, 5)),
        (lambda: nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5)), (1, 3, 6, 6)),
        (lambda: nn.Sequential(nn.ConvTranspose2d(3, 5, 2), nn.BatchNorm2d(5)), (1, 3, 6, 6)),
        (lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5)), (7, 6)),
        (lambda: ByConstant(), (2, 3, 4)),
    ],
    ids=["conv2d", "grouped", "transposed", "norm", "transposed-norm", "linear-norm", "constants"],
)
@pytest.mark.parametrize("per_channel", [True, False])
def test_the_weights_error_is_that_of_the_quantized_weights(make, shape, per_channel, tmp_path):
    """Against the module with weights that were quantized by hand."""
    torch.manual_seed(3)
    module = make().eval()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.2, 3.0)
            norm.weight.data.uniform_(0.3, 2.0)
    artifact = saved(module, (torch.zeros(shape),), tmp_path)
    samples = draws(2, *shape)
    wanted = RankSettings(weight_bits=5, per_channel=per_channel, probes=500)
    _, found = ranked(artifact, samples, wanted)
    assert found.weighted.sum() == 1
    inputs = [torch.from_numpy(s[0]) for s in samples]
    with torch.no_grad():
        before = [module(x) for x in inputs]
        _round_by_hand(module, 5, per_channel)
        after = [module(x) for x in inputs]
    signal = np.mean([float((y**2).mean()) for y in before])
    error = np.mean([float(((a - b) ** 2).mean()) for a, b in zip(after, before, strict=True)])
    place = int(np.flatnonzero(found.weighted)[0])
    assert power(found.weights[:, [place]]) == pytest.approx(error / signal, rel=0.2)


class ByConstant(nn.Module):
    """A weight behind a chain that turns it."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 2, 2))

    def forward(self, x):
        return x @ self.weight.reshape(5, 4).t().contiguous()


def _round_by_hand(module: Any, bits: int, per_channel: bool) -> None:
    parts = list(module.children()) or [module]
    layer, norm = parts[0], parts[1] if len(parts) > 1 else None
    weight = layer.weight.data
    transposed = isinstance(layer, nn.ConvTranspose2d)
    channels = weight.transpose(0, 1) if transposed else weight
    gain = torch.ones(len(channels))
    if norm is not None:  # folded first
        gain = norm.weight.data / torch.sqrt(norm.running_var + norm.eps)
    for_all = (channels * gain.reshape(-1, *[1] * (channels.dim() - 1))).abs().max()
    for channel, factor in zip(channels, gain, strict=True):
        step = (float((channel * factor).abs().max()) if per_channel else float(for_all)) / (
            2 ** (bits - 1) - 1
        )
        channel.copy_(torch.round(channel * factor / step) * step / factor)


# Beyond linear models


def test_a_trained_likes_sets_are_predicted(tmp_path):
    """Convolutions, norms and SiLU at 8 bits, where errors are small: within 1.5 dB from few
    rows, for sets of all sizes."""
    torch.manual_seed(1)
    layers: list[Any] = []
    for a, b in ((3, 8), (8, 8), (8, 12), (12, 12)):
        layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.SiLU(True)]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 5))
    artifact = saved(module, (torch.zeros(1, 3, 16, 16),), tmp_path)
    samples = draws(8, 1, 3, 16, 16)
    wanted = RankSettings(probes=16)
    _, found = ranked(artifact, samples, wanted)
    truth = Simulation(artifact, samples, wanted)
    rng = np.random.default_rng(0)
    off = []
    for size in (1, 2, 4, 6, 8, len(truth.candidates)):
        a = rng.permutation(truth.candidates)[:size].tolist()
        w = rng.permutation(truth.weighted)[:size].tolist()
        error = float(np.mean(truth.errors(a, w)))
        guess = power(np.hstack([found.activations[:, a], found.weights[:, w]]))
        off.append(abs(10 * np.log10(guess / error)))
    assert np.mean(off) < 1.5


def test_slices_count_alike_however_large_their_numbers(tmp_path):
    """Boxes in hundreds beside scores: an error of the scores counts as much as it is large
    beside the scores."""

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.boxes, self.scores = nn.Linear(6, 4), nn.Linear(6, 4)

        def forward(self, x):
            return torch.cat([self.boxes(x) * 500, self.scores(x)], 1)

    torch.manual_seed(0)
    artifact = saved(Head(), (torch.zeros(9, 6),), tmp_path)
    samples = draws(2, 9, 6)

    def halves(values):
        return [(slice(None), slice(0, 4)), (slice(None), slice(4, 8))]

    shown, found = ranked(artifact, samples, RankSettings(probes=500), halves)
    boxes, scores = (next(i for i, t in enumerate(shown) if t.scope == s) for s in _HEADS)
    assert relative(power(found.weights[:, [boxes]]), power(found.weights[:, [scores]])) < 0.9
    _, joined = ranked(artifact, samples, RankSettings(probes=500))
    assert power(joined.weights[:, [scores]]) < 1e-3 * power(joined.weights[:, [boxes]])
    # one scale for both crushes the scores, and the ranking sees it
    last = len(shown) - 1
    assert power(found.activations[:, [last]]) > 1e-2


_HEADS = ("boxes", "scores")


# What is shown


def names(shown: Sequence[TracedTensor]) -> list[str]:
    return [t.op_type.removeprefix("aten.") for t in shown]


@pytest.mark.parametrize("inplace", [False, True])
def test_silu_comes_apart_and_scopes_survive(inplace, tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(inplace))
            self.tail = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Hardswish(inplace), nn.Hardsigmoid())

        def forward(self, x):
            return self.tail(self.stem(x))

    artifact = saved(Net(), (torch.zeros(1, 3, 6, 6),), tmp_path)
    samples = draws(2, 1, 3, 6, 6)
    shown, found = ranked(artifact, samples, RankSettings(probes=64))
    assert names(shown)[:4] == ["input", "conv2d", "sigmoid", "mul"]
    assert [t.scope for t in shown[1:4]] == ["stem.0", "stem.1", "stem.1"]
    sigmoid, product = shown[2:4]
    np.testing.assert_allclose(sigmoid.value * shown[1].value, product.value, atol=1e-6)
    # the whole bears the name that the inspector gives, the part a name behind it
    layers = {layer.name for layer in TorchInspector().inspect(artifact.path, ReadOptions()).layers}
    assert product.tensor in layers and sigmoid.layer == product.layer
    assert sigmoid.tensor.startswith(f"{product.tensor}.")
    assert len({t.tensor for t in shown}) == len(shown)
    assert {t.layer for t in shown[1:]} <= layers
    assert (found.activations[:, :4] ** 2).mean(0).min() > 0
    assert {"tail.1", "tail.2"} <= {t.scope for t in shown}


def test_attention_comes_apart(tmp_path):
    """Fused attention has two products and a softmax, each with an error of its own; causal or
    with either kind of mask, it computes what torch does."""

    class Net(nn.Module):
        def __init__(self, mode):
            super().__init__()
            self.qkv, self.mode = nn.Linear(8, 24), mode

        def forward(self, x):
            q, k, v = self.qkv(x).reshape(1, 5, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
            seen = torch.ones(5, 5, dtype=torch.bool).tril(1)
            mask = {"bool": seen, "float": seen.float() * 2}.get(self.mode)
            return nn.functional.scaled_dot_product_attention(
                q, k, v, mask, is_causal=self.mode == "causal"
            )

    torch.manual_seed(0)
    samples = draws(2, 1, 5, 8)
    for mode in ("", "bool", "float", "causal"):
        module = Net(mode)
        artifact = saved(module, (torch.zeros(1, 5, 8),), tmp_path)
        shown, found = ranked(artifact, samples, RankSettings(probes=8))
        with torch.no_grad():
            expected = module(torch.from_numpy(samples[0][0])).numpy()
        np.testing.assert_allclose(shown[-1].value, expected, atol=1e-6)
        columns = (found.activations**2).mean(0)
        parts = [i for i, kind in enumerate(names(shown)) if kind in ("matmul", "softmax")]
        assert len(parts) == 3, mode
        assert np.isfinite(found.activations).all()
        assert (columns[parts] > 0).all(), mode


@pytest.mark.parametrize("name", ["mlp", "heads", "encoder", "lstm", "inputs", "folding"])
def test_columns_are_aligned_with_what_is_shown(name, pt2, artifact, model):
    _, inputs = model(name)
    source = artifact(pt2(name))
    arrays = [x.numpy() for x in inputs]
    shown, found = ranked(source, [arrays, arrays], RankSettings(probes=3))
    assert found.activations.shape == found.weights.shape == (6, len(shown))
    assert found.activations.dtype == np.float64
    assert found.weighted.shape == (len(shown),)
    assert (found.weights[:, ~found.weighted] == 0).all()
    assert all(t.value.dtype == np.float32 for t in shown)
    floats = [s.name for s in source.inputs if s.dtype == "float32"]
    assert [t.layer for t in shown[: len(floats)]] == floats
    assert [t.op_type for t in shown].count("input") == len(floats)
    truth = Simulation(source, [arrays], RankSettings())
    assert [p.tensor for p in truth.places] == [t.tensor for t in shown]
    # what cannot matter does not, what matters does
    for place in truth.candidates:
        alone = float(np.mean(truth.errors({place}, ())))
        assert (alone > 0) == (power(found.activations[:, [place]]) > 0), shown[place].tensor


def test_a_shared_weight_counts_where_it_is_used(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared = nn.Linear(6, 6)

        def forward(self, x):
            return self.shared(torch.relu(self.shared(x)) * 0.01 + x)

    torch.manual_seed(0)
    artifact = saved(Net(), (torch.zeros(4, 6),), tmp_path)
    samples = draws(3, 4, 6)
    wanted = RankSettings(probes=500)
    _, found = ranked(artifact, samples, wanted)
    truth = Simulation(artifact, samples, wanted)
    first, second = np.flatnonzero(found.weighted)
    assert power(found.weights[:, [first]]) < 0.01 * power(found.weights[:, [second]])
    for place in (int(first), int(second)):
        error = float(np.mean(truth.errors((), {place})))
        assert power(found.weights[:, [place]]) == pytest.approx(error, rel=0.2)


def test_integers_go_in_where_the_model_takes_them(model, pt2, artifact):
    """An Embedding's table counts as weights, of the first tensor with a gradient."""
    _, (ids,) = model("encoder")
    source = artifact(pt2("encoder"))
    shown, found = ranked(source, [[ids.numpy()]], RankSettings(probes=400))
    assert names(shown)[0] == "embedding" and found.weighted[0]
    truth = Simulation(source, [[ids.numpy()]], RankSettings())
    error = float(np.mean(truth.errors((), {0})))
    assert power(found.weights[:, [0]]) == pytest.approx(error, rel=0.25)


def test_a_recurrent_operators_matrices_add_up(model, pt2, artifact):
    _, (x,) = model("lstm")
    source = artifact(pt2("lstm"))
    wanted = RankSettings(probes=300)
    shown, found = ranked(source, [[x.numpy()]], wanted)
    place = names(shown).index("lstm")
    truth = Simulation(source, [[x.numpy()]], wanted)
    error = float(np.mean(truth.errors((), {place})))
    assert power(found.weights[:, [place]]) == pytest.approx(error, rel=0.25)


def test_views_take_the_scale_of_what_they_show(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 6)

        def forward(self, x):
            one, two = self.linear(x).reshape(2, 2, 6).transpose(1, 2).chunk(2, 1)
            return torch.cat([one * 2.0, two], 1).flatten()

    artifact = saved(Net(), (torch.zeros(4, 6),), tmp_path)
    shown, found = ranked(artifact, draws(2, 4, 6), RankSettings())
    felt = {n for n, c in zip(names(shown), (found.activations**2).sum(0), strict=True) if c > 0}
    assert felt == {"input", "linear", "cat"}


def test_integers_that_become_floats_end_the_gradient(tmp_path):
    """A mask is counted: what is computed from integers alone has a gradient of its own, and
    nothing before it is missed."""

    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(20, 6)

        def forward(self, ids, mask):
            shown = mask.to(torch.float32)[:, :, None]
            return (self.table(ids) * shown).sum(1) / shown.sum(1).clamp(min=1.0)

    torch.manual_seed(0)
    ids, mask = torch.randint(0, 20, (2, 5)), torch.ones(2, 5, dtype=torch.int64)
    artifact = saved(Masked(), (ids, mask), tmp_path)
    shown, found = ranked(artifact, [[ids.numpy(), mask.numpy()]], RankSettings(probes=300))
    truth = Simulation(artifact, [[ids.numpy(), mask.numpy()]], RankSettings())
    for place in truth.candidates:
        error = float(np.mean(truth.errors({place}, ())))
        guess = power(found.activations[:, [place]])
        assert guess == pytest.approx(error, rel=0.3, abs=1e-12), shown[place].tensor


def test_an_operator_without_gradient_is_named(tmp_path):
    """It would hide all that is before it."""

    class Signs(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x):
            return torch.ops.aten.heaviside.default(self.linear(x), x)

    artifact = saved(Signs(), (torch.zeros(2, 4),), tmp_path)
    with pytest.raises(ConversionError, match="heaviside"):
        ranked(artifact, draws(1, 2, 4), RankSettings())


class Overwriting(nn.Module):
    """Writes into a slice, which has no form as a single operator."""

    def forward(self, x):
        y = x * x
        y[:, 0] = 0.0
        z = y + 1.0
        return z.relu_()


def test_what_is_written_into_is_followed(tmp_path):
    artifact = saved(Overwriting(), (torch.zeros(3, 4),), tmp_path)
    samples = draws(2, 3, 4)
    shown, found = ranked(artifact, samples, RankSettings(probes=200))
    values = samples[0][0]
    expected = np.maximum(values**2 * np.array([0, 1, 1, 1], "float32") + 1, 0)
    np.testing.assert_allclose(shown[-1].value, expected, rtol=1e-6)
    truth = Simulation(artifact, samples, RankSettings())
    for place in truth.candidates:
        error = float(np.mean(truth.errors({place}, ())))
        assert power(found.activations[:, [place]]) == pytest.approx(error, rel=0.25, abs=1e-12)


def test_the_same_seed_gives_the_same_rows(model, pt2, artifact):
    _, inputs = model("heads")
    source, arrays = artifact(pt2("heads")), [x.numpy() for x in inputs]
    _, one = ranked(source, [arrays], RankSettings(seed=1))
    _, same = ranked(source, [arrays], RankSettings(seed=1))
    _, other = ranked(source, [arrays], RankSettings(seed=2))
    np.testing.assert_allclose(one.activations, same.activations, rtol=1e-3, atol=1e-9)
    assert not np.allclose(one.activations, other.activations, rtol=1e-3, atol=1e-9)
    assert (one.forward, one.backward) == (3, 2)
    assert one.float_passes > 0.0


# What cannot be ranked


def test_torchscript_is_refused(model, artifact, tmp_path):
    module, inputs = model("mlp")
    torch.jit.save(torch.jit.trace(module, inputs), tmp_path / "m.ts")
    source = artifact(tmp_path / "m.ts", ReadOptions(shapes={"x": (2, 8)}))
    with pytest.raises(ConversionError, match="does not show its layers"):
        ranked(source, [[inputs[0].numpy()]], RankSettings())


def test_a_model_of_integers_is_refused(tmp_path):
    class Count(nn.Module):
        def forward(self, ids):
            return ids * 2

    artifact = saved(Count(), (torch.zeros(3, dtype=torch.int64),), tmp_path)
    with pytest.raises(ConversionError, match="no floating-point output"):
        ranked(artifact, [[np.arange(3)]], RankSettings())


def test_control_flow_is_refused(tmp_path):
    class Branches(nn.Module):
        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda v: v * 2.0, lambda v: v - 1.0, (x,))

    artifact = saved(Branches(), (torch.zeros(3),), tmp_path)
    with pytest.raises(ConversionError, match="control flow"):
        ranked(artifact, draws(1, 3), RankSettings())
