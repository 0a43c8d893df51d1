"""The session: the good handshake, every transition and every refusal, time, and what shows.

What a frame of the handshake may hold, and must not, is in `test_kex.py` and in the vectors; here
is what becomes of the session. `RawClient` can do each step of the handshake wrongly.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat import kex
from chat.cipher import LinkCipher
from chat.errors import REASONS, Reason
from chat.limits import (
    AWAKE_PONG_SECONDS,
    FIRST_FRAME_SECONDS,
    HANDSHAKE_SECONDS,
    MAX_FRAME_BYTES,
    MAX_HANDSHAKE_FRAME_BYTES,
    MAX_REASON_BYTES,
    PING_SECONDS,
    PONG_SECONDS,
    SHARE_SECONDS,
    SHARE_SKEW_SECONDS,
    SILENCE_SECONDS,
)
from chat.messages import (
    Bye,
    ClientIdentity,
    Control,
    Ping,
    Pong,
    Ready,
    Rekey,
    Resend,
    Resume,
    Resumed,
    Roster,
    Welcome,
)
from chat.session import (
    ClientSession,
    ControlReceived,
    Ended,
    Established,
    HelloReceived,
    Offer,
    RoomFramesReceived,
    ServerSession,
    Session,
    SessionEvent,
    State,
)
from chat.wire import (
    FRAMES,
    Event,
    Frame,
    FrameReader,
    Hello,
    Link,
    Message,
    Pubkey,
    Refused,
    SessionKey,
    block,
    decode_frame,
)
from tests.support.helpers import FIRST, WALL_CLOCK, FixedBytes, Pair, feed_all_ways, key, offer

MESSAGE = Message(1, 7, 1, bytes(range(96))).to_wire()
EVENT = Event(1, 0, 1, bytes(range(96))).to_wire()
REFUSED = Refused(Reason.FULL, "the room is full").to_wire()
TOKEN = bytes(range(16))
WELCOME = Welcome(bytes(8), 1, TOKEN, 1, bytes(32), 0, 0, 0, 1)
RESUME = Resume(7, TOKEN, 2**40, 12)
IRA_IS_IN = Established("Ira", key("ira").public, None)

SERVER = "server"
CLIENT = "client"
SERVER_STATES = (State.AWAIT_PUBKEY, State.SEND_SESSION_KEY, State.RELAY)
CLIENT_STATES = (State.AWAIT_HELLO, State.AWAIT_TRUST, State.AWAIT_SESSION_KEY, State.RELAY)
LIVE = [(SERVER, state) for state in SERVER_STATES] + [(CLIENT, state) for state in CLIENT_STATES]
HANDSHAKING = [place for place in LIVE if place[1] is not State.RELAY]
LINKED = (State.SEND_SESSION_KEY, State.RELAY)
"""Where an end is said in a sealed BYE: with SESSION_KEY the server has all that this takes."""
ENDED_STATES = (State.CLOSED, State.FAILED)
BEGUN, LATER = 0.0, 1.0


# -- sessions in a certain state ---------------------------------------------------------------


@dataclass
class Scene:
    """A session in some state, its peer, and what the peer is about to say next."""

    session: Session
    peer: Session
    pending: bytes


STEPS: dict[tuple[str, State], int] = {
    (CLIENT, State.AWAIT_HELLO): 0,
    (CLIENT, State.AWAIT_TRUST): 1,
    (SERVER, State.AWAIT_PUBKEY): 2,
    (CLIENT, State.AWAIT_SESSION_KEY): 3,
    (SERVER, State.SEND_SESSION_KEY): 4,
    (CLIENT, State.RELAY): 5,
    (SERVER, State.RELAY): 5,
}


@cache
def pair_after(steps: int) -> Pair:
    """A pair that has taken the first steps of the good handshake."""
    pair = Pair()
    taken: tuple[Callable[[], object], ...] = (
        pair.to_client,
        pair.client.trust,
        pair.to_server,
        pair.to_client,
        pair.to_server,
    )
    for step in taken[:steps]:
        step()
    return pair


def scene(side: str, state: State) -> Scene:
    """Bring a session into `state`. The pair is a copy, since a handshake takes 10 ms; what never
    changes is shared."""
    constant: list[object] = [offer(), key("ira"), key("server")]
    pair = copy.deepcopy(pair_after(STEPS[side, state]), {id(each): each for each in constant})
    both: tuple[Session, Session] = (pair.server, pair.client)
    session, peer = both if side == SERVER else both[::-1]
    assert session.state is state
    return Scene(session, peer, peer.data_to_send())


def sealed_by(peer: Session, control: Control) -> bytes:
    """The LINK frame in which `peer` sends a control message."""
    peer.send(control.encode())
    return peer.data_to_send()


def good_frame(where: Scene, frame_class: type[Frame]) -> bytes:
    """A frame of this class that its receiver takes in the states where the class has a place."""
    if frame_class is Link and where.session.state is State.RELAY:
        return sealed_by(where.peer, Resend(1))
    plain: dict[type[Frame], bytes] = {Message: MESSAGE, Event: EVENT, Refused: REFUSED}
    return plain.get(frame_class, where.pending)


def sample_frame(frame_class: type[Frame]) -> bytes:
    """A frame of this class as it could have been recorded in another session."""
    places: dict[type[Frame], tuple[str, State]] = {
        Hello: (CLIENT, State.AWAIT_HELLO),
        Pubkey: (SERVER, State.AWAIT_PUBKEY),
        SessionKey: (CLIENT, State.AWAIT_SESSION_KEY),
        Link: (SERVER, State.SEND_SESSION_KEY),
    }
    return good_frame(scene(*places.get(frame_class, (SERVER, State.RELAY))), frame_class)


def assert_failed(where: Scene, before: State, events: list[SessionEvent], said: str = "") -> None:
    """The session has ended, with one reason for us and the same for the peer, as far as one can
    be said in the state that it was in; and nothing else comes out of it."""
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert [event for event in events if isinstance(event, Ended)] == [ended]
    assert said in ended.text
    assert not ended.by_peer
    assert where.session.state is State.FAILED
    farewell = where.session.data_to_send()
    if before in LINKED:
        text = ended.text or REASONS[ended.reason]
        assert where.peer.receive(farewell, LATER) == [Ended(ended.reason, text, by_peer=True)]
    elif isinstance(where.session, ServerSession):
        assert farewell == Refused(ended.reason, ended.text).to_wire()
    else:
        assert farewell == b""
    assert_nothing_more(where.session)


def assert_nothing_more(session: Session) -> None:
    """Whatever a session is fed once it has ended, it neither says nor reports anything."""
    state = session.state
    assert session.over
    for data in (REFUSED, MESSAGE, EVENT, b"\0\0", b"\xff" * 70_000, b"\0\1", b"\x7f", b""):
        assert session.receive(data, LATER) == []
    assert session.tick(10 * SILENCE_SECONDS) == []
    assert session.receive_eof() == []
    session.send(Ping().encode())
    if isinstance(session, ClientSession):
        session.trust()
    assert session.state is state
    session.close(Reason.LEFT, "and yet another word")
    assert session.over
    assert session.data_to_send() == b""


def take(session: Session, data: bytes) -> list[SessionEvent]:
    """Let a session receive some bytes."""
    return session.receive(data, LATER)


# -- the good handshake ------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "resume"), [(FIRST, None), (RESUME, RESUME)])
def test_handshake_brings_both_ends_to_relay(first: Ready | Resume, resume: Resume | None) -> None:
    pair = Pair(first=first)
    assert pair.to_client() == [HelloReceived(key("server").public)]
    pair.client.trust()
    assert pair.to_server() == []
    assert pair.to_client() == [IRA_IS_IN]
    assert pair.to_server() == [replace(IRA_IS_IN, resume=resume)]
    assert (pair.server.state, pair.client.state) == (State.RELAY, State.RELAY)
    assert pair.server.data_to_send() == pair.client.data_to_send() == b""
    assert not pair.server.over
    assert not pair.client.over


def test_link_carries_control_messages_both_ways_in_order() -> None:
    pair = Pair().shake_hands()
    to_client: list[Control] = [WELCOME, Roster(()), Rekey(2, bytes(32)), Resend(3), Resumed()]
    to_server: list[Control] = [Resend(1), Ready(), RESUME, Resend(2**64 - 1)]
    for control in to_client:
        pair.server.send(control.encode())
    for control in to_server:
        pair.client.send(control.encode())
    assert pair.server.has_data_to_send
    assert pair.to_client() == [ControlReceived(control) for control in to_client]
    assert pair.to_server() == [ControlReceived(control) for control in to_server]
    assert not pair.server.has_data_to_send


def test_messages_that_follow_each_other_come_as_one_run() -> None:
    pair = Pair().shake_hands()
    assert take(pair.server, MESSAGE * 3) == [RoomFramesReceived(Message.TYPE, MESSAGE * 3)]
    resend = sealed_by(pair.server, Resend(1))
    assert take(pair.client, MESSAGE + EVENT * 2 + resend + MESSAGE) == [
        RoomFramesReceived(Message.TYPE, MESSAGE),
        RoomFramesReceived(Event.TYPE, EVENT * 2),
        ControlReceived(Resend(1)),
        RoomFramesReceived(Message.TYPE, MESSAGE),
    ]


OPEN_ERROR = "a sealed frame does not open"


def test_two_handshakes_under_one_offer_have_nothing_in_common() -> None:
    first, second = Pair().shake_hands(), Pair("Sahnawaz", "sahnawaz")
    second.server = ServerSession(Offer.of(offer()), FixedBytes("another server"), BEGUN)
    second.client = new_client(seed="another client")
    second.shake_hands()
    for receiver, sender in ((second.server, first.client), (second.client, first.server)):
        events = take(receiver, sealed_by(sender, Resend(1)))
        assert events == [Ended(Reason.PROTOCOL, OPEN_ERROR, by_peer=False)]


# -- every move that is in the table, and every one that is not --------------------------------

ENTRIES = [(SERVER, *entry) for entry in ServerSession.TRANSITIONS] + [
    (CLIENT, *entry) for entry in ClientSession.TRANSITIONS
]
STRANGERS = [
    (side, state, frame_class)
    for side, state in LIVE
    for frame_class in FRAMES.values()
    if (side, state, frame_class) not in ENTRIES
]


def test_tables_name_only_the_states_of_their_side() -> None:
    for table, states in ((ServerSession, SERVER_STATES), (ClientSession, CLIENT_STATES)):
        assert {state for state, _ in table.TRANSITIONS} <= set(states)
        assert {after for _, after in table.TRANSITIONS.values()} <= {*states, *ENDED_STATES}


def test_refused_can_come_at_any_moment_before_the_link_stands() -> None:
    assert [state for state in CLIENT_STATES if (state, Refused) in ClientSession.TRANSITIONS] == [
        State.AWAIT_HELLO,
        State.AWAIT_TRUST,
        State.AWAIT_SESSION_KEY,
    ]


@pytest.mark.parametrize(("side", "state", "frame_class"), ENTRIES)
def test_frame_in_its_place_moves_the_session_as_the_table_says(
    side: str, state: State, frame_class: type[Frame]
) -> None:
    where = scene(side, state)
    _, after = where.session.TRANSITIONS[state, frame_class]
    events = take(where.session, good_frame(where, frame_class))
    assert where.session.state is after
    assert where.session.state is not State.FAILED
    ends = [event for event in events if isinstance(event, Ended)]
    assert ends == (
        [Ended(Reason.FULL, "the room is full", True)] if frame_class is Refused else []
    )


@pytest.mark.parametrize(("side", "state", "frame_class"), STRANGERS)
def test_frame_out_of_place_ends_the_session_with_a_reason(
    side: str, state: State, frame_class: type[Frame]
) -> None:
    where = scene(side, state)
    events = take(where.session, sample_frame(frame_class))
    assert len(events) == 1
    assert_failed(where, state, events, f"a {frame_class.__name__} frame is out of place")


@pytest.mark.parametrize(("side", "state"), LIVE)
def test_unknown_frame_type_ends_the_session(side: str, state: State) -> None:
    for frame_type in (0x00, 0x05, 0x0F, 0x11, 0x1F, 0x22, 0x80, 0xFF):
        where = scene(side, state)
        events = take(where.session, block(bytes((frame_type,)) + b"whatever"))
        assert_failed(where, state, events, f"unknown frame type 0x{frame_type:02x}")


@pytest.mark.parametrize(("side", "state"), LIVE)
def test_frame_too_long_ends_the_session_before_its_body_comes(side: str, state: State) -> None:
    limit = MAX_FRAME_BYTES if state is State.RELAY else MAX_HANDSHAKE_FRAME_BYTES
    where = scene(side, state)
    assert take(where.session, (limit - 2).to_bytes(2, "big")) == []
    where = scene(side, state)
    events = take(where.session, (limit - 1).to_bytes(2, "big"))
    assert_failed(where, state, events, f"a frame of {limit + 1} bytes is too long")


@pytest.mark.parametrize(
    ("side", "state"), [(SERVER, State.SEND_SESSION_KEY), (CLIENT, State.AWAIT_SESSION_KEY)]
)
def test_longest_frame_passes_right_behind_the_handshake(side: str, state: State) -> None:
    longest = Message(1, 7, 1, bytes(MAX_FRAME_BYTES - 19)).to_wire()
    assert len(longest) == MAX_FRAME_BYTES
    where = scene(side, state)
    events = take(where.session, where.pending + longest)
    assert events == [IRA_IS_IN, RoomFramesReceived(Message.TYPE, longest)]


# -- who does not speak the protocol -----------------------------------------------------------

GIBBERISH = {
    "empty frame": b"\0\0",
    "HTTP request": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS client hello": bytes.fromhex("16030100f8010000f40303") + bytes(240),
    "SSH banner": b"SSH-2.0-OpenSSH_9.6\r\n",
    "empty line": b"\r\n" + b"\n" * 3_400,
}


@pytest.mark.parametrize("data", GIBBERISH.values(), ids=GIBBERISH.keys())
@pytest.mark.parametrize(("side", "state"), LIVE)
def test_another_protocol_ends_the_session(side: str, state: State, data: bytes) -> None:
    if state is State.RELAY:
        # Its length bytes may be those of a frame that has not arrived in full.
        data = data.ljust(MAX_FRAME_BYTES, b"\xff")
    where = scene(side, state)
    assert_failed(where, state, take(where.session, data))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    place=st.sampled_from(LIVE),
    parts=st.lists(
        st.binary(max_size=60)
        | st.builds(
            lambda number, body: block(bytes((number,)) + body),
            st.sampled_from([*FRAMES, 0x7F]),
            st.binary(max_size=120),
        ),
        max_size=4,
    ),
    size=st.integers(1, 600),
)
def test_random_bytes_and_frames_never_do_more_than_end_the_session(
    place: tuple[str, State], parts: list[bytes], size: int
) -> None:
    where = scene(*place)
    data = b"".join(parts)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    events = [event for piece in pieces for event in take(where.session, piece)]
    assert not [event for event in events if isinstance(event, Established | ControlReceived)]
    assert not [event for event in events[:-1] if isinstance(event, Ended)]
    if not events or not isinstance(events[-1], Ended):
        assert where.session.state is place[1]
        assert where.session.data_to_send() == b""
    elif events[-1].by_peer:
        # REFUSED comes in clear: before the link stands anybody can say it.
        assert isinstance(where.session, ClientSession)
        assert_nothing_more(where.session)
    else:
        assert_failed(where, place[1], events)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (b"chat/17", "the server speaks 'chat/17', not 'chat/1'"),
        (b"\x1b[2J", "the server speaks '\\x1b[2J'"),
        (b"\xff\xfe", "a text is not UTF-8"),
        (b"", "the server speaks ''"),
        (b"x" * 3_000, "the server speaks 'xxxxxxxxxxxxxxxx', not"),
    ],
)
def test_hello_of_another_version_says_which_in_harmless_words(name: bytes, said: str) -> None:
    """Whatever follows the protocol's name may be laid out in another way."""
    where = scene(CLIENT, State.AWAIT_HELLO)
    events = take(where.session, block(b"\x01" + block(name) + b"new"))
    assert isinstance(events[-1], Ended)
    assert events[-1].text.isprintable()
    assert_failed(where, State.AWAIT_HELLO, events, said)


