"""What a client has said, until it is acknowledged; and what it takes to say it once, whatever
happens to the server.

Theory of operation
-------------------

A message waits in the `Outbox` until its own copy comes back at its place in the log. That copy is
the acknowledgement. As long as the room lives, sequence numbers turn *sent again* into *exactly
once*: the server knows the last number that it took of each member.

A server that dies takes the room with it. Clients come back to a new room, with new members'
numbers, sequence numbers and keys (PROTOCOL 6.6). A message may then have been acknowledged to its
sender and never have reached the others. Three parts, one class each, make that harmless:

1. **Replay** (`Outbox`). The sender sends again, first and in the old order, what was acknowledged
   in the last REPLAY_SECONDS, and then what was not acknowledged at all. Sequence numbers begin at
   1 again, but a message keeps the origin and the number of its run: by these it is known. It also
   keeps the age of its first acknowledgement: a replay that is acknowledged is not recent again.
   Otherwise servers that die in a row would have old words said to newcomers without end.
2. **Regroup** (`Regroup`). Before the sender replays anything, it waits until everybody that it
   knew in the old room is in the new one, for REGROUP_SECONDS at most. Otherwise those who come
   back a second later would miss the replay.
3. **Seen messages** (`SeenMessages`). A receiver remembers the highest number that it has shown of
   each sender's run, and shows nothing at or below it. So a replay is shown to those who missed the
   message, and to nobody else.

The order matters. Replay without regrouping would lose messages, replay without seen messages would
show them twice. Numbers of a run must therefore never change, and a run must replay in the order of
its numbers: a message that overtook an earlier one would hide it.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

from chat.limits import (
    MAX_MEMBERS,
    MAX_ORIGINS,
    MAX_ORIGINS_OF_ONE,
    PING_SECONDS,
    REGROUP_SECONDS,
    REPLAY_BYTES,
    REPLAY_SECONDS,
)
from chat.messages import MessageContent


class Outbox:
    """What we have said and not seen acknowledged, and what was acknowledged a moment ago.

    Invariant: the messages bear consecutive sequence numbers from `first_seq` on. The last `unsent`
    of them are to be sent, perhaps once more. Those up to `sent_seq` have been sent at least once.
    Sequence numbers belong to one membership; the numbers inside the messages belong to our run and
    never change. `size` is how many bytes of text the messages have.
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
        self._recent: deque[tuple[float, MessageContent]] = deque()
        self._recent_size = 0
        self._acknowledged_at: dict[int, float] = {}
        """By number: when what is being replayed was acknowledged first (`_heard_seconds`)."""
        self._heard_at: float | None = None
        self._heard_seconds = 0.0

    def __repr__(self) -> str:
        """Counts alone: a text must not reach a traceback."""
        count, recent = len(self.messages), len(self._recent)
        return f"Outbox({count} from {self.first_seq} on, {self.unsent} unsent, {recent} recent)"

    def add(self, time_ms: int, text: str) -> int:
        """Put in a message; returns its number in our run."""
        self._number += 1
        self.messages.append(MessageContent(time_ms, self._origin, self._number, text))
        self.unsent += 1
        self.size += len(text.encode())
        return self._number

    def numbered(self, seq: int) -> Iterator[tuple[int, MessageContent]]:
        """The messages from a sequence number on, each with its number."""
        skipped = min(max(seq - self.first_seq, 0), len(self.messages))
        return enumerate(islice(self.messages, skipped, None), self.first_seq + skipped)

    def rewind(self, seq: int = 0) -> None:
        """Send again from a sequence number on, by default all there is. A message that is to be
        sent anyway is sent once, however often this is called."""
        end_seq = self.first_seq + len(self.messages)
        self.unsent = max(self.unsent, min(end_seq - seq, len(self.messages)))

    def take_to_send(self) -> list[tuple[int, MessageContent]]:
        """What is to be sent, each with its sequence number; from now on it counts as sent."""
        end_seq = self.first_seq + len(self.messages)
        taken = list(self.numbered(end_seq - self.unsent))
        self.unsent = 0
        self.sent_seq = max(self.sent_seq, end_seq - 1)
        return taken

    def acknowledge(self) -> None:
        """The first message is at its place in the log."""
        content = self.messages.popleft()
        self.first_seq += 1
        self.unsent = min(self.unsent, len(self.messages))
        self.size -= len(content.text.encode())
        first = self._acknowledged_at.pop(content.number, self._heard_seconds)
        self._recent.append((first, content))
        self._recent_size += len(content.text.encode())
        self._forget()

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
        while self._recent and (self._recent_size > REPLAY_BYTES or self._recent[0][0] < oldest):
            self._recent_size -= len(self._recent.popleft()[1].text.encode())

    def renumber(self, *, replay: bool) -> None:
        """Number the messages anew for a new membership. `replay`: it is in a new room, so what was
        acknowledged a moment ago comes first."""
        if replay:
            self.messages.extendleft(content for _, content in reversed(self._recent))
            self._acknowledged_at.update((content.number, first) for first, content in self._recent)
            self.size += self._recent_size
            self._recent.clear()
            self._recent_size = 0
            # Nothing was heard between the rooms.
            self._heard_at = None
        self.first_seq = 1
        self.sent_seq = 0
        self.unsent = len(self.messages)


class Regroup:
    """The members of the old room that are not in the new one yet, each known by its key."""

    def __init__(self) -> None:
        self.until = 0.0
        """When the wait ends, whoever is still missing."""
        self._missing: set[bytes] = set()

    @property
    def waits(self) -> bool:
        """Whether somebody is still missing."""
        return bool(self._missing)

    def expect(self, fingerprints: set[bytes]) -> None:
        """The room is gone, and these were in it. Servers that die in a row add up, but to no more
        members than a room has."""
        both = self._missing | fingerprints
        self._missing = both if len(both) <= MAX_MEMBERS else fingerprints

    def arrived(self, fingerprints: Iterable[bytes]) -> None:
        """These are in the new room."""
        self._missing.difference_update(fingerprints)

    def begin(self, now: float) -> None:
        """We are in the new room ourselves: wait from now on."""
        self.until = now + REGROUP_SECONDS

    def stop(self) -> None:
        """Wait for nobody any more."""
        self._missing.clear()


class SeenMessages:
    """The highest number that was shown of each run, by the sender's key and the run's origin.

    The key is the one in the roster, so nobody can suppress another member's messages. When there
    are too many keys, or too many runs of one key, the one that was silent for longest is dropped.
    """

    def __init__(self) -> None:
        self._last: dict[bytes, dict[bytes, int]] = {}

    def is_new(self, fingerprint: bytes, origin: bytes, number: int) -> bool:
        """Whether this message has not been shown; from now on it has."""
        # Taken out and put back in: a dict keeps the order in which keys were put in.
        runs = self._last.pop(fingerprint, {})
        last = runs.pop(origin, 0)
        runs[origin] = max(last, number)
        self._last[fingerprint] = runs
        if len(runs) > MAX_ORIGINS_OF_ONE:
            del runs[next(iter(runs))]
        if len(self._last) > MAX_ORIGINS:
            del self._last[next(iter(self._last))]
        return number > last
