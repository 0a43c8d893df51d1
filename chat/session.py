"""One connection, seen from either end: the handshake, then the sealed link.

A session is a state machine (PROTOCOL 4.1): bytes in, events out, bytes out. `TRANSITIONS` holds
every legal move; a pair that is not there is the protocol error. The room, sockets and the clock
are not known here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import ClassVar

from chat import kex
from chat.cipher import LinkCipher, RandomBytes
from chat.errors import REASONS, ProtocolError, Reason
from chat.limits import (
    AWAKE_PONG_SECONDS,
    FIRST_FRAME_SECONDS,
    HANDSHAKE_SECONDS,
    MAX_FRAME_BYTES,
    MAX_HANDSHAKE_FRAME_BYTES,
    PING_SECONDS,
    PONG_SECONDS,
    SESSION_KEY_BYTES,
    SILENCE_SECONDS,
)
from chat.messages import Bye, ClientIdentity, Control, Ping, Pong, Ready, Resume, decode_control
from chat.text import is_blank
from chat.wire import (
    FRAMES,
    PROTOCOL,
    Event,
    Frame,
    FrameReader,
    Hello,
    Link,
    Message,
    Pubkey,
    Refused,
    RoomFrame,
    SessionKey,
    decode_frame,
)


class State(Enum):
    """Where a session is. The last two absorb: nothing comes out of them again."""

    AWAIT_PUBKEY = auto()
    SEND_SESSION_KEY = auto()
    AWAIT_HELLO = auto()
    AWAIT_TRUST = auto()
    AWAIT_SESSION_KEY = auto()
    RELAY = auto()
    CLOSED = auto()
    FAILED = auto()


# -- what comes out of a session ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HelloReceived:
    """At the client: this key signed the share. Nothing has been sent; `trust` goes on."""

    server_key: kex.PublicKey


@dataclass(frozen=True, slots=True)
class Established:
    """The link stands. At the server: with whom, as READY or RESUME has proved, and which."""

    name: str
    public_key: kex.PublicKey
    resume: Resume | None


@dataclass(frozen=True, slots=True)
class ControlReceived:
    """A control message arrived on the link."""

    control: Control


@dataclass(frozen=True, slots=True)
class RoomFramesReceived:
    """Room frames arrived: a run of whole MESSAGE frames, or one of EVENT frames."""

    frame_type: int
    run: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over; the last event. `by_peer`: the peer said so itself; otherwise, `error`
    may say more."""

    reason: Reason
    text: str
    by_peer: bool
    error: ProtocolError | None = field(default=None, compare=False)


SessionEvent = HelloReceived | Established | ControlReceived | RoomFramesReceived | Ended


Transitions = Mapping[tuple[State, type[Frame]], tuple[Callable[..., list[SessionEvent]], State]]
"""From a state and a frame to the handler, and the state in which it leaves the session."""


# -- the machine -------------------------------------------------------------------------------


