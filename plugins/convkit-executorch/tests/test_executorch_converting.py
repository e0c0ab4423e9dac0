"""What the edges make, and what they refuse. Lowering takes tens of seconds: most of it is slow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("executorch")
pytest.importorskip("convkit_torch")

import executorch_models as models
import numpy as np
import torch
from safetensors.numpy import save_file

import convkit
from convkit.errors import ConversionError, PrecisionError
from convkit.plugin import (
    Artifact,
    CalibrationData,
    HopContext,
    ReadOptions,
    State,
    TensorSpec,
)
from convkit_executorch import lowering, program
from convkit_executorch.bounds import Bounds
from convkit_executorch.inspector import ExecutorchInspector
from convkit_executorch.int8 import TorchToExecutorchInt8, _spared
from convkit_executorch.runner import ExecutorchRunner
from convkit_torch.inspector import TorchInspector


def artifact(path: Path) -> Artifact:
    return Artifact(path, State("torch"))


@pytest.mark.parametrize(("largest", "room"), [(64, 64), (None, 5)])
def test_bounds_are_those_of_the_program(largest: int | None, room: int) -> None:
    ranges = Bounds.of(models.program("two-ends", largest), 5).ranges
    assert [high for _, high in ranges.values()] == [room]


def test_int8_refuses_control_flow_beforehand(tmp_path: Path) -> None:
    path = models.write(tmp_path, "branching")
    (found,) = TorchToExecutorchInt8().check(artifact(path), {})
    assert found.what == "control flow" and "--to executorch" in found.remedy
    assert not TorchToExecutorchInt8().check(artifact(models.write(tmp_path, "two-ends")), {})


def test_recipe_names_layers_of_the_program() -> None:
    program = models.program("two-ends")
    assert _spared(program, ("linear",)) == {"linear"}
    fused = ("batch_norm", "relu")
    assert not _spared(program, fused)  # part of a convolution in integers
    assert _spared(program, ("conv2d", *fused)) == {"conv2d", *fused}
    assert _spared(program, ("conv2d", "relu")) == {"conv2d", "relu"}
    with pytest.raises(ConversionError, match="no layer called 'linaer'") as info:
        _spared(program, ("linaer",))
    assert "linear" in info.value.hint


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [("bessel", "ExecuTorch has no kernel for aten.i0"), ("volume", "ExecuTorch cannot run it")],
)
def test_unsupported_operator_is_named(name: str, message: str, tmp_path: Path) -> None:
    program = models.program(name)
    with pytest.raises(ConversionError, match=message) as info:
        lowering.prove(_lowered(program, tmp_path), program, threads=1)
    assert info.value.hint and "Traceback" not in info.value.message


def _lowered(program: Any, folder: Path) -> bytes:
    fakes = list(lowering.user_tensors(program))
    specs = [TensorSpec(f"x{i}", tuple(f.shape), "float32") for i, f in enumerate(fakes)]
    source = Artifact(folder, State("torch"), inputs=tuple(specs), outputs=())
    return lowering.lower(program, source, range(len(specs)), largest=1)


@pytest.mark.slow
def test_control_flow_is_kept_in_float(tmp_path: Path) -> None:
    made = convkit.convert(
        models.write(tmp_path, "branching"), to="executorch", output_dir=tmp_path / "made"
    )
    assert made.verification is not None and made.verification.verdict == "ok"


@pytest.mark.slow
def test_nothing_in_integers_is_no_int8(tmp_path: Path) -> None:
    with pytest.raises(PrecisionError, match="executorch and not executorch-int8"):
        convkit.convert(
            models.write(tmp_path, "embeddings"),
            to="executorch-int8",
            output_dir=tmp_path / "made",
            synthetic_calibration=True,
        )


@pytest.mark.slow
@pytest.mark.parametrize("largest", [0, None])
def test_indices_are_no_activations(largest: int | None, tmp_path: Path) -> None:
    made = convkit.convert(
        models.write(tmp_path, "places", largest),
        to="executorch-int8",
        output_dir=tmp_path / "made",
        synthetic_calibration=True,
    )
    assert made.verification is not None and made.verification.sqnr_db > 30
    seen = ExecutorchInspector().inspect(made.path, ReadOptions())
    assert [(s.name, s.dtype) for s in seen.outputs] == [
        ("sum", "float32"),
        ("places", "int64"),
        ("handed", "float32"),
    ]


@pytest.mark.slow
def test_inputs_may_be_in_another_order_than_the_program_has_them(tmp_path: Path) -> None:
    """An artifact keeps the order of the original model, which an importer may have changed."""
    path = models.write(tmp_path, "two-ends")
    seen = TorchInspector().inspect(path, ReadOptions())
    turned = seen.inputs[::-1]
    source = Artifact(path, seen.state, turned, seen.outputs, seen.digest)
    ids, image = np.arange(6)[None], np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    save_file({"000000/0": ids, "000000/1": image}, tmp_path / "samples.safetensors")
    samples = CalibrationData(tmp_path / "samples.safetensors", 1, "", "made here")
    edge = TorchToExecutorchInt8()
    context = HopContext(tmp_path, lambda phase, fraction: None, samples)
    defaults = {option.name: option.default for option in edge.options}
    made = edge.convert(source, tmp_path / "made.pte", defaults, context)
    assert [s.name for s in made.inputs] == ["ids", "image"]
    results = ExecutorchRunner().open(made, threads=1).run([ids, image])
    truth = models.program("two-ends").module()(torch.from_numpy(image), torch.from_numpy(ids))
    np.testing.assert_allclose(results[0], truth[0].detach().numpy(), atol=0.05)


@pytest.mark.slow
def test_axis_without_a_limit_has_the_room_of_the_option(tmp_path: Path) -> None:
    made = convkit.convert(
        models.write(tmp_path, "two-ends", largest=None),
        to="executorch",
        output_dir=tmp_path / "made",
        steering=convkit.Steering(options={"executorch.xnnpack.largest": 20}),
    )
    assert program.load(made.path).largest == ((20, 3, 8, 8), (20, 6))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "spared", "integer", "real"),
    [
        ("two-ends", "linear", ("XNNConv2d",), "XNNFullyConnected"),
        ("joined", "cat", ("XNNConv2d",), "XNNConcatenate2"),
        ("joined", "nothing", ("XNNConv2d", "XNNConcatenate2"), "XNNSigmoid"),
    ],
)
def test_what_a_recipe_spares_is_in_float(
    name: str, spared: str, integer: tuple[str, ...], real: str, tmp_path: Path
) -> None:
    """By names of the torch program."""
    made = convkit.convert(
        models.write(tmp_path, name),
        to="executorch-int8",
        output_dir=tmp_path / "made",
        synthetic_calibration=True,
        settings=convkit.Settings(
            keep_float="none", exclude=() if spared == "nothing" else (spared,), verify=False
        ),
    )
    computed = {
        layer.op_type: layer.compute
        for layer in ExecutorchInspector().inspect(made.path, ReadOptions()).layers
    }
    assert {computed[kind] for kind in integer} == {"int8"} and computed[real] == "float32"


@pytest.mark.slow
def test_mixed_magnitudes_are_joined_in_float(tmp_path: Path) -> None:
    """convkit's own finding reaches the file: no shared scale takes the small ones to zero."""
    made = convkit.convert(
        models.write(tmp_path, "joined"),
        to="executorch-int8",
        output_dir=tmp_path / "made",
        synthetic_calibration=True,
    )
    assert made.verification is not None and made.verification.sqnr_db > 25


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "target", "largest"),
    [("fp32", "executorch", 0), ("int8", "executorch-int8", 0), ("open", "executorch", 64)],
)
def test_files_that_are_read_are_what_the_edges_write(
    kind: str, target: str, largest: int, tmp_path: Path
) -> None:
    fresh = models.converted(tmp_path, target, largest)
    read = ExecutorchInspector().inspect
    ours, theirs = read(fresh, ReadOptions()), read(models.FILES[kind], ReadOptions())
    assert (ours.state, ours.operators, ours.macs) == (theirs.state, theirs.operators, theirs.macs)