# -- handshakes done by hand -------------------------------------------------------------------


class RawClient:
    """A client that does each step of the handshake by hand, and can do it wrongly."""

    def __init__(self, server: ServerSession) -> None:
        self.server = server
        self.random_bytes = FixedBytes("raw client")
        self.hello = server.data_to_send()
        decoded = decode_frame(self.hello)
        assert isinstance(decoded, Hello)
        self.share = kex.KeyShare(self.random_bytes)
        self.shared = self.share.agree(decoded.share)
        self.handshake = kex.handshake_keys(self.shared, self.hello, self.share.public).for_client()
        self.pubkey = b""

    def introduce(self, identity: bytes) -> list[SessionEvent]:
        """Send PUBKEY with this in it."""
        sealed = self.handshake.seal(Pubkey.TYPE, identity, self.random_bytes)
        self.pubkey = Pubkey(self.share.public, sealed).to_wire()
        return take(self.server, self.pubkey)

    def link(self, session_key: bytes | None = None) -> LinkCipher:
        """Take SESSION_KEY, or guess what it holds; what comes next is READY."""
        data = self.server.data_to_send()
        answer = decode_frame(data)
        assert isinstance(answer, SessionKey)
        wrapped = self.handshake.open(SessionKey.TYPE, answer.sealed)
        transcript = self.hello + self.pubkey + data
        opened = session_key or key("ira").unwrap(wrapped)
        return kex.link_keys(self.shared, opened, transcript).for_client()

    def send(self, link: LinkCipher, plaintext: bytes) -> list[SessionEvent]:
        frame = Link(link.seal(Link.TYPE, plaintext, self.random_bytes)).to_wire()
        return take(self.server, frame)


