"""What is said in private to somebody who is lost, and whether they come back for it."""

from collections.abc import Iterator
from unittest import mock

import pytest

from chat.client.peers import Peer, Peers
from chat.client.unread import Unread
from chat.errors import Reason
from chat.identities import Card
from chat.kex import RoomKey
from chat.limits import GRACE_SECONDS, REGROUP_SECONDS, RESUME_TOKEN_BYTES
from tests.support.hall import MemberInMemory, RoomInMemory, fingerprint
from tests.support.helpers import roster_of

LEFT = "Boris left without having read what you said in private"
ANEW = "Boris is here anew, and has not read what you said in private before"
PERHAPS = "What you said to Boris in private may not have reached Boris"


@pytest.fixture(params=[None, RoomKey(bytes(32))], ids=["open", "sealed"])
def hall(request: pytest.FixtureRequest) -> RoomInMemory:
    return RoomInMemory(request.param)


@pytest.fixture
def ira(hall: RoomInMemory) -> Iterator[MemberInMemory]:
    """Ira is told nothing twice."""
    (ira,) = hall.enter("Ira")
    yield ira
    assert len(ira.warnings()) == len(set(ira.warnings()))


def lose(hall: RoomInMemory, *seats: MemberInMemory) -> None:
    for seat in seats:
        hall.lose(seat)
    hall.settle()


def say(hall: RoomInMemory, ira: MemberInMemory, *texts: str) -> None:
    for text in texts or ("Psst",):
        ira.say_to("Boris", text)
    hall.settle()


def let_pass(hall: RoomInMemory, seconds: float = GRACE_SECONDS + 1) -> None:
    """Time passes, by default so much that who is lost leaves."""
    hall.pass_time(seconds)
    hall.settle()
    hall.pass_time(1)
    hall.settle()


def kick(hall: RoomInMemory, *seats: MemberInMemory) -> None:
    for seat in seats:
        hall.leave(seat, Reason.KICKED)
    let_pass(hall, 1)


def new_room(hall: RoomInMemory, *back: MemberInMemory) -> None:
    """The server dies, and these are in a new room."""
    hall.crash()
    for seat in back:
        hall.come_back(seat)
    hall.pass_time(1)
    hall.settle()
    hall.now += REGROUP_SECONDS
    for seat in back:
        seat.participant.tick(hall.now)
    hall.settle()


# -- as long as we read on ---------------------------------------------------------------------


def test_who_is_lost_and_leaves_has_not_read_what_was_said_meanwhile(
    hall: RoomInMemory, ira: MemberInMemory
) -> None:
    (boris,) = hall.enter("Boris")
    lose(hall, boris)
    say(hall, ira, "one", "two")
    assert ira.warnings() == []
    let_pass(hall)
    assert ira.warnings() == [LEFT]
    let_pass(hall)
    assert ira.warnings() == [LEFT]


def test_who_comes_back_has_read_it_and_may_be_lost_again(
    hall: RoomInMemory, ira: MemberInMemory
) -> None:
    (boris,) = hall.enter("Boris")
    lose(hall, boris)
    say(hall, ira)
    hall.come_back(boris)
    hall.settle()
    lose(hall, boris)
    let_pass(hall)
    assert (boris.said(), ira.warnings()) == ([("Ira", "Psst")], [])


def test_what_was_sent_to_somebody_here_is_not_called_unread(
    hall: RoomInMemory, ira: MemberInMemory
) -> None:
    """It may be, but nobody knows."""
    (boris,) = hall.enter("Boris")
    say(hall, ira)
    lose(hall, boris)
    kick(hall, boris)
    assert ira.warnings() == []


def test_it_is_read_if_one_connection_of_several_is_back(
    hall: RoomInMemory, ira: MemberInMemory
) -> None:
    laptop, phone = hall.enter("Boris", "Boris")
    lose(hall, laptop, phone)
    say(hall, ira)
    kick(hall, laptop)
    assert ira.warnings() == []
    hall.come_back(phone)
    hall.settle()
    kick(hall, phone)
    assert ira.warnings() == []
    assert phone.said() == [("Ira", "Psst")]


def test_it_is_unread_if_all_connections_that_can_read_it_have_gone(
    hall: RoomInMemory, ira: MemberInMemory
) -> None:
    laptop, phone = hall.enter("Boris", "Boris")
    lose(hall, laptop, phone)
    say(hall, ira)
    (anew,) = hall.enter("Boris")
    kick(hall, laptop)
    assert ira.warnings() == []
    kick(hall, phone)
    assert (anew.said(), ira.warnings()) == ([], [ANEW])


