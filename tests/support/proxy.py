"""A TCP proxy that does to connections what cables do: `python -m tests.support.proxy PORT [FILE]`.

It prints its own port, and obeys lines on standard input, each of which it answers with itself:
`cut` resets every connection; `cut amid` does so when something comes from PORT the next time, and
half of that was passed on; `sever` resets them, too, and closes new ones, until `mend`; `freeze`
passes nothing on until `thaw`, and `freeze back` nothing that comes from PORT; `throttle N` passes
on at most N bytes at a time, and `slow N` at most N bytes a second, of each connection, either way,
until `slow 0`. FILE gets all that passes, either way.
"""

import contextlib
import os
import selectors
import socket
import struct
import sys
import time
from collections import deque
from typing import IO

CHUNK_BYTES = 1 << 16
SLOW_PIECES = 20
"""A slow connection passes on so many pieces a second."""


class Proxy:
    """Passes bytes on between its port and another, for as long as its input lasts."""

    def __init__(self, port: int, record: IO[bytes]) -> None:
        """`record` gets all that passes, either way."""
        self._record = record
        self._target = ("127.0.0.1", port)
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._peers: dict[socket.socket, socket.socket] = {}
        self._chunk = CHUNK_BYTES
        self._rate = 0
        """How many bytes a second pass; 0: as many as come."""
        self._resting: deque[tuple[float, socket.socket]] = deque()
        """Ends of slow connections, and until when nothing is read there."""
        self._severed = self._cuts_amid = False
        self._back: set[socket.socket] = set()
        """The ends at which comes what PORT says."""
        self._frozen = ""
        """What is: `all`, `back`, or nothing."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(sys.stdin, selectors.EVENT_READ)

    def run(self) -> None:
        print(self._listener.getsockname()[1], flush=True)
        while True:
            for key, _ in self._selector.select(self._rest()):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is sys.stdin:
                    command = os.read(0, 1024).decode().split()
                    if not command:
                        return
                    self._obey(*command)
                elif key.fileobj in self._peers:
                    assert isinstance(key.fileobj, socket.socket)
                    self._pass_on(key.fileobj)

    def _accept(self) -> None:
        client = self._listener.accept()[0]
        if self._severed:
            client.close()
            return
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        self._back.add(server)
        for end, other in ((client, server), (server, client)):
            self._peers[end] = other
            if not self._is_frozen(end):
                self._selector.register(end, selectors.EVENT_READ)

    def _rest(self) -> float | None:
        """Read on where that is due; in how many seconds it is for the next one."""
        now = time.monotonic()
        while self._resting and (self._resting[0][0] <= now or not self._rate):
            _, end = self._resting.popleft()
            if end in self._peers and not self._is_frozen(end):
                self._selector.register(end, selectors.EVENT_READ)
        return self._resting[0][0] - now if self._resting else None

    def _is_frozen(self, end: socket.socket) -> bool:
        return self._frozen == "all" or (self._frozen == "back" and end in self._back)

    def _pass_on(self, source: socket.socket) -> None:
        try:
            data = source.recv(self._size)
            amid = self._cuts_amid and source in self._back and len(data) > 1
            if amid:
                data = data[: len(data) // 2]
            self._record.write(data)
            self._peers[source].sendall(data)
        except OSError:
            data, amid = b"", False
        if amid:
            self._cuts_amid = False
            self._cut()
        elif not data:
            self._drop(source, self._peers[source])
        elif self._rate:
            self._selector.unregister(source)
            self._resting.append((time.monotonic() + 1 / SLOW_PIECES, source))

    @property
    def _size(self) -> int:
        """How much to pass on at a time."""
        return max(1, self._rate // SLOW_PIECES) if self._rate else self._chunk

    def _drop(self, *ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(KeyError):
                self._selector.unregister(end)
            self._peers.pop(end, None)
            self._back.discard(end)
            end.close()

    def _cut(self) -> None:
        for end in self._peers:
            # Closing now sends a reset, and throws away what is under way.
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._drop(*list(self._peers))

    def _obey(self, word: str, how: str = "") -> None:
        match word:
            case "mend":
                self._severed = False
            case "cut" if how == "amid":
                self._cuts_amid = True
            case "cut" | "sever":
                self._severed = word == "sever"
                self._cut()
            case "freeze":
                self._frozen = how or "all"
                for end in filter(self._is_frozen, self._peers):
                    with contextlib.suppress(KeyError):
                        self._selector.unregister(end)
            case "thaw":
                resting = {end for _, end in self._resting}
                for end in filter(self._is_frozen, self._peers):
                    if end not in resting:
                        self._selector.register(end, selectors.EVENT_READ)
                self._frozen = ""
            case "throttle":
                self._chunk = int(how)
            case "slow":
                self._rate = int(how)
        print(word, flush=True)


if __name__ == "__main__":
    to, record = [*sys.argv[1:], os.devnull][:2]
    with open(record, "ab", buffering=0) as file:
        Proxy(int(to), file).run()
