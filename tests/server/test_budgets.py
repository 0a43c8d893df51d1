"""Budgets: the numbers, and a whole server on the loopback whose guests overdo it."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.cipher import MIN_SEALED_BYTES
from chat.client.events import Reconnected
from chat.controls import Ping, Ready, Resume, Submit
from chat.errors import Reason
from chat.limits import (
    ARRIVALS_AT_ONCE,
    GRACE_SECONDS,
    MAX_ARRIVAL_WAIT_SECONDS,
    MAX_HOLD_SECONDS,
    MAX_RATED_READ_BYTES,
    PONG_SECONDS,
    RATE,
    RATE_BURST_SECONDS,
    RATE_UNIT_BYTES,
    READS_PER_HOLD,
    RESENT_BYTES_PER_ARRIVAL,
    SHARE_REFILL_SECONDS,
    SOURCE_ARRIVALS_AT_ONCE,
    SOURCE_RATE_FACTOR,
    WINDOW_BYTES,
    WINDOW_SHARE_OF_KEY,
    WINDOW_SHARE_OF_SOURCE,
)
from chat.server import words
from chat.server.budgets import Account, Budgets, TokenBucket
from chat.session import Ended, State
from chat.wire import ROOM_HEADER_BYTES, Message
from tests.support.helpers import key
from tests.support.loopback import Company, Hall, Peer, connection_of, dial, leave, lose

SHORT_MESSAGE_BYTES = ROOM_HEADER_BYTES + MIN_SEALED_BYTES


class Bucket:
    """A bucket that was full at its beginning."""

    def __init__(self, rate: float, burst: float) -> None:
        self._bucket = TokenBucket(rate, burst)
        self._repaid_at = float("-inf")

    def spend(self, cost: float, now: float) -> float:
        """Returns for how many seconds the bucket is overdrawn then."""
        self._repaid_at = self._bucket.spend(self._repaid_at, cost, now)
        return max(0.0, self._repaid_at - now)


def test_burst_is_free_and_what_exceeds_it_takes_its_time() -> None:
    bucket = Bucket(rate=10.0, burst=40.0)
    assert bucket.spend(40, 100.0) == 0
    assert bucket.spend(5, 100.0) == 0.5
    assert bucket.spend(20, 100.0) == 2.5
    # Half a second later two seconds of it are still owed.
    assert bucket.spend(0, 100.5) == 2.0
    assert bucket.spend(1, 102.5) == pytest.approx(0.1)


def test_silence_fills_the_bucket_no_further_than_the_burst() -> None:
    bucket = Bucket(rate=10.0, burst=40.0)
    bucket.spend(40, 0.0)
    assert bucket.spend(10, 1.0) == 0
    assert bucket.spend(41, 1e6) == pytest.approx(0.1)


def test_steady_sender_below_the_rate_is_never_held_up() -> None:
    bucket = Bucket(rate=512.0, burst=1.0)
    assert all(bucket.spend(1, number / 512) == 0 for number in range(1, 5_001))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 50)), min_size=1, max_size=50))
def test_sender_that_waits_as_told_is_no_faster_than_the_rate(acts: list[tuple[int, int]]) -> None:
    """Sixteenths of a second and a rate of 16, so that nothing is rounded."""
    bucket = Bucket(rate=16.0, burst=32.0)
    now = spent = 0.0
    for cost, pause in acts:
        now += pause / 16
        # Before each piece there is no debt, so all but the last piece fit into the rate.
        assert spent <= 32 + 16 * now
        spent += cost
        now += bucket.spend(cost, now)


# -- whose budget it is


def budgets(rate: float = RATE, grace: float = GRACE_SECONDS) -> Budgets:
    return Budgets(rate, grace, WINDOW_BYTES)


def test_all_connections_of_a_key_share_its_rate_also_after_a_reconnect() -> None:
    of_all = budgets(rate=100)
    one, other = (of_all.open(b"key", source, 0) for source in ("192.0.2.1", "192.0.2.2"))
    one.say(100 * RATE_BURST_SECONDS, 0, 0)
    assert one.hold_seconds(0, window_guarded=False) == 0
    other.say(50, 0, 0)
    assert one.hold_seconds(0, window_guarded=False) == 0.5
    of_all.close(one, 0)
    of_all.close(other, 0)
    again = of_all.open(b"key", "192.0.2.3", 0.1)
    assert again.hold_seconds(0.1, window_guarded=False) == pytest.approx(0.4)
    assert of_all.open(b"other", "192.0.2.1", 0.1).hold_seconds(0.1, window_guarded=False) == 0


def test_long_messages_cost_as_much_as_many_short_ones() -> None:
    account = budgets(rate=100).open(b"key", "source", 0)
    account.say(1, (100 * RATE_BURST_SECONDS + 50) * RATE_UNIT_BYTES, 0)
    assert account.hold_seconds(0, window_guarded=False) == 0.5


def test_what_is_dropped_costs_little() -> None:
    relayed, dropped = (budgets(rate=100).open(b"key", "source", 0) for _ in range(2))
    relayed.say(0, 10_000 * RATE_UNIT_BYTES, 0)
    dropped.say(0, 0, 0, void=10_000 * RATE_UNIT_BYTES)
    held = dropped.hold_seconds(0, window_guarded=False)
    assert 0 < held <= MAX_HOLD_SECONDS < relayed.hold_seconds(0, window_guarded=False) * 2


def test_keys_of_one_source_share_many_times_the_rate_of_one() -> None:
    of_all = budgets(rate=100)
    accounts = [of_all.open(bytes((number,)), "source", 0) for number in range(256)]
    held = 0
    for count, account in enumerate(accounts):
        account.say(100 * RATE_BURST_SECONDS, 0, 0)
        held += account.hold_seconds(0, window_guarded=False) > 0
        assert (held > 0) == (count >= SOURCE_RATE_FACTOR)
    elsewhere = of_all.open(b"key", "elsewhere", 0)
    assert elsewhere.hold_seconds(0, window_guarded=False) == 0


# -- the window


def most_that_is_said(accounts: list[Account], seconds: float) -> int:
    """How many bytes get into the window when these say all that they can for so long."""
    next_reads = dict.fromkeys(range(len(accounts)), 0.0)
    said = 0
    while True:
        number = min(next_reads, key=lambda reader: next_reads[reader])
        now = next_reads[number]
        if now > seconds:
            return said
        said += MAX_RATED_READ_BYTES
        account = accounts[number]
        account.say(1, MAX_RATED_READ_BYTES, now)
        account.fill_window(MAX_RATED_READ_BYTES, now)
        next_reads[number] = now + (account.hold_seconds(now, window_guarded=True) or 1e-3)


@pytest.mark.parametrize("grace", [1.0, 60.0, 300.0, 86_400.0])
@pytest.mark.parametrize("names", [1, 6, 50])
def test_key_fills_no_more_than_its_share_of_the_window_in_a_grace(
    grace: float, names: int
) -> None:
    of_all = budgets(grace=grace)
    accounts = [of_all.open(b"key", f"source {number}", 0) for number in range(names)]
    said = most_that_is_said(accounts, min(grace, SHARE_REFILL_SECONDS))
    # The first read of each connection has not been paid for.
    assert said <= WINDOW_BYTES * WINDOW_SHARE_OF_KEY + (names + 1) * MAX_RATED_READ_BYTES
    assert grace < 60 or said > WINDOW_BYTES * WINDOW_SHARE_OF_KEY / 2


@pytest.mark.parametrize("grace", [60.0, 86_400.0])
@pytest.mark.parametrize("keys", [3, 16])
def test_keys_of_one_source_fill_no_more_than_their_share_of_the_window(
    grace: float, keys: int
) -> None:
    of_all = budgets(grace=grace)
    accounts = [of_all.open(bytes((number,)), "source", 0) for number in range(keys)]
    said = most_that_is_said(accounts, GRACE_SECONDS)
    assert said <= WINDOW_BYTES * WINDOW_SHARE_OF_SOURCE + (keys + 1) * MAX_RATED_READ_BYTES


def test_window_counts_only_while_somebody_may_need_it() -> None:
    account = budgets().open(b"key", "source", 0)
    account.fill_window(WINDOW_BYTES, 0)
    assert account.hold_seconds(0, window_guarded=False) == 0
    assert account.hold_seconds(0, window_guarded=True) > 0


def test_pauses_are_short_for_a_few_connections_and_many_get_no_further_than_these() -> None:
    of_all = budgets(rate=0.01)
    accounts = [of_all.open(b"key", "source", 0) for _ in range(40)]
    accounts[0].say(1_000, 0, 0)
    waits = [account.hold_seconds(0, window_guarded=False) for account in accounts]
    assert max(waits[:READS_PER_HOLD]) < 2 * MAX_HOLD_SECONDS
    in_one_hold = [wait for wait in waits if MAX_HOLD_SECONDS <= wait < 2 * MAX_HOLD_SECONDS]
    assert len(in_one_hold) == READS_PER_HOLD


# -- arrivals


def test_key_that_arrives_again_and_again_has_to_wait() -> None:
    account = budgets().open(b"key", "source", 0)
    assert [account.arrive(0) for _ in range(ARRIVALS_AT_ONCE)] == [0] * ARRIVALS_AT_ONCE
    assert [account.arrive(0) for _ in range(3)] == [1, 2, 3]
    account.take_back_arrival(0)
    assert account.arrive(0) == 3


def test_large_room_behind_one_address_may_come_back_at_once() -> None:
    of_all = budgets()
    numbers = range(SOURCE_ARRIVALS_AT_ONCE)
    assert SOURCE_ARRIVALS_AT_ONCE >= 1_000
    assert not any(of_all.open(b"%d" % each, "source", 0).arrive(0) for each in numbers)
    assert of_all.open(b"one more", "source", 0).arrive(0) > 0
    assert of_all.open(b"one more", "elsewhere", 0).arrive(0) == 0


def test_bytes_that_are_sent_again_are_paid_for_with_arrivals() -> None:
    account = budgets().open(b"key", "source", 0)
    account.resend((ARRIVALS_AT_ONCE - 1) * RESENT_BYTES_PER_ARRIVAL, 0)
    assert [account.arrive(0), account.arrive(0)] == [0, 1]


# -- budgets that are kept


def test_budget_is_forgotten_when_nobody_draws_on_it_and_nothing_is_owed() -> None:
    of_all = budgets()
    for number in range(100):
        for owner in (b"frugal %d" % number, b"thrifty"):
            of_all.close(of_all.open(owner, "source", number), number)
    assert len(of_all) <= 3
    spender = of_all.open(b"spender", "elsewhere", 100)
    spender.say(10_000, 0, 100)
    of_all.close(spender, 100)
    for number in range(10):
        of_all.close(of_all.open(b"%d" % number, "source", 101), 101)
    assert of_all.open(b"spender", "elsewhere", 101).hold_seconds(101, window_guarded=False) > 0


def test_budgets_of_those_who_owe_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat.server.budgets.MAX_UNUSED_BUDGETS", 10)
    of_all = budgets()
    for number in range(100):
        account = of_all.open(b"%d" % number, f"source {number}", 0)
        account.say(100_000, 0, 0)
        of_all.close(account, 0)
        assert len(of_all) <= 11


# -- a whole server

WINDOW = 128 * 1024


@pytest.fixture
def hall(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hall]:
    """A server that keeps little of its log."""
    monkeypatch.setattr("chat.server.server.WINDOW_BYTES", WINDOW)
    monkeypatch.setattr("chat.server.hosted.WINDOW_BYTES", WINDOW)
    monkeypatch.setattr("chat.transport.SEND_BYTES", WINDOW // 32)
    with contextlib.closing(Hall()) as hall:
        yield hall


def pass_time(
    hall: Hall, seconds: float, over: Callable[[], object] = lambda: False, step: float = 0.05
) -> None:
    """Let so much time pass, step by step, unless it is over before."""
    end = hall.reactor.clock() + seconds
    while hall.reactor.clock() < end and not over():
        hall.wait(step)


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False], ids=["the server knows", "it cannot know"])
def test_member_who_is_offline_misses_nothing_while_one_key_floods(
    hall: Hall, company: Company, known: bool
) -> None:
    names = [hall.join(f"mallory {number}", "other") for number in range(6)]
    sleeper = company.sahnawaz
    if known:
        lose(hall, sleeper)
    else:
        sleeper.deafen()
    for peer in names:
        peer.say(*["x" * 1000] * 200)
    pass_time(hall, 12)
    company.ira.say("are you there?")
    back = hall.come_back(sleeper)
    hall.until(lambda: "Ira: are you there?" in back.heard)
    assert Reconnected(0, new_room=False, awaiting=False) in back.news
    # Nothing of the flood is lost either: the rest of it comes when nobody is offline any more.
    assert any(peer.participant.unacknowledged for peer in names)
    pass_time(hall, 100, lambda: not any(peer.participant.unacknowledged for peer in names), 0.25)
    assert hall.home.log.end > 6 * 200 * 1000 > 8 * WINDOW


def test_nobody_is_held_for_those_who_were_behind_and_have_caught_up(
    hall: Hall, company: Company
) -> None:
    company.sahnawaz.deafen()
    company.ira.say(*["x" * 1000] * 40)
    hall.until(lambda: hall.home.window_guarded)
    pass_time(hall, 60, lambda: not company.ira.participant.unacknowledged, 0.25)
    company.sahnawaz.listen()
    hall.until(lambda: len(company.sahnawaz.heard) == 40)
    assert not hall.home.window_guarded, "though the log has not moved since"


def test_long_submit_is_charged_as_it_is_read(hall: Hall, company: Company) -> None:
    """Otherwise many connections could hold one ready, each but for its last byte."""
    lose(hall, company.sahnawaz)
    eve = hall.join("eve", "other")
    eve.session.send(Submit(eve.frame(sealed=bytes(60_000))).encode())
    eve.send(eve.session.data_to_send()[:-1])
    hall.turns(20)
    assert hall.server.budgets is not None
    share = hall.server.budgets._budgets[key("other").public.digest].share
    assert share > hall.reactor.clock()
    assert connection_of(hall, "eve")._read_again_at > hall.reactor.clock()


class Greedy(Peer):
    """A connection that resumes as another peer, from its welcome on, and only counts bytes."""

    def __init__(self, hall: Hall, twin: Peer) -> None:
        welcome = twin.welcome
        resume = Resume(welcome.member, welcome.token, welcome.offset, welcome.epoch)
        nobody = SimpleNamespace(
            participant=SimpleNamespace(
                first_control=lambda: resume,
                meet=lambda _: None,
                receive_control=lambda *_: [],
                receive_frames=lambda *_: [],
                data_to_send=lambda: b"",
            ),
            events=[],
            me=twin.me,
        )
        super().__init__(hall.reactor, dial(hall.address), "eve", twin.key_name, cast(Peer, nobody))


def test_pings_and_what_is_sent_again_are_paid_for_until_the_connection_is_gone() -> None:
    with contextlib.closing(Hall(rate=10)) as hall:
        company = Company(hall)
        eve = hall.join("eve", "other")
        company.ira.say(*["x" * 8000] * 4)
        hall.until(lambda: len(eve.heard) == 4)
        assert hall.server.budgets is not None
        of_all, eves = hall.server.budgets._budgets, key("other").public.digest
        budget = of_all[eves]
        for _ in range(11 * RATE_BURST_SECONDS):
            eve.session.send(Ping().encode())
        eve.flush()
        hall.turns(5)
        assert budget.messages > hall.reactor.clock()
        pass_time(hall, 5)
        lose(hall, eve)
        assert budget.connections == 0
        with contextlib.closing(Greedy(hall, eve)) as greedy:
            hall.until(lambda: greedy.resends)
            paid = of_all[eves].arrivals - (hall.reactor.clock() - ARRIVALS_AT_ONCE)
            assert paid > 0.9 + 4 * 8000 / RESENT_BYTES_PER_ARRIVAL


@pytest.mark.parametrize("names", [1, 6])
@pytest.mark.parametrize("rate", [0.5, 1.0, 5.0])
def test_low_rate_is_kept_however_many_connections_a_key_has(rate: float, names: int) -> None:
    with contextlib.closing(Hall(rate=rate)) as hall:
        for number in range(names):
            hall.join(f"eve {number}", "other").say(*["x"] * 400)
        seconds = 60
        pass_time(hall, seconds, step=0.25)
        allowed = rate * (RATE_BURST_SECONDS + seconds)
        # Each has the last run of messages taken whole.
        at_once = MAX_RATED_READ_BYTES // SHORT_MESSAGE_BYTES * names
        assert 0.5 * allowed < hall.home.room.messages < 1.2 * allowed + at_once
        # What still waits in the kernel would be read for as long as it was said too fast.
        hall.server.terminate()


def test_ping_behind_much_that_is_dropped_is_answered_in_time() -> None:
    """Somebody has left while a member was sending, so what it has sent is under an old key."""
    with contextlib.closing(Hall(rate=10)) as hall:
        eve = hall.join("eve", "other")
        for seq in range(2, 66):
            eve.session.send(Submit(eve.frame(seq=seq, sealed=bytes(16_384))).encode())
        eve.send_control(Ping().encode())
        hall.until(lambda: eve.resends == [1])
        answered = len(eve.received)
        begun = hall.reactor.clock()
        pass_time(hall, 2 * PONG_SECONDS, lambda: len(eve.received) > answered, step=0)
        assert hall.reactor.clock() - begun < PONG_SECONDS


def test_laptop_on_a_bad_line_notices_nothing(hall: Hall, company: Company) -> None:
    laptop = hall.join("laptop", "other")
    for number in range(20):
        lose(hall, laptop)
        company.ira.say(f"{number}")
        hall.until(lambda: not company.ira.participant.unacknowledged)
        begun = hall.reactor.clock()
        laptop = hall.come_back(laptop)
        assert hall.reactor.clock() - begun < 0.5
        assert laptop.heard[number:] == [f"Ira: {number}"]
        hall.wait(3)


@pytest.mark.parametrize("end", [leave, lose])
def test_others_are_shown_few_lines_a_second_of_who_comes_and_goes(
    hall: Hall, company: Company, end: Callable[[Hall, Peer], None]
) -> None:
    begun = hall.reactor.clock()
    arrivals = ARRIVALS_AT_ONCE + 6
    for number in range(arrivals):
        pest = hall.knock(f"pest {number}", "other")
        pass_time(hall, 10, partial(getattr, pest.participant, "has_joined"))
        end(hall, pest)
    seconds = hall.reactor.clock() - begun
    assert arrivals <= ARRIVALS_AT_ONCE + seconds
    hall.wait(1)
    assert arrivals <= len(company.ira.news) - len(company.news) <= 3 * arrivals
    company.talk()


@pytest.fixture
def many_of_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key may be in as often as it likes, but for the budgets."""
    monkeypatch.setattr("chat.server.members.MAX_CONNECTIONS_OF_KEY", 1000)


