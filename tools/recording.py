"""Makes the recording in the README from a real run: `make recording`.

Two people enter a room and talk, somebody kills the server, they go on typing, and it starts again.
What each of the three terminals was sent is kept as asciicast v2, one file for each. From these a
single picture is drawn that moves by itself, for light and for dark pages:
`python -m tools.recording --draw` does that alone.
"""

import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.casts import Cast
from tools.drawing import THEMES, Theme, draw
from tools.screenshots import PICTURES
from tools.stage import ROOM, Shell, Stagehand

PERSON = 60, 16
SERVER = 125, 7
LINES = [["Ira", "Boris"], ["the server"]]
"""The windows as they stand in the picture."""

READ_SECONDS = 1.4
"""So long somebody reads before they answer."""

END_SECONDS = 6.0
"""So long the last screen stands before it begins anew."""

SNIPPET = "def greet(name):\n    return f'Grüße, {name}!'"

SAID = (
    "Boris, can the server read this?",
    "No. It has no key of this room.",
    "return f'Grüße, {name}!'",
    "And if it dies, while we talk?",
    "We just go on typing.",
    "So I see. This goes out later,",
    "and once.",
    "Nothing lost, nothing twice.",
)
"""What both have on their screens in the end."""


class Play:
    """What happens, in order."""

    def __init__(self, hand: Stagehand) -> None:
        self.hand = hand
        self.server = hand.server(*SERVER)
        self.ira, self.boris = (hand.person(name, *PERSON) for name in ("Ira", "Boris"))
        self.start = time.monotonic()

    def run(self) -> None:
        """All of it."""
        self._enter()
        self._talk()
        self._lose_the_server()
        self._have_it_back()

    def _enter(self) -> None:
        for window in (self.ira, self.boris):
            self.hand.pause(0.6)
            self._enters(window, f"chatapp client {ROOM}")
            self.hand.await_text("[+] In a sealed room", window)
        self.hand.pause(READ_SECONDS)

    def _talk(self) -> None:
        self._says(self.ira, SAID[0])
        self._says(self.boris, SAID[1])
        begin = len("And if it di")
        self.hand.types(self.ira, SAID[3][:begin])
        self.boris.paste(SNIPPET)
        self.hand.pause(0.8)
        self.boris.key("Enter")
        self.hand.await_text(SAID[2], self.ira)
        self.hand.pause(READ_SECONDS)
        self._says(self.ira, SAID[3][begin:], SAID[3])

    def _lose_the_server(self) -> None:
        self.server.signal_foreground(signal.SIGKILL)
        self.hand.await_text("Killed", self.server)
        self.hand.await_text("(offline)", self.ira, self.boris)
        self.hand.pause(READ_SECONDS)
        self._enters(self.boris, SAID[4])
        self._enters(self.ira, SAID[5])
        self._enters(self.ira, SAID[6])
        self.hand.await_text("(offline, 2 waiting)", self.ira)
        self.hand.pause(READ_SECONDS)

    def _have_it_back(self) -> None:
        self._enters(self.server, "chatapp server")
        self.hand.until(lambda: all(map(self._both_have, SAID[4:7])))
        self.hand.pause(2 * READ_SECONDS)
        self._says(self.boris, SAID[7])
        self._enters(self.server, "ROOMS")
        self.hand.await_text(": 2", self.server)
        self.hand.pause(READ_SECONDS)

    def _both_have(self, text: str) -> bool:
        """Whether it has its place in the conversation at both."""
        rows = (row for window in (self.ira, self.boris) for row in window.lines())
        return sum(text in row and not row.startswith("...") for row in rows) == 2

    def _enters(self, window: Shell, text: str) -> None:
        self.hand.types(window, text)
        self.hand.pause(0.3)
        window.key("Enter")
        self.hand.pause(0.3)

    def _says(self, speaker: Shell, typed: str, text: str = "") -> None:
        self._enters(speaker, typed)
        self.hand.await_text(text or typed, self.ira, self.boris)
        self.hand.pause(READ_SECONDS)

    def casts(self) -> list[Cast]:
        """What was recorded."""
        windows = (("Ira", PERSON, self.ira), ("Boris", PERSON, self.boris))
        return [
            Cast.of(title, size, window.events, self.start)
            for title, size, window in (*windows, ("the server", SERVER, self.server))
        ]


def path_of(title: str) -> Path:
    """Where the recording of a window is kept."""
    return PICTURES / f"{title.rpartition(' ')[2].lower()}.cast"


def read() -> list[Cast]:
    """The recordings that are kept."""
    return [Cast.decode(path_of(title).read_text()) for line in LINES for title in line]


def picture(casts: list[Cast], theme: Theme) -> str:
    """The moving picture of these recordings."""
    panels = {cast.title: cast.panel() for cast in casts}
    seconds = round(max(cast.events[-1][0] for cast in casts) + END_SECONDS, 1)
    return draw([[panels[title] for title in line] for line in LINES], theme, seconds)


def main() -> None:
    """Record, unless only to draw, and write recordings and pictures."""
    PICTURES.mkdir(exist_ok=True)
    if sys.argv[1:] != ["--draw"]:
        with ExitStack() as ends:
            folder = ends.enter_context(TemporaryDirectory(prefix="chat-recording-"))
            play = Play(Stagehand(Path(folder), ends))
            play.run()
            for cast in play.casts():
                path_of(cast.title).write_text(cast.encode())
    for name, theme in THEMES.items():
        path = PICTURES / f"recording-{name}.svg"
        path.write_text(picture(read(), theme))
        print(path.relative_to(Path.cwd()), file=sys.stderr)


if __name__ == "__main__":
    main()
