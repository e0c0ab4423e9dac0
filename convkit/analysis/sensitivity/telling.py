"""What an analysis found, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from convkit.sensitivity import INTEGER_SHARE, Sensitivity, Trial

CLEARLY = 1.0
"""dB by which outputs are better beyond doubt."""


def notes(report: Sensitivity) -> tuple[str, ...]:
    """The headline first."""
    choice = report.choice
    said = [_headline(report, choice)]
    full = next((t for t in report.trials if t.phase == "baseline"), None)
    if full is not None and full.name != choice.name:
        said.append(f"With nothing in float: {_accuracy(report, full)}.")
    if choice.time is not None:
        text = f"One inference takes {choice.time:.2f} of the float model's time"
        if full is not None and full.time is not None and full.name != choice.name:
            text += f"; with nothing in float {full.time:.2f}"
        said.append(text + ".")
        if choice.time_low is not None and choice.time_low > 1.0:
            said.append("On this processor integers are slower than float for this model.")
    if report.filled:
        said.append(_within(report, choice))
    elif not report.reached:
        said.append(_short_of(report))
    if not report.ranker and any(t.phase == "search" for t in report.trials):
        said.append("Layers could not be ranked; regions were tried by structure alone.")
    ups = _surprises(report)
    if ups:
        said.append(ups)
    return tuple(said)


def noisy(trials: Sequence[Trial], max_drop: float) -> tuple[str, ...]:
    """Where the metric got worse although the outputs got better, by more than may be lost: what it
    tells of differences that small is chance."""
    worst: tuple[float, Trial, Trial] | None = None
    scored = [t for t in trials if t.drop is not None and t.sqnr_db is not None and not t.part]
    for one in scored:
        for other in scored:
            assert one.drop is not None and other.drop is not None
            assert one.sqnr_db is not None and other.sqnr_db is not None
            worse = other.drop - one.drop
            better = other.sqnr_db >= one.sqnr_db + CLEARLY
            if better and worse > max(max_drop, worst[0] if worst else 1e-9):
                worst = (worse, one, other)
    if worst is None:
        return ()
    worse, one, other = worst
    return (
        f"the metric is noisier than --max-drop {max_drop:g}: {other.name!r} has better outputs"
        f" than {one.name!r}, {other.sqnr_db:.1f} against {one.sqnr_db:.1f} dB, and scores"
        f" {worse:.4f} less; score more samples, or allow a larger drop",
    )


def _headline(report: Sensitivity, choice: Trial) -> str:
    share = 1.0 - (choice.float_macs or 0.0)
    kept = len(choice.float_layers)
    what = (
        f"{kept} of {len(report.rows)} layers stay in float" if kept else "nothing stays in float"
    )
    text = f"{report.target}: {what}, {_accuracy(report, choice)}"
    if share < INTEGER_SHARE:
        text = f"Only {share:.0%} of the arithmetic runs in integers. " + text
    else:
        text += f", {share:.1%} of the arithmetic in integers"
    goals = [f"a drop of {report.max_drop:g}"] if report.max_drop is not None else []
    goals += [f"{report.min_sqnr:g} dB"] if report.min_sqnr is not None else []
    return f"{text}. The goal of {' and '.join(goals)} is {'met' if report.reached else 'missed'}."


def _within(report: Sensitivity, choice: Trial) -> str:
    """What was found within limits that were to be filled."""
    limits = [f"{report.max_time:g} of float's time"] if report.max_time is not None else []
    limits += [f"{report.max_size / 1e6:g} MB"] if report.max_size is not None else []
    if not choice.within(report.max_time, report.max_size):
        return f"Nothing that was tried keeps the limit of {' and '.join(limits)}."
    return f"It is the most accurate that was found within {' and '.join(limits)}."


def _accuracy(report: Sensitivity, trial: Trial) -> str:
    parts = []
    if trial.metric is not None and trial.drop is not None:
        part = f" on the first {trial.part} samples, beyond doubt too much" if trial.part else ""
        parts.append(f"{report.metric} {trial.metric:.4f} ({-trial.drop:+.4f}{part})")
    if trial.sqnr_db is not None:
        parts.append(f"{trial.sqnr_db:.1f} dB")
    return ", ".join(parts) or "not measured"


def _short_of(report: Sensitivity) -> str:
    cost = report.cost
    if cost.builds >= cost.budget:
        return f"The budget of {cost.budget} builds was used up; a larger --budget looks further."
    return "No further region gained anything: better calibration data or 16 bits may help."


def _surprises(report: Sensitivity) -> str:
    """More float is not always better; where it was not, that is said."""
    worse = []
    trials = [t for t in report.trials if t.measured and t.sqnr_db is not None]
    for one in trials:
        for other in trials:
            if set(one.float_layers) < set(other.float_layers) and (
                (other.sqnr_db or 0.0) < (one.sqnr_db or 0.0) - 1.0
            ):
                worse.append((one, other))
    if not worse:
        return ""
    one, other = worse[0]
    more = f" (and {len(worse) - 1} more such pairs)" if len(worse) > 1 else ""
    return (
        f"Errors interact: {other.name} keeps more in float than {one.name} and is worse,"
        f" {other.sqnr_db:.1f} against {one.sqnr_db:.1f} dB{more}."
    )
