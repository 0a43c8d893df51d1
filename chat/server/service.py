"""What the service manager is told (sd_notify(3)): that the server is ready, reads its lists again
or ends, and how many people are in.

NOTIFY_SOCKET names the socket; without it nobody is told, and nothing is done. A message is a
datagram with a line for each thing. Nothing comes back, and the server does not depend on it: what
cannot be told is noted in the journal. Listening sockets from the manager are in
`chat.inherited`.
"""

import socket
import time
from collections.abc import Mapping

from chat import journal
from chat.limits import SERVICE_STATUS_SECONDS
from chat.reactor import Reactor
from chat.server.members import count_people
from chat.server.server import Server


class Service:
    """The server as its service manager sees it."""

    def __init__(self, reactor: Reactor, server: Server, environ: Mapping[str, str]) -> None:
        """The environment is left as it is: a server that starts anew in this process has to find
        the socket, too."""
        self._reactor = reactor
        self._server = server
        self._where = environ.get("NOTIFY_SOCKET", "")
        self._status = ""
        server.on_end = self._end

    def begin(self) -> None:
        """The server listens."""
        if self._where:
            self._tell("READY=1")
            self._tell_status()

    def reload(self) -> None:
        """Let the server read its lists again, and tell when it begins and is done."""
        self._begin_again()
        self._server.reload()
        self._tell("READY=1")

    def _end(self) -> None:
        if self._server.starts_anew:
            # The process stays, and will be ready again.
            self._begin_again()
        else:
            self._tell("STOPPING=1")

    def _begin_again(self) -> None:
        # The time is for Type=notify-reload, which has to tell this one from one before it.
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def _tell_status(self) -> None:
        status = status_of(self._server)
        if status != self._status:
            self._status = status
            self._tell(f"STATUS={status}")
        self._reactor.call_at(self._reactor.clock() + SERVICE_STATUS_SECONDS, self._tell_status)

    def _tell(self, lines: str) -> None:
        if not self._where:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
                ours.setblocking(False)
                ours.sendto(lines.encode(), _address_of(self._where))
        except (OSError, ValueError) as error:
            journal.note("service", f"NOTIFY_SOCKET: {error}")


def status_of(server: Server) -> str:
    """How many people are in, for whoever looks at the service."""
    people = [count_people(room.members()) for room in server.rooms]
    return f"people: {sum(people)}, rooms: {len(people)}"


def _address_of(name: str) -> str:
    """A socket in the file system is named by its path, an abstract one by @ and its name."""
    return f"\0{name[1:]}" if name.startswith("@") else name
