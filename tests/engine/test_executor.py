"""Whole conversions with the toy plugin: verified, rerouted, shared, remembered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import convkit
from convkit.api import Kit, Steering
from convkit.engine.recipes import FULL
from convkit.engine.session import Settings
from convkit.engine.worker import Limits
from convkit.errors import (
    ConversionError,
    ConvkitError,
    ExitCode,
    InputError,
    NumericError,
    UsageError,
    WorkerError,
)
from convkit.events import Event, Notice, StageFinished
from convkit.manifest import manifest_path
from tests.testing.toyplugin import model as toy

TOY = "tests.testing.toyplugin.plugin"


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    monkeypatch.setenv("CONVKIT_CACHE", str(cache))
    return cache


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "net.toy"
    toy.write(toy.build({"a": (3, 0), "b": (3, 0)}, step=True), path, "toy")
    return path


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    """Four columns in pixels beside six scores."""
    path = tmp_path / "detector.toy"
    toy.write(toy.build({"boxes and scores": (4, 6)}), path, "toy")
    return path


@pytest.fixture
def images() -> list[Any]:
    rng = np.random.default_rng(3)
    return [rng.normal(size=(1, 8)).astype(np.float32) for _ in range(32)]


def bad(kind: str) -> str:
    return f"tests.testing.toyplugin.bad:{kind}_only"


def convert(model: Path, to: str | list[str], *further: str, **changes: Any) -> Any:
    output = changes.pop("output_dir", model.parent / "out")
    return convkit.convert(model, to=to, output_dir=output, plugins=(TOY, *further), **changes)


def test_a_chain_of_hops(source: Path, tmp_path: Path) -> None:
    result = convert(source, "toy-crate")
    assert result.path == tmp_path / "out" / "net-crate"
    assert (result.path / "model.json").is_file()
    assert [h.converter for h in result.manifest.hops] == [
        "toy.brick",
        "mason.simplify",
        "mason.crate",
    ]
    assert result.manifest.hops[0].options["opset"] == 12
    assert result.verification.verdict == "ok"
    assert [h.verification.verdict for h in result.manifest.hops] == ["ok"] * 3
    written = json.loads(manifest_path(result.path).read_text())
    assert written["digest"] == result.manifest.digest
    assert str(tmp_path) not in json.dumps(written)


def test_outputs_stay_in_the_order_of_the_original(source: Path) -> None:
    """Every toy converter writes them backwards."""
    result = convert(source, "brick")
    assert [s.name for s in result.manifest.outputs] == ["a", "b"]
    assert [h["name"] for h in toy.read(result.path, "brick")["outputs"]] == ["b", "a"]
    assert result.verification.verdict == "ok"


def test_second_run_is_remembered(source: Path) -> None:
    first, second = convert(source, "toy-crate"), convert(source, "toy-crate")
    assert [h.cached for h in first.manifest.hops] == [False] * 3
    assert [h.cached for h in second.manifest.hops] == [True] * 3
    assert first.manifest.digest == second.manifest.digest


def test_a_kit_keeps_its_workers(source: Path, tmp_path: Path) -> None:
    """From one conversion to the next; they go with the kit."""

    def workers() -> set[int]:
        return {p.pid for p in psutil.Process().children() if "worker_main.py" in str(p.cmdline())}

    before = workers()
    with Kit((TOY,)) as kit:
        convkit.convert(source, to="brick", output_dir=tmp_path / "1", kit=kit)
        first = workers() - before
        convkit.convert(source, to="toy-crate", output_dir=tmp_path / "2", kit=kit)
        assert convkit.inspect(source, kit=kit).state.format == "toy"
        assert first
        assert workers() - before == first
    assert workers() == before


def test_a_kit_goes_on_after_a_worker_fell(source: Path, tmp_path: Path) -> None:
    with Kit((TOY, bad("Aborts"))) as kit:
        with pytest.raises(WorkerError):
            convkit.convert(
                source,
                to="brick",
                output_dir=tmp_path / "1",
                steering=Steering(converters=("bad.aborts",)),
                settings=Settings(reroute=False),
                kit=kit,
            )
        good = Steering(converters=("toy.brick",))
        convkit.convert(source, to="brick", output_dir=tmp_path / "2", steering=good, kit=kit)


def test_targets_share_their_prefix(source: Path) -> None:
    result = convert(source, ["brick-fp16", "brick-int8-dynamic"])
    assert [str(o.state) for o in result.outputs] == ["brick-fp16", "brick-int8-dynamic"]
    assert [h.cached for h in result.outputs[1].manifest.hops] == [True, False]
    with pytest.raises(UsageError, match="2 outputs"):
        _ = result.path


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("WrongNumbers", "NumericError", "does not compute what the original does"),
        ("WrongOrder", "NumericError", "does not compute what the original does"),
        ("DropsOutput", "ConversionError", "the result has 1 outputs, its source 2"),
        ("Aborts", "WorkerError", "SIGABRT"),
        ("Segfaults", "WorkerError", "SIGSEGV"),
        ("Exits", "ConversionError", "SystemExit"),
        ("WritesNothing", "ConversionError", "did not write brick"),
        ("WrongState", "ConversionError", "did not write brick"),
        ("ChangesInput", "ConversionError", "changed its own input"),
    ],
)
def test_a_failing_edge_is_routed_around(source: Path, kind: str, error: str, words: str) -> None:
    events: list[Event] = []
    result = convert(source, "brick", bad(kind), listener=events.append)
    (failure,) = result.failed
    assert failure.converter.startswith("bad.")
    assert failure.error == error
    assert words in failure.message
    assert [h.converter for h in result.manifest.hops] == ["toy.brick"]
    assert result.verification.verdict == "ok"
    assert result.manifest.failed == (failure,)
    assert any(isinstance(e, Notice) and "Looking for another way" in e.message for e in events)
    assert any(isinstance(e, StageFinished) and e.outcome == "failed" for e in events)


def test_a_hanging_edge_is_routed_around(source: Path) -> None:
    result = convert(source, "brick", bad("Hangs"), limits=Limits(seconds=3))
    assert result.failed[0].error == "WorkerError"
    assert "did not finish within 3 s" in result.failed[0].message


def test_an_untrue_precision_is_routed_around(detector: Path, images: list[Any]) -> None:
    result = convert(detector, "brick-int8", bad("ClaimsInt8"), calibration=images)
    assert [(f.converter, f.error) for f in result.failed] == [
        ("bad.claims-int8", "PrecisionError")
    ]
    assert result.manifest.precision == "int8"


def test_noise_is_no_fault(source: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = convert(source, "brick", bad("Chatty"))
    assert [h.converter for h in result.manifest.hops] == ["noise.chatty"]
    assert result.failed == ()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("kind", "error", "code"),
    [
        ("Aborts", WorkerError, ExitCode.FAILED),
        ("WrongNumbers", NumericError, ExitCode.NUMERIC),
        ("WritesNothing", ConversionError, ExitCode.FAILED),
    ],
)
def test_without_rerouting_the_first_failure_is_final(
    source: Path, kind: str, error: type[ConvkitError], code: ExitCode
) -> None:
    with pytest.raises(error) as caught:
        convert(source, "brick", bad(kind), settings=Settings(reroute=False))
    assert caught.value.exit_code is code
    assert not (source.parent / "out").exists()


def test_when_every_way_fails_all_are_told(source: Path) -> None:
    steering = Steering(avoid=("toy.brick",))
    with pytest.raises(ConversionError, match="every way to brick failed") as caught:
        convert(source, "brick", bad("Aborts"), bad("WrongNumbers"), steering=steering)
    assert "bad.aborts" in caught.value.hint and "bad.wrong-numbers" in caught.value.hint
    assert not (source.parent / "out").exists()


def test_without_verification_wrong_numbers_pass_and_the_manifest_says_so(source: Path) -> None:
    result = convert(source, "brick", bad("WrongNumbers"), settings=Settings(verify=False))
    assert result.verification is None
    assert result.manifest.notes == ("NOT VERIFIED: verification was switched off",)


def test_an_output_that_mixes_kinds_keeps_a_float_island(detector: Path, images: list[Any]) -> None:
    result = convert(detector, "brick-int8", calibration=images)
    last = result.manifest.hops[-1]
    assert last.recipe.name == "float output island"
    assert last.recipe.float_layers == ("boxes and scores/post",)
    assert result.verification.verdict == "ok"
    assert {s.part for s in result.verification.slices} == {"[:, 0:4]", "[:, 4:10]"}
    assert result.manifest.integer_macs == 1.0
    assert result.manifest.calibration.count == len(images)


def test_in_integers_alone_the_same_model_is_wrong(detector: Path, images: list[Any]) -> None:
    with pytest.raises(NumericError) as caught:
        convert(detector, "brick-int8", calibration=images, settings=Settings(keep_float="none"))
    assert "every way to brick-int8 failed" in caught.value.message
    assert caught.value.exit_code is ExitCode.NUMERIC


def test_a_plain_model_is_quantized_whole(tmp_path: Path, images: list[Any]) -> None:
    path = tmp_path / "plain.toy"
    toy.write(toy.build({"y": (10, 0)}), path, "toy")
    result = convert(path, "brick-int8", calibration=images)
    last = result.manifest.hops[-1]
    assert last.recipe == FULL
    assert len(last.attempts) == 1


def test_steering_reaches_the_plan(detector: Path, images: list[Any]) -> None:
    result = convert(
        detector, "brick-int8", calibration=images, steering=Steering(converters=("furnace",))
    )
    assert [h.converter for h in result.manifest.hops] == ["furnace.int8"]
    assert result.manifest.hops[0].recipe.name == "float output island"


def test_synthetic_calibration_is_marked(detector: Path) -> None:
    events: list[Event] = []
    result = convert(detector, "brick-int8", synthetic_calibration=True, listener=events.append)
    assert result.manifest.calibration.synthetic
    assert "SYNTHETIC CALIBRATION" in result.manifest.notes[0]
    assert any(isinstance(e, Notice) and e.message.startswith("SYNTHETIC") for e in events)


def test_damaged_source(source: Path) -> None:
    content = source.read_bytes()
    source.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError):
        convert(source, "brick", source="toy")
