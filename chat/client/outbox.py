"""What a client has said: until it is acknowledged, and for a moment longer.

Numbers are kept here and only here: sequence numbers, which belong to a membership, and the numbers
of our run, by which a message that is sent again is known (PROTOCOL 6.2).
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice

from chat.limits import PING_SECONDS, REPLAY_BYTES, REPLAY_SECONDS
from chat.messages import MessageContent


class Outbox:
    """What we have said and not seen acknowledged, and what was acknowledged a moment ago.

    Invariant: the messages bear consecutive sequence numbers from `first_seq` on; those up to
    `sent_seq` have been sent, and those from `next_seq` on are to be sent, once more perhaps. These
    are of one membership; the numbers inside a message are of our run, and never change.
    """

    def __init__(self, origin: bytes) -> None:
        self.first_seq = self.next_seq = 1
        self.sent_seq = 0
        self.messages: deque[MessageContent] = deque()
        self.size = 0
        self._origin = origin
        self._number = 0
        self._recent: deque[tuple[float, MessageContent]] = deque()
        self._recent_size = 0
        self._heard_at: float | None = None
        self._heard_seconds = 0.0

    def add(self, time_ms: int, text: str) -> int:
        """Put in a message; returns its sequence number."""
        self._number += 1
        self.messages.append(MessageContent(time_ms, self._origin, self._number, text))
        self.size += len(text.encode())
        return self.end_seq - 1

    def numbered(self, seq: int) -> Iterator[tuple[int, MessageContent]]:
        """The messages from a sequence number on, each with its number."""
        skipped = min(max(seq - self.first_seq, 0), len(self.messages))
        return enumerate(islice(self.messages, skipped, None), self.first_seq + skipped)

    @property
    def end_seq(self) -> int:
        """The number that the next message gets."""
        return self.first_seq + len(self.messages)

    def rewind(self, seq: int = 0) -> None:
        """Send again from a sequence number on, by default all there is. What is to be sent anyway
        is sent once, however often this is asked for."""
        self.next_seq = min(self.next_seq, max(seq, self.first_seq))

    def take_to_send(self) -> list[tuple[int, MessageContent]]:
        """What is to be sent, each with its number; from now on it has been."""
        taken = list(self.numbered(self.next_seq))
        self.next_seq = self.end_seq
        self.sent_seq = max(self.sent_seq, self.end_seq - 1)
        return taken

    def age(self, now: float) -> None:
        """The server lives, and what it acknowledged grows older. Neither a dead connection nor a
        process that is suspended makes it older: a silence counts as one between PINGs."""
        silence = 0.0 if self._heard_at is None else now - self._heard_at
        self._heard_at = now
        self._heard_seconds += min(silence, PING_SECONDS)
        self._forget()

    def acknowledge(self) -> None:
        """The first message is in its place of the order."""
        speech = self.messages.popleft()
        self.first_seq += 1
        self.next_seq = max(self.next_seq, self.first_seq)
        self.size -= len(speech.text.encode())
        self._recent.append((self._heard_seconds, speech))
        self._recent_size += len(speech.text.encode())
        self._forget()

    def _forget(self) -> None:
        # The last silence may have counted whole, though the server died at its beginning.
        oldest = self._heard_seconds - REPLAY_SECONDS - PING_SECONDS
        while self._recent and (self._recent_size > REPLAY_BYTES or self._recent[0][0] < oldest):
            self._recent_size -= len(self._recent.popleft()[1].text.encode())

    def renumber(self, *, replay: bool) -> None:
        """Number anew for a new membership, in a new room beginning with what was acknowledged a
        moment before the old one was lost."""
        self.first_seq = self.next_seq = 1
        self.sent_seq = 0
        if replay:
            self.messages.extendleft(speech for _, speech in reversed(self._recent))
            self.size += self._recent_size
            self._recent.clear()
            self._recent_size = 0
