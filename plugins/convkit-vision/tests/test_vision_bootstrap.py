"""The paired bootstrap, held against the evaluation library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convkit.errors import UsageError
from convkit_vision.bootstrap import match, mean_average_precision, paired_bootstrap
from convkit_vision.evaluation import coco_statistics

IMAGES = 40


def scenes(seed: int, crowd: float = 0.0, ties: bool = False) -> tuple[dict[str, Any], list[Any]]:
    """A random document and noisy detections with false alarms."""
    rng = np.random.default_rng(seed)
    annotations: list[Any] = []
    results: list[Any] = []

    def score() -> float:
        value = float(rng.random())
        return round(value, 1) if ties else value

    for image in range(1, IMAGES + 1):
        for _ in range(rng.integers(0, 5)):
            category = int(rng.integers(3))
            x, y, w, h = (*rng.uniform(0, 60, 2), *rng.uniform(8, 30, 2))
            box = {"image_id": image, "category_id": category}
            annotations.append(
                {
                    **box,
                    "id": len(annotations) + 1,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": int(rng.random() < crowd),
                }
            )
            for _ in range(rng.integers(0, 3)):
                near = (np.array([x, y, w, h]) + rng.normal(0, 1.5, 4)).tolist()
                results.append({**box, "bbox": near, "score": score()})
        for _ in range(5):
            far = [*rng.uniform(0, 60, 2), *rng.uniform(8, 30, 2)]
            category = int(rng.integers(3))
            results.append(
                {"image_id": image, "category_id": category, "bbox": far, "score": score()}
            )
    truth = {
        "info": {},
        "images": [
            {"id": i, "file_name": "", "width": 90, "height": 90} for i in range(1, IMAGES + 1)
        ],
        # The last category has no objects and must be left out of the mean.
        "categories": [{"id": c, "name": str(c)} for c in range(4)],
        "annotations": annotations,
    }
    return truth, results


def drawn(
    truth: dict[str, Any], results: list[Any], weights: Any
) -> tuple[dict[str, Any], list[Any]]:
    """The document in which every image stands as often as its weight says."""
    images: list[Any] = []
    annotations: list[Any] = []
    found: list[Any] = []
    for image, weight in zip(truth["images"], weights, strict=True):
        for _ in range(int(weight)):
            key = len(images) + 1
            images.append({**image, "id": key})
            for a in truth["annotations"]:
                if a["image_id"] == image["id"]:
                    annotations.append({**a, "image_id": key, "id": len(annotations) + 1})
            found += [{**r, "image_id": key} for r in results if r["image_id"] == image["id"]]
    return {**truth, "images": images, "annotations": annotations}, found


def untied(results: list[Any]) -> list[Any]:
    """The same order of detections as COCO has it, by scores that differ."""
    order = sorted(results, key=lambda r: (-r["score"], r["image_id"]))
    return [{**r, "score": 1 - rank / 1e6} for rank, r in enumerate(order)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("crowd", [0.0, 0.3])
@pytest.mark.parametrize("ties", [False, True])
def test_all_images_give_what_the_library_gives(seed: int, crowd: float, ties: bool) -> None:
    truth, results = scenes(seed, crowd, ties)
    mine = mean_average_precision(match(truth, results), np.ones(IMAGES))
    assert mine == pytest.approx(coco_statistics(truth, results)["map"], abs=1e-12)
    assert 0.05 < mine < 0.95


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_a_resample_gives_what_the_library_gives(seed: int, ties: bool) -> None:
    truth, results = scenes(seed, 0.2, ties)
    rng = np.random.default_rng(seed)
    weights = np.bincount(rng.integers(0, IMAGES, IMAGES), minlength=IMAGES)
    mine = mean_average_precision(match(truth, results), weights.astype(float))
    theirs = coco_statistics(*drawn(truth, untied(results), weights))["map"]
    assert mine == pytest.approx(theirs, abs=1e-12)


def test_no_detections_score_zero_and_no_objects_nothing() -> None:
    truth, results = scenes(0)
    assert mean_average_precision(match(truth, []), np.ones(IMAGES)) == 0.0
    bare = {**truth, "annotations": []}
    assert np.isnan(mean_average_precision(match(bare, results), np.ones(IMAGES)))
    with pytest.raises(UsageError, match="no labelled object"):
        paired_bootstrap(bare, results, results)


def test_a_model_does_not_differ_from_itself() -> None:
    truth, results = scenes(1)
    same = paired_bootstrap(truth, results, results, resamples=50)
    assert (same.difference, same.low, same.high, same.differs) == (0, 0, 0, False)


def test_a_clear_loss_is_seen_and_pairing_makes_the_interval_narrow() -> None:
    truth, results = scenes(2)
    worse = [{**r, "bbox": [r["bbox"][0] + 4, *r["bbox"][1:]]} for r in results]
    loss = paired_bootstrap(truth, results, worse, resamples=200)
    assert loss.differs
    assert loss.low <= loss.difference <= loss.high < 0
    assert loss.difference == loss.second - loss.first
    gain = paired_bootstrap(truth, worse, results, resamples=200)
    assert (gain.low, gain.high) == pytest.approx((-loss.high, -loss.low))
    wide = paired_bootstrap(truth, results, worse, resamples=200, confidence=0.99)
    assert wide.low <= loss.low
    assert wide.high >= loss.high


def test_the_same_seed_gives_the_same_interval() -> None:
    truth, results = scenes(3)
    other = [{**r, "score": r["score"] ** 0.5} for r in results[::2]]
    first, again, new = (
        paired_bootstrap(truth, results, other, resamples=40, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != new


def test_settings_out_of_bounds_are_refused() -> None:
    truth, results = scenes(0)
    wrongs: list[dict[str, Any]] = [{"resamples": 0}, {"confidence": 1.0}]
    for wrong in wrongs:
        with pytest.raises(UsageError, match="bootstrap needs"):
            paired_bootstrap(truth, results, results, **wrong)
