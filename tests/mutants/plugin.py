"""Converters that lie: each runs the real tool, then makes one mistake in the file.

`FIRST` leads from torch to ONNX. `SECOND` leads from ONNX on to `relay`, a format made up here: the
very ONNX file under another name, read and run by the same code, so that a lying hop stands behind
an honest one. `HALF` goes to float16, `EIGHT_BIT` to integers. All are cheaper than the honest
edge, so that the planner takes every one of them before it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from convkit.inspection import Inspection
from convkit.plans import OptionValue
from convkit.plugin import (
    Artifact,
    Converter,
    ConverterBase,
    Format,
    HopContext,
    Inspector,
    ReadOptions,
    Runner,
    State,
    hookimpl,
)
from tests.mutants.onnx_faults import FAULTS, Fault, batch_of_one
from tests.mutants.tflite_faults import FAULTS as EIGHT_BIT_FAULTS
from tests.mutants.tflite_faults import WITHIN_TOLERANCE
from tests.mutants.tflite_faults import Fault as EightBitFault

FIRST_HOP, SECOND_HOP, HALF_HOP, EIGHT_BIT_HOP = "mutant", "relay", "half", "coarse"
HALF_FAULTS = ("float16-overflow", "float16-saturation", "dropped-bias", "dropped-residual")
"""Those that are made at the step to float16 too."""

HONEST = "honest.relay"
RELAY = State("relay")
OPSET = 17

_exports: dict[str, tuple[bytes, Artifact]] = {}
"""The honest export, made once in a worker for all lies about it."""


class Liar(ConverterBase):
    """torch -> onnx by the legacy exporter, with a fault."""

    source: State = State("torch")
    target: State = State("onnx")
    requirements: tuple[str, ...] = ("torch", "onnx")
    seconds: float = 0.1

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.name = f"{FIRST_HOP}.{fault.name}"

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        if artifact.digest not in _exports:
            from convkit_torch.onnx_legacy import OnnxLegacy

            described = OnnxLegacy().convert(artifact, output, {"opset": OPSET}, context)
            _exports[artifact.digest] = output.read_bytes(), described
        content, described = _exports[artifact.digest]
        _write(content, self.fault, output)
        return self.fault.describe(dataclasses.replace(described, path=output))


class Relay(ConverterBase):
    """onnx -> relay: a copy, with a fault if one is given."""

    source: State = State("onnx")
    target: State = RELAY
    requirements: tuple[str, ...] = ("onnx",)

    def __init__(self, fault: Fault | None = None) -> None:
        self.fault = fault
        self.name = f"{SECOND_HOP}.{fault.name}" if fault else HONEST
        self.seconds = 0.1 if fault else 1.0

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        described = dataclasses.replace(artifact, path=output, state=RELAY, digest="")
        if self.fault is None:
            output.write_bytes(artifact.path.read_bytes())
            return described
        _write(artifact.path.read_bytes(), self.fault, output)
        return self.fault.describe(described)


class HalfLiar(ConverterBase):
    """onnx -> onnx-fp16 by the real tool, with a fault."""

    source: State = State("onnx")
    target: State = State("onnx", "fp16")
    requirements: tuple[str, ...] = ("onnx", "onnxruntime")
    loss: int = 1
    seconds: float = 0.1

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.name = f"{HALF_HOP}.{fault.name}"

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        from convkit_onnx.half import Half

        honest = Half()
        settings = {option.name: option.default for option in honest.options}
        described = honest.convert(artifact, output, settings, context)
        _write(output.read_bytes(), self.fault, output)
        return described


class Coarse(ConverterBase):
    """tflite -> tflite-int8 by the real quantizer, with a fault."""

    source: State = State("tflite")
    target: State = State("tflite", "int8")
    requirements: tuple[str, ...] = ("ai-edge-quantizer", "ai-edge-litert")
    loss: int = 3
    seconds: float = 0.1
    needs_calibration: bool = True

    def __init__(self, fault: EightBitFault) -> None:
        self.fault = fault
        self.name = f"{EIGHT_BIT_HOP}.{fault.name}"

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        if artifact.digest not in _exports:
            from convkit_litert.quantizers import StaticInt8

            honest = StaticInt8()
            settings = {option.name: option.default for option in honest.options}
            described = honest.convert(artifact, output, settings, context)
            _exports[artifact.digest] = output.read_bytes(), described
        content, described = _exports[artifact.digest]
        output.write_bytes(self.fault.edit(content))
        return dataclasses.replace(described, path=output)


def _write(content: bytes, fault: Fault, output: Path) -> None:
    import onnx

    model = onnx.load_from_string(content)
    fault.edit(model)
    output.write_bytes(model.SerializeToString())


class RelayInspector:
    """The ONNX inspector."""

    name = "relay.inspector"
    format = "relay"
    requirements = ("onnx",)

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        from convkit_onnx.inspector import OnnxInspector

        return dataclasses.replace(OnnxInspector().inspect(path, read), state=RELAY)


class RelayRunner:
    """ONNX Runtime."""

    name = "relay.runner"
    format = "relay"
    requirements = ("onnxruntime",)

    def open(self, artifact: Artifact, threads: int) -> Any:
        from convkit_onnx.runner import OnnxRuntimeRunner

        return OnnxRuntimeRunner().open(artifact, threads)


class Offer:
    """A plugin with some converters."""

    def __init__(self, *converters: Converter) -> None:
        self._converters = converters

    @hookimpl
    def convkit_converters(self) -> Iterable[Converter]:
        return self._converters


class OfferRelay(Offer):
    """A plugin with the made-up format too."""

    @hookimpl
    def convkit_formats(self) -> Iterable[Format]:
        return (Format("relay", "ONNX under another name", (".relay",)),)

    @hookimpl
    def convkit_inspectors(self) -> Iterable[Inspector]:
        return (RelayInspector(),)

    @hookimpl
    def convkit_runners(self) -> Iterable[Runner]:
        return (RelayRunner(),)


def _about(network: str) -> list[Fault]:
    return [fault for fault in FAULTS.values() if fault.network == network]


FIRST_VISION = Offer(*(Liar(fault) for fault in _about("vision")))
FIRST_TEXT = Offer(*(Liar(fault) for fault in _about("text")))
FIRST_OPEN = Offer(*(Liar(fault) for fault in _about("open")))
SECOND_OPEN = OfferRelay(Relay(), *(Relay(fault) for fault in _about("open")))
SECOND_VISION = OfferRelay(Relay(), *(Relay(fault) for fault in _about("vision")))
HALF = Offer(*(HalfLiar(FAULTS[name]) for name in HALF_FAULTS))
SECOND_TEXT = OfferRelay(Relay(), *(Relay(fault) for fault in _about("text")))
EIGHT_BIT = Offer(*(Coarse(fault) for fault in EIGHT_BIT_FAULTS.values()))
CUT_OFF = Offer(*(Coarse(fault) for fault in WITHIN_TOLERANCE.values()))
LOUD = Offer(Liar(Fault("batch-of-one", "open", batch_of_one)))
