"""What a recorded wire gives away to another member, and to whoever learns the RSA keys later.

Each of them is given every byte that ever travelled, and tries every key that it has on every
frame. That nobody is given a key of an epoch before or after its stay is a law of the simulation.
"""

import pytest

from chat import kex, wire
from chat.cipher import MIN_SEALED_BYTES, SealingKey
from chat.client.participant import Participant
from chat.errors import OpenError, Reason
from chat.limits import GRACE_SECONDS, MAX_FRAME_BYTES
from chat.messages import Ready, Welcome, decode_control
from chat.server.log import OrderedLog
from chat.server.room import Room
from chat.session import ClientSession, ControlReceived, Offer, ServerSession
from tests.support.helpers import WALL_CLOCK, FixedBytes, key, offer

FINGERPRINT = bytes(32)
TOKEN = bytes(range(100, 116))


def opens(tried: SealingKey, associated: bytes, sealed: bytes) -> bool:
    try:
        tried.open(associated, sealed)
    except OpenError:
        return False
    return True


class Wire:
    """One client's connection to the server with everything recorded, and everything that the
    client ever knew: its shared secret, its session key, and all keys that come from these."""

    def __init__(self, name: str, client_key: str) -> None:
        self.to_server: list[bytes] = []
        self.to_client: list[bytes] = []
        self.private = key(client_key)
        self.seed = f"client of {name}"
        self.server = ServerSession(Offer.of(offer()), FixedBytes(f"server of {name}"), 0.0)
        self.client = ClientSession(
            name, self.private, Ready(), FixedBytes(self.seed), 0.0, lambda: WALL_CLOCK
        )
        self.exchange()
        self.client.trust()
        self.exchange()

    def exchange(self) -> list[object]:
        """Carry what either has to say until both are silent."""
        events: list[object] = []
        while (up := self.client.data_to_send()) + (down := self.server.data_to_send()):
            if up:
                self.to_server.append(up)
                self.server.receive(up, 0.0)
            if down:
                self.to_client.append(down)
                events += self.client.receive(down, 0.0)
        return events

    def frames(self) -> list[wire.Frame]:
        """All frames that were seen, in either direction."""
        found = []
        for stream in (self.to_server, self.to_client):
            reader = wire.FrameReader(MAX_FRAME_BYTES)
            found += [wire.decode_frame(data) for _, data in reader.feed(b"".join(stream))]
        return found

    def keys(self) -> list[SealingKey]:
        """Every key of the handshake and the link, from what only the client knows."""
        hello, answer = (wire.decode_frame(data) for data in self.to_client[:2])
        pubkey = wire.decode_frame(self.to_server[0])
        assert isinstance(hello, wire.Hello)
        assert isinstance(pubkey, wire.Pubkey)
        assert isinstance(answer, wire.SessionKey)
        share = kex.KeyShare(FixedBytes(self.seed))
        assert share.public == pubkey.share
        shared = share.agree(hello.share)
        handshake = kex.handshake_keys(shared, self.to_client[0], share.public)
        wrapped = handshake.for_client().open(wire.SessionKey.TYPE, answer.sealed)
        transcript = self.to_client[0] + self.to_server[0] + self.to_client[1]
        link = kex.link_keys(shared, self.private.unwrap(wrapped), transcript)
        return [handshake.client, handshake.server, link.client, link.server]

    def count_opened(self, keys: list[SealingKey]) -> int:
        """How many sealed frames of the handshake and the link any of these keys opens, at any
        place of a frame in its direction."""
        sealed = [
            (frame.TYPE, frame.sealed)
            for frame in self.frames()
            if isinstance(frame, wire.Pubkey | wire.SessionKey | wire.Link)
        ]
        return sum(
            any(
                opens(key, place(frame_type, at), data) for key in keys for at in range(len(sealed))
            )
            for frame_type, data in sealed
        )


def place(frame_type: int, counter: int) -> bytes:
    """What a link frame is bound to: its type and its place in its direction."""
    return bytes((frame_type,)) + counter.to_bytes(8, "big")


def test_keys_of_one_members_link_open_nothing_of_anothers() -> None:
    ira, thea = Wire("Ira", "ira"), Wire("Thea", "other")
    room = Room(OrderedLog(2**20), FixedBytes("room"), GRACE_SECONDS)
    links = {
        room.join("Ira", FINGERPRINT, 0.0).id: ira,
        room.join("Thea", FINGERPRINT, 0.0).id: thea,
    }
    for unicast in room.tick(0.0):
        link = links[unicast.member.id]
        for control in unicast.controls:
            link.server.send(control)
        events = link.exchange()
        assert [type(event) for event in events] == [ControlReceived, ControlReceived]
    # PUBKEY, SESSION_KEY, READY, WELCOME, ROSTER: each opens all of its own.
    assert ira.count_opened(ira.keys()) == thea.count_opened(thea.keys()) == 5
    assert ira.count_opened(thea.keys()) == thea.count_opened(ira.keys()) == 0


@pytest.mark.parametrize("holder", ["ira", "server"])
def test_rsa_keys_that_leak_later_open_nothing_of_a_recorded_wire(holder: str) -> None:
    """Both ends have forgotten their shares; what the RSA keys can do is all that is left."""
    link = Wire("Ira", "ira")
    link.server.send(Welcome(bytes(8), 1, TOKEN, 2, 1, bytes(32), 0, bytes(32), 0, 0, 1).encode())
    link.exchange()
    leaked = key(holder)
    sealed = [
        frame.sealed
        for frame in link.frames()
        if isinstance(frame, wire.Pubkey | wire.SessionKey | wire.Link)
    ]
    assert len(sealed) == 4
    for data in sealed:
        for start in range(len(data) - 255):
            with pytest.raises(OpenError):
                leaked.unwrap(data[start : start + 256])
    # The key does open the wrapped bytes: the seal around them keeps them safe.
    answer = wire.decode_frame(link.to_client[1])
    assert isinstance(answer, wire.SessionKey)
    of_the_server = link.keys()[1]
    wrapped = of_the_server.open(place(wire.SessionKey.TYPE, 0), answer.sealed)
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
