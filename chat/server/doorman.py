"""The doorman: listens, takes in whoever comes or refuses, and lets them shake hands in turn.

Everything before membership is here. A connection is a guest from `accept` until it becomes a
member or is closed:

1. `accept`. All newcomers wait in the one queue of the kernel: members that come back, and those
   that attack. So the queue must be emptied faster than it fills, even if most of the connections
   that are taken from it have to be refused.
2. A place. Guests are counted, in all and by source. If no place is left, another guest makes room;
   `Admission` says which one. If none does, or if one of the same source would have to and too many
   had to go in this turn, the newcomer is refused: one `send`, and closed.
3. HELLO goes out (`Connection.open`). Its share is the same for all, and was signed once.
4. The first frame arrives. From here on the guest is busy, and waits for its turn: one handshake in
   one turn of the loop, and one source after the other (`Turns`). So a storm of newcomers delays
   what members say by one handshake a turn.
5. SESSION_KEY goes out. Until READY arrives the guest is idle again: PUBKEY proves nothing, so
   anybody could hold a place with it. A guest that has proved its key and comes too often is busy
   while it waits to be let in.
6. The guest becomes a member, or is dropped, and `forget` is called.

When descriptors run out and nobody makes room, the listeners are left alone until a connection has
been closed, or for ACCEPT_PAUSE_SECONDS.
"""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Sequence
from functools import partial

