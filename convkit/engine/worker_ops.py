"""What a worker can be asked to do. Imported inside workers only; standard library at the top."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

from convkit.artifact import Artifact, ReadOptions, TensorSpec
from convkit.calibration import CalibrationData
from convkit.codec import decode, encode
from convkit.engine.layout import to_artifact, to_original
from convkit.engine.sample_files import SampleWriter, free_memory, samples_in
from convkit.errors import PluginError
from convkit.plugin.edges import HopContext
from convkit.quant import QuantRecipe

Progress = Callable[[str, float | None], None]

RANKED_BYTES = 1 << 30
"""A ranking holds so many bytes of samples in memory at most."""


def op_convert(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Run one hop; answers the artifact that the converter describes."""
    converter = _implementation(arguments)
    context = HopContext(
        workdir=Path(arguments["workdir"]),
        progress=progress,
        calibration=decode(CalibrationData | None, arguments["calibration"]),
        recipe=decode(QuantRecipe | None, arguments["recipe"]),
        seed=arguments["seed"],
        threads=arguments["threads"],
        cpu_features=frozenset(arguments.get("cpu_features", ())),
    )
    artifact = decode(Artifact, arguments["artifact"])
    output = Path(arguments["output"])
    with _temporary_files_in(context.workdir):
        return encode(converter.convert(artifact, output, arguments["options"], context))


