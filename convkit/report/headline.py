"""The answer in one sentence, and which models it speaks of."""

from __future__ import annotations

from collections.abc import Sequence

from convkit.comparison import Comparison
from convkit.report import choices, words
from convkit.report.entries import Entry, entries, made, metric_name
from convkit.sensitivity import Sensitivity

KEEPS = 0.01
"""A model keeps the original's metric if it loses at most this share of it."""

ALIKE = 0.03
"""Sizes that differ by a smaller share are called about the same."""

NAME = 48
"""Letters that a name may have in the headline."""

MOSTLY_INTEGER = 0.9
"""An int8 model with a smaller share of its multiply-accumulates in integers is said to be so."""


def headline(comparison: Comparison) -> str:
    """What was made, and how good, fast and small the best of it is."""
    everything = entries(comparison)
    files = made(everything)
    failed = sum(bool(e.model.error) for e in everything)
    source = words.middle(_source(everything, comparison), NAME)
    if not files:
        if failed:
            return f"Nothing could be made from {source}: {words.count(failed, 'attempt')} failed."
        return (
            f"{source}: {', '.join(_figures(everything[0], comparison)) or 'nothing to compare'}."
        )
    if len(files) == 1:
        sentence = _of_one(files[0], source, comparison)
        lost = f" {words.count(failed, 'other file')} could not be made." if failed else ""
    else:
        lost = f", {failed} could not be made" if failed else ""
        sentence = f"{len(files)} files made from {source}{lost}. {_best(files, comparison)}"
        lost = ""
    return f"{sentence}{lost}{_integers(files)}"


def analysis_headline(s: Sensitivity) -> str:
    """The finding in one or two sentences: which choice, what it is worth, what is not in
    integers."""
    said = s.notes[0] if s.notes else _computed_headline(s)
    found = choices.chosen(s)
    share = None if found is None else found.float_macs
    if share is not None and 1 - share < MOSTLY_INTEGER and "in integers" not in said:
        said += f" Only {words.percent(1 - share)} of its multiply-accumulates are in integers."
    return said


def _computed_headline(s: Sensitivity) -> str:
    found = choices.chosen(s)
    if found is None:
        return f"Nothing could be found out about {s.target} of {s.model}."
    return f"{s.target} of {s.model}: {choices.summary(s, found)}."


def _source(everything: Sequence[Entry], comparison: Comparison) -> str:
    """The original's file, which need not be its title."""
    known = (e.model.manifest.source_name for e in everything if e.model.manifest is not None)
    return next(known, everything[0].title if everything else comparison.title)


def _of_one(entry: Entry, source: str, comparison: Comparison) -> str:
    figures = _figures(entry, comparison)
    state = "" if entry.title == entry.model.state else f" ({entry.model.state})"
    return f"{_name(entry)}{state}, made from {source}: {', '.join(figures)}."


def _best(files: Sequence[Entry], comparison: Comparison) -> str:
    name = metric_name(comparison)
    keeping = keepers(files, comparison)
    if comparison.benchmark is not None:
        best = fastest(keeping)
        if best is not None:
            among = f" that keeps its {name}" if name else ""
            return f"The fastest{among}: {_praise(best, comparison)}."
        overall = fastest(files)
        if overall is not None:
            return (
                f"None of the faster ones keeps its {name}; the fastest is "
                f"{_praise(overall, comparison)}."
            )
        start = "None is measurably faster than the original"
        small = smallest(keeping)
        return f"{start}; {_smallest(small, name, comparison)}" if small else f"{start}."
    small = smallest(keeping)
    if small is None:
        return f"None keeps its {name}." if name else ""
    text = _smallest(small, name, comparison)
    return text[0].upper() + text[1:]


def _smallest(entry: Entry, name: str, comparison: Comparison) -> str:
    among = f" that keeps its {name}" if name else ""
    return f"the smallest{among} is {_praise(entry, comparison)}."


def _praise(entry: Entry, comparison: Comparison) -> str:
    return ", ".join([_name(entry), *_figures(entry, comparison)])


def _name(entry: Entry) -> str:
    return words.middle(entry.title, NAME)