from chat.errors import REASONS, Reason
from chat.kex import PrivateKey, SignedShare
from chat.limits import (
    ACCEPT_PAUSE_SECONDS,
    ACCEPT_PER_TURN,
    MAKE_ROOM_PER_TURN,
    SHARE_SECONDS,
)
from chat.reactor import Timer
from chat.server import words
from chat.server.admission import Admission, Turns
from chat.server.connection import Connection, Hub
from chat.server.console import Console
from chat.server.oplog import Event
from chat.session import Offer
from chat.sockets import address_text, source_of
from chat.wire import Refused

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Errors of `accept` that say that there is no room for another connection."""

_PASSING = (
    errno.ECONNABORTED,
    errno.EINTR,
    errno.EPROTO,
    errno.EPERM,
    errno.ENETDOWN,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.ENETUNREACH,
)
"""Errors of `accept` that belong to one connection: the next one may be good (accept(2))."""

_CROWDED = "too many connections wait to be let in"
_TOLD_BEFORE = (words.CUT_OFF, words.TOO_MUCH_WAITS)
"""Why we refuse everybody. The operator was told of that once, and clients try again and again."""

_NOT_TO_BLAME = (_CROWDED, *_TOLD_BEFORE)
"""Why we refuse somebody who has done nothing wrong."""

_REFUSAL = Refused(Reason.TIMEOUT, _CROWDED).to_wire()


class Doorman:
    """See the module's text. `open` begins, `close` ends."""

    def __init__(
        self,
        hub: Hub,
        connections: set[Connection],
        listeners: Sequence[socket.socket],
        key: PrivateKey,
        console: Console,
        admission: Admission[Connection],
    ) -> None:
        """Every connection that is taken in is added to `connections`."""
        self.admission = admission
        self.listeners = listeners
        self._hub = hub
        self._reactor = hub.reactor
        self._connections = connections
        self._key = key
        self._console = console
        self._turns: Turns[Connection] = Turns()
        self._offer: Offer | None = None
        self._pause: Timer | None = None
        self._some_left = False
        self._exhausted = False
        for listener in listeners:
            listener.setblocking(False)

    def open(self) -> None:
        """Accept from now on."""
        for listener in self.listeners:
            self._reactor.watch_read(listener.fileno(), partial(self._accept, listener))

    def close(self) -> None:
        """Accept nobody any more. The listening sockets stay open."""
        self._stop_pause()
        for listener in self.listeners:
            self._reactor.unwatch(listener.fileno())

    # -- accepting

    def _accept(self, listener: socket.socket) -> None:
        """Take some newcomers from the queue. If the last turn left some there, more come than can
        be taken in; then fewer displace a guest, and more are refused, which is cheaper."""
        may_make_room = MAKE_ROOM_PER_TURN if self._some_left else ACCEPT_PER_TURN
        self._some_left = True
        for _ in range(ACCEPT_PER_TURN):
            try:
                connected, address = listener.accept()
            except BlockingIOError:
                self._exhausted = self._some_left = False
                return
            except OSError as error:
                if error.errno not in _PASSING and not self._survives(error):
                    return
                continue
            try:
                host, port = address[:2]
                may_make_room -= self._take_in(connected, host, port, may_make_room > 0)
            except Exception as fault:
                connected.close()
                self._reactor.contain(self, fault)

    def _take_in(self, connected: socket.socket, host: str, port: int, may_make_room: bool) -> bool:
        """Take a connection in, or refuse it if there is no place. Returns whether a guest had to
        make room."""
        address, source = address_text(host, port), source_of(host)
        going = None
        if self.admission.is_full(source):
            going = self.admission.makes_room(source)
            if going is None or (going.source == source and not may_make_room):
                self._refuse(connected, address, source)
                return False
            self._put_out(going)
        connection = Connection(self._hub, self, self._current_offer(), connected, address, source)
        self._connections.add(connection)
        self.admission.add(connection, source)
        self._reactor.call(connection.open)
        return going is not None

    def _refuse(self, connected: socket.socket, address: str, source: str) -> None:
        with contextlib.suppress(OSError):
            connected.setblocking(False)
            connected.send(_REFUSAL)
        connected.close()
        self._console.refused(words.refused(address, _CROWDED), source)
        self._console.log.note(Event.CROWDED, address=address)

    def _put_out(self, guest: Connection) -> None:
        """Drop a guest and close it at once, since its descriptor is needed now."""
        self._reactor.call(partial(guest.drop, Reason.TIMEOUT, _CROWDED))
        self._reactor.call(guest.transport.close)

    def _survives(self, error: OSError) -> bool:
        """Deal with an error of `accept` that may last. Returns whether to go on; if not, there is
        a pause."""
        if error.errno not in _EXHAUSTED:
            self._reactor.contain(self, error)
        elif (idle := self.admission.oldest_idle()) is not None:
            self._put_out(idle)
            return True
        else:
            if not self._exhausted:
                self._console.show(words.OUT_OF_DESCRIPTORS)
            self._exhausted = True
        self.close()
        self._pause = self._reactor.call_at(
            self._reactor.clock() + ACCEPT_PAUSE_SECONDS, self.end_pause
        )
        return False

    def end_pause(self) -> None:
        """Accept again if there is a pause. A descriptor may be free now."""
        if self._stop_pause():
            self.open()

    def _stop_pause(self) -> bool:
        """Whether there was a pause."""
        pause, self._pause = self._pause, None
        if pause is not None:
            pause.cancel()
        return pause is not None

    # -- guests

    def _current_offer(self) -> Offer:
        """The share that newcomers are shown. It is made when it is needed, and forgotten when it
        has run out, since recorded handshakes could be opened with it."""
        if self._offer is None or not self._offer.signed.is_fresh(time.time()):
            self._offer = Offer.of(SignedShare.make(self._key, time.time(), os.urandom))
            self._reactor.call_at(self._reactor.clock() + SHARE_SECONDS, self._forget_offer)
        return self._offer

    def _forget_offer(self) -> None:
        if self._offer is not None and not self._offer.signed.is_fresh(time.time()):
            self._offer = None

    def await_turn(self, connection: Connection) -> None:
        self.admission.set_busy(connection)
        self._turns.add(connection, connection.source)
        # One piece of deferred work for each guest that waits, whichever of them it is for.
        self._reactor.defer(self._shake_hands)

    def _shake_hands(self) -> None:
        if self._turns:
            connection = self._turns.take()
            self._reactor.call(connection.take_turn)
            self.admission.set_idle(connection)

    def await_arrival(self, connection: Connection) -> None:
        self.admission.set_busy(connection)

    def turn_away(self, connection: Connection, reason: Reason, text: str) -> None:
        """A guest is dropped. Until its socket is closed it only reads the farewell, and makes room
        for others."""
        self._turns.remove(connection, connection.source)
        self.admission.set_idle(connection)
        event = Event.CROWDED if text in _NOT_TO_BLAME else Event.REFUSED
        if reason is not Reason.LOST or text in _NOT_TO_BLAME:
            line = words.refused(connection.address, text or REASONS[reason])
        elif connection.spoke:
            event = Event.ABANDONED
            line = words.went_away(connection.address, text or REASONS[reason])
        else:
            # It only looked whether somebody listens here, as monitoring does all day long.
            return
        if text not in _TOLD_BEFORE:
            self._console.refused(line, connection.source)
        self._note(event, connection, reason, text)

    def _note(self, event: Event, guest: Connection, reason: Reason, text: str) -> None:
        client = guest.client
        name = "" if client is None else client.identity.name
        fingerprint = "" if client is None else client.public_key.fingerprint
        tag = None if client is None else client.identity.tag
        self._console.log.note(
            event,
            address=guest.address,
            tag=tag,
            fingerprint=fingerprint,
            reason=reason,
            name=name,
            text=text,
        )

    def forget(self, connection: Connection) -> None:
        """This connection became a member, or is closed. Harmless if it is no guest."""
        self.admission.remove(connection)
        self._turns.remove(connection, connection.source)
