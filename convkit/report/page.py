"""Putting the page together: sections, template, charts' library, and the rules for the browser."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

from convkit import __version__
from convkit.comparison import Comparison
from convkit.errors import ConvkitError, UsageError
from convkit.report import words
from convkit.report.blocks import (
    Block,
    Chart,
    Choice,
    Details,
    Document,
    Explorer,
    Facts,
    Group,
    HeatMap,
    Section,
)
from convkit.sensitivity import Sensitivity

ORDER = (
    "overview",
    "tradeoff",
    "speed",
    "size",
    "quality",
    "making",
    "verification",
    "sensitivity",
    "delegates",
    "profiles",
    "manifests",
)
"""Places of sections on the page, by `Section.id`. `sensitivity` is the analyzer's view of single
layers: `convkit.report.sections.sensitivity` makes it of what an analysis found, to be handed to
`write_report`."""

GENERATOR = f"convkit {__version__}"
_MARK = '<meta name="generator" content="convkit '


def write_report(
    comparison: Comparison,
    path: Path,
    picture: Path | None = None,
    further: Sequence[Section] = (),
) -> None:
    """Write one HTML file that needs nothing else: no network, no file beside it.

    The document of `comparison.to_json()` is in it, in the element `comparison`.

    Args:
        picture: the models' results side by side; by default the evaluation's own.
        further: sections of other packages; `Section.id` says where (see `ORDER`).

    Raises:
        ConvkitError: the packages that draw are not installed.
        InputError: the picture cannot be read.
        PublishError: the file cannot be written.
    """
    _publish(render(comparison, picture, further), path)


def write_sensitivity_report(found: Sensitivity, path: Path) -> None:
    """Write what an analysis found as one HTML file that needs nothing else.

    The document of `found.to_json()` is in it, in the element `analysis`.

    Raises:
        ConvkitError: the packages that draw are not installed.
        PublishError: the file cannot be written.
    """
    _publish(render_sensitivity(found), path)


def check_place(path: Path, overwrite: bool = False) -> None:
    """Refuse to write over anything but an earlier report; to be asked before long work.

    Raises:
        UsageError: something else is there.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint="Give the name of an HTML file.")
    if not path.exists() or overwrite:
        return
    with path.open("rb") as file:
        head = file.read(4096)
    if _MARK.encode() not in head:
        raise UsageError(
            f"{path} exists and is no report of convkit",
            hint="--overwrite replaces it; -o chooses another name.",
        )


def render(
    comparison: Comparison, picture: Path | None = None, further: Sequence[Section] = ()
) -> str:
    """The page as text; see `write_report`."""
    require_libraries()
    from convkit.report.headline import headline

    return _page(
        comparison.title,
        headline(comparison),
        [*_sections(comparison, picture, further), _about(comparison)],
        "comparison",
        comparison.to_json(),
    )


def render_sensitivity(found: Sensitivity) -> str:
    """The page as text; see `write_sensitivity_report`."""
    require_libraries()
    from convkit.report.headline import analysis_headline
    from convkit.report.sections.sensitivity import sensitivity

    section = sensitivity(found, alone=True)
    facts = (("made with", f"convkit {found.convkit}"), ("took", words.time(found.cost.seconds)))
    about = Section("about", "About this page", [Facts(facts), Document((), "analysis.json")])
    title = f"{found.target} of {found.model}"
    return _page(title, analysis_headline(found), [section, about], "analysis", found.to_json())


def _publish(document: str, path: Path) -> None:
    from convkit.engine.publish import publish_file

    with tempfile.TemporaryDirectory(prefix="convkit-report-") as folder:
        whole = Path(folder) / "report.html"
        whole.write_text(document, "utf-8")
        publish_file(whole, path)


