"""What of an analysis can be chosen: which trials, in which order, and how each is had again."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from convkit.engine.patterns import Exclusion
from convkit.plans import OptionValue
from convkit.report import words
from convkit.report.palette import split_state
from convkit.sensitivity import Sensitivity, Trial

MOST = 150
"""Positions of a slider; of more, those that were only predicted are left out."""

LINE = 96
"""Letters of a command on one line."""


def scored(s: Sensitivity) -> bool:
    """The metric of a task decides; else the SQNR does."""
    return bool(s.metric) and any(t.drop is not None for t in s.trials if t.measured)


def accuracy(s: Sensitivity, trial: Trial) -> float | None:
    """What decides, more is better; None where it was not measured.

    The metric's difference to the float model's, or the SQNR in dB.
    """
    if not trial.measured:
        return None
    value = trial.sqnr_db if not scored(s) else None if trial.drop is None else -trial.drop
    return None if value is None or math.isnan(value) else value


def price(s: Sensitivity, trial: Trial) -> float:
    """The time over the float model's where any was measured or predicted, else the share of
    multiply-accumulates in float, else the share of the layers."""
    if any(t.time is not None or t.predicted_time is not None for t in s.trials):
        known = trial.time if trial.time is not None else trial.predicted_time
    elif any(t.float_macs is not None for t in s.trials):
        known = trial.float_macs
    else:
        known = len(kept(s, trial)) / max(1, len(s.rows))
    return math.inf if known is None or math.isnan(known) else known


def kept(s: Sensitivity, trial: Trial) -> tuple[str, ...]:
    """The layers that the quantizer is told to spare."""
    return s.recipe_of(trial).float_layers or trial.float_layers


def chosen(s: Sensitivity) -> Trial | None:
    """The chosen trial; None where the document names none that it has."""
    return next((t for t in s.trials if t.name == s.chosen), None)


def baseline(s: Sensitivity) -> Trial | None:
    """The trial that keeps nothing in float but what the user asked for, with plain options."""
    plain = [t for t in s.trials if not t.regions and not t.float_layers and not t.error]
    return min(plain, key=lambda t: (t.phase != "baseline", len(t.options)), default=None)


def ordered(s: Sensitivity) -> list[Trial]:
    """What a slider goes through, from the most integers to the most accuracy.

    Those that were measured go by their accuracy, then by price. One that was only predicted has
    no accuracy to compare with: it stands behind the last one that costs no more.
    """
    usable = [t for t in s.trials if not t.error]
    tested = [t for t in usable if t.measured]
    worth = {t.name: accuracy(s, t) for t in tested}
    line = sorted(
        (t for t in tested if worth[t.name] is not None),
        key=lambda t: (worth[t.name] or 0.0, price(s, t)),
    )
    costs = [price(s, t) for t in line]
    guesses = [t for t in usable if not t.measured]
    best = sorted(guesses, key=lambda t: -math.inf if t.predicted_db is None else t.predicted_db)
    others = [t for t in tested if worth[t.name] is None]
    others += best[::-1][: max(0, MOST - len(tested))]
    for cost, trial in sorted(((price(s, t), t) for t in others), key=lambda pair: pair[0]):
        place = 1 + max((n for n, other in enumerate(costs) if other <= cost), default=-1)
        line.insert(place, trial)
        costs.insert(place, cost)
    return line


def main(s: Sensitivity) -> frozenset[str]:
    """Names of the trials that are worth a look at first: those that nothing else beats, the
    chosen one, the one that keeps nothing in float, and guesses better than cheaper guesses."""
    plain = baseline(s)
    names = {*s.front, s.chosen} | ({plain.name} if plain is not None else set())
    most = -math.inf
    guesses = [t for t in s.trials if t.phase == "predicted" and not t.error]
    for trial in sorted(guesses, key=lambda t: (price(s, t), -(t.predicted_db or -math.inf))):
        if trial.predicted_db is not None and trial.predicted_db > most:
            most = trial.predicted_db
            names.add(trial.name)
    return frozenset(names)


def command(s: Sensitivity, trial: Trial, exclusion: Exclusion) -> str:
    """The command line that makes the model with this choice."""
    parts = [f"convkit quantize {shlex.quote(s.model)} --to {s.target}"]
    if _calibrated(s.target):
        parts.append("--calibration DIR")
    if s.converter:
        parts.append(f"--converter {shlex.quote(s.converter)}")
    parts += [f"-O {shlex.quote(f'{name}={value}')}" for name, value in _options(s, trial).items()]
    parts += [f"--exclude {shlex.quote(pattern)}" for pattern in exclusion.patterns]
    parts += [f"--exclude-op {shlex.quote(kind)}" for kind in exclusion.operators]
    if not exclusion.patterns and not exclusion.operators:
        parts.append("--keep-float none")
    line = " ".join(parts)
    return line if len(line) <= LINE else " \\\n  ".join(_filled(parts))


def call(s: Sensitivity, trial: Trial, exclusion: Exclusion) -> str:
    """The same in Python."""
    arguments = [_quoted(s.model), f"to={_quoted(s.target)}"]
    if _calibrated(s.target):
        arguments.append('calibration="DIR"')
    steering = [f"converters={_sequence([s.converter])}"] if s.converter else []
    options = _options(s, trial)
    if options:
        pairs = ", ".join(f"{_quoted(key)}: {_quoted(value)}" for key, value in options.items())
        steering.append(f"options={{{pairs}}}")
    if steering:
        arguments.append(_made("steering", "Steering", steering))
    settings: list[str] = []
    if exclusion.patterns:
        settings.append(f"exclude={_sequence(exclusion.patterns)}")
    if exclusion.operators:
        settings.append(f"exclude_ops={_sequence(exclusion.operators)}")
    arguments.append(_made("settings", "Settings", settings or ['keep_float="none"']))
    inside = "".join(f"    {argument},\n" for argument in arguments)
    return f"import convkit\n\nconvkit.convert(\n{inside})"


def how(trial: Trial) -> str:
    """Where a trial's figures come from, in words."""
    if trial.phase == "predicted":
        return "predicted, not built"
    return "measured, after pruning" if trial.phase == "prune" else "measured"


