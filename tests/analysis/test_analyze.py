"""The analyzer on a network with one stage that integers cannot carry."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import convkit
from convkit.sensitivity import Sensitivity
from tests.cli.commands import run

GOAL = 40.0
"""dB."""
FRAGILE = "middle"
"""Channels of very different size share one scale there."""


@dataclasses.dataclass(frozen=True)
class Case:
    model: Path
    samples: Path


def network(folder: Path, activation: str, decades: float = 3.0, even: bool = False) -> Case:
    """
    Args:
        decades: by so much the largest channel of the middle is larger than its smallest.
        even: every class is the likeliest one of some samples.
    """
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    import numpy as np

    torch.manual_seed(3)

    def block(inputs: int, outputs: int) -> Any:
        act = getattr(torch.nn, activation)()
        return torch.nn.Sequential(torch.nn.Conv2d(inputs, outputs, 3, padding=1), act)

    class Net(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.middle, self.after = block(3, 8), block(8, 8), block(8, 8)
            self.tail = torch.nn.Sequential(block(8, 8), block(8, 8))
            self.head = torch.nn.Linear(8 * 8 * 8, 10)
            with torch.no_grad():
                sizes = torch.logspace(-decades / 2, decades / 2, 8)
                self.middle[0].weight *= sizes[:, None, None, None]
                self.middle[0].bias *= sizes
                self.after[0].weight /= sizes[None, :, None, None]

        def forward(self, image: Any) -> Any:
            x = self.tail(self.after(self.middle(self.stem(image))))
            return self.head(torch.nn.functional.max_pool2d(x, 2).flatten(1))

    net, image = Net().eval(), torch.zeros(1, 3, 16, 16)
    if even:
        with torch.no_grad():
            net.head.bias -= net(torch.randn(256, 3, 16, 16)).mean(0)
    torch.export.save(torch.export.export(net, (image,)), folder / "net.pt2")
    rng = np.random.default_rng(1)
    np.save(folder / "samples.npy", rng.standard_normal((24, 3, 16, 16)).astype("float32"))
    return Case(folder / "net.pt2", folder / "samples.npy")


@pytest.fixture(scope="module")
def case(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Nothing but float helps it."""
    return network(tmp_path_factory.mktemp("fragile"), "SiLU")


def analyze(case: Case, to: str = "onnx-int8", **settings: Any) -> Sensitivity:
    chosen = {"min_sqnr": GOAL, "budget": 12, "timing": False, **settings}
    return convkit.analyze(
        case.model,
        to=to,
        calibration=case.samples,
        analysis=convkit.AnalysisSettings(**chosen),
    )


@pytest.fixture(scope="module")
def found(case: Case) -> Sensitivity:
    return analyze(case)


def test_the_stage_that_integers_cannot_carry_stays_in_float(found: Sensitivity) -> None:
    assert found.reached
    assert found.ranker == "torch.adjoint"
    scopes = {row.scope.partition(".")[0] for row in found.rows if row.kept}
    assert FRAGILE in scopes
    full = next(t for t in found.trials if t.phase == "baseline")
    assert found.choice.sqnr_db is not None
    assert full.sqnr_db is not None
    assert found.choice.sqnr_db >= GOAL > full.sqnr_db
    assert not {"tail", "head"} & scopes  # nothing else needs it


def test_what_a_repair_can_heal_needs_no_float(cache: Path, tmp_path: Path) -> None:
    """Behind a ReLU, scales can move from one layer to the next: channels are equalized."""
    found = analyze(network(tmp_path, "ReLU"), min_sqnr=25.0)
    assert found.reached
    assert dict(found.choice.options) == {"equalize": "auto"}
    assert not found.choice.float_layers


def test_every_quantizer_tries_repairs_of_its_own(case: Case) -> None:
    pytest.importorskip("nncf")
    found = analyze(case, "openvino-int8", min_sqnr=80.0, budget=6)
    assert not found.reached
    tried = [dict(t.options) for t in found.trials if t.phase == "repair"]
    assert {"bias_correction": "none"} in tried
    assert any(options.get("activation_ranges") == "histogram" for options in tried)


