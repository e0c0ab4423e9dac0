"""What a page is made of: sections of blocks, which say what is shown and nothing about HTML.

Text in a block is plain text. The template escapes it, so names of layers and files, which come
from strangers' models, need no care here.

Another package adds to the page by building a `Section` and handing it to
`convkit.report.write_report(..., further=(section,))`; see `convkit.report.page.ORDER` for the
places that are kept free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

Status = Literal["", "good", "warn", "bad", "unknown"]
"""Shown by an icon and a colour beside the words, never by the colour alone."""


@dataclass(frozen=True)
class Marker:
    """The symbol of a model: shape for the format, colour for the precision.

    Attributes:
        path: outline in SVG's path language, within -1..1 on both axes.
        colour: a CSS colour; a variable of the style sheet, so that it follows the theme.
    """

    path: str
    colour: str


@dataclass(frozen=True)
class Column:
    """Attributes:
    note: what the figures are, in words; shown below the table.
    """

    title: str
    numeric: bool = False
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """Attributes:
    detail: a second, smaller line.
    code: the text is a name out of a file.
    whole: what `text` is short for.
    """

    text: str
    detail: str = ""
    status: Status = ""
    marker: Marker | None = None
    code: bool = False
    whole: str = ""


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row is its heading.

    Attributes:
        caption: what it lists; read out first, and shown unless `quiet`.
        cards: on a narrow screen a row becomes a card, instead of the table scrolling sideways.
        cut: how many further rows are in the page's JSON only.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    cards: bool = False
    quiet: bool = False
    cut: int = 0


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Note:
    """A message that stands out.

    Attributes:
        items: where there are several things to say under one `text`.
    """

    kind: ClassVar[str] = "note"
    text: str
    status: Status = "unknown"
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """Names and values in two columns."""

    kind: ClassVar[str] = "facts"
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Tile:
    """One answer of the overview: `question`, the model, and its figures."""

    question: str
    answer: str
    figures: tuple[str, ...] = ()
    marker: Marker | None = None


@dataclass(frozen=True)
class Tiles:
    """Answers side by side."""

    kind: ClassVar[str] = "tiles"
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Legend:
    """What markers and colours mean: groups of (words, marker)."""

    kind: ClassVar[str] = "legend"
    groups: tuple[tuple[str, tuple[tuple[str, Marker], ...]], ...]


@dataclass(frozen=True)
class Chart:
    """A drawing and the table that says the same.

    Attributes:
        id: unique on the page; letters, digits and hyphens.
        title: what it shows.
        summary: what is to be seen in it, for those who do not see it, and as its caption.
        spec: Vega-Lite, as `convkit.report.charts` makes it. Marks that are data carry a
            `description`; what is decoration has `aria` off.
        table: every value that is drawn.
    """

    kind: ClassVar[str] = "chart"
    id: str
    title: str
    summary: str
    spec: Mapping[str, Any]
    table: Table
    legend: Legend | None = None


@dataclass(frozen=True)
class Node:
    """One artifact on the roads from the original; its edge is the hop that made it.

    Attributes:
        edge: by what it was made, with its cost.
        outputs: what was published from it.
        failed: it could not be made; `lines` say why.
    """

    state: str
    marker: Marker
    edge: str = ""
    verdict: str = ""
    status: Status = ""
    lines: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    failed: bool = False
    children: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Tree:
    """The roads from the original, shared beginnings drawn once."""

    kind: ClassVar[str] = "tree"
    label: str
    root: Node


@dataclass(frozen=True)
class Picture:
    """Attributes:
    source: a `data:` address.
    """

    kind: ClassVar[str] = "picture"
    source: str
    caption: str


@dataclass(frozen=True)
class Document:
    """A part of the page's JSON, to be opened and saved.

    Attributes:
        pointer: where it lies in the document of the comparison, as keys and indices.
        name: of the file that it is saved as.
    """

    kind: ClassVar[str] = "document"
    pointer: tuple[str | int, ...]
    name: str


@dataclass(frozen=True)
class Details:
    """Blocks behind a heading that opens.

    Attributes:
        bulk: long lists: not opened for print.
    """

    kind: ClassVar[str] = "details"
    title: str
    blocks: tuple[Block, ...]
    summary: str = ""
    status: Status = ""
    bulk: bool = False
    open: bool = False


@dataclass(frozen=True)
class Group:
    """Blocks under a heading one level below the section's."""

    kind: ClassVar[str] = "group"
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Code:
    """Something to copy, with a button that does.

    Attributes:
        title: what it is; says so on the button too.
    """

    kind: ClassVar[str] = "code"
    title: str
    text: str


