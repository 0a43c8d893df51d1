"""What the end of a connection does to a stay, and what is said of it."""

from collections.abc import Callable

import pytest

from chat.client.endings import Outcome, failure_of, loss_of, outcome_of, refusal_of
from chat.errors import REASONS, ChatError, ClockError, Reason
from chat.session import Ended

REFUSALS = {
    *(Reason.FULL, Reason.NAME_TAKEN, Reason.NAME_INVALID, Reason.NOT_ALLOWED),
    *(Reason.KICKED, Reason.REPLACED, Reason.NO_ROOM),
}
LOSSES = {Reason.LOST, Reason.TIMEOUT, Reason.TOO_SLOW, Reason.RESTARTING}


@pytest.mark.parametrize("reason", Reason)
def test_outcome_is_told_by_the_reason_and_by_how_far_we_had_come(reason: Reason) -> None:
    final = Outcome.REFUSE if reason in REFUSALS else Outcome.FAIL
    for established in (False, True):
        first = outcome_of(reason, established, has_joined=False)
        assert first is (Outcome.TRY_AGAIN if reason in LOSSES else final)
    # Before the link stands, anybody on the way could have said it.
    assert outcome_of(reason, established=False, has_joined=True) is Outcome.LOSE
    expected = Outcome.END_WELL if reason is Reason.CLOSING else final
    # Where it is full, the places may be those of our own connections that are lost.
    expected = Outcome.LOSE if reason in {*LOSSES, Reason.FULL} else expected
    assert outcome_of(reason, established=True, has_joined=True) is expected


@pytest.mark.parametrize("by_peer", [True, False])
def test_words_of_the_other_side_stay_on_their_line(by_peer: bool) -> None:
    end = Ended(Reason.TIMEOUT, "\x1b[2Jno\nchat: hint: rm -rf ~", by_peer=by_peer)
    for error in (loss_of(end), failure_of(end, established=True)):
        assert str(error).isprintable()
        assert error.hint == ""
    told = str(failure_of(end, established=True))
    assert told.startswith("the server ended the connection: ") is by_peer


@pytest.mark.parametrize("end_with", [refusal_of, failure_of])
def test_sentence_before_the_handshake_is_over_is_marked_as_unproved(
    end_with: Callable[[Ended, bool], ChatError],
) -> None:
    """Anybody on the way could have said it, and nobody should do what it advises."""
    advice = "delete \x1bknown_servers"
    end = Ended(Reason.FULL, advice, by_peer=True)
    assert str(end_with(end, True)).endswith(r"delete \x1bknown_servers")
    marked = r'the room is full (it says, unproved: "delete \x1bknown_servers")'
    assert str(end_with(end, False)).endswith(marked)
    plain = str(end_with(Ended(Reason.FULL, REASONS[Reason.FULL], by_peer=True), False))
    assert plain.endswith(REASONS[Reason.FULL])


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.TOO_SLOW])
def test_what_this_client_has_done_has_a_subject(reason: Reason) -> None:
    told = f"this client {REASONS[reason]}"
    end = Ended(reason, REASONS[reason], by_peer=True)
    assert str(loss_of(end)) == told
    assert str(failure_of(end, established=True)) == f"the server ended the connection: {told}"
    lost = Ended(Reason.LOST, REASONS[Reason.LOST], by_peer=True)
    assert str(loss_of(lost)) == "the connection was lost"


def test_failure_before_the_handshake_is_over_asks_whether_it_is_a_chat_server() -> None:
    end = Ended(Reason.LOST, REASONS[Reason.LOST], by_peer=False)
    assert failure_of(end, established=True).hint == ""
    assert failure_of(end, established=False).hint == "is it a chat server that listens there?"


def test_clock_that_is_wrong_is_named_with_both_times() -> None:
    end = Ended(Reason.PROTOCOL, "?", by_peer=False, error=ClockError(1_700_000_000, 1_800_000_000))
    for error in (loss_of(end), failure_of(end, established=False)):
        assert str(error).startswith("one of the two clocks is wrong")
        assert "2023" in str(error)
        assert "2027" in str(error)
        assert error.hint.startswith("set this machine's clock right")