def new_server() -> ServerSession:
    return ServerSession(Offer.of(offer()), FixedBytes("server"), BEGUN)


def new_client(wall_clock: float = WALL_CLOCK, seed: str = "client") -> ClientSession:
    return ClientSession("Ira", key("ira"), FIRST, FixedBytes(seed), BEGUN, lambda: wall_clock)


def introduced() -> RawClient:
    """A client whose next frame is READY."""
    client = RawClient(new_server())
    assert client.introduce(IRA) == []
    return client


def refusal_of(server: Session, events: list[SessionEvent]) -> str:
    """The server has refused; what it says, in the clear or sealed."""
    (ended,) = events
    assert isinstance(ended, Ended)
    assert (ended.reason, ended.by_peer) == (Reason.PROTOCOL, False)
    *_, farewell = frames_of(server.data_to_send())
    if isinstance(farewell, Refused):
        assert farewell == Refused(Reason.PROTOCOL, ended.text)
    else:
        assert isinstance(farewell, Link)
    assert_nothing_more(server)
    return ended.text


def frames_of(data: bytes) -> list[Frame]:
    return [decode_frame(frame) for _, frame in FrameReader(MAX_FRAME_BYTES).feed(data)]


IRA = ClientIdentity("Ira", key("ira").public.blob).encode()


