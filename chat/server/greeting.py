"""What newcomers are told: the topic, which an operator sets, and the message of the day, which is
in a file.

Both are the whole server's, for all rooms. The topic is kept in a list of one line, so that it
outlives the server. Neither can be a secret, since the server knows it.
"""

from typing import Protocol

from chat.controls import Greeting as GreetingControl
from chat.errors import ChatError, UsageError
from chat.limits import MAX_TOPIC_BYTES
from chat.localtime import seconds_of, stamp_of
from chat.roomevents import Topic
from chat.server.lists import BrokenLineError, Complain, Failed, InMemory, LineFile, List
from chat.text import is_blank

_NO_TOPIC = Topic(0, "")


class TextFile(Protocol):
    """A text that is kept somewhere."""

    def read(self) -> str | None:
        """The text; None if it is as it was when it was read last. Raises ChatError."""


class Greeting:
    """See the module's text. What cannot be read or written is complained of, and what was known
    before holds."""

    def __init__(
        self,
        complain: Complain = lambda _: None,
        *,
        topic: LineFile | None = None,
        motd: TextFile | None = None,
    ) -> None:
        """`topic`: where it is kept; None: nowhere. `motd`: the message of the day; None: there is
        none."""
        self._complain = complain
        self._list = List(topic or InMemory(), topic_in, complain)
        self._motd_file = motd
        self._motd = ""
        self._complained = ""
        self._encoded: bytes | None = None
        self._set = False
        """Whether the topic was set and not written yet."""
        kept = self._list.read()
        self.topic = kept[-1] if kept else _NO_TOPIC
        self.refresh()

    def refresh(self) -> None:
        """Read the message of the day again if it has changed."""
        if self._motd_file is None:
            return
        try:
            text = self._motd_file.read()
        except ChatError as error:
            if str(error) != self._complained:
                self._complained = str(error)
                self._complain(Failed(str(error)))
            return
        if text is not None:
            self._motd, self._complained, self._encoded = text, "", None

    def encoded(self) -> bytes:
        """The control message for a newcomer; empty if there is nothing to be said."""
        self.refresh()
        if self._encoded is None:
            topic = self.topic
            said = bool(topic.text or self._motd)
            greeting = GreetingControl(topic.since, topic.text, self._motd)
            self._encoded = greeting.encode() if said else b""
        return self._encoded

    def set_topic(self, text: str, now: float) -> Topic:
        """Set the topic, or (an empty text) take it away. Returns what members are to be told.

        Raises:
            UsageError: it is too long or no line, or nothing of it can be seen.
        """
        if (size := len(text.encode())) > MAX_TOPIC_BYTES:
            raise UsageError(
                f"a topic has at most {MAX_TOPIC_BYTES:,} bytes, and this has {size:,}"
            )
        if "\n" in text:
            # From within the room a command may have several, and the file keeps one.
            raise UsageError("a topic is one line")
        if text and is_blank(text):
            raise UsageError("nothing of this topic can be seen")
        topic = Topic(max(0, int(now)), text)
        self.topic, self._encoded, self._set = topic, None, True
        return topic

    def save_orders(self) -> None:
        """Write the topic if it was set since this was called last. If it cannot be written, it
        holds until the server ends."""
        if self._set:
            self._set = False
            lines = [line_of_topic(self.topic)] if self.topic.text else []
            self._list.edit(lambda _: lines, holds=True)


def topic_in(line: str) -> Topic | None:
    """The topic in a line: when it was set, a blank, and the text; None in an empty one.

    Raises:
        BrokenLineError: it is none.
    """
    if not line.strip():
        return None
    stamp, _, text = line.partition(" ")
    try:
        since, size = seconds_of(stamp), len(text.encode())
    except ValueError as exc:
        raise BrokenLineError from exc
    if since < 0 or size > MAX_TOPIC_BYTES or is_blank(text):
        raise BrokenLineError
    return Topic(since, text)


def line_of_topic(topic: Topic) -> str:
    """The opposite of `topic_in`."""
    return f"{stamp_of(topic.since)} {topic.text}"
