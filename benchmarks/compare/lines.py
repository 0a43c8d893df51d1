"""The members of contenders that pass words on as they come: over TLS 1.3, or in plain TCP.

A `Dialect` is what differs between them: how one comes in, what is sent to say something, and how
that arrives. All that arrives is decrypted by `ssl`, whoever it is for.
"""

import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol

from benchmarks.compare.room import (
    NUMBERED,
    SILENCE_SECONDS,
    SPEAKERS,
    Batch,
    Contender,
    ContenderError,
    Room,
    at_latest,
    text,
)
from benchmarks.load import DEADLINE_SECONDS, HOST, PROGRAM_CORE, Program

_READ_BYTES = 256 * 1024
_BUFFER = bytearray(_READ_BYTES)
_SEND_BUFFER_BYTES = 256 * 1024
_START_WAIT_SECONDS = 0.02


class Dialect(Protocol):
    """What a member of this contender says and hears. `noise_bytes` is the size of what the server
    may put in between; `line_by_line`: it needs a TLS record for each line."""

    hears_itself: bool
    noise_bytes: int
    line_by_line: bool

    def hello(self, number: int) -> bytes:
        """What the member with this number sends to come in."""

    def is_in(self, heard: bytes) -> bool:
        """Whether these bytes, the first that the member got, say that it is in."""

    def say(self, texts: list[str]) -> bytes:
        """What is sent to say these."""

    def texts(self, heard: bytes) -> list[str]:
        """What was said, as it arrived."""


# -- connections -------------------------------------------------------------------------------

Upgrade = Callable[[socket.socket], socket.socket]
"""Makes of a connection that has been dialled one over which words travel."""


class LineLink:
    """A connection over TLS or TCP. What arrives is kept if `keep` says so."""

    def __init__(self, connection: socket.socket, line_by_line: bool) -> None:
        self._socket = connection
        self._line_by_line = line_by_line
        self._pending = connection.pending if isinstance(connection, ssl.SSLSocket) else int
        self.keep = False
        self.heard = bytearray()

    def fileno(self) -> int:
        """Its descriptor."""
        return self._socket.fileno()

    def send(self, data: bytes) -> None:
        """Send all of this."""
        for piece in data.splitlines(keepends=True) if self._line_by_line else [data]:
            self._socket.sendall(piece)

    def take(self) -> int:
        """Read what has arrived, and count it."""
        taken = 0
        try:
            while True:
                size = self._socket.recv_into(_BUFFER)
                if not size:
                    raise ContenderError("the program closed a connection")
                taken += size
                if self.keep:
                    self.heard += _BUFFER[:size]
                # Of the next record nothing has been read as long as none is pending.
                if not self._pending():
                    return taken
        except (BlockingIOError, ssl.SSLWantReadError):
            return taken
        except OSError as exc:
            raise ContenderError(f"the program closed a connection: {exc}") from exc

    def close(self) -> None:
        """End it."""
        self._socket.close()


