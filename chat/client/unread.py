"""What we said in private to somebody who was lost, until they are back or gone.

Such a message waits in the server's log, as everything does, for its reader's return. If the reader
is back, it reads on from where it was. If it leaves for good, nobody has read the message, and we
say so, once. Which connections can read a message is in `direct`. A program that has lost its place
comes as another member, with the same share, and does not read what was said before.
"""

from collections.abc import Container, Iterable

from chat.client.events import ClientEvent, Warned
from chat.client.peers import Peer, Peers
from chat.frozen import frozen, replace
from chat.limits import MAX_UNREAD


@frozen
class _Waiting:
    """For whom a message waits: the name and the key of a person, and the numbers of the members
    that can read it; nobody's if it is to be said again in a new room, where it waits for its place
    in the log. `certain`: they were lost when it came there."""

    name: str
    fingerprint: bytes
    members: frozenset[int]
    certain: bool


class Unread:
    """Our private messages that wait for their readers, by their numbers in our run."""

    def __init__(self) -> None:
        self._waiting: dict[int, _Waiting] = {}
        self._checked: dict[int, _Waiting] = {}
        """How it was when the server last vouched for what we read."""

    def wait(
        self, number: int, name: str, fingerprint: bytes, readers: Iterable[Peer], *, certain: bool
    ) -> None:
        """All `readers` of this message are lost."""
        members = frozenset(one.number for one in readers)
        self._waiting[number] = _Waiting(name, fingerprint, members, certain)
        if len(self._waiting) > MAX_UNREAD:
            self.forget(next(iter(self._waiting)))

    def forget(self, number: int) -> bool:
        """This message waits no longer; whether it did."""
        self._checked.pop(number, None)
        return self._waiting.pop(number, None) is not None

    def look(self, peers: Peers) -> list[ClientEvent]:
        """People have come, gone, or are back. Returns what there is to tell of what they will not
        read."""
        told = []
        for number, waiting in list(self._waiting.items()):
            if not waiting.members:
                continue
            person = peers.of_person(waiting.name, waiting.fingerprint)
            readers = [one for one in person if one.number in waiting.members]
            if not readers:
                self.forget(number)
                told.append(_text(waiting, is_here=bool(person)))
            elif not all(one.lost for one in readers):
                del self._waiting[number]
        return [Warned(text) for text in dict.fromkeys(told)]

    def enter(
        self, peers: Peers, said_again: Container[int], *, new_room: bool
    ) -> list[ClientEvent]:
        """We have missed something, and this is the roster now. `said_again`: what we say again in
        the new room; nobody can read the rest there."""
        self._waiting = {
            number: replace(waiting, certain=False) for number, waiting in self._waiting.items()
        }
        if not new_room:
            return self.look(peers)
        lost = [waiting for number, waiting in self._waiting.items() if number not in said_again]
        told = [_text(waiting, is_here=False) for waiting in lost]
        for known in (self._waiting, self._checked):
            for number in list(known):
                if number in said_again:
                    known[number] = replace(known[number], members=frozenset())
                else:
                    del known[number]
        return [Warned(text) for text in dict.fromkeys(told)]

    # -- what the server vouches for

    def checked(self) -> None:
        """The server has vouched for what was read."""
        self._checked = dict(self._waiting)

    def take_back(self) -> None:
        """What passed for a return since the last CHECK may have been none."""
        self._waiting = self._checked | self._waiting


def left_unread(name: str) -> str:
    """What to say of whoever has gone without having read a message."""
    return f"{name} left without having read what you said in private"


def may_not_have_reached(name: str) -> str:
    """What to say where nobody knows whether a person has read a message."""
    return f"What you said to {name} in private may not have reached {name}"


def _text(waiting: _Waiting, *, is_here: bool) -> str:
    name = waiting.name
    if is_here and waiting.certain:
        return f"{name} is here anew, and has not read what you said in private before"
    if waiting.certain:
        return left_unread(name)
    return may_not_have_reached(name)
