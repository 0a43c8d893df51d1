"""One connection, seen from either end: the handshake, then the sealed link.

A session is a state machine (PROTOCOL 4.1). Bytes go in (`receive`), and come out as events; what
the session itself has to say waits in `data_to_send`. It knows no room, no socket and no clock.

How it turns:

- `TRANSITIONS` is the whole machine: from a state and a frame to a handler and the next state. A
  pair that is missing there is an error of the peer. `_step` is the only place that looks it up.
- A handler raises ProtocolError for whatever is wrong inside the frame. `receive` turns it into the
  farewell and an `Ended`, so a caller has one kind of ending to deal with.
- Once the link stands, what no MAC has vouched for says nothing about the peer: anybody on the wire
  can send an empty frame. So a ForgeableError ends the session with LOST, as a broken cable does,
  and the client may come back.
- A handler may itself end the session (BYE, REFUSED). Then `_step` leaves the state alone. CLOSED
  and FAILED absorb: whatever else arrives yields no event.
- `_link` is None until the keys of the link exist, and from then on the farewell is a BYE on the
  link. The server has them from SESSION_KEY on, one state before RELAY.
- The link counts frames, so they must leave in the order in which they were sealed. Therefore
  `send` only queues a control message, and `data_to_send` seals what is queued. Call it when its
  bytes are the next to leave, and not before.
"""

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import ClassVar, NamedTuple

