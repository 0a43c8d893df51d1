"""Makes the pictures in the README from a real conversation: `make screenshots`.

A server and two clients run at pseudo-terminals; what stands on their screens in the end is drawn
as SVG, for light and for dark pages.
"""

import re
import signal
import sys
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.sax.saxutils import escape

from tests.support.processes import CHAT, Stage, environment
from tests.support.terminals import Look, Window

PICTURES = Path(__file__).parents[1] / "docs/pictures"

COLUMNS, ROWS = 58, 23
CELL_WIDTH, CELL_HEIGHT, BAR_HEIGHT, MARGIN = 8, 18, 30, 12
FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"

THEMES = {
    "light": {
        "page": "#ffffff",
        "bar": "#e8e8e8",
        "frame": "#d0d0d0",
        "text": "#24292f",
        "dim": "#6e7781",
        "red": "#cf222e",
        "cursor": "#24292f",
    },
    "dark": {
        "page": "#0d1117",
        "bar": "#21262d",
        "frame": "#30363d",
        "text": "#e6edf3",
        "dim": "#848d97",
        "red": "#ff7b72",
        "cursor": "#e6edf3",
    },
}
Theme = dict[str, str]


def converse(stage: Stage, ends: ExitStack) -> list[tuple[str, Window]]:
    """A conversation; the windows with their titles."""

    def window(role: str, key: str, *arguments: str) -> Window:
        command = [*CHAT, *arguments, *stage.keys(role, key)]
        window = Window(command, environment(stage.home, {}), COLUMNS, ROWS)
        ends.callback(window.kill)
        return window

    server = window("server", "server", "server", "--port", "0")
    server.await_screen("SHA256:")
    found = re.search("port: ([0-9]+)", str(server))
    assert found
    join = ("client", "127.0.0.1", found[1])
    short_time = ("--time", "%H:%M")
    ira = window("client", "ira", *join, "Ira", *short_time)
    ira.await_screen("In the room: Ira")
    other = window("client", "sahnawaz", *join, "sahnawaz", *short_time)
    other.await_screen("In the room: Ira, sahnawaz")
    ira.await_screen("Username: sahnawaz")
    for speaker, listener, text in (
        (ira, other, "Hi! Does it work on your side?"),
        (other, ira, "Hello Ira, it does. 日本語もできます"),
        (ira, other, "/me is delighted"),
        (ira, other, "Where does the server keep what we say?"),
        (other, ira, "Nowhere. It only passes on what we have sealed, and shows that it does."),
    ):
        speaker.enter(text)
        listener.await_screen(text.removeprefix("/me ")[:30])
    server.until(lambda: str(server).count("exchanged") >= 5)
    other.await_screen("sahnawaz: Nowhere")
    server.signal(signal.SIGSTOP)
    other.enter("Now the server sleeps for a moment")
    other.await_screen("... Now the server sleeps")
    other.type("and I go on ty")
    other.await_screen("and I go on ty")
    ira.type("sahnawaz: are you th")
    ira.await_screen("are you th")
    return [("the server", server), ("Ira", ira), ("sahnawaz", other)]


# -- drawing -----------------------------------------------------------------------------------


def draw(windows: list[tuple[str, Window]], theme: Theme) -> str:
    """The windows side by side, as SVG."""
    width = COLUMNS * CELL_WIDTH + 2 * MARGIN
    height = BAR_HEIGHT + ROWS * CELL_HEIGHT + 2 * MARGIN
    step = width + MARGIN
    panels = [
        f'<g transform="translate({at * step + MARGIN} {MARGIN})">'
        f"{_panel(title, window, theme, width, height)}</g>"
        for at, (title, window) in enumerate(windows)
    ]
    whole = len(windows) * step + MARGIN, height + 2 * MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole[0]} {whole[1]}" '
        f'font-family="{FONT}" font-size="13">\n' + "\n".join(panels) + "\n</svg>\n"
    )


def _panel(title: str, window: Window, theme: Theme, width: int, height: int) -> str:
    x, y = window.cursor
    cursor = (
        f'<rect x="{MARGIN + x * CELL_WIDTH}" y="{BAR_HEIGHT + MARGIN + y * CELL_HEIGHT}" '
        f'width="{CELL_WIDTH}" height="{CELL_HEIGHT}" fill="{theme["cursor"]}" opacity="0.6"/>'
    )
    rows = [
        f'<text y="{BAR_HEIGHT + MARGIN + (at + 0.75) * CELL_HEIGHT}" xml:space="preserve">'
        f"{_row(cells, theme)}</text>"
        for at, cells in enumerate(window.cells())
        if any(char.strip() for char, _ in cells)
    ]
    return "\n".join(
        [
            f'<rect width="{width}" height="{height}" rx="8" fill="{theme["page"]}" '
            f'stroke="{theme["frame"]}"/>',
            f'<path d="M0 {BAR_HEIGHT} V8 a8 8 0 0 1 8 -8 H{width - 8} a8 8 0 0 1 8 8 '
            f'V{BAR_HEIGHT} Z" fill="{theme["bar"]}"/>',
            f'<text x="{width / 2}" y="20" text-anchor="middle" fill="{theme["dim"]}">'
            f"{escape(title)}</text>",
            *rows,
            cursor,
        ]
    )


def _row(cells: list[tuple[str, Look]], theme: Theme) -> str:
    """The parts of a row that look alike, each at its column: fonts differ in their widths."""
    spans = []
    for look, part in groupby(enumerate(cells), lambda item: item[1][1]):
        columns = list(part)
        text = "".join(char for _, (char, _) in columns)
        if text.strip():
            x = MARGIN + columns[0][0] * CELL_WIDTH
            weight = ' font-weight="bold"' if look.bold else ""
            spans.append(
                f'<tspan x="{x}" fill="{_colour(look, theme)}"{weight}>{escape(text)}</tspan>'
            )
    return "".join(spans)


def _colour(look: Look, theme: Theme) -> str:
    if look.dim:
        return theme["dim"]
    if look.colour == "default":
        return theme["text"]
    return theme.get(look.colour, f"#{look.colour}")


def main() -> None:
    """Hold the conversation, and write the pictures."""
    PICTURES.mkdir(exist_ok=True)
    with ExitStack() as ends:
        folder = ends.enter_context(TemporaryDirectory(prefix="chat-pictures-"))
        windows = converse(ends.enter_context(Stage(Path(folder))), ends)
        for name, theme in THEMES.items():
            path = PICTURES / f"conversation-{name}.svg"
            path.write_text(draw(windows, theme))
            print(path.relative_to(Path.cwd()), file=sys.stderr)


if __name__ == "__main__":
    main()
