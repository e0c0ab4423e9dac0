"""`torch.adjoint`: how much each tensor suffers from quantization, by gradients.

To first order, quantizing a tensor t changes the outputs y by J_t d_t, where d_t = Q(t) - t is the
rounding and J_t the Jacobian of the outputs. For a random vector v of independent signs,

    E (v . J_t d_t)^2 = |J_t d_t|^2,

and v . J_t d_t = g_t . d_t, where g_t is the gradient of v . y by t, which one backward pass yields
for all tensors at once (Hutchinson's estimator, Communications in Statistics 18, 1989, of the
trace of J d d^T J^T). Because quantizing a set S of tensors changes the outputs by the sum of
J_t d_t over S, the mean of the square of the sum of g_t . d_t over S estimates its error, with all
interactions of first order. Before the random signs the outputs are divided by the root mean square
of each slice of one kind and by the root of its size, so that what is estimated is a relative
error power, averaged over slices.

A quantized weight changes the result of its operator, which is linear in it, by the operator
applied to the weight's own error: d = op(x, Q(w) - w). So weights cost one more forward pass and
their gradients, which would double the cost of the backward passes, are never computed.

Where it is asked for, some sets are really rounded and run as well, since large errors are no
longer of first order: everything, and everything but the worst tensors.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError, ConvkitError
from convkit.plugin import Artifact, Ranking, RankSettings, Together, TracedTensor

if TYPE_CHECKING:
    import torch

    from convkit_torch.adjoint_program import WatchedProgram
    from convkit_torch.adjoint_watch import Place

Parts = Callable[[Sequence[Any]], Sequence[Any]]


class AdjointRanker:
    """One float pass over all samples for the ranges; over some of them one whose gradients are
    taken, one for the effects of weights, and one backward pass for each probe."""

    name: str = "torch.adjoint"
    format: str = "torch"
    requirements: tuple[str, ...] = ("torch", "numpy")

    def rank(
        self,
        artifact: Artifact,
        samples: Sequence[Sequence[Any]],
        settings: RankSettings,
        parts: Parts,
        show: Callable[[TracedTensor], None],
        progress: Callable[[str, float | None], None],
    ) -> Ranking:
        """See `Ranker.rank`.

        Raises:
            ConversionError: TorchScript, whose inside cannot be seen; control flow; an operator
                without gradient; a model that cannot run.
        """
        import torch

        from convkit_torch import reading, runner

        if settings.threads > 0:
            torch.set_num_threads(settings.threads)
        program = runner.traceable_program(artifact)
        tensors = [runner.placed_inputs(artifact, program, sample) for sample in samples]
        try:
            return _rank(program, tensors, settings, parts, show, progress)
        except ConvkitError:
            raise
        except Exception as exc:  # operators raise any type
            raise ConversionError(
                f"torch cannot rank its tensors: {reading.first_line(exc)}"
            ) from exc


def _rank(
    program: Any,
    samples: Sequence[Sequence[torch.Tensor]],
    settings: RankSettings,
    parts: Parts,
    show: Callable[[TracedTensor], None],
    progress: Callable[[str, float | None], None],
) -> Ranking:
    import numpy as np
    import torch

    from convkit_torch.adjoint_program import watched
    from convkit_torch.adjoint_watch import Gradients, Ranges, Rounded
    from convkit_torch.fake_quant import weight_error

    def rounding(weight: torch.Tensor, axis: int | None) -> torch.Tensor:
        per = axis if settings.per_channel else None
        return weight_error(weight, settings.weight_bits, per)

    progress("taking the model apart", None)
    whole = watched(program, rounding)
    plain, clock = _Stopwatch(), _Stopwatch()
    call = _plain(program)
    ranges, outputs, warm = Ranges(len(whole.places)), [], set()
    chosen = samples[: settings.gradients]
    for number, sample in enumerate(samples):
        progress("ranges", number / len(samples))
        shapes = tuple(tensor.shape for tensor in sample)
        with torch.no_grad():
            if shapes not in warm:  # kernels are chosen at the first call
                call(sample)
                warm.add(shapes)
            if number < len(chosen):
                with plain:
                    call(sample)
            with clock:
                results = whole.run(ranges, *sample)
        if number < len(chosen):
            outputs.append(results)
        if not number:
            _show(whole.places, ranges.first, show)
            ranges.first_run_over()
    with clock:
        directions = _Directions(outputs, parts, settings.seed)
        grids = ranges.grids(settings.activation_bits, settings.symmetric)
    watch = Gradients(grids, ranges.broken)
    rows = len(chosen) * settings.probes
    activations = np.zeros((rows, len(whole.places)))
    weights = np.zeros_like(activations)
    for number, sample in enumerate(chosen):
        progress("gradients", number / len(chosen))
        with clock:
            results = whole.run(watch, *sample)
            _check(whole, watch)
            for probe in range(settings.probes):
                row = number * settings.probes + probe
                last = probe == settings.probes - 1
                directions.backward(number, results, retain=not last)
                watch.collect(activations[row], weights[row])
        del results
    activations = np.nan_to_num(activations, posinf=0.0, neginf=0.0)
    weights = np.nan_to_num(weights, posinf=0.0, neginf=0.0)
    together: list[Together] = []
    really = Rounded(grids, ranges.broken)
    for number, (some, others) in enumerate(_sets(activations, weights, settings.together)):
        progress("rounding together", number / settings.together)
        really.activations, really.weights = (
            set(np.flatnonzero(x).tolist()) for x in (some, others)
        )
        error = 0.0
        for place, sample in enumerate(chosen):
            with clock, torch.no_grad():
                error += directions.error(place, whole.run(really, *sample), outputs[place])
        together.append(Together(some, others, error / len(chosen)))
    return Ranking(
        activations,
        weights,
        np.array([place.weighted for place in whole.places], np.bool_),
        forward=3 + len(together),
        backward=settings.probes,
        float_passes=clock.seconds / max(plain.seconds * len(samples) / len(chosen), 1e-9),
        together=tuple(together),
    )


def _sets(activations: Any, weights: Any, count: int) -> Iterator[tuple[Any, Any]]:
    """Everything that has an effect, then always without one more of the worst: masks of the
    tensors that are rounded, and of those whose weights are."""
    import numpy as np

    powers = np.stack([(activations**2).mean(0), (weights**2).mean(0)])
    for _ in range(count):
        some, others = powers > 0.0
        if not (some.any() or others.any()):
            return
        yield some, others
        powers.flat[powers.argmax()] = 0.0


class _Stopwatch:
    """Seconds spent inside of its `with` statements."""

    seconds = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._start


def _plain(program: Any) -> Callable[[Sequence[torch.Tensor]], Any]:
    from convkit_torch.signature import binder

    module, bind = program.module(), binder(program)

    def call(tensors: Sequence[torch.Tensor]) -> Any:
        args, kwargs = bind(tensors)
        return module(*args, **kwargs)

    return call


def _show(
    places: Sequence[Place], values: Mapping[int, torch.Tensor], show: Callable[..., None]
) -> None:
    import torch

    for number, place in enumerate(places):
        value = values[number].detach().to(torch.float32).contiguous().numpy()
        show(TracedTensor(place.layer, place.op_type, place.scope, value, place.tensor))


def _check(whole: WatchedProgram, watch: Any) -> None:
    """A result that has no gradient though its operand has one would hide all that is before it.

    Raises:
        ConversionError: naming the operator.
    """
    for number in watch.leaves:
        place = whole.places[number]
        name = place.op_type.rpartition(".")[2]
        if place.derived and not name.endswith("_like") and not name.startswith("new_"):
            raise ConversionError(
                f"{place.op_type} (at {place.layer}) has no gradient",
                hint="Another ranker, which needs none, can take such a model.",
            )


class _Directions:
    """Random combinations of the outputs, scaled as the module's text says."""

    def __init__(self, outputs: Sequence[Sequence[Any]], parts: Parts, seed: int) -> None:
        """`outputs`: of every sample."""
        import torch

        self._generator = torch.Generator().manual_seed(seed)
        self._scales: list[list[torch.Tensor | None]] = [[] for _ in outputs]
        slices = 0
        for several in zip(*outputs, strict=True):
            if not all(isinstance(v, torch.Tensor) and v.is_floating_point() for v in several):
                for scales in self._scales:
                    scales.append(None)
                continue
            scaled = [torch.zeros_like(value) for value in several]
            finite = [torch.nan_to_num(v, posinf=0.0, neginf=0.0) for v in several]
            for part in parts([v.to(torch.float32).numpy() for v in finite]):
                power = sum(float(v[part].double().square().mean()) for v in finite)
                power /= len(finite)
                if not power > 0.0:
                    continue  # a slice of zeros: no relative error
                slices += 1
                for scale in scaled:
                    scale[part] = (power * max(1, scale[part].numel())) ** -0.5
            for scale, value, scales in zip(scaled, several, self._scales, strict=True):
                scales.append(scale.masked_fill_(~value.isfinite(), 0.0))
        self._slices = max(1, slices)

    def error(self, sample: int, results: Sequence[Any], floats: Sequence[Any]) -> float:
        """The relative error power of a sample's outputs, averaged over slices; infinite where
        rounding gave an output another shape."""
        found = 0.0
        for result, exact, scale in zip(results, floats, self._scales[sample], strict=True):
            if scale is not None:
                if result.shape != exact.shape:
                    return math.inf
                change = (result - exact).mul_(scale).masked_fill_(scale == 0.0, 0.0)
                found += float(change.double().square().sum())
        return found / self._slices

    def backward(self, sample: int, results: Sequence[Any], retain: bool) -> None:
        """One backward pass from the outputs of a sample.

        Raises:
            ConversionError: no output has a gradient.
        """
        import torch

        roots, directions = [], []
        for result, scale in zip(results, self._scales[sample], strict=True):
            if scale is None or not result.requires_grad:
                continue
            signs = torch.randint(0, 2, scale.shape, generator=self._generator, dtype=torch.int8)
            roots.append(result)
            directions.append(scale * (signs * 2 - 1) * self._slices**-0.5)
        if not roots:
            raise ConversionError("no floating-point output depends on floating-point values")
        torch.autograd.backward(roots, directions, retain_graph=retain)
