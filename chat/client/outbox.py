"""What a client has said, until it is acknowledged; and what it takes to say it once, whatever
happens to the server.

Theory of operation
-------------------

A message waits in the `Outbox` until its own copy comes back at its place in the log. That copy is
the acknowledgement. As long as the room lives, sequence numbers turn *sent again* into *exactly
once*: the server knows the last number that it took of each member.

A server that dies takes the room with it. Clients come back to a new room, with new members'
numbers, sequence numbers and keys (PROTOCOL 6.8). A message may then have been acknowledged to its
sender and never have reached the others. Three parts, one class each, make that harmless:

1. **Replay** (`Outbox`). The sender sends again, first and in the old order, what was acknowledged
   in the last REPLAY_SECONDS, and then what was not acknowledged at all. Sequence numbers begin at
   1 again, but a message keeps the origin and the number of its run: by these it is known. What was
   acknowledged is sealed under a key of the old room (`Repeat`), since somebody may be in the new
   one who was not in the old; a private message stays as it is, since nobody else can open it. It
   also keeps the age of its first acknowledgement: a replay that is
   acknowledged is not recent again. Otherwise servers that die in a row would be told old words
   without end.
2. **Regroup** (`Regroup`). Before the sender replays anything, it waits until everybody that it
   knew in the old room is in the new one, by as many connections, for REGROUP_SECONDS at most.
   Otherwise those who come back a second later would miss the replay.
3. **Seen messages** (`SeenMessages`). A receiver remembers the highest number that it has shown of
   each sender's run, and shows nothing at or below it. So a replay is shown to those who missed the
   message, and to nobody else.

The order matters. Replay without regrouping would lose messages, replay without seen messages would
show them twice. Numbers of a run must therefore never change, and a run must replay in the order of
its numbers: a message that overtook an earlier one would hide it.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from chat.contents import Kind, MessageContent
from chat.frozen import replace
from chat.limits import (
    MAX_MEMBERS,
    MAX_ORIGINS,
    MAX_ORIGINS_OF_ONE,
    MAX_UNCHECKED,
    OUTBOX_BYTES,
    OUTBOX_MESSAGES,
    PING_SECONDS,
    REGROUP_SECONDS,
    REPLAY_BYTES,
    REPLAY_SECONDS,
)


class _Acknowledged(NamedTuple):
    """A message that was acknowledged: when first, and in which epoch of which room it was sealed.
    `again`: it had been acknowledged in an earlier room."""

    at: float
    again: bool
    room: bytes
    epoch: int
    content: MessageContent


MakeRepeat = Callable[[MessageContent, bytes, int], MessageContent | None]
"""Takes a message, and the room and the epoch in which it was sealed."""


class Outbox:
    """What we have said and not seen acknowledged, and what was acknowledged a moment ago.

    Invariant: the messages bear consecutive sequence numbers from `first_seq` on. The last `unsent`
    of them are to be sent, perhaps once more. Those up to `sent_seq` have been sent at least once.
    Sequence numbers belong to one membership; the numbers inside the messages belong to our run and
    never change. `size` is how many bytes the bodies of the messages have.
    """

    def __init__(self, origin: bytes) -> None:
        """`origin` is random, and tells this run of the program from all others."""
        self.first_seq = 1
        self.unsent = 0
        self.sent_seq = 0
        self.messages: deque[MessageContent] = deque()
        self.size = 0
        self._origin = origin
        self._number = 0
        self._recent: deque[_Acknowledged] = deque()
        self._unchecked = 0
        """So many of the last of these were acknowledged since the last CHECK."""
        self._recent_size = 0
        self._acknowledged_at: dict[int, float] = {}
        """By number: when what is being replayed was acknowledged first (`_heard_seconds`)."""
        self._sealed_in: dict[int, int] = {}
        """By number: the epoch under which a message was sealed last."""
        self._frames: dict[int, bytes] = {}
        """By sequence number: the frame in which a message was sent last."""
        self._heard_at: float | None = None
        self._heard_seconds = 0.0

    def __repr__(self) -> str:
        """Counts alone: a text must not reach a traceback."""
        count, recent = len(self.messages), len(self._recent)
        return f"Outbox({count} from {self.first_seq} on, {self.unsent} unsent, {recent} recent)"

    @property
    def full(self) -> bool:
        """Whether so much is unacknowledged that nothing more should be said for the moment."""
        return len(self.messages) >= OUTBOX_MESSAGES or self.size >= OUTBOX_BYTES

    @property
    def checked_seq(self) -> int:
        """The last sequence number of which the server has vouched that it is in the log."""
        return self.first_seq - 1 - self._unchecked

    def add(self, time_ms: int, text: str) -> int:
        """Put in a message; returns its number in our run."""
        return self._put(self._next(Kind.SAY, time_ms, text.encode()))

    def add_direct(self, time_ms: int, seal: Callable[[MessageContent], bytes]) -> int:
        """Put in a private message, of which `seal` makes the body; returns its number. Whatever
        happens, the same bytes are sent."""
        content = self._next(Kind.DIRECT, time_ms, b"")
        return self._put(replace(content, body=seal(content)))

    def add_parting(self, time_ms: int, text: str) -> int:
        """Put in the word with which we leave, behind all the rest; returns its number."""
        return self._put(self._next(Kind.PARTING, time_ms, text.encode()))

    @property
    def has_parting(self) -> bool:
        """Whether the last word is in here. Nothing is said after it."""
        return bool(self.messages) and self.messages[-1].kind is Kind.PARTING

    def _next(self, kind: Kind, time_ms: int, body: bytes) -> MessageContent:
        return MessageContent(kind, time_ms, self._origin, self._number + 1, body)

    def _put(self, content: MessageContent) -> int:
        self._number = content.number
        self.messages.append(content)
        self.unsent += 1
        self.size += len(content.body)
        return content.number

    def numbered(self, seq: int) -> Iterator[tuple[int, MessageContent]]:
        """The messages from a sequence number on, each with its number."""
        skipped = min(max(seq - self.first_seq, 0), len(self.messages))
        return enumerate(islice(self.messages, skipped, None), self.first_seq + skipped)

    def rewind(self, seq: int = 0) -> None:
        """Send again from a sequence number on, by default all there is. A message that is to be
        sent anyway is sent once, however often this is called."""
        end_seq = self.first_seq + len(self.messages)
        self.unsent = max(self.unsent, min(end_seq - seq, len(self.messages)))

    def take_to_send(self, epoch: int) -> list[tuple[int, MessageContent]]:
        """What is to be sent, each with its sequence number; from now on it counts as sent, and as
        sealed in this epoch."""
        end_seq = self.first_seq + len(self.messages)
        taken = list(self.numbered(end_seq - self.unsent))
        for _, content in taken:
            self._sealed_in[content.number] = epoch
        self.unsent = 0
        self.sent_seq = max(self.sent_seq, end_seq - 1)
        return taken

    def keep_frame(self, seq: int, frame: bytes) -> None:
        """A message was sealed, and this is what will come back."""
        self._frames[seq] = frame

    def sent_as(self, seq: int, frame: bytes) -> bool:
        """Whether this very frame is the one in which we sent the message of this number last. Then
        it need not be opened."""
        return self._frames.get(seq) == frame

    def acknowledge(self, room: bytes) -> None:
        """The first message is at its place in the log of this room."""
        content = self.messages.popleft()
        size, number = len(content.body), content.number
        self._frames.pop(self.first_seq, None)
        self.first_seq += 1
        self.unsent = min(self.unsent, len(self.messages))
        self.size -= size
        again = number in self._acknowledged_at
        first = self._acknowledged_at.pop(number) if again else self._heard_seconds
        epoch = self._sealed_in.pop(number)
        self._recent.append(_Acknowledged(first, again, room, epoch, content))
        self._recent_size += size
        self._unchecked += 1
        # The others grow older when something arrives (`age`).
        if again or self._recent_size > REPLAY_BYTES:
            self._forget()

    def checked(self) -> None:
        """The server has vouched for all acknowledgements."""
        self._unchecked = 0

    def take_back(self) -> int:
        """What passed for acknowledgements since the last CHECK may have been none. Wait for them
        anew. Returns how many these are."""
        count, self._unchecked = self._unchecked, 0
        for _ in range(count):
            said = self._recent.pop()
            content = said.content
            self._recent_size -= len(content.body)
            self.messages.appendleft(content)
            self.first_seq -= 1
            self.size += len(content.body)
            self._sealed_in[content.number] = said.epoch
            if said.again:
                self._acknowledged_at[content.number] = said.at
        return count

    # -- replay

    def age(self, now: float) -> None:
        """Something was heard from the server, so what it acknowledged grows older.

        Neither a dead connection nor a suspended process makes it older: a silence counts for no
        more than the time between two PINGs.
        """
        silence = 0.0 if self._heard_at is None else now - self._heard_at
        self._heard_at = now
        self._heard_seconds += min(silence, PING_SECONDS)
        self._forget()

    def _forget(self) -> None:
        # The last silence may have counted whole, though the server died at its beginning.
        oldest = self._heard_seconds - REPLAY_SECONDS - PING_SECONDS
        while self._recent and (self._recent_size > REPLAY_BYTES or self._recent[0].at < oldest):
            self._recent_size -= len(self._recent.popleft().content.body)
        self._unchecked = min(self._unchecked, len(self._recent))

    def replay(self, repeat: MakeRepeat, *, unchecked_alone: bool = False) -> None:
        """A new room: say first what was acknowledged a moment ago, as `repeat` has it. If that
        makes nothing of a message, those before are left out as well: a run has no gaps.
        `unchecked_alone`: leave out those for which the server has vouched."""
        for _ in range(self._unchecked if unchecked_alone else len(self._recent)):
            said = self._recent.pop()
            self._recent_size -= len(said.content.body)
            content = repeat(said.content, said.room, said.epoch)
            if content is None:
                self._recent.clear()
                self._recent_size = 0
                break
            self._acknowledged_at[content.number] = said.at
            self.messages.appendleft(content)
            self.size += len(content.body)
        self._unchecked = 0
        # Nothing was heard between the rooms.
        self._heard_at = None

    def renumber(self) -> None:
        """Number the messages anew, for a new membership. What was acknowledged stays so."""
        self._unchecked = 0
        self.first_seq = 1
        self.sent_seq = 0
        self.unsent = len(self.messages)
        # They were sealed in another place: whoever brings them here is not the server.
        self._frames.clear()


class Regroup:
    """The people of the old room who are not in the new one yet: how many connections of each key
    are missing. Callers are not waited for: they came to say one thing."""

    def __init__(self) -> None:
        self.until = 0.0
        """When the wait ends, whoever is still missing."""
        self._expected: Counter[bytes] = Counter()
        self._missing: Counter[bytes] = Counter()

    @property
    def waits(self) -> bool:
        """Whether somebody is still missing."""
        return bool(self._missing)

    def expect(self, connections: Counter[bytes]) -> None:
        """The room is gone, and so many of each key were in it. Servers that die in a row add up,
        but to no more members than a room has. Of a person who was back with one connection of two,
        both are awaited again."""
        both = self._expected | connections
        self._missing = self._expected = both if len(both) <= MAX_MEMBERS else connections

    def found(self, connections: Counter[bytes]) -> None:
        """So many of each key are in the new room, by its roster."""
        self._missing = self._expected - connections
        self._stop_if_all_are_here()

    def arrived(self, fingerprints: Iterable[bytes]) -> None:
        """One of each of these keys has joined."""
        if self._missing:
            self._missing = self._missing - Counter(fingerprints)
            self._stop_if_all_are_here()

    def _stop_if_all_are_here(self) -> None:
        if not self._missing:
            self.stop()

    def begin(self, now: float) -> None:
        """We are in the new room ourselves: wait from now on."""
        self.until = now + REGROUP_SECONDS

    def stop(self) -> None:
        """Wait for nobody any more."""
        self._missing = self._expected = Counter()


class _Run:
    """What was shown of one run of a sender's program."""

    __slots__ = ("last", "taken", "unchecked")

    def __init__(self) -> None:
        self.last = 0
        """The highest number that the server has vouched for."""
        self.taken = 0
        """The highest number that the next CHECK covers."""
        self.unchecked: dict[int, int] = {}
        """By number: the hashes of the texts behind `last`, whether a CHECK will cover them or they
        were taken back."""