class Session:
    """What both ends have in common; `ServerSession` and `ClientSession` bring their handshakes."""

    TRANSITIONS: ClassVar[Transitions] = {}
    __slots__ = (
        "_answered",
        "_controls",
        "_link",
        "_out",
        "_random_bytes",
        "_reader",
        "_started_at",
        "controls_received",
        "heard_at",
        "state",
    )

    def __init__(self, state: State, random_bytes: RandomBytes, now: float) -> None:
        self.state = state
        self._started_at = self.heard_at = now
        self._random_bytes = random_bytes
        self._reader = FrameReader(MAX_HANDSHAKE_FRAME_BYTES)
        self._link: LinkCipher | None = None
        self._answered = True
        self._out = b""
        self._controls: list[bytes] = []
        self.controls_received = 0

    @property
    def over(self) -> bool:
        """Whether nothing will come out any more."""
        return self.state in (State.CLOSED, State.FAILED)

    @property
    def deadline(self) -> float:
        """When `tick` has something to do, unless something is heard before."""
        raise AssertionError

    def tick(self, now: float) -> list[SessionEvent]:
        """Time has passed."""
        if self.over or now < self.deadline:
            return []
        return self._on_deadline(now)

    def _on_deadline(self, now: float) -> list[SessionEvent]:
        raise AssertionError

    def note_activity(self, now: float) -> None:
        """The peer gives a sign of life; also when it is we who do not listen for a while."""
        self.heard_at = now
        self._answered = True

    def receive(self, data: bytes, now: float) -> list[SessionEvent]:
        """Take bytes of the peer. A breach of the protocol is not raised: it is an `Ended`, and the
        farewell is in `data_to_send`."""
        events: list[SessionEvent] = []
        self.note_activity(now)
        try:
            for frame_type, frame in self._reader.feed(data):
                if self.over:
                    break
                events += self._step(frame_type, frame)
        except ProtocolError as error:
            events += self._fail(error.reason, str(error), error)
        return events

    def receive_eof(self) -> list[SessionEvent]:
        """The peer will send no more."""
        if self.over:
            return []
        self.state = State.FAILED
        cut = self._reader.inside_frame
        text = "the connection broke in the middle of a frame" if cut else "the connection was lost"
        return [Ended(Reason.LOST, text, by_peer=False)]

    def send(self, control: bytes) -> None:
        """Send an encoded control message; the link must stand. Nothing happens when it is over."""
        if not self.over:
            self._controls.append(control)

    def seal(self, *controls: bytes) -> bytes:
        """The LINK frames for these control messages. They must be sent in the order in which they
        are sealed, which the link counts."""
        assert self._link is not None
        seal, random_bytes = self._link.seal, self._random_bytes
        return b"".join(
            Link(seal(Link.TYPE, control, random_bytes)).to_wire() for control in controls
        )

    def close(self, reason: Reason, text: str = "") -> None:
        """Say why, as well as the state allows, and take nothing more."""
        self._say_goodbye(reason, text)
        self.state = State.CLOSED

    def data_to_send(self) -> bytes:
        """The bytes that are to be sent since the last call."""
        out, self._out = self._out, b""
        controls, self._controls = self._controls, []
        return out + self.seal(*controls) if controls else out

    @property
    def has_data_to_send(self) -> bool:
        """Whether `data_to_send` has something."""
        return bool(self._out or self._controls)

    def _step(self, frame_type: int, data: bytes) -> list[SessionEvent]:
        """The one place where a frame moves the state."""
        frame_class = FRAMES.get(frame_type)
        if frame_class is None:
            raise ProtocolError(f"unknown frame type 0x{frame_type:02x}")
        try:
            handler, next_state = self.TRANSITIONS[self.state, frame_class]
        except KeyError:
            name = frame_class.__name__
            raise ProtocolError(f"a {name} frame is out of place in {self.state.name}") from None
        # Room frames are relayed as they came; the others are few, and have fields.
        events = handler(self, data if issubclass(frame_class, RoomFrame) else decode_frame(data))
        if not self.over:
            self.state = next_state
        return events

    def _fail(
        self, reason: Reason, text: str, error: ProtocolError | None = None
    ) -> list[SessionEvent]:
        if self.over:
            return []
        self._say_goodbye(reason, text)
        self.state = State.FAILED
        return [Ended(reason, text, by_peer=False, error=error)]

    def _say_goodbye(self, reason: Reason, text: str) -> None:
        if self.state is State.RELAY:
            self.send(Bye(reason, text).encode())

    def _enter_relay(self, link: LinkCipher) -> None:
        self._link = link
        self._reader.limit = MAX_FRAME_BYTES

    def _on_control(self, frame: Link) -> list[SessionEvent]:
        assert self._link is not None
        control = _open_control(self._link, frame)
        self.controls_received += 1
        if isinstance(control, Bye):
            self.state = State.CLOSED
            self._controls.clear()
            return [_ended_by_peer(control)]
        return [ControlReceived(control)]

    def _on_messages(self, run: bytes) -> list[SessionEvent]:
        return [RoomFramesReceived(Message.TYPE, run)]

    def _on_events(self, run: bytes) -> list[SessionEvent]:
        return [RoomFramesReceived(Event.TYPE, run)]


def _ended_by_peer(farewell: Bye | Refused) -> Ended:
    """What the peer says, or, where nothing of that can be seen, what its reason says."""
    text = REASONS[farewell.reason] if is_blank(farewell.text) else farewell.text
    return Ended(farewell.reason, text, by_peer=True)


_PONG = Pong().encode()


def _open_control(link: LinkCipher, frame: Link) -> Control:
    return decode_control(link.open(Link.TYPE, frame.sealed))


@dataclass(frozen=True, slots=True)
class _SentSessionKey:
    """What the server keeps between SESSION_KEY and READY."""

    name: str
    client_key: kex.PublicKey
    link: LinkCipher


