"""What explains figures, and what makes them doubtful, said in words."""

from __future__ import annotations

import pytest

from convkit.analysis import bench_notes, machine
from convkit.analysis.candidates import Candidate
from convkit.analysis.statistics import Turn
from convkit.benchmark import BenchmarkRow, Machine
from convkit.environment import Environment


def described(flags: str, kind: str = "x86_64") -> Machine:
    environment = Environment("3.11", "linux", kind, cpu_features=frozenset(flags.split()))
    return machine.describe(environment, 0.0)


def explained(found: Machine, *states: str) -> str:
    rows = [BenchmarkRow(state, state, state, 1) for state in states]
    return " ".join(bench_notes.notes(found, 1, [], rows, [], ""))


def candidate(title: str, turns: list[Turn], **more: object) -> Candidate:
    made = Candidate(None, title, None, None, None, 1, ())  # type: ignore[arg-type]
    made.turns = turns
    for name, value in more.items():
        setattr(made, name, value)
    return made


def doubts(*candidates: Candidate, threads: int = 1, own: tuple[str, ...] = ()) -> str:
    return " ".join(bench_notes.notes(described("avx2"), threads, candidates, [], own, ""))


STEADY = [Turn((0.01,) * 4, (0.0,) * 4)] * 20


def test_features_are_called_what_people_call_them() -> None:
    found = described("sse2 avx2 fma avx512f avx512_vnni")
    assert found.features == ("AVX2", "FMA", "AVX-512", "VNNI")
    assert found.missing == ("AMX INT8",)
    arm = described("asimd asimddp fphp", "aarch64")
    assert arm.features == ("NEON", "FP16", "DOTPROD")
    assert arm.missing == ("I8MM",)


def test_an_unknown_processor_is_not_said_to_lack_anything() -> None:
    found = described("")
    assert (found.features, found.missing) == ((), ())
    assert not explained(found, "onnx", "onnx-int8")


@pytest.mark.parametrize(
    ("flags", "kind", "words"),
    [
        ("avx2", "x86_64", "no VNNI: an int8 multiply-accumulate takes three instructions"),
        ("avx2 avx_vnni", "x86_64", "has VNNI"),
        ("avx2 avx512_vnni amx_int8", "x86_64", "has AMX"),
        ("asimd", "aarch64", "no dot product instructions"),
    ],
)
def test_integer_speed_is_explained_where_integers_were_measured(
    flags: str, kind: str, words: str
) -> None:
    found = described(flags, kind)
    assert words in explained(found, "onnx", "onnx-int8")
    assert not explained(found, "onnx")


def test_half_precision_is_explained() -> None:
    assert "does not compute in float16" in explained(described("avx2"), "tflite-fp16")
    assert "float16" not in explained(described("avx512_fp16"), "tflite-fp16")


def test_a_quiet_run_raises_no_doubts() -> None:
    assert not doubts(candidate("a", STEADY, idle=[0.001] * 9), candidate("b", STEADY))


def test_a_busy_machine_is_doubtful() -> None:
    busy = [Turn((0.01,) * 4, (0.004,) * 4)] * 20
    assert "40 % of the time models waited" in doubts(candidate("a", busy))


def test_a_model_that_became_slower_is_named() -> None:
    slower = STEADY + [Turn((0.02,) * 4, (0.0,) * 4)] * 20
    said = doubts(candidate("steady", STEADY), candidate("slower", slower))
    assert "slower took 2.00 times as long in the second half" in said
    assert "steady" not in said


def test_threads_that_spin_are_noticed() -> None:
    assert "kept 50 % of a processor busy" in doubts(candidate("a", STEADY, idle=[0.5] * 9))


def test_what_makes_a_comparison_unequal_is_said() -> None:
    broken = candidate("broken", STEADY, finite=False)
    said = doubts(broken, threads=10**6, own=("odd",))
    assert "broken gives NaN or infinite values" in said
    assert "odd takes other inputs" in said
    assert "wait for each other" in said


def test_cores_are_pinned_where_that_narrows_anything_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "sched_setaffinity", lambda *a: None, raising=False)
    assert machine.cores_for(1, (3, 2, 1)) == (3,)
    assert machine.cores_for(2, (3, 2, 1)) == (3, 2)
    assert machine.cores_for(3, (3, 2, 1)) == ()