def op_check(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """What in an artifact an edge cannot convert."""
    converter = _implementation(arguments)
    found = converter.check(decode(Artifact, arguments["artifact"]), arguments["options"])
    return encode(tuple(found))


def op_inspect(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Read a file and say what it is."""
    inspector = _implementation(arguments)
    read = decode(ReadOptions, arguments["read"])
    return encode(inspector.inspect(Path(arguments["path"]), read))


def op_rename(arguments: Mapping[str, Any], progress: Progress) -> None:
    """Let a file refer to its companions by other names."""
    _implementation(arguments).rename(Path(arguments["path"]), arguments["names"])


def op_run(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Run an artifact over samples; answers the count and the seconds spent in inference."""
    import time

    artifact = decode(Artifact, arguments["artifact"])
    session = _implementation(arguments).open(artifact, arguments["threads"])
    writer = SampleWriter()
    seconds = 0.0
    limit = arguments["limit"]
    samples = samples_in(Path(arguments["inputs"]), limit)
    for number, sample in enumerate(samples if artifact.inputs else repeat((), limit)):
        cast = _as_taken(sample, artifact)
        start = time.perf_counter()
        outputs = session.run(cast)
        seconds += time.perf_counter() - start
        if len(outputs) == len(artifact.outputs):  # else the verification says so
            pairs = zip(outputs, artifact.outputs, strict=True)
            outputs = [to_original(value, spec) for value, spec in pairs]
        writer.add(number, outputs)
        progress(f"sample {number + 1}", None)
    writer.save(Path(arguments["output"]))
    return {"samples": writer.count, "seconds": seconds}


def op_trace(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Trace an artifact on one sample into a folder; answers the number of tensors."""
    from convkit import traces

    artifact = decode(Artifact, arguments["artifact"])
    number, only = arguments["sample"], arguments["only"]
    sample = next(islice(samples_in(Path(arguments["inputs"])), number, None))
    cast = _as_taken(sample, artifact)
    tensors = _implementation(arguments).trace(artifact, cast, arguments["threads"])
    folder, budget = Path(arguments["folder"]), arguments["budget"]
    shown = chain(traces.inputs_of(artifact, cast), tensors)
    return {"count": traces.write(shown, folder, budget, only and frozenset(only))}


def op_rank(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Rank the tensors of a float artifact; leaves a trace and the two matrices in a folder."""
    import numpy as np
    from safetensors.numpy import save_file

    from convkit import traces
    from convkit.plugin.ranking import RankSettings

    artifact = decode(Artifact, arguments["artifact"])
    settings = decode(RankSettings, arguments["settings"])
    samples: list[list[Any]] = []
    room = RANKED_BYTES
    for sample in samples_in(Path(arguments["inputs"]), arguments["limit"]):
        samples.append(_as_taken(sample, artifact))
        room -= sum(value.nbytes for value in samples[-1])
        if room < 0:
            break
    writer, folder = traces.Writer(0), Path(arguments["folder"])
    found = _implementation(arguments).rank(
        artifact, samples, settings, _parts, writer.add, progress
    )
    writer.save(folder)
    matrices = {
        "activations": np.ascontiguousarray(found.activations, np.float64),
        "weights": np.ascontiguousarray(found.weights, np.float64),
        "weighted": np.ascontiguousarray(found.weighted, np.bool_),
        "together": np.array(
            [(group.activations, group.weights) for group in found.together], np.bool_
        ).reshape(len(found.together), 2, -1 if found.together else 0),
        "together_errors": np.array([group.error for group in found.together], np.float64),
    }
    save_file(matrices, folder / arguments["matrices"])
    return {
        "forward": found.forward,
        "backward": found.backward,
        "float_passes": found.float_passes,
    }


def _parts(values: Sequence[Any]) -> Sequence[tuple[slice, ...]]:
    """The indices of an output's slices of one kind."""
    from convkit.numerics import kinds

    return [part.index for part in kinds(values)]


def op_operations(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """The operators of a file, with what the rules of accelerators ask about."""
    inspector = _implementation(arguments)
    read = decode(ReadOptions, arguments["read"])
    return encode(tuple(inspector.operations(Path(arguments["path"]), read)))


def op_profile(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Profile an artifact on the first of the samples."""
    artifact = decode(Artifact, arguments["artifact"])
    sample = next(samples_in(Path(arguments["inputs"]), 1)) if artifact.inputs else ()
    cast = _as_taken(sample, artifact)
    folder, threads, runs = Path(arguments["folder"]), arguments["threads"], arguments["runs"]
    with _temporary_files_in(folder):
        return encode(_implementation(arguments).profile(artifact, cast, threads, runs, folder))


def op_drain(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Read calibration data through its source into one safetensors file."""
    from convkit.samples import drain

    source = _implementation(arguments)
    artifact = decode(Artifact, arguments["artifact"])
    path, overrides = Path(arguments["path"]), arguments["overrides"]
    limit, seed = arguments["limit"], arguments["seed"]
    samples = source.read(path, artifact, overrides, limit, seed)
    return {
        "count": drain(samples, artifact, Path(arguments["output"]), limit, seed),
        "transform": source.describe(path, artifact, overrides),
    }


def op_samples(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Read data without its labels, in its own order where its source knows one, into one
    safetensors file; answers the samples' names."""
    from convkit.plugin.data import OrderedSource

    source = _implementation(arguments)
    artifact = decode(Artifact, arguments["artifact"])
    path, limit = Path(arguments["data"]), arguments["limit"]
    named = (
        source.samples(path, artifact, limit)
        if isinstance(source, OrderedSource)
        else ((str(n), s) for n, s in enumerate(source.read(path, artifact, {}, limit, 0)))
    )
    writer, names = SampleWriter(free_memory()), []
    for number, (name, sample) in enumerate(islice(named, limit)):
        writer.add(number, sample)
        names.append(name)
    writer.save(Path(arguments["output"]))
    return {"count": writer.count, "names": names}


def op_metric_inputs(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Pre-process a metric's data set into one safetensors file; no count where the metric leaves
    that to the calibration sources."""
    artifact = decode(Artifact, arguments["artifact"])
    samples = _metric(arguments).inputs(Path(arguments["data"]), artifact, arguments["limit"])
    if samples is None:
        return {"count": None}
    writer = SampleWriter(free_memory())
    for number, sample in enumerate(samples):
        writer.add(number, sample)
    writer.save(Path(arguments["output"]))
    return {"count": writer.count}


def op_metric_score(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Score the outputs of one model, against the labels or against the reference's outputs."""
    metric, data, limit = _metric(arguments), Path(arguments["data"]), arguments["limit"]
    outputs = samples_in(Path(arguments["outputs"]))
    return encode(_scored(metric, data, outputs, arguments.get("reference"), limit))


def op_metric_part(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Score the first samples alone: of the float model, of another one, and of that one with the
    float model's outputs in every n-th place, group after group."""
    metric, data, limit = _metric(arguments), Path(arguments["data"]), arguments["limit"]
    held = list(samples_in(Path(arguments["against"]), limit))
    outputs = list(samples_in(Path(arguments["outputs"]), limit))
    groups = arguments["groups"]
    mixtures = [
        [held[place] if place % groups == group else own for place, own in enumerate(outputs)]
        for group in range(groups)
    ]

    def score(samples: list[list[Any]]) -> float:
        return float(_scored(metric, data, samples, arguments["reference"], limit).value)

    return {"held": score(held), "own": score(outputs), "mixed": [score(m) for m in mixtures]}


def op_metric_probe(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Whether a user's metric looks at the outputs at all."""
    outputs = list(samples_in(Path(arguments["outputs"])))
    return _metric(arguments).depends(Path(arguments["data"]), outputs, arguments["limit"])


def op_metric_picture(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Draw models side by side; answers whether the metric has a picture."""
    metric = _metric(arguments)
    outputs = {
        title: list(samples_in(Path(path), arguments["limit"]))
        for title, path in arguments["outputs"].items()
    }
    return metric.picture(Path(arguments["data"]), outputs, Path(arguments["path"]))


def op_load(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Import modules ahead of their use."""
    for name in arguments["modules"]:
        import_module(name)
    return {}


def op_time_imports(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Open and run an artifact once; answers the modules that this imported."""
    from convkit.engine import timing

    return timing.imports(_implementation(arguments), _prepared(arguments), arguments)


def op_time_open(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Open an artifact that is going to be timed, in a worker of its own."""
    from convkit.engine import timing

    return timing.open_model(_implementation(arguments), _prepared(arguments), arguments)


def op_time_warm(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Run the opened artifact until its times are steady."""
    from convkit.engine import timing

    return timing.warm(arguments["seconds"])


def op_time_turn(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Time a few inferences of the opened artifact."""
    from convkit.engine import timing

    return timing.turn(arguments["sample"], arguments["repeats"], arguments["settle"])


def op_time_flow(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """Run the opened artifact without a break for some time."""
    from convkit.engine import timing

    return timing.flow(arguments["begin"], arguments["seconds"])


def op_time_memory(arguments: Mapping[str, Any], progress: Progress) -> Any:
    """How much memory the opened artifact took at most."""
    from convkit.engine import timing

    return timing.memory()


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Tools that write temporary files write them where they are cleaned up afterwards."""
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        os.environ.pop("TMPDIR")
        if before[0] is not None:
            os.environ["TMPDIR"] = before[0]
        tempfile.tempdir = before[1]


def _implementation(arguments: Mapping[str, Any]) -> Any:
    """Find the implementation by asking its plugin again, in this interpreter."""
    target, kind, name = arguments["plugin"], arguments["kind"], arguments["name"]
    module, _, attribute = target.partition(":")
    plugin: Any = import_module(module)
    for part in attribute.split(".") if attribute else ():
        plugin = getattr(plugin, part)
    for thing in getattr(plugin, f"convkit_{kind}")():
        if thing.name == name:
            return thing
    raise PluginError(f"plugin {target} offers no {name} among its {kind} in this environment")


def _metric(arguments: Mapping[str, Any]) -> Any:
    """A plugin's metric, or one of the user's own."""
    if arguments.get("user") is None:
        return _implementation(arguments)
    from convkit.engine.user_metric import UserMetric

    user = arguments["user"]
    return UserMetric.load(user["text"], Path(user["folder"]), user["names"])


def _scored(
    metric: Any, data: Path, outputs: Iterable[Any], reference: str | None, limit: int | None
) -> Any:
    """What a metric says: against the labels, or against a reference's file of outputs."""
    if reference:
        held = samples_in(Path(reference), limit)
        return metric.score_against(data, outputs, held, limit)
    return metric.score(data, outputs, limit)


def _prepared(arguments: Mapping[str, Any]) -> Callable[[], list[list[Any]]]:
    """Reads samples as an artifact takes them: axes and types change before anything is timed."""
    artifact = decode(Artifact, arguments["artifact"])

    def read() -> list[list[Any]]:
        import numpy as np

        if not artifact.inputs:
            return [[]]
        return [
            [
                np.ascontiguousarray(_in_integers(value, spec))
                for value, spec in zip(_as_taken(sample, artifact), artifact.inputs, strict=True)
            ]
            for sample in samples_in(Path(arguments["inputs"]), arguments["limit"])
        ]

    return read


def _as_taken(sample: Sequence[Any], artifact: Artifact) -> list[Any]:
    """A sample in the artifact's own axes and types; real numbers stay so where the file takes
    integers that stand for them, since `Session.run` quantizes them itself."""
    taken = []
    for value, spec in zip(sample, artifact.inputs, strict=True):
        turned = to_artifact(value, spec)
        taken.append(turned if _stands_for_reals(turned, spec) else _cast(turned, spec.dtype))
    return taken


def _stands_for_reals(value: Any, spec: TensorSpec) -> bool:
    return spec.scale is not None and value.dtype.kind == "f"


def _in_integers(value: Any, spec: TensorSpec) -> Any:
    """Real numbers as the integers that the file takes for them; anything else as it is. What is
    timed is the model, not this."""
    if not _stands_for_reals(value, spec):
        return value
    import numpy as np

    limits = np.iinfo(spec.dtype)
    steps = np.rint(value / np.float32(spec.scale)) + (spec.zero_point or 0)
    return np.clip(steps, limits.min, limits.max).astype(spec.dtype)


def _cast(value: Any, dtype: str) -> Any:
    """Cast where the file's own input type is another than the original's (int64 to int32)."""
    if str(value.dtype) == dtype:
        return value
    import numpy as np

    try:
        return value.astype(np.dtype(dtype))
    except TypeError:  # a type that numpy does not know by itself, such as bfloat16
        import ml_dtypes

        return value.astype(getattr(ml_dtypes, dtype))
