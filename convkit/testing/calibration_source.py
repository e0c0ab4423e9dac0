"""The contract of a reader of calibration data."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from convkit.artifact import Artifact
from convkit.codec import encode
from convkit.engine.digest import digest_file, digest_files
from convkit.engine.sample_files import load_outputs
from convkit.plugin.data import CalibrationSource
from convkit.testing.base import LaboratoryContract
from convkit.testing.laboratory import Laboratory, Observation, offered


class CalibrationSourceContract(LaboratoryContract):
    """Inherit, and override `calibration_source`, `data` (three samples or more) and `artifact`."""

    @pytest.fixture
    def calibration_source(self) -> CalibrationSource:
        """The implementation, taken from the plugin's hook."""
        raise NotImplementedError("override the fixture `calibration_source`")

    @pytest.fixture
    def data(self) -> Path:
        """Calibration data that the source reads."""
        raise NotImplementedError("override the fixture `data`")

    @pytest.fixture
    def artifact(self) -> Artifact:
        """A model whose inputs the data fits; only its `inputs` are looked at."""
        raise NotImplementedError("override the fixture `artifact`")

    @pytest.fixture
    def overrides(self) -> Mapping[str, Any]:
        """Transform settings, as flags would give them."""
        return {}

    def test_accepts_only_its_own(
        self, calibration_source: CalibrationSource, data: Path, tmp_path: Path
    ) -> None:
        """Its data, neither an empty folder nor a file of a foreign kind."""
        foreign = tmp_path / "foreign" / "notes.convkit-unknown"
        empty = tmp_path / "empty"
        foreign.parent.mkdir()
        empty.mkdir()
        foreign.write_text("no samples here")
        assert calibration_source.accepts(data)
        assert not calibration_source.accepts(empty)
        assert not calibration_source.accepts(foreign)
        assert not calibration_source.accepts(foreign.parent)

    def test_files_are_the_content(self, calibration_source: CalibrationSource, data: Path) -> None:
        """Existing files, sorted, each once: the store's key is made of them."""
        files = list(calibration_source.files(data))
        assert files, "no files"
        assert files == sorted(set(files)), "not sorted, or not unique"
        assert all(f.is_file() for f in files)

    def test_samples_fit_the_model(
        self,
        laboratory: Laboratory,
        calibration_source: CalibrationSource,
        data: Path,
        artifact: Artifact,
        overrides: Mapping[str, Any],
    ) -> None:
        """One array per input, with batch axis, in the model's shape and dtype."""
        path, count = self.drain(laboratory, calibration_source, data, artifact, overrides)
        assert count >= 3, "`data` should hold at least three samples"
        by_input = load_outputs(path, count)
        assert len(by_input) == len(artifact.inputs)
        for arrays, spec in zip(by_input, artifact.inputs, strict=True):
            for array in arrays:
                assert str(array.dtype) == spec.dtype
                assert array.ndim == len(spec.shape), f"{spec.name}: shape {array.shape}"
                for size, wanted in zip(array.shape, spec.shape, strict=True):
                    assert size == wanted or not isinstance(wanted, int), (
                        f"{spec.name}: shape {array.shape}, the model takes {spec.shape}"
                    )

    def test_the_seed_decides(
        self,
        laboratory: Laboratory,
        calibration_source: CalibrationSource,
        data: Path,
        artifact: Artifact,
        overrides: Mapping[str, Any],
    ) -> None:
        """The same seed gives the same samples, and a larger limit adds to a smaller one."""
        first, count = self.drain(laboratory, calibration_source, data, artifact, overrides, 2)
        second, _ = self.drain(laboratory, calibration_source, data, artifact, overrides, 2)
        more, three = self.drain(laboratory, calibration_source, data, artifact, overrides, 3)
        assert (count, three) == (2, 3), "the limit is not kept"
        assert digest_file(first) == digest_file(second), "two runs, two choices"
        assert _prints(first, 2) <= _prints(more, 3), "a larger limit chose other samples"

    def test_unknown_settings_are_refused(
        self,
        laboratory: Laboratory,
        calibration_source: CalibrationSource,
        data: Path,
        artifact: Artifact,
    ) -> None:
        """A setting that it does not know is an error, not a silence."""
        seen, _ = self.observe(
            laboratory, calibration_source, data, artifact, {"no-such-setting": "1"}, None
        )
        assert seen.error is not None, "an unknown setting was swallowed"
        assert "CalibrationError" in seen.error["kinds"], seen.error["traceback"]

    def test_nothing_is_written(
        self,
        laboratory: Laboratory,
        calibration_source: CalibrationSource,
        data: Path,
        artifact: Artifact,
        overrides: Mapping[str, Any],
    ) -> None:
        """A reader only reads."""
        files = calibration_source.files(data)
        root = data if data.is_dir() else data.parent
        before = digest_files(files, root)
        seen, _ = self.observe(laboratory, calibration_source, data, artifact, overrides, None)
        assert not seen.strays, f"written: {', '.join(seen.strays)}"
        assert digest_files(files, root) == before, "the data was changed"

    def drain(
        self,
        laboratory: Laboratory,
        source: CalibrationSource,
        data: Path,
        artifact: Artifact,
        overrides: Mapping[str, Any],
        limit: int | None = None,
    ) -> tuple[Path, int]:
        """Read in a worker; answers the drained file and its count of samples."""
        seen, output = self.observe(laboratory, source, data, artifact, overrides, limit)
        if seen.error is not None:
            pytest.fail(f"{seen.error['type']}: {seen.error['message']}\n{seen.error['traceback']}")
        return output, int(seen.result["count"])

    def observe(
        self,
        laboratory: Laboratory,
        source: CalibrationSource,
        data: Path,
        artifact: Artifact,
        overrides: Mapping[str, Any],
        limit: int | None,
    ) -> tuple[Observation, Path]:
        """Read in a worker, observed."""
        offered(laboratory.session.registry, "calibration_sources", source.name)
        place = laboratory.root / f"drain-{uuid.uuid4().hex[:8]}"
        place.mkdir()
        output = place / "samples.safetensors"
        arguments = {
            "path": str(data),
            "artifact": encode(artifact),
            "overrides": encode(dict(overrides)),
            "limit": limit,
            "seed": 0,
            "output": str(output),
        }
        around = data if data.is_dir() else data.parent
        seen = laboratory.observe(
            "drain", "calibration_sources", source.name, arguments, own=(place,), around=(around,)
        )
        return seen, output


def _prints(path: Path, count: int) -> set[bytes]:
    samples = zip(*load_outputs(path, count), strict=True)
    return {b"".join(array.tobytes() for array in sample) for sample in samples}
