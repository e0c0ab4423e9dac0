"""Silent faults: every one is seen, left for a good road, and blamed on the right hop.

A float fault is at least three times as large as the float tolerance, an int8 fault at least three
times as large as the honest quantizer's noise. Both sizes are measured here by the runtimes
themselves, without convkit.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import convkit
from convkit.api import Steering
from convkit.engine.session import Settings
from convkit.engine.worker import Limits
from convkit.errors import ConversionError, ConvkitError, NumericError
from convkit.results import ConversionResult
from convkit.verification import TOLERANCES
from tests.mutants import networks, onnx_faults, tflite_faults
from tests.mutants.plugin import (
    EIGHT_BIT_HOP,
    FIRST_HOP,
    HALF_FAULTS,
    HALF_HOP,
    HONEST,
    SECOND_HOP,
)

for framework in ("torch", "onnx", "onnxruntime", "ai_edge_litert", "ai_edge_quantizer"):
    pytest.importorskip(framework)

PLUGIN = "tests.mutants.plugin"
NETWORKS = ("vision", "text", "open")
LEGACY = "torch.onnx-legacy"
TIMES = 3
LOUD = 20 * math.log10(TIMES)
"""Three times as large, in dB."""

LIMITS = Limits(seconds=120)
FLOAT_FAULTS = sorted(onnx_faults.FAULTS.values(), key=lambda fault: fault.name)
EIGHT_BIT_FAULTS = sorted(tflite_faults.FAULTS)

NO_HASTE = {"vision": (pytest.mark.slow,)}
"""As a first hop every fault is traced layer by layer, to say where it lies: a minute for them all.
As a second hop they are all tried at once in every session."""

FIRST_FAULTS = [
    pytest.param(fault, marks=NO_HASTE.get(fault.network, ()), id=fault.name)
    for fault in FLOAT_FAULTS
]
FIRST_NETWORKS = [pytest.param(name, marks=NO_HASTE.get(name, ())) for name in NETWORKS]

Outputs = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Tried:
    """All faults about one network, offered at once; the honest edge is the planner's last."""

    model: Path
    result: ConversionResult

    def failure(self, converter: str) -> Any:
        """What was recorded of one converter."""
        (found,) = [f for f in self.result.failed if f.converter == converter]
        return found


Try = Callable[[str], Tried]
"""By network; made when first asked for."""