class ServerSession(Session):
    """A session at the server: HELLO goes out at once; AWAIT_PUBKEY, SEND_SESSION_KEY, RELAY.

    Looking into PUBKEY costs a millisecond or two. Who wants to choose the moment asks
    `completes_first_frame` before `receive`; from then on the client has done its part in time.
    """

    __slots__ = ("_first_frame_came", "_handshake", "_offer")

    def __init__(self, offer: kex.SignedShare, random_bytes: RandomBytes, now: float) -> None:
        super().__init__(State.AWAIT_PUBKEY, random_bytes, now)
        self._offer: kex.SignedShare | None = offer
        self._first_frame_came = False
        self._handshake: _SentSessionKey | None = None
        self._out = _hello_of(offer).to_wire()

    @property
    def deadline(self) -> float:
        """The end of our patience: with a client that says nothing, with the handshake, and then
        with a silent member."""
        if self.state is State.RELAY:
            return self.heard_at + SILENCE_SECONDS
        if self.state is State.AWAIT_PUBKEY and not self._first_frame_came:
            return self._started_at + FIRST_FRAME_SECONDS
        return self._started_at + HANDSHAKE_SECONDS

    def completes_first_frame(self, data: bytes) -> bool:
        """Whether with these bytes the client's first frame is there, to be received soon."""
        if self.state is not State.AWAIT_PUBKEY:
            return False
        self._first_frame_came = self._first_frame_came or self._reader.would_yield(data)
        return self._first_frame_came

    def _on_deadline(self, now: float) -> list[SessionEvent]:
        if self.state is State.RELAY:
            return self._fail(Reason.TIMEOUT, "")
        return self._fail(Reason.TIMEOUT, "the handshake took too long")

    def _on_pubkey(self, pubkey: Pubkey) -> list[SessionEvent]:
        assert self._offer is not None
        hello = _hello_of(self._offer).to_wire()
        shared = self._offer.share.agree(pubkey.share)
        link = kex.handshake_keys(shared, hello, pubkey.share).for_server()
        identity = ClientIdentity.decode(link.open(Pubkey.TYPE, pubkey.sealed))
        client_key = kex.PublicKey(identity.public_key)
        session_key = self._random_bytes(SESSION_KEY_BYTES)
        wrapped = kex.wrap(session_key, client_key, self._random_bytes)
        sealed = link.seal(SessionKey.TYPE, wrapped, self._random_bytes)
        answer = SessionKey(sealed).to_wire()
        keys = kex.link_keys(shared, session_key, hello + pubkey.to_wire() + answer)
        self._handshake = _SentSessionKey(identity.name, client_key, keys.for_server())
        self._offer = None
        self._out += answer
        return []

    def _on_ready(self, frame: Link) -> list[SessionEvent]:
        assert self._handshake is not None
        control = _open_control(self._handshake.link, frame)
        if not isinstance(control, Ready | Resume):
            raise ProtocolError("the first control message is neither READY nor RESUME")
        resume = control if isinstance(control, Resume) else None
        client = Established(self._handshake.name, self._handshake.client_key, resume)
        self._enter_relay(self._handshake.link)
        self._handshake = None
        return [client]

    def _say_goodbye(self, reason: Reason, text: str) -> None:
        super()._say_goodbye(reason, text)
        if self.state is State.AWAIT_PUBKEY:
            self._out += Refused(reason, text).to_wire()
        elif self.state is State.SEND_SESSION_KEY:
            assert self._handshake is not None
            self._link = self._handshake.link
            self.send(Bye(reason, text).encode())

    def _on_control(self, frame: Link) -> list[SessionEvent]:
        events = super()._on_control(frame)
        if events != [ControlReceived(Ping())]:
            return events
        # One answer will do for all that came before it.
        if _PONG not in self._controls:
            self.send(_PONG)
        return []

    TRANSITIONS: ClassVar[Transitions] = {
        (State.AWAIT_PUBKEY, Pubkey): (_on_pubkey, State.SEND_SESSION_KEY),
        (State.SEND_SESSION_KEY, Link): (_on_ready, State.RELAY),
        (State.RELAY, Link): (_on_control, State.RELAY),
        (State.RELAY, Message): (Session._on_messages, State.RELAY),
    }


def _hello_of(offer: kex.SignedShare) -> Hello:
    return Hello(
        PROTOCOL, offer.share.public, offer.not_after, offer.server_key.blob, offer.signature
    )


@dataclass(frozen=True, slots=True)
class _SentPubkey:
    """What the client keeps between PUBKEY and SESSION_KEY."""

    shared: bytes = field(repr=False)
    transcript: bytes
    link: LinkCipher


