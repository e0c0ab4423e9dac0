"""The architectures that ultralytics brings, exported and compared with themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from convkit.errors import ConversionError, UsageError
from convkit.plugin import Artifact, HopContext, ReadOptions
from convkit_ultralytics import plugin
from convkit_ultralytics.runner import UltralyticsRunner

CONVERTERS = {c.name: c for c in plugin.convkit_converters()}
FLOOR_DB = 80.0


def described(name: str, folder: Path) -> Path:
    """A copy of a packaged description under the name that chooses its scale."""
    spec = find_spec("ultralytics")
    assert spec is not None and spec.submodule_search_locations
    home = Path(spec.submodule_search_locations[0]) / "cfg" / "models"
    wanted = {
        "yolov8n": "v8/yolov8",
        "yolov5n": "v5/yolov5",
        "yolov3-tiny": "v3/yolov3-tiny",
        "yolo11n": "11/yolo11",
        "yolov8n-seg": "v8/yolov8-seg",
        "yolo11n-pose": "11/yolo11-pose",
        "yolo11n-obb": "11/yolo11-obb",
        "yolo11n-cls": "11/yolo11-cls",
        "yolov10n": "v10/yolov10n",
        "yolo26n-sem": "26/yolo26-sem",
    }[name]
    source = home / f"{wanted}.yaml"
    if not source.is_file():
        pytest.skip(f"this ultralytics has no {wanted}")
    path = folder / f"{name}.yaml"
    path.write_bytes(source.read_bytes())
    return path


def pictures(shape: Sequence[int], seed: int = 0) -> Any:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def sqnr(wanted: Any, found: Any) -> float:
    noise = float(np.square(wanted.astype(np.float64) - found).sum())
    signal = float(np.square(wanted.astype(np.float64)).sum())
    return float(10 * np.log10(signal / noise)) if noise else float("inf")


def run_onnx(path: Path, images: Any) -> list[Any]:
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"images": images}))


def run_torch(path: Path, images: Any) -> list[Any]:
    found = torch.export.load(path).module()(torch.from_numpy(images))
    return [value.detach().numpy() for value in found.values()]


def convert(
    name: str, artifact: Artifact, output: Path, context: HopContext, **options: Any
) -> Artifact:
    edge = CONVERTERS[name]
    return edge.convert(
        artifact, output, {**{o.name: o.default for o in edge.options}, **options}, context
    )


def assert_same(wanted: Sequence[Any], found: Sequence[Any]) -> None:
    assert [a.shape for a in wanted] == [b.shape for b in found]
    for a, b in zip(wanted, found, strict=True):
        assert sqnr(a, b) > FLOOR_DB


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("yolov8n", [(1, 84, 84)]),
        ("yolov5n", [(1, 84, 84)]),
        ("yolov3-tiny", [(1, 84, 20)]),
        ("yolo11n", [(1, 84, 84)]),
        ("yolov8n-seg", [(1, 116, 84), (1, 32, 16, 16)]),
        ("yolo11n-pose", [(1, 135, 84)]),
        ("yolo11n-obb", [(1, 85, 84)]),
        ("yolo11n-cls", [(1, 1000)]),
        ("yolov10n", [(1, 84, 84)]),
        ("yolo26n-sem", [(1, 19, 64, 64)]),
    ],
)
def test_onnx_parity(
    name: str,
    outputs: list[tuple[int, ...]],
    tmp_path: Path,
    artifact: Callable[..., Artifact],
    context: Callable[[], HopContext],
) -> None:
    source = artifact(described(name, tmp_path), ReadOptions(shapes={"images": (1, 3, 64, 64)}))
    assert [spec.shape for spec in source.outputs] == outputs
    session = UltralyticsRunner().open(source, 1)
    images = pictures((1, 3, 64, 64))
    wanted, others = session.run([images]), session.run([pictures(images.shape, seed=1)])
    for one, other in zip(wanted, others, strict=True):
        assert sqnr(one, other) < 60, "random weights without a signal prove nothing"
    result = convert("ultralytics.onnx", source, tmp_path / "a.onnx", context(), opset=12)
    assert_same(wanted, run_onnx(result.path, images))
    assert result.traits["weights"] == "random" and result.traits["opset"] == 12


@pytest.mark.parametrize(("kind", "fuse"), [("checkpoint", True), ("segment", False)])
def test_torch_parity(
    kind: str,
    fuse: bool,
    files: dict[str, Path],
    tmp_path: Path,
    artifact: Callable[..., Artifact],
    context: Callable[[], HopContext],
) -> None:
    source = artifact(files[kind])
    images = pictures(source.inputs[0].shape)  # type: ignore[arg-type]
    result = convert("ultralytics.torch", source, tmp_path / "a.pt2", context(), fuse=fuse)
    assert_same(UltralyticsRunner().open(source, 1).run([images]), run_torch(result.path, images))
    program = torch.export.load(result.path)
    stacks = [n.meta.get("nn_module_stack") or {} for n in program.graph.nodes]
    scopes = {str(list(stack.values())[-1][0]) for stack in stacks if stack}
    assert {"model.0.conv", "model.0.act", "model.9.dfl.conv"} <= scopes
    assert ("model.0.bn" in scopes) is not fuse
    assert not any("stack_trace" in n.meta for n in program.graph.nodes)


@pytest.mark.slow
def test_dynamo_parity(
    files: dict[str, Path],
    tmp_path: Path,
    artifact: Callable[..., Artifact],
    context: Callable[[], HopContext],
) -> None:
    source = artifact(files["segment"])
    images = pictures(source.inputs[0].shape)  # type: ignore[arg-type]
    result = convert(
        "ultralytics.onnx", source, tmp_path / "a.onnx", context(), exporter="dynamo", opset=18
    )
    assert_same(UltralyticsRunner().open(source, 1).run([images]), run_onnx(result.path, images))
    with pytest.raises(ConversionError, match="opset 18 and newer"):
        convert("ultralytics.onnx", source, tmp_path / "b.onnx", context(), exporter="dynamo")


@pytest.mark.parametrize(
    ("edge", "axes"),
    [
        ("ultralytics.onnx", (0, 2, 3)),
        ("ultralytics.torch", (0,)),
        pytest.param("ultralytics.torch", (0, 2, 3), marks=pytest.mark.slow),
    ],
)
def test_variable_axes(
    edge: str,
    axes: tuple[int, ...],
    files: dict[str, Path],
    tmp_path: Path,
    artifact: Callable[..., Artifact],
    context: Callable[[], HopContext],
) -> None:
    source = artifact(files["checkpoint"], ReadOptions(dynamic={"images": axes}))
    spatial = 2 in axes
    sides = ("height", "width") if spatial else (64, 64)
    assert source.inputs[0].shape == ("batch", 3, *sides)
    assert source.outputs[0].shape == ("batch", 8, "output0_2" if spatial else 80)
    suffix, run = (".onnx", run_onnx) if "onnx" in edge else (".pt2", run_torch)
    result = convert(edge, source, tmp_path / f"a{suffix}", context())
    assert result.traits["dynamic"]
    session = UltralyticsRunner().open(source, 1)
    for shape in ((1, 3, 64, 64), (3, 3, *((96, 128) if spatial else (64, 64)))):
        images = pictures(shape)
        assert_same(session.run([images]), run(result.path, images))


def test_no_private_path_is_written(
    files: dict[str, Path],
    tmp_path: Path,
    artifact: Callable[..., Artifact],
    context: Callable[[], HopContext],
) -> None:
    source = artifact(files["checkpoint"])
    for edge, name in (("ultralytics.onnx", "a.onnx"), ("ultralytics.torch", "a.pt2")):
        content = convert(edge, source, tmp_path / name, context()).path.read_bytes()
        for private in (str(tmp_path), str(Path(torch.__file__).parent), "site-packages"):
            assert private.encode() not in content


def test_the_name_chooses_the_scale(
    tiny: str, tmp_path: Path, artifact: Callable[..., Artifact]
) -> None:
    """`yolov8s.yaml` and `yolov8n.yaml` hold the same bytes and are two models."""
    found = []
    for name in ("yolov8s.yaml", "yolov8n.yaml", "other.yaml"):
        path = tmp_path / name
        path.write_text(tiny)
        found.append(artifact(path))
    assert [a.traits["scale"] for a in found] == ["s", "n", "n"]
    assert found[0].digest != found[1].digest == found[2].digest


def test_random_weights_are_said_and_repeat(
    files: dict[str, Path], artifact: Callable[..., Artifact]
) -> None:
    (inspector,) = plugin.convkit_inspectors()
    seen = inspector.inspect(files["description"], ReadOptions())
    assert "RANDOM" in seen.producer and seen.traits["weights"] == "random"
    assert seen.inputs[0].shape == (1, 3, 64, 64)
    source = artifact(files["description"])
    images = pictures((1, 3, 64, 64))
    torch.manual_seed(99)
    one = UltralyticsRunner().open(source, 1).run([images])
    torch.manual_seed(7)
    other = UltralyticsRunner().open(source, 1).run([images])
    assert np.array_equal(one[0], other[0])
    assert inspector.inspect(files["checkpoint"], ReadOptions()).traits["weights"] == "trained"


def test_half_checkpoints_are_computed_in_float32(files: dict[str, Path]) -> None:
    (inspector,) = plugin.convkit_inspectors()
    seen = inspector.inspect(files["checkpoint"], ReadOptions())
    assert str(seen.state) == "ultralytics"
    assert seen.parameter_bytes["float16"] > 0 and "float32" not in seen.parameter_bytes
    first = seen.layers[0]
    assert (first.name, first.scope, first.op_type) == ("model.0.conv", "model.0.conv", "Conv2d")
    assert first.macs == 32 * 32 * 8 * 27


def test_the_trace_ends_in_the_outputs(
    files: dict[str, Path], artifact: Callable[..., Artifact]
) -> None:
    source = artifact(files["segment"])
    images = pictures((1, 3, 64, 64))
    traced = list(UltralyticsRunner().trace(source, [images], 1))
    wanted = UltralyticsRunner().open(source, 1).run([images])
    assert [t.tensor for t in traced[-2:]] == ["output0", "output1"]
    for one, other in zip(traced[-2:], wanted, strict=True):
        assert np.array_equal(one.value, other)
    norm, act = traced[1], traced[2]
    assert (norm.layer, act.layer) == ("model.0.bn", "model.0.act")
    # The activation works in place: what the norm gave must have been kept before it.
    assert np.allclose(norm.value / (1 + np.exp(-norm.value)), act.value, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "told"),
    [((1, 3, 60, 64), "64x64"), ((1, 1, 64, 64), "3 channels"), ((64, 64), "3 channels")],
)
def test_shapes_that_do_not_fit(
    shape: tuple[int, ...], told: str, files: dict[str, Path], artifact: Callable[..., Artifact]
) -> None:
    with pytest.raises(UsageError) as caught:
        artifact(files["checkpoint"], ReadOptions(shapes={"images": shape}))
    assert told in f"{caught.value.message} {caught.value.hint}"


def test_unknown_input(files: dict[str, Path], artifact: Callable[..., Artifact]) -> None:
    with pytest.raises(UsageError, match="no input 'picture'"):
        artifact(files["checkpoint"], ReadOptions(shapes={"picture": (1, 3, 64, 64)}))
