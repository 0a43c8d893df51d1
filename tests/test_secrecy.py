"""What a recorded wire gives away to whoever learns the RSA keys later, and the log to its keeper.

That nobody is given a key of an epoch before or after its stay is a law of the simulation; which
keys a link has, and of what they come, is in the vectors.
"""

import pytest

from chat import kex, wire
from chat.cipher import MIN_SEALED_BYTES
from chat.client.participant import Participant
from chat.controls import Welcome, decode_control
from chat.errors import OpenError, Reason
from chat.limits import GRACE_SECONDS
from chat.server.log import OrderedLog
from chat.server.room import Room
from chat.session import Session, State
from tests.support.helpers import FixedBytes, Pair, key


def recorded_wire() -> list[bytes]:
    """The frames of a handshake, READY, and WELCOME."""
    pair, frames = Pair(), list[bytes]()
    ends: tuple[Session, Session] = pair.server, pair.client
    for sender, receiver in (ends, ends[::-1]) * 2:
        frames.append(sender.data_to_send())
        receiver.receive(frames[-1], 0.0)
        if pair.client.state is State.AWAIT_TRUST:
            pair.client.trust()
    secrets = Welcome(bytes(8), 1, bytes(16), 2, 1, bytes(32), 0, bytes(32), 0, 0, 1)
    pair.server.send(secrets.encode())
    return [*frames, pair.server.data_to_send()]


@pytest.mark.parametrize("holder", ["ira", "server"])
def test_rsa_keys_that_leak_later_open_nothing_of_a_recorded_wire(holder: str) -> None:
    """Both ends have forgotten their shares; what the RSA keys can do is all that is left."""
    leaked, recorded = key(holder), recorded_wire()
    hello, *frames = map(wire.decode_frame, recorded)
    assert isinstance(hello, wire.Hello)
    for frame in frames:
        assert isinstance(frame, wire.Pubkey | wire.SessionKey | wire.Link)
        for start in range(len(frame.sealed) - 255):
            with pytest.raises(OpenError):
                leaked.unwrap(frame.sealed[start : start + 256])
    # The key does open the wrapped bytes: the seal around them keeps them safe.
    answer, share = frames[1], kex.KeyShare(FixedBytes("client"))
    assert isinstance(answer, wire.SessionKey)
    sealing = kex.handshake_keys(share.agree(hello.share), recorded[0], share.public)
    wrapped = sealing.for_client().open(answer.TYPE, answer.sealed)
    assert len(key("ira").unwrap(wrapped)) == 32


def test_text_and_names_never_appear_in_the_log() -> None:
    log = OrderedLog(2**20)
    room = Room(log, FixedBytes("room"), GRACE_SECONDS)
    member = room.join("Sahnawaz the Silent", bytes(range(32)), 0.0)
    participant = Participant(FixedBytes("participant"))
    for unicast in room.tick(0.0):
        for control in unicast.controls:
            participant.receive_control(decode_control(control), 0.0)
    participant.say("the treasure lies under the old oak", 1_700_000_000_000)
    room.submit(member, b"".join(participant.data_to_send()), 0.0)
    room.say("the server is restarted at noon")
    room.leave(member, Reason.LEFT)
    room.tick(1.0)
    recorded = log.read(0, log.end)
    for word in (b"Sahnawaz", b"Silent", b"treasure", b"under", b"restarted", bytes(range(32))):
        assert word not in recorded
    assert room.messages == 1
    assert len(recorded) > 4 * MIN_SEALED_BYTES
