"""The models that the project trains itself: their data, and when they are trained anew."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from tests.models import cache, pictures, text


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write a module and say what its digest is."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(code: str) -> str:
        (tmp_path / "made_up_for_a_digest.py").write_text(code, "utf-8")
        sys.modules.pop("made_up_for_a_digest", None)
        return cache.digest(["made_up_for_a_digest"], ["numpy"])

    return write


def test_a_digest_follows_the_code_alone(module: Callable[[str], str]) -> None:
    before = module('"""Text."""\nRATE = 1\n')
    assert module('"""Other text."""\n# and why\nimport os\n\nRATE = 1\n') == before
    assert module('"""Text."""\nRATE = 2\n') != before


def test_a_model_is_trained_once_and_a_killed_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "ROOT", tmp_path)
    runs = []

    def train(folder: Path) -> None:
        runs.append(sorted(file.name for file in folder.iterdir()))
        if len(runs) == 1:
            (folder / "resume").touch()
            raise KeyboardInterrupt
        (folder / "model").touch()

    def model() -> Path:
        return cache.trained("toy", train, [], ["numpy"])

    with pytest.raises(KeyboardInterrupt):
        model()
    assert not list(tmp_path.glob("toy-*/model"))
    first = model()
    assert runs == [[], ["resume"]]
    assert (first / "model").is_file()
    assert model() == first
    assert len(runs) == 2


def test_pictures_come_from_the_seed_and_span_the_exposures() -> None:
    images, labels = pictures.pictures("validation", 300, 2)
    again, _ = pictures.pictures("validation", 300, 2)
    np.testing.assert_array_equal(images, again)
    assert images.shape == (300, 1, pictures.SIDE, pictures.SIDE)
    assert images.dtype == np.float32
    assert labels.dtype.kind == "i"
    assert set(labels) == set(range(pictures.CLASSES))
    brightest = images.max((1, 2, 3))
    assert brightest.max() / brightest.min() > 40


def test_texts_are_padded_where_the_mask_says_so_and_follow_their_grammar() -> None:
    words, mask, labels = text.texts(400, 1)
    np.testing.assert_array_equal(words == text.PADDING, mask == 0)
    lengths = mask.sum(1)
    assert lengths.min() >= text.SHORTEST
    assert lengths.max() == text.LENGTH
    rules = text.grammars()
    steps = [
        words[row, place] - 1 in rules[labels[row], words[row, place - 1] - 1]
        for row in range(400)
        for place in range(1, lengths[row])
    ]
    # Two of two words are right with 0.88 ** 2, and a wrong one fits by chance now and then.
    assert np.mean(steps) == pytest.approx((1 - text.MISPRINTS) ** 2, abs=0.05)
