"""What arrives on the wire before any key vouches for it, and what a peer with keys can say."""

import copy
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

from chat.controls import CONTROLS
from chat.errors import ForgeableError, ProtocolError, Reason
from chat.limits import MAX_FRAME_BYTES, MAX_HANDSHAKE_FRAME_BYTES
from chat.session import ClientSession, Ended, Session, State
from chat.wire import FRAMES, Farewell, FrameReader, block, decode_frame, room_headers
from tests.fuzz.choices import Choices
from tests.support.helpers import Pair, key, offer


def _read(stream: bytes, limit: int, size: int) -> tuple[list[bytes], str]:
    """What comes out when the stream arrives in pieces of this size, and the error that ends it."""
    reader, found = FrameReader(limit), []
    try:
        for at in range(0, len(stream), size):
            for _, run in reader.feed(stream[at : at + size]):
                found.append(run)
            assert len(reader._rest) < limit
    except ForgeableError as error:
        return found, str(error)
    assert b"".join([*found, reader._rest]) == stream
    return found, ""


def frames(data: bytes) -> None:
    """The pieces in which frames arrive do not matter, and each has one encoding."""
    choices = Choices(data)
    limit = choices.pick((MAX_FRAME_BYTES, MAX_HANDSHAKE_FRAME_BYTES, 64))
    size, stream = 1 + choices.number(64), choices.rest()
    (whole, error), (pieces, same) = (_read(stream, limit, n) for n in (len(stream) + 1, size))
    assert (b"".join(whole), error) == (b"".join(pieces), same)
    for run in whole:
        with suppress(ProtocolError):
            ends = [0, *(header.end for header in room_headers(run[2], run))]
            assert ends[-1] == len(run)
        with suppress(ProtocolError):
            frame = decode_frame(run)
            assert isinstance(frame, Farewell) or frame.to_wire() == run


@cache
def _recorded(steps: int) -> Pair:
    return Pair().shake_hands(steps)


def _pair(steps: int) -> Pair:
    """Two sessions after so many steps of the handshake, which is made once."""
    recorded = _recorded(steps)
    shared = (key("ira"), key("server"), offer(), recorded.me)
    return copy.deepcopy(recorded, {id(each): each for each in shared})


def _forge(choices: Choices, honest: bytes, last: bytes) -> bytes:
    """What somebody on the wire can send, who has no key."""
    frame = block(
        choices.pick([bytes((n,)) for n in (*FRAMES, 0)]) + choices.take(choices.number(99))
    )
    return choices.pick((choices.mutated(honest), frame, last, choices.take(4)))


def session(data: bytes) -> None:
    """The peer of one end is somebody on the wire, or has the keys and no sense. Nobody on the wire
    can do more to a link than cut it."""
    choices, now, last, ended = Choices(data), 0.0, b"", False
    pair = _pair(choices.number(6))
    end, peer = choices.pick(((pair.server, pair.client), (pair.client, pair.server)))
    while choices:
        action, had_link = choices.number(8), end._link is not None
        if action == 0 and isinstance(end, ClientSession) and end.state is State.AWAIT_TRUST:
            end.trust()
        elif action <= 2:
            peer.receive(end.data_to_send(), now)
        elif action == 3:
            now += choices.pick((1, 5, 16, 31, 80))
        arriving = peer.data_to_send()
        if action == 4 and peer._link is not None and not peer.over:
            kind = choices.pick([bytes((n,)) for n in CONTROLS])
            arriving += peer.seal(kind + choices.take(choices.number(99)))
        elif action >= 5:
            arriving = _forge(choices, arriving, last)
        last, events = arriving, [*end.receive(arriving, now), *end.tick(now)]
        if action == 3 and choices.number(4) == 3:
            events += end.receive_eof()
        _assert_in_order(end, ended, events)
        ended = end.over
        for event in events:
            if isinstance(event, Ended) and had_link and action >= 5:
                assert event.by_peer or event.reason in (Reason.LOST, Reason.TIMEOUT), event


def _assert_in_order(end: Session, ended: bool, events: Sequence[object]) -> None:
    assert not (ended and events), "something happens after the end"
    assert [isinstance(event, Ended) for event in events[:-1]].count(True) == 0
    assert end.over == (ended or any(isinstance(event, Ended) for event in events))
    assert len(end._reader._rest) < end._reader.limit
    assert len(end._controls) < 16