def test_handshake_by_hand_at_the_client_end_gets_in() -> None:
    client = introduced()
    assert client.send(client.link(), Ready().encode()) == [IRA_IS_IN]


def flipped(data: bytes, at: int, bit: int = 0) -> bytes:
    """`data` with one bit flipped."""
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


# -- frames that are altered, late, or another's -----------------------------------------------


@pytest.mark.parametrize(
    ("side", "state"),
    [
        (CLIENT, State.AWAIT_HELLO),
        (SERVER, State.AWAIT_PUBKEY),
        (CLIENT, State.AWAIT_SESSION_KEY),
        (SERVER, State.SEND_SESSION_KEY),
    ],
)
def test_altered_frame_of_the_handshake_is_never_taken(side: str, state: State) -> None:
    size = len(scene(side, state).pending)
    for at in [*range(2, size, 7), size - 1]:
        where = scene(side, state)
        assert len(where.pending) == size
        events = take(where.session, flipped(where.pending, at, at % 8))
        assert [type(event) for event in events] == [Ended]
        assert_failed(where, state, events)


def test_hello_that_has_run_out_is_refused_but_not_a_moment_before() -> None:
    last = WALL_CLOCK + SHARE_SECONDS + SHARE_SKEW_SECONDS
    hello = new_server().data_to_send()
    assert take(new_client(last), hello) == [HelloReceived(key("server").public)]
    where = Scene(new_client(last + 1), new_server(), b"")
    events = take(where.session, hello)
    assert_failed(where, State.AWAIT_HELLO, events, "what the server signed has run out")


def test_pubkey_of_another_hello_is_refused() -> None:
    pubkey = scene(SERVER, State.AWAIT_PUBKEY).pending
    later = kex.SignedShare.make(key("server"), WALL_CLOCK, FixedBytes("the next hour"))
    server = ServerSession(Offer.of(later), FixedBytes("server"), BEGUN)
    assert refusal_of(server, take(server, pubkey)) == OPEN_ERROR


def test_session_key_of_another_session_is_refused() -> None:
    answer = scene(CLIENT, State.AWAIT_SESSION_KEY).pending
    client = new_client(seed="anew")
    take(client, new_server().data_to_send())
    client.trust()
    assert take(client, answer) == [Ended(Reason.PROTOCOL, OPEN_ERROR, by_peer=False)]


# -- refusals ----------------------------------------------------------------------------------


def test_refused_in_the_same_piece_as_hello_is_heard() -> None:
    """A server that shuts down says both at once to whoever has just connected."""
    client = new_client()
    assert take(client, new_server().data_to_send() + REFUSED) == [
        HelloReceived(key("server").public),
        Ended(Reason.FULL, "the room is full", by_peer=True),
    ]
    assert_nothing_more(client)


def test_trust_after_a_breach_in_the_same_piece_as_hello_sends_nothing() -> None:
    """Events are looked at once a whole piece was taken: the end may come in the same piece."""
    client = new_client()
    events = take(client, new_server().data_to_send() + b"\0\0")
    assert [type(event) for event in events] == [HelloReceived, Ended]
    client.trust()
    assert client.data_to_send() == b""
    assert client.state is State.FAILED


# -- a wrong READY or RESUME -------------------------------------------------------------------


OTHER_CONTROLS: list[Control] = [
    WELCOME,
    Roster(()),
    Rekey(2, bytes(32)),
    Resend(1),
    Bye(Reason.LEFT, "bye"),
    Resumed(),
    Ping(),
    Pong(),
]