class SeenMessages:
    """What was shown of each run, by the sender's key and the run's origin.

    The key is the one in the roster, so nobody can suppress another member's messages. But somebody
    on our wire who knows the room's keys can say something in another's name, until the next CHECK
    finds it. If its number alone counted, what the other says under this number would be hidden for
    good. So until the CHECK comes a message is known by its text as well.

    When there are too many keys, or too many runs of one key, the one that was silent for longest
    is dropped.
    """

    def __init__(self) -> None:
        self._runs: dict[bytes, dict[bytes, _Run]] = {}
        self._latest = b"", b"", _Run()
        """Whose run came last, its origin, and the run."""
        self._taken: dict[_Run, None] = {}
        """The runs of which something was taken since the last CHECK."""

    def is_new(self, fingerprint: bytes, content: MessageContent, text: bytes) -> bool:
        """Whether this message has not been shown; from now on it has."""
        if self._latest[:2] != (fingerprint, content.origin):
            self._latest = fingerprint, content.origin, self._run_of(fingerprint, content.origin)
        run = self._latest[2]
        number, unchecked, same = content.number, run.unchecked, hash(text)
        if number <= run.last:
            return False
        run.taken = max(run.taken, number)
        self._taken[run] = None
        if len(self._taken) > MAX_UNCHECKED:
            del self._taken[next(iter(self._taken))]
        if unchecked.get(number) == same:
            return False
        if len(unchecked) >= MAX_UNCHECKED:
            del unchecked[next(iter(unchecked))]
        unchecked[number] = same
        return True

    def _run_of(self, fingerprint: bytes, origin: bytes) -> _Run:
        """The run, which from now on is the one that was silent for the shortest time."""
        # Taken out and put back in: a dict keeps the order in which keys were put in.
        runs = self._runs.pop(fingerprint, {})
        run = runs.pop(origin, None) or _Run()
        runs[origin] = run
        self._runs[fingerprint] = runs
        if len(runs) > MAX_ORIGINS_OF_ONE:
            del runs[next(iter(runs))]
        if len(self._runs) > MAX_ORIGINS:
            del self._runs[next(iter(self._runs))]
        return run

    def checked(self) -> None:
        """The server has vouched for all that was taken."""
        for run in self._taken:
            last = run.last = max(run.last, run.taken)
            run.unchecked = {n: text for n, text in run.unchecked.items() if n > last}
        self.take_back()

    def take_back(self) -> None:
        """No CHECK will cover what was taken since the last one."""
        for run in self._taken:
            run.taken = 0
        self._taken.clear()
