"""What a recorded wire gives away to a newcomer, to a former member, and to an outsider.

Each of them is given every byte that ever travelled, and tries every key that it ever held, and
every key that follows from those, on every frame.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat import kex, wire
from chat.cipher import MIN_SEALED_BYTES, SealingKey, sealed_bytes
from chat.client.participant import Participant
from chat.errors import OpenError, Reason
from chat.kex import RoomSecret
from chat.limits import GRACE_SECONDS, MAX_FRAME_BYTES, ORIGIN_BYTES
from chat.messages import Kind, MessageContent, Ready, Rekey, Resume, Welcome, decode_control
from chat.server.log import OrderedLog
from chat.server.room import Member, Room, Unicast
from chat.session import ClientSession, ControlReceived, Offer, ServerSession
from tests.support.helpers import WALL_CLOCK, FixedBytes, key, offer

FINGERPRINT = bytes(32)
TOKEN = bytes(range(100, 116))


@dataclass
class Stay:
    """One member's stay in the room: its epochs, and every secret of the room that it was sent."""

    member: Member
    epochs: set[int] = field(default_factory=set)
    secrets: list[RoomSecret] = field(default_factory=list)
    connected: bool = True
    offset: int = 0
    epoch: int = 0
    """How far it had read, and the last epoch whose key it had, when it lost its connection."""


class Tap:
    """A room whose whole log is recorded, and which notes what each member was given. After every
    change the operator and everybody who is in say something, so that no epoch is empty."""

    def __init__(self) -> None:
        self.log = OrderedLog(2**30)
        self.room = Room(self.log, FixedBytes("room"), GRACE_SECONDS)
        self.random_bytes = FixedBytes("members")
        self.now = 1_000.0
        self.stays: dict[int, Stay] = {}
        self.secrets: dict[int, RoomSecret] = {}

    def join(self, *names: str) -> list[Stay]:
        stays = [Stay(self.room.join(name, FINGERPRINT, 0.0)) for name in names]
        self.stays |= {stay.member.id: stay for stay in stays}
        self.turn()
        return stays

    def leave(self, *stays: Stay) -> None:
        for stay in stays:
            self.room.leave(stay.member, Reason.LEFT)
        self.turn()

    def lose(self, stay: Stay) -> None:
        """Its connection breaks; it has read all there was."""
        if stay.connected:
            stay.connected = False
            stay.offset, stay.epoch = self.log.end, self.room.epoch
            self.room.suspend(stay.member, self.now)

    def resume(self, stay: Stay, offset: int | None = None, epoch: int | None = None) -> None:
        """It comes back, saying where it was, or something else."""
        request = Resume(
            stay.member.id,
            stay.member.token,
            stay.offset if offset is None else offset,
            stay.epoch if epoch is None else epoch,
        )
        resumed = self.room.resume(request, FINGERPRINT, self.now)
        assert resumed is not None
        stay.connected = True
        for unicast in resumed[1]:
            self.take(unicast)
        # A WELCOME in the middle of an epoch has begun another one.
        for member in self.room.members.values():
            self.stays[member.id].epochs.add(self.room.epoch)

    def turn(self) -> None:
        """Let a join or a leave take effect."""
        before = self.room.epoch
        self.now += 1
        unicasts = self.room.tick(self.now)
        assert self.room.epoch <= before + 1
        for unicast in unicasts:
            self.take(unicast)
        self.room.say(f"the operator, in epoch {self.room.epoch}")
        for member in self.room.members.values():
            stay = self.stays[member.id]
            stay.epochs.add(self.room.epoch)
            if stay.connected:
                self.talk(stay, self.room.epoch)

    def take(self, unicast: Unicast) -> None:
        """Give a member its controls. Without a connection it does not get them; the test does."""
        stay = self.stays[unicast.member.id]
        for control in map(decode_control, unicast.controls):
            if isinstance(control, Welcome | Rekey):
                secret = self.secrets.setdefault(control.epoch, RoomSecret(control.secret))
                assert secret.secret == control.secret
                if stay.connected:
                    stay.secrets.append(secret)

    def talk(self, stay: Stay, epoch: int) -> None:
        """A member says something under the key of the current epoch, or of an earlier one."""
        seq = stay.member.seq + 1
        text = f"{stay.member.name} in epoch {epoch}"
        content = MessageContent(Kind.SAY, 0, bytes(ORIGIN_BYTES), seq, text.encode()).encode()
        header = wire.room_header(
            wire.Message.TYPE, epoch, stay.member.id, seq, sealed_bytes(len(content))
        )
        sealed = self.secrets[epoch].message_key().seal(header, content, self.random_bytes)
        assert self.room.submit(stay.member, header + sealed, self.now) == []

    def frames(self) -> list[tuple[int, bytes]]:
        """Every frame of the log, each with its epoch."""
        return [
            (header.epoch, run[header.start : header.end])
            for kind, run in wire.FrameReader(MAX_FRAME_BYTES).feed(self.log.read(0, self.log.end))
            for header in wire.room_headers(kind, run)
        ]

    def epochs_opened(self, secrets: list[RoomSecret]) -> list[int]:
        """The epochs of all frames that these secrets open, or any that follow from them."""
        keys = [each for secret in followed(secrets, self.room.epoch) for each in keys_of(secret)]
        return [
            epoch
            for epoch, frame in self.frames()
            if opens(keys, frame[: wire.ROOM_HEADER_BYTES], frame[wire.ROOM_HEADER_BYTES :])
        ]

    def assert_opens_its_stay_alone(self, stay: Stay) -> None:
        """Trying everything, this member opens every frame of the epochs of its stay, and none of
        any other epoch."""
        during = [epoch for epoch, _ in self.frames() if epoch in stay.epochs]
        assert during
        assert self.epochs_opened(stay.secrets) == during


