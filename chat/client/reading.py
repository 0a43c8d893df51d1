"""The log as it arrives: each frame is checked, opened, applied.

Implements PROTOCOL 6.3 and 6.5 for a reader. Frames are open to whoever holds our cable. So what
the server cannot have written here is refused, and is not taken for its fault. What a message then
says to us is in `hearing`.
"""

from chat.cipher import SealingKey
from chat.client.dues import Dues
from chat.client.events import (
    ClientEvent,
    FrameRefused,
    MessageNotForUs,
    NoticeReceived,
    RoomClosed,
    Warned,
)
from chat.client.greeted import Greeted
from chat.client.hearing import Hearing
from chat.client.keyring import Keyring
from chat.client.membership import Membership
from chat.client.outbox import Outbox, Regroup
from chat.client.peers import SERVER, Peer
from chat.client.unread import Unread
from chat.contents import MessageContent
from chat.errors import ForgeableError, OpenError, ProtocolError
from chat.roomevents import (
    Back,
    Closing,
    Joined,
    Left,
    Lost,
    Notice,
    RoomEvent,
    Topic,
    decode_room_event,
)
from chat.wire import ROOM_HEADER_BYTES, Event, RoomHeader, room_headers


class LogReader:
    """Takes the log, frame by frame, into what we know of the room."""

    def __init__(
        self,
        keyring: Keyring,
        outbox: Outbox,
        regroup: Regroup,
        dues: Dues,
        hearing: Hearing,
        unread: Unread,
        greeted: Greeted,
    ) -> None:
        self._keyring = keyring
        self._outbox = outbox
        self._regroup = regroup
        self._dues = dues
        self._hearing = hearing
        self._unread = unread
        self._greeted = greeted

    def take(self, membership: Membership, frame_type: int, run: bytes) -> list[ClientEvent]:
        """Take a run of room frames, all of the same type. Where one is refused, the rest of the
        run is not looked at."""
        events: list[ClientEvent] = []
        take = self._on_event if frame_type == Event.TYPE else self._on_message
        try:
            for header in room_headers(frame_type, run):
                if self._keyring.awaits_rekey:
                    raise ForgeableError("a room frame where a new key was due")
                frame = run[header.start : header.end]
                events += take(membership, header, frame)
        except ProtocolError as error:
            membership.refuse_frame()
            events.append(FrameRefused(str(error)))
        return events

    def _on_message(
        self, membership: Membership, header: RoomHeader, frame: bytes
    ) -> list[ClientEvent]:
        keyring = self._keyring
        peer = membership.peers.find(header.sender)
        if peer is None or header.seq != peer.seq + 1 or not keyring.counts(header.epoch):
            raise ForgeableError("a message that the server cannot have passed on here")
        own = header.sender == membership.id
        key = keyring.message_key(header.epoch)
        data = _opened(key, frame, peer.bound)
        if own:
            self._acknowledge(membership, header.seq, data)
        membership.hear(peer, header.seq, frame)
        membership.messages += 1
        if key is None:
            return peer.once("not for us", MessageNotForUs(peer.name))
        if data is None:
            return _warn(peer, "a message could not be opened, and was dropped")
        try:
            return self._hearing.read(membership, peer, MessageContent.decode(data))
        except ProtocolError as error:
            return _warn(peer, f"{error}, and was dropped")

    def _acknowledge(self, membership: Membership, seq: int, data: bytes | None) -> None:
        outbox = self._outbox
        content = None if data is None else MessageContent.decode(data)
        due = outbox.first_seq if outbox.first_seq <= outbox.sent_seq else None
        if seq != due or outbox.messages[0] != content:
            raise ForgeableError("our own message came back, but not as we sent it")
        outbox.acknowledge(membership.room)
        self._dues.acknowledged()

    def _on_event(
        self, membership: Membership, header: RoomHeader, frame: bytes
    ) -> list[ClientEvent]:
        server = membership.server
        fits = header.sender == SERVER and header.seq == server.seq + 1
        data = _opened(self._keyring.current_event_key, frame)
        if not fits or header.epoch != self._keyring.current or data is None:
            raise ForgeableError("an event that the server cannot have told here")
        membership.hear(server, header.seq, frame)
        try:
            return self._apply(membership, decode_room_event(data))
        except ProtocolError:
            # Half of it may have been applied.
            membership.distrusted = True
            raise

    def _apply(self, membership: Membership, event: RoomEvent) -> list[ClientEvent]:
        peers = membership.peers
        match event:
            case Joined(entries):
                for entry in entries:
                    peers.add(entry)
                self._keyring.step()
                membership.end_epoch()
                self._regroup.arrived(each.fingerprint for each in entries if not each.card.caller)
            case Left(departures):
                self._keyring.await_rekey()
                membership.end_epoch()
                for member, reason in departures:
                    if member == membership.id:
                        raise ProtocolError("an event about somebody who is not here")
                    peers.remove(member, reason)
            case Lost(member) | Back(member) if member != membership.id:
                membership.set_lost(peers.of(member), isinstance(event, Lost))
            case Notice(text):
                return [NoticeReceived(text)]
            case Topic(since, text):
                return self._greeted.change(since, text)
            case Closing():
                return [RoomClosed()]
        return peers.take_news() + self._unread.look(peers)


def _opened(key: SealingKey | None, frame: bytes, bound: bytes = b"") -> bytes | None:
    """What was sealed in a room frame, bound to its header and this; None if it does not open."""
    if key is None:
        return None
    try:
        return key.open(frame[:ROOM_HEADER_BYTES] + bound, frame[ROOM_HEADER_BYTES:])
    except OpenError:
        return None


def _warn(peer: Peer, text: str) -> list[ClientEvent]:
    """Say this, but only once of each peer."""
    return peer.once(text, Warned(f"{peer.name}: {text}"))