def test_who_has_lost_the_place_and_comes_as_another_member_has_not_read_it(
    hall: RoomInMemory, ira: MemberInMemory
) -> None:
    (boris,) = hall.enter("Boris")
    lose(hall, boris)
    say(hall, ira)
    boris.member.token = bytes(RESUME_TOKEN_BYTES)
    hall.come_back(boris)
    let_pass(hall, 1)
    assert ira.warnings() == []
    let_pass(hall)
    assert (boris.said(), ira.warnings()) == ([], [ANEW])


# -- when we have missed something -------------------------------------------------------------


@pytest.mark.parametrize("is_back", [False, True])
def test_who_left_while_we_were_away_may_not_have_read_it(
    hall: RoomInMemory, ira: MemberInMemory, is_back: bool
) -> None:
    (boris,) = hall.enter("Boris")
    lose(hall, boris)
    say(hall, ira)
    lose(hall, ira)
    if is_back:
        hall.come_back(boris)
        hall.settle()
    else:
        hall.leave(boris)
    hall.pass_time(1)
    hall.log.trim(hall.log.end)
    hall.come_back(ira)
    hall.settle()
    assert ira.warnings() == [PERHAPS] * (not is_back)
    if is_back:
        kick(hall, boris)
        assert ira.warnings() == []


def test_in_a_new_room_it_is_read_there(hall: RoomInMemory, ira: MemberInMemory) -> None:
    (boris,) = hall.enter("Boris")
    lose(hall, boris)
    say(hall, ira)
    new_room(hall, ira, boris)
    kick(hall, boris)
    assert (boris.said(), ira.warnings()) == ([("Ira", "Psst")], [])


def test_what_is_to_be_said_again_in_a_new_room_waits_for_that(
    hall: RoomInMemory, ira: MemberInMemory
) -> None:
    (boris,) = hall.enter("Boris")
    lose(hall, boris)
    say(hall, ira)
    hall.crash()
    hall.come_back(ira)
    let_pass(hall, 1)
    hall.enter("Eve")
    hall.come_back(boris)
    let_pass(hall, 1)
    assert (boris.said(), ira.warnings()) == ([("Ira", "Psst")], [])


def test_in_a_new_room_nobody_reads_it_who_is_not_there(
    hall: RoomInMemory, ira: MemberInMemory
) -> None:
    (boris,) = hall.enter("Boris")
    lose(hall, boris)
    say(hall, ira)
    new_room(hall, ira)
    assert ira.warnings() == [LEFT]


def test_what_is_too_old_to_be_said_again_in_a_new_room_may_not_have_reached_anybody(
    hall: RoomInMemory, ira: MemberInMemory
) -> None:
    (boris,) = hall.enter("Boris")
    lose(hall, boris)
    say(hall, ira)
    for _ in range(5):
        hall.now += 20
        ira.participant.note_activity(hall.now)
    new_room(hall, ira, boris)
    assert (boris.said(), ira.warnings()) == ([], [PERHAPS])


# -- what the server vouches for ---------------------------------------------------------------


def people(*lost: bool) -> Peers:
    """Boris, by connections that are lost, or not."""
    cards = [Card(bytes([number]) * 32) for number, _ in enumerate(lost)]
    return roster_of(
        *(
            Peer("Boris", 0, fingerprint("Boris"), number=number, card=card, lost=each)
            for number, (card, each) in enumerate(zip(cards, lost, strict=True), 1)
        )
    )


def waiting(*numbers: int) -> Unread:
    unread = Unread()
    for number in numbers:
        unread.wait(number, "Boris", fingerprint("Boris"), people(True), certain=True)
    return unread


def texts(unread: Unread, peers: Peers) -> list[str]:
    return [str(getattr(event, "text", "")) for event in unread.look(peers)]


def test_return_that_somebody_on_the_way_made_up_is_taken_back() -> None:
    unread = waiting(1)
    unread.checked()
    assert unread.look(people(False)) == []
    unread.take_back()
    assert texts(unread, people()) == [LEFT]
    unread.take_back()
    assert unread.look(people()) == []


def test_return_that_the_server_vouches_for_stands() -> None:
    unread = waiting(1)
    unread.checked()
    assert unread.look(people(False)) == []
    unread.checked()
    unread.take_back()
    assert unread.look(people()) == []


def test_no_more_is_remembered_than_there_is_place_for() -> None:
    with mock.patch("chat.client.unread.MAX_UNREAD", 2):
        unread = waiting(1, 2, 3)
    assert [unread.forget(number) for number in (1, 2, 3)] == [False, True, True]
