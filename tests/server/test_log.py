"""The ordered log and its cursors, against a model that writes out every member's stream."""

import tracemalloc
from bisect import bisect_left
from functools import partial
from itertools import accumulate

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chat.server.log import Cursor, Front, OrderedLog, Sealed
from tests.support.helpers import plain, steps

thoroughly = settings(max_examples=100, deadline=None, derandomize=True)

WINDOW = 40


def log_of(*entries: bytes, window_bytes: int = WINDOW) -> OrderedLog:
    log = OrderedLog(window_bytes)
    for entry in entries:
        log.append(entry)
    return log


def following(log: OrderedLog, offset: int = 0) -> Cursor:
    cursor = Cursor()
    cursor.follow(log, offset)
    return cursor


def drain(cursor: Cursor, limit: int = 1000, size: int = 1000) -> bytes:
    """Send all there is, at most `size` bytes at a time."""
    sent = b""
    while data := cursor.pending(limit)[:size]:
        cursor.advance(len(data))
        sent += data
    assert cursor.idle
    return sent


# -- the log -----------------------------------------------------------------------------------


def test_bytes_are_read_by_their_offsets_also_when_the_log_is_trimmed() -> None:
    log = log_of(b"one", b"", b"two", b"three", window_bytes=9)
    assert (log.start, log.end, log.surplus) == (0, 11, 2)
    assert (log.read(0, 11), log.read(2, 5), log.read(11, 11)) == (b"onetwothree", b"etw", b"")
    # Entries are forgotten as a whole: the window begins within the first.
    log.trim(log.start_after_trim())
    assert (log.start, log.end, log.surplus) == (3, 11, 0)
    assert log.read(3, 11) == b"twothree"


@pytest.mark.parametrize(("start", "end"), [(0, 4), (2, 2), (4, 12), (5, 4)])
def test_reading_what_is_not_there_is_our_own_mistake(start: int, end: int) -> None:
    log = log_of(b"one", b"two", b"three", window_bytes=8)
    log.trim(log.start_after_trim())
    with pytest.raises(AssertionError):
        log.read(start, end)


def test_end_of_an_entry_is_found_from_any_byte_of_it() -> None:
    log = log_of(b"one", b"two", b"three")
    assert [log.entry_end(offset) for offset in range(12)] == [0, *[3] * 3, *[6] * 3, *[11] * 5]


def test_end_of_an_entry_is_found_without_looking_at_all_of_them() -> None:
    """Whoever is dropped asks for it, and many may be at once."""
    short, long = (log_of(*[b"entry"] * count) for count in (1, 1_000))
    costs = [steps(partial(log.entry_end, log.end)) for log in (short, long)]
    assert costs[0] == costs[1]