class ClientSession(Session):
    """A session at the client: AWAIT_HELLO, AWAIT_TRUST, AWAIT_SESSION_KEY, RELAY. The first thing
    it says on the link is `first`."""

    __slots__ = (
        "_clock",
        "_first",
        "_handshake",
        "_hello",
        "_key",
        "_name",
        "_pinged_at",
        "_pong_seconds",
    )

    def __init__(
        self,
        name: str,
        key: kex.PrivateKey,
        first: Ready | Resume,
        random_bytes: RandomBytes,
        now: float,
        wall_clock: Callable[[], float],
    ) -> None:
        super().__init__(State.AWAIT_HELLO, random_bytes, now)
        self._name = name
        self._key = key
        self._first = first
        self._clock = wall_clock
        self._pinged_at = now
        self._pong_seconds = PONG_SECONDS
        self._hello: Hello | None = None
        self._handshake: _SentPubkey | None = None

    @property
    def deadline(self) -> float:
        """The end of the handshake; afterwards the time of the next PING, or of giving up on the
        answer to the last one."""
        if self.state is not State.RELAY:
            return self._started_at + HANDSHAKE_SECONDS
        if not self._answered:
            return self._pinged_at + self._pong_seconds
        return self._pinged_at + PING_SECONDS

    def _on_deadline(self, now: float) -> list[SessionEvent]:
        if self.state is not State.RELAY:
            return self._fail(Reason.TIMEOUT, "the server does not answer")
        if not self._answered:
            return self._fail(Reason.LOST, "the connection is dead")
        self._ping(now, PONG_SECONDS)
        return []

    def wake(self, now: float) -> None:
        """We have slept: ask at once whether the server is still there, and wait less long."""
        if self.state is State.RELAY:
            self._ping(now, AWAKE_PONG_SECONDS)

    def _ping(self, now: float, pong_seconds: int) -> None:
        self._pinged_at = now
        self._pong_seconds = pong_seconds
        self._answered = False
        self.send(Ping().encode())

    def trust(self) -> None:
        """The server's key is the right one: introduce ourselves, unless it is over already."""
        if self.over:
            return
        assert self.state is State.AWAIT_TRUST and self._hello is not None
        hello = self._hello.to_wire()
        share = kex.KeyShare(self._random_bytes)
        shared = share.agree(self._hello.share)
        link = kex.handshake_keys(shared, hello, share.public).for_client()
        identity = ClientIdentity(self._name, self._key.public.blob).encode()
        sealed = link.seal(Pubkey.TYPE, identity, self._random_bytes)
        pubkey = Pubkey(share.public, sealed).to_wire()
        self._handshake = _SentPubkey(shared, hello + pubkey, link)
        self._hello = None
        self._out += pubkey
        self.state = State.AWAIT_SESSION_KEY

    def _on_hello(self, hello: Hello) -> list[SessionEvent]:
        server_key = kex.PublicKey(hello.server_key)
        kex.check_offer(hello.share, hello.not_after, hello.signature, server_key, self._clock())
        self._hello = hello
        return [HelloReceived(server_key)]

    def _on_session_key(self, answer: SessionKey) -> list[SessionEvent]:
        assert self._handshake is not None
        session_key = self._key.unwrap(self._handshake.link.open(SessionKey.TYPE, answer.sealed))
        transcript = self._handshake.transcript + answer.to_wire()
        keys = kex.link_keys(self._handshake.shared, session_key, transcript)
        self._enter_relay(keys.for_client())
        self._handshake = None
        self._pinged_at = self.heard_at
        self.send(self._first.encode())
        return [Established(self._name, self._key.public, None)]

    def _on_refused(self, refused: Refused) -> list[SessionEvent]:
        self.state = State.CLOSED
        return [_ended_by_peer(refused)]

    def _on_control(self, frame: Link) -> list[SessionEvent]:
        events = super()._on_control(frame)
        return [] if events == [ControlReceived(Pong())] else events

    TRANSITIONS: ClassVar[Transitions] = {
        (State.AWAIT_HELLO, Hello): (_on_hello, State.AWAIT_TRUST),
        (State.AWAIT_HELLO, Refused): (_on_refused, State.CLOSED),
        (State.AWAIT_TRUST, Refused): (_on_refused, State.CLOSED),
        (State.AWAIT_SESSION_KEY, SessionKey): (_on_session_key, State.RELAY),
        (State.AWAIT_SESSION_KEY, Refused): (_on_refused, State.CLOSED),
        (State.RELAY, Link): (_on_control, State.RELAY),
        (State.RELAY, Message): (Session._on_messages, State.RELAY),
        (State.RELAY, Event): (Session._on_events, State.RELAY),
    }