@pytest.mark.parametrize("control", OTHER_CONTROLS, ids=lambda control: type(control).__name__)
def test_another_control_in_the_place_of_ready_is_refused(control: Control) -> None:
    client = introduced()
    text = refusal_of(client.server, client.send(client.link(), control.encode()))
    assert text == "the first control message is neither READY nor RESUME"


@pytest.mark.parametrize(
    "plaintext",
    [b"", b"\x01\0", b"\0", b"\x7f", RESUME.encode()[:-1], RESUME.encode() + b"\0", b"\x07"],
)
def test_first_control_that_does_not_decode_is_refused(plaintext: bytes) -> None:
    client = introduced()
    assert refusal_of(client.server, client.send(client.link(), plaintext))


@pytest.mark.parametrize("first", [FIRST, RESUME])
def test_first_control_that_is_not_the_first_on_the_link_is_refused(first: Ready | Resume) -> None:
    client = introduced()
    link = client.link()
    link.seal(Link.TYPE, b"never sent", client.random_bytes)
    assert refusal_of(client.server, client.send(link, first.encode())) == OPEN_ERROR


@pytest.mark.parametrize("first", [FIRST, RESUME])
def test_first_control_without_the_session_key_is_refused(first: Ready | Resume) -> None:
    """Who does not hold the private key can do everything up to here."""
    client = introduced()
    assert refusal_of(client.server, client.send(client.link(bytes(32)), first.encode())) == (
        OPEN_ERROR
    )
    client = introduced()
    client.link()
    assert refusal_of(client.server, client.send(client.handshake, first.encode())) == OPEN_ERROR


def test_recorded_handshake_does_not_get_in_again() -> None:
    pubkey = scene(SERVER, State.AWAIT_PUBKEY).pending
    ready = scene(SERVER, State.SEND_SESSION_KEY).pending
    again = ServerSession(Offer.of(offer()), FixedBytes("another session"), BEGUN)
    assert take(again, pubkey) == []
    assert refusal_of(again, take(again, ready)) == OPEN_ERROR


# -- data in all sizes -------------------------------------------------------------------------


def joined(events: list[SessionEvent]) -> list[SessionEvent]:
    """Events with the runs that belong together put together: how data arrives decides how many
    there are."""
    result: list[SessionEvent] = []
    for event in events:
        last = result[-1] if result else None
        if (
            isinstance(event, RoomFramesReceived)
            and isinstance(last, RoomFramesReceived)
            and last.frame_type == event.frame_type
        ):
            result[-1] = RoomFramesReceived(event.frame_type, last.run + event.run)
        else:
            result.append(event)
    return result


def in_all_pieces(side: str, state: State, data: bytes) -> list[list[SessionEvent]]:
    """What a session makes of data that comes whole, byte by byte, and in pieces of seven."""

    def receiver() -> Callable[[bytes], list[SessionEvent]]:
        session = scene(side, state).session
        return lambda piece: take(session, piece)

    return list(map(joined, feed_all_ways(receiver, data)))


AFTER_THE_END = b"\0" + MESSAGE + b"\0\0" + b"\xff" * 9


def test_server_takes_the_same_from_data_in_any_pieces() -> None:
    data = scene(SERVER, State.AWAIT_PUBKEY).pending
    client = scene(CLIENT, State.AWAIT_SESSION_KEY)
    take(client.session, client.pending)
    data += client.session.data_to_send() + MESSAGE * 2 + sealed_by(client.session, Resend(5))
    data += sealed_by(client.session, Ping()) + MESSAGE
    client.session.close(Reason.LEFT)
    data += client.session.data_to_send() + AFTER_THE_END
    for events in in_all_pieces(SERVER, State.AWAIT_PUBKEY, data):
        assert events == [
            IRA_IS_IN,
            RoomFramesReceived(Message.TYPE, MESSAGE * 2),
            ControlReceived(Resend(5)),
            ControlReceived(Ping()),
            RoomFramesReceived(Message.TYPE, MESSAGE),
            Ended(Reason.LEFT, REASONS[Reason.LEFT], by_peer=True),
        ]


def test_client_takes_the_same_from_data_in_any_pieces() -> None:
    data = scene(CLIENT, State.AWAIT_SESSION_KEY).pending
    server = scene(SERVER, State.RELAY).session
    data += sealed_by(server, WELCOME) + EVENT + MESSAGE * 2 + sealed_by(server, Pong())
    data += sealed_by(server, Resend(5))
    server.close(Reason.CLOSING)
    data += server.data_to_send() + AFTER_THE_END
    for events in in_all_pieces(CLIENT, State.AWAIT_SESSION_KEY, data):
        assert events == [
            IRA_IS_IN,
            ControlReceived(WELCOME),
            RoomFramesReceived(Event.TYPE, EVENT),
            RoomFramesReceived(Message.TYPE, MESSAGE * 2),
            ControlReceived(Resend(5)),
            Ended(Reason.CLOSING, REASONS[Reason.CLOSING], by_peer=True),
        ]


@pytest.mark.parametrize("side", [SERVER, CLIENT])
@pytest.mark.parametrize("breach", [b"\0\0", b"\0\1\x7f", b"\0\1\x01"])
def test_what_precedes_a_breach_is_the_same_in_any_pieces(side: str, breach: bytes) -> None:
    whole, *others = in_all_pieces(side, State.RELAY, MESSAGE + breach + MESSAGE)
    assert [type(event) for event in whole] == [RoomFramesReceived, Ended]
    assert others == [whole, whole]


def test_hello_is_taken_in_any_pieces() -> None:
    hello = new_server().data_to_send()
    for events in in_all_pieces(CLIENT, State.AWAIT_HELLO, hello):
        assert events == [HelloReceived(key("server").public)]


# -- time --------------------------------------------------------------------------------------