@pytest.mark.slow
@pytest.mark.usefixtures("many_of_a_key")
def test_key_that_comes_much_too_often_waits_or_is_told_so(hall: Hall, company: Company) -> None:
    crowd = [hall.knock(f"pest {number}", "other") for number in range(40)]
    hall.until(lambda: all(peer.ended or peer.session.state is State.RELAY for peer in crowd))
    hall.until(lambda: all(each._account for each in hall.server.connections))
    hall.turns(5)
    refused = [peer for peer in crowd if peer.ended]
    # Some tokens come while they knock.
    assert 0 <= len(crowd) - len(refused) - ARRIVALS_AT_ONCE - MAX_ARRIVAL_WAIT_SECONDS < 5
    for peer in refused:
        assert peer.ended == Ended(Reason.LOST, words.COMES_TOO_OFTEN, by_peer=True)
        peer.close()
    hall.until(lambda: len(hall.server.connections) == 2 + len(crowd) - len(refused))
    waiting = [connection for connection in hall.server.connections if not connection.member]
    assert all(each._read_again_at > hall.reactor.clock() for each in waiting)
    # Those that were refused have paid nothing.
    pass_time(hall, 5)
    late = hall.knock("late", "other")
    pass_time(hall, 20, lambda: late.ended or late.participant.has_joined)
    assert late.ended is None
    assert all(peer.participant.has_joined for peer in crowd if peer not in refused)
    company.talk()