def test_the_ranking_puts_that_stage_first(found: Sensitivity) -> None:
    worst = max(found.rows, key=lambda row: row.error)
    assert worst.scope.partition(".")[0] == FRAGILE
    assert 0 < found.cost.float_passes < 100
    assert found.cost.builds <= 12


def test_predictions_order_what_was_measured(found: Sensitivity) -> None:
    built = [t for t in found.trials if t.measured]
    assert len(built) > 1
    best = max(built, key=lambda t: t.predicted_db or 0.0)
    full = next(t for t in built if t.phase == "baseline")
    assert best.sqnr_db is not None
    assert full.sqnr_db is not None
    assert best.sqnr_db > full.sqnr_db + 6.0


def test_a_second_run_comes_to_the_same_and_is_short(case: Case, found: Sensitivity) -> None:
    again = analyze(case)
    plain = [
        dataclasses.replace(
            report,
            cost=dataclasses.replace(report.cost, seconds=0.0),
            trials=tuple(dataclasses.replace(t, seconds=0.0) for t in report.trials),
        )
        for report in (found, again)
    ]
    assert plain[0].to_json() == plain[1].to_json()


def test_a_budget_of_one_is_kept_and_the_goal_missed(case: Case) -> None:
    found = analyze(case, budget=1)
    assert found.cost.builds == 1
    assert not found.reached
    assert "budget" in " ".join(found.notes)


def test_a_limit_alone_asks_for_the_most_accurate_within_it(case: Case, found: Sensitivity) -> None:
    """Twice as large as in integers, where float is four times as large."""
    full = next(t for t in found.trials if t.phase == "baseline")
    assert full.size_bytes is not None
    limit = (full.size_bytes + found.float_size) // 2
    limited = analyze(case, min_sqnr=None, max_size=limit)
    assert limited.reached
    within = [t for t in limited.trials if t.measured and (t.size_bytes or 0) <= limit]
    best = max(within, key=lambda t: t.sqnr_db or 0.0)
    assert limited.choice == best
    assert (best.sqnr_db or 0.0) > (full.sqnr_db or 0.0) + 6.0
    assert "most accurate that was found within" in " ".join(limited.notes)


def test_the_time_that_is_left_is_used(case: Case) -> None:
    """Any choice of so small a network takes less than ten times the float model's time."""
    found = analyze(case, min_sqnr=None, max_time=10.0)
    assert found.reached
    assert found.choice.time is not None
    assert found.choice.time <= 10.0
    best = max(t.sqnr_db or 0.0 for t in found.trials if t.measured)
    assert found.choice.sqnr_db == best
    assert best > GOAL


def test_a_time_that_nothing_keeps_is_told(case: Case) -> None:
    found = analyze(case, min_sqnr=None, max_time=1e-6)
    assert not found.reached
    assert not found.choice.float_layers
    assert "keeps the limit of 1e-06" in " ".join(found.notes)


def test_convert_uses_what_is_found(case: Case, found: Sensitivity, tmp_path: Path) -> None:
    result = convkit.convert(
        case.model,
        to="onnx-int8",
        calibration=case.samples,
        output_dir=tmp_path,
        settings=convkit.Settings(exclude=("auto",)),
        analysis=convkit.AnalysisSettings(min_sqnr=GOAL, budget=12, timing=False),
    )
    (analysis,) = result.analyses
    assert analysis.recipe == found.recipe
    seen = {layer.name: layer.compute for layer in convkit.inspect(result.path).layers}
    kept = [name for name in analysis.choice.float_layers if name in seen]
    assert kept
    assert all(seen[name] == "float32" for name in kept)
    assert result.to_json()["analyses"]


