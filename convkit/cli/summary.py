"""The closing report of a conversion, for people."""

from __future__ import annotations

from convkit.cli.terminal import Terminal, human_bytes, human_seconds
from convkit.manifest import HopRecord, manifest_path
from convkit.results import ConversionResult, Output, Scoreboard
from convkit.sensitivity import INTEGER_SHARE
from convkit.verification import Verification

LISTED_LAYERS = 4


def show(terminal: Terminal, result: ConversionResult) -> None:
    """Hops with their verification, what stays in float, the scoreboard, and the files; before all,
    how little of a file called int8 is in integers."""
    for output in result.outputs:
        share = output.manifest.integer_macs
        if output.state.precision == "int8" and share is not None and share < INTEGER_SHARE:
            terminal.warn(
                f"{output.state}: only {share:.1%} of the multiply-accumulates run in integers"
            )
    for failure in result.failed:
        terminal.say()
        terminal.warn(f"{failure.converter} failed and was routed around: {failure.message}")
    for output in result.outputs:
        _output(terminal, output)
    if result.scoreboard is not None:
        _scoreboard(terminal, result.scoreboard)
    terminal.say()
    for output in result.outputs:
        terminal.say(f"wrote {output.path}  ({human_bytes(output.size_bytes)})")
        terminal.detail(f"      {manifest_path(output.path)}")
    if result.scoreboard is not None and result.scoreboard.picture is not None:
        terminal.say(f"picture {result.scoreboard.picture}")
    terminal.say(f"took {human_seconds(result.seconds['total'])}")


def _output(terminal: Terminal, output: Output) -> None:
    manifest = output.manifest
    terminal.say()
    terminal.say(f"{output.state}: {manifest.path}")
    terminal.table(
        ("hop", "by", "time", "size", "SQNR", "cosine", "verdict"),
        [_hop(h) for h in manifest.hops],
        right=(2, 3, 4, 5),
    )
    for hop in manifest.hops:
        _explain(terminal, hop)
    if manifest.integer_macs is not None and output.state.precision == "int8":
        terminal.say(
            f"  {100 * manifest.integer_macs:.1f} % of the multiply-accumulates are in integers; "
            f"{manifest.float_islands} operators stay in float"
        )
    last = manifest.hops[-1].verification
    if last is not None and last.synthetic:
        terminal.say(
            f"  compared on {last.samples} random inputs; give --calibration for real ones"
        )
    if manifest.calibration is not None:
        data = manifest.calibration
        terminal.say(f"  calibrated on {data.count} samples from {data.source}")
    for note in manifest.notes:
        terminal.warn(note)


def _hop(hop: HopRecord) -> tuple[str, ...]:
    found = hop.verification
    worst = found.worst if found is not None else None
    return (
        f"{hop.source} -> {hop.target}",
        hop.converter + (f" [{hop.environment.partition('@')[0]}]" if hop.environment else ""),
        "cached" if hop.cached else human_seconds(hop.seconds),
        human_bytes(hop.size_bytes),
        f"{worst.sqnr_db:.1f} dB" if worst else "-",
        f"{worst.cosine:.5f}" if worst else "-",
        found.verdict if found else "not verified",
    )


def _explain(terminal: Terminal, hop: HopRecord) -> None:
    if hop.recipe is not None and hop.recipe.rules:
        layers = hop.recipe.float_layers
        reasons = "; ".join(rule.reason for rule in hop.recipe.rules)
        terminal.say(
            f"  {hop.recipe.name}: {len(layers)} operators kept in float, because {reasons}"
        )
        for name in layers[:LISTED_LAYERS]:
            terminal.detail(f"     {name}")
    if len(hop.attempts) > 1:
        tried = "; ".join(f"{a.recipe.name} {a.sqnr_db:.1f} dB ({a.verdict})" for a in hop.attempts)
        terminal.say(f"  recipes tried: {tried}")
    for note in hop.notes:
        terminal.say(f"  {note}")
    if hop.verification is not None:
        _verification(terminal, hop, hop.verification)


def _verification(terminal: Terminal, hop: HopRecord, found: Verification) -> None:
    if len(found.slices) > 1:
        parts = [f"{s.output} {s.part}: {s.sqnr_db:.1f} dB" for s in found.slices]
        terminal.say(f"  {hop.target} per slice: " + "; ".join(parts))
    for problem in found.problems:
        terminal.warn(f"{hop.converter}: {problem}")
    if found.divergence is not None:
        terminal.warn(f"{hop.converter}: {found.divergence}")


def _scoreboard(terminal: Terminal, board: Scoreboard) -> None:
    terminal.say()
    original = next(iter(board.rows.values())).value
    rows = [
        (
            title,
            human_bytes(board.sizes[title]),
            f"{result.value:.4f}",
            f"{result.value - original:+.4f}",
        )
        for title, result in board.rows.items()
    ]
    count = next(iter(board.rows.values())).samples
    terminal.table(("model", "size", board.metric, "change"), rows, right=(1, 2, 3))
    terminal.say(f"  {board.metric} over {count} labelled samples")
