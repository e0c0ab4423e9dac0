"""The contract of a runner."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from convkit import traces
from convkit.artifact import Artifact, ReadOptions
from convkit.codec import decode, encode
from convkit.delegates import ExecutionProfile
from convkit.engine.digest import digest_path
from convkit.engine.locate import SAME_DB
from convkit.engine.sample_files import load_outputs, write_samples
from convkit.engine.session import Found
from convkit.errors import WorkerError
from convkit.nodes import Node
from convkit.overlaps import agreement
from convkit.plugin.runtimes import Profiler, Runner, Tracer
from convkit.testing.base import LaboratoryContract
from convkit.testing.folders import DAMAGES, damaged
from convkit.testing.laboratory import Laboratory, Observation, offered


class RunnerContract(LaboratoryContract):
    """Inherit, and override the fixtures `runner` and `source`."""

    @pytest.fixture
    def runner(self) -> Runner:
        """The implementation, taken from the plugin's hook."""
        raise NotImplementedError("override the fixture `runner`")

    @pytest.fixture
    def source(self) -> Path:
        """A small model in the runner's format; best with several inputs and outputs."""
        raise NotImplementedError("override the fixture `source`")

    @pytest.fixture
    def inputs(self) -> Any:
        """A path or an iterable of samples; random numbers where it is None."""
        return None

    @pytest.fixture
    def found(
        self, laboratory: Laboratory, runner: Runner, source: Path, read: ReadOptions
    ) -> Found:
        """The source, as its inspector sees it."""
        offered(laboratory.session.registry, "runners", runner.name)
        return laboratory.source(source, runner.format, read)

    @pytest.fixture
    def samples(self, laboratory: Laboratory, found: Found, inputs: Any) -> list[list[Any]]:
        """Samples as arrays, in input order."""
        data = None if inputs is None else laboratory.calibration(inputs, found.artifact)
        file = laboratory.samples(data, found.artifact)
        by_input = load_outputs(file.path, file.count)
        return [list(sample) for sample in zip(*by_input, strict=True)]

    def test_outputs_are_as_described(
        self, laboratory: Laboratory, runner: Runner, found: Found, samples: list[list[Any]]
    ) -> None:
        """One array per output, in the artifact's order, of its shape and dtype."""
        import numpy as np

        for outputs in self.run(laboratory, runner, found.artifact, samples):
            assert len(outputs) == len(found.artifact.outputs)
            for array, spec in zip(outputs, found.artifact.outputs, strict=True):
                dtype = "float32" if spec.scale is not None else spec.dtype
                assert array.dtype == np.dtype(dtype), f"{spec.name}: {array.dtype}, not {dtype}"
                if not spec.shape and array.ndim:
                    continue  # nothing is known of the shape
                assert array.ndim == len(spec.shape), f"{spec.name}: shape {array.shape}"
                fits = [
                    a == b
                    for a, b in zip(array.shape, spec.shape, strict=True)
                    if isinstance(b, int)
                ]
                assert all(fits), f"{spec.name}: shape {array.shape}, described {spec.shape}"

    def test_same_input_same_output(
        self, laboratory: Laboratory, runner: Runner, found: Found, samples: list[list[Any]]
    ) -> None:
        """Nothing is carried over: order and repetition of samples do not matter."""
        import numpy as np

        forwards = self.run(laboratory, runner, found.artifact, samples)
        mixed = self.run(laboratory, runner, found.artifact, [*samples[::-1], samples[0]])
        for one, other in zip([*forwards[::-1], forwards[0]], mixed, strict=True):
            for a, b in zip(one, other, strict=True):
                assert np.array_equal(a, b, equal_nan=True), "the same sample gave another output"

    def test_outputs_follow_the_artifact(
        self, laboratory: Laboratory, runner: Runner, found: Found, samples: list[list[Any]]
    ) -> None:
        """An artifact may list its tensors in another order than the file: names decide."""
        import numpy as np

        artifact = found.artifact
        turned = dataclasses.replace(
            artifact, inputs=artifact.inputs[::-1], outputs=artifact.outputs[::-1]
        )
        straight = self.run(laboratory, runner, artifact, samples)
        backwards = self.run(laboratory, runner, turned, [s[::-1] for s in samples])
        for one, other in zip(straight, backwards, strict=True):
            for a, b in zip(one, other[::-1], strict=True):
                assert a.shape == b.shape and np.array_equal(a, b, equal_nan=True), (
                    "outputs do not follow the order of `artifact.outputs`"
                )

    def test_nothing_is_written(
        self, laboratory: Laboratory, runner: Runner, found: Found, samples: list[list[Any]]
    ) -> None:
        """A runner only reads, at its first call too, which imports the framework."""
        before = digest_path(found.artifact.path)
        seen, _ = self.observe(laboratory, runner, found.artifact, samples)
        strays = laboratory.strays[runner.name]
        assert not strays, f"written: {', '.join(strays)}"
        assert digest_path(found.artifact.path) == before, "the runner changed the model"
        assert not seen.changes, "; ".join(seen.changes)

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_damaged_file_is_refused(
        self,
        laboratory: Laboratory,
        runner: Runner,
        found: Found,
        samples: list[list[Any]],
        tmp_path: Path,
        damage: str,
    ) -> None:
        """A typed error that names its cause."""
        copy = damaged(found.artifact.path, tmp_path / damage, damage)
        artifact = dataclasses.replace(found.artifact, path=copy, digest=digest_path(copy))
        try:
            seen, _ = self.observe(laboratory, runner, artifact, samples)
        except WorkerError as error:
            pytest.fail(f"on a {damage} file: {error.message}")
        assert seen.error is not None, f"a {damage} file was run without complaint"
        assert seen.error["typed"], (
            f"{seen.error['type']} is no ConvkitError:\n{seen.error['traceback']}"
        )
        assert seen.error["cause"] or "InputError" in seen.error["kinds"], (
            f"{seen.error['type']} was raised without its cause (`from exc`)"
        )

    def test_trace_names_the_layers(
        self, laboratory: Laboratory, runner: Runner, found: Found, samples: list[list[Any]]
    ) -> None:
        """A tracer speaks of layers and tensors by the inspector's names."""
        layers = found.inspection.layers
        nodes = self.trace(laboratory, runner, found, samples[0])
        if layers:
            strangers = {n.layer for n in nodes} - {layer.name for layer in layers}
            assert not strangers, f"the inspector knows no layers {sorted(strangers)[:4]}"
            made = {name for layer in layers for name in layer.outputs}
            strangers = {n.tensor for n in nodes if n.tensor} - made
            assert not strangers, f"the inspector knows no tensors {sorted(strangers)[:4]}"

    def test_trace_reaches_the_outputs(
        self, laboratory: Laboratory, runner: Runner, found: Found, samples: list[list[Any]]
    ) -> None:
        """The model's floating-point outputs are among what a tracer shows."""
        from convkit.sketches import sketch

        outputs = self.run(laboratory, runner, found.artifact, samples[:1])[0]
        nodes = self.trace(laboratory, runner, found, samples[0])
        for array, spec in zip(outputs, found.artifact.outputs, strict=True):
            mark = sketch(array) if array.dtype.kind == "f" else None
            if mark is not None and mark.high > mark.low:
                assert any(
                    n.sketch.size == mark.size and agreement(mark, n.sketch)[1] >= SAME_DB
                    for n in nodes
                ), f"output {spec.name} is not in the trace"

    def test_profile_is_of_the_model(
        self, laboratory: Laboratory, runner: Runner, found: Found, samples: list[list[Any]]
    ) -> None:
        """A profiler speaks of the inspector's layers, each in one kernel at most, and its kernels
        do not take longer than the inferences that they belong to."""
        seen = self.profile(laboratory, runner, found, samples[0])
        assert not seen.strays, f"written: {', '.join(seen.strays)}"
        told = decode(ExecutionProfile, seen.result)
        assert told.runner == runner.name and told.runs > 0 and told.wall_seconds > 0
        assert told.layers, "no kernel ran"
        named = [name for kernel in told.layers for name in kernel.layers]
        strangers = set(named) - {layer.name for layer in found.inspection.layers}
        assert not strangers, f"the inspector knows no layers {sorted(strangers)[:4]}"
        assert len(set(named)) == len(named), "a layer is in two kernels"
        assert all(kernel.seconds >= 0 for kernel in told.layers)
        assert told.seconds <= 1.5 * told.wall_seconds + 1e-3, (
            f"kernels took {told.seconds:.6f} s of {told.wall_seconds:.6f} s"
        )

    def run(
        self,
        laboratory: Laboratory,
        runner: Runner,
        artifact: Artifact,
        samples: Sequence[Sequence[Any]],
    ) -> list[list[Any]]:
        """Outputs by sample, then by output."""
        seen, output = self.observe(laboratory, runner, artifact, samples)
        if seen.error is not None:
            pytest.fail(f"{seen.error['type']}: {seen.error['message']}\n{seen.error['traceback']}")
        by_output = load_outputs(output, len(samples))
        return [list(sample) for sample in zip(*by_output, strict=True)]

    def trace(
        self, laboratory: Laboratory, runner: Runner, found: Found, sample: Sequence[Any]
    ) -> list[Node]:
        """What a tracer shows on a sample, without the inputs; skips for other runners."""
        if not isinstance(runner, Tracer):
            pytest.skip(f"{runner.name} cannot trace")
        place = laboratory.root / f"trace-{uuid.uuid4().hex[:8]}"
        place.mkdir()
        given = place / "inputs.safetensors"
        write_samples([sample], given)
        seen = laboratory.observe(
            "trace",
            "runners",
            runner.name,
            {
                "artifact": encode(found.artifact),
                "inputs": str(given),
                "sample": 0,
                "threads": 1,
                "folder": str(place),
                "budget": 0,
                "only": None,
            },
            own=(place,),
            around=(found.artifact.path.parent,),
        )
        if seen.error is not None:
            pytest.fail(f"{seen.error['type']}: {seen.error['message']}\n{seen.error['traceback']}")
        nodes = traces.read(place, found.inspection.layers).nodes
        return [node for node in nodes if node.op_type != traces.INPUT]

    def profile(
        self, laboratory: Laboratory, runner: Runner, found: Found, sample: Sequence[Any]
    ) -> Observation:
        """Profile in a worker; skips for other runners."""
        if not isinstance(runner, Profiler):
            pytest.skip(f"{runner.name} cannot profile")
        place = laboratory.root / f"profile-{uuid.uuid4().hex[:8]}"
        place.mkdir()
        given = place / "inputs.safetensors"
        write_samples([sample], given)
        arguments = {
            "artifact": encode(found.artifact),
            "inputs": str(given),
            "threads": 1,
            "runs": 5,
            "folder": str(place),
        }
        around = (found.artifact.path.parent,)
        seen = laboratory.observe(
            "profile", "runners", runner.name, arguments, own=(place,), around=around
        )
        if seen.error is not None:
            pytest.fail(f"{seen.error['type']}: {seen.error['message']}\n{seen.error['traceback']}")
        return seen

    def observe(
        self,
        laboratory: Laboratory,
        runner: Runner,
        artifact: Artifact,
        samples: Sequence[Sequence[Any]],
    ) -> tuple[Observation, Path]:
        """Run in a worker; answers what was seen and the outputs' file."""
        place = laboratory.root / f"run-{uuid.uuid4().hex[:8]}"
        place.mkdir()
        given = place / "inputs.safetensors"
        write_samples(samples, given)
        output = place / "outputs.safetensors"
        seen = laboratory.observe(
            "run",
            "runners",
            runner.name,
            {
                "artifact": encode(artifact),
                "inputs": str(given),
                "output": str(output),
                "limit": len(samples),
                "threads": 1,
            },
            own=(place,),
            around=(artifact.path.parent,),
        )
        return seen, output
