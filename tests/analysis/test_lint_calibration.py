"""The lint where it runs: from files and from memory, into notices, manifest and result."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import convkit
from convkit.analysis.lint import files, lint_calibration
from convkit.analysis.lint.catalogue import REMEDIES
from convkit.artifact import Artifact, State, TensorSpec
from convkit.codec import decode, encode
from convkit.engine.calibrate import CalibrationRequest, collect
from convkit.engine.evaluate import Evaluator
from convkit.engine.session import Found
from convkit.events import Event, Notice
from convkit.inspection import Inspection
from convkit.lint import CalibrationWarning
from convkit.manifest import CalibrationRecord
from convkit.testing.laboratory import Laboratory, open_laboratory
from tests.analysis.lint_scenes import scenes
from tests.testing.toyplugin import model as toy

ROOT = Path(__file__).parents[2]
TOY = "tests.testing.toyplugin.plugin"
IMAGES = TensorSpec("images", (1, 3, 40, 40), "float32")
TRANSFORM = '[transform]\nresize = [40, 40]\nmode = "{mode}"\nchannels = "{channels}"\n'
Lint = Callable[..., list[str]]


def found_model(path: Path, state: State, spec: TensorSpec) -> Found:
    return Found(Artifact(path, state, (spec,)), Inspection(state, (spec,), ()))


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with open_laboratory(tmp_path_factory.mktemp("laboratory")) as opened:
        yield opened


@pytest.fixture
def lint(laboratory: Laboratory) -> Lint:
    def run(
        data: Any,
        judged: Path | None = None,
        transform: Mapping[str, Any] = {},
        limit: int | None = None,
    ) -> list[str]:
        session = laboratory.session
        source = found_model(Path("net.onnx"), State("onnx"), IMAGES)
        request = CalibrationRequest(data, transform, limit)
        drained = collect(session, request, source.artifact)
        assert drained is not None
        evaluator = Evaluator(session, "top1", judged, source) if judged else None
        heard: list[Event] = []
        session.listener = heard.append
        found = lint_calibration(session, source.artifact, drained, request, evaluator)
        said = [e.message for e in heard if isinstance(e, Notice) and e.level == "warning"]
        assert said == [str(one) for one in found]
        return [one.name for one in found]

    return run


def photographs(folder: Path, count: int, seed: int, mode: str = "stretch", **more: Any) -> Path:
    """A folder of landscape photographs with the transform that is declared for them."""
    folder.mkdir(parents=True)
    for number, image in enumerate(scenes(count, seed, 60, 80)):
        pixels = (image[0] * 255).round().astype(np.uint8)
        Image.fromarray(np.moveaxis(pixels, 0, 2)).save(folder / f"{number:03}.png")
    table = TRANSFORM.format(mode=mode, channels=more.get("channels", "RGB"))
    (folder / more.get("settings", "calibration.toml")).write_text(table + more.get("extra", ""))
    return folder


def labelled(folder: Path, count: int, seed: int, mode: str = "stretch", **more: Any) -> Path:
    """The same as a data set of the metric `top1`."""
    photographs(folder / "one", count, seed, mode, settings="unused.toml")
    (folder / "one" / "unused.toml").rename(folder / "dataset.toml")
    table = TRANSFORM.format(mode=mode, channels=more.get("channels", "RGB"))
    (folder / "dataset.toml").write_text(table + more.get("extra", ""))
    return folder


def test_photographs_in_order(lint: Lint, tmp_path: Path) -> None:
    own = photographs(tmp_path / "own", 40, 0)
    assert lint(own) == []
    assert lint(own, labelled(tmp_path / "judged", 40, 1)) == []


def test_what_is_declared_differs(lint: Lint, tmp_path: Path) -> None:
    own = photographs(tmp_path / "own", 40, 0)
    boxed = labelled(tmp_path / "boxed", 40, 1, "letterbox")
    assert lint(own, boxed) == ["stretched"]
    assert lint(own, boxed, {"mode": "letterbox"}) == []
    bgr = labelled(tmp_path / "bgr", 40, 1, channels="BGR")
    assert lint(own, bgr) == ["channel-order"]
    scaled = labelled(tmp_path / "scaled", 40, 1, extra="range = [0, 255]\n")
    assert lint(own, scaled) == ["range-mismatch"]


def test_a_reader_as_in_a_published_script(lint: Lint, tmp_path: Path) -> None:
    """One image, stretched, its channels as OpenCV reads them, for a model that is judged
    letterboxed and in RGB."""
    judged = labelled(tmp_path / "judged", 60, 0, "letterbox")
    own = photographs(tmp_path / "own", 3, 1)
    transform = {"mode": "stretch", "channels": "BGR"}
    three = ["channel-order", "stretched", "single-sample"]
    assert lint(own, judged, transform, 1) == three
    image = Image.open(judged / "one" / "007.png").resize((40, 40), Image.Resampling.BILINEAR)
    sample = np.asarray(image, np.float32)[..., ::-1].transpose(2, 0, 1)[None] / 255

    class Reader:
        def __init__(self) -> None:
            self.left = [{"images": sample}]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    assert {*three, "validation-leak"} == set(lint(Reader(), judged))


def test_arrays_in_memory(lint: Lint, tmp_path: Path) -> None:
    judged = labelled(tmp_path / "judged", 40, 1)
    pictures = scenes(40, 0)
    assert lint(pictures, judged) == []
    assert lint([x * 255 for x in pictures], judged) == ["range-mismatch"]
    assert lint([x[:, ::-1] for x in pictures], judged) == ["channel-order"]
    assert lint(pictures[:5]) == ["few-samples"]
    again = lint(pictures[:5])  # what the store holds is said again
    assert again == ["few-samples"]


def test_made_up_by_convkit(laboratory: Laboratory) -> None:
    artifact = Artifact(Path("net.onnx"), State("onnx"), (IMAGES,))
    request = CalibrationRequest(synthetic=True)
    drained = collect(laboratory.session, request, artifact)
    assert drained is not None
    (found,) = lint_calibration(laboratory.session, artifact, drained, request)
    assert found.name == "synthetic"


def test_labels_and_shared_files(lint: Lint, tmp_path: Path) -> None:
    own = photographs(tmp_path / "data" / "images", 40, 0).parent
    (own / "images" / "calibration.toml").rename(own / "calibration.toml")
    assert lint(own) == []
    (own / "masks").mkdir()
    for file in (own / "images").iterdir():
        Image.fromarray(np.asarray(Image.open(file))[..., 0] // 128).save(own / "masks" / file.name)
    assert "labels-in-calibration" in lint(own)
    judged = labelled(tmp_path / "judged", 40, 0, "center-crop", extra="crop = [40, 40]\n")
    assert {"validation-leak", "resize-mismatch"} <= set(lint(own / "images", judged, _STRETCHED))


_STRETCHED = {"resize": (40, 40)}


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("a.png", "b.png"), []),
        (("images/a.png", "masks/a.png"), ["labels-in-calibration"]),
        (("a.jpg", "a_mask.png", "b.jpg", "b_mask.png"), ["labels-in-calibration"]),
        (("mask/a.png", "mask/b.png"), []),  # people that wear masks
        (("cat/a.png", "mask/b.png"), []),
        (("target.png", "gt.png"), []),
    ],
)
def test_labels_by_their_names(tmp_path: Path, names: tuple[str, ...], found: list[str]) -> None:
    given = [tmp_path / name for name in names]
    assert [one.name for one in files.labels_among(given, tmp_path)] == found


def test_the_bundled_sample_is_in_order(lint: Lint, laboratory: Laboratory) -> None:
    sample = laboratory.session.registry.samples["digits-yolo"]
    session = laboratory.session
    spec = TensorSpec("images", (1, 3, 160, 160), "float32")
    source = found_model(sample.folder / sample.model, State("torch"), spec)
    request = CalibrationRequest(sample.folder / sample.calibration)
    drained = collect(session, request, source.artifact)
    assert drained is not None
    evaluator = Evaluator(session, sample.metric, sample.folder / sample.validation, source)
    assert lint_calibration(session, source.artifact, drained, request, evaluator) == ()
    swapped = CalibrationRequest(request.data, {"channels": "BGR", "range": "0,255"})
    drained = collect(session, swapped, source.artifact)
    assert drained is not None
    found = lint_calibration(session, source.artifact, drained, swapped, evaluator)
    assert [one.name for one in found] == ["range-mismatch", "channel-order"]


def test_a_conversion_tells_and_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVKIT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "net.toy"
    toy.write(toy.build({"a": (3, 0)}), path, "toy")
    heard: list[Event] = []

    def run(target: str) -> Any:
        return convkit.convert(
            path,
            to=target,
            output_dir=tmp_path / "out",
            calibration=[np.linspace(-1, 1, 8, dtype=np.float32)[None]],
            plugins=(TOY,),
            listener=heard.append,
        )

    result = run("brick-int8")
    (found,) = result.calibration_warnings
    assert found.name == "single-sample"
    assert result.manifest.calibration.warnings == (found,)
    assert str(found) in [e.message for e in heard if isinstance(e, Notice)]
    document = json.loads(json.dumps(result.to_json()))
    assert document["calibration_warnings"] == [encode(found)]
    kept = document["outputs"][0]["manifest"]["calibration"]["warnings"]
    assert kept == [encode(found)]
    assert run("brick").calibration_warnings == ()  # nothing is calibrated


def test_manifests_of_older_versions_are_read() -> None:
    old = {"source": "x", "transform": "", "count": 1, "digest": "d", "seed": 0, "synthetic": False}
    assert decode(CalibrationRecord, old).warnings == ()
    one = CalibrationWarning("duplicates", "some", REMEDIES["duplicates"])
    record = CalibrationRecord("x", "", 1, "d", 0, False, (one,))
    assert decode(CalibrationRecord, encode(record)) == record


def test_the_table_of_warnings_is_complete() -> None:
    page = (ROOT / "docs/how-to/calibrate.md").read_text()
    assert [name for name in REMEDIES if f"| `{name}` |" not in page] == []
