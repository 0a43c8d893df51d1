"""A conversation between real processes, told as it happens: `make demo`.

One server and three clients run as they would in four terminals. Somebody makes an invite, and all
meet in the room that it opens; they talk through a tap on the wire. What each of them shows is
printed with its name before it, and of one message also what the tap saw. At the end the server is
asked what it knows. Exits with 1 when something expected does not happen.
"""

import io
import os
import socket
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable

from chat.limits import MAX_FRAME_BYTES
from chat.reactor import Reactor
from chat.wire import FrameReader, Message

DEADLINE_SECONDS = 180.0
"""To end what hangs: it takes some seconds, and on a machine that is busy as many more."""

LABEL_COLUMNS = 9
CHAT = [sys.executable, "-m", "chat"]
SMALL_KEYS = ["--ephemeral", "--bits", "2048"]  # for this run alone, and quickly made

ZOE, BORIS, LI = "Zoë", "Борис", "李雷"
GREETING = "Grüße aus Köln! Hört hier jemand mit?"


class UnexpectedError(Exception):
    """Something expected did not happen."""


def tell(label: str, text: str) -> None:
    """Print a line with its label, aligned also where characters are wide."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in label)
    print(f"{label:>{LABEL_COLUMNS - wide}} │ {text}", flush=True)


class Actor:
    """A process whose output is told, and which can be typed at."""

    def __init__(self, reactor: Reactor, label: str, arguments: list[str]) -> None:
        self._reactor = reactor
        self._label = label
        self._seen = ""
        self._told = 0
        self._has_output = True
        # A journal on standard error would be told, too.
        environment = {name: os.environ[name] for name in os.environ if name != "CHAT_LOG"}
        self.process = subprocess.Popen(
            [*CHAT, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**environment, "PYTHONIOENCODING": "utf-8"},
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._input = self.process.stdin
        self._output = self.process.stdout.fileno()
        self._bytes = b""
        reactor.watch_read(self._output, self._on_output)

    def types(self, line: str) -> None:
        """Type a line at this process."""
        tell(self._label, f"> {line}")
        self._input.write(line.encode() + b"\n")
        self._input.flush()

    def closes_its_input(self) -> None:
        """Press Ctrl-D."""
        tell(self._label, "> (end of input)")
        self._input.close()

    def shows(self, text: str) -> str:
        """Wait until it shows `text`, after what was waited for before; the line it stands in."""
        until(self._reactor, lambda: self._shows(text), f"{self._label} shows {text!r}")
        before, _, after = self._seen.partition(text)
        line, _, self._seen = after.partition("\n")
        return before.rpartition("\n")[2] + text + line

    def _shows(self, text: str) -> bool:
        shown = text in self._seen
        if not shown and not self._has_output:
            raise UnexpectedError(f"{self._label} has ended, and did not show {text!r}")
        return shown

    def never_shows(self, text: str) -> None:
        """Check that `text` has not been shown up to the end."""
        if text in self._bytes.decode():
            raise UnexpectedError(f"{self._label} shows {text!r}")

    def ends(self) -> None:
        """Wait until the process is done, and well."""
        until(self._reactor, lambda: self.process.poll() is not None, f"the end of {self._label}")
        self._on_output()
        if self.process.returncode != 0:
            raise UnexpectedError(f"{self._label} ended with {self.process.returncode}")

    def _tell(self, line: str) -> None:
        tell(self._label, line)

    @property
    def lines(self) -> list[str]:
        """All that it has shown so far."""
        return self._bytes.decode(errors="ignore").split("\n")[:-1]

    def _on_output(self) -> None:
        data = os.read(self._output, 65536)
        if not data:
            self._has_output = False
            self._reactor.watch_read(self._output, None)
            return
        self._bytes += data
        lines = self.lines
        for line in lines[self._told :]:
            self._tell(line)
            self._seen += line + "\n"
        self._told = len(lines)


class Tap:
    """Somebody on the wire: passes everything on, and keeps a copy."""

    def __init__(self, reactor: Reactor, port: int) -> None:
        self._reactor = reactor
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.seen = b""
        self.sent_by_server = b""
        reactor.watch_read(self._listener.fileno(), self._on_connection)

    def _on_connection(self) -> None:
        client = self._listener.accept()[0]
        server = socket.create_connection(self._server)
        self._pass_on(client, server, from_server=False)
        self._pass_on(server, client, from_server=True)

    def _pass_on(self, source: socket.socket, target: socket.socket, *, from_server: bool) -> None:
        def on_data() -> None:
            data = source.recv(65536)
            self.seen += data
            if from_server:
                self.sent_by_server += data
            if data:
                target.sendall(data)
            else:
                self._reactor.watch_read(source.fileno(), None)
                target.shutdown(socket.SHUT_WR)

        self._reactor.watch_read(source.fileno(), on_data)

    def message(self) -> bytes:
        """The first messages that the server relayed, as they were on the wire; empty: none yet."""
        frames = FrameReader(MAX_FRAME_BYTES).feed(self.sent_by_server)
        return next((frame for frame_type, frame in frames if frame_type == Message.TYPE), b"")


def until(reactor: Reactor, condition: Callable[[], bool], what: str) -> None:
    """Take turns until something holds."""
    while not condition():
        if time.monotonic() > STARTED + DEADLINE_SECONDS:
            raise UnexpectedError(f"waited in vain for: {what}")
        reactor.turn(0.05)


def converse(reactor: Reactor, actors: list[Actor]) -> None:
    """The conversation."""

    def start(label: str, *arguments: str) -> Actor:
        actors.append(Actor(reactor, label, [*arguments]))
        return actors[-1]

    server = start("server", "server", "--port", "0", *SMALL_KEYS)
    port = server.shows("Running on port: ").rpartition(" ")[2]
    fingerprint = server.shows("Fingerprint: ").rpartition(" ")[2]
    tap = Tap(reactor, int(port))
    maker = start("invite", "invite", "127.0.0.1", str(tap.port), "--fingerprint", fingerprint)
    invite = maker.shows("chat://")
    maker.ends()

    def join(name: str) -> Actor:
        client = start(name, "client", invite, name, *SMALL_KEYS)
        client.shows("Now you can start")
        return client

    zoe = join(ZOE)
    boris = join(BORIS)
    zoe.shows(f"New person joined the room. Username: {BORIS}")

    zoe.types(GREETING)
    boris.shows(f"{ZOE}: {GREETING}")
    server.shows("Message exchanged")
    until(reactor, lambda: tap.message() != b"", "a message at the tap")
    for line in hex_dump(tap.message()):
        tell("the wire", line)
    if any(secret.encode() in tap.seen for secret in (GREETING, ZOE, BORIS)):
        raise UnexpectedError("the tap could read along")
    boris.types("Привет, Зоя! 👋 Nobody but us.")
    zoe.shows(f"{BORIS}: Привет")

    li = join(LI)
    zoe.shows(f"New person joined the room. Username: {LI}")
    li.types("你好！我来晚了。")
    zoe.shows(f"{LI}: 你好")
    boris.shows(f"{LI}: 你好")
    li.never_shows(GREETING)

    server.types("WHO")
    server.shows(f"{LI}, since")
    server.types("STATS")
    server.shows("kept")
    for secret in (GREETING, "Привет", "你好", invite.rpartition("/")[2]):
        server.never_shows(secret)
    tell("demo", "The server knows who is here and how much was said, and not one word of it.")

    boris.closes_its_input()
    boris.ends()
    zoe.shows(f"{BORIS} left the server.")
    zoe.types("EXIT")
    zoe.ends()
    server.shows(f"{ZOE} left the server.")
    li.shows(f"{ZOE} left the server.")
    li.types("EXIT")
    li.ends()
    server.types("TERMINATE")
    server.shows("Server is shut down")
    server.ends()


def hex_dump(data: bytes) -> list[str]:
    """16 bytes a line, and beside them what of it is text."""
    rows = [data[start : start + 16] for start in range(0, len(data), 16)]
    return [
        f"{row.hex(' '):<47}  {''.join(chr(b) if 32 <= b < 127 else '.' for b in row)}"
        for row in rows
    ]


def main(play: Callable[[Reactor, list[Actor]], None] = converse) -> int:
    """Run the demo; 0 when everything happened as it should."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    reactor = Reactor()
    actors: list[Actor] = []
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_CONFIG_HOME"] = home
        try:
            play(reactor, actors)
        except UnexpectedError as error:
            tell("demo", f"FAILED: {error}")
            return 1
        finally:
            for actor in actors:
                actor.process.kill()
            reactor.close()
    tell("demo", f"all as expected, in {time.monotonic() - STARTED:.1f} s")
    return 0


STARTED = time.monotonic()

if __name__ == "__main__":
    sys.exit(main())