def patience(side: str, state: State) -> float:
    """How long after the connection a session that hears nothing more ends."""
    silent = side == SERVER and state is State.AWAIT_PUBKEY
    return FIRST_FRAME_SECONDS if silent else HANDSHAKE_SECONDS


@pytest.mark.parametrize(("side", "state"), HANDSHAKING)
def test_handshake_ends_in_any_state_when_its_time_is_over(side: str, state: State) -> None:
    where = scene(side, state)
    end = patience(side, state)
    assert where.session.deadline == end
    assert where.session.tick(end - 0.001) == []
    assert where.session.state is state
    text = "the handshake took too long" if side == SERVER else "the server does not answer"
    events = where.session.tick(end)
    assert events == [Ended(Reason.TIMEOUT, text, by_peer=False)]
    assert_failed(where, state, events)


@pytest.mark.parametrize(("side", "state"), HANDSHAKING)
def test_handshake_gets_no_more_time_for_sending_byte_by_byte(side: str, state: State) -> None:
    session = scene(side, state).session
    end = patience(side, state)
    assert session.receive(b"\0", end - 1) == []
    assert session.deadline == end
    assert [type(event) for event in session.tick(end)] == [Ended]


def test_first_frame_that_waits_to_be_looked_into_came_in_time() -> None:
    pair = Pair()
    pair.to_client()
    pair.client.trust()
    pubkey = pair.client.data_to_send()
    assert not pair.server.completes_first_frame(pubkey[:1])
    assert pair.server.receive(pubkey[:1], 1) == []
    assert not pair.server.completes_first_frame(pubkey[1:-1])
    assert pair.server.deadline == FIRST_FRAME_SECONDS
    assert pair.server.completes_first_frame(pubkey[1:])
    assert pair.server.deadline == HANDSHAKE_SECONDS
    assert pair.server.receive(pubkey[1:], FIRST_FRAME_SECONDS + 1) == []
    assert pair.server.state is State.SEND_SESSION_KEY
    assert not pair.server.completes_first_frame(pubkey)


ESTABLISHED_AT = 5.0


def linked(side: str) -> Scene:
    """A session whose link stands since `ESTABLISHED_AT`."""
    before = State.SEND_SESSION_KEY if side == SERVER else State.AWAIT_SESSION_KEY
    where = scene(side, before)
    assert where.session.receive(where.pending, ESTABLISHED_AT) == [IRA_IS_IN]
    if side == CLIENT:
        where.peer.receive(where.session.data_to_send(), ESTABLISHED_AT)
    return where


def test_server_takes_a_silent_member_for_lost() -> None:
    where = linked(SERVER)
    assert where.session.deadline == ESTABLISHED_AT + SILENCE_SECONDS
    assert where.session.tick(where.session.deadline - 0.001) == []
    events = where.session.tick(where.session.deadline)
    assert [event.reason for event in events if isinstance(event, Ended)] == [Reason.TIMEOUT]
    assert_failed(where, State.RELAY, events)


@pytest.mark.parametrize("heard", ["PING", "MESSAGE", "half a frame"])
def test_server_that_hears_anything_waits_anew(heard: str) -> None:
    where = linked(SERVER)
    data = {"PING": sealed_by(where.peer, Ping()), "MESSAGE": MESSAGE, "half a frame": MESSAGE[:9]}
    where.session.receive(data[heard], 60.0)
    assert where.session.deadline == 60.0 + SILENCE_SECONDS
    assert where.session.tick(ESTABLISHED_AT + SILENCE_SECONDS) == []
    assert where.session.state is State.RELAY


def test_client_says_ping_again_and_again_and_the_server_answers() -> None:
    where = linked(CLIENT)
    session, now = where.session, ESTABLISHED_AT
    for _ in range(3):
        assert session.deadline == now + PING_SECONDS
        assert session.tick(session.deadline - 0.001) == []
        assert session.data_to_send() == b""
        now = session.deadline
        assert session.tick(now) == []
        assert where.peer.receive(session.data_to_send(), now) == [ControlReceived(Ping())]
        assert session.deadline == now + PONG_SECONDS
        assert where.peer.deadline == now + SILENCE_SECONDS
        pong = where.peer.data_to_send()
        assert pong
        assert session.receive(pong, now + 0.1) == []
        assert session.data_to_send() == b""


def test_ping_is_sent_while_others_talk() -> None:
    """What the server sends says nothing of whether it hears us."""
    session = linked(CLIENT).session
    session.receive(MESSAGE, ESTABLISHED_AT + PING_SECONDS - 1)
    assert session.deadline == ESTABLISHED_AT + PING_SECONDS
    assert session.tick(session.deadline) == []
    assert session.data_to_send()


@pytest.mark.parametrize("heard", [MESSAGE, EVENT[:1]], ids=["MESSAGE", "a byte"])
def test_whatever_is_heard_after_ping_is_an_answer(heard: bytes) -> None:
    session = linked(CLIENT).session
    pinged_at = session.deadline
    session.tick(pinged_at)
    session.receive(heard, pinged_at + PONG_SECONDS - 1)
    assert session.deadline == pinged_at + PING_SECONDS
    assert session.tick(pinged_at + PONG_SECONDS) == []
    assert session.state is State.RELAY


@pytest.mark.parametrize("last_heard", [0.0, 1.0, PING_SECONDS], ids=["never", "before", "then"])
def test_ping_without_an_answer_means_a_dead_connection(last_heard: float) -> None:
    where = linked(CLIENT)
    heard_at = ESTABLISHED_AT + last_heard
    where.session.receive(MESSAGE, heard_at)
    pinged_at = ESTABLISHED_AT + PING_SECONDS
    assert where.session.tick(pinged_at) == []
    where.peer.receive(where.session.data_to_send(), pinged_at)
    assert where.session.deadline == pinged_at + PONG_SECONDS
    assert where.session.tick(where.session.deadline - 0.001) == []
    events = where.session.tick(where.session.deadline)
    text = f"the server has not answered for {pinged_at + PONG_SECONDS - heard_at:.0f} s"
    assert events == [Ended(Reason.LOST, text, by_peer=False)]
    assert_failed(where, State.RELAY, events)