@dataclass(frozen=True)
class HeatNode:
    """A module with what is in it, or a layer.

    Attributes:
        whole: what `name` is short for.
        detail: beside the name, smaller.
        level: 0..6 of the colour; None where nothing is known.
        figures: one text for each column of the map.
        place: of a layer, among all layers; None for a module.
        fixed: of a layer, which is in float whatever is chosen.
        open: its children are shown at first.
    """

    name: str
    whole: str
    detail: str
    level: int | None
    figures: tuple[str, ...]
    place: int | None = None
    fixed: bool = False
    children: tuple[HeatNode, ...] = ()
    open: bool = False

    @property
    def places(self) -> tuple[int, ...]:
        """Of the layers in it."""
        own = () if self.place is None else (self.place,)
        return own + tuple(place for child in self.children for place in child.places)


@dataclass(frozen=True)
class HeatMap:
    """Modules and layers with a colour each: the first column's, which is text too.

    Attributes:
        steps: the least value of levels 1..6, in words.
    """

    kind: ClassVar[str] = "heat"
    title: str
    columns: tuple[str, ...]
    steps: tuple[str, ...]
    nodes: tuple[HeatNode, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """One position of an explorer's slider.

    Attributes:
        summary: the choice in one line; read out when the slider gets there.
        mark: what a chart calls it: the `description` of its mark; empty where it is in none.
        layers: places of the layers that it marks in the map.
        main: it is among those that the slider begins with.
        value: what a budget is held against, more is better; None where it was not measured.
        price: what it costs; of several that keep a budget, the cheapest is shown.
    """

    title: str
    summary: str
    blocks: tuple[Block, ...]
    mark: str = ""
    badge: tuple[Status, str] = ("", "")
    layers: frozenset[int] = frozenset()
    main: bool = True
    value: float | None = None
    price: float = 0.0


@dataclass(frozen=True)
class Budget:
    """A field for the least that a choice must reach; the cheapest that does is shown.

    Attributes:
        before, after: words around the field.
        sign: -1 where the reader gives what may be lost, and less is better.
        at: what is in the field at first; None leaves it empty.
    """

    before: str
    after: str
    sign: Literal[1, -1]
    at: float | None = None


@dataclass(frozen=True)
class Explorer:
    """A slider over choices, what each of them means, and a map that shows their layers.

    Without scripts and on paper the choice of the beginning is shown.

    Attributes:
        id: unique on the page; letters, digits and hyphens.
        label: of the slider.
        ends: what is at its left and right end.
        choices: from the left to the right.
        start: the place of the choice of the beginning.
        chart: id of the chart that shows the same choices, if any.
    """

    kind: ClassVar[str] = "explorer"
    id: str
    label: str
    ends: tuple[str, str]
    choices: tuple[Choice, ...]
    start: int
    heat: HeatMap
    budget: Budget | None = None
    chart: str = ""


Block = (
    Text
    | Note
    | Facts
    | Tiles
    | Legend
    | Table
    | Chart
    | Tree
    | Picture
    | Document
    | Details
    | Group
    | Code
    | HeatMap
    | Explorer
)


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading and a place in its contents.

    Attributes:
        id: one of `convkit.report.page.ORDER` for a place of its own; others come before the
            manifests.
    """

    id: str
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)
