"""A metric of the user's own, named as `module:function` or `file.py:function`.

Two things are taken:

- a plain function `f(outputs, data)` or `f(outputs, data, names)`, and
- a class (built without arguments) or an object with the methods of `Metric`, of which `score` is
  the only one that must be there.

`outputs` has for every sample the list of the model's output arrays, batch axis included, in the
order of the data: file names, or rows of an array file; `names` are those names. What comes back is
a number, higher is better, or a mapping whose first entry is the metric and whose others are
details. The user's code runs in a worker; whatever goes wrong in it is told with its file and line.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from convkit.artifact import Artifact
from convkit.errors import ConvkitError, UsageError, did_you_mean
from convkit.plugin.data import MetricResult

CONTRACT = (
    "A metric is a function f(outputs, data) that returns a number, or a class or object with the"
    " method score(data, outputs, limit)."
)

WHERE = (
    "A module is looked for in the current folder and on Python's path; a file is named with its"
    " suffix, as in scripts/score.py:f1."
)


def is_user_metric(text: str) -> bool:
    """Whether the name of a metric is that of a user's own."""
    return ":" in text


class UserMetric:
    """Adapts what the user wrote to `Metric`."""

    requirements: tuple[str, ...] = ()

    def __init__(self, name: str, thing: Any, names: Sequence[str] = ()) -> None:
        """`thing`: the function or object; `names`: of the samples, where they are known."""
        self.name = name
        self._thing = thing
        self._names = list(names)

    @classmethod
    def load(cls, text: str, folder: Path, names: Sequence[str] = ()) -> UserMetric:
        """Import what `text` names, with `folder` on the path.

        Raises:
            UsageError: it cannot be imported, is not there, or is nothing that scores.
        """
        place, _, attribute = text.rpartition(":")
        with _guarded(text, "cannot be imported"):
            module = _from_file(place, folder) if place.endswith(".py") else _import(place, folder)
        thing: Any = module
        for part in attribute.split("."):
            if not hasattr(thing, part):
                known = [n for n in dir(thing) if not n.startswith("_")]
                raise UsageError(
                    f"the metric {text} is not there: {place} has no {part!r}",
                    hint=did_you_mean(part, known) or CONTRACT,
                )
            thing = getattr(thing, part)
        if inspect.isclass(thing):
            with _guarded(text, "cannot be built without arguments"):
                thing = thing()
        if not callable(getattr(thing, "score", None)):
            _check_function(text, thing)
        return cls(text, thing, names)

    def inputs(
        self, data: Path, artifact: Artifact, limit: int | None
    ) -> Iterator[Sequence[Any]] | None:
        """The user's own reading of the data, where there is any."""
        own = getattr(self._thing, "inputs", None)
        if own is None:
            return None
        with _guarded(self.name, "could not read the data"):
            samples = own(data, artifact, limit)
        return None if samples is None else self._read(samples)

    def score(
        self, data: Path, outputs: Iterable[Sequence[Any]], limit: int | None
    ) -> MetricResult:
        """What the user's code says of the outputs, checked.

        Raises:
            UsageError: it raised, or returned anything but finite numbers.
        """
        samples = [list(sample) for sample in outputs]
        with _guarded(self.name, "raised"):
            answer = self._call(data, samples, limit)
        return self._checked(answer, len(samples))

    def depends(self, data: Path, outputs: Sequence[Sequence[Any]], limit: int | None) -> bool:
        """Whether other outputs get another score: zeros, samples in reverse, noise. A score that
        cannot be computed for them is another one."""
        import numpy as np

        real = self.score(data, outputs, limit).value
        rng = np.random.default_rng(0)
        fakes: list[list[list[Any]]] = [
            [[np.zeros_like(a) for a in sample] for sample in outputs],
            [list(sample) for sample in reversed(outputs)],
            [[rng.permutation(a.ravel()).reshape(a.shape) for a in s] for s in outputs],
            [[a if a.dtype == bool else -a for a in sample] for sample in outputs],
        ]
        for fake in fakes:
            try:
                if self.score(data, fake, limit).value != real:
                    return True
            except UsageError:
                return True
        return False

    def picture(
        self, data: Path, outputs: Mapping[str, Sequence[Sequence[Any]]], path: Path
    ) -> bool:
        """The user's own picture, where there is one."""
        own = getattr(self._thing, "picture", None)
        if own is None:
            return False
        with _guarded(self.name, "could not draw"):
            return bool(own(data, outputs, path))

    def _call(self, data: Path, samples: list[list[Any]], limit: int | None) -> Any:
        score = getattr(self._thing, "score", None)
        if callable(score):
            return score(data, samples, limit)
        if _wants_names(self._thing):
            return self._thing(samples, data, list(self._names))
        return self._thing(samples, data)

    def _read(self, samples: Iterable[Any]) -> Iterator[Sequence[Any]]:
        iterator = iter(samples)
        while True:
            with _guarded(self.name, "could not read the data"):
                try:
                    sample = next(iterator)
                except StopIteration:
                    return
            yield sample if isinstance(sample, list | tuple) else (sample,)

    def _checked(self, answer: Any, count: int) -> MetricResult:
        if isinstance(answer, MetricResult):
            numbers = {"value": answer.value, **answer.details}
            samples, problems = answer.samples or count, tuple(map(str, answer.problems))
        elif isinstance(answer, Mapping):
            numbers, samples, problems = dict(answer), count, ()
        else:
            numbers, samples, problems = {"value": answer}, count, ()
        if not numbers:
            raise self._refused("an empty mapping")
        values = {str(key): self._number(key, value) for key, value in numbers.items()}
        headline = next(iter(values))
        value = values.pop(headline)
        return MetricResult(self.name, value, values, samples, problems)

    def _number(self, key: Any, value: Any) -> float:
        what = "" if key == "value" else f" for {key!r}"
        shape = getattr(value, "shape", ())
        if hasattr(value, "item") and not isinstance(value, str) and math.prod(shape) == 1:
            value = value.item()  # numpy's and torch's scalars
        if isinstance(value, bool) or not isinstance(value, int | float):
            shown = f"an array of shape {tuple(shape)}" if shape else repr(value)[:80]
            raise self._refused(f"{shown}{what}")
        if not math.isfinite(value):
            raise self._refused(f"{value}{what}")
        return float(value)

    def _refused(self, what: str) -> UsageError:
        return UsageError(
            f"the metric {self.name} returned {what}, not a finite number",
            hint="Return a number, higher is better, or a mapping of names to numbers, the metric"
            " first. A NaN often comes from a mean over nothing, or from NaN among the outputs.",
        )


