"""The session: every transition and every refusal, time, endings, and what can be seen.

What a frame of the handshake or the link may hold, and must not, is in the vectors and in
`test_kex.py`; which sealed frames open is in `test_cipher.py`. Here is what becomes of the session.
"""

import copy
from dataclasses import dataclass
from functools import cache
from typing import cast

import pytest

from chat import kex, limits, wire
from chat.controls import Bye, Control, Ping, Pong, Ready, Resend, Resume, Submit, Welcome
from chat.errors import REASONS, ForgeableError, Reason
from chat.frozen import replace
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
    SubmitReceived,
    Waits,
)
from tests.support.helpers import FIRST, WALL_CLOCK, FixedBytes, Pair, ira, key, offer

MESSAGE = wire.Message(1, 7, 1, bytes(range(96))).to_wire()
EVENT = wire.Event(1, 0, 1, bytes(range(96))).to_wire()
REFUSED = wire.Refused(Reason.FULL, "the room is full").to_wire()
TOKEN = bytes(range(16))
WELCOME = Welcome(bytes(8), 1, TOKEN, 1, 1, bytes(32), 0, bytes(32), 0, 0, 1)
RESUME = Resume(7, TOKEN, 2**40, 12)
IRA_IS_IN = Established(ira().to(key("server").public), key("ira").public, None)

SERVER = "server"
CLIENT = "client"
SERVER_STATES = (State.AWAIT_PUBKEY, State.SEND_SESSION_KEY, State.RELAY)
CLIENT_STATES = (State.AWAIT_HELLO, State.AWAIT_TRUST, State.AWAIT_SESSION_KEY, State.RELAY)
LIVE = [(SERVER, state) for state in SERVER_STATES] + [(CLIENT, state) for state in CLIENT_STATES]
HANDSHAKING = [place for place in LIVE if place[1] is not State.RELAY]
LINKED = (State.SEND_SESSION_KEY, State.RELAY)
"""Where an end is said in a sealed BYE: with SESSION_KEY the server has all that this takes. And
where what no MAC vouches for is no more than a broken cable: the other end may be a member."""
BEGUN, LATER = 0.0, 1.0

in_every_state = pytest.mark.parametrize(("side", "state"), LIVE)
before_the_link = pytest.mark.parametrize(("side", "state"), HANDSHAKING)
at_both_ends = pytest.mark.parametrize("side", [SERVER, CLIENT])


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
    return Pair().shake_hands(steps)


def scene(side: str, state: State) -> Scene:
    """Bring a session into `state`. The pair is a copy, since a handshake takes 10 ms; what never
    changes is shared."""
    made = pair_after(STEPS[side, state])
    constant: list[object] = [offer(), key("ira"), key("server"), made.me]
    pair = copy.deepcopy(made, {id(each): each for each in constant})
    both: tuple[Session, Session] = (pair.server, pair.client)
    session, peer = both if side == SERVER else both[::-1]
    assert session.state is state
    return Scene(session, peer, peer.data_to_send())


def sealed_by(peer: Session, control: Control) -> bytes:
    """The LINK frame in which `peer` sends a control message."""
    peer.send(control.encode())
    return peer.data_to_send()


def good_frame(where: Scene, frame_class: type[wire.Frame]) -> bytes:
    """A frame of this class that its receiver takes in the states where the class has a place."""
    if frame_class is wire.Link and where.session.state is State.RELAY:
        return sealed_by(where.peer, Resend(1))
    plain: dict[type[wire.Frame], bytes] = {
        wire.Message: MESSAGE,
        wire.Event: EVENT,
        wire.Refused: REFUSED,
    }
    return plain.get(frame_class, where.pending)


