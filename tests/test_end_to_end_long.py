"""The long road: torch -> onnx -> tf-saved -> tflite-int8, by way of an isolated environment."""

from __future__ import annotations

from pathlib import Path

import pytest

import convkit
from convkit import Kit, Steering
from convkit.manifest import manifest_path
from convkit.results import ConversionResult

pytest.importorskip("torch")
pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def long_road(
    sample: Path, kit: Kit, onnx_tf_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> ConversionResult:
    """Run once for all tests here: it takes most of a minute."""
    return convkit.convert(
        sample / "model.pt2",
        to="tflite-int8",
        calibration=sample / "calibration",
        steering=Steering(via=("onnx-tf", "tensorflow")),
        output_dir=tmp_path_factory.mktemp("long"),
        kit=kit,
    )


def test_the_result_is_verified_int8(long_road: ConversionResult) -> None:
    assert long_road.verification is not None
    assert long_road.verification.verdict == "ok"
    assert not long_road.failed, "no hop needed a way around"
    found = convkit.inspect(long_road.path)
    assert str(found.state) == "tflite-int8"
    assert found.integer_macs >= 0.9 * found.macs
    for hop in long_road.manifest.hops:
        assert hop.verification is not None
        assert hop.verification.verdict == "ok", hop.converter
        assert hop.verification.against == "original"


def test_the_planner_bound_the_opset_and_the_exporter(long_road: ConversionResult) -> None:
    hops = long_road.manifest.hops
    assert [h.converter for h in hops] == [
        "torch.onnx-legacy",
        "onnxslim.simplify",
        "onnx-tf.saved",
        "tensorflow.tflite-int8",
    ]
    assert hops[0].options["opset"] == 12
    assert hops[0].bound == ("opset",)
    assert any("onnx-tf" in r.subject or "dynamo" in r.subject for r in long_road.rejected)


def test_the_manifest_names_the_environment(
    long_road: ConversionResult, sample: Path, onnx_tf_python: Path
) -> None:
    environments = [h.environment for h in long_road.manifest.hops]
    assert [e.partition("@")[0] for e in environments] == ["", "", "onnx-tf", ""]
    assert environments[2].partition("@")[2], "with the digest of its lock"
    content = manifest_path(long_road.path).read_text()
    binary = long_road.path.read_bytes()
    for place in (sample.parents[3], Path.home(), onnx_tf_python.parents[2], long_road.path.parent):
        if len(place.parts) > 1:
            assert str(place) not in content
            assert str(place).encode() not in binary