@pytest.mark.usefixtures("many_of_a_key")
def test_message_before_the_wait_is_over_breaks_the_protocol(hall: Hall, company: Company) -> None:
    for number in range(ARRIVALS_AT_ONCE):
        hall.join(f"pest {number}", "other")
    pest = hall.unproved("pest", "other")
    pest.session.send(Ready().encode())
    pest.session.send(Submit(Message(1, 3, 1, bytes(96)).to_wire()).encode())
    pest.send(pest.session.data_to_send())
    hall.until(lambda: pest.eof)
    assert pest.ended == Ended(Reason.PROTOCOL, "a message before the welcome", by_peer=True)
    hall.wait(2)
    assert hall.home.room.find("pest") == ()
    company.talk()


@pytest.mark.slow
@pytest.mark.usefixtures("many_of_a_key")
def test_newcomer_that_waits_comes_in_before_it_is_read_again() -> None:
    with contextlib.closing(Hall(rate=1)) as hall:
        first, *_ = [hall.join(f"pest {number}", "other") for number in range(ARRIVALS_AT_ONCE)]
        first.say("x" * 16_000)
        pass_time(hall, 20, lambda: hall.home.room.messages)
        # Twelve seconds are owed, of which a connection has to wait five before it is read.
        begun = hall.reactor.clock()
        late = hall.join("late", "other")
        assert hall.reactor.clock() - begun < 2
        late.say("and I?")
        pass_time(hall, 20, lambda: "late: and I?" in first.heard)
        assert hall.reactor.clock() - begun > MAX_HOLD_SECONDS
