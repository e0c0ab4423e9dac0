"""A slice of the sweep over onnx's own test models; the whole is run by hand, see `__main__`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from convkit.kit import Kit
from tests.sweep.cases import Case, cases
from tests.sweep.trial import BARE, EDGES, SILENT, Bench, Edge, bench

EVERY = 67
"""A prime, so that no family of cases is passed over for its regular place."""
SPARSER = {"onnx-tf": 8, "onnx2tf": 5, "tflite-back": 2}
"""Edges that are slow see one case in so many of the slice."""
SUSPECTS = {
    "test_bitshift_right_int32_negative_input": "one huge integer among wrong ones",
    "test_resize_downsample_scales_linear_align_corners": "the runtime itself differs",
    "test_quantizelinear_uint16": "one step of sixteen bits",
}
"""Cases that OpenVINO gets wrong, or nearly, by hand, and that a careless comparison lets pass."""


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory, environments: Path) -> Iterator[Bench]:
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "envs").symlink_to(environments, target_is_directory=True)
    with bench(folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def every() -> list[Case]:
    return list(cases())


@pytest.fixture(scope="module")
def chosen(every: list[Case]) -> list[Case]:
    return every[::EVERY]


def _available(edge: Edge, environments: Path) -> None:
    """Skip where an isolated environment cannot be had on this machine."""
    kit = Kit((BARE,), environments.parent)
    for name in (edge.converter, *edge.by):
        isolated = kit.registry.converters[name].isolated
        fault = kit.builder.fault(isolated) if isolated else ""
        if fault:
            pytest.skip(f"{name}: {fault}")


@pytest.mark.parametrize("name", list(EDGES))
def test_nothing_wrong_is_handed_out_in_silence(
    name: str, trials: Bench, chosen: list[Case], tmp_path: Path, environments: Path
) -> None:
    _available(EDGES[name], environments)
    some = chosen[:: SPARSER.get(name, 1)]
    outcomes = {case.name: trials.ours(case, EDGES[name], tmp_path) for case in some}
    silent = {
        n: o.reason for n, o in outcomes.items() if o.outcome == "wrong" and o.verdict == SILENT
    }
    assert not silent
    correct = [n for n, o in outcomes.items() if o.outcome == "correct"]
    assert len(correct) > len(some) / 8, "the slice must say something"
    assert all(o.reason for o in outcomes.values() if o.outcome == "refused")


@pytest.mark.parametrize("name", ["openvino", "onnx2fx", "onnx2tf-tflite"])
def test_what_the_tool_does_right_by_hand_is_not_lost(
    name: str, trials: Bench, chosen: list[Case], tmp_path: Path, environments: Path
) -> None:
    edge = EDGES[name]
    _available(edge, environments)
    lost = {}
    for case in chosen:
        ours = trials.ours(case, edge, tmp_path)
        if ours.outcome != "correct" and trials.by_hand(case, edge, tmp_path).outcome == "correct":
            lost[case.name] = ours.reason
    assert not lost


@pytest.mark.parametrize("name", list(SUSPECTS))
def test_known_traps_do_not_pass_in_silence(
    name: str, trials: Bench, every: list[Case], tmp_path: Path
) -> None:
    (case,) = (c for c in every if c.name == name)
    ours = trials.ours(case, EDGES["openvino"], tmp_path)
    assert ours.outcome == "refused" or ours.verdict != SILENT, SUSPECTS[name]


@pytest.mark.parametrize(
    ("edge", "name"),
    [
        ("openvino", "test_cast_BFLOAT16_to_FLOAT"),
        ("openvino", "test_cast_no_saturate_FLOAT_to_FLOAT8E4M3FN"),
        ("openvino", "test_max_float16"),
        ("openvino", "test_attention_4d_padded_kv_bf16_expanded"),
        ("openvino", "test_qlinearconv"),
        ("openvino", "test_matmulinteger"),
        ("openvino", "test_qlinearmatmul_3D_uint8_float16"),
        ("onnx2tf-tflite", "test_celu_float16"),
        ("onnx2tf-tflite", "test_operator_view"),
        ("onnx2fx", "test_attention_4d_causal_fp16"),
        ("onnx2fx", "test_optional_get_element_optional_tensor"),
        ("onnx2tf-tflite", "test_clip_default_min"),
        ("onnx2tf-tflite", "test_reshape_reduced_dims"),
        ("tflite-back", "test_shape"),
        ("tflite-back", "test_eyelike_populate_off_main_diagonal"),
    ],
)
def test_what_was_lost_once_is_right(
    edge: str, name: str, trials: Bench, every: list[Case], tmp_path: Path, environments: Path
) -> None:
    """Types that numpy lacks, scalars, half precision, operators of integers that a tool has only
    in float, graphs of constants."""
    _available(EDGES[edge], environments)
    (case,) = (c for c in every if c.name == name)
    ours = trials.ours(case, EDGES[edge], tmp_path)
    assert ours.outcome == "correct", ours.reason
