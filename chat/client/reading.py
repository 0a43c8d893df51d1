"""The log as it arrives: each frame is checked, opened, applied.

Implements PROTOCOL 6.3 and 6.5 for a reader. Frames are open to whoever holds our cable. So what
the server cannot have written here is refused, and is not taken for its fault. What a message then
says to us is in `hearing`.
"""

from collections import defaultdict
from collections.abc import Iterator

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
from chat.wire import ROOM_HEADER_BYTES, Event, Message, RoomHeader, room_headers


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
        try:
            if frame_type == Event.TYPE:
                for header in room_headers(frame_type, run):
                    self._check_no_rekey_is_due()
                    events += self._on_event(membership, header, run[header.start : header.end])
            else:
                self._check_no_rekey_is_due()
                for header, frame, opened in self._open_all(membership, run):
                    events += self._on_message(membership, header, frame, opened)
        except ProtocolError as error:
            membership.refuse_frame()
            events.append(FrameRefused(str(error)))
        return events

    def _check_no_rekey_is_due(self) -> None:
        if self._keyring.awaits_rekey:
            raise ForgeableError("a room frame where a new key was due")

    def _open_all(
        self, membership: Membership, run: bytes
    ) -> Iterator[tuple[RoomHeader, bytes, bytes | None]]:
        """The messages of a run, and what was sealed in each: None if it does not open, or need not
        be opened. All are opened at once, which costs little more than one; that can be before they
        are taken, since a message brings neither keys nor members.

        Raises:
            ProtocolError: behind the messages comes something that is none.
        """
        headers: list[RoomHeader] = []
        broken = None
        try:
            headers.extend(room_headers(Message.TYPE, run))
        except ProtocolError as error:
            broken = error
        frames = [run[header.start : header.end] for header in headers]
        yield from zip(headers, frames, self._opened(membership, headers, frames), strict=True)
        if broken is not None:
            raise broken

    def _opened(
        self, membership: Membership, headers: list[RoomHeader], frames: list[bytes]
    ) -> list[bytes | None]:
        opened: list[bytes | None] = [None] * len(frames)
        places: defaultdict[int, list[int]] = defaultdict(list)
        sealed: defaultdict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
        for at, (header, frame) in enumerate(zip(headers, frames, strict=True)):
            _, _, epoch, sender, seq = header
            peer = membership.peers.find(sender)
            if peer is None or (sender == membership.id and self._outbox.sent_as(seq, frame)):
                continue
            places[epoch].append(at)
            sealed[epoch].append(
                (frame[:ROOM_HEADER_BYTES] + peer.bound, frame[ROOM_HEADER_BYTES:])
            )
        for epoch in places:
            key = self._keyring.message_key(epoch)
            if key is not None:
                for at, data in zip(places[epoch], key.open_all(sealed[epoch]), strict=True):
                    opened[at] = data
        return opened

    def _on_message(
        self, membership: Membership, header: RoomHeader, frame: bytes, opened: bytes | None
    ) -> list[ClientEvent]:
        _, _, epoch, sender, seq = header
        peer = membership.peers.find(sender)
        if peer is None or seq != peer.seq + 1 or not self._keyring.counts(epoch):
            raise ForgeableError("a message that the server cannot have passed on here")
        content = None
        if sender == membership.id:
            content = self._our_own(seq, frame, opened)
            self._acknowledge(membership)
        membership.hear(peer, seq, frame)
        membership.messages += 1
        try:
            if opened is not None:
                content = MessageContent.decode(opened)
            if content is not None:
                return self._hearing.read(membership, peer, content)
        except ProtocolError as error:
            return _warn(peer, f"{error}, and was dropped")
        if self._keyring.message_key(epoch) is None:
            return peer.once("not for us", MessageNotForUs(peer.name))
        return _warn(peer, "a message could not be opened, and was dropped")

    def _our_own(self, seq: int, frame: bytes, opened: bytes | None) -> MessageContent:
        """What our own message says that is next in the log."""
        outbox = self._outbox
        due = outbox.messages[0] if seq == outbox.first_seq <= outbox.sent_seq else None
        if due is not None and outbox.sent_as(seq, frame):
            return due
        content = None if opened is None else MessageContent.decode(opened)
        if content is None or content != due:
            raise ForgeableError("our own message came back, but not as we sent it")
        return content

    def _acknowledge(self, membership: Membership) -> None:
        self._outbox.acknowledge(membership.room)
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


def _opened(key: SealingKey, frame: bytes) -> bytes | None:
    """What was sealed in a room frame; None if it does not open."""
    try:
        return key.open(frame[:ROOM_HEADER_BYTES], frame[ROOM_HEADER_BYTES:])
    except OpenError:
        return None


def _warn(peer: Peer, text: str) -> list[ClientEvent]:
    """Say this, but only once of each peer."""
    return peer.once(text, Warned(f"{peer.name}: {text}"))
