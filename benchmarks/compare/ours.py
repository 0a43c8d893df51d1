"""This program: the real server, and members that join as every client does.

From then on all but the speakers and the witness are only counted, without a copy. What the witness
hears is kept as it came, and opened when the clock has stopped; speakers hear it, too, so that they
seal under the latest key. A few CHECKs come in between, which are no deliveries.
"""

import platform
import socket
import time
from pathlib import Path

import chat
from benchmarks.compare.results import OURS
from benchmarks.compare.room import (
    SETTLED_SECONDS,
    SPEAKERS,
    Batch,
    Contender,
    ContenderError,
    Room,
    at_latest,
    text,
)
from benchmarks.load import Crowd, Keys, Member, chat_server, join, join_speakers
from chat.cipher import MIN_SEALED_BYTES
from chat.errors import ChatError
from chat.wire import ROOM_HEADER_BYTES

BITS = 2048
JOINED_AT_A_TIME = 50
_READ_BYTES = 1024 * 1024
_DISCARDED = bytearray(_READ_BYTES)
_LINK_HEADER_BYTES = 3


class CountedLink:
    """A member whose bytes are only counted: TCP throws away, uncopied, what is read with MSG_TRUNC
    (tcp(7))."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self._socket = member.socket

    def fileno(self) -> int:
        """Its descriptor."""
        return self._socket.fileno()

    def send(self, data: bytes) -> None:
        """Send all of this."""
        self._socket.sendall(data)

    def take(self) -> int:
        """Count what has arrived."""
        try:
            size = self._socket.recv_into(_DISCARDED, 0, socket.MSG_TRUNC)
        except BlockingIOError:
            return 0
        if not size:
            raise ContenderError("the server closed a connection")
        return size

    def close(self) -> None:
        """End it."""
        self._socket.close()


class HeardLink(CountedLink):
    """A member whose bytes are kept as they came."""

    def __init__(self, member: Member) -> None:
        super().__init__(member)
        self.heard = bytearray()

    def take(self) -> int:
        """Keep what has arrived."""
        try:
            arrived = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return 0
        if not arrived:
            raise ContenderError("the server closed a connection")
        self.heard += arrived
        return len(arrived)

    def understand(self) -> None:
        """Open what was kept."""
        if self.heard:
            self.member.hear(bytes(self.heard))
            self.heard.clear()


class OurRoom(Room):
    """A server, and its open room."""

    surplus = _LINK_HEADER_BYTES + MIN_SEALED_BYTES

    def __init__(self, directory: Path) -> None:
        super().__init__(chat_server(directory))
        self._crowd = Crowd(self.program)
        self._keys = Keys(BITS)
        self._members: list[Member] = []
        self._heard: list[HeardLink] = []
        self._down_bytes = 0

    def close(self) -> None:
        """Also those that were still coming in."""
        self._crowd.close()
        super().close()

    def enter(self, count: int, at_once: int, deadline: float) -> None:
        """By the whole handshake, with an RSA key for as many as a server lets in."""
        left = count
        try:
            while left:
                at_latest(deadline, self.size, self.size + left)
                some = min(left, JOINED_AT_A_TIME)
                begin = len(self._members)
                names = [f"m{number:05d}" for number in range(begin, begin + some)]
                port = self.program.port
                self._members += join(self._crowd, port, names, self._keys, at_once)
                left -= some
        except (ChatError, RuntimeError, OSError) as exc:
            raise ContenderError(str(exc)) from exc

    def ready(self) -> None:
        """Let the speakers and the witness come, who know all of each other, and hear one of them
        say one thing."""
        names = [f"s{number:05d}" for number in range(SPEAKERS + 1)]
        try:
            heard = join_speakers(self._crowd, self.program.port, names, self._keys)
        except (ChatError, RuntimeError, OSError) as exc:
            raise ContenderError(str(exc)) from exc
        for member in self._members:
            self.add(CountedLink(member))
        self._heard = [HeardLink(member) for member in heard]
        for link in self._heard:
            self.add(link)
        self._members += heard
        self.settle()
        batch = self.batch(0, [text(0, 0)])
        self.unit = self._down_bytes
        self.say(0, batch)
        due = self.due([1] + [0] * (SPEAKERS - 1))
        while self.missing(due):
            # On a busy machine it may take longer than `settle` waits.
            self.pump()
        self.settle()

    def rest(self) -> None:
        """While members come in, it is the crowd that hears them."""
        if self.links:
            super().rest()
        else:
            time.sleep(SETTLED_SECONDS)
            self._crowd.drain()

    @property
    def size(self) -> int:
        """How many are in."""
        return len(self._members)

    def keep_alive(self) -> None:
        """A server takes who is silent for long for lost. So each says PING, as clients do."""
        Crowd.keep_alive()

    def settle(self) -> None:
        """Also open what was heard, so that speakers have the latest key."""
        super().settle()
        for link in self._heard:
            link.understand()
            link.member.texts.clear()

    def batch(self, speaker: int, texts: list[str]) -> Batch:
        """Sealed now, in the order in which it will be sent."""
        sealed = self._heard[speaker + 1].member.seal(*texts)
        self._down_bytes = len(sealed.down) // len(texts)
        last = sealed.down[-self._down_bytes :]
        return Batch(sealed.up, len(texts), last[:ROOM_HEADER_BYTES])

    def heard(self) -> bytearray:
        """As it came, sealed."""
        return self._heard[0].heard

    def texts(self) -> list[str]:
        """Opened by the witness."""
        self._heard[0].understand()
        return self._heard[0].member.texts


class Ours(Contender):
    """This program."""

    name = OURS
    title = "this program"
    short = "this program"

    def lacks(self) -> str:
        """Nothing."""
        return ""

    def version(self) -> str:
        """Of the program, and of the Python under it."""
        return f"{chat.__version__}, Python {platform.python_version()}"

    def start(self, directory: Path, members: int) -> Room:
        """With the tests' key, and no limit to the rate of one source."""
        return OurRoom(directory)
