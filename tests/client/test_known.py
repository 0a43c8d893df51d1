"""Whose key had which name: what is said of a member, and what the person decides."""

from collections.abc import Callable
from unittest import mock

import pytest

from chat.client.events import ClientEvent, KeyChanged, NameChanged, Person, Standing
from chat.client.known import Change, Known, KnownMembers
from chat.text import caseless_name
from tests.support.helpers import steps

ONE, TWO, THREE = (bytes([number]) * 32 for number in (1, 2, 3))
THEN, NOW, LATER = 1_000, 2_000, 3_000

IRA = Known("Ira", ONE, THEN, THEN)


def standing(members: KnownMembers, name: str, key: bytes) -> tuple[Standing, int]:
    one = members.described(Person(name, 0, key))
    return one.standing, one.known_since


def kept(members: KnownMembers) -> list[Change]:
    changes = members.changes()
    members.kept()
    return changes


def test_first_use_is_silent_and_makes_the_key_the_names_own() -> None:
    members = KnownMembers()
    assert members.met("Ira", ONE, NOW) == []
    assert standing(members, "IRA", ONE) == (Standing.NEW, NOW)
    assert kept(members) == [Change(Known("Ira", ONE, NOW, NOW), decided=False)]
    assert not members.has_changed


def test_known_key_is_silent_and_was_seen_now() -> None:
    members = KnownMembers([IRA])
    assert members.met("ira", ONE, NOW) == []
    assert standing(members, "Ira", ONE) == (Standing.KNOWN, THEN)
    assert kept(members) == [Change(Known("ira", ONE, THEN, NOW), decided=False)]


@pytest.mark.parametrize("name", ["Ira", "IRA", "\uff29ra", "I\u200dra"])
def test_name_with_another_key_is_told_each_time_until_it_is_trusted(name: str) -> None:
    members = KnownMembers([IRA])
    told: list[ClientEvent] = [KeyChanged(name, ONE, TWO, THEN)]
    for _ in range(2):
        assert members.met(name, TWO, NOW) == told
        members.left(name, NOW)
    assert standing(members, name, TWO) == (Standing.CHANGED, THEN)
    members = KnownMembers([IRA, *(change.known for change in members.changes())])
    assert members.met(name, TWO, NOW) == told, "in the next run, too"
    members.trust(name, TWO, NOW)
    assert members.met(name, TWO, LATER) == []
    assert standing(members, name, TWO) == (Standing.KNOWN, NOW)
    assert members.met("Ira", ONE, LATER) == [KeyChanged("Ira", TWO, ONE, NOW)]
    assert {(change.known.fingerprint, change.known.trusted) for change in members.changes()} == {
        (ONE, False),
        (TWO, True),
    }
    assert all(change.decided for change in members.changes())


def test_two_keys_that_a_name_has_by_the_list_are_both_its_own() -> None:
    members = KnownMembers([IRA, Known("Ira", TWO, THEN, NOW)])
    assert members.met("Ira", ONE, NOW) == members.met("Ira", TWO, LATER) == []
    assert members.met("Ira", THREE, LATER) == [KeyChanged("Ira", TWO, THREE, THEN)]


def test_key_that_nobody_owns_any_more_is_as_at_first_use() -> None:
    members = KnownMembers([Known("Ira", TWO, THEN, THEN, trusted=False)])
    assert members.met("Ira", TWO, NOW) == []
    assert standing(members, "Ira", TWO) == (Standing.KNOWN, THEN)


def test_known_key_under_another_name_is_told_once() -> None:
    members = KnownMembers([IRA, Known("Old", ONE, 0, 0)])
    assert members.met("Bob", ONE, NOW) == [NameChanged("Bob", "Ira", ONE, THEN)]
    assert members.met("Bob", ONE, NOW) == []
    members = KnownMembers([IRA, *(change.known for change in members.changes())])
    assert members.met("Bob", ONE, LATER) == []


def test_name_and_key_that_are_both_known_otherwise_are_both_told() -> None:
    members = KnownMembers([IRA, Known("Bob", TWO, THEN, THEN)])
    assert members.met("Ira", TWO, NOW) == [
        NameChanged("Ira", "Bob", TWO, THEN),
        KeyChanged("Ira", ONE, TWO, THEN),
    ]


def test_member_without_proof_owns_no_name_and_leaves_nothing() -> None:
    members = KnownMembers([IRA])
    assert members.met("Zoe", TWO, NOW, unproved=True) == []
    assert members.met("Ira", ONE, NOW, unproved=True) == []
    assert members.met("Ira", TWO, NOW, unproved=True) == [KeyChanged("Ira", ONE, TWO, THEN)]
    assert standing(members, "Zoe", TWO) == (Standing.NEW, 0)
    assert not members.has_changed
    assert members.met("Zoe", ONE, NOW) == [NameChanged("Zoe", "Ira", ONE, THEN)]
    assert standing(members, "Zoe", ONE) == (Standing.NEW, NOW)


# -- when somebody was seen