def test_client_that_has_slept_says_ping_at_once_and_waits_less_long() -> None:
    """Even when it has just asked; the next PING is as usual."""
    where, now = linked(CLIENT), ESTABLISHED_AT + PING_SECONDS
    session = cast(ClientSession, where.session)
    session.tick(now)
    asked = session.data_to_send()
    session.wake(now + 1)
    assert session.deadline == now + 1 + AWAKE_PONG_SECONDS
    where.peer.receive(asked + session.data_to_send(), now + 1)
    session.receive(where.peer.data_to_send(), now + 2)
    now = session.deadline
    assert now == ESTABLISHED_AT + PING_SECONDS + 1 + PING_SECONDS
    session.tick(now)
    assert session.deadline == now + PONG_SECONDS


def test_client_that_has_slept_and_hears_nothing_takes_the_connection_for_dead() -> None:
    where = linked(CLIENT)
    cast(ClientSession, where.session).wake(ESTABLISHED_AT + 1)
    where.peer.receive(where.session.data_to_send(), ESTABLISHED_AT + 1)
    events = where.session.tick(ESTABLISHED_AT + 1 + AWAKE_PONG_SECONDS)
    text = f"the server has not answered for {1 + AWAKE_PONG_SECONDS} s"
    assert events == [Ended(Reason.LOST, text, by_peer=False)]
    assert_failed(where, State.RELAY, events)


@pytest.mark.parametrize("state", [State.AWAIT_HELLO, State.AWAIT_SESSION_KEY])
def test_client_that_is_not_in_yet_has_nothing_to_ask_after_a_sleep(state: State) -> None:
    session = cast(ClientSession, scene(CLIENT, state).session)
    session.data_to_send()
    session.wake(1.0)
    assert (session.state, session.data_to_send()) == (state, b"")


def test_flood_of_pings_is_not_answered_one_by_one() -> None:
    """Who never reads could fill the server's memory with answers otherwise."""
    where = scene(SERVER, State.RELAY)
    pings = b"".join(sealed_by(where.peer, Ping()) for _ in range(200))
    assert take(where.session, pings) == [ControlReceived(Ping())] * 200
    assert len(where.session.data_to_send()) < len(pings) / 10


BLANK = ["", " ", "\n\t ", "\u200d\u2800", "\ufe0f\u3164"]


@pytest.mark.parametrize("text", BLANK)
@pytest.mark.parametrize("side", [CLIENT, SERVER])
def test_farewell_of_which_nothing_can_be_seen_says_what_its_reason_says(
    side: str, text: str
) -> None:
    where = linked(side)
    bye = bytes((Bye.TYPE, Reason.KICKED)) + block(text.encode())
    where.peer.send(bye)
    (ended,) = take(where.session, where.peer.data_to_send())
    assert ended == Ended(Reason.KICKED, REASONS[Reason.KICKED], by_peer=True)


@pytest.mark.parametrize("text", BLANK)
def test_refusal_of_which_nothing_can_be_seen_says_what_its_reason_says(text: str) -> None:
    body = bytes((Refused.TYPE, Reason.FULL)) + block(text.encode())
    (ended,) = take(scene(CLIENT, State.AWAIT_HELLO).session, block(body))
    assert ended == Ended(Reason.FULL, REASONS[Reason.FULL], by_peer=True)


# -- ends --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "state"), LIVE)
@pytest.mark.parametrize("data", [b"", b"\0", b"\0\x20", b"\0\x20\x10 and so on"])
def test_eof_is_a_lost_connection(side: str, state: State, data: bytes) -> None:
    session = scene(side, state).session
    assert take(session, data) == []
    cut = "the connection broke in the middle of a frame"
    text = cut if data else "the connection was lost"
    assert session.receive_eof() == [Ended(Reason.LOST, text, by_peer=False)]
    assert session.data_to_send() == b""
    assert session.state is State.FAILED
    assert_nothing_more(session)