def keepers(files: Sequence[Entry], comparison: Comparison) -> list[Entry]:
    """Those that lose at most `KEEPS` of the metric; all of them where none was measured."""
    values = {e.title: e.value for e in entries(comparison)}
    reference = comparison.evaluation.reference if comparison.evaluation is not None else ""
    original = values.get(reference)
    if comparison.evaluation is None:
        return list(files)
    if original is None:
        return []
    least = original - KEEPS * abs(original)
    return [e for e in files if e.value is not None and e.value >= least]


def fastest(files: Sequence[Entry]) -> Entry | None:
    """The fastest of those that are called faster than the original."""
    faster = [e for e in files if e.ratio is not None and e.ratio.verdict == "faster"]
    return min(faster, key=lambda e: e.ratio.value if e.ratio else 1.0, default=None)


def smallest(files: Sequence[Entry]) -> Entry | None:
    """The one with the smallest file."""
    return min((e for e in files if e.size), key=lambda e: e.size or 0, default=None)


def best(files: Sequence[Entry]) -> Entry | None:
    """The one with the highest metric; among equals the fastest, then the smallest."""
    return max(
        (e for e in files if e.value is not None),
        key=lambda e: (round(e.value or 0.0, 4), -(e.seconds or float("inf")), -(e.size or 0)),
        default=None,
    )


def _figures(entry: Entry, comparison: Comparison) -> list[str]:
    """Speed, quality and size in words, as far as they are known."""
    figures = []
    if entry.ratio is not None:
        figures.append(speed_words(entry))
    elif entry.seconds is not None:
        figures.append(f"{words.time(entry.seconds)} an inference")
    if entry.metric is not None:
        figures.append(quality_words(entry))
    elif entry.verification is not None:
        figures.append(agreement_words(entry))
    if entry.size is not None:
        figures.append(size_words(entry, comparison))
    return figures


def speed_words(entry: Entry) -> str:
    """`2.3 times as fast`; the verdict where there is no difference to speak of."""
    ratio = entry.ratio
    assert ratio is not None
    if ratio.verdict == "faster" and ratio.value > 0:
        return f"{words.figure(1 / ratio.value, 2)} times as fast"
    if ratio.verdict == "slower":
        return f"{words.figure(ratio.value, 2)} times as slow"
    if ratio.verdict == "equal":
        return "as fast as the original"
    return "no difference in speed that can be told"


def quality_words(entry: Entry) -> str:
    """`coco-map 0.9120 (+0.0012)`."""
    metric = entry.metric
    assert metric is not None
    difference = f" ({words.change(entry.change)})" if entry.change is not None else ""
    return f"{metric.name} {words.score(metric.value)}{difference}"


def agreement_words(entry: Entry) -> str:
    """What verification says of the file."""
    found = entry.verification
    assert found is not None
    if found.verdict == "unproven" or not found.slices:
        return "agreement with the original unproven"
    if found.sqnr_db == float("inf"):
        return "equal to the original on every output"
    plain = found.verdict == "ok"
    good = "agrees with the original" if plain else f"agreement with the original {found.verdict}"
    return f"{good}, {words.decibels(found.sqnr_db)} at worst"


def size_words(entry: Entry, comparison: Comparison) -> str:
    """`541 kB, 0.29 of the original`."""
    original = entries(comparison)[0]
    text = words.size(entry.size)
    if entry.size is not None and original.size is not None and not entry.original:
        share = entry.size / original.size
        if abs(share - 1) <= ALIKE:
            return f"{text}, about the original's size"
        text += f", {words.figure(share, 2)} of the original's size"
    return text


def _integers(files: Sequence[Entry]) -> str:
    """Which int8 files compute mostly in float, if any."""
    poor = [
        (e, e.integer_share)
        for e in files
        if e.integer_share is not None and e.integer_share < MOSTLY_INTEGER
    ]
    if not poor:
        return ""
    if len(files) == 1:
        share = words.percent(poor[0][1])
        return f" Only {share} of its multiply-accumulates are in integers."
    if len(poor) == 1:
        entry, part = poor[0]
        name = _name(entry)
        return f" Only {words.percent(part)} of {name}'s multiply-accumulates are in integers."
    names = words.enumerate_words([f"{_name(e)} {words.percent(s)}" for e, s in poor])
    return f" Multiply-accumulates in integers are few in {names}."
