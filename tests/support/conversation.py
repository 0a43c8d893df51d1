"""A client that only takes notes, for the tests of views."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from chat.client.contacts import Contacts
from chat.client.events import ClientEvent, Entered, MessageQueued, Person, Security, TopicSet
from chat.errors import UsageError
from chat.frozen import replace
from chat.reactor import Reactor
from chat.text import caseless_name
from chat.ui.commands import Commands
from chat.ui.plain import LineView
from chat.ui.quiet import Quiet
from chat.ui.style import Painter
from tests.support.loopback import Screen, until

LONGEST = 100

PEOPLE = [
    Person("Ira", 1_687_665_924, bytes(32)),
    Person("sahnawaz", 1_687_665_936, bytes([1]) * 32),
    Person("Thea", 1_687_665_948, bytes([2]) * 32),
]


class NotedClient:
    """Ira's client, who knows the others for a day. `noted` lists what was asked of it."""

    name = "Ira"
    invite: str | None = None
    in_room = can_send = True
    full = False
    unanswered_since: float | None = None

    def __init__(self) -> None:
        self.noted: list[str] = []
        self.people = list(PEOPLE)
        self.subject = TopicSet("", 0, changed=False)
        self.here = Security(b"", "SHA256:server", 1_687_665_924, True, 0, 0, 0, (), ())
        self.contacts = Contacts(None, "Ira", bytes(32), lambda: 1_687_579_524.0)
        self.contacts.take(Entered(()), "", self)

    def members(self) -> list[Person]:
        return [self.contacts.described(one) for one in self.people]

    def member(self, name: str, fingerprint: bytes) -> Person | None:
        found = (one for one in self.people if (one.name, one.fingerprint) == (name, fingerprint))
        return next(found, None)

    def trust(self, name: str) -> Person | None:
        one = self._find(name)
        if one is not None:
            self.contacts.trust(one)
        return one

    def _find(self, name: str) -> Person | None:
        return next(
            (one for one in self.members() if caseless_name(one.name) == caseless_name(name)), None
        )

    def ignore(self, name: str) -> str:
        return self.contacts.ignore(name, self.people)

    def unignore(self, name: str) -> bool:
        return self.contacts.unignore(name, self.people)

    def ignored(self) -> list[str]:
        return self.contacts.ignored()

    def topic(self) -> TopicSet:
        return self.subject

    def security(self) -> Security:
        return replace(self.here, members=tuple(self.members()))

    def say(self, text: str) -> MessageQueued:
        if len(text) > LONGEST:
            raise UsageError("it is too long")
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise UsageError("it is not UTF-8")
        self.noted.append(f"say {text}")
        return MessageQueued(len(self.noted), text)

    def say_direct(self, person: Person, text: str) -> MessageQueued:
        here = [(one.name, one.fingerprint) for one in self.people]
        if (person.name, person.fingerprint) not in here:
            raise UsageError(f"{person.name} is not here any more")
        queued = self.say(text)
        self.noted[-1] = f"say to {person.name}: {text}"
        return replace(queued, to=person.name)

    def operate(self, command: str) -> None:
        if len(command) > LONGEST:
            raise UsageError("it is too long")
        self.noted.append(f"operate {command}")

    def finish(self) -> None:
        self.noted.append("finish")

    def leave(self, word: str = "") -> None:
        if len(word) > LONGEST:
            raise UsageError("it is too long")
        self.noted.append(f"leave {word}".rstrip())


def commands_of(client: NotedClient, **callbacks: Any) -> Commands:
    """The commands of a person at this client; of what a view would do, what a test does not ask
    for does nothing."""
    usual = {"show": _nothing, "clear": _nothing, "unfold": bool, "recall": _nothing}
    return Commands(client, **{**usual, "quiet": Quiet(lambda: 0.0), **callbacks})


def _nothing(_: object) -> None:
    pass


class LoneView:
    """A view of lines, the hand that types into it, and what it shows. Messages have a dash for
    their time."""

    def __init__(self, reactor: Reactor, make: type[LineView], hand: int, source: int) -> None:
        self._reactor = reactor
        self._hand = hand
        self._source = source
        self._screen = Screen(reactor)
        self.client = NotedClient()
        self.view = make(reactor, source, self._screen.output, Painter("Ira", time_format="-"))
        self.view.open(self.client)
        self.view.take_input(True)

    @property
    def shown(self) -> list[str]:
        return self._screen.lines()

    def show(self, *events: ClientEvent) -> list[str]:
        """What is shown when this happens."""
        self._screen.clear()
        for event in events:
            self.view.show(event)
        return self.shown

    def send(self, data: bytes) -> None:
        """Type this, as it is."""
        os.write(self._hand, data)

    def type(self, *lines: str) -> None:
        """Type lines, and one more that is sure to be sent; wait for that one."""
        typed = "".join(f"{line}\n" for line in (*lines, "last"))
        self.send(typed.encode(errors="surrogateescape"))
        until(self._reactor, lambda: "say last" in self.client.noted)
        self.client.noted.remove("say last")

    def end_input(self) -> None:
        os.close(self._hand)
        self._hand = -1
        until(self._reactor, lambda: "finish" in self.client.noted)

    def close(self) -> None:
        self._reactor.unwatch(self._source)
        for descriptor in (self._hand, self._source):
            if descriptor >= 0:
                os.close(descriptor)
        self._screen.close()


@contextlib.contextmanager
def seat_at_pipe(reactor: Reactor, make: type[LineView]) -> Iterator[LoneView]:
    source, hand = os.pipe()
    with contextlib.closing(LoneView(reactor, make, hand, source)) as seat:
        yield seat


@contextlib.contextmanager
def seat_at_terminal(reactor: Reactor, make: type[LineView]) -> Iterator[LoneView]:
    with contextlib.closing(LoneView(reactor, make, *os.openpty())) as seat:
        yield seat
