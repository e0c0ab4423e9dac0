"""Samples in their own order, and labels beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from convkit.arrays import ArraySource
from convkit.artifact import Artifact, State, TensorSpec
from convkit.engine.sample_files import SampleWriter
from convkit.errors import CalibrationError, UsageError
from convkit.fidelity import Fidelity, Top1Agreement
from convkit.plugin import OrderedSource

SOURCE = ArraySource()
STACK = np.arange(12, dtype=np.float32).reshape(6, 2)


def model(*names: str) -> Artifact:
    specs = tuple(TensorSpec(name, (1, 2), "float32") for name in names)
    return Artifact(Path("model"), State("onnx"), inputs=specs)


def values(samples: Any) -> list[tuple[str, float]]:
    return [(name, float(arrays[0].ravel()[0])) for name, arrays in samples]


def test_it_is_an_ordered_source() -> None:
    assert isinstance(SOURCE, OrderedSource)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(["npy", "npz", "npz with labels", "safetensors", "pair", "folder"]),
    st.none() | st.integers(1, 9),
)
def test_rows_and_files_in_order(tmp_path: Path, kind: str, limit: int | None) -> None:
    path = tmp_path / f"{kind}{limit}"
    rows = [str(n) for n in range(6)]
    if kind == "npy":
        np.save(path := path.with_suffix(".npy"), STACK)
    elif kind == "npz":
        np.savez(path := path.with_suffix(".npz"), any=STACK)
    elif kind == "npz with labels":
        np.savez(path := path.with_suffix(".npz"), any=STACK, y=np.arange(6))
    elif kind == "safetensors":
        save_file({"any": STACK}, path := path.with_suffix(".safetensors"))
    else:
        path.mkdir(exist_ok=True)
        if kind == "pair":
            np.save(path / "x.npy", STACK)
            np.save(path / "y.npy", np.arange(6))
        else:
            rows = [f"{n}.npy" for n in range(6)]
            for number, row in enumerate(STACK):
                np.save(path / f"{number}.npy", row)
    assert SOURCE.accepts(path)
    found = values(SOURCE.samples(path, model("x"), limit))
    assert found == list(zip(rows, STACK[:, 0].tolist(), strict=True))[:limit]
    drawn = SOURCE.read(path, model("x"), {}, None, 5)
    assert sorted(float(s[0][0, 0]) for s in drawn) == STACK[:, 0].tolist()


def test_labels_are_no_input_unless_the_model_has_one_of_that_name(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x=STACK, y=STACK + 100)
    (first, *_) = SOURCE.samples(path, model("y", "x"), None)
    assert [float(a[0, 0]) for a in first[1]] == [100.0, 0.0]
    np.savez(path, a=STACK, b=STACK, y=np.arange(6))
    with pytest.raises(CalibrationError, match="holds a, b, y"):
        list(SOURCE.samples(path, model("x"), None))


def test_samples_that_do_not_fit_into_memory_are_refused() -> None:
    writer = SampleWriter(budget=100)
    writer.add(0, [np.zeros(10, np.float32)])
    writer.add(1, [np.zeros(10, np.float32)])
    with pytest.raises(UsageError, match="full after 2") as caught:
        writer.add(2, [np.zeros(10, np.float32)])
    assert "--limit 1" in caught.value.hint


def test_a_model_against_itself_has_the_best_fidelity() -> None:
    rng = np.random.default_rng(0)
    outputs = [[rng.standard_normal((1, 5)).astype(np.float32)] for _ in range(4)]
    for metric in (Fidelity(), Top1Agreement()):
        assert metric.score_against(Path(), outputs, outputs, None).value == pytest.approx(1.0)
        with pytest.raises(UsageError, match="against a reference"):
            metric.score(Path(), outputs, None)


def test_nan_costs_all_fidelity() -> None:
    outputs = [[np.array([[1.0, 2.0, 3.0]], np.float32)] for _ in range(3)]
    torn = [[o[0].copy()] for o in outputs]
    torn[1][0][0, 0] = np.nan
    found = Fidelity().score_against(Path(), torn, outputs, None)
    assert (found.value, len(found.problems)) == (0.0, 1)
    top = Top1Agreement().score_against(Path(), torn, outputs, None)
    assert (top.value, top.details["invalid"]) == (pytest.approx(2 / 3), 1)


@pytest.mark.parametrize("other", [np.zeros((1, 4), np.float32), np.zeros((1, 5), np.int64)])
def test_outputs_of_another_kind_are_refused(other: Any) -> None:
    ours = [[np.zeros((1, 5), np.float32)]]
    with pytest.raises(UsageError, match="output 0 is"):
        Fidelity().score_against(Path(), [[other]], ours, None)
    with pytest.raises(UsageError, match="has 2 outputs, the reference 1"):
        Fidelity().score_against(Path(), [[ours[0][0], other]], ours, None)
