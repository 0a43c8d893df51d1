"""What we say: from the text to the frames that are sent.

Implements PROTOCOL 6.2 and 6.8 for a sender. What waits to be acknowledged is in `outbox`; whether
anything may be sent now is the participant's to know.
"""

from chat.cipher import RandomBytes, sealed_bytes
from chat.client.direct import DirectMessages
from chat.client.events import MessageQueued, Person
from chat.client.keyring import Keyring
from chat.client.membership import Membership
from chat.client.outbox import Outbox
from chat.contents import Kind, MessageContent, Repeat
from chat.errors import UsageError
from chat.frozen import replace
from chat.limits import MAX_PARTING_BYTES, MAX_RATED_READ_BYTES, MAX_TEXT_BYTES
from chat.text import check_size
from chat.wire import Message, room_header


class Speech:
    """Puts what is said into the outbox, and seals what leaves it."""

    def __init__(
        self,
        outbox: Outbox,
        keyring: Keyring,
        direct: DirectMessages | None,
        random_bytes: RandomBytes,
    ) -> None:
        """`direct` is None where no private messages can be said."""
        self._outbox = outbox
        self._keyring = keyring
        self._direct = direct
        self._random_bytes = random_bytes

    def say(self, text: str, time_ms: int) -> MessageQueued:
        """Take a message. `time_ms` is by our clock, in milliseconds since 1970.

        Raises:
            UsageError: the text is longer than a message may be, or is no text.
        """
        _check_message(text)
        return MessageQueued(self._outbox.add(time_ms, text), text)

    def say_direct(
        self, entered: Membership | None, person: Person, text: str, time_ms: int
    ) -> MessageQueued:
        """Take a private message, and seal it for the connections that this person has by the last
        roster, which `entered` has.

        Raises:
            UsageError: as `say`; or this person is not here, is ourselves, or cannot be sent one.
        """
        _check_message(text)
        direct = self._direct
        if direct is None or entered is None:
            raise UsageError("private messages cannot be sent from here")
        us, peers = entered.us, entered.peers
        meant = direct.readers(us, peers, person)
        number = self._outbox.add_direct(
            time_ms, lambda said: direct.seal(said, us, peers, meant, text)
        )
        return MessageQueued(number, text, person.name)

    def say_parting(self, text: str, time_ms: int) -> None:
        """Take the word with which we leave. It is shown when we have left.

        Raises:
            UsageError: it is too long, or is no text.
        """
        check_size(text, "a word at leaving", MAX_PARTING_BYTES)
        self._outbox.add_parting(time_ms, text)

    @property
    def waits(self) -> bool:
        """Whether something is to be sent, and may be. Between LEFT and its REKEY it may not: the
        member who left could still read it."""
        return not self._keyring.awaits_rekey and self._outbox.unsent > 0

    def take_to_send(self, membership: Membership) -> list[bytes]:
        """The frames that are to be sent since the last call, in runs, each for a SUBMIT. A run is
        short, or one message: a server that holds us to our rate reads so much in one piece, and
        with longer runs it could not acknowledge anything in time."""
        runs = [b""]
        for seq, content in self._outbox.take_to_send(self._keyring.current):
            frame = self._seal(membership, seq, content)
            if runs[-1] and len(runs[-1]) + len(frame) > MAX_RATED_READ_BYTES:
                runs.append(b"")
            runs[-1] += frame
        return runs

    def _seal(self, membership: Membership, seq: int, content: MessageContent) -> bytes:
        data = replace(content, seen=membership.trail.seen()).encode()
        epoch, key = self._keyring.current, self._keyring.current_message_key
        size = sealed_bytes(len(data))
        header = room_header(Message.TYPE, epoch, membership.id, seq, size)
        return header + key.seal(header + membership.us.bound, data, self._random_bytes)

    def as_repeat(self, said: MessageContent, room: bytes, epoch: int) -> MessageContent | None:
        """What was said in an earlier room, for those who were there when it was said."""
        if said.kind is not Kind.SAY:
            # Nobody can open it who could not before; and a last word is for whoever is here then.
            return said
        key = self._keyring.repeat_key(room, epoch)
        if key is None:
            return None
        sealed = key.seal(said.bound(), said.body, self._random_bytes)
        return replace(said, kind=Kind.REPEAT, body=Repeat(room, epoch, sealed).encode())


def _check_message(text: str) -> None:
    check_size(text, "a message", MAX_TEXT_BYTES, "; send it in parts")