def test_last_time_is_that_of_the_leave_or_of_the_end() -> None:
    members = KnownMembers()
    for name, key in (("Ira", ONE), ("Bob", TWO), ("Zoe", THREE)):
        members.met(name, key, THEN)
    members.left("Ira", NOW)
    members.left("nobody", NOW)
    members.everybody_is_seen(LATER)
    assert [(one.known.name, one.known.last) for one in members.changes()] == [
        ("Ira", NOW),
        ("Bob", LATER),
        ("Zoe", LATER),
    ]
    members.kept()
    members.nobody_is_here()
    members.everybody_is_seen(LATER + 1)
    assert members.changes() == []


def test_clock_that_was_set_back_makes_nothing_earlier() -> None:
    members = KnownMembers([Known("Ira", ONE, NOW, LATER)])
    members.met("Ira", ONE, THEN)
    members.left("Ira", THEN)
    assert members.changes() == [Change(Known("Ira", ONE, NOW, LATER), decided=False)]


# -- ignoring


def test_ignoring_goes_by_key_whatever_name_it_takes() -> None:
    members = KnownMembers()
    members.met("Ira", ONE, THEN)
    members.ignore("ira", ONE, NOW)
    members.met("Bob", ONE, NOW)
    members.met("Ira", TWO, NOW)
    assert (members.ignores(ONE), members.ignores(TWO)) == (True, False)
    assert [one.name for one in members.ignored()] == ["Ira"]
    members = KnownMembers(change.known for change in members.changes())
    assert members.ignores(ONE)
    members.unignore([ONE, THREE])
    assert not members.ignores(ONE)
    assert members.ignored() == []
    assert [change.known.ignored for change in members.changes() if change.decided] == [False] * 2


def test_stranger_who_is_ignored_does_not_own_the_name() -> None:
    """It was never proved to be in the sealed room, for instance."""
    members = KnownMembers()
    members.ignore("Ira", ONE, NOW)
    assert members.ignores(ONE)
    assert members.met("Ira", TWO, NOW) == []


def test_keys_of_a_name_begin_with_its_own() -> None:
    members = KnownMembers([IRA, Known("IRA", TWO, THEN, LATER, trusted=False)])
    assert [one.fingerprint for one in members.keys_of("ira")] == [ONE, TWO]
    assert members.keys_of("Bob") == []


# -- no more than there is place for


def test_whoever_was_not_seen_for_longest_is_forgotten() -> None:
    old = [Known(f"old {number}", bytes([number]) * 32, number, number) for number in range(4)]
    with (
        mock.patch("chat.client.known.MAX_KNOWN_MEMBERS", 2),
        mock.patch("chat.client.known.MAX_MEMBERS", 2),
    ):
        members = KnownMembers(old)
        members.ignore("old 0", bytes(32), 4)
        members.met("old 1", b"\1" * 32, 5)
        for number in range(10, 15):
            members.met(f"new {number}", bytes([number]) * 32, number)
            members.left(f"new {number}", number)
        assert len(members) == 4
        assert [name for name in map(str, range(4)) if members.keys_of(f"old {name}")] == ["0", "1"]
        assert members.keys_of("new 14")
        assert members.ignores(bytes(32))
        for number in range(20, 25):
            members.ignore(f"worse {number}", bytes([number]) * 32, number)
        assert len(members) == 4, "even if all are ignored"


# -- what a server can make happen -------------------------------------------------------------


Who = Callable[[int], tuple[str, bytes]]


def names_of_one_key(number: int) -> tuple[str, bytes]:
    return f"name {number}", ONE


def keys_of_one_name(number: int) -> tuple[str, bytes]:
    return "Ira", number.to_bytes(32, "big")


def strangers(number: int) -> tuple[str, bytes]:
    return f"name {number}", number.to_bytes(32, "big")


def cost_of_one_more(many: int, who: Who, *, ignored: bool, full: bool) -> int:
    """How much there is to do when one more comes to so many, and goes again."""
    with (
        mock.patch("chat.client.known.MAX_KNOWN_MEMBERS", many if full else 2 * many),
        mock.patch("chat.client.known.MAX_MEMBERS", 0),
    ):
        old = [Known(*who(at), at, at, trusted=True, ignored=ignored) for at in range(many)]
        members = KnownMembers(old)
        for known in old[1::2]:
            members.met(known.name, known.fingerprint, many)
        name, fingerprint = who(many)

        def come_and_go() -> None:
            members.met(name, fingerprint, many)
            members.described(Person(name, 0, fingerprint))
            members.ignores(fingerprint)
            members.left(name, many)

        caseless_name.cache_clear()
        cost = steps(come_and_go)
        assert len(members) == (many if full else many + 1)
    return cost


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("who", [names_of_one_key, keys_of_one_name, strangers])
def test_one_more_costs_the_same_however_many_are_known(
    who: Who, ignored: bool, full: bool
) -> None:
    """A server can make up thousands."""
    few, many = (cost_of_one_more(number, who, ignored=ignored, full=full) for number in (20, 400))
    assert few == many