@pytest.mark.parametrize("size", [16, 15_000])
def test_memory_is_bounded_however_much_goes_through(size: int) -> None:
    window_bytes = 64 * 1024
    entry = bytes(size)
    log = OrderedLog(window_bytes)
    # As many small objects as entries in the window, and room for bytes to grow into.
    bound = 4 * window_bytes + 64 * (window_bytes // size)
    tracemalloc.start()
    try:
        for _ in range(6 * window_bytes // size):
            log.append(entry)
            log.trim(log.start_after_trim())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert log.end > 5 * window_bytes
    assert window_bytes // 2 < peak < bound


# -- a cursor ----------------------------------------------------------------------------------


def test_splice_comes_exactly_at_its_offset_and_is_made_when_its_turn_has_come() -> None:
    log = log_of(b"one", b"two", b"three")
    cursor = following(log, 3)
    made: list[bytes] = []

    def make(data: bytes) -> bytes:
        made.append(data)
        return data

    for data, at in ((b"[1]", 3), (b"[2]", 6), (b"[3]", 6), (b"[4]", 11)):
        cursor.splice(Sealed(partial(make, data)), at)
    log.append(b"four")
    assert (cursor.splices, made) == (4, [])
    assert (cursor.pending(2), made) == (b"[1]tw", [b"[1]"])
    assert drain(cursor) == b"[1]two[2][3]three[4]four"
    assert (cursor.splices, made) == (0, [b"[1]", b"[2]", b"[3]", b"[4]"])


def test_cut_cursor_drops_splices_that_have_not_begun() -> None:
    log = log_of(b"one", b"two", b"three")
    cursor = following(log)
    cursor.splice(plain(b"[1]"), 3)
    cursor.splice(plain(b"[2]"), 6)
    assert cursor.pending(4) == b"one[1]t"
    cursor.advance(2)
    cursor.cut()
    assert cursor.splices == 0
    assert drain(cursor) == b"e[1]two"


def test_cut_cursor_sends_nothing_of_what_follows_a_splice_that_has_not_begun() -> None:
    log = log_of(b"one", b"two+three")
    cursor = Cursor()
    cursor.follow(log, 6)
    cursor.splice(plain(b"[resumed]"), 6)
    cursor.cut()
    assert drain(cursor) == b""


# -- against the model -------------------------------------------------------------------------


class Member:
    """A member's stream, written out in full: pieces that are entries or splices, and so may be
    cut apart by nobody."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.sent = b""
        self.before: list[bytes] = []
        self.followed_from: int | None = None
        self.splices: list[tuple[int, bytes]] = []
        self.stream_when_cut: bytes | None = None
        self.after: list[bytes] = []


class Conversation(RuleBasedStateMachine):
    """Members that come, lag, are spliced to, are cut off, while the log grows and is trimmed."""

    def __init__(self) -> None:
        super().__init__()
        self.log = OrderedLog(WINDOW)
        self.front = Front(0)
        self.entries: list[bytes] = []
        self.members: list[Member] = []
        self.faulty: list[Cursor] = []
        self.written = 0

    def new_bytes(self, size: int) -> bytes:
        """Bytes that do not look like those written a little before or after."""
        self.written += size
        return bytes(number % 251 for number in range(self.written - size, self.written))

    @property
    def boundaries(self) -> list[int]:
        return [0, *accumulate(map(len, self.entries))]

    def pieces(self, member: Member) -> list[bytes]:
        """The member's whole stream, as far as it was not cut, in pieces that stay whole."""
        pieces = list(member.before)
        if member.followed_from is None:
            return pieces
        splices = list(member.splices)
        for start, entry in zip(self.boundaries, [*self.entries, b""], strict=True):
            while splices and splices[0][0] == start:
                pieces.append(splices.pop(0)[1])
            if start >= member.followed_from:
                pieces.append(entry)
        assert not splices
        return pieces

    def stream(self, member: Member) -> bytes:
        if member.stream_when_cut is not None:
            return member.stream_when_cut + b"".join(member.after)
        return b"".join(self.pieces(member))

    def draw_member(self, data: st.DataObject) -> Member:
        return data.draw(st.sampled_from(self.members), label="member")

    @rule(size=st.sampled_from([1, 10, 20]))
    def append(self, size: int) -> None:
        self.entries.append(self.new_bytes(size))
        self.log.append(self.entries[-1])

    @initialize()
    def begin(self) -> None:
        for _ in range(3):
            self.connect()
            self.members[-1].followed_from = 0
            self.members[-1].cursor.follow(self.log, 0)

    @precondition(lambda self: len(self.members) < 6)
    @rule()
    def connect(self) -> None:
        self.members.append(Member(Cursor()))

    @rule(data=st.data())
    def follow(self, data: st.DataObject) -> None:
        member = self.draw_member(data)
        if member.followed_from is None and member.stream_when_cut is None:
            kept = [offset for offset in self.boundaries if offset >= self.log.start]
            member.followed_from = data.draw(st.sampled_from(kept), label="offset")
            member.cursor.follow(self.log, member.followed_from)

    @rule(data=st.data(), size=st.integers(1, 12))
    def splice(self, data: st.DataObject, size: int) -> None:
        member = self.draw_member(data)
        spliced = self.new_bytes(size)
        at = self.log.end
        if member.stream_when_cut is not None:
            member.after.append(spliced)
        elif member.followed_from is None:
            member.before.append(spliced)
        else:
            earliest = max([member.cursor.offset, *(at for at, _ in member.splices)])
            offsets = [offset for offset in self.boundaries if offset >= earliest]
            at = data.draw(st.sampled_from(offsets), label="at")
            member.splices.append((at, spliced))
        member.cursor.splice(plain(spliced), at)

    @rule(data=st.data(), limit=st.integers(1, 50), wanted=st.integers(0, 60))
    def send(self, data: st.DataObject, limit: int, wanted: int) -> None:
        member = self.draw_member(data)
        at_log = member.cursor.is_at(member.cursor.offset)
        pending = member.cursor.pending(limit)
        assert bool(pending) is not member.cursor.idle
        assert self.stream(member).startswith(member.sent + pending)
        if at_log:
            assert len(pending) == min(limit, self.log.end - member.cursor.offset)
        sent = min(wanted, len(pending))
        member.cursor.advance(sent)
        member.sent += pending[:sent]

    @rule(data=st.data())
    def join_front(self, data: st.DataObject) -> None:
        member = self.draw_member(data)
        if member.cursor.is_at(self.front.offset) and not member.cursor.at_front:
            member.cursor.join_front(self.front, partial(self.take, data, member))

    @rule()
    def fan_out(self) -> None:
        start, end = self.front.offset, self.log.end
        if start < end:
            there = set(self.front.sends)
            self.faulty.clear()
            faults = self.front.advance(self.log.read(max(start, self.log.start), end), end)
            assert set(self.front.sends) <= there
            assert list(faults) == self.faulty

    def take(self, data: st.DataObject, member: Member, pending: bytes) -> int:
        """What a member's socket does: it takes all, or a part, or fails and has taken nothing. Or
        the program does."""
        full = len(pending)
        outcomes: list[int | type[Exception]] = [full, full, full, 1, 0, OSError, ZeroDivisionError]
        taken = data.draw(st.sampled_from(outcomes), label="taken")
        if not isinstance(taken, int):
            if taken is ZeroDivisionError:
                self.faulty.append(member.cursor)
            raise taken
        member.sent += pending[:taken]
        return taken

    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        self.cut_member(self.draw_member(data))

    def cut_member(self, member: Member) -> None:
        if member.stream_when_cut is not None:
            return
        taken = len(member.sent) + len(member.cursor.unsent)
        ends = [0, *accumulate(map(len, self.pieces(member)))]
        member.stream_when_cut = self.stream(member)[: ends[bisect_left(ends, taken)]]
        member.cursor.cut()
        assert member.sent + member.cursor.unsent == member.stream_when_cut

    @rule()
    def trim(self) -> None:
        start = self.log.start_after_trim()
        for member in self.members:
            if member.cursor.following and member.cursor.offset < start:
                self.cut_member(member)
        self.log.trim(self.log.start_after_trim())
        kept = bisect_left(self.boundaries, self.log.end - WINDOW)
        assert self.log.start == self.boundaries[kept]

    @invariant()
    def log_is_the_end_of_what_was_appended(self) -> None:
        written = b"".join(self.entries)
        assert self.log.end == len(written)
        assert self.log.start in self.boundaries
        assert self.log.surplus == max(self.log.end - self.log.start - WINDOW, 0)
        assert self.log.read(self.log.start, self.log.end) == written[self.log.start :]

    @invariant()
    def cursors_are_within_the_log(self) -> None:
        for member in self.members:
            if member.cursor.following:
                assert self.log.start <= member.cursor.offset <= self.log.end
            assert member.cursor.at_front is (member.cursor in self.front.sends)

    @invariant()
    def members_have_the_beginning_of_their_streams(self) -> None:
        for member in self.members:
            stream = self.stream(member)
            assert stream.startswith(member.sent)
            assert member.cursor.idle is (member.sent == stream)

    def teardown(self) -> None:
        for member in self.members:
            assert member.sent + drain(member.cursor, limit=7, size=5) == self.stream(member)


TestConversation = Conversation.TestCase
TestConversation.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True
)
