"""How a terminal feels: until the prompt stands, and from a key to its echo.

The times are those of the wall: what a person waits for. Beside them, what it costs to show the
longest messages there can be.
"""

import json
import os
import pty
import select
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle, repeat
from pathlib import Path

from benchmarks.load import (
    DEADLINE_SECONDS,
    HOST,
    KEYS,
    LOAD_CORE,
    PROGRAM_CORE,
    Row,
    chat_server,
    environment,
    short,
    spread,
)
from benchmarks.texts import TEXTS
from chat.client.events import MessageReceived
from chat.ui.style import Colours, Painter

RUNS = 15
KEYS_TYPED = 480
KEYS_TYPED_AT_LONG = 240
MESSAGES_A_SECOND = 200
KEYS_A_SECOND = 20
LETTERS = "αβγδεζηθικλμνξοπρστυφχψω"
"""Each is typed once into a line, and none stands in a message, so that it is seen when it is
echoed."""

SHORT_TEXT = "0123456789 0123456789 0123456789"
COLUMNS = 80

CLEAR_LINE = b"\x15"
LEAVE = b"\x04"
PROMPT = b"> "


class Typist:
    """A process at a pseudo-terminal."""

    def __init__(self, arguments: list[str], home: Path) -> None:
        os.sched_setaffinity(0, {PROGRAM_CORE})
        self.began = time.perf_counter()
        self.process, self.terminal = pty.fork()
        if not self.process:
            env = {**environment(), "HOME": str(home), "TERM": "xterm-256color"}
            os.execve(sys.executable, [sys.executable, *arguments], env)
        os.sched_setaffinity(0, {LOAD_CORE})
        self._seen = b""

    def type(self, keys: bytes) -> None:
        """Press these keys."""
        self._seen = b""
        os.write(self.terminal, keys)

    def read(self, seconds: float) -> None:
        """Take in what is shown within this time, if anything is."""
        if select.select([self.terminal], [], [], min(max(0.0, seconds), DEADLINE_SECONDS))[0]:
            with suppress(OSError):
                self._seen += os.read(self.terminal, 65_536)

    def shows(self, sought: bytes) -> bool:
        """Whether this has been shown since the last key."""
        return sought in self._seen

    def await_text(self, sought: bytes) -> float:
        """Seconds from the start until this is shown."""
        while not self.shows(sought):
            self.read(DEADLINE_SECONDS)
            if time.perf_counter() > self.began + DEADLINE_SECONDS:
                raise RuntimeError(f"nothing was shown but {self._seen!r}")
        return time.perf_counter() - self.began

    def end(self) -> None:
        """Leave, and wait for the end."""
        self.type(LEAVE)
        self.await_end()

    def await_end(self) -> None:
        """Wait for the end."""
        with suppress(OSError):
            while os.read(self.terminal, 65_536):
                pass
        os.waitpid(self.process, 0)
        os.close(self.terminal)


def measure(directory: Path) -> list[Row]:
    """The prompt beside Python alone, and the echo beside the same in silence, in turns."""
    shutil.copyfile(KEYS / "ira.pem", key := directory / "client_private_key.pem")
    key.chmod(0o600)
    with chat_server(directory) as server:
        keys = ["--keys", str(directory)]
        client = ["-m", "chat", "client", HOST, str(server.port), "Ira", *keys]
        _time_prompt(client, directory)
        turns = [(_time_prompt(client, directory), _time_python(directory)) for _ in range(RUNS)]
        speaker = [sys.executable, "-m", "chat", "client", HOST, str(server.port), "Ola", *keys]
        speaker += ["--json"]
        quiet, busy = _time_echoes(client, speaker, directory, repeat(SHORT_TEXT), KEYS_TYPED)
        cost = {kind: _time_painting(text) for kind, text in TEXTS.items()}
        worst = max(cost, key=lambda kind: statistics.median(cost[kind]))
        long = {
            kind: _time_echoes(client, speaker, directory, texts, KEYS_TYPED_AT_LONG)[1]
            for kind, texts in (
                ("all of these", cycle(TEXTS.values())),
                (worst, repeat(TEXTS[worst])),
            )
        }
    return [
        Row("the prompt stands", spread([ours for ours, _ in turns], "ms")),
        Row("python -c pass", spread([python for _, python in turns], "ms")),
        Row("key to echo in silence", _percentiles(quiet)),
        Row(f"key to echo at {MESSAGES_A_SECOND} messages/s", _percentiles(busy)),
        *(Row(f"16 KiB: {kind}", spread(took, "ms"), "30 ms") for kind, took in cost.items()),
        *(
            Row(f"echo at {MESSAGES_A_SECOND}/s: {kind}", _percentiles(took), "50 ms")
            for kind, took in long.items()
        ),
    ]


def _time_painting(text: str) -> list[float]:
    """Milliseconds of CPU that it takes to make rows of a message, and to look for one's name."""
    painter = Painter("Ira", Colours.RICH)
    took = []
    for _ in range(RUNS):
        said = MessageReceived("Ola", 0, text, own=False)
        began = time.process_time()
        rows = painter.paint(said, COLUMNS, window_rows=100)
        painter.mentions(said)
        "\n".join(rows).encode()
        took.append((time.process_time() - began) * 1000)
    return took


def _time_prompt(client: list[str], home: Path) -> float:
    typist = Typist(client, home)
    took = typist.await_text(PROMPT)
    typist.end()
    return took * 1000


def _time_python(home: Path) -> float:
    typist = Typist(["-c", "pass"], home)
    typist.await_end()
    return (time.perf_counter() - typist.began) * 1000


def _time_echoes(
    client: list[str], speaker: list[str], home: Path, texts: Iterator[str], keys: int
) -> tuple[list[float], list[float]]:
    """Milliseconds from a key to its echo: in silence, and while messages arrive; in turns."""
    typist = Typist(client, home)
    typist.await_text(PROMPT)
    talk = subprocess.Popen(
        speaker, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert talk.stdin is not None
    quiet: list[float] = []
    busy: list[float] = []
    lines = (json.dumps({"say": text}, ensure_ascii=False).encode() + b"\n" for text in texts)
    for at in range(keys // len(LETTERS)):
        rate = MESSAGES_A_SECOND if at % 2 else 0
        (busy if at % 2 else quiet).extend(_type_line(typist, talk.stdin.fileno(), lines, rate))
    talk.communicate()
    typist.end()
    return quiet, busy


def _type_line(typist: Typist, talk: int, lines: Iterator[bytes], rate: int) -> list[float]:
    """Type each letter once, while so many lines a second are said."""
    now = time.perf_counter
    next_line = now() if rate else float("inf")
    next_key = now() + 1 / KEYS_A_SECOND
    delays = []
    for letter in LETTERS:
        pressed = None
        while True:
            if now() >= next_line:
                _write_all(talk, next(lines))
                next_line += 1 / rate
            if pressed is None and now() >= next_key:
                typist.type(letter.encode())
                pressed = now()
            if pressed is not None and typist.shows(letter.encode()):
                break
            typist.read(min(next_line, next_key if pressed is None else float("inf")) - now())
        delays.append((now() - pressed) * 1000)
        next_key = pressed + 1 / KEYS_A_SECOND
    typist.type(CLEAR_LINE)
    return delays


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _percentiles(samples: list[float]) -> str:
    cuts = statistics.quantiles(samples, n=100)
    return f"{short(cuts[49])} ms (99 of 100 below {short(cuts[98])})"
