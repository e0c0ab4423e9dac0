"""`convkit report`: a page from what lies on disk."""

from __future__ import annotations

from pathlib import Path

import click

from convkit.cli.common import with_terminal
from convkit.cli.terminal import Terminal, human_bytes


@click.command(name="report")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--output",
    metavar="FILE.html",
    type=click.Path(path_type=Path),
    help="The page; beside FILE where it is left out.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is no report of convkit.")
@with_terminal
def command(
    terminal: Terminal, files: tuple[Path, ...], output: Path | None, overwrite: bool
) -> None:
    """Make one HTML page of what is known about FILEs.

    FILE is an output of convkit with its manifest beside it (several, if they were made from one
    model), or a saved document of `convkit compare --json` or `convkit analyze --json`. Nothing is
    measured.
    """
    from convkit.report import (
        check_place,
        read_analysis,
        read_comparison,
        write_report,
        write_sensitivity_report,
    )
    from convkit.report.headline import analysis_headline, headline
    from convkit.report.sources import default_place

    place = output or default_place(files)
    check_place(place, overwrite)
    analysis = read_analysis(files)
    if analysis is not None:
        write_sensitivity_report(analysis, place)
        said = analysis_headline(analysis)
    else:
        comparison = read_comparison(files)
        write_report(comparison, place)
        said = headline(comparison)
    said = said.replace("\N{NO-BREAK SPACE}", " ")
    size = place.stat().st_size
    terminal.say(said)
    terminal.say(f"wrote {place}  ({human_bytes(size)})")
    terminal.document({"report": str(place), "size_bytes": size, "headline": said})
