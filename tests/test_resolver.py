"""Looking up a host in a child process, which is killed when its answer is no longer wanted."""

import errno
import os
import signal
import socket
import sys

import pytest

from chat import resolver
from chat.limits import LOOKUP_SECONDS
from chat.reactor import Reactor
from chat.resolver import Address, LookUp
from tests.support.helpers import FakeClock
from tests.support.loopback import until

ANSWER = "import marshal, sys; sys.stdout.buffer.write(marshal.dumps({}))"
SILENCE = "import _signal; _signal.pause()"


class Asked:
    """A look-up, and how often it said that it is over."""

    def __init__(
        self, reactor: Reactor, host: str = "chat.example", *, may_be_kept: bool = False
    ) -> None:
        self.times = 0
        self.host = host
        self.look_up = LookUp(reactor, host, 9443, self._count, may_be_kept=may_be_kept)
        self.child = self.look_up._child

    def _count(self) -> None:
        self.times += 1

    @property
    def hint(self) -> str:
        """The hint of the error; there must be one, and no address."""
        assert self.look_up.addresses == []
        assert str(self.look_up.error) == f"the host {self.host} is not known"
        assert self.look_up.error is not None
        return self.look_up.error.hint


def is_there(child: int) -> bool:
    """Whether this is still a child of ours, dead or alive."""
    try:
        os.waitpid(child, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", Address(socket.AF_INET, ("127.0.0.1", 9443))),
        ("127.1", Address(socket.AF_INET, ("127.0.0.1", 9443))),
        ("::1", Address(socket.AF_INET6, ("::1", 9443, 0, 0))),
        ("fe80::1%1", Address(socket.AF_INET6, ("fe80::1", 9443, 0, 1))),
    ],
)
def test_address_is_understood_at_once(reactor: Reactor, host: str, address: Address) -> None:
    asked = Asked(reactor, host)
    assert (asked.look_up.over, asked.look_up.addresses, asked.child) == (True, [address], 0)


def test_name_is_looked_up_as_the_system_does(reactor: Reactor) -> None:
    found = socket.getaddrinfo("localhost", 9443, type=socket.SOCK_STREAM)
    asked = Asked(reactor, "LocalHost")
    assert not asked.look_up.over
    until(reactor, lambda: asked.look_up.over)
    assert asked.look_up.addresses == [Address(family, where) for family, _, _, _, where in found]
    assert (asked.look_up.error, asked.times, is_there(asked.child)) == (None, 1, False)


@pytest.mark.parametrize(
    ("child", "hint"),
    [
        (ANSWER.format(socket.EAI_NONAME), "is it spelled right, and are you online?"),
        (ANSWER.format(socket.EAI_AGAIN), "the name server does not answer; are you online?"),
        (ANSWER.format([]), "is it spelled right, and are you online?"),
        (
            ANSWER.format([1]).replace("([1])", "([1])[:-3]"),
            "the name server does not answer; are you online?",
        ),
        ("", "the name server does not answer; are you online?"),
        ("raise Exception", "the name server does not answer; are you online?"),
    ],
    ids=["unknown", "try again", "no address", "half an answer", "no answer", "failure"],
)
def test_failure_has_a_hint(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch, child: str, hint: str
) -> None:
    monkeypatch.setattr(resolver, "_CHILD", child)
    asked = Asked(reactor)
    until(reactor, lambda: asked.look_up.over)
    assert (asked.hint, asked.times, is_there(asked.child)) == (hint, 1, False)


def test_name_without_a_dot_may_have_been_meant_as_a_kept_room(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "_CHILD", ANSWER.format(socket.EAI_NONAME))
    asked, other = Asked(reactor, "friends", may_be_kept=True), Asked(reactor, "redis")
    until(reactor, lambda: asked.look_up.over and other.look_up.over)
    assert asked.hint.endswith("listed by: chatapp rooms")
    assert other.hint == "is it spelled right, and are you online?"


def test_silence_has_a_limit(
    reactor: Reactor, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "_CHILD", SILENCE)
    asked = Asked(reactor)
    clock.advance(LOOKUP_SECONDS - 0.001)
    reactor.turn(0)
    assert not asked.look_up.over
    clock.advance(0.001)
    reactor.turn(0)
    assert asked.hint == "the name server does not answer; are you online?"
    assert (asked.times, is_there(asked.child)) == (1, False)


@pytest.mark.parametrize("reaped", [False, True], ids=["by us", "by itself"])
def test_child_whose_answer_is_not_wanted_is_killed_and_reaped(
    reactor: Reactor, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, reaped: bool
) -> None:
    monkeypatch.setattr(resolver, "_CHILD", SILENCE)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN if reaped else signal.SIG_DFL)
    try:
        asked = Asked(reactor)
        asked.look_up.close()
        asked.look_up.close()
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert not is_there(asked.child)
    clock.advance(LOOKUP_SECONDS)
    reactor.turn(0)
    assert asked.times == 0


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        ("/nowhere/python", os.strerror(errno.ENOENT)),
        ("", "nobody knows where Python is"),
        (None, "nobody knows where Python is"),
    ],
)
def test_child_that_cannot_be_started_is_a_failure(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch, python: str | None, reason: str
) -> None:
    monkeypatch.setattr(sys, "executable", python)
    asked = Asked(reactor)
    assert asked.hint == f"no process can be started to look it up: {reason}"


def test_child_has_nothing_of_ours(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no descriptors, is in a process group of its own, and ignores no signal."""
    ours = [*os.openpty(), *os.pipe()]
    report = (
        "import _signal, marshal, posix, sys\n"
        "def there(number):\n"
        "    try: return bool(posix.fstat(number))\n"
        "    except OSError: return False\n"
        f"open_ones = [number for number in {ours} if there(number)]\n"
        "ignored = _signal.getsignal(_signal.SIGHUP) == _signal.SIG_IGN\n"
        "alone = posix.getpgrp() == posix.getpid()\n"
        "answer = [(0, 0, 0, '', (open_ones, ignored, alone))]\n"
        "sys.stdout.buffer.write(marshal.dumps(answer))\n"
    )
    monkeypatch.setattr(resolver, "_CHILD", report)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        asked = Asked(reactor)
    finally:
        signal.signal(signal.SIGHUP, before)
    until(reactor, lambda: asked.look_up.over)
    for descriptor in ours:
        os.close(descriptor)
    assert asked.look_up.addresses == [Address(0, ([], False, True))]
