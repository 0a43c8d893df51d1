"""A server that goes down for a moment: what it says, and whether it starts anew."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from unittest.mock import Mock

import pytest

from chat.client.events import RoomClosed
from chat.errors import REASONS, Reason
from chat.server import words
from chat.server.access import Access
from chat.server.lists import InMemory
from chat.server.rooms import ListedTags, RoomRules
from chat.server.server import Server
from chat.wire import Refused, decode_frame
from tests.support.helpers import frames_of, key
from tests.support.loopback import Company, Hall


def run_to_the_end(hall: Hall) -> None:
    """Let the server run until it ends by itself."""
    hall.reactor.may_run = True
    hall.server.run()


def test_restart_brings_everything_to_everybody_and_then_tells_that_it_is_no_end(
    hall: Hall, company: Company
) -> None:
    stranger = hall.greeted()
    for wire in (company.ira, company.sahnawaz, stranger):
        hall.when(partial(getattr, wire, "eof"), wire.close)
    company.ira.say("last words")
    hall.type("RESTART")
    run_to_the_end(hall)
    for peer in (company.ira, company.sahnawaz):
        assert peer.heard == ["Ira: last words"]
        assert RoomClosed() not in peer.news
        assert peer.ended is not None
        assert (peer.ended.reason, peer.ended.by_peer) == (Reason.RESTARTING, True)
        assert peer.participant.all_checked, "the server vouches for the last words as well"
    refused = decode_frame(frames_of(bytes(stranger.received))[-1][1])
    assert refused == Refused(Reason.RESTARTING, REASONS[Reason.RESTARTING])
    assert hall.server.starts_anew
    assert hall.listener.fileno() >= 0, "newcomers wait there"


ENDS: list[tuple[list[Callable[[Server], None]], Reason, bool]] = [
    ([Server.restart], Reason.RESTARTING, True),
    ([Server.restart, Server.restart], Reason.RESTARTING, True),
    ([Server.restart, Server.terminate], Reason.RESTARTING, False),
    ([Server.restart, Server.pause], Reason.RESTARTING, False),
    ([Server.restart, Server.pause, Server.restart], Reason.RESTARTING, False),
    ([Server.pause], Reason.RESTARTING, False),
    ([Server.pause, Server.pause], Reason.RESTARTING, False),
    ([Server.pause, Server.restart], Reason.RESTARTING, False),
    ([Server.terminate, Server.restart], Reason.CLOSING, False),
]


@pytest.mark.parametrize(("steps", "reason", "anew"), ENDS)
def test_first_wish_is_said_the_next_ends_at_once_and_only_restart_alone_starts_anew(
    hall: Hall,
    company: Company,
    steps: list[Callable[[Server], None]],
    reason: Reason,
    anew: bool,
) -> None:
    """Somebody who reads nothing would otherwise be waited for."""
    company.sahnawaz.deafen()
    first, *others = steps
    hall.when(lambda: True, lambda: first(hall.server))
    for step in others:
        hall.when(lambda: company.ira.eof, partial(step, hall.server))
    if not others:
        for wire in (company.ira, company.sahnawaz):
            hall.when(lambda: company.ira.eof, wire.close)
    began = hall.reactor.clock()
    run_to_the_end(hall)
    assert company.ira.ended is not None
    assert company.ira.ended.reason is reason
    assert hall.server.starts_anew is anew
    assert hall.reactor.clock() - began < 1


@pytest.mark.parametrize(
    ("alone", "reason", "text"),
    [
        (True, Reason.CLOSING, REASONS[Reason.CLOSING]),
        (False, Reason.RESTARTING, words.ONE_ENDS),
    ],
)
def test_end_of_one_of_several_servers_is_the_end_for_everybody_if_it_is_the_last(
    hall: Hall, company: Company, alone: bool, reason: Reason, text: str
) -> None:
    stranger = hall.greeted()
    hall.server.company = Mock(alone=alone)
    hall.server.terminate()
    farewell = hall.farewell_to(company.ira)
    assert (farewell.reason, farewell.text) == (reason, text)
    hall.until(lambda: stranger.eof)
    refused = decode_frame(frames_of(bytes(stranger.received))[-1][1])
    assert refused == Refused(reason, REASONS[reason])
    assert hall.server.company.leave.called


@pytest.mark.parametrize("step", [Server.restart, Server.pause])
def test_empty_server_goes_down_at_once(hall: Hall, step: Callable[[Server], None]) -> None:
    hall.when(lambda: True, lambda: step(hall.server))
    run_to_the_end(hall)
    assert hall.server.starts_anew is (step is Server.restart)


@pytest.fixture
def passing() -> Iterator[Hall]:
    """A server that would have another key the next time."""
    with contextlib.closing(Hall()) as hall:
        hall.server.comes_back = False
        yield hall


def test_server_that_would_have_another_key_does_not_restart_and_tells_nobody_to_wait(
    passing: Hall,
) -> None:
    company = Company(passing)
    passing.type("restart")
    passing.until(lambda: passing.shown(words.NO_RESTART))
    company.assert_undisturbed()
    passing.server.pause()
    assert passing.farewell_to(company.ira).reason is Reason.CLOSING


class File(InMemory):
    """A list that somebody edits."""

    def put(self, line: str) -> None:
        self.lines.append(line)
        self._changed = True


def test_reload_reads_every_list_opens_the_log_again_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys, bans, tags = File(), File(name="bans"), File(name="tags")
    listed = ListedTags(tags, lambda _: None)
    rules = RoomRules(is_allowed=listed, refresh=listed.refresh)
    with contextlib.closing(Hall(rules=rules, access=Access(keys=keys, bans=bans))) as hall:
        done = []

        def fail() -> None:
            raise OSError("the disk is full")

        hall.contains_faults = True
        monkeypatch.setattr(hall.server.operators, "refresh", fail)
        monkeypatch.setattr(hall.console.log, "reopen", lambda: done.append("log"))
        keys.put(key("ira").public.openssh)
        tags.put("00" * 16)
        bans.put(f"{key('other').public.fingerprint} 2026-11-27T12:00:00Z Eve")
        hall.server.reload()
        hall.until(lambda: hall.shown(words.RELOADED))
        assert done == ["log"]
        assert [file.read() for file in (keys, bans, tags)] == [None] * 3, "all were read"
        assert [ban.name for ban in hall.server.access.bans()] == ["Eve"]
        hall.join("Ira")
