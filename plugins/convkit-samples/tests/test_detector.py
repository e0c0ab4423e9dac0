"""The detector and its bundle: shapes, size limits, and sane predictions of the bundled file."""

import json
import tomllib
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("PIL")

import torch

from convkit_samples import DIGITS_YOLO
from convkit_samples.coco import read_image
from convkit_samples.detector import Detector, anchors, fold, parameters
from convkit_samples.export import program
from convkit_samples.scenes import SIZE

ANCHORS = (SIZE // 8) ** 2 + (SIZE // 16) ** 2


def bundled() -> torch.nn.Module:
    return torch.export.load(DIGITS_YOLO / "model.pt2").module()


def picture(path: Path) -> torch.Tensor:
    pixels = read_image(path).transpose(2, 0, 1)[None].astype(np.float32) / 255
    return torch.from_numpy(pixels)


def test_output_shape_and_parameter_count() -> None:
    model = Detector().eval()
    assert model(torch.rand(1, 3, SIZE, SIZE)).shape == (1, 14, ANCHORS)
    assert 450_000 <= parameters(fold(model)) <= 490_000


def test_folding_keeps_the_prediction_and_leaves_no_batch_norm() -> None:
    torch.manual_seed(0)
    model = Detector()
    with torch.no_grad():
        for _ in range(3):  # statistics that are not the initial ones
            model(torch.rand(4, 3, SIZE, SIZE))
        model.eval()
        images = torch.rand(2, 3, SIZE, SIZE)
        before = model(images)
        after = fold(model)(images)
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())


def test_anchor_points_are_cell_centres() -> None:
    points, strides = anchors(SIZE)
    pixels = (points * strides)[0]
    assert pixels[:, 0].tolist() == [4.0, 4.0]
    assert pixels[:, -1].tolist() == [SIZE - 8.0, SIZE - 8.0]


def test_an_exported_program_names_its_input_and_keeps_scopes_but_no_traces() -> None:
    exported = program(fold(Detector().eval()))
    assert list(exported.graph_signature.user_inputs) == ["images"]
    calls = [n for n in exported.graph.nodes if n.op == "call_function"]
    assert not any("stack_trace" in n.meta for n in calls)
    assert any("head8.score" in str(n.meta["nn_module_stack"]) for n in calls)


def test_bundled_file_predicts_scores_between_zero_and_one() -> None:
    images = sorted((DIGITS_YOLO / "validation" / "images").glob("*.jpg"))
    prediction = bundled()(picture(images[0]))
    assert prediction.shape == (1, 14, ANCHORS)
    assert prediction.dtype == torch.float32
    scores = prediction[:, 4:]
    assert 0 <= scores.min() <= scores.max() <= 1
    assert scores.max() > 0.3


def test_bundled_file_finds_most_digits() -> None:
    folder = DIGITS_YOLO / "validation"
    document = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    model, found, total = bundled(), 0, 0
    for entry in document["images"][:16]:
        prediction = model(picture(folder / "images" / entry["file_name"]))[0]
        for truth in document["annotations"]:
            if truth["image_id"] == entry["id"]:
                x, y, w, h = truth["bbox"]
                near = (prediction[:2] - torch.tensor([[x + w / 2], [y + h / 2]])).abs()
                inside = (near[0] < w / 4) & (near[1] < h / 4)
                scores = prediction[4 + truth["category_id"]] * inside
                found += bool(scores.max() > 0.3)
                total += 1
    assert found >= 0.75 * total


def test_bundle_is_complete_small_and_tells_nothing_of_its_maker() -> None:
    files = [f for f in DIGITS_YOLO.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) < 5_000_000
    model = DIGITS_YOLO / "model.pt2"
    assert model.stat().st_size <= 2 * 1024 * 1024
    content = model.read_bytes()
    for prefix in (b"/work", b"/tmp", b"/root", b"/home", b"/usr", b"site-packages"):
        assert prefix not in content
    assert len(list((DIGITS_YOLO / "calibration").glob("*.jpg"))) >= 64
    assert len(list((DIGITS_YOLO / "validation" / "images").glob("*.jpg"))) >= 200


def test_bundle_settings_agree() -> None:
    calibration = tomllib.loads(
        (DIGITS_YOLO / "calibration" / "calibration.toml").read_text(encoding="utf-8")
    )
    dataset = tomllib.loads((DIGITS_YOLO / "validation" / "dataset.toml").read_text("utf-8"))
    assert calibration["transform"] == dataset["transform"]
    assert calibration["transform"]["resize"] == [SIZE, SIZE]
    assert dataset["detection"]["decoder"] == "yolo"
    assert set(chain(calibration, dataset)) == {"transform", "detection"}