def followed(secrets: list[RoomSecret], steps: int) -> list[RoomSecret]:
    """These secrets, and all that follow from each by so many steps."""
    found = []
    for secret in secrets:
        for _ in range(steps + 1):
            found.append(secret)
            secret = step(secret)
    return found


@cache
def step(secret: RoomSecret) -> RoomSecret:
    return secret.step()


@cache
def keys_of(secret: RoomSecret) -> tuple[SealingKey, ...]:
    """All ways of using a secret: as its keys are made from it, and as a key itself."""
    derived = secret.message_key(), secret.event_key(), secret.repeat_key()
    return *derived, SealingKey.from_bytes(secret.secret * 2)


def opens(keys: Iterable[SealingKey], associated: bytes, sealed: bytes) -> bool:
    """Whether any of these keys opens it."""
    return any(_opens(tried, associated, sealed) for tried in keys)


def _opens(tried: SealingKey, associated: bytes, sealed: bytes) -> bool:
    try:
        tried.open(associated, sealed)
    except OpenError:
        return False
    return True


# -- newcomers and leavers ---------------------------------------------------------------------


def test_newcomer_cannot_open_what_was_sealed_before_and_sent_before_or_after() -> None:
    tap = Tap()
    ira, _ = tap.join("Ira", "Sahnawaz")
    tap.talk(ira, 2)
    (thea,) = tap.join("Thea")
    tap.talk(ira, 2)
    assert [epoch for epoch, _ in tap.frames()][-1] == 2
    assert {epoch for epoch, _ in tap.frames()} == {1, 2, 3}
    for stay in (thea, ira):
        tap.assert_opens_its_stay_alone(stay)
    assert thea.member.epoch == 3