def sample_frame(frame_class: type[wire.Frame]) -> bytes:
    """A frame of this class as it could have been recorded in another session."""
    places: dict[type[wire.Frame], tuple[str, State]] = {
        wire.Hello: (CLIENT, State.AWAIT_HELLO),
        wire.Pubkey: (SERVER, State.AWAIT_PUBKEY),
        wire.SessionKey: (CLIENT, State.AWAIT_SESSION_KEY),
        wire.Link: (SERVER, State.SEND_SESSION_KEY),
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
    forgeable = isinstance(ended.error, ForgeableError)
    if ended.error is not None:
        lost = forgeable and before in LINKED
        assert ended.reason is (Reason.LOST if lost else ended.error.reason)
    assert where.session.state is State.FAILED
    farewell = where.session.data_to_send()
    if before in LINKED:
        text = ended.text or REASONS[ended.reason]
        assert where.peer.receive(farewell, LATER) == [Ended(ended.reason, text, by_peer=True)]
    elif isinstance(where.session, ServerSession):
        assert farewell == wire.Refused(ended.reason, ended.text).to_wire()
    else:
        assert farewell == b""
    assert_nothing_more(where.session)


def assert_nothing_more(session: Session) -> None:
    """Whatever a session is fed once it has ended, it neither says nor reports anything."""
    state = session.state
    assert session.over
    for data in (REFUSED, MESSAGE, EVENT, b"\0\0", b"\xff" * 70_000, b"\0\1", b"\x7f", b""):
        assert session.receive(data, LATER) == []
    assert session.tick(10 * limits.SILENCE_SECONDS) == []
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


def new_server() -> ServerSession:
    return ServerSession(Offer.of(offer()), FixedBytes("server"), BEGUN)


def new_client() -> ClientSession:
    return ClientSession(ira(), FIRST, FixedBytes("client"), BEGUN, lambda: WALL_CLOCK)


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


# -- every move that is in the table, and every one that is not --------------------------------


@pytest.mark.parametrize("frame_class", wire.FRAMES.values())
@in_every_state
def test_frame_moves_the_session_as_the_table_says_or_ends_it(
    side: str, state: State, frame_class: type[wire.Frame]
) -> None:
    where = scene(side, state)
    if (state, frame_class) not in where.session.TRANSITIONS:
        events = take(where.session, sample_frame(frame_class))
        assert len(events) == 1
        assert_failed(where, state, events, f"a {frame_class.__name__} frame is out of place")
        return
    _, after = where.session.TRANSITIONS[state, frame_class]
    events = take(where.session, good_frame(where, frame_class))
    assert where.session.state is after
    ends = [event for event in events if isinstance(event, Ended)]
    assert ends == ([Ended(Reason.FULL, "the room is full", True)] if after is State.CLOSED else [])


@in_every_state
def test_frame_too_long_ends_the_session_before_its_body_comes(side: str, state: State) -> None:
    limit = limits.MAX_FRAME_BYTES if state is State.RELAY else limits.MAX_HANDSHAKE_FRAME_BYTES
    where = scene(side, state)
    assert take(where.session, (limit - 2).to_bytes(2, "big")) == []
    where = scene(side, state)
    events = take(where.session, (limit - 1).to_bytes(2, "big"))
    assert_failed(where, state, events, f"a frame of {limit + 1} bytes is too long")


def test_longest_frame_passes_right_behind_the_handshake() -> None:
    longest = wire.Message(1, 7, 1, bytes(limits.MAX_FRAME_BYTES - 19)).to_wire()
    assert len(longest) == limits.MAX_FRAME_BYTES
    where = scene(CLIENT, State.AWAIT_SESSION_KEY)
    events = take(where.session, where.pending + longest)
    assert events == [IRA_IS_IN, RoomFramesReceived(wire.Message.TYPE, longest)]


def test_longest_submit_passes_right_behind_the_handshake_and_no_longer_one() -> None:
    client = scene(CLIENT, State.AWAIT_SESSION_KEY)
    take(client.session, client.pending)
    longest = Submit(bytes(limits.MAX_SUBMIT_BYTES))
    data = client.session.data_to_send() + sealed_by(client.session, longest)
    where = scene(SERVER, State.SEND_SESSION_KEY)
    assert take(where.session, data) == [IRA_IS_IN, SubmitReceived(longest.run)]
    longer = sealed_by(client.session, Submit(bytes(limits.MAX_SUBMIT_BYTES + 1)))
    (ended,) = take(where.session, longer)
    assert ended == Ended(Reason.PROTOCOL, "more messages at once than may be", by_peer=False)


# -- data in all sizes -------------------------------------------------------------------------


def joined(events: list[SessionEvent]) -> list[SessionEvent]:
    """Events with the runs that belong together put together: how data arrives decides how many
    there are."""
    result: list[SessionEvent] = []
    for event in events:
        match result[-1:], event:
            case [RoomFramesReceived(kind, run)], RoomFramesReceived(same, more) if kind == same:
                result[-1] = RoomFramesReceived(kind, run + more)
            case _:
                result.append(event)
    return result


def in_all_pieces(side: str, state: State, data: bytes) -> list[list[SessionEvent]]:
    """What a session makes of data that comes whole, byte by byte, and in pieces of seven."""
    results = []
    for size in (len(data), 1, 7):
        session = scene(side, state).session
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        results.append(joined([event for piece in pieces for event in take(session, piece)]))
    return results


AFTER_THE_END = b"\0" + MESSAGE + b"\0\0" + b"\xff" * 9


def test_server_takes_the_same_from_data_in_any_pieces() -> None:
    data = scene(SERVER, State.AWAIT_PUBKEY).pending
    client = scene(CLIENT, State.AWAIT_SESSION_KEY)
    take(client.session, client.pending)
    data += client.session.data_to_send() + sealed_by(client.session, Submit(MESSAGE * 2))
    data += sealed_by(client.session, Resend(5)) + sealed_by(client.session, Ping())
    client.session.close(Reason.LEFT)
    data += client.session.data_to_send() + AFTER_THE_END
    for events in in_all_pieces(SERVER, State.AWAIT_PUBKEY, data):
        assert events == [
            IRA_IS_IN,
            SubmitReceived(MESSAGE * 2),
            ControlReceived(Resend(5)),
            ControlReceived(Ping()),
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
            RoomFramesReceived(wire.Event.TYPE, EVENT),
            RoomFramesReceived(wire.Message.TYPE, MESSAGE * 2),
            ControlReceived(Resend(5)),
            Ended(Reason.CLOSING, REASONS[Reason.CLOSING], by_peer=True),
        ]


# -- time --------------------------------------------------------------------------------------


def patience(side: str, state: State) -> float:
    """How long after the connection a session that hears nothing more ends."""
    silent = side == SERVER and state is State.AWAIT_PUBKEY
    return limits.FIRST_FRAME_SECONDS if silent else limits.HANDSHAKE_SECONDS


@pytest.mark.parametrize("meanwhile", [b"", b"\0"], ids=["silence", "a byte"])
@before_the_link
def test_handshake_ends_in_any_state_when_its_time_is_over(
    side: str, state: State, meanwhile: bytes
) -> None:
    where = scene(side, state)
    end = patience(side, state)
    assert where.session.receive(meanwhile, end - 1) == []
    assert where.session.deadline == end
    assert where.session.tick(end - 0.001) == []
    assert where.session.state is state
    text = "the handshake took too long" if side == SERVER else "the server does not answer"
    events = where.session.tick(end)
    assert events == [Ended(Reason.TIMEOUT, text, by_peer=False)]
    assert_failed(where, state, events)


def test_first_frame_that_waits_to_be_looked_into_came_in_time() -> None:
    pair = Pair()
    pair.to_client()
    pair.client.trust()
    pubkey = pair.client.data_to_send()
    assert not pair.server.completes_first_frame(pubkey[:1])
    assert pair.server.receive(pubkey[:1], 1) == []
    assert not pair.server.completes_first_frame(pubkey[1:-1])
    assert pair.server.deadline == limits.FIRST_FRAME_SECONDS
    assert pair.server.completes_first_frame(pubkey[1:])
    assert pair.server.deadline == limits.HANDSHAKE_SECONDS
    assert pair.server.receive(pubkey[1:], limits.FIRST_FRAME_SECONDS + 1) == []
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
    assert where.session.deadline == ESTABLISHED_AT + limits.SILENCE_SECONDS
    assert where.session.tick(where.session.deadline - 0.001) == []
    events = where.session.tick(where.session.deadline)
    assert [event.reason for event in events if isinstance(event, Ended)] == [Reason.TIMEOUT]
    assert_failed(where, State.RELAY, events)


@pytest.mark.parametrize("heard", ["PING", "SUBMIT", "half a frame"])
def test_server_that_hears_anything_waits_anew(heard: str) -> None:
    where = linked(SERVER)
    control = Submit(MESSAGE) if heard == "SUBMIT" else Ping()
    data = sealed_by(where.peer, control)
    where.session.receive(data[:9] if heard == "half a frame" else data, 60.0)
    assert where.session.deadline == 60.0 + limits.SILENCE_SECONDS
    assert where.session.tick(ESTABLISHED_AT + limits.SILENCE_SECONDS) == []
    assert where.session.state is State.RELAY


def test_client_says_ping_again_and_again_and_the_server_answers() -> None:
    where = linked(CLIENT)
    session, now = where.session, ESTABLISHED_AT
    for _ in range(3):
        assert session.deadline == now + limits.PING_SECONDS
        assert session.tick(session.deadline - 0.001) == []
        assert session.data_to_send() == b""
        now = session.deadline
        assert session.tick(now) == []
        assert where.peer.receive(session.data_to_send(), now) == [ControlReceived(Ping())]
        assert session.deadline == now + limits.PONG_SECONDS
        assert where.peer.deadline == now + limits.SILENCE_SECONDS
        pong = where.peer.data_to_send()
        assert pong
        assert session.receive(pong, now + 0.1) == []
        assert session.data_to_send() == b""


@pytest.mark.parametrize("heard", [MESSAGE, EVENT[:1]], ids=["MESSAGE", "a byte"])
def test_whatever_is_heard_after_ping_is_an_answer(heard: bytes) -> None:
    session = linked(CLIENT).session
    pinged_at = session.deadline
    session.tick(pinged_at)
    session.receive(heard, pinged_at + limits.PONG_SECONDS - 1)
    assert session.deadline == pinged_at + limits.PING_SECONDS
    assert session.tick(pinged_at + limits.PONG_SECONDS) == []
    assert session.state is State.RELAY


@pytest.mark.parametrize(
    "last_heard", [0.0, 1.0, limits.PING_SECONDS], ids=["never", "before", "then"]
)
def test_ping_without_an_answer_means_a_dead_connection(last_heard: float) -> None:
    where = linked(CLIENT)
    heard_at = ESTABLISHED_AT + last_heard
    where.session.receive(MESSAGE, heard_at)
    pinged_at = ESTABLISHED_AT + limits.PING_SECONDS
    assert where.session.tick(pinged_at) == []
    where.peer.receive(where.session.data_to_send(), pinged_at)
    assert where.session.deadline == pinged_at + limits.PONG_SECONDS
    assert where.session.tick(where.session.deadline - 0.001) == []
    events = where.session.tick(where.session.deadline)
    text = f"the server has not answered for {pinged_at + limits.PONG_SECONDS - heard_at:.0f} s"
    assert events == [Ended(Reason.LOST, text, by_peer=False)]
    assert_failed(where, State.RELAY, events)


def test_client_that_has_another_server_is_less_patient() -> None:
    waits = Waits(hello=2, ping=limits.NEXT_PING_SECONDS, pong=limits.NEXT_PONG_SECONDS)
    pair = Pair(waits=waits)
    client, pinged_at = pair.client, limits.NEXT_PING_SECONDS
    assert client.deadline == 2
    pair.shake_hands()
    assert client.deadline == pinged_at
    assert client.tick(pinged_at) == []
    assert pair.to_server() == [ControlReceived(Ping())]
    gives_up_at = pinged_at + limits.NEXT_PONG_SECONDS
    assert client.deadline == gives_up_at
    text = f"the server has not answered for {gives_up_at} s"
    assert client.tick(gives_up_at) == [Ended(Reason.LOST, text, by_peer=False)]


def test_client_that_has_slept_says_ping_at_once_and_waits_less_long() -> None:
    """Even when it has just asked; the next PING is as usual."""
    where, now = linked(CLIENT), ESTABLISHED_AT + limits.PING_SECONDS
    session = cast(ClientSession, where.session)
    session.tick(now)
    asked = session.data_to_send()
    session.wake(now + 1)
    assert session.deadline == now + 1 + limits.AWAKE_PONG_SECONDS
    where.peer.receive(asked + session.data_to_send(), now + 1)
    session.receive(where.peer.data_to_send(), now + 2)
    now = session.deadline
    assert now == ESTABLISHED_AT + limits.PING_SECONDS + 1 + limits.PING_SECONDS
    session.tick(now)
    assert session.deadline == now + limits.PONG_SECONDS


def test_client_that_has_slept_and_hears_nothing_takes_the_connection_for_dead() -> None:
    where = linked(CLIENT)
    cast(ClientSession, where.session).wake(ESTABLISHED_AT + 1)
    where.peer.receive(where.session.data_to_send(), ESTABLISHED_AT + 1)
    events = where.session.tick(ESTABLISHED_AT + 1 + limits.AWAKE_PONG_SECONDS)
    text = f"the server has not answered for {1 + limits.AWAKE_PONG_SECONDS} s"
    assert events == [Ended(Reason.LOST, text, by_peer=False)]
    assert_failed(where, State.RELAY, events)


@pytest.mark.parametrize("state", [State.AWAIT_HELLO, State.AWAIT_SESSION_KEY])
def test_client_that_is_not_in_yet_has_nothing_to_ask_after_a_sleep(state: State) -> None:
    session = cast(ClientSession, scene(CLIENT, state).session)
    session.data_to_send()
    session.wake(1.0)
    assert (session.state, session.data_to_send()) == (state, b"")


def test_flood_of_pings_is_not_answered_one_by_one() -> None:
    """A client that never reads could fill the server's memory with answers otherwise."""
    where = scene(SERVER, State.RELAY)
    pings = b"".join(sealed_by(where.peer, Ping()) for _ in range(200))
    assert take(where.session, pings) == [ControlReceived(Ping())] * 200
    assert len(where.session.data_to_send()) < len(pings) / 10


# -- ends --------------------------------------------------------------------------------------


@in_every_state
@pytest.mark.parametrize("data", [b"", b"\0", b"\0\x20\x10 and so on"])
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
@in_every_state
def test_close_says_why_as_well_as_the_state_allows(side: str, state: State, text: str) -> None:
    where = scene(side, state)
    where.session.close(Reason.KICKED, text)
    assert where.session.state is State.CLOSED
    farewell = where.session.data_to_send()
    said = Ended(
        Reason.KICKED, text[: limits.MAX_REASON_BYTES // 2] or REASONS[Reason.KICKED], True
    )
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


@at_both_ends
def test_bye_is_the_last_that_is_heard(side: str) -> None:
    where = scene(side, State.RELAY)
    where.session.send(Resend(2).encode())
    where.peer.send(Resend(1).encode())
    where.peer.close(Reason.LEFT, "so long")
    assert take(where.session, where.peer.data_to_send() + MESSAGE + b"\0\0") == [
        ControlReceived(Resend(1)),
        Ended(Reason.LEFT, "so long", by_peer=True),
    ]
    assert where.session.state is State.CLOSED
    assert where.session.data_to_send() == b""
    assert_nothing_more(where.session)


def test_farewell_follows_what_is_to_be_sent_before_it() -> None:
    where = scene(SERVER, State.AWAIT_PUBKEY)
    take(where.session, where.pending + b"\0\0")
    events = take(where.peer, where.session.data_to_send())
    text = "an empty frame; it was changed on the way"
    assert events == [IRA_IS_IN, Ended(Reason.LOST, text, by_peer=True)]


@pytest.mark.parametrize("text", ["", "\n\t ", "\u200d\u2800"])
def test_farewell_of_which_nothing_can_be_seen_says_what_its_reason_says(text: str) -> None:
    said = Ended(Reason.KICKED, REASONS[Reason.KICKED], by_peer=True)
    body = bytes((Reason.KICKED,)) + wire.block(text.encode())
    for side in (CLIENT, SERVER):
        where = linked(side)
        where.peer.send(bytes((Bye.TYPE,)) + body)
        assert take(where.session, where.peer.data_to_send()) == [said]
    client = scene(CLIENT, State.AWAIT_HELLO).session
    assert take(client, wire.block(bytes((wire.Refused.TYPE,)) + body)) == [said]


@pytest.mark.parametrize(
    ("then", "last"),
    [(REFUSED, Ended(Reason.FULL, "the room is full", True)), (b"\0\0", None)],
    ids=["REFUSED", "a breach"],
)
def test_end_in_the_same_piece_as_hello_is_heard_and_trust_sends_nothing(
    then: bytes, last: Ended | None
) -> None:
    """A server that shuts down says both at once. Events are looked at once a whole piece has been
    taken, so the client may still be told to trust."""
    client = new_client()
    hello, ended = take(client, new_server().data_to_send() + then)
    assert hello == HelloReceived(key("server").public)
    assert isinstance(ended, Ended)
    assert ended == (last or ended)
    client.trust()
    assert client.data_to_send() == b""
    assert_nothing_more(client)


# -- what can be seen --------------------------------------------------------------------------


def test_client_says_nothing_before_it_trusts_the_server() -> None:
    client = new_client()
    assert client.data_to_send() == b""
    take(client, new_server().data_to_send())
    assert client.state is State.AWAIT_TRUST
    assert client.data_to_send() == b""
    client.close(Reason.LEFT, "another key than the one expected")
    assert client.data_to_send() == b""


def test_neither_name_nor_key_nor_token_nor_secret_can_be_seen_on_the_wire() -> None:
    name = "Ira, of whom nobody is to know"
    token, room_secret = bytes(range(100, 116)), bytes(range(200, 232))
    pair = Pair(name, first=replace(RESUME, token=token))
    sent = []
    for steps in range(4):
        ends: tuple[Session, Session] = (pair.server, pair.client)
        sender, receiver = ends if steps % 2 == 0 else ends[::-1]
        sent.append(sender.data_to_send())
        take(receiver, sent[-1])
        if pair.client.state is State.AWAIT_TRUST:
            pair.client.trust()
    pair.server.send(replace(WELCOME, token=token, secret=room_secret).encode())
    pair.server.close(Reason.NAME_TAKEN, f"the name {name} is taken")
    pair.client.close(Reason.LEFT, name)
    sent.append(pair.server.data_to_send())
    seen = b"".join([*sent, pair.client.data_to_send()])
    public = key("ira").public
    modulus = key("ira").rsa.n.to_bytes(256, "big")
    for secret in (name.encode(), b"nobody", public.blob, public.digest, modulus[::-1]):
        assert secret not in seen
    for secret in (modulus, token, room_secret):
        assert not [at for at in range(0, len(secret), 8) if secret[at : at + 8] in seen]
    # The test would see it if it were there: the server's key does travel in clear.
    assert key("server").public.blob in seen


def test_repr_of_what_a_session_keeps_and_says_shows_no_secret() -> None:
    where = scene(CLIENT, State.AWAIT_SESSION_KEY)
    slots = [slot for kind in ClientSession.__mro__ for slot in getattr(kind, "__slots__", ())]
    shown = "".join(repr(getattr(where.session, slot)) for slot in slots)
    hello = wire.decode_frame(new_server().data_to_send())
    assert isinstance(hello, wire.Hello)
    shared = kex.KeyShare(FixedBytes("client")).agree(hello.share)
    assert repr(shared) not in shown
    assert str(key("ira").rsa.d) not in shown
    assert repr(TOKEN) not in repr(replace(IRA_IS_IN, resume=RESUME))
