"""A client whose server restarts: what it says, and that it comes back whatever it was doing."""

import contextlib
from collections.abc import Iterator

import pytest

from chat.errors import REASONS, Reason, TransportError
from chat.limits import CHECK_SECONDS, LINGER_SECONDS, MAX_RETRY_SECONDS
from chat.server.connection import Connection as ServerConnection
from tests.support.loopback import Hall, Seat, connection_of


@pytest.fixture
def hall() -> Iterator[Hall]:
    with contextlib.closing(Hall()) as hall:
        yield hall


TOLD = "[+] The server restarts and will be back in a moment; waiting for it."


def test_member_says_it_once_and_waits(hall: Hall) -> None:
    seat = hall.seat("Ira", on_terminal=True)
    seat.begin()
    hall.until(lambda: seat.inside)
    hall.server.pause()
    hall.until(lambda: not hall.server.connections)
    hall.until(lambda: len(seat.dialer.dialled) > 2)
    assert [line for line in seat.screen.lines() if "restarts" in line] == [TOLD]
    assert not any("lost" in line for line in seat.screen.lines())


@pytest.mark.parametrize("patience", [None, 60])
@pytest.mark.parametrize("stage", ["handshake", "welcome"])
def test_newcomer_to_whom_it_is_said_comes_again_though_nobody_listens_for_a_while(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, patience: float | None, stage: str
) -> None:
    method = {"handshake": "take_turn", "welcome": "_enter"}[stage]
    let_in = getattr(ServerConnection, method)
    ways = iter([True])

    def put_off(connection: ServerConnection, *client: object) -> None:
        if next(ways, False):
            connection.drop(Reason.RESTARTING)
        else:
            let_in(connection, *client)

    seat = hall.seat("Ira", patience=patience)
    seat.dialer.refused = iter([False, True, True])
    monkeypatch.setattr(ServerConnection, method, put_off)
    seat.begin()
    hall.until(lambda: seat.inside)
    assert len(seat.dialer.dialled) == 4
    told = f"the server ended the connection: {REASONS[Reason.RESTARTING]}; trying again."
    assert [line for line in seat.screen.lines() if "trying" in line] == [f"[!] {told}"]


@pytest.fixture
def waiting(hall: Hall) -> Seat:
    """A script that was in and waits for its server, which nobody starts again."""
    seat = hall.seat("Ira", patience=5)
    seat.begin()
    hall.until(lambda: seat.inside)
    hall.server.pause()
    hall.until(lambda: not hall.server.connections)
    for listener in hall.server.doorman.listeners:
        listener.close()
    return seat


def test_whoever_has_said_all_and_leaves_waits_a_moment_only(hall: Hall, waiting: Seat) -> None:
    waiting.client.leave()
    began = hall.reactor.clock()
    hall.until(lambda: waiting.client._over)
    assert hall.reactor.clock() - began <= LINGER_SECONDS + 1
    assert waiting.client._error is None


def test_script_waits_for_as_long_as_its_patience_says(hall: Hall, waiting: Seat) -> None:
    began = hall.reactor.clock()
    hall.until(lambda: waiting.client._over)
    assert 5 <= hall.reactor.clock() - began <= 5 + MAX_RETRY_SECONDS
    assert isinstance(waiting.client._error, TransportError)


def test_server_that_no_longer_has_what_it_acknowledged_is_told_of_in_one_line(hall: Hall) -> None:
    seat = hall.seat("Ira", on_terminal=True)
    seat.begin()
    hall.until(lambda: seat.inside)
    participant = seat.client._participant
    seat.type("one")
    hall.until(lambda: hall.home.room.messages == 1)
    hall.wait(CHECK_SECONDS)
    hall.until(lambda: participant.all_checked and not participant.unacknowledged)
    (member,) = hall.home.room.members.values()
    seat.screen.clear()
    # As if the log had been put back to before that, and had gone on from there.
    member.seq = 0
    member.welcomed_at = hall.home.log.end + 1
    connection_of(hall, "Ira").drop(Reason.LOST)
    hall.until(lambda: hall.home.room.messages == 2)
    assert [line for line in seat.screen.lines() if line.startswith("[")][1:] == [
        "[+] The connection is back, in a new room.",
        "[+] In the room: Ira",
    ]
    assert len(seat.dialer.dialled) == 3
