"""`onnxruntime.run`: executes ONNX artifacts with ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from convkit.errors import ConversionError
from convkit.plugin import Artifact, ExecutionProfile, Session, TracedTensor

_ERRORS_ONLY = 3
_OPTIMIZED_WEIGHTS = "session.optimized_model_external_initializers_file_name"
_SMALL_FLOATS = {
    "tensor(float8e4m3fn)": "float8_e4m3fn",
    "tensor(float8e4m3fnuz)": "float8_e4m3fnuz",
    "tensor(float8e5m2)": "float8_e5m2",
    "tensor(float8e5m2fnuz)": "float8_e5m2fnuz",
}
_EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
_STOP_SPINNING = "session.force_spinning_stop"
"""Threads that wait for the next inference would burn 25 ms of processor time after each one."""


class OnnxRuntimeRunner:
    """CPU provider, quiet."""

    name: str = "onnxruntime.run"
    format: str = "onnx"
    requirements: tuple[str, ...] = ("onnxruntime", "numpy")

    def open(self, artifact: Artifact, threads: int) -> Session:
        """Build a session.

        Raises:
            ConversionError: ONNX Runtime does not accept the model.
            InputError, UnsafeError: its external data is missing or lies elsewhere.
        """
        from convkit_onnx import reading

        reading.check_external_data(reading.load_graph(artifact.path), artifact.path)
        session = load(artifact.path, threads)
        inputs = tuple(spec.name for spec in artifact.inputs)
        outputs = tuple(spec.name for spec in artifact.outputs)
        if sorted(inputs) != sorted(i.name for i in session.get_inputs()):
            raise ConversionError(f"the model's inputs are not those expected, {list(inputs)}")
        if not set(outputs) <= {o.name for o in session.get_outputs()}:
            raise ConversionError(f"the model's outputs are not those expected, {list(outputs)}")
        for value in (*session.get_inputs(), *session.get_outputs()):
            if not value.type.startswith("tensor("):
                raise ConversionError(
                    f"{value.name} is a {value.type}, and convkit runs on tensors only",
                    hint="Export the model without it; of scikit-learn, with zipmap off.",
                )
        return OnnxRuntimeSession(session, inputs, outputs)

    def trace(
        self, artifact: Artifact, inputs: Sequence[Any], threads: int
    ) -> Iterator[TracedTensor]:
        """See `Tracer`: every intermediate tensor becomes an output of a copy of the graph that
        is not optimized. All of them are in memory at once."""
        from convkit_onnx.tracing import trace

        return trace(artifact, inputs, threads)

    def profile(
        self, artifact: Artifact, inputs: Sequence[Any], threads: int, runs: int, folder: Path
    ) -> ExecutionProfile:
        """See `Profiler`."""
        from convkit_onnx.profiling import profile

        return profile(self.name, artifact, inputs, threads, runs, folder)


def load(
    model: Path | bytes,
    threads: int,
    folder: Path | None = None,
    *,
    plain: bool = False,
    profile: Path | None = None,
    optimized: Path | None = None,
) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU.

    Args:
        folder: where the external data of a model in memory lie.
        plain: run the graph as it is, node by node.
        profile: beginning of the path of a profile that is written when the session ends it.
        optimized: where the optimized graph is written, its weights beside it.

    Raises:
        ConversionError: ONNX Runtime does not accept the model.
    """
    import onnxruntime

    from convkit_onnx.reading import first_line

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry(_STOP_SPINNING, "1")
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
        options.add_session_config_entry(_OPTIMIZED_WEIGHTS, f"{optimized.name}.data")
    if folder is not None:
        options.add_session_config_entry(_EXTERNAL_FOLDER, str(folder))
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime's exception types share no public base
        raise ConversionError(
            f"ONNX Runtime cannot load the model: {first_line(exc)}",
            hint="An opset or operator newer than this ONNX Runtime is the usual reason.",
        ) from exc


@dataclass(frozen=True)
class OnnxRuntimeSession:
    """A session with the artifact's order of inputs and outputs."""

    session: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """One inference; see `Session`."""
        feeds = dict(zip(self.inputs, inputs, strict=True))
        return tuple(
            _values(array, kind)
            for array, kind in zip(
                self.session.run(list(self.outputs), feeds), self._kinds, strict=True
            )
        )

    @cached_property
    def _kinds(self) -> Sequence[str]:
        known = {value.name: value.type for value in self.session.get_outputs()}
        return [known[name] for name in self.outputs]


def _values(array: Any, kind: str) -> Any:
    """ONNX Runtime hands out the bytes of small floats, which are no numbers."""
    if kind not in _SMALL_FLOATS or str(array.dtype) != "uint8":
        return array
    import ml_dtypes

    return array.view(getattr(ml_dtypes, _SMALL_FLOATS[kind]))
