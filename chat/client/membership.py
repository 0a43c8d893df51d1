"""One place in one room, from its WELCOME on.

Theory of operation
-------------------

A WELCOME begins a `Membership`, which replaces the one before it whole: nothing of the old place is
reset by hand, so nothing of it can be left over. A WELCOME can mean four things, and which one is
found by comparing it with the membership before:

- the same room and token: we keep our place, but the log no longer goes back to where we were. We
  go on from a later point, and have missed what lies between;
- the same room and another token: we were put out, and are a new member of the same room;
- another room: the server was started anew;
- the same room, put back to an earlier time (*rewound*): the servers of a cluster have lost its
  last part. What was said in that part is as lost as in a room that is over, so this counts as
  another room. We see it if we are a new member, and have read further already. If we have kept our
  place, the server counts fewer messages of ours than it had vouched for. Then the place is *void*,
  since our next message would not be the next one of our run, and we join anew.

What we take of the log is not vouched for until the server says CHECK. If the two do not agree, the
membership goes back to the last CHECK, and everything since is asked for once more. Who was heard,
how far, and who is lost, is all that has to be put back, as long as nobody came or went; otherwise
only a new WELCOME helps.

A membership is `entered` when the roster is complete. If the connection breaks before that, the
next WELCOME replaces a membership that was never entered. What that one would have told the user is
still untold, so the next one takes it over.
"""

from collections import Counter

from chat.client.events import ClientEvent
from chat.client.peers import SERVER, Peer, Peers, Proves
from chat.client.trail import Trail
from chat.controls import Check, Resume, Welcome
from chat.errors import ProtocolError
from chat.identities import RosterEntry
from chat.limits import MAX_MEMBERS, MAX_REFUSALS

_UNKNOWN_OFFSET = 2**64 - 1
"""What RESUME asks for when it cannot go on from anywhere: a new WELCOME (PROTOCOL 6.7)."""

_MAX_OFFSET = 2**63