def _import(name: str, folder: Path) -> ModuleType:
    """A module by name; one beside the user is found as well."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return import_module(name)


def _from_file(place: str, folder: Path) -> ModuleType:
    """A module by its file; its neighbours can be imported from it."""
    file = (folder / place).resolve()
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    name = f"convkit_user_metric_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _check_function(text: str, thing: Any) -> None:
    if not callable(thing):
        raise UsageError(
            f"the metric {text} is a {type(thing).__name__}, which scores nothing", hint=CONTRACT
        )
    if _positional(thing) < 2:
        raise UsageError(
            f"the metric {text} takes {_positional(thing)} argument(s), not outputs and data",
            hint=CONTRACT,
        )


def _wants_names(function: Any) -> bool:
    """Whether it has a third argument called `names`, or any that must be given."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False
    third = parameters[2] if _positional(function) > 2 else None
    return third is not None and (third.default is third.empty or third.name == "names")


def _positional(function: Any) -> int:
    """How many positional arguments it takes; two where that cannot be told."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 2
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 2
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


@contextmanager
def _guarded(name: str, what: str) -> Iterator[None]:
    """Turn whatever a stranger's code raises into an error that says what and where."""
    try:
        yield
    except (ConvkitError, KeyboardInterrupt):
        raise
    except BaseException as error:
        kind = type(error).__name__
        said = f"{kind}: {error}" if str(error) else kind
        verb = f"raised {said}" if what == "raised" else f"{what}: {said}"
        missing = isinstance(error, ModuleNotFoundError | FileNotFoundError)
        hint = WHERE if missing and what == "cannot be imported" else CONTRACT
        raise UsageError(f"the metric {name} {verb}{_where(error)}", hint=hint) from error


def _where(error: BaseException) -> str:
    """The place in the user's code, ` at file.py:12`; empty where it is none of theirs."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" at {_short(error.filename)}:{error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    libraries = ("site-packages", "dist-packages", sysconfig.get_paths()["stdlib"], "<frozen")
    own = [f for f in frames if not any(part in f.filename for part in libraries)]
    return f" at {_short(own[-1].filename)}:{own[-1].lineno}" if own else ""


def _short(file: str) -> str:
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except ValueError:
        return file