def test_an_onnx_file_is_ranked_through_an_importer(case: Case, tmp_path: Path) -> None:
    pytest.importorskip("onnx2fx")
    model = convkit.convert(case.model, to="onnx", output_dir=tmp_path).path
    found = analyze(dataclasses.replace(case, model=model))
    assert found.ranker == "torch.adjoint"
    assert found.reached


def test_what_the_user_names_stays_in_float_besides(case: Case) -> None:
    report = convkit.analyze(
        case.model,
        to="onnx-int8",
        calibration=case.samples,
        settings=convkit.Settings(exclude=("head", "auto")),
        analysis=convkit.AnalysisSettings(min_sqnr=GOAL, budget=12, timing=False),
    )
    assert "asked for" in report.asked[0].reason
    assert set(report.asked[0].layers) <= set(report.recipe.float_layers)
    assert not set(report.asked[0].layers) & set(report.choice.float_layers)


def test_a_float_target_is_refused(case: Case) -> None:
    with pytest.raises(convkit.ConvkitError, match="cannot keep chosen layers"):
        convkit.analyze(case.model, to="onnx", calibration=case.samples)


NOISY = """
import random
def score(outputs, data):
    return random.random()
def constant(outputs, data):
    return 0.5
def coarse(outputs, data):
    return float(sum(o[0].argmax() == 3 for o in outputs)) / len(outputs) + 1e-9 * o_sum(outputs)
def o_sum(outputs):
    return float(sum(o[0].sum() for o in outputs))
"""


@pytest.mark.parametrize(
    ("metric", "words"), [("score", "noisier than --max-drop"), ("constant", "is constant")]
)
def test_a_metric_that_cannot_judge_is_explained(
    case: Case, tmp_path: Path, metric: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(NOISY, "utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(convkit.ConvkitError, match=words) as error:
        convkit.analyze(
            case.model,
            to="onnx-int8",
            calibration=case.samples,
            data=case.samples,
            metric=f"mine.py:{metric}",
        )
    assert error.value.hint


def test_too_few_samples_for_the_drop_are_told(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(NOISY, "utf-8")
    monkeypatch.chdir(tmp_path)
    found = convkit.analyze(
        case.model,
        to="onnx-int8",
        calibration=case.samples,
        data=case.samples,
        metric="mine.py:coarse",
        analysis=convkit.AnalysisSettings(budget=2, timing=False),
    )
    assert any("24 samples are few" in warning for warning in found.warnings)


def test_the_command_line(case: Case, tmp_path: Path) -> None:
    flags = ("analyze", case.model, "--to", "onnx-int8", "--calibration", case.samples)
    answer = run(
        *flags, "--min-sqnr", f"{GOAL:g}", "--budget", "12", "--no-bench", "--json", cwd=tmp_path
    )
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["reached"] is True
    assert "most sensitive of" in answer.err
    assert "chosen" in answer.err
    missed = run(*flags, "--min-sqnr", "90", "--budget", "1", "--no-bench", cwd=tmp_path)
    assert missed.code == 6
    assert "missed" in missed.err
    bare = ("convert", case.model, "--to", "onnx-int8", "--calibration", case.samples)
    refused = run(*bare, "--max-drop", "0.1", "-o", tmp_path, cwd=tmp_path)
    assert refused.code == 2
    assert "--exclude auto" in refused.err


def test_convert_within_a_time(case: Case, tmp_path: Path) -> None:
    bare = ("convert", case.model, "--to", "onnx-int8", "--calibration", case.samples)
    limit = ("--max-time", "10", "--budget", "8", "-o", tmp_path)
    refused = run(*bare, *limit, cwd=tmp_path)
    assert refused.code == 2
    assert "--exclude auto" in refused.err
    done = run(*bare, *limit, "--exclude", "auto", "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    (analysis,) = json.loads(done.out)["analyses"]
    assert analysis["filled"] is True
    assert analysis["max_time"] == 10.0
    (chosen,) = [t for t in analysis["trials"] if t["name"] == analysis["chosen"]]
    assert chosen["time"] <= 10.0
    assert chosen["float_layers"]
