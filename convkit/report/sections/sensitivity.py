"""Layer by layer: what integers do to each of them, and what each choice of float is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from convkit.engine.patterns import Naming
from convkit.quant import LayerInfo
from convkit.report import choices, words
from convkit.report.blocks import (
    Block,
    Budget,
    Cell,
    Choice,
    Code,
    Column,
    Details,
    Explorer,
    Facts,
    Note,
    Section,
    Status,
    Table,
    Text,
)
from convkit.report.headline import analysis_headline
from convkit.report.modules import error_shares, heat_map, share_words
from convkit.report.sections.layer_choices import CHART, choices_chart, mark_of
from convkit.sensitivity import Sensitivity, Trial, decibels

WORST = 30
"""Layers in the list of those that suffer most."""

ID = "layers"


def sensitivity(s: Sensitivity, alone: bool = False) -> Section:
    """The analyzer's part of the page, for `write_report(..., further=[sensitivity(found)])`.

    Args:
        alone: it is all that the page is about, whose first line is its headline.
    """
    blocks: list[Block] = [] if alone else [Text(analysis_headline(s))]
    blocks += _notes(s)
    line = choices.ordered(s)
    chart = choices_chart(s, line)
    if line:
        blocks.append(_explorer(s, line, chart is not None))
    else:
        blocks.append(heat_map(s.rows))
    if chart is not None:
        blocks.append(chart)
    blocks += [*_trials(s), *_worst(s), _making(s)]
    return Section("sensitivity", "Layer by layer", blocks)


def _notes(s: Sensitivity) -> list[Block]:
    blocks: list[Block] = []
    limits = s.max_drop is not None or s.max_time is not None or s.max_size is not None
    if limits and not s.reached:
        chosen = choices.chosen(s)
        missed = tuple(choices.broken_limits(s, chosen)) if chosen is not None else ()
        blocks.append(Note("No choice that was tried keeps all limits", "bad", missed))
    if s.warnings:
        blocks.append(Note("What makes this doubtful", "warn", s.warnings))
    if s.notes[1:]:
        blocks.append(Note("To know", "unknown", s.notes[1:]))
    return blocks


def _explorer(s: Sensitivity, line: Sequence[Trial], drawn: bool) -> Explorer:
    naming = Naming([LayerInfo(r.layer, r.op_type, scope=r.scope) for r in s.rows])
    places = {row.layer: place for place, row in enumerate(s.rows)}
    shown = choices.main(s)
    names = [trial.name for trial in line]
    plain = choices.baseline(s)
    start = s.chosen if s.chosen in names else plain.name if plain is not None else names[0]
    return Explorer(
        ID,
        "Accuracy budget",
        ("more in integers", "more accurate"),
        tuple(_choice(s, trial, naming, places, shown, drawn) for trial in line),
        names.index(start) if start in names else 0,
        heat_map(s.rows),
        _budget(s),
        CHART if drawn else "",
    )


def _budget(s: Sensitivity) -> Budget | None:
    if not any(choices.accuracy(s, t) is not None for t in s.trials):
        return None
    if choices.scored(s):
        return Budget("may lose at most", f"of {s.metric}", -1, s.max_drop)
    return Budget("needs an SQNR of at least", "dB", 1)


def _choice(
    s: Sensitivity,
    trial: Trial,
    naming: Naming,
    places: Mapping[str, int],
    shown: frozenset[str],
    drawn: bool,
) -> Choice:
    kept = choices.kept(s, trial)
    exclusion = naming.of(kept)
    broken = choices.broken_limits(s, trial)
    blocks: list[Block] = [_figures(s, trial)]
    if broken:
        blocks.append(Note("Misses a limit", "bad", tuple(broken)))
    blocks.append(_regions(s, trial))
    blocks.append(Code("The command", choices.command(s, trial, exclusion)))
    blocks.append(
        Details(
            "The same in Python", (Code("The call", choices.call(s, trial, exclusion)),), bulk=True
        )
    )
    badge: tuple[Status, str] = ("unknown", choices.how(trial))
    if trial.name == s.chosen:
        badge = ("good" if s.reached else "warn", "chosen")
    return Choice(
        trial.name,
        _read_out(s, trial),
        tuple(blocks),
        mark_of(s, trial) if drawn else "",
        badge,
        frozenset(places[name] for name in kept if name in places),
        trial.name in shown,
        _comparable(choices.accuracy(s, trial)),
        _comparable(choices.price(s, trial)) or 0.0,
    )


def _comparable(value: float | None) -> float | None:
    """A number that a browser reads; equal outputs have infinitely many dB."""
    return None if value is None else max(-1e9, min(value, 1e9))


def _read_out(s: Sensitivity, trial: Trial) -> str:
    what = "chosen" if trial.name == s.chosen else choices.how(trial)
    return f"{choices.summary(s, trial)} ({what})"


def _figures(s: Sensitivity, trial: Trial) -> Table:
    """What was predicted beside what was measured, and the limits."""
    span = ""
    if trial.time_low is not None and trial.time_high is not None:
        span = words.span(trial.time_low, trial.time_high)
    part = trial.size_bytes / s.float_size if trial.size_bytes and s.float_size else None
    share = f"{words.figure(part)} of the float file's" if part is not None else ""
    drop = f"{words.MINUS}{s.max_drop:g}" if s.max_drop is not None else ""
    slow = words.times(s.max_time) if s.max_time is not None else ""
    large = words.size(s.max_size) if s.max_size is not None else ""
    guess, found = trial.predicted_time, trial.time
    lines = [
        ("SQNR", words.decibels(trial.predicted_db), words.decibels(trial.sqnr_db), "", ""),
        (s.metric or "metric", words.NONE, choices.metric(trial), "", ""),
        ("change against float", words.NONE, choices.difference(trial), "", drop),
        ("time over float", words.times(guess), words.times(found), span, slow),
        ("size", words.NONE, words.size(trial.size_bytes), share, large),
    ]
    rows = [
        (Cell(name), Cell(predicted), Cell(measured, _detail(detail, limit)))
        for name, predicted, measured, detail, limit in lines
        if {predicted, measured} != {words.NONE}
    ]
    count = len(choices.kept(s, trial))
    structure = (
        ("layers in float", f"{count} of {len(s.rows)}"),
        ("MACs in float", words.percent(trial.float_macs, 1)),
        ("islands of float", str(trial.islands)),
    )
    rows += [
        (Cell(name), Cell(words.NONE), Cell(value))
        for name, value in structure
        if value != words.NONE
    ]
    columns = (Column(""), Column("predicted", numeric=True), Column("measured", numeric=True))
    return Table(f"What is known of: {trial.name}", columns, tuple(rows), quiet=True)


def _detail(detail: str, limit: str) -> str:
    return ", ".join(filter(None, (detail, limit and f"limit {limit}")))


def _regions(s: Sensitivity, trial: Trial) -> Block:
    known = {region.name: region for region in s.regions}
    shares = dict(zip([row.layer for row in s.rows], error_shares(s.rows), strict=True))
    kept = choices.kept(s, trial)
    if not kept:
        return Text("Nothing is kept in float that can be computed in integers.")
    if not trial.regions and not s.asked:
        return Text(f"Stays in float: {words.count(len(kept), 'layer')}, marked in the map.")
    rows = []
    for rule in s.asked:
        parts = [shares.get(layer) for layer in rule.layers]
        rows.append(_region_row("asked for", rule.layers, rule.reason, parts))
    for name in trial.regions:
        region = known.get(name)
        if region is None:
            rows.append(tuple(map(Cell, (name, *[words.NONE] * 3))))
            continue
        parts = [shares.get(layer) for layer in region.layers]
        rows.append(_region_row(region.name, region.layers, region.reason, parts))
    columns = (
        Column("stays in float"),
        Column("layers", numeric=True),
        Column("share of the error", numeric=True),
        Column("why it was proposed"),
    )
    return Table("Regions that stay in float", columns, tuple(rows), cards=True, quiet=True)


def _region_row(
    name: str, layers: Sequence[str], reason: str, shares: Sequence[float | None]
) -> tuple[Cell, ...]:
    known = [share for share in shares if share is not None]
    return (
        Cell(name),
        Cell(str(len(layers))),
        Cell(share_words(sum(known) if known else None)),
        Cell(reason or words.NONE),
    )


def _trials(s: Sensitivity) -> list[Block]:
    """All of them, those that failed and those that the slider leaves out too."""
    if not s.trials:
        return []
    everything = [
        ("how", [choices.how(t) if not t.error else "failed" for t in s.trials], False),
        ("SQNR predicted", [words.decibels(t.predicted_db) for t in s.trials], True),
        ("SQNR", [words.decibels(t.sqnr_db) for t in s.trials], True),
        (s.metric or "metric", [choices.metric(t) for t in s.trials], True),
        ("change", [choices.difference(t) for t in s.trials], True),
        ("time over float", [_time(t) for t in s.trials], True),
        ("size", [words.size(t.size_bytes) for t in s.trials], True),
        ("MACs in float", [words.percent(t.float_macs, 1) for t in s.trials], True),
        ("layers in float", [str(len(choices.kept(s, t))) for t in s.trials], True),
    ]
    told = [(name, texts, n) for name, texts, n in everything if set(texts) != {words.NONE}]
    columns = (Column("choice"), *(Column(name, numeric=number) for name, _, number in told))
    rows = tuple(
        (Cell(t.name, t.error or _standing(s, t)), *(Cell(texts[n]) for _, texts, _ in told))
        for n, t in enumerate(s.trials)
    )
    failed = sum(bool(t.error) for t in s.trials)
    built = sum(t.measured for t in s.trials)
    gist = f"{built} measured" + (f", {failed} failed" if failed else "")
    guessed = len(s.trials) - failed - built
    gist += f", {guessed} predicted" if guessed else ""
    table = Table("Everything that was tried", columns, rows, cards=True, quiet=True)
    return [Details("Everything that was tried", (table,), gist, bulk=len(rows) > WORST)]


def _standing(s: Sensitivity, trial: Trial) -> str:
    if trial.name == s.chosen:
        return "chosen"
    return "no other one is both faster and more accurate" if trial.name in s.front else ""


def _time(trial: Trial) -> str:
    if trial.time is None and trial.predicted_time is not None:
        return f"{words.times(trial.predicted_time)} predicted"
    return words.times(trial.time)


def _worst(s: Sensitivity) -> list[Block]:
    shares = error_shares(s.rows)
    order = sorted(
        (n for n, share in enumerate(shares) if share), key=lambda n: (-(shares[n] or 0.0), n)
    )
    if not order:
        return []
    columns = (
        Column("layer"),
        Column("operator"),
        Column("share of the error", numeric=True),
        Column("activations alone", numeric=True),
        Column("weights alone", numeric=True),
        Column("in the choice"),
    )
    rows = []
    for place in order[:WORST]:
        row = s.rows[place]
        alone = [
            words.NONE if error is None else words.decibels(decibels(error))
            for error in (row.activation, row.weights)
        ]
        state = "float" if row.kept else "integer" if row.integer else "always float"
        rows.append(
            (
                Cell(row.layer, row.scope, code=True),
                Cell(row.op_type, code=True),
                Cell(share_words(shares[place])),
                *map(Cell, alone),
                Cell(state),
            )
        )
    title = "The layers that suffer most"
    whole = sum(shares[n] or 0.0 for n in order[:WORST])
    gist = f"{words.count(len(rows), 'layer')} with {share_words(whole)} of the error"
    table = Table(title, columns, tuple(rows), cards=True, quiet=True)
    return [Details(title, (table,), gist)]


def _making(s: Sensitivity) -> Details:
    cost = s.cost
    ranking = s.ranker or "none could tell the errors of single layers"
    if cost.float_passes:
        ranking += (
            f", {words.figure(cost.float_passes)} float passes of time ({cost.forward} forward and "
            f"{cost.backward} backward passes a sample)"
        )
    facts = [
        ("model", s.model),
        ("target, quantizer", f"{s.target}, {s.converter}".rstrip(", ")),
        ("samples", f"{s.samples:,}"),
        ("labelled data", s.data),
        ("the float model", f"{s.metric} {words.score(s.float_metric)}" if s.metric else ""),
        ("size of the float file", words.size(s.float_size) if s.float_size else ""),
        ("ranking", ranking),
        ("quantized models built", f"{cost.builds} of at most {cost.budget}"),
        ("scored on all data", str(cost.evaluations) if s.metric else ""),
        ("scored on a part of it", words.percent(cost.partial, 0) if cost.partial else ""),
        ("took", words.time(cost.seconds)),
        ("convkit", s.convkit),
    ]
    return Details("How this was found", (Facts(tuple((k, v) for k, v in facts if v)),))
