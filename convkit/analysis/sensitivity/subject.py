"""The model under analysis: builds, measures and scores any choice of float layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from convkit.analysis.sensitivity.glance import GROUPS, Glance, glance, worth_a_glance
from convkit.engine.evaluate import Evaluator
from convkit.engine.executor import Executor
from convkit.engine.outcomes import Approach
from convkit.engine.recipes import FULL
from convkit.engine.session import Found, Samples, Session, Stage
from convkit.engine.verify import compare_outputs, outputs_of
from convkit.errors import ConvkitError, NoPathError, UsageError
from convkit.plans import OptionValue
from convkit.quant import LayerInfo, QuantRecipe, QuantRule
from convkit.sensitivity import decibels, error_power
from convkit.verification import SliceAgreement


@dataclass(frozen=True)
class Built:
    """A quantized model that ran.

    Attributes:
        sqnr_db: over all output slices, each weighing the same.
    """

    found: Found
    sqnr_db: float
    slices: tuple[SliceAgreement, ...]


class Subject:
    """A source, a target, and what can be measured between them."""

    def __init__(
        self,
        session: Session,
        executor: Executor,
        approach: Approach,
        samples: Samples,
        evaluator: Evaluator | None,
        asked: tuple[QuantRule, ...] = (),
    ) -> None:
        """
        Args:
            samples: on which outputs are compared.
            asked: what stays in float in any case.

        Raises:
            UsageError: the outputs do not vary on the samples.
        """
        self.session, self.approach, self.samples = session, approach, samples
        self.evaluator, self.asked = evaluator, asked
        self._executor = executor
        self._reference = self._judge()
        self._check_telling()

    @property
    def source(self) -> Found:
        """The original."""
        return self._executor.reference

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Of the float model in the target's format."""
        return self.approach.twin.inspection.layers

    def build(self, recipe: QuantRecipe, options: Mapping[str, OptionValue], stage: Stage) -> Built:
        """Quantize and run on the samples.

        Raises:
            ConvkitError: the quantizer or the runtime failed.
        """
        stage.progress("quantizing", None)
        whole = QuantRecipe(recipe.name, (*self.asked, *recipe.rules))
        found = self._executor.build(self.approach, whole, options, stage)
        stage.progress("running", None)
        right = outputs_of(self.session, found.artifact, self.samples, stage)
        reference, left = self._reference
        if right is None:
            raise NoPathError(f"no installed runner executes {found.state.format} files")
        slices, problems = compare_outputs(reference.artifact, found.artifact, left, right)
        if problems:
            raise NoPathError("; ".join(problems))
        return Built(found, combined_db(slices), slices)

    def score(self, found: Found, stage: Stage | None = None) -> float | None:
        """The metric on the whole data set; None where there is none to score with."""
        if self.evaluator is None:
            return None
        scored = self.evaluator.score(found, stage)
        return None if scored is None else scored.result.value

    def float_score(self) -> float | None:
        """The metric of the original; of its twin where nothing runs the original."""
        return self.score(self._reference[0])

    def glance(self, found: Found, stage: Stage | None = None) -> Glance | None:
        """What a part of the data set says of a model already; None where it is too small, or the
        metric cannot judge a part."""
        few = worth_a_glance(self.evaluator.count) if self.evaluator else None
        if self.evaluator is None or few is None:
            return None
        try:
            part = self.evaluator.part(found, self._reference[0], few, GROUPS, stage)
        except ConvkitError:  # such as none of these images showing an object
            return None
        return None if part is None else glance(part)

    @property
    def repairs(self) -> tuple[tuple[str, OptionValue], ...]:
        """Options of the quantizer worth trying before more stays in float."""
        step = self.approach.step
        converter = self.session.registry.converters[step.converter]
        return tuple(
            (option.name, value)
            for option in converter.options
            for value in option.repairs
            if value != step.options.get(option.name, option.default)
        )

    @cached_property
    def full(self) -> Built | None:
        """The target with everything in integers, but for what was asked for; None where it cannot
        be made or run."""
        with self.session.stage("everything in integers") as stage:
            try:
                built = self.build(FULL, {}, stage)
            except ConvkitError as error:  # with less in integers it may work: the search will see
                stage.outcome, stage.detail = "failed", error.message
                return None
            stage.detail = f"{built.sqnr_db:.1f} dB"
            return built

    @cached_property
    def integer(self) -> Collection[str]:
        """Names of layers that compute in integers when nothing more is kept in float; all of them
        where that cannot be told."""
        spared = {name for rule in self.asked for name in rule.layers}
        if self.full is None:
            return frozenset(layer.name for layer in self.layers) - spared
        return integer_layers(self.layers, self.full.found) - spared

    def _check_telling(self) -> None:
        """Outputs that are the same whatever goes in agree with anything.

        Raises:
            UsageError: no output varies on the samples.
        """
        found, outputs = self._reference
        slices, _ = compare_outputs(found.artifact, found.artifact, outputs, outputs)
        if slices and all(s.constant for s in slices):
            kind = "random inputs" if self.samples.synthetic else "samples"
            raise UsageError(
                f"the float model's outputs do not vary on the {kind}, so nothing can be measured",
                hint="Give real samples that differ from each other: --calibration PATH.",
            )

    def _judge(self) -> tuple[Found, Path]:
        """The original and its outputs; where nothing runs it, its twin's."""
        for found in (self.source, self.approach.twin):
            outputs = outputs_of(self.session, found.artifact, self.samples)
            if outputs is not None:
                return found, outputs
        raise NoPathError(
            f"no installed runner executes {self.source.state.format} files,"
            f" nor {self.approach.twin.state.format} files"
        )


def integer_layers(layers: Sequence[LayerInfo], full: Found) -> frozenset[str]:
    """Layers of a float model that its quantized form computes in integers. One that the quantized
    file does not name may have been fused into another, and counts as one of integers."""
    compute = {layer.name: layer.compute for layer in full.inspection.layers}
    known = sum(layer.name in compute for layer in layers)
    if 2 * known < len(layers):
        return frozenset(layer.name for layer in layers)
    return frozenset(layer.name for layer in layers if "int" in compute.get(layer.name, "int8"))


def combined_db(slices: Sequence[SliceAgreement]) -> float:
    """SQNR over the mean of the slices' relative errors; slices that the reference does not vary
    in prove nothing and are left out, unless all are such."""
    telling = [s for s in slices if not s.constant] or list(slices)
    if not telling or any(s.non_finite for s in telling):
        return float("-inf")
    return decibels(sum(error_power(s.sqnr_db) for s in telling) / len(telling))
