"""A client whose server is not there yet: with `--patience` it waits for it."""

import contextlib
import math
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import pytest

from chat.errors import ProxyRefusedError, Reason, TransportError
from chat.limits import MAX_RETRY_SECONDS
from chat.server.connection import Connection as ServerConnection
from chat.ui.transcript import CONNECTED, EXCHANGED, SENDING_KEY, SET_UP
from tests.support.loopback import REFUSED, Hall


@pytest.fixture
def hall() -> Iterator[Hall]:
    with contextlib.closing(Hall()) as hall:
        yield hall


@pytest.mark.parametrize("patience", [60, math.inf])
def test_who_is_patient_from_the_beginning_waits_for_the_server_and_says_so_once(
    hall: Hall, patience: float
) -> None:
    seat = hall.seat("Ira", patience=patience, persistent=True)
    seat.dialer.refused = repeat(True, 3)
    seat.type("Hi")
    seat.end_input()
    seat.run()
    assert len(seat.dialer.dialled) == 4
    told = [line for line in seat.screen.lines() if "trying" in line]
    assert told == [f"[!] {REFUSED}; trying again."]
    assert hall.home.room.messages == 1


def test_patience_from_the_beginning_has_its_end(hall: Hall) -> None:
    seat = hall.seat("Ira", patience=5, persistent=True)
    seat.dialer.refused = repeat(True)
    began = hall.reactor.clock()
    seat.begin()
    hall.until(lambda: seat.client._over)
    assert str(seat.client._error) == REFUSED
    assert 5 <= hall.reactor.clock() - began <= 5 + MAX_RETRY_SECONDS


def test_patience_of_no_time_is_one_attempt(hall: Hall) -> None:
    seat = hall.seat("Ira", patience=0, persistent=True)
    seat.dialer.refused = repeat(True)
    with pytest.raises(TransportError, match=REFUSED):
        seat.run()
    assert len(seat.dialer.dialled) == 1


def test_proxy_that_does_not_let_us_in_is_asked_once(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password that is wrong stays wrong, and some count how often it was."""
    seat = hall.seat("Ira", patience=math.inf, persistent=True)
    error = ProxyRefusedError("it does not accept the password")
    monkeypatch.setattr(seat.dialer, "dial", lambda _on_connected, on_failed: on_failed(error))
    with pytest.raises(ProxyRefusedError):
        seat.run()


@pytest.mark.parametrize("persistent", [True, False])
def test_connection_that_ends_without_a_word_is_tried_again(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, persistent: bool
) -> None:
    """As one does behind a forwarded port, while the server is not there."""
    cuts = [True] * 2
    take_turn = ServerConnection.take_turn

    def cut(connection: ServerConnection) -> None:
        if cuts:
            cuts.pop()
            connection.transport.close()
        else:
            take_turn(connection)

    monkeypatch.setattr(ServerConnection, "take_turn", cut)
    seat = hall.seat("Ira", patience=60, persistent=persistent)
    seat.type("Hi")
    seat.end_input()
    if persistent:
        seat.run()
        assert hall.home.room.messages == 1
    else:
        with pytest.raises(TransportError, match="the connection was lost"):
            seat.run()
        assert len(seat.dialer.dialled) == 1


@pytest.mark.parametrize("cuts", [0, 5])
def test_way_in_is_shown_once_however_often_the_server_ends_it(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, cuts: int
) -> None:
    """As a server does while it cannot reach Redis."""
    enter = ServerConnection._enter
    left = repeat(True, cuts)

    def cut(connection: ServerConnection, client: Any) -> None:
        if next(left, False):
            connection.drop(Reason.LOST, "not now")
        else:
            enter(connection, client)

    monkeypatch.setattr(ServerConnection, "_enter", cut)
    seat = hall.seat("Ira", patience=math.inf, persistent=True)
    seat.begin()
    hall.until(lambda: seat.inside)
    assert len(seat.dialer.dialled) == cuts + 1
    shown = seat.screen.lines()
    way_in = [CONNECTED[0], SENDING_KEY, EXCHANGED, SET_UP[0]]
    assert [shown.count(str(line)) for line in way_in] == [1, 1, 1, 1]
    assert len([line for line in shown if "not now" in line]) == min(cuts, 1)