class Membership:
    """What belongs to one place in one room.

    Invariant: `trail` and `messages` count what we have taken of the log, in bytes and in MESSAGE
    frames.
    """

    def __init__(
        self,
        welcome: Welcome,
        before: "Membership | None",
        proves: Proves | None = None,
    ) -> None:
        """`before` is the membership that this one replaces; None for the first. `proves`: see
        `Peers`.

        Raises:
            ProtocolError: an honest server says no such WELCOME.
        """
        if (
            welcome.member == SERVER
            or not 0 < welcome.members <= MAX_MEMBERS
            or welcome.offset > _MAX_OFFSET
        ):
            raise ProtocolError("a welcome that makes no sense")
        self.room = welcome.room
        self.id = welcome.member
        self.trail = Trail(welcome.offset, welcome.base)
        self.messages = welcome.messages
        self.server = Peer("the server", welcome.event_seq)
        self.peers = Peers(proves)
        self._us: Peer | None = None
        self.entered = False
        self.distrusted = False
        """Whether only a new WELCOME can help: what we took is not what the server wrote."""
        self.void = False
        """Whether the server no longer has what it had vouched for in this place."""
        self.tampered = False
        """Whether the user was told so of all that we took since the last CHECK."""
        self._refused_at: int | None = None
        self._refusals = 0
        self._epoch_ended = False
        self._checked_messages = welcome.messages
        self._heard: dict[Peer, tuple[int, int | None, bool, str]] = {}
        self._token = welcome.token
        self._size = welcome.members
        self.same_room = self.same_place = self.rewound = False
        """Whether this is the room, and the place in it, of the membership before; and whether it
        is that room, put back to an earlier time."""
        self._was_rewound = False
        """Whether that has ever happened to this room."""
        self.is_new = True
        """Whether this is another place than the one that was entered last."""
        self.changed_room = False
        """Whether this is another room than the one that was entered last."""
        self.missed = 0
        """How many messages the log no longer had when we came back for them."""
        self.told_last: Peers | None = None
        """Who was in the room when we were told last, if we have kept our place; until `changes`
        are told."""
        self.known_own = 0
        """How many messages of our own we had taken before, though nobody vouched for them."""
        self.was_in = False
        """Whether a membership has been entered, this one or one before."""
        if before is not None:
            self._follow(before)

    def _follow(self, before: "Membership") -> None:
        same_id, same_token = self.room == before.room, self._token == before._token
        goes_back = not same_token and self.trail.offset < before.trail.checked_offset
        self.rewound = same_id and (before.void or goes_back)
        self._was_rewound = self.rewound or (same_id and before._was_rewound)
        self.same_room = same_id and not self.rewound
        self.same_place = self.same_room and same_token
        self.is_new = not self.same_place
        self.changed_room = before.was_in and not self.same_room
        self.was_in = before.was_in
        if same_id:
            # What nobody vouches for may be somebody else's.
            taken = before._checked_messages if before.distrusted else before.messages
            self.missed = max(0, self.messages - taken)
        if self.same_place:
            self.told_last = before.peers if before.entered else before.told_last
        if not before.entered:
            # The user was not told of the change that it brought.
            self.is_new |= before.is_new
            self.changed_room |= before.changed_room
            self.missed += before.missed
            self.known_own = before.known_own

    def enter(self) -> None:
        """The roster is complete: we are in."""
        self.entered = self.was_in = True

    def take(self, entries: tuple[RosterEntry, ...]) -> bool:
        """Take the next part of the roster. Returns whether it is complete.

        Raises:
            ProtocolError: there are more members than WELCOME said, or one that cannot be.
        """
        if len(self.peers) + len(entries) > self._size:
            raise ProtocolError("more members than the welcome said")
        for entry in entries:
            self.peers.add(entry)
        return len(self.peers) == self._size

    def ourselves(self, name: str, proved_share: bytes | None = None) -> Peer:
        """Our own entry in the complete roster; an empty `name` matches any. In a sealed room it
        must have our share, and be proved: then it is what we have shown, since nobody else proves
        a key beside our share.

        Raises:
            ProtocolError: there is none, or it is another's, or is lost.
        """
        us = self.peers.find(self.id)
        if us is None:
            raise ProtocolError("we are not in the list of members")
        if name and us.name != name:
            raise ProtocolError("we are in the list of members under another name")
        if us.lost:
            raise ProtocolError("we are in the list of members without a connection")
        if proved_share is not None and not (us.proved and us.card.share == proved_share):
            raise ProtocolError("we are in the list of members as somebody else")
        return us

    @property
    def us(self) -> Peer:
        """Our own entry, once the roster is complete. It stays the same."""
        if self._us is None:
            self._us = self.peers.of(self.id)
        return self._us

    def returned(self) -> Counter[bytes]:
        """How many connections of each key are in this room by its roster, now that it is complete.
        That of a rewound room may name as connected whoever was then, so it tells of us alone."""
        return Counter([self.us.fingerprint]) if self._was_rewound else self.peers.connections()

    def changes(self) -> list[ClientEvent]:
        """What has become of people since we were told last; of those in a new place, who is lost.
        Call this once, when the roster is complete."""
        before, self.told_last = self.told_last, None
        return self.peers.take_lost() if before is None else self.peers.take_news_since(before)

    # -- what the server vouches for

    def hear(self, peer: Peer, seq: int, frame: bytes) -> None:
        """Take a frame, with this number, of a member or of the server."""
        self._remember(peer)
        peer.seq = seq
        self.trail.take(frame)

    def set_lost(self, peer: Peer, lost: bool) -> None:
        """A member has lost its connection, or is back."""
        self._remember(peer)
        self.peers.set_lost(peer, lost)

    def _remember(self, peer: Peer) -> None:
        """Before it changes: how it is at the last CHECK."""
        if not self._epoch_ended and peer not in self._heard:
            self._heard[peer] = peer.seq, peer.shift, peer.lost, peer.parting

    def end_epoch(self) -> None:
        """The frame that was taken last ended its epoch."""
        self.trail.begin_epoch()
        self._epoch_ended = True
        # There is no way back from here.
        self._heard.clear()

    def check(self, check: Check) -> bool:
        """Whether the server vouches for all that we took; if not, go back."""
        if self.trail.check(check):
            self._epoch_ended = False
            self._checked_messages = self.messages
            self._heard.clear()
            return True
        self.go_back()
        return False

    def go_back(self) -> None:
        """Forget what was taken since the server last vouched for it, and take it again. If that
        cannot be, or was in vain, nothing can go on."""
        if self._epoch_ended:
            self.distrusted = self.tampered = True
            return
        for peer, before in self._heard.items():
            peer.seq, peer.shift, peer.lost, peer.parting = before
        self._heard.clear()
        self.messages = self._checked_messages
        self.trail.go_back()
        self.refuse_frame()

    def refuse_frame(self) -> None:
        """What comes next cannot be what the server wrote. If it is so the second time, then
        something that we took before it was wrong. If the server has vouched for that, then
        somebody on the way goes on; but there is an end to that."""
        again = self._refused_at == self.trail.offset
        self._refusals = self._refusals + 1 if again else 1
        self._refused_at = self.trail.offset
        self.distrusted |= self._refusals > (MAX_REFUSALS if self.trail.checked else 1)

    @property
    def stands(self) -> bool:
        """Whether this is a place to come back to: we have been in, and it is not void."""
        return self.entered and not self.void

    def resume(self, epoch: int) -> Resume:
        """What asks to go on from here; `epoch` is the last one whose key has arrived."""
        # Without the whole roster there is no place to go on from.
        known = self.entered and not self.distrusted
        offset = self.trail.offset if known else _UNKNOWN_OFFSET
        return Resume(self.id, self._token, offset, epoch)