from chat import kex
from chat.cipher import LinkCipher, RandomBytes
from chat.controls import (
    CONTROLS,
    Bye,
    Control,
    Ping,
    Pong,
    Ready,
    Rekey,
    Resume,
    Submit,
    decode_control,
)
from chat.errors import REASONS, ForgeableError, ProtocolError, Reason
from chat.frozen import field, frozen, replace
from chat.identities import ClientIdentity
from chat.introduction import Introduction
from chat.limits import (
    AWAKE_PONG_SECONDS,
    FIRST_FRAME_SECONDS,
    FRAME_SECONDS,
    HANDSHAKE_SECONDS,
    MAX_FRAME_BYTES,
    MAX_HANDSHAKE_FRAME_BYTES,
    PING_SECONDS,
    PONG_SECONDS,
    SESSION_KEY_BYTES,
    SILENCE_SECONDS,
)
from chat.text import is_blank
from chat.wire import (
    FRAMES,
    PROTOCOL,
    Event,
    Farewell,
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
    """Where a session is: three states at the server, four at the client, and two endings."""

    AWAIT_PUBKEY = auto()
    SEND_SESSION_KEY = auto()
    AWAIT_HELLO = auto()
    AWAIT_TRUST = auto()
    AWAIT_SESSION_KEY = auto()
    RELAY = auto()
    CLOSED = auto()
    FAILED = auto()


# -- what comes out of a session ---------------------------------------------------------------


@frozen
class HelloReceived:
    """At the client: this key signed the share. Nothing has been sent yet; `trust` continues."""

    server_key: kex.PublicKey


@frozen
class Established:
    """The link stands. `identity` is what the client said of itself. READY or RESUME has just
    proved to the server that `public_key` is the client's; `resume` is the RESUME, if it was
    one."""

    identity: ClientIdentity
    public_key: kex.PublicKey
    resume: Resume | None


@frozen
class ControlReceived:
    """A control message arrived on the link. A PING is among them, although it is answered already:
    it costs the server work. A PONG is not."""

    control: Control


@frozen
class SubmitReceived:
    """At the server: the client says something. The run of MESSAGE frames is not checked yet."""

    run: bytes


@frozen
class RoomFramesReceived:
    """At the client: room frames arrived, a run of whole MESSAGE frames or one of EVENT frames. No
    key of the link vouches for them."""

    frame_type: int
    run: bytes


@frozen
class Ended:
    """The session is over. This is its last event. `by_peer`: the peer said goodbye. Otherwise
    `error` is what the peer did wrong, if that is why."""

    reason: Reason
    text: str
    by_peer: bool
    error: ProtocolError | None = field(default=None, compare=False)


SessionEvent = (
    HelloReceived | Established | ControlReceived | SubmitReceived | RoomFramesReceived | Ended
)


Transitions = Mapping[tuple[State, type[Frame]], tuple[Callable[..., list[SessionEvent]], State]]
"""From a state and a frame to the handler, and the state after it."""


# -- the machine -------------------------------------------------------------------------------


class Session:
    """What both ends have in common. `ServerSession` and `ClientSession` add their handshakes."""

    TRANSITIONS: ClassVar[Transitions] = {}
    __slots__ = (
        "_answered",
        "_controls",
        "_frame_began",
        "_link",
        "_out",
        "_random_bytes",
        "_reader",
        "_started_at",
        "heard_at",
        "note",
        "state",
    )

    def __init__(self, state: State, random_bytes: RandomBytes, now: float) -> None:
        self.state = state
        self._started_at = self.heard_at = self._frame_began = now
        self._random_bytes = random_bytes
        self._reader = FrameReader(MAX_HANDSHAKE_FRAME_BYTES)
        self._link: LinkCipher | None = None
        self._answered = True
        self._out = b""
        self._controls: list[bytes] = []
        self.note: Callable[[str], None] | None = None
        """For the journal: is told the type and the size of each frame, and each change of state;
        never what a frame holds."""

    @property
    def over(self) -> bool:
        """Whether the session has ended."""
        return self.state in (State.CLOSED, State.FAILED)

    @property
    def deadline(self) -> float:
        """When `tick` has something to do. It may move with whatever is received."""
        raise AssertionError

    def tick(self, now: float) -> list[SessionEvent]:
        """Do what is due at `now`."""
        if self.over or now < self.deadline:
            return []
        return self._on_deadline(now)

    def _on_deadline(self, now: float) -> list[SessionEvent]:
        raise AssertionError

    def note_activity(self, now: float) -> None:
        """The peer is alive. Called, too, while we do not read and so cannot know."""
        self.heard_at = now
        self._answered = True

    def receive(self, data: bytes, now: float) -> list[SessionEvent]:
        """Take bytes of the peer. A breach of the protocol is not raised: it is an `Ended`, and
        `data_to_send` has the farewell."""
        events: list[SessionEvent] = []
        if not self._reader.inside_frame:
            self._frame_began = now
        if now - self._frame_began < FRAME_SECONDS:
            # Otherwise somebody on the way who sends a byte now and then could pass for the peer.
            self.note_activity(now)
        try:
            for frame_type, frame in self._reader.feed(data):
                if self.over:
                    break
                self._frame_began = now
                self.note_activity(now)
                events += self._step(frame_type, frame)
        except ForgeableError as error:
            if self._link is None:
                events += self._fail(error.reason, str(error), error)
            else:
                events += self._fail(Reason.LOST, f"{error}; it was changed on the way", error)
        except ProtocolError as error:
            events += self._fail(error.reason, str(error), error)
        return events

    def receive_eof(self) -> list[SessionEvent]:
        """The peer will send no more."""
        if self.over:
            return []
        self._move_to(State.FAILED)
        cut = self._reader.inside_frame
        text = "the connection broke in the middle of a frame" if cut else "the connection was lost"
        return [Ended(Reason.LOST, text, by_peer=False)]

    def send(self, control: bytes) -> None:
        """Queue an encoded control message. The link must stand. Does nothing after the end."""
        if not self.over:
            self._controls.append(control)

    def seal(self, *controls: bytes) -> bytes:
        """The LINK frames of these control messages. They must leave in the order in which they
        were sealed, since the link counts them."""
        assert self._link is not None
        frames = []
        for control in controls:
            sealed = self._link.seal(Link.TYPE, control, self._random_bytes)
            frames.append(Link(sealed).to_wire())
            if control[0] == Rekey.TYPE:
                self._link.step_sending(kex.next_link_key)
        if self.note is not None:
            for control, frame in zip(controls, frames, strict=True):
                self.note(f"sends {CONTROLS[control[0]].__name__}, {len(frame)} bytes")
        return b"".join(frames)

    def close(self, reason: Reason, text: str = "") -> None:
        """End the session: tell the peer why, if the state allows it, and take nothing more."""
        self._say_goodbye(reason, text)
        self._move_to(State.CLOSED)

    def data_to_send(self) -> bytes:
        """What is to be sent since the last call. It is sealed now, so it must be sent next."""
        out, self._out = self._out, b""
        controls, self._controls = self._controls, []
        return out + self.seal(*controls) if controls else out

    @property
    def has_data_to_send(self) -> bool:
        """Whether `data_to_send` would return anything."""
        return bool(self._out or self._controls)

    def _step(self, frame_type: int, data: bytes) -> list[SessionEvent]:
        """Take one frame (or a run of room frames), and move to the next state."""
        frame_class = FRAMES.get(frame_type)
        if frame_class is None:
            raise ForgeableError(f"unknown frame type 0x{frame_type:02x}")
        try:
            handler, next_state = self.TRANSITIONS[self.state, frame_class]
        except KeyError:
            name = frame_class.__name__
            raise ForgeableError(f"a {name} frame is out of place in {self.state.name}") from None
        # Of a LINK it is noted what it holds, when it is open.
        if self.note is not None and frame_class is not Link:
            self.note(f"received {frame_class.__name__}, {len(data)} bytes")
        # Room frames are passed on as they came. The others are few, and have fields.
        events = handler(self, data if issubclass(frame_class, RoomFrame) else decode_frame(data))
        if not self.over:
            self._move_to(next_state)
        return events

    def _move_to(self, state: State) -> None:
        if self.note is not None and state is not self.state:
            self.note(f"{self.state.name} -> {state.name}")
        self.state = state

    def _queue(self, frame: Frame) -> bytes:
        """Send a frame of the handshake. Returns it as it travels."""
        data = frame.to_wire()
        self._out += data
        if self.note is not None:
            self.note(f"sends {type(frame).__name__}, {len(data)} bytes")
        return data

    def _fail(
        self, reason: Reason, text: str, error: ProtocolError | None = None
    ) -> list[SessionEvent]:
        if self.over:
            return []
        if self.note is not None:
            self.note(f"failed, {reason.name}: {text or REASONS[reason]}")
        self._say_goodbye(reason, text)
        self._move_to(State.FAILED)
        return [Ended(reason, text, by_peer=False, error=error)]

    def _say_goodbye(self, reason: Reason, text: str) -> None:
        if self._link is not None:
            self.send(Bye(reason, text).encode())

    def _open(self, frame: Link) -> Control:
        assert self._link is not None
        control = decode_control(self._link.open(Link.TYPE, frame.sealed))
        if self.note is not None:
            size = len(frame.to_wire())
            self.note(f"received Link ({type(control).__name__}), {size} bytes")
        if isinstance(control, Rekey):
            self._link.step_receiving(kex.next_link_key)
        return control

    def _on_control(self, frame: Link) -> list[SessionEvent]:
        control = self._open(frame)
        if isinstance(control, Bye):
            # Whoever has said goodbye does not read our answers any more.
            self._controls.clear()
            return self._end_by_peer(control)
        return self._take_control(control)

    def _take_control(self, control: Control) -> list[SessionEvent]:
        raise AssertionError

    def _end_by_peer(self, farewell: Farewell) -> list[SessionEvent]:
        """The peer has said why it ends. A text that cannot be seen is replaced by the reason's."""
        if self.note is not None:
            self.note(f"the peer ends it, {farewell.reason.name}")
        self._move_to(State.CLOSED)
        text = REASONS[farewell.reason] if is_blank(farewell.text) else farewell.text
        return [Ended(farewell.reason, text, by_peer=True)]


_PONG = Pong().encode()


@frozen
class Offer:
    """What a server shows to every client for a while: its signed share, and the HELLO made of it,
    encoded once."""

    signed: kex.SignedShare
    hello: bytes

    @classmethod
    def of(cls, signed: kex.SignedShare) -> "Offer":
        """The offer of this share."""
        hello = Hello(
            PROTOCOL,
            signed.share.public,
            signed.not_after,
            signed.server_key.blob,
            signed.signature,
        )
        return cls(signed, hello.to_wire())


class ServerSession(Session):
    """A session at the server: AWAIT_PUBKEY, SEND_SESSION_KEY, RELAY. HELLO goes out at once.

    To receive PUBKEY costs about a millisecond of X25519 and RSA. A caller that chooses the moment
    asks `completes_first_frame` before it calls `receive`. If the answer is yes, the client has met
    its deadline, however long the caller then waits.
    """

    __slots__ = ("_client", "_first_frame_came", "_offer")

    def __init__(self, offer: Offer, random_bytes: RandomBytes, now: float) -> None:
        super().__init__(State.AWAIT_PUBKEY, random_bytes, now)
        self._offer: Offer | None = offer
        self._first_frame_came = False
        # The client as PUBKEY claims it to be, until READY proves it.
        self._client: Established | None = None
        self._out = offer.hello

    @property
    def deadline(self) -> float:
        """When we give up: on a client that says nothing, on the handshake, on a silent member."""
        if self.state is State.RELAY:
            return self.heard_at + SILENCE_SECONDS
        if self.state is State.AWAIT_PUBKEY and not self._first_frame_came:
            return self._started_at + FIRST_FRAME_SECONDS
        return self._started_at + HANDSHAKE_SECONDS

    def completes_first_frame(self, data: bytes) -> bool:
        """Whether `data` completes the client's first frame, which `receive` has not had yet."""
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
        hello = self._offer.hello
        shared = self._offer.signed.share.agree(pubkey.share)
        link = kex.handshake_keys(shared, hello, pubkey.share).for_server()
        identity = ClientIdentity.decode(link.open(Pubkey.TYPE, pubkey.sealed))
        client_key = kex.PublicKey(identity.public_key)
        session_key = self._random_bytes(SESSION_KEY_BYTES)
        wrapped = client_key.wrap(session_key, self._random_bytes)
        sealed = link.seal(SessionKey.TYPE, wrapped, self._random_bytes)
        answer = self._queue(SessionKey(sealed))
        keys = kex.link_keys(shared, session_key, hello + pubkey.to_wire() + answer)
        self._link = keys.for_server()
        self._client = Established(identity, client_key, None)
        self._offer = None
        return []

    def _on_ready(self, frame: Link) -> list[SessionEvent]:
        assert self._client is not None
        control = self._open(frame)
        if not isinstance(control, Ready | Resume):
            raise ProtocolError("the first control message is neither READY nor RESUME")
        self._reader.limit = MAX_FRAME_BYTES
        client, self._client = self._client, None
        return [replace(client, resume=control) if isinstance(control, Resume) else client]

    def _say_goodbye(self, reason: Reason, text: str) -> None:
        if self.state is State.AWAIT_PUBKEY:
            self._queue(Refused(reason, text))
        else:
            super()._say_goodbye(reason, text)

    def _take_control(self, control: Control) -> list[SessionEvent]:
        if isinstance(control, Submit):
            return [SubmitReceived(control.run)]
        if isinstance(control, Ping):
            # Members that talk send few PINGs, and thousands may send nothing else.
            assert self._link is not None
            self._link.rest()
            # One answer is enough for all PINGs that came before it.
            if _PONG not in self._controls:
                self.send(_PONG)
        return [ControlReceived(control)]

    TRANSITIONS: ClassVar[Transitions] = {
        (State.AWAIT_PUBKEY, Pubkey): (_on_pubkey, State.SEND_SESSION_KEY),
        (State.SEND_SESSION_KEY, Link): (_on_ready, State.RELAY),
        (State.RELAY, Link): (Session._on_control, State.RELAY),
    }


@frozen
class _SentPubkey:
    """What the client keeps between PUBKEY and SESSION_KEY."""

    shared: bytes = field(shown=False)
    transcript: bytes
    link: LinkCipher


class Waits(NamedTuple):
    """How long a client waits for HELLO, until it asks whether the server is there, and then for an
    answer, in seconds."""

    hello: float
    ping: float
    pong: float


USUAL_WAITS = Waits(HANDSHAKE_SECONDS, PING_SECONDS, PONG_SECONDS)


class ClientSession(Session):
    """A session at the client: AWAIT_HELLO, AWAIT_TRUST, AWAIT_SESSION_KEY, RELAY. `first` is the
    first message on the link.

    In AWAIT_TRUST nothing has been sent yet. The caller compares the server's key with the one it
    expects, and calls `trust` or closes. This is the only state that no frame leaves but REFUSED.
    """

    __slots__ = (
        "_clock",
        "_first",
        "_handshake",
        "_hello",
        "_identity",
        "_me",
        "_pinged_at",
        "_pong_seconds",
        "_waits",
    )

    def __init__(
        self,
        me: Introduction,
        first: Ready | Resume,
        random_bytes: RandomBytes,
        now: float,
        wall_clock: Callable[[], float],
        waits: Waits = USUAL_WAITS,
    ) -> None:
        super().__init__(State.AWAIT_HELLO, random_bytes, now)
        self._me = me
        self._identity: ClientIdentity | None = None
        self._first = first
        self._clock = wall_clock
        self._pinged_at = now
        self._waits = waits
        self._pong_seconds = waits.pong
        self._hello: Hello | None = None
        self._handshake: _SentPubkey | None = None

    @property
    def deadline(self) -> float:
        """When to give up on the handshake; in RELAY, when to send the next PING, or to give up on
        the answer to the last one."""
        if self.state is State.AWAIT_HELLO:
            return self._started_at + self._waits.hello
        if self.state is not State.RELAY:
            return self._started_at + HANDSHAKE_SECONDS
        if not self._answered:
            return self._pinged_at + self._pong_seconds
        return self._pinged_at + self._waits.ping

    def _on_deadline(self, now: float) -> list[SessionEvent]:
        if self.state is not State.RELAY:
            return self._fail(Reason.TIMEOUT, "the server does not answer")
        if not self._answered:
            silent = round(now - self.heard_at)
            return self._fail(Reason.LOST, f"the server has not answered for {silent} s")
        self._ping(now, self._waits.pong)
        return []

    def wake(self, now: float) -> None:
        """This machine has slept: ask at once whether the server is there, and wait less long."""
        if self.state is State.RELAY:
            self._ping(now, AWAKE_PONG_SECONDS)

    def _ping(self, now: float, pong_seconds: float) -> None:
        self._pinged_at = now
        self._pong_seconds = pong_seconds
        self._answered = False
        self.send(Ping().encode())

    def trust(self) -> None:
        """The server's key is the right one: send PUBKEY, unless the session is over already."""
        if self.over:
            return
        assert self.state is State.AWAIT_TRUST and self._hello is not None
        hello = self._hello.to_wire()
        share = kex.KeyShare(self._random_bytes)
        shared = share.agree(self._hello.share)
        link = kex.handshake_keys(shared, hello, share.public).for_client()
        self._identity = self._me.to(kex.PublicKey(self._hello.server_key))
        sealed = link.seal(Pubkey.TYPE, self._identity.encode(), self._random_bytes)
        pubkey = self._queue(Pubkey(share.public, sealed))
        self._handshake = _SentPubkey(shared, hello + pubkey, link)
        self._hello = None
        self._move_to(State.AWAIT_SESSION_KEY)

    def _on_hello(self, hello: Hello) -> list[SessionEvent]:
        server_key = kex.PublicKey(hello.server_key)
        kex.check_offer(hello.share, hello.not_after, hello.signature, server_key, self._clock())
        self._hello = hello
        return [HelloReceived(server_key)]

    def _on_session_key(self, answer: SessionKey) -> list[SessionEvent]:
        assert self._handshake is not None and self._identity is not None
        me = self._me.key
        session_key = me.unwrap(self._handshake.link.open(SessionKey.TYPE, answer.sealed))
        transcript = self._handshake.transcript + answer.to_wire()
        keys = kex.link_keys(self._handshake.shared, session_key, transcript)
        self._link = keys.for_client()
        self._reader.limit = MAX_FRAME_BYTES
        self._handshake = None
        self._pinged_at = self.heard_at
        self.send(self._first.encode())
        return [Established(self._identity, me.public, None)]

    def _on_refused(self, refused: Refused) -> list[SessionEvent]:
        return self._end_by_peer(refused)

    def _take_control(self, control: Control) -> list[SessionEvent]:
        return [] if isinstance(control, Pong) else [ControlReceived(control)]

    def _on_messages(self, run: bytes) -> list[SessionEvent]:
        return [RoomFramesReceived(Message.TYPE, run)]

    def _on_events(self, run: bytes) -> list[SessionEvent]:
        return [RoomFramesReceived(Event.TYPE, run)]

    TRANSITIONS: ClassVar[Transitions] = {
        (State.AWAIT_HELLO, Hello): (_on_hello, State.AWAIT_TRUST),
        (State.AWAIT_HELLO, Refused): (_on_refused, State.CLOSED),
        (State.AWAIT_TRUST, Refused): (_on_refused, State.CLOSED),
        (State.AWAIT_SESSION_KEY, SessionKey): (_on_session_key, State.RELAY),
        (State.AWAIT_SESSION_KEY, Refused): (_on_refused, State.CLOSED),
        (State.RELAY, Link): (Session._on_control, State.RELAY),
        (State.RELAY, Message): (_on_messages, State.RELAY),
        (State.RELAY, Event): (_on_events, State.RELAY),
    }
