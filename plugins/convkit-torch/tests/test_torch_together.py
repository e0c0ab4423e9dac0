"""`torch.adjoint` rounds some sets of tensors together, and sets are expected from that."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")
nn = torch.nn

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from convkit.analysis.sensitivity.noise import expected, known, shrunk  # noqa: E402
from convkit.plugin import Artifact, Ranking, RankSettings, ReadOptions  # noqa: E402
from convkit_torch.adjoint import AdjointRanker  # noqa: E402
from convkit_torch.fake_quant import activation_grid  # noqa: E402
from convkit_torch.inspector import TorchInspector  # noqa: E402
from tests.benchmarks.simulation import Simulation  # noqa: E402

SAMPLES = 12


class Net(nn.Module):  # type: ignore[misc,name-defined]
    """Convolutions and a normalization behind an addition, which saturates."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(3))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        for block in self.blocks:
            x = x + nn.functional.silu(block(x))
        return self.head(self.norm(x.mean((2, 3))))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    path: Path = tmp_path_factory.mktemp("together") / "model.pt2"
    torch.manual_seed(0)
    torch.export.save(torch.export.export(Net().eval(), (torch.zeros(1, 3, 8, 8),)), path)
    seen = TorchInspector().inspect(path, ReadOptions())
    return Artifact(path, seen.state, seen.inputs, seen.outputs, seen.digest)


@pytest.fixture(scope="module")
def samples() -> list[list[Any]]:
    rng = np.random.default_rng(0)
    return [[rng.standard_normal((1, 3, 8, 8)).astype(np.float32)] for _ in range(SAMPLES)]


def ranked(artifact: Artifact, samples: Any, wanted: RankSettings) -> Ranking:
    def whole(values: Any) -> Any:
        return [()]

    return AdjointRanker().rank(
        artifact, samples, wanted, whole, lambda tensor: None, lambda *_: None
    )


def test_sets_are_measured_as_the_simulation_measures_them(
    artifact: Artifact, samples: Any
) -> None:
    wanted = RankSettings(together=3)
    found, truth = ranked(artifact, samples, wanted), Simulation(artifact, samples, wanted)
    assert found.forward == 6
    for group in found.together:
        tensors, weights = (set(np.flatnonzero(x)) for x in (group.activations, group.weights))
        error = np.mean(truth.errors(tensors, weights))
        assert group.error == pytest.approx(error, rel=0.1)
    members = [np.concatenate([g.activations, g.weights]) for g in found.together]
    powers = (np.concatenate([found.activations, found.weights], axis=1) ** 2).mean(0)
    assert set(np.flatnonzero(members[0])) == set(np.flatnonzero(powers))
    assert [int(m.sum()) for m in members] == [int(members[0].sum()) - k for k in range(3)]
    spared = [int(np.flatnonzero(a & ~b)[0]) for a, b in itertools.pairwise(members)]
    assert spared == list(np.argsort(-powers)[:2])


def test_nothing_is_rounded_together_unless_asked(artifact: Artifact, samples: Any) -> None:
    found = ranked(artifact, samples[:2], RankSettings())
    assert found.together == ()
    assert found.forward == 3


@pytest.mark.parametrize(("bits", "limit"), [(8, 1.0), (4, 1.5)])
def test_sets_are_expected_as_they_are_measured(
    bits: int, limit: float, artifact: Artifact, samples: Any
) -> None:
    wanted = RankSettings(bits, 8, probes=4, together=2)
    found, truth = ranked(artifact, samples, wanted), Simulation(artifact, samples, wanted)
    places = len(truth.places)
    members = [*truth.candidates, *(places + place for place in truth.weighted)]
    sets = np.random.default_rng(1).random((24, 2 * places)) < np.linspace(0.1, 0.9, 24)[:, None]
    sets[:, [m for m in range(2 * places) if m not in members]] = False
    sets = sets[sets.any(axis=1)]
    effects = np.concatenate([found.activations, found.weights], axis=1)
    guess = expected(shrunk(effects), sets, known(found.activations, found.weights, found.together))
    measured = [
        np.mean(truth.errors(set(np.flatnonzero(s[:places])), set(np.flatnonzero(s[places:]))))
        for s in sets
    ]
    off = np.abs(10.0 * np.log10(guess / measured))
    assert off.mean() < limit, off


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=30),
    st.sampled_from([4, 8, 16]),
    st.booleans(),
)
def test_errors_in_steps_are_the_errors(values: list[float], bits: int, symmetric: bool) -> None:
    tensor = torch.tensor(values, dtype=torch.float32)
    grid = activation_grid(float(tensor.min()), float(tensor.max()), bits, symmetric)
    if grid is None or grid.step < 1e-30:
        return
    error = grid.error(tensor)
    # values half-way between two numbers may go to either
    torch.testing.assert_close(
        (grid.error_in_steps(tensor) * grid.step).abs(), error.abs(), rtol=0.0, atol=grid.step / 50
    )
    torch.testing.assert_close(grid.nearest(tensor) - tensor, error)
