"""Whom a client knows: what it is told when it enters, what it shows of whom, and what is kept."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from chat.client.contacts import Contacts
from chat.client.events import (
    ClientEvent,
    Entered,
    KeyChanged,
    MemberJoined,
    MemberLeft,
    MessageReceived,
    NoticeReceived,
    Person,
    Standing,
    Tampered,
    Warned,
)
from chat.client.known import Change, Known
from chat.errors import IdentityError, Reason
from chat.files.members import MembersFile
from chat.frozen import replace
from chat.identities import ClientIdentity
from chat.introduction import Introduction
from chat.kex import PublicKey, RoomKey
from chat.limits import KEEP_MEMBERS_SECONDS
from chat.text import fingerprint_of
from tests.support.helpers import key
from tests.support.loopback import Hall, Seat

ME, ONE, TWO = (bytes([number]) * 32 for number in range(3))
NOW = 2_000
IRA = Known("Ira", ONE, 1_000, 1_000)
CHANGED = KeyChanged("Ira", ONE, TWO, 1_000)


class NotedStore:
    """What is kept of each room. `broken` is why it cannot be used."""

    def __init__(self, **rooms: list[Known]) -> None:
        self.rooms = rooms
        self.complaint = self.broken = ""
        self.locked = False
        self.noted: list[str] = []

    def load(self, room: str) -> tuple[list[Known], str]:
        self.noted.append(f"load {room}")
        if self.broken:
            raise IdentityError(self.broken)
        return list(self.rooms.get(room, [])), self.complaint

    def keep(self, room: str, changes: list[Change], *, patient: bool) -> bool:
        self.noted.append(f"keep {room}")
        if self.broken:
            raise IdentityError(self.broken)
        if not self.locked:
            self.rooms.setdefault(room, []).extend(change.known for change in changes)
        return not self.locked


class Here:
    """Who is in the room. Nobody asks for all of them but when we enter."""

    def __init__(self, *people: Person) -> None:
        self._people = list(people)
        self.asked_for_all = 0

    def members(self) -> list[Person]:
        self.asked_for_all += 1
        return self._people

    def member(self, name: str, fingerprint: bytes) -> Person | None:
        found = (one for one in self._people if (one.name, one.fingerprint) == (name, fingerprint))
        return next(found, None)


def contacts(store: NotedStore | None) -> Contacts:
    return Contacts(store, "Me", ME, lambda: NOW + 0.5)


def enter(contacts: Contacts, *people: tuple[str, bytes], room: str = "room") -> list[ClientEvent]:
    """What is said of keys when we find these in the room."""
    entered = Entered(tuple(name for name, _ in people))
    members = [Person(name, 0, fingerprint) for name, fingerprint in (("Me", ME), *people)]
    first, *more = contacts.take(entered, room, Here(*members))
    assert first is entered
    return more


def take(contacts: Contacts, event: ClientEvent) -> list[ClientEvent]:
    return contacts.take(event, "room", Here())


# -- what is shown


def test_another_key_is_told_of_who_is_here_and_of_who_comes() -> None:
    us = contacts(NotedStore(room=[IRA]))
    assert enter(us, ("Ira", TWO), ("Bob", ONE)) != []
    us = contacts(NotedStore(room=[IRA]))
    assert enter(us, ("Ira", TWO)) == [CHANGED]
    joined = MemberJoined("Ira", TWO)
    left = MemberLeft("Ira", Reason.LEFT)
    assert take(us, left) == [left]
    assert take(us, joined) == [joined, CHANGED]
    us.trust(Person("Ira", 0, TWO))
    assert take(us, joined) == [joined]


def test_another_key_is_told_before_what_a_caller_says_of_whom_nobody_was_told() -> None:
    us = contacts(NotedStore(room=[IRA]))
    assert enter(us) == []
    said = MessageReceived("Ira", 0, "Hi", own=False, fingerprint=TWO)
    assert take(us, said) == [CHANGED, said]
    assert take(us, said) == [said], "once"
    assert enter(us) == []
    assert take(us, said) == [CHANGED, said]
    known = replace(said, fingerprint=ONE)
    assert take(us, known) == [known]


def test_key_of_a_caller_that_has_not_proved_to_have_the_room_key_owns_no_name() -> None:
    us = contacts(None)
    enter(us)
    said = MessageReceived("Ira", 0, "Hi", own=False, fingerprint=TWO)
    here = Here(Person("Ira", 0, TWO, calling=True, unproved=True))
    assert us.take(said, "room", here) == [said]
    assert here.asked_for_all == 0
    joined = MemberJoined("Ira", ONE)
    assert take(us, joined) == [joined]


def test_key_that_was_warned_of_can_be_trusted_though_its_owner_is_not_here() -> None:
    us = contacts(NotedStore(room=[IRA]))
    enter(us)
    said = MessageReceived("Ira", 0, "Hi", own=False, fingerprint=TWO)
    assert us.warned_of("Ira") is None
    take(us, said)
    warned = us.warned_of("IRA")
    assert warned == Person("Ira", 0, TWO, 0, standing=Standing.CHANGED, known_since=1_000)
    us.trust(warned)
    assert enter(us) == []
    assert take(us, said) == [said]
    assert take(us, MemberJoined("Ira", ONE))[1:] == [KeyChanged("Ira", TWO, ONE, NOW)]
    again = us.warned_of("Ira")
    assert again is not None
    assert again.fingerprint == ONE, "the last one that was warned of"
    with mock.patch("chat.client.contacts.MAX_KNOWN_MEMBERS", 1):
        take(us, MessageReceived("Bob", 0, "Hi", own=False, fingerprint=ONE))
        take(us, MessageReceived("Bob", 0, "Hi", own=False, fingerprint=TWO))
    assert us.warned_of("Ira") is None, "there is an end to what is remembered"
    assert us.warned_of("Bob") is not None
    enter(us, room="other")
    assert us.warned_of("Bob") is None


def test_room_has_its_own_names_and_we_are_nobody_new() -> None:
    store = NotedStore(room=[IRA], other=[])
    us = contacts(store)
    assert enter(us, ("Ira", TWO), room="other") == []
    assert enter(us, ("Ira", TWO)) == [CHANGED]
    assert store.noted == ["load other", "keep other", "load room"]
    assert [one.name for one in store.rooms["other"]] == ["Ira"], "not ourselves"
    assert us.described(Person("Me", 0, ME)).standing is Standing.YOU
    assert us.described(Person("Me", 0, ONE)).standing is Standing.NEW


def test_what_is_ignored_is_shown_to_nobody_and_all_else_is() -> None:
    us = contacts(NotedStore(room=[replace(IRA, ignored=True)]))
    enter(us, ("Bob", ONE), ("Ira", TWO))
    shown: list[ClientEvent] = [
        MessageReceived("Ira", 0, "Hi", False, 1, fingerprint=TWO),
        MessageReceived("Me", 0, "Hi", True, 1, fingerprint=ONE),
        NoticeReceived("Hi"),
    ]
    for event in shown:
        assert take(us, event) == [event]
    assert take(us, MessageReceived("Bob", 0, "Hi", False, 1, fingerprint=ONE)) == []
    bob, other = (us.described(Person("Bob", 0, fingerprint)) for fingerprint in (ONE, TWO))
    assert (bob.ignored, other.ignored) == (True, False)
    assert us.unignore("bob", [Person("Bob", 0, ONE)])
    assert not us.described(bob).ignored
    assert take(us, MessageReceived("Bob", 0, "Hi", False, 1, fingerprint=ONE)) != []


def test_name_means_whoever_has_it_here_and_else_whoever_had_it() -> None:
    us = contacts(NotedStore(room=[IRA]))
    enter(us, ("Ira", TWO))
    assert us.ignore("IRA", [Person("Ira", 0, TWO)]) == "Ira"
    heard = [
        take(us, MessageReceived("Ira", 0, "Hi", False, 1, fingerprint=one)) != []
        for one in (ONE, TWO)
    ]
    assert heard == [True, False]
    assert us.ignore("ira", []) == "Ira"
    assert take(us, MessageReceived("Ira", 0, "Hi", False, 1, fingerprint=ONE)) == []
    assert us.ignored() == ["Ira"]
    assert us.ignore("Zoe", []) == ""
    assert not us.unignore("Zoe", [])


# -- what is kept


def test_what_is_wrong_with_the_list_is_said_once() -> None:
    store = NotedStore()
    store.complaint = "line 3 is damaged"
    us = contacts(store)
    assert enter(us) == [Warned("Line 3 is damaged")]
    assert enter(us, room="other") == []


def test_list_that_cannot_be_read_is_left_alone() -> None:
    store = NotedStore()
    store.broken = "it is huge"
    us = contacts(store)
    assert enter(us, ("Ira", ONE)) == [
        Warned("What is known of the members is not kept: it is huge")
    ]
    store.broken = ""
    assert not us.has_changed
    assert us.keep(patient=True) == []
    assert store.rooms == {}
    assert take(us, MemberJoined("Ira", TWO))[1:] == [KeyChanged("Ira", ONE, TWO, NOW)]


def test_full_disk_is_said_once_and_nothing_is_lost() -> None:
    store = NotedStore()
    us = contacts(store)
    enter(us, ("Ira", ONE))
    store.broken = "the disk is full"
    told = [us.keep(patient=False) for _ in range(2)]
    assert told == [[Warned("What is known of the members is not kept: the disk is full")], []]
    store.broken, store.locked = "", True
    assert us.keep(patient=False) == []
    assert us.has_changed, "another program held the lock"
    store.locked = False
    assert us.keep(patient=False) == []
    assert store.rooms == {"room": [Known("Ira", ONE, NOW, NOW)]}
    assert not us.has_changed


def test_without_a_list_all_is_known_as_long_as_we_stay() -> None:
    us = contacts(None)
    enter(us, ("Ira", ONE))
    assert take(us, MemberJoined("Ira", TWO))[1:] == [KeyChanged("Ira", ONE, TWO, NOW)]
    assert us.keep(patient=True) == []
    assert not us.has_changed


# -- a whole client


@pytest.fixture
def hall() -> Iterator[Hall]:
    with contextlib.closing(Hall()) as hall:
        yield hall


def sit_down(hall: Hall, **options: Any) -> Seat:
    """Ira, in the room, at a terminal."""
    seat = hall.seat("Ira", on_terminal=True, **options)
    seat.begin()
    hall.until(lambda: seat.inside)
    seat.screen.clear()
    return seat


def stay(hall: Hall, story: Callable[[Seat], None], **options: Any) -> Seat:
    """Ira at a terminal, from before she connects until she leaves at the end of the story."""
    seat = hall.seat("Ira", on_terminal=True, **options)

    def told() -> None:
        story(seat)
        seat.type("/exit")

    seat.run(told)
    return seat


def shows(hall: Hall, seat: Seat, text: str) -> None:
    """Wait until a line with this text is shown."""
    hall.until(lambda: any(text in line for line in seat.screen.lines()))


def test_list_is_written_once_a_minute_and_at_the_end(hall: Hall) -> None:
    store = NotedStore()
    store.locked = True
    room = f"open:{key('server').public.digest[:8].hex()}"
    loaded, kept = f"load {room}", f"keep {room}"

    def story(seat: Seat) -> None:
        hall.until(lambda: seat.inside)
        for name, key_name in (("Thea", "other"), ("sahnawaz", "sahnawaz")):
            hall.join(name, key_name)
            shows(hall, seat, f"Username: {name}")
        hall.wait(KEEP_MEMBERS_SECONDS - 1)
        assert store.noted == [loaded]
        hall.wait(2)
        assert store.noted == [loaded, kept]
        store.locked = False
        hall.wait(KEEP_MEMBERS_SECONDS + 1)
        assert [one.name for one in store.rooms[room]] == ["Thea", "sahnawaz"]
        hall.wait(2 * KEEP_MEMBERS_SECONDS)
        assert store.noted == [loaded, kept, kept], "nothing is new"

    stay(hall, story, members=store)
    assert store.noted == [loaded, kept, kept, kept]


def test_key_is_ignored_by_its_fingerprint_before_it_comes(tmp_path: Path) -> None:
    """And in the next run, under whatever name."""
    room, said = "open:" + "0" * 16, MessageReceived("bot", 0, "Hi", own=False, fingerprint=ONE)
    tmp_path.chmod(0o700)
    us = Contacts(MembersFile(tmp_path / "known"), "Me", ME, lambda: NOW)
    enter(us, room=room)
    name = us.ignore(fingerprint_of(ONE), [])
    assert fingerprint_of(ONE).startswith(name)
    assert us.ignored() == [name]
    assert us.keep(patient=True) == []
    later = Contacts(MembersFile(tmp_path / "known"), "Me", ME, lambda: NOW)
    assert enter(later, room=room) == []
    assert take(later, said) == []
    assert later.ignored() == [name]
    assert later.unignore(fingerprint_of(ONE), [])
    assert take(later, said)[-1] == said


def test_fingerprint_of_somebody_known_is_as_good_as_the_name() -> None:
    us = contacts(None)
    here = [Person("Ira", 0, ONE)]
    enter(us, ("Ira", ONE))
    for members in (here, []):
        assert us.ignore(fingerprint_of(ONE), members) == "Ira"
        assert us.ignored() == ["Ira"]
        assert us.unignore("Ira", members)
    assert us.ignore(fingerprint_of(ME), here) == ""
    assert us.ignored() == []


def test_who_is_ignored_is_not_heard_in_the_next_run_either(hall: Hall, tmp_path: Path) -> None:
    store = MembersFile(tmp_path / "known_members")
    guest = hall.join("Thea", "other")

    def ignores(seat: Seat) -> None:
        hall.until(lambda: seat.inside)
        seat.type("/ignore thea")
        shows(hall, seat, "[+] Ignored: Thea")
        is_not_heard(seat)

    def is_not_heard(seat: Seat) -> None:
        guest.say("unheard")
        seat.type("after it")
        hall.until(lambda: guest.heard[-2:] == ["Thea: unheard", "Ira: after it"])
        hall.until(lambda: not seat.client._participant.unacknowledged)

    def hears_again(seat: Seat) -> None:
        hall.until(lambda: seat.inside)
        is_not_heard(seat)
        seat.type("/ignore", "/unignore THEA", "/who")
        shows(hall, seat, "[+] Ignored: Thea")
        shows(hall, seat, "Nobody is ignored")
        shows(hall, seat, "known since")
        guest.say("at last")
        shows(hall, seat, "Thea: at last")

    for story in (ignores, hears_again):
        seat = stay(hall, story, members=store)
        assert not any("unheard" in line for line in seat.screen.lines())


class Liar(Introduction):
    """Has the tag of a room and not its key, as the server has."""

    def to(self, server_key: PublicKey) -> ClientIdentity:
        identity = super().to(server_key)
        return replace(identity, card=replace(identity.card, proof=bytes(16)))


def test_sealed_room_shows_who_has_not_proved_to_have_its_key(hall: Hall) -> None:
    room_key = RoomKey(bytes(32))
    room = room_key.at(key("server").public.digest).tag[:8].hex()
    eve = Known("Eve", ONE, 1_000, 1_000)
    store, of_friend = NotedStore(**{room: [eve]}), NotedStore()
    seat = hall.seat("Ira", on_terminal=True, room_key=room_key, members=store)
    seat.begin()
    shows(hall, seat, "[+] In a sealed room. You are the first here.")
    assert store.noted == [f"load {room}"]
    liar = hall.knock("Eve", "other")
    liar.session._me = Liar.fresh("Eve", key("other"), os.urandom, room_key)
    shows(hall, seat, "Username: Eve")
    shows(hall, seat, "[!] Eve has not proved to have the room key.")
    seat.type("/who", "/trust Eve", "/security")
    shows(hall, seat, "Eve HAS ANOTHER KEY")
    shows(hall, seat, ", has not proved to have the room key")
    shows(hall, seat, "so there is nothing to trust")
    shows(hall, seat, "sealed: only somebody with its invite can join")
    options: dict[str, Any] = {"room_key": room_key, "members": of_friend}
    friend = hall.seat("Thea", "sahnawaz", on_terminal=True, **options)
    friend.begin()
    shows(hall, friend, "[+] In a sealed room with: Ira, Eve, Thea")
    shows(hall, friend, "[!] Not proved to have the room key: Eve")
    shows(hall, seat, "Username: Thea")
    assert not any("Thea has not" in line for line in seat.screen.lines())
    assert [one.unproved for one in friend.client.members()] == [False, True, False]
    hall.wait(KEEP_MEMBERS_SECONDS)
    assert [one.name for one in store.rooms[room]] == ["Eve", "Thea"]
    assert store.rooms[room][0] == eve, "nobody has changed what is known of Eve"
    assert [one.name for one in of_friend.rooms[room]] == ["Ira"]


def test_caller_under_a_known_name_with_another_key_is_told_of_before_it_is_heard(
    hall: Hall,
) -> None:
    room_key = RoomKey(bytes(32))
    room = room_key.at(key("server").public.digest).tag[:8].hex()
    store = NotedStore(**{room: [Known("Eve", ONE, 1_000, 1_000)]})
    seat = hall.seat("Ira", on_terminal=True, room_key=room_key, members=store)
    seat.begin()
    hall.until(lambda: seat.inside)
    guest = hall.join("Eve", "other", room_key, caller=True)
    guest.say("trust me")
    shows(hall, seat, "Eve: trust me")
    told = [line for line in seat.screen.lines() if "Eve" in line]
    assert "Eve HAS ANOTHER KEY" in told[0]
    assert told[-1].endswith("Eve: trust me")
    guest.session.close(Reason.LEFT)
    guest.flush()
    hall.until(lambda: len(seat.client.members()) == 1)
    seat.type("/trust eve")
    shows(hall, seat, "From now on this is the key of Eve")
    seat.type("/trust Zoe")
    shows(hall, seat, "called Zoe")
    hall.wait(KEEP_MEMBERS_SECONDS)
    kept = {one.fingerprint: one.trusted for one in store.rooms[room]}
    assert kept == {ONE: False, key("other").public.digest: True}


def test_security_counts_what_has_happened(hall: Hall) -> None:
    seat = sit_down(hall)
    here = seat.client.security()
    assert (here.tag, here.server) == (b"", key("server").public.fingerprint)
    assert (here.tampered, here.unconfirmed, here.split) == (0, 0, ())
    assert [one.standing for one in here.members] == [Standing.YOU]
    assert (seat.client.ignore("IRA"), seat.client.ignored()) == ("", [])
    seat.client.show_all([Tampered(2.0, certain=False, again=False)])
    seat.client.show_all([Tampered(2.0, certain=True, again=True)])
    here = seat.client.security()
    assert (here.tampered, here.unconfirmed) == (1, 1)
    assert here.tampered_at > 0
    hall.until(lambda: seat.client.can_send)
    guest = hall.join("Thea", "other")
    hall.until(lambda: seat.client.security().all_checked)
    before = seat.client.security().checked_at
    hall.wait(5)
    for text in ("checked at once", "checked in a second"):
        guest.say(text)
        shows(hall, seat, f"Thea: {text}")
    assert not seat.client.security().all_checked
    hall.wait(2)
    hall.until(lambda: seat.client.security().all_checked)
    assert seat.client.security().checked_at > before
