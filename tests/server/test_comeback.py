"""Many are let in at once, into a room with a long roster."""

from functools import partial

import pytest

from chat import limits
from tests.support.loopback import Company, Hall, Peer


@pytest.fixture
def newcomers(hall: Hall, company: Company, monkeypatch: pytest.MonkeyPatch) -> list[Peer]:
    """Those who are let in. In each turn of the loop one is welcomed."""
    monkeypatch.setattr("chat.server.connection.LONG_WELCOME_BYTES", 0)
    monkeypatch.setattr("chat.server.server.WELCOMED_BYTES_PER_TURN", 1)
    newcomers = [
        hall.knock(f"{key_name} {number}", key_name)
        for key_name in ("ira", "sahnawaz")
        for number in range(limits.MAX_CONNECTIONS_OF_KEY - 1)
    ]
    room = hall.home.room
    monkeypatch.setattr(room._epochs, "step_at", float("inf"))
    hall.until(lambda: len(room._members.pending) == len(newcomers))
    monkeypatch.setattr(room._epochs, "step_at", 0.0)
    hall.home.touch()
    hall.turns(1)
    assert len(hall.server.to_welcome) > len(newcomers) // 2
    return newcomers


def test_long_welcomes_leave_a_few_a_turn_and_what_is_said_waits_for_none_of_them(
    hall: Hall, company: Company, newcomers: list[Peer]
) -> None:
    waiting = hall.server.to_welcome
    company.ira.say("welcome")
    hall.until(lambda: company.sahnawaz.heard == ["Ira: welcome"])
    assert waiting
    # Who goes while it waits keeps nobody waiting.
    gone = newcomers.pop()
    assert not gone.participant.has_joined
    gone.reset()
    hall.until(lambda: all(one.participant.has_joined for one in newcomers))
    assert not waiting
    company.sahnawaz.say("thanks")
    hall.until(lambda: all(one.heard[-1:] == ["sahnawaz: thanks"] for one in newcomers))


@pytest.mark.usefixtures("newcomers")
def test_handshakes_give_no_turn_to_welcomes_that_wait(hall: Hall) -> None:
    shaken: list[int] = []
    for number in range(3):
        hall.reactor.defer(partial(shaken.append, number))
    hall.turns(3)
    assert hall.server.to_welcome
    assert shaken == [0, 1, 2]
