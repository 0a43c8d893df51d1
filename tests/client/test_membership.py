"""What a WELCOME means, going by the one before it. What else neither it nor a roster may say is in
the vectors and in `test_peers`."""

import pytest

from chat.client.membership import Membership
from chat.errors import ProtocolError
from tests.support.hall import MEMBERS, ROOM, TOKEN, US, Server, entry

SAME, PUT_OUT, RESTARTED = (ROOM, TOKEN), (ROOM, bytes(16)), (b"room two", TOKEN)


def welcomed(
    before: Membership | None, place: tuple[bytes, bytes], messages: int = 0, *, entered: bool
) -> Membership:
    server = Server()
    server.room, server.token = place
    membership = Membership(server.welcome(messages=messages), before)
    assert not membership.take(MEMBERS[:1])
    if entered:
        assert membership.take(MEMBERS[1:])
        membership.enter()
    return membership


@pytest.mark.parametrize(
    ("places", "is_new", "changed_room", "missed"),
    [
        ([], True, False, 0),
        ([SAME], False, False, 7),
        ([PUT_OUT], True, False, 7),
        ([RESTARTED], True, True, 0),
        # Of what the welcomes in between brought nothing was told.
        ([SAME, SAME], False, False, 14),
        ([PUT_OUT, PUT_OUT], True, False, 14),
        ([RESTARTED, RESTARTED], True, True, 7),
        ([RESTARTED, RESTARTED, RESTARTED], True, True, 14),
    ],
)
def test_welcome_is_told_by_the_membership_that_was_entered_last(
    places: list[tuple[bytes, bytes]], is_new: bool, changed_room: bool, missed: int
) -> None:
    membership = welcomed(None, SAME, 10, entered=True)
    for number, place in enumerate(places, 1):
        last = number == len(places)
        membership = welcomed(membership, place, 10 + 7 * number, entered=last)
        assert membership.was_in
    told = (membership.is_new, membership.changed_room, membership.missed)
    assert told == (is_new, changed_room, missed)


def test_first_room_is_no_change_though_another_was_announced() -> None:
    """The roster was cut off, and then the server died."""
    announced = welcomed(None, SAME, entered=False)
    assert not announced.was_in
    membership = welcomed(announced, RESTARTED, entered=True)
    assert membership.was_in
    assert membership.is_new
    assert not membership.changed_room


def test_server_that_counts_fewer_messages_than_we_have_heard_makes_no_negative_gap() -> None:
    before = welcomed(None, SAME, 10, entered=True)
    assert welcomed(before, SAME, 9, entered=True).missed == 0


@pytest.mark.parametrize("first", [0, 1, 2])
def test_more_members_than_the_welcome_said_are_a_breach(first: int) -> None:
    membership = Membership(Server().welcome(members=2), None)
    membership.take(MEMBERS[:first])
    with pytest.raises(ProtocolError, match="more members than the welcome said"):
        membership.take(MEMBERS[first:])


def test_roster_that_says_that_we_are_lost_is_a_breach() -> None:
    """It came over our connection."""
    membership = Membership(Server().welcome(members=1), None)
    membership.take((entry(US, "Ira", lost=True),))
    with pytest.raises(ProtocolError, match="in the list of members without a connection"):
        membership.ourselves("Ira")


@pytest.mark.parametrize(
    ("share", "proved"), [(b"x" * 32, True), (MEMBERS[0].card.share, False)], ids=["share", "proof"]
)
def test_roster_that_shows_us_as_somebody_else_in_a_sealed_room_is_refused(
    share: bytes, proved: bool
) -> None:
    """Otherwise a server could let us speak in the name of whose entry we are shown as ours."""
    membership = Membership(Server().welcome(), None, lambda _entry: proved)
    membership.take(MEMBERS)
    with pytest.raises(ProtocolError, match="as somebody else"):
        membership.ourselves("Ira", share)
    assert membership.ourselves("Ira") is membership.us