def difference(trial: Trial) -> str:
    """The metric's distance to the float model's, with its sign."""
    if trial.drop is None:
        return words.NONE
    return f"{'about ' if trial.part else ''}{words.change(-trial.drop or 0.0)}"


def metric(trial: Trial) -> str:
    """The metric, and of how many samples if not of all."""
    part = f" of the first {words.count(trial.part, 'sample')}" if trial.part else ""
    return f"{words.score(trial.metric)}{part}"


def summary(s: Sensitivity, trial: Trial) -> str:
    """One line: what is kept, what it costs and what it is worth."""
    layers = len(kept(s, trial))
    parts = [f"{words.count(layers, 'layer')} in float" if layers else "nothing in float"]
    parts += [f"{name} {value}" for name, value in sorted(trial.options.items())]
    if trial.drop is not None:
        parts.append(f"{s.metric or 'metric'} {difference(trial)}")
    elif trial.sqnr_db is not None:
        parts.append(f"SQNR {words.decibels(trial.sqnr_db)}")
    elif trial.predicted_db is not None:
        parts.append(f"SQNR {words.decibels(trial.predicted_db)} predicted")
    if trial.time is not None:
        parts.append(f"{words.figure(trial.time)} of the float model's time")
    elif trial.predicted_time is not None:
        parts.append(f"{words.figure(trial.predicted_time)} of the float model's time predicted")
    if trial.size_bytes is not None:
        parts.append(words.size(trial.size_bytes))
    return ", ".join(parts)


def broken_limits(s: Sensitivity, trial: Trial) -> list[str]:
    """The limits that a trial misses, in words; of those that it was measured for."""
    broken = []
    if s.max_drop is not None and trial.drop is not None and not trial.drop <= s.max_drop:
        broken.append(f"loses more than {s.max_drop:g}")
    if s.max_time is not None and trial.time is not None and not trial.time <= s.max_time:
        broken.append(f"takes more than {s.max_time:g} of the float model's time")
    if s.max_size is not None and trial.size_bytes is not None and trial.size_bytes > s.max_size:
        broken.append(f"is larger than {words.size(s.max_size)}")
    return broken


def _options(s: Sensitivity, trial: Trial) -> dict[str, OptionValue]:
    """Of the quantizer alone: others may have options of the same name."""
    prefix = f"{s.converter}." if s.converter else ""
    return {f"{prefix}{name}": value for name, value in sorted(trial.options.items())}


def _made(name: str, kind: str, arguments: Sequence[str]) -> str:
    """An argument that is made on the spot, as source code."""
    inside = "".join(f"        {argument},\n" for argument in arguments)
    return f"{name}=convkit.{kind}(\n{inside}    )"


def _calibrated(target: str) -> bool:
    """Static integers need data."""
    return split_state(target)[1] == "int8"


def _filled(parts: Sequence[str]) -> list[str]:
    """Parts joined to lines that are not too long."""
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines) == 1 or len(lines[-1]) + len(part) + 5 > LINE:
            lines.append(part)
        else:
            lines[-1] += f" {part}"
    return lines


def _sequence(texts: Sequence[str]) -> str:
    """A tuple as source code."""
    line = f"({', '.join(map(_quoted, texts))}{',' if len(texts) == 1 else ''})"
    if len(line) <= LINE - 20:
        return line
    inside = "".join(f"            {_quoted(text)},\n" for text in texts)
    return f"(\n{inside}        )"


def _quoted(value: OptionValue) -> str:
    """A value as source code, strings in the quotes that people use."""
    plain = repr(value)
    return f'"{plain[1:-1]}"' if plain[0] == "'" and '"' not in plain else plain