class LineRoom(Room):
    """A contender with a dialect."""

    def __init__(self, program: Program, dialect: Dialect, upgrade: Upgrade) -> None:
        super().__init__(program)
        self.hears_itself = dialect.hears_itself
        self.surplus = dialect.noise_bytes
        self._dialect = dialect
        self._upgrade = upgrade
        self._lines: list[LineLink] = []

    def enter(self, count: int, at_once: int, deadline: float) -> None:
        """One after the other: no contender of this kind gains by more."""
        for done in range(count):
            at_latest(deadline, len(self.links), len(self.links) + count - done)
            self._enter_one(len(self.links))
            self.pump(0)

    def _enter_one(self, number: int) -> None:
        try:
            dialled = socket.create_connection((HOST, self.program.port), DEADLINE_SECONDS)
            dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = self._upgrade(dialled)
            connection.sendall(self._dialect.hello(number))
            heard = b""
            while not self._dialect.is_in(heard):
                arrived = connection.recv(_READ_BYTES)
                if not arrived:
                    raise ContenderError(f"it does not let member {number} in, but says {heard!r}")
                heard += arrived
        except OSError as exc:
            raise ContenderError(f"it does not let member {number} in: {exc}") from exc
        self.hold(connection)

    def hold(self, connection: socket.socket) -> None:
        """Take a connection over which a member is in."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        connection.setblocking(False)
        link = LineLink(connection, self._dialect.line_by_line)
        self._lines.append(link)
        self.add(link)

    def ready(self) -> None:
        """They come like the others; one says one thing, and we look how it arrives."""
        self.enter(SPEAKERS + 1, 1, time.monotonic() + SILENCE_SECONDS)
        self.settle()
        witness = self._lines[self.witness]
        witness.keep = True
        self.say(0, self.batch(0, [text(0, 0)]))
        while not self._dialect.texts(bytes(witness.heard)):
            self.pump()
        self.unit = len(witness.heard)
        self.settle()

    @property
    def size(self) -> int:
        """How many are in."""
        return len(self.links)

    def settle(self) -> None:
        """Also forget what was heard."""
        super().settle()
        for link in self._lines:
            link.heard.clear()

    def batch(self, speaker: int, texts: list[str]) -> Batch:
        """All in one piece."""
        return Batch(self._dialect.say(texts), len(texts), texts[-1][:NUMBERED].encode())

    def heard(self) -> bytearray:
        """As it was decrypted."""
        return self._lines[self.witness].heard

    def texts(self) -> list[str]:
        """As it was decrypted, without what is around the words."""
        return self._dialect.texts(bytes(self.heard()))


# -- programs ----------------------------------------------------------------------------------


class Foreign(Program):
    """A program that listens where it is told to, and does not say so."""

    def __init__(
        self, command: list[str], directory: Path, port: int, core: int = PROGRAM_CORE
    ) -> None:
        self.port = port
        self._log = directory / "log"
        # The shell makes way for the program, whose words go to a file; its end closes the pipe.
        shell = ["sh", "-c", 'exec "$@" 9>&1 > log 2>&1', "sh"]
        super().__init__([*shell, *command], directory, core)

    def _read_port(self) -> int:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection((HOST, self.port)).close()
            except ConnectionRefusedError:
                time.sleep(_START_WAIT_SECONDS)
            else:
                return self.port
        said = self._log.read_text(errors="replace")[-400:].strip()
        raise ContenderError(f"it does not start: {said}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def installed(program: str) -> str | None:
    """Where a program is; Debian keeps servers where only root looks for commands."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


def lacks(*programs: str) -> str:
    """Which Debian package would bring the first program that is not there."""
    absent = next((program for program in programs if not installed(program)), "")
    return "gcc" if absent == "cc" else absent


def version_of(command: list[str]) -> str:
    """The first number with dots that this command prints."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+", ran.stdout + ran.stderr)
    return found[0] if found else "?"


# -- TLS ---------------------------------------------------------------------------------------


def certificate(directory: Path) -> tuple[Path, Path]:
    """A throw-away certificate for this machine (ECDSA with P-256) and its key."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
    command += ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=benchmark"]
    command += ["-addext", f"subjectAltName=IP:{HOST}", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def over_tls(cert: Path, before: Callable[[socket.socket], None]) -> Upgrade:
    """Shake hands with TLS 1.3; `before` is what the protocol does before that."""
    context = ssl.create_default_context(cafile=str(cert))
    context.minimum_version = ssl.TLSVersion.TLSv1_3

    def upgrade(dialled: socket.socket) -> socket.socket:
        before(dialled)
        return context.wrap_socket(dialled, server_hostname=HOST)

    return upgrade


class TlsServer(Contender):
    """A server of others, over TLS 1.3. `config` is its configuration, with places for `host`,
    `port`, `cert` and `key`; `options` are what stands before the name of that file."""

    dialect: ClassVar[Dialect]
    program: ClassVar[str]
    version_option: ClassVar[str] = "--version"
    options: ClassVar[tuple[str, ...]]
    config: ClassVar[str]

    def lacks(self) -> str:
        """Its package, which has its name."""
        return lacks(self.program, "openssl")

    def version(self) -> str:
        """As it says."""
        return version_of([installed(self.program) or "", self.version_option])

    def start(self, directory: Path, members: int) -> Room:
        """With a certificate of its own."""
        cert, key = certificate(directory)
        port = free_port()
        config = directory / f"{self.name}.conf"
        config.write_text(self.config.format(host=HOST, port=port, cert=cert, key=key))
        command = [installed(self.program) or "", *self.options, str(config)]
        program = Foreign(command, directory, port)
        return LineRoom(program, self.dialect, over_tls(cert, self.before_tls))

    def before_tls(self, dialled: socket.socket) -> None:
        """What the protocol does before the handshake: here nothing."""