@pytest.mark.parametrize("text", ["", "for being rude", "é" * 600])
@pytest.mark.parametrize(("side", "state"), LIVE)
def test_close_says_why_as_well_as_the_state_allows(side: str, state: State, text: str) -> None:
    where = scene(side, state)
    where.session.close(Reason.KICKED, text)
    assert where.session.state is State.CLOSED
    farewell = where.session.data_to_send()
    said = Ended(Reason.KICKED, text[: MAX_REASON_BYTES // 2] or REASONS[Reason.KICKED], True)
    if state in LINKED:
        assert take(where.peer, farewell) == [said]
        assert where.peer.state is State.CLOSED
    elif side == SERVER:
        client = new_client()
        assert take(client, farewell) == [said]
        assert client.state is State.CLOSED
    else:
        assert farewell == b""
    assert_nothing_more(where.session)


@pytest.mark.parametrize("side", [SERVER, CLIENT])
def test_bye_is_the_last_that_is_heard(side: str) -> None:
    where = scene(side, State.RELAY)
    where.peer.send(Resend(1).encode())
    where.peer.close(Reason.LEFT, "so long")
    farewell = where.peer.data_to_send()
    assert take(where.session, farewell + MESSAGE + b"\0\0") == [
        ControlReceived(Resend(1)),
        Ended(Reason.LEFT, "so long", by_peer=True),
    ]
    assert where.session.state is State.CLOSED
    assert where.session.data_to_send() == b""
    assert_nothing_more(where.session)


@pytest.mark.parametrize("side", [SERVER, CLIENT])
def test_what_precedes_a_breach_in_the_same_piece_is_heard(side: str) -> None:
    where = scene(side, State.RELAY)
    events = take(where.session, MESSAGE + sealed_by(where.peer, Resend(1)) + b"\0\0" + MESSAGE)
    assert events[:2] == [RoomFramesReceived(Message.TYPE, MESSAGE), ControlReceived(Resend(1))]
    assert len(events) == 3
    assert_failed(where, State.RELAY, events, "an empty frame")


@pytest.mark.parametrize(
    "plaintext",
    [b"", b"\x7f", b"\x05", b"\x05" + bytes(9), b"\x06\0\0\0", b"\x08\0", b"\x09\0", b"\x0a\0"],
)
@pytest.mark.parametrize("side", [SERVER, CLIENT])
def test_control_that_opens_but_does_not_decode_is_a_breach(side: str, plaintext: bytes) -> None:
    where = scene(side, State.RELAY)
    where.peer.send(plaintext)
    assert_failed(where, State.RELAY, take(where.session, where.peer.data_to_send()))


# -- mischief on the link ----------------------------------------------------------------------

MISCHIEF: dict[str, Callable[[bytes, bytes, bytes], bytes]] = {
    "replayed": lambda a, b, c: a + a + b + c,
    "replayed later": lambda a, b, c: a + b + a + c,
    "reordered": lambda a, b, c: b + a + c,
    "left out": lambda a, b, c: a + c,
    "first left out": lambda a, b, c: b + c,
    "IV altered": lambda a, b, c: a + flipped(b, 3) + c,
    "ciphertext altered": lambda a, b, c: a + flipped(b, 25) + c,
    "tag altered": lambda a, b, c: a + flipped(b, -1) + c,
    "cut": lambda a, b, c: a + block(b[2:-1]) + c,
    "lengthened": lambda a, b, c: a + block(b[2:] + b"\0") + c,
    "emptied": lambda a, b, c: a + block(b[2:3]) + c,
    "swapped halves": lambda a, b, c: a + b[:40] + c[40:] + c,
}


@pytest.mark.parametrize("what", MISCHIEF)
@pytest.mark.parametrize("side", [SERVER, CLIENT])
def test_mischief_on_the_link_ends_the_session(side: str, what: str) -> None:
    where = scene(side, State.RELAY)
    frames = [sealed_by(where.peer, Resend(number)) for number in (1, 2, 3)]
    events = take(where.session, MISCHIEF[what](*frames))
    heard = [event.control for event in events if isinstance(event, ControlReceived)]
    assert heard == [Resend(1), Resend(2)][: len(heard)]
    assert_failed(where, State.RELAY, events, OPEN_ERROR)


@pytest.mark.parametrize("side", [SERVER, CLIENT])
def test_own_frame_reflected_ends_the_session(side: str) -> None:
    where = scene(side, State.RELAY)
    where.session.send(Resend(1).encode())
    events = take(where.session, where.session.data_to_send())
    assert [type(event) for event in events] == [Ended]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from([SERVER, CLIENT]), st.integers(16, 8 * 99 - 1))
def test_any_bit_flipped_in_a_link_frame_ends_the_session(side: str, bit: int) -> None:
    where = scene(side, State.RELAY)
    frame = sealed_by(where.peer, Resend(1))
    assert len(frame) == 99
    assert_failed(where, State.RELAY, take(where.session, flipped(frame, bit // 8, bit % 8)))


# -- what can be seen --------------------------------------------------------------------------


def test_client_says_nothing_before_it_trusts_the_server() -> None:
    client = new_client()
    assert client.data_to_send() == b""
    take(client, new_server().data_to_send())
    assert client.state is State.AWAIT_TRUST
    assert client.data_to_send() == b""
    client.close(Reason.LEFT, "another key than the one expected")
    assert client.data_to_send() == b""


def test_neither_name_nor_key_nor_token_can_be_seen_on_the_wire() -> None:
    name = "Ira, of whom nobody is to know"
    token = bytes(range(100, 116))
    pair = Pair(name, first=replace(RESUME, token=token))
    wire = [pair.server.data_to_send()]
    take(pair.client, wire[0])
    pair.client.trust()
    ends: tuple[tuple[Session, Session], ...] = (
        (pair.client, pair.server),
        (pair.server, pair.client),
        (pair.client, pair.server),
    )
    for sender, receiver in ends:
        wire.append(sender.data_to_send())
        take(receiver, wire[-1])
    pair.server.send(replace(WELCOME, token=token).encode())
    pair.server.close(Reason.NAME_TAKEN, f"the name {name} is taken")
    pair.client.close(Reason.LEFT, name)
    wire.append(pair.server.data_to_send())
    seen = b"".join([*wire, pair.client.data_to_send()])
    public = key("ira").public
    modulus = key("ira").rsa.n.to_bytes(256, "big")
    for secret in (name.encode(), b"nobody", public.blob, public.digest, modulus[::-1], token):
        assert secret not in seen
    assert not [at for at in range(0, 256, 8) if modulus[at : at + 8] in seen]
    # The test would see it if it were there: the server's key does travel in clear.
    assert key("server").public.blob in seen


def test_repr_of_what_a_session_keeps_and_says_shows_no_secret() -> None:
    where = scene(CLIENT, State.AWAIT_SESSION_KEY)
    slots = [slot for kind in ClientSession.__mro__ for slot in getattr(kind, "__slots__", ())]
    shown = "".join(repr(getattr(where.session, slot)) for slot in slots)
    hello = decode_frame(new_server().data_to_send())
    assert isinstance(hello, Hello)
    shared = kex.KeyShare(FixedBytes("client")).agree(hello.share)
    assert repr(shared) not in shown
    assert str(key("ira").rsa.d) not in shown
    assert repr(TOKEN) not in repr(replace(IRA_IS_IN, resume=RESUME))
