"""What a server has proposed and not read yet: numbered once, sent until it was read."""

import pytest

from chat.server.cluster import outbox as outboxes
from chat.server.cluster.outbox import Outbox
from tests.support.helpers import FixedBytes


@pytest.fixture
def outbox() -> Outbox:
    """Three batches were sent from it, of which the first was read."""
    outbox = Outbox(FixedBytes("outbox"))
    for number, item in enumerate((b"a", b"bb", b"ccc"), start=1):
        outbox.put(item)
        assert list(outbox.take()) == [(number, [item])]
    outbox.read_up_to(1)
    return outbox


def test_what_is_put_in_one_turn_is_one_batch_unless_it_is_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outboxes, "MAX_BATCH_BYTES", 4)
    outbox = Outbox(FixedBytes("outbox"))
    for item in (b"aa", b"bb", b"ccccc", b"d"):
        outbox.put(item)
    assert list(outbox.take()) == [(1, [b"aa", b"bb"]), (2, [b"ccccc"]), (3, [b"d"])]
    assert list(outbox.take()) == []
    assert outbox.size == 10


def test_items_are_all_that_was_not_read_whether_it_was_sent_or_not(outbox: Outbox) -> None:
    outbox.put(b"d")
    assert outbox.items() == {b"bb", b"ccc", b"d"}
    outbox.read_up_to(2)
    assert outbox.items() == {b"ccc", b"d"}


def test_what_was_read_is_there_no_more(outbox: Outbox) -> None:
    assert outbox.size == 5
    outbox.read_up_to(1)
    assert outbox.size == 5
    outbox.read_up_to(3)
    assert outbox.size == 0
    outbox.resend(known=True)
    assert list(outbox.take()) == []


def test_all_that_was_not_read_is_sent_again_under_its_numbers(outbox: Outbox) -> None:
    origin = outbox.origin
    outbox.put(b"d")
    outbox.resend_later(5.0)
    outbox.resend_later(9.0)
    assert (outbox.origin, outbox.resend_at) == (origin, 5.0)
    assert list(outbox.take()) == [], "it would not count before those are sent again"
    outbox.resend(known=True)
    assert list(outbox.take()) == [(2, [b"bb"]), (3, [b"ccc"]), (4, [b"d"])]
    assert outbox.origin == origin


def test_batch_that_is_read_while_all_is_sent_again_is_not_missed(outbox: Outbox) -> None:
    outbox.resend(known=True)
    sent = outbox.take()
    assert next(sent) == (2, [b"bb"])
    outbox.read_up_to(2)
    assert list(sent) == [(3, [b"ccc"])]


def test_origin_that_is_forgotten_is_left_for_another_one(outbox: Outbox) -> None:
    origin = outbox.origin
    outbox.resend(known=False)
    assert outbox.origin != origin
    assert list(outbox.take()) == [(1, [b"bb"]), (2, [b"ccc"])]


def test_origin_of_which_nothing_was_read_yet_stays() -> None:
    outbox = Outbox(FixedBytes("outbox"))
    origin = outbox.origin
    outbox.put(b"a")
    list(outbox.take())
    outbox.resend(known=False)
    assert (outbox.origin, list(outbox.take())) == (origin, [(1, [b"a"])])


def test_all_is_void_when_it_is_cleared_and_the_numbers_begin_anew(outbox: Outbox) -> None:
    origin = outbox.origin
    outbox.put(b"d")
    outbox.resend_later(5.0)
    outbox.clear()
    assert (outbox.size, outbox.resend_at) == (0, None)
    outbox.put(b"e")
    assert list(outbox.take()) == [(1, [b"e"])]
    assert outbox.origin != origin
