"""Which of the messages that a member submits the room accepts (PROTOCOL 6.2)."""

from collections.abc import Callable

from chat.errors import ProtocolError, Reason
from chat.server.epochs import Epochs
from chat.server.members import Member
from chat.wire import Message, RoomHeader, room_headers

Append = Callable[[bytes, int], None]
"""Appends so many frames to the log."""


def take_run(member: Member, run: bytes, epochs: Epochs, now: float, append: Append) -> bool:
    """Append the frames of a run of MESSAGEs that are accepted. Returns whether the member is to be
    asked for what comes behind its last message (RESEND). The rules, in the order in which they are
    looked at, where `last` is the member's `seq`:

        sender and epoch    not the member's           ProtocolError
        seq = last + 1      epoch current or recent    appended; last goes up by 1
        seq = last + 1      epoch before the last      dropped; RESEND(last + 1)
                            renewal, or ended by a
                            step too long ago
        seq > last + 1      any                        dropped; RESEND, unless one is pending
        seq <= last         any                        a repeat: dropped in silence

    At most one RESEND answers a run, and none if an accepted message came after the dropped one:
    the gap is closed then. Frames that are accepted one behind the other, run[start:end], are
    appended together, which is what makes a flood cheap.

    Raises:
        ProtocolError: the run is not made of MESSAGE frames, or one of them names another sender,
            or an epoch that is not the member's. The frames before it have been appended.
    """
    oldest = max(epochs.oldest(now), member.epoch)
    ask = False
    start = end = accepted = 0
    try:
        for header in room_headers(Message.TYPE, run):
            _check(member, header, epochs.current)
            next_in_turn = header.seq == member.seq + 1
            if next_in_turn and header.epoch >= oldest:
                epochs.wait_no_more_for(member.id)
                member.seq = header.seq
                member.resend_pending = ask = False
                accepted += 1
            else:
                append(run[start:end], accepted)
                start, accepted = header.end, 0
                if next_in_turn or (header.seq > member.seq and not member.resend_pending):
                    member.resend_pending = ask = True
                if next_in_turn and header.epoch < epochs.renewed_epoch:
                    epochs.refuse(member.id, member.fingerprint, now)
            end = header.end
    finally:
        append(run[start:end], accepted)
    return ask


def _check(member: Member, header: RoomHeader, current: int) -> None:
    if header.sender != member.id:
        raise ProtocolError("a message in another member's name")
    if header.epoch < member.epoch:
        raise ProtocolError("a message under a key that the member does not have")
    if header.epoch > current:
        # Somebody on its wire may have told it of a join that was none.
        raise ProtocolError("a message under a key that is to come", Reason.LOST)
