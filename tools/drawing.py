"""Draws terminal windows as SVG, on light and on dark pages: a screen, or what was recorded.

A recording becomes one picture that moves by itself. Each look that a row of a screen has for a
while is drawn once, and is visible for that while. Where nothing moves, or nothing should (the
reader's system can ask for that), the last screen stands there.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple
from unicodedata import east_asian_width
from xml.sax.saxutils import escape

from tests.support.terminals import Emulator, Look

CELL_WIDTH, CELL_HEIGHT, BAR_HEIGHT, MARGIN = 8, 18, 30, 12
GAP = 16
"""Between panels: so two of them are as wide as one of twice their columns and 5 more."""
FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"

STILL = (
    "<style>@media (prefers-reduced-motion: reduce) { .last { visibility: visible !important } "
    ".past, .moving { visibility: hidden !important } }</style>"
)
"""For readers whose system asks for less motion."""

Theme = dict[str, str]
THEMES: dict[str, Theme] = {
    "light": {
        "page": "#ffffff",
        "bar": "#e8e8e8",
        "frame": "#d0d0d0",
        "text": "#24292f",
        "dim": "#6e7781",
        "red": "#cf222e",
        "green": "#1a7f37",
        "brown": "#9a6700",
        "blue": "#0969da",
        "magenta": "#8250df",
        "cyan": "#1b7c83",
    },
    "dark": {
        "page": "#0d1117",
        "bar": "#21262d",
        "frame": "#30363d",
        "text": "#e6edf3",
        "dim": "#848d97",
        "red": "#ff7b72",
        "green": "#3fb950",
        "brown": "#d29922",
        "blue": "#58a6ff",
        "magenta": "#bc8cff",
        "cyan": "#39c5cf",
    },
}

Cells = list[tuple[str, Look]]


class Screen(NamedTuple):
    """What stands in a window for a while."""

    rows: list[Cells]
    cursor: tuple[int, int]
    """Its column and row, from 0."""

    @classmethod
    def of(cls, emulator: Emulator) -> "Screen":
        """What stands there now."""
        return cls(emulator.cells(), emulator.cursor)


class Frame(NamedTuple):
    """A screen, and the second from which on it stands there."""

    since: float
    screen: Screen


class Panel(NamedTuple):
    """A window of the picture: its title, and what it shows from when on."""

    title: str
    frames: Sequence[Frame]

    @classmethod
    def still(cls, title: str, emulator: Emulator) -> "Panel":
        """One that shows what stands in a window now."""
        return cls(title, [Frame(0.0, Screen.of(emulator))])

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        rows = self.frames[0].screen.rows
        return len(rows[0]), len(rows)


def draw(lines: Sequence[Sequence[Panel]], theme: Theme, seconds: float = 0.0) -> str:
    """Lines of panels, as SVG. It moves if they have more than one frame, and begins anew after so
    many seconds."""
    drawn, widths, y = [], [], GAP
    for line in lines:
        x = GAP
        for panel in line:
            width, _ = _outer_size(panel)
            inner = _panel(panel, theme, seconds)
            drawn.append(f'<g transform="translate({x} {y})">{inner}</g>')
            x += width + GAP
        widths.append(x)
        y += max(_outer_size(panel)[1] for panel in line) + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {max(widths)} {y}" '
        f'font-family="{FONT}" font-size="13">\n'
        + "\n".join([*([STILL] if seconds else []), *drawn])
        + "\n</svg>\n"
    )


def _outer_size(panel: Panel) -> tuple[int, int]:
    columns, rows = panel.size
    return columns * CELL_WIDTH + 2 * MARGIN, BAR_HEIGHT + rows * CELL_HEIGHT + 2 * MARGIN


def _panel(panel: Panel, theme: Theme, seconds: float) -> str:
    width, height = _outer_size(panel)
    rows = (
        _row(y, cells, theme, _visibility(since, until, seconds))
        for y in range(panel.size[1])
        for since, until, cells in _stays(panel.frames, y)
        if any(char.strip() for char, _ in cells)
    )
    return "\n".join(
        [
            f'<rect width="{width}" height="{height}" rx="8" fill="{theme["page"]}" '
            f'stroke="{theme["frame"]}"/>',
            f'<path d="M0 {BAR_HEIGHT} V8 a8 8 0 0 1 8 -8 H{width - 8} a8 8 0 0 1 8 8 '
            f'V{BAR_HEIGHT} Z" fill="{theme["bar"]}"/>',
            f'<text x="{width / 2}" y="20" text-anchor="middle" fill="{theme["dim"]}">'
            f"{escape(panel.title)}</text>",
            *rows,
            _cursor(panel.frames, theme, seconds),
        ]
    )


# -- what changes ------------------------------------------------------------------------------


def _stays(frames: Sequence[Frame], y: int) -> Iterable[tuple[float, float | None, Cells]]:
    """What stands in a row: from when, until when (the last of them: to the end), and what."""
    looks = [next(same) for _, same in groupby(frames, key=lambda frame: frame.screen.rows[y])]
    ends = [frame.since for frame in looks[1:]]
    for frame, until in zip(looks, [*ends, None], strict=True):
        yield frame.since, until, frame.screen.rows[y]


def _visibility(since: float, until: float | None, seconds: float) -> tuple[str, str]:
    """What makes an element visible from when to when: its attributes, and its content."""
    if not seconds or (since == 0 and until is None):
        return "", ""
    values = ["hidden", "visible"] if since else ["visible"]
    times = [0.0, since] if since else [0.0]
    if until is not None:
        values.append("hidden")
        times.append(until)
    attributes = ' class="last"' if until is None else ' class="past" visibility="hidden"'
    return attributes, _animate("visibility", times, values, seconds)


def _animate(
    attribute: str, times: Iterable[float], values: Iterable[object], seconds: float
) -> str:
    moments = ";".join(f"{time / seconds:.4f}".rstrip("0").rstrip(".") for time in times)
    return (
        f'<animate attributeName="{attribute}" calcMode="discrete" dur="{seconds:g}s" '
        f'repeatCount="indefinite" keyTimes="{moments}" values="{";".join(map(str, values))}"/>'
    )


def _cursor(frames: Sequence[Frame], theme: Theme, seconds: float) -> str:
    stays = [next(same) for _, same in groupby(frames, key=lambda frame: frame.screen.cursor)]
    places = [_place(*frame.screen.cursor) for frame in stays]
    x, y = places[-1]
    block = (
        f'<rect x="{x}" y="{y}" width="{CELL_WIDTH}" height="{CELL_HEIGHT}" '
        f'fill="{theme["text"]}" opacity="0.6"'
    )
    if not seconds:
        return block + "/>"
    times = [frame.since for frame in stays]
    moves = "".join(
        _animate(name, times, (place[axis] for place in places), seconds)
        for axis, name in enumerate("xy")
    )
    return f'{block} class="moving">{moves}</rect>\n{block} class="last" visibility="hidden"/>'


def _place(column: int, row: int) -> tuple[int, int]:
    return MARGIN + column * CELL_WIDTH, BAR_HEIGHT + MARGIN + row * CELL_HEIGHT


# -- a row -------------------------------------------------------------------------------------


def _row(y: int, cells: Cells, theme: Theme, visibility: tuple[str, str]) -> str:
    """The parts of a row that look alike, each at its column and as wide as its cells: fonts differ
    in their widths, and in how many narrow characters are as wide as a wide one."""
    spans = []
    for (look, _), part in groupby(enumerate(cells), _kind):
        columns = [(column, char) for column, (char, _) in part]
        while columns and columns[0][1] == " ":
            columns.pop(0)
        while columns and columns[-1][1] == " ":
            columns.pop()
        if columns:
            weight = ' font-weight="bold"' if look.bold else ""
            spans.append(
                f'<tspan x="{MARGIN + columns[0][0] * CELL_WIDTH}" '
                f'textLength="{len(columns) * CELL_WIDTH}" fill="{_colour(look, theme)}"{weight}>'
                f"{escape(''.join(char for _, char in columns))}</tspan>"
            )
    attributes, animation = visibility
    baseline = BAR_HEIGHT + MARGIN + (y + 0.75) * CELL_HEIGHT
    return (
        f'<text y="{baseline:g}" xml:space="preserve"{attributes}>'
        f"{''.join(spans)}{animation}</text>"
    )


def _kind(place: tuple[int, tuple[str, Look]]) -> tuple[Look, bool]:
    """What the characters of one part have in common: their look, and whether they are wide. The
    second cell of a wide one is empty."""
    char, look = place[1]
    return look, not char or east_asian_width(char) in "WF"


def _colour(look: Look, theme: Theme) -> str:
    if look.dim:
        return theme["dim"]
    if look.colour == "default":
        return theme["text"]
    return theme.get(look.colour, f"#{look.colour}")
