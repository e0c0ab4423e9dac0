"""SavedModel against frozen graph: load time, first inference, latency; interleaved in one process.

The third contestant, the frozen graph put back into a SavedModel, tells the container from what is
in it: its weights are constants too.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Ratio, report

LOADS, ROUNDS, WARM_UP = 5, 400, 20
VARIABLES, FROZEN, CONSTANTS = "saved (variables)", "frozen", "saved (constants)"


def main() -> bool:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ.setdefault("KERAS_HOME", str(root / "keras"))
        held = True
        for title, build in (("small", _small), ("residual", _residual), ("dense", _dense)):
            (root / title).mkdir()
            held &= _compare(title, build, root / title)
    return held


def _compare(title: str, build: Callable[[Any, Any], Any], folder: Path) -> bool:
    artifacts, sample = _artifacts(build, folder)
    sessions, loads, firsts = _load(artifacts, sample)
    times = _interleaved(sessions, sample)
    # The tenth percentile: what an inference takes that nobody else on the machine disturbs.
    quiet = {name: statistics.quantiles(values, n=10)[0] for name, values in times.items()}
    print(f"\n{title}: milliseconds, 1 thread")
    for name, artifact in artifacts.items():
        print(
            f"  {name:18} load {1e3 * loads[name]:7.1f}  first {1e3 * firsts[name]:7.1f}  "
            f"then {1e3 * quiet[name]:7.3f} (median {1e3 * statistics.median(times[name]):.3f})  "
            f"graph {_graph_bytes(artifact.path) / 1e6:6.2f} MB"
        )
    return report(
        f"saved model or frozen graph, {title} (seconds, 10th percentile of {ROUNDS}, interleaved)",
        [
            Ratio("frozen / saved (variables): latency", quiet[FROZEN], quiet[VARIABLES], 1.5),
            Ratio("saved (constants) / frozen: latency", quiet[CONSTANTS], quiet[FROZEN], 1.5),
        ],
    )


def _artifacts(build: Callable[[Any, Any], Any], folder: Path) -> tuple[dict[str, Any], Any]:
    """The same network three times, and an input."""
    import numpy as np

    from convkit.plugin import Artifact, HopContext, ReadOptions, State
    from convkit_tensorflow.freeze import Freeze
    from convkit_tensorflow.inspect_saved import SavedModelInspector
    from convkit_tensorflow.runtime import tensorflow
    from convkit_tensorflow.unfreeze import Unfreeze

    tf = tensorflow(threads=1)
    tf.keras.utils.set_random_seed(0)
    model = build(tf.keras, tf.keras.layers)
    shape = (1, *model.inputs[0].shape[1:])
    function = tf.function(lambda x: {"y": model(x, training=False)}).get_concrete_function(
        tf.TensorSpec(shape, tf.float32, name="x")
    )
    path = folder / "model-saved"
    tf.saved_model.save(model, str(path), signatures=function)
    found = SavedModelInspector().inspect(path, ReadOptions())
    saved = Artifact(path, State("tf-saved"), found.inputs, found.outputs)
    context = HopContext(folder, lambda phase, fraction: None)
    frozen = Freeze().convert(saved, folder / "model.pb", {}, context)
    constants = Unfreeze().convert(frozen, folder / "constants-saved", {}, context)
    sample = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    return {VARIABLES: saved, FROZEN: frozen, CONSTANTS: constants}, sample


def _load(
    artifacts: Mapping[str, Any], sample: Any
) -> tuple[dict[str, Any], dict[str, float], dict[str, float]]:
    """Open sessions, least seconds of opening one, and of its first inference; in turn."""
    from convkit_tensorflow.run_frozen import FrozenRunner
    from convkit_tensorflow.run_saved import SavedModelRunner

    runners: dict[str, Any] = {"tf-saved": SavedModelRunner(), "tf-frozen": FrozenRunner()}
    sessions: dict[str, Any] = {}
    loads: dict[str, list[float]] = {name: [] for name in artifacts}
    firsts: dict[str, list[float]] = {name: [] for name in artifacts}
    for turn in range(LOADS + 1):
        for name, artifact in artifacts.items():
            start = time.perf_counter()
            session = runners[artifact.state.format].open(artifact, threads=1)
            opened = time.perf_counter()
            session.run([sample])
            if turn:  # the first turn pays for TensorFlow's own start
                loads[name].append(opened - start)
                firsts[name].append(time.perf_counter() - opened)
            sessions[name] = session
    return sessions, _least(loads), _least(firsts)


def _interleaved(sessions: Mapping[str, Any], sample: Any) -> dict[str, list[float]]:
    """Seconds of each inference; the order turns round from one round to the next."""
    import numpy as np

    expected, *others = (session.run([sample])[0] for session in sessions.values())
    for value in others:
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-4)
    times: dict[str, list[float]] = {name: [] for name in sessions}
    names = list(sessions)
    for turn in range(WARM_UP + ROUNDS):
        for name in names if turn % 2 else names[::-1]:
            start = time.perf_counter()
            sessions[name].run([sample])
            if turn >= WARM_UP:
                times[name].append(time.perf_counter() - start)
    return times


def _least(times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: min(values) for name, values in times.items()}


def _graph_bytes(path: Path) -> int:
    """Size of the protobuf message, which the limit of 2 GiB is about."""
    return (path / "saved_model.pb" if path.is_dir() else path).stat().st_size


def _small(keras: Any, layers: Any) -> Any:
    """A few convolutions: what is paid for each operator weighs most."""
    x = start = keras.Input((32, 32, 3))
    for channels in (8, 16, 16, 32, 32):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return keras.Model(start, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def _residual(keras: Any, layers: Any) -> Any:
    """Twenty convolutions with batch norms: arithmetic weighs most."""
    start = keras.Input((96, 96, 3))
    x = layers.Conv2D(32, 3, 2, padding="same")(start)
    for channels, stride in ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1)):
        y = x
        for step in (stride, 1, 1):
            y = layers.Conv2D(channels, 3, step, padding="same", use_bias=False)(y)
            y = layers.ReLU()(layers.BatchNormalization()(y))
        short = layers.Conv2D(channels, 1, stride)(x) if y.shape != x.shape else x
        x = layers.add([short, y])
    return keras.Model(start, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def _dense(keras: Any, layers: Any) -> Any:
    """Ten million weights that are read once each: memory weighs most."""
    x = start = keras.Input((1024,))
    for _ in range(10):
        x = layers.Dense(1024, activation="relu")(x)
    return keras.Model(start, layers.Dense(10)(x))
