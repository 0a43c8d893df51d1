"""What a message says to us, once it is opened.

Implements PROTOCOL 6.4 (`seen`), 6.8 and 6.12 for a reader: what is shown, and shown once; whether
its sender was shown the conversation that we were; and private messages. Frames are not known here.
"""

from chat.client.direct import DirectMessages
from chat.client.events import ClientEvent, MessageReceived, Warned
from chat.client.keyring import Keyring
from chat.client.membership import Membership
from chat.client.outbox import SeenMessages
from chat.client.peers import Peer, Peers
from chat.client.unread import Unread, left_unread, may_not_have_reached
from chat.contents import Kind, MessageContent, Repeat, text_of
from chat.errors import OpenError, ProtocolError
from chat.limits import MAX_MEMBERS
from chat.text import caseless_name


class Hearing:
    """Makes of a message what there is to tell the user."""

    def __init__(
        self,
        keyring: Keyring,
        seen: SeenMessages,
        unread: Unread,
        direct: DirectMessages | None,
    ) -> None:
        """`seen`: what was shown; `unread`: what waits for its readers; `direct` is None where
        there are no private messages for us."""
        self._keyring = keyring
        self._seen = seen
        self._unread = unread
        self._direct = direct
        self._split_from: dict[bytes, str] = {}

    @property
    def split_from(self) -> tuple[str, ...]:
        """Who says to have been shown another conversation than we."""
        return tuple(self._split_from.values())

    def read(
        self, membership: Membership, peer: Peer, content: MessageContent
    ) -> list[ClientEvent]:
        """Take a message that opened.

        Raises:
            ProtocolError: its sender cannot mean it.
        """
        if not peer.is_next(content.number):
            raise ProtocolError("a message has a number that is not next")
        if membership.trail.agrees(content.seen):
            return self.show(membership, peer, content)
        return self._split(peer) + self.show(membership, peer, content)

    def _split(self, peer: Peer) -> list[ClientEvent]:
        """Said once of each key, since anybody can claim to have seen something else."""
        if peer.fingerprint in self._split_from or len(self._split_from) >= MAX_MEMBERS:
            return []
        self._split_from[peer.fingerprint] = peer.name
        text = (
            f"{peer.name} says to have been shown another conversation than you; "
            f"either {peer.name}, the server, or somebody on the way deceives you"
        )
        return [Warned(text)]

    def show(
        self,
        membership: Membership,
        peer: Peer,
        content: MessageContent,
        before: Peers | None = None,
    ) -> list[ClientEvent]:
        """What there is to tell of a message. `before`: the roster was this one before what we
        missed, in which the message lies; None: it is that of the message's place in the log."""
        if content.kind is Kind.PARTING:
            return self._note_parting(peer, content)
        if content.kind is Kind.DIRECT:
            return self._show_direct(membership, peer, content, before)
        if content.kind is Kind.REPEAT and peer is membership.us:
            # It was shown when it was first said, and perhaps we have its key no more: another
            # epoch may have this number now, if the servers have lost the end of the log.
            return []
        body = content.body if content.kind is Kind.SAY else self._repeated(content)
        if body is None or not self._seen.is_new(peer.fingerprint, content, body):
            return []
        own = peer is membership.us
        return [_received(peer, content, text_of(body), own=own)]

    def _note_parting(self, peer: Peer, content: MessageContent) -> list[ClientEvent]:
        """It is told together with the leaving itself."""
        if self._seen.is_new(peer.fingerprint, content, content.body):
            peer.parting = content.body.decode()
        return []

    def _show_direct(
        self, membership: Membership, peer: Peer, content: MessageContent, before: Peers | None
    ) -> list[ClientEvent]:
        us, direct = membership.us, self._direct
        said = None if direct is None else direct.open(content, us, peer)
        if direct is None or said is None:
            return []
        own = peer is us
        waited = own and self._unread.forget(content.number)
        is_new = self._seen.is_new(peer.fingerprint, content, said.text.encode())
        if not is_new and not waited:
            return []
        # Our own name as it is in the room, however the sender spelled it.
        ours = us.person == (caseless_name(said.name), said.fingerprint)
        name = us.name if ours else said.name
        events: list[ClientEvent] = []
        if is_new:
            events.append(_received(peer, content, said.text, own=own, to=name))
        if not own:
            return events
        readers = direct.reached(content, us, membership.peers, said)
        known = [one for one in readers if before is None or before.find(one.number) is not None]
        if known:
            if all(one.lost for one in known):
                certain = before is None
                self._unread.wait(content.number, name, said.fingerprint, known, certain=certain)
        elif readers:
            # They may have come behind the message.
            events.append(Warned(may_not_have_reached(name)))
        else:
            gone = _not_reached(name, placed=before is None) if is_new else left_unread(name)
            events.append(Warned(gone))
        return events

    def _repeated(self, content: MessageContent) -> bytes | None:
        """What was said before and is repeated, as bytes; None if we were not there then.

        Raises:
            ProtocolError: it is not as it was said.
        """
        repeat = Repeat.decode(content.body)
        key = self._keyring.repeat_key(repeat.room, repeat.epoch)
        try:
            return None if key is None else key.open(content.bound(), repeat.sealed)
        except OpenError as error:
            raise ProtocolError("a repeated message could not be opened") from error


def _not_reached(name: str, *, placed: bool) -> str:
    if placed:
        return f"{name} was not here any more: the private message did not reach {name}"
    return f"{name} is not here any more: the private message may not have reached {name}"


def _received(
    peer: Peer, content: MessageContent, text: str, *, own: bool, to: str = ""
) -> MessageReceived:
    number, key = content.number, peer.fingerprint
    return MessageReceived(peer.name, content.time_ms, text, own, number, to, key)