def test_leavers_cannot_open_what_comes_after_on_a_recorded_wire() -> None:
    tap = Tap()
    ira, sahnawaz, thea, zoe = tap.join("Ira", "Sahnawaz", "Thea", "Zoë")
    tap.leave(thea, zoe)
    tap.talk(ira, 3)
    tap.join("Mei")
    tap.talk(sahnawaz, 4)
    assert {epoch for epoch, _ in tap.frames()} == {1, 2, 3, 4}
    for stay in (thea, zoe, ira):
        tap.assert_opens_its_stay_alone(stay)


@pytest.mark.parametrize("newcomer", ["Thea", "Zoë"])
def test_leaver_and_newcomer_together_cannot_open_what_lies_between(newcomer: str) -> None:
    """Nor can one person that leaves and comes again."""
    tap = Tap()
    ira, thea = tap.join("Ira", "Thea")
    tap.leave(thea)
    tap.talk(ira, 3)
    (second,) = tap.join(newcomer)
    assert second.member.id != thea.member.id
    assert set(tap.epochs_opened(thea.secrets + second.secrets)) == {2, 4}
    assert {epoch for epoch, _ in tap.frames()} == {1, 2, 3, 4}


def test_newcomer_who_goes_at_once_is_given_no_key() -> None:
    tap = Tap()
    tap.join("Ira")
    member = tap.room.join("Thea", FINGERPRINT, 0.0)
    tap.stays[member.id] = Stay(member)
    tap.room.leave(member, Reason.LOST)
    tap.turn()
    assert tap.stays[member.id].secrets == []


# -- members who come back ---------------------------------------------------------------------


def test_member_who_comes_back_in_the_window_opens_all_of_its_stay() -> None:
    tap = Tap()
    _, sahnawaz, thea = tap.join("Ira", "Sahnawaz", "Thea")
    tap.lose(sahnawaz)
    tap.leave(thea)
    tap.join("Zoë")
    assert tap.epochs_opened(sahnawaz.secrets).count(3) == 0
    tap.resume(sahnawaz)
    tap.assert_opens_its_stay_alone(sahnawaz)


@pytest.mark.parametrize("epoch", range(7))
def test_member_who_claims_to_be_older_than_it_is_is_given_no_earlier_key(epoch: int) -> None:
    """Every epoch but the last began with a fresh secret, so no key follows from an earlier one."""
    tap = Tap()
    guests = tap.join("Ira", "Sahnawaz", "Thea")
    tap.leave(guests[0])
    tap.leave(guests[1])
    (zoe,) = tap.join("Zoë")
    tap.lose(zoe)
    tap.resume(zoe, offset=0, epoch=epoch)
    tap.assert_opens_its_stay_alone(zoe)
    assert zoe.member.epoch == 6


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["join", "join", "leave", "lose", "resume"]),
        st.integers(0, 3),
        st.none() | st.integers(0, 3_000),
        st.none() | st.integers(0, 9),
    ),
    min_size=5,
    max_size=10,
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, derandomize=True)
@given(ACTS)
def test_nobody_opens_more_than_what_was_said_during_its_stay(
    acts: list[tuple[str, int, int | None, int | None]],
) -> None:
    tap = Tap()
    inside = tap.join("Ira", "Sahnawaz")
    disturbed: list[Stay] = []
    for number, (act, who, offset, epoch) in enumerate(acts):
        if act == "join" or not inside:
            inside += tap.join(*(f"member {number}.{part}" for part in range(1 + who // 2)))
            continue
        stay = inside[who % len(inside)]
        if act == "leave":
            inside.remove(stay)
            tap.leave(stay)
        elif act == "lose":
            disturbed.append(stay)
            tap.lose(stay)
        elif not stay.connected:
            tap.resume(stay, offset, epoch)
    for stay in tap.stays.values():
        if stay in disturbed:
            assert set(tap.epochs_opened(stay.secrets)) <= stay.epochs
        else:
            tap.assert_opens_its_stay_alone(stay)


# -- the whole wire ----------------------------------------------------------------------------


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
            any(opens(keys, place(frame_type, at), data) for at in range(len(sealed)))
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