def _page(title: str, headline: str, sections: Sequence[Section], name: str, document: Any) -> str:
    """A page as text.

    Args:
        name: id of the element that holds the document.
        document: what all the sections speak of, as plain data.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    everything = [block for section in sections for block in _flat(section.blocks)]
    charts = [block for block in everything if isinstance(block, Chart)]
    libraries = [_bundle()] if charts else []
    theme, programs, styles = _asset("theme.js"), [_asset("report.js")], [_asset("report.css")]
    if any(isinstance(block, Explorer | HeatMap) for block in everything):
        programs.append(_asset("layers.js"))
        styles.append(_asset("layers.css"))
    environment = Environment(
        loader=PackageLoader("convkit.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        title=title,
        headline=headline,
        generator=GENERATOR,
        policy=_policy([theme, *libraries, *programs]),
        style=Markup("\n".join(styles)),
        theme=Markup(theme),
        scripts=[Markup(s) for s in (*libraries, *programs)],
        sections=sections,
        specs=[(chart.id, _embedded(chart.spec)) for chart in charts],
        document_name=name,
        document=_embedded(document),
    )


def require_libraries() -> None:
    """Raises:
    ConvkitError: a package of the extra `report` is missing.
    """
    for name in ("altair", "jinja2", "vl_convert"):
        try:
            import_module(name)
        except ImportError as error:
            raise ConvkitError(
                f"the report needs the package {name.replace('_', '-')}, which is not installed",
                hint="In the clone of convkit: pip install -e '.[report]'",
            ) from error


def _sections(
    comparison: Comparison, picture: Path | None, further: Sequence[Section]
) -> list[Section]:
    """All that have something to say, in their order."""
    from convkit.report.picture import data_address
    from convkit.report.sections.delegates import delegates
    from convkit.report.sections.making import making
    from convkit.report.sections.manifests import manifests
    from convkit.report.sections.overview import overview
    from convkit.report.sections.profiles import profiles
    from convkit.report.sections.quality import quality
    from convkit.report.sections.sizes import sizes
    from convkit.report.sections.speed import speed
    from convkit.report.sections.tradeoff import tradeoff
    from convkit.report.sections.verification import verification

    if picture is None and comparison.evaluation is not None:
        own = comparison.evaluation.picture
        picture = own if own is not None and own.is_file() else None
    address = data_address(picture) if picture is not None else ""
    found = [
        overview(comparison),
        tradeoff(comparison),
        speed(comparison),
        sizes(comparison),
        quality(comparison, address),
        making(comparison),
        verification(comparison),
        delegates(comparison),
        profiles(comparison),
        manifests(comparison),
    ]
    places = {name: number for number, name in enumerate(ORDER)}
    last = places["manifests"] - 0.5
    return sorted(
        [s for s in (*found, *further) if s is not None], key=lambda s: places.get(s.id, last)
    )


def _about(comparison: Comparison) -> Section:
    facts = [("made with", f"convkit {comparison.convkit}")]
    facts += [(name, words.time(seconds)) for name, seconds in comparison.seconds.items()]
    return Section(
        "about", "About this page", [Facts(tuple(facts)), Document((), "comparison.json")]
    )


def _flat(blocks: Sequence[Block | Choice]) -> Iterator[Block]:
    """Blocks and what is in them."""
    for block in blocks:
        if not isinstance(block, Choice):
            yield block
        if isinstance(block, Details | Group | Choice):
            yield from _flat(block.blocks)
        elif isinstance(block, Explorer):
            yield from _flat(block.choices)


@functools.cache
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    import vl_convert

    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return re.sub(r"<(?=/script|!--)", r"\\x3C", script, flags=re.IGNORECASE)


def _asset(name: str) -> str:
    return files("convkit.report").joinpath("assets", name).read_text("utf-8")


def _policy(scripts: Sequence[str]) -> str:
    """What the browser lets the page do: run these very scripts and show pictures of its own.
    No address anywhere can be reached, whatever a name out of a hostile file might manage."""
    digests = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts
    ]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _embedded(value: Any) -> Any:
    """JSON that cannot end the script element that it stands in."""
    from markupsafe import Markup

    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