@pytest.fixture(scope="session")
def home(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutants")


@pytest.fixture(scope="session")
def models(home: Path) -> dict[str, Path]:
    return {name: networks.save(name, home / f"{name}.pt2") for name in (*NETWORKS, "plain")}


def convert(model: Path, to: str, offer: str, home: Path, **changes: Any) -> ConversionResult:
    changes.setdefault("steering", Steering(avoid=("torch.onnx-dynamo",)))
    return convkit.convert(
        model,
        to=to,
        output_dir=home / offer.lower(),
        calibration=networks.samples(model.stem),
        plugins=(f"{PLUGIN}:{offer}",),
        limits=LIMITS,
        **changes,
    )


@pytest.fixture(scope="session")
def first(models: dict[str, Path], home: Path) -> Try:
    """Every fault as the only hop; the honest exporter is tried last."""

    @functools.cache
    def attempt(network: str) -> Tried:
        offer = f"FIRST_{network.upper()}"
        return Tried(models[network], convert(models[network], "onnx", offer, home))

    return attempt


@pytest.fixture(scope="session")
def second(models: dict[str, Path], home: Path) -> Try:
    """Every fault as the second hop, behind an honest first one."""
    steering = Steering(converters=(LEGACY,))

    @functools.cache
    def attempt(network: str) -> Tried:
        offer = f"SECOND_{network.upper()}"
        result = convert(models[network], "relay", offer, home, steering=steering)
        return Tried(models[network], result)

    return attempt


@pytest.fixture(scope="session")
def half(models: dict[str, Path], home: Path) -> Tried:
    """Faults of the step to float16, behind an honest export."""
    steering = Steering(converters=(LEGACY,))
    result = convert(models["vision"], "onnx-fp16", "HALF", home, steering=steering)
    return Tried(models["vision"], result)


@pytest.fixture(scope="session")
def eight_bit(models: dict[str, Path], home: Path) -> Tried:
    """Every fault of the quantizer, behind an honest conversion."""
    return Tried(models["plain"], convert(models["plain"], "tflite-int8", "EIGHT_BIT", home))


@pytest.fixture(scope="session")
def honest_onnx(second: Try) -> Callable[[str], tuple[bytes, Outputs]]:
    """Content and outputs of an honest export, of which the relay is a copy, run by ONNX Runtime
    itself."""

    @functools.cache
    def export(network: str) -> tuple[bytes, Outputs]:
        content = second(network).result.path.read_bytes()
        return content, run_onnx(content, network)

    return export


def run_onnx(content: bytes, network: str) -> Outputs:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    inputs = [i.name for i in session.get_inputs()]
    outputs = [o.name for o in session.get_outputs()]
    return [
        dict(
            zip(outputs, session.run(outputs, dict(zip(inputs, sample, strict=True))), strict=True)
        )
        for sample in networks.trials(network)
    ]


def run_tflite(content: bytes) -> Outputs:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    signature = interpreter.get_signature_runner()
    return [signature(image=image) for (image,) in networks.samples("plain")]


def error_db(reference: Outputs, candidate: Outputs) -> float:
    """The worst signal-to-error ratio that an output has: over all samples, in one sample, or in
    what varies between samples."""
    import numpy as np

    worst = math.inf
    for name in reference[0]:
        if any(name not in outputs for outputs in candidate):
            return -math.inf
        ours = [np.asarray(o[name], np.float64).ravel() for o in reference]
        theirs = [np.asarray(o[name], np.float64).ravel() for o in candidate]
        if not all(np.isfinite(b).all() for b in theirs):
            return -math.inf
        mean = np.mean(ours, axis=0)
        varying = np.concatenate([a - mean for a in ours])
        pairs = [*zip(ours, theirs, strict=True), (np.concatenate(ours), np.concatenate(theirs))]
        pairs.append((varying, varying + pairs[-1][1] - pairs[-1][0]))
        for a, b in pairs:
            noise = float(np.square(a - b).sum())
            if noise:
                worst = min(worst, 10 * math.log10(float(np.square(a).sum()) / noise))
    return worst


def test_there_are_enough() -> None:
    assert len(FLOAT_FAULTS) + len(EIGHT_BIT_FAULTS) >= 40


@pytest.mark.parametrize("fault", FLOAT_FAULTS, ids=lambda fault: fault.name)
class TestFloat:
    def test_its_size(self, fault: onnx_faults.Fault, honest_onnx: Any) -> None:
        """A valid file that runs, three times farther off than the tolerance."""
        import onnx

        content, reference = honest_onnx(fault.network)
        model = onnx.load_from_string(content)
        fault.edit(model)
        onnx.checker.check_model(model, full_check=True)
        candidate = run_onnx(model.SerializeToString(), fault.network)
        if fault.name == "reordered-outputs":  # the lie is in what is said of the file
            candidate = [dict(zip(reference[0], o.values(), strict=True)) for o in candidate]
            shapes = [[v.shape for v in o.values()] for o in (reference[0], candidate[0])]
            assert shapes[0] != shapes[1]
            return
        assert error_db(reference, candidate) <= TOLERANCES["fp32"].floor - LOUD

    def test_it_is_the_culprit_behind_a_good_hop(
        self, fault: onnx_faults.Fault, second: Try
    ) -> None:
        tried = second(fault.network)
        failure = tried.failure(f"{SECOND_HOP}.{fault.name}")
        assert failure.target == "relay"
        assert_told(failure.error, failure.message)
        assert [h.converter for h in tried.result.manifest.hops] == [LEGACY, HONEST]
        assert [h.verification.verdict for h in tried.result.manifest.hops] == ["ok", "ok"]

    def test_without_rerouting_it_stops(
        self, fault: onnx_faults.Fault, second: Try, home: Path
    ) -> None:
        """The hops are in the store by now."""
        tried, name = second(fault.network), f"{SECOND_HOP}.{fault.name}"
        offer = f"SECOND_{fault.network.upper()}"
        error = stopped(tried.model, "relay", offer, (LEGACY, name), home)
        assert f"in hop {name}" in getattr(error, "__notes__", [])
        assert_told(type(error).__name__, error.message)
        if isinstance(error, NumericError):
            assert "This hop is the culprit: its own input onnx was still right" in error.hint


@pytest.mark.parametrize("fault", FIRST_FAULTS)
class TestFirstHop:
    def test_it_is_routed_around(self, fault: onnx_faults.Fault, first: Try) -> None:
        tried = first(fault.network)
        failure = tried.failure(f"{FIRST_HOP}.{fault.name}")
        assert failure.target == "onnx"
        assert_told(failure.error, failure.message)
        assert [h.converter for h in tried.result.manifest.hops] == [LEGACY]
        assert tried.result.verification.verdict == "ok"

    def test_without_rerouting_it_stops(
        self, fault: onnx_faults.Fault, first: Try, home: Path
    ) -> None:
        tried, name = first(fault.network), f"{FIRST_HOP}.{fault.name}"
        error = stopped(tried.model, "onnx", f"FIRST_{fault.network.upper()}", (name,), home)
        assert f"in hop {name}" in getattr(error, "__notes__", [])
        assert_told(type(error).__name__, error.message)


@pytest.mark.parametrize("network", FIRST_NETWORKS)
def test_nothing_but_the_faults_failed_as_a_first_hop(network: str, first: Try) -> None:
    only_these(first(network), FIRST_HOP, network)


@pytest.mark.parametrize("network", NETWORKS)
def test_nothing_but_the_faults_failed_as_a_second_hop(network: str, second: Try) -> None:
    only_these(second(network), SECOND_HOP, network)


def only_these(tried: Tried, hop: str, network: str) -> None:
    """Every fault failed, each once, and nothing else did."""
    expected = {f"{hop}.{f.name}" for f in FLOAT_FAULTS if f.network == network}
    assert {f.converter for f in tried.result.failed} == expected
    assert len(tried.result.failed) == len(expected)


def test_nothing_but_the_faults_failed_at_eight_bits(eight_bit: Tried) -> None:
    expected = {f"{EIGHT_BIT_HOP}.{name}" for name in EIGHT_BIT_FAULTS}
    assert {f.converter for f in eight_bit.result.failed} == expected


@pytest.mark.parametrize("name", HALF_FAULTS)
class TestHalf:
    def test_its_size(self, name: str, half: Tried, honest_onnx: Any) -> None:
        import onnx

        model = onnx.load_from_string(half.result.path.read_bytes())
        onnx_faults.FAULTS[name].edit(model)
        candidate = run_onnx(model.SerializeToString(), "vision")
        _, reference = honest_onnx("vision")
        assert error_db(reference, candidate) <= TOLERANCES["fp16"].floor - LOUD

    def test_it_is_routed_around(self, name: str, half: Tried) -> None:
        failure = half.failure(f"{HALF_HOP}.{name}")
        assert (failure.target, failure.error) == ("onnx-fp16", "NumericError")
        assert [h.converter for h in half.result.manifest.hops] == [LEGACY, "onnxruntime.fp16"]
        assert half.result.verification.verdict == "ok"

    def test_without_rerouting_it_stops(self, name: str, half: Tried, home: Path) -> None:
        error = stopped(half.model, "onnx-fp16", "HALF", (LEGACY, f"{HALF_HOP}.{name}"), home)
        assert isinstance(error, NumericError)
        assert f"in hop {HALF_HOP}.{name}" in getattr(error, "__notes__", [])
        assert "its own input onnx was still right" in error.hint


@pytest.mark.parametrize("name", EIGHT_BIT_FAULTS)
class TestEightBit:
    def test_its_size(self, name: str, eight_bit: Tried, float_tflite: bytes) -> None:
        """A file that runs, three times farther off than the honest quantizer's."""
        content = eight_bit.result.path.read_bytes()
        reference = run_tflite(float_tflite)
        noise = error_db(reference, run_tflite(content))
        wrong = error_db(reference, run_tflite(tflite_faults.FAULTS[name].edit(content)))
        assert wrong <= noise - LOUD

    def test_it_is_routed_around(self, name: str, eight_bit: Tried) -> None:
        failure = eight_bit.failure(f"{EIGHT_BIT_HOP}.{name}")
        assert failure.target == "tflite-int8"
        assert failure.error == "NumericError"
        hops = eight_bit.result.manifest.hops
        assert [h.converter for h in hops] == ["litert-torch.tflite", "ai-edge-quantizer.int8"]
        assert eight_bit.result.verification.verdict == "ok"

    def test_without_rerouting_it_stops(self, name: str, eight_bit: Tried, home: Path) -> None:
        names = ("litert-torch.tflite", f"{EIGHT_BIT_HOP}.{name}")
        error = stopped(eight_bit.model, "tflite-int8", "EIGHT_BIT", names, home)
        assert isinstance(error, NumericError)
        assert f"in hop {EIGHT_BIT_HOP}.{name}" in getattr(error, "__notes__", [])
        assert "its own input tflite was still right" in error.hint


@pytest.fixture(scope="session")
def float_tflite(eight_bit: Tried, home: Path) -> bytes:
    """The honest float file that was quantized."""
    found = convkit.convert(
        eight_bit.model,
        to="tflite",
        output_dir=home / "float",
        steering=Steering(converters=("litert-torch.tflite",)),
        calibration=networks.samples("plain"),
    )
    return found.path.read_bytes()


def test_a_batch_that_is_refused_aloud_is_no_lie(models: dict[str, Path], home: Path) -> None:
    """What runs one by one and stops at two is told of, not thrown away."""
    result = convert(models["open"], "onnx", "LOUD", home)
    assert [h.converter for h in result.manifest.hops] == [f"{FIRST_HOP}.batch-of-one"]
    assert result.verification.verdict == "degraded"
    assert any("a batch of 2 cannot be run" in text for text in result.verification.problems)


@pytest.mark.xfail(
    reason="int8's floor of 5 dB is below these 15 dB, for the sake of honest detectors near it: "
    "outputs alone cannot tell a range that is cut off from a model that quantizes badly",
    raises=AssertionError,
    strict=True,
)
def test_ranges_cut_off_hide_in_the_tolerance(models: dict[str, Path], home: Path) -> None:
    result = convert(models["plain"], "tflite-int8", "CUT_OFF", home)
    names = {f"{EIGHT_BIT_HOP}.{name}" for name in tflite_faults.WITHIN_TOLERANCE}
    assert {f.converter for f in result.failed} == names


def stopped(model: Path, to: str, offer: str, names: tuple[str, ...], home: Path) -> ConvkitError:
    """The error of a conversion by these converters alone, and nothing left behind."""
    folder = f"{offer}-stopped"
    settings = Settings(reroute=False)
    with pytest.raises((NumericError, ConversionError)) as caught:
        convkit.convert(
            model,
            to=to,
            output_dir=home / folder,
            calibration=networks.samples(model.stem),
            plugins=(f"{PLUGIN}:{offer}",),
            steering=Steering(converters=names),
            settings=settings,
            limits=LIMITS,
        )
    assert not (home / folder).exists()
    return caught.value


def assert_told(error: str, message: str) -> None:
    """Wrong numbers, or a breach of the contract that only shows when the file is run."""
    if error == "NumericError":
        assert "does not compute what the original does" in message
    else:
        assert error == "ConversionError"
        assert "Identity:0" in message or "linear" in message, "the name that is not there"
