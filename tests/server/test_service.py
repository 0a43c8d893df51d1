"""What a service manager hears of the server, over a socket that it listens on."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.limits import SERVICE_STATUS_SECONDS
from chat.server.service import Service
from tests.support.loopback import Company, Hall


class Manager:
    """A service manager's end of NOTIFY_SOCKET."""

    def __init__(self, name: str) -> None:
        self.environ = {"NOTIFY_SOCKET": name}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(name.replace("@", "\0", 1))
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """What has come since it was asked last, without the times."""
        messages: list[str] = []
        while True:
            try:
                message = self._socket.recv(4096).decode()
            except BlockingIOError:
                return messages
            assert ("MONOTONIC_USEC=" in message) == message.startswith("RELOADING=1\n")
            messages.append(message.partition("\n")[0])

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["a path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = str(tmp_path / "notify") if request.param == "a path" else f"@chat-{os.getpid()}"
    manager = Manager(name)
    yield manager
    manager.close()


def test_manager_hears_of_start_people_reload_and_end(manager: Manager, hall: Hall) -> None:
    service = Service(hall.reactor, hall.server, manager.environ)
    service.begin()
    assert manager.heard() == ["READY=1", "STATUS=people: 0, rooms: 1"]
    Company(hall)
    hall.wait(SERVICE_STATUS_SECONDS)
    assert manager.heard() == ["STATUS=people: 2, rooms: 1"]
    hall.wait(SERVICE_STATUS_SECONDS)
    assert manager.heard() == [], "nothing has changed"
    service.reload()
    assert manager.heard() == ["RELOADING=1", "READY=1"]
    hall.server.terminate()
    assert manager.heard() == ["STOPPING=1"]


def test_server_that_starts_anew_does_not_stop(manager: Manager, hall: Hall) -> None:
    Service(hall.reactor, hall.server, manager.environ)
    hall.server.restart()
    assert manager.heard() == ["RELOADING=1"]
    hall.server.terminate()
    assert manager.heard() == ["STOPPING=1"]


@pytest.mark.parametrize("name", ["/nowhere/notify", "/" + "a" * 200, "@", "\0", "vsock:2:9"])
def test_manager_that_cannot_be_told_changes_nothing(hall: Hall, name: str) -> None:
    service = Service(hall.reactor, hall.server, {"NOTIFY_SOCKET": name})
    service.begin()
    service.reload()
    assert any("lists were read again" in line for line in hall.screen.lines())


def test_without_a_manager_nobody_wakes_up(hall: Hall) -> None:
    timers = len(hall.reactor._timers)
    Service(hall.reactor, hall.server, {}).begin()
    assert len(hall.reactor._timers) == timers
