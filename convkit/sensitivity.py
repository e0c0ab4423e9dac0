"""What an analysis found: how much each layer suffers from integers, what was tried, what to spare.

Errors are relative powers: the mean square of what quantizing does to an output slice over the mean
square of the slice, averaged over slices; `decibels` of one is the SQNR that people know.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from convkit.codec import encode
from convkit.plans import OptionValue
from convkit.quant import QuantRecipe, QuantRule

RegionKind = Literal["layer", "module", "stretch", "output", "kind"]
Phase = Literal["baseline", "ladder", "repair", "search", "prune", "predicted"]

INTEGER_SHARE = 0.9
"""A file called int8 is expected to do so much of its arithmetic in integers; where it does less,
that is said first."""


def decibels(error: float) -> float:
    """The SQNR in dB of a relative error power; infinity for 0."""
    return -10.0 * math.log10(error) if error > 0 else math.inf


def error_power(sqnr_db: float) -> float:
    """The relative error power of an SQNR in dB; 0 for infinity."""
    return float(10.0 ** (-sqnr_db / 10.0))


@dataclass(frozen=True)
class SensitivityRow:
    """One layer of the float model in the target's format.

    Attributes:
        layer, op_type, scope: see `LayerInfo`.
        activation: error at the outputs if its result alone were quantized; None where no ranker
            could tell.
        weights: the same for its weights alone; None where it has none, or no ranker could tell.
        integer: it computes in integers when nothing is kept in float.
        kept: the chosen recipe keeps it in float.
    """

    layer: str
    op_type: str
    scope: str = ""
    activation: float | None = None
    weights: float | None = None
    macs: int = 0
    parameter_count: int = 0
    integer: bool = True
    kept: bool = False

    @property
    def error(self) -> float:
        """Of both together, as if they were independent."""
        return (self.activation or 0.0) + (self.weights or 0.0)


@dataclass(frozen=True)
class Region:
    """Layers that stay in float together.

    Attributes:
        name: unique in the analysis; readable.
        kind: `layer` (one, with the activation behind it), `module` (of the original source),
            `stretch` (consecutive in the order of execution), `output` (the post-processing) or
            `kind` (all of one structure, such as normalizations).
        reason: why it was proposed.
    """

    name: str
    kind: RegionKind
    layers: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True)
class Trial:
    """One choice of what stays in float.

    Attributes:
        name: unique in the analysis.
        regions: names of the regions that stay in float.
        phase: `predicted` was never built; the others were measured in the target's runtime.
        predicted_db: SQNR over all output slices that the ranking expects; None without one.
        sqnr_db: SQNR of the worst output slice, measured.
        metric, drop: of the task, measured, and what is lost against the float model.
        part: so many samples, the first ones, were scored where they left no doubt that more is
            lost than may be; 0 where all were.
        float_macs: share of the multiply-accumulates in float, 0..1.
        price: share of the float model's work that is done in float, conversions between integers
            and float included, told from the graph; what choices are ordered by.
        islands: connected groups of float layers between integer ones.
        predicted_time, time: of one inference over the float model's; `time_low`, `time_high` bound
            the measured one (95 %).
        options: of the quantizer, where they are not those it was planned with: repairs.
        error: why it could not be built or run.
    """

    name: str
    regions: tuple[str, ...] = ()
    float_layers: tuple[str, ...] = ()
    phase: Phase = "search"
    predicted_db: float | None = None
    sqnr_db: float | None = None
    metric: float | None = None
    drop: float | None = None
    part: int = 0
    size_bytes: int | None = None
    float_macs: float | None = None
    price: float | None = None
    islands: int = 0
    predicted_time: float | None = None
    time: float | None = None
    time_low: float | None = None
    time_high: float | None = None
    seconds: float = 0.0
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    error: str = ""

    @property
    def measured(self) -> bool:
        """It was built and run."""
        return self.phase != "predicted" and not self.error

    def within(self, max_time: float | None, max_size: float | None) -> bool:
        """Whether it keeps limits, None for any: on time by what was measured, else by what was
        predicted."""
        time = self.time if self.time is not None else self.predicted_time
        slow = max_time is not None and (time is None or time > max_time)
        large = max_size is not None and (self.size_bytes or 0) > max_size
        return not slow and not large


@dataclass(frozen=True)
class Cost:
    """What the analysis took.

    Attributes:
        float_passes: time of the ranking over that of one float pass over the same samples.
        forward, backward: passes that the ranking made, per sample.
        builds: quantized models that were made and run on a few samples.
        evaluations: of these, scored on the whole data set; and the float model.
        partial: looks at a part of the data set, as shares of it, added up.
        budget: the most builds that were allowed.
    """

    float_passes: float = 0.0
    forward: int = 0
    backward: int = 0
    builds: int = 0
    evaluations: int = 0
    partial: float = 0.0
    budget: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Sensitivity:
    """What an analysis found.

    Attributes:
        model: the source file's name.
        target, converter: the state that was analysed, and the quantizer.
        ranker: which ranker told the errors of single layers; empty where none could.
        metric: empty where there were no labels; then `sqnr_db` decides.
        max_drop, min_sqnr: what is asked of the metric, or of the outputs (dB) where there is none.
        max_time, max_size: limits, the time over float's, the size in bytes; None where not asked
            for.
        filled: the most accurate choice within those limits was looked for, not the cheapest one.
        reached: the chosen trial keeps all limits.
        rows: in execution order.
        trials: in the order in which they were thought of.
        chosen: name of a trial.
        front: names of those trials that no other beats in accuracy and time.
        asked: what the user wants in float, besides whatever is chosen.
        notes: for people; the first one is the headline.
        warnings: what makes the finding doubtful.
    """

    convkit: str
    model: str
    target: str
    converter: str
    ranker: str
    samples: int
    float_size: int
    reached: bool
    chosen: str
    rows: tuple[SensitivityRow, ...]
    regions: tuple[Region, ...]
    trials: tuple[Trial, ...]
    front: tuple[str, ...] = ()
    metric: str = ""
    data: str = ""
    float_metric: float | None = None
    max_drop: float | None = None
    min_sqnr: float | None = None
    max_time: float | None = None
    max_size: int | None = None
    filled: bool = False
    cost: Cost = Cost()
    asked: tuple[QuantRule, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def trial(self, name: str) -> Trial:
        """A trial by name.

        Raises:
            KeyError: there is none.
        """
        for trial in self.trials:
            if trial.name == name:
                return trial
        raise KeyError(name)

    @property
    def choice(self) -> Trial:
        """The chosen trial."""
        return self.trial(self.chosen)

    def recipe_of(self, trial: Trial) -> QuantRecipe:
        """What a quantizer is to be told for a trial."""
        known = {region.name: region for region in self.regions}
        rules = tuple(
            QuantRule(known[name].layers, f"{name}: {known[name].reason}".rstrip(": "))
            for name in trial.regions
        )
        return QuantRecipe(trial.name, (*self.asked, *rules))

    @property
    def recipe(self) -> QuantRecipe:
        """What a quantizer is to be told for the chosen trial."""
        return self.recipe_of(self.choice)

    def to_json(self) -> Any:
        """As plain data."""
        return encode(self)
