"""Makes the picture at the head of the README from a real conversation: `make screenshots`.

Two people talk in a room through a server that is stopped in the end. What then stands on their
screens is drawn as SVG, for light and for dark pages.
"""

import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.drawing import THEMES, Panel, draw
from tools.stage import ROOM, Stagehand

PICTURES = Path(__file__).parents[1] / "docs/pictures"

COLUMNS, ROWS = 60, 13

SNIPPET = "def greet(name: str) -> str:\n    return f'Grüße, {name}!'"


def converse(hand: Stagehand) -> list[Panel]:
    """A conversation; what the two have on their screens in the end."""
    server = hand.server(COLUMNS, ROWS)
    ira, boris = (hand.person(name, COLUMNS, ROWS) for name in ("Ira", "Boris"))
    for window in (ira, boris):
        window.enter(f"chatapp client {ROOM}")
        hand.await_text("Now you can start", window)
    hand.await_text("Username: Boris", ira)
    for speaker, listener, text in (
        (ira, boris, "Hi! Does it work on your side?"),
        (boris, ira, "Hello Ira, it does. 日本語もできます"),
        (ira, boris, "/me is delighted"),
        (ira, boris, "Boris, can the server read what we say?"),
        (boris, ira, "No: it has no key of this room. Only who has the invite has one."),
        (boris, ira, "This is what I meant yesterday:"),
    ):
        speaker.enter(text)
        hand.await_text(text.removeprefix("/me ")[:24], listener)
    boris.paste(SNIPPET, "Enter")
    hand.await_text("Grüße", ira)
    ira.enter("/msg Boris and this, nobody else can read")
    hand.await_text("nobody else can read", boris)
    ira.enter("What if the server dies?")
    hand.await_text("What if the server dies?", boris)
    server.signal_foreground(signal.SIGSTOP)
    boris.enter("We go on. What it has not passed on yet stays marked …")
    hand.await_text("(no answer for 6 s)", boris)
    boris.type("and goes out when it is ba")
    ira.type("Boris: so nothing is lo")
    hand.until(lambda: boris.shows("is ba") and ira.shows("is lo"))
    return [Panel.still("Ira", ira), Panel.still("Boris", boris)]


def main() -> None:
    """Hold the conversation, and write the pictures."""
    PICTURES.mkdir(exist_ok=True)
    with ExitStack() as ends:
        folder = ends.enter_context(TemporaryDirectory(prefix="chat-pictures-"))
        panels = converse(Stagehand(Path(folder), ends))
        for name, theme in THEMES.items():
            path = PICTURES / f"conversation-{name}.svg"
            path.write_text(draw([panels], theme))
            print(path.relative_to(Path.cwd()), file=sys.stderr)


if __name__ == "__main__":
    main()
