"""Writes `tests/vectors/*.json` and the samples of PROTOCOL 12: `python -m tests.make_vectors`.

Nothing in these is typed by hand. All randomness comes from a fixed source, and every byte that is
taken from it is recorded, so that another implementation can do the same with the same.
"""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from Cryptodome.PublicKey import RSA

from chat import kex, limits
from chat.cipher import SealingKey, sealed_bytes
from chat.client.events import ClientEvent
from chat.client.participant import Participant
from chat.errors import Reason
from chat.messages import (
    Back,
    Bye,
    ClientIdentity,
    Closing,
    Control,
    Joined,
    Left,
    Lost,
    MessageContent,
    Notice,
    Ping,
    Pong,
    Ready,
    Rekey,
    Resend,
    Resume,
    Resumed,
    RoomEvent,
    Roster,
    RosterEntry,
    Welcome,
    decode_control,
)
from chat.server.log import OrderedLog
from chat.server.room import Member, Room, Unicast
from chat.session import ClientSession, HelloReceived, Offer, ServerSession, Session, SessionEvent
from chat.wire import (
    PROTOCOL,
    ROOM_HEADER_BYTES,
    Event,
    FrameReader,
    Hello,
    Link,
    Message,
    Pubkey,
    Refused,
    SessionKey,
    block,
    decode_frame,
    room_header,
)
from tests.support.helpers import KEYS, WALL_CLOCK, FixedBytes, frames_of, key

VECTORS = Path(__file__).parent / "vectors"
DOCUMENT = Path(__file__).parents[1] / "docs" / "PROTOCOL.md"
WINDOW_BYTES = 2**20

Json = dict[str, Any]


class Recorded:
    """The fixed source, with a record of all bytes that were taken from it."""

    def __init__(self, seed: str) -> None:
        self._source = FixedBytes(f"vectors/{seed}")
        self.taken: list[bytes] = []

    def __call__(self, size: int) -> bytes:
        self.taken.append(self._source(size))
        return self.taken[-1]

    def labelled(self, *uses: str) -> list[Json]:
        """The bytes that were taken, each time with their use."""
        return [
            {"for": use, "bytes": taken.hex()} for use, taken in zip(uses, self.taken, strict=True)
        ]


# -- the handshake -----------------------------------------------------------------------------

ABOUT_HANDSHAKE = [
    "One handshake and some control messages behind it. All bytes are in hex.",
    "randomness: what each end takes from its source, in this order. The offer is made with the "
    "first; OAEP and PSS take theirs from the same sources as everything else.",
    "derived: every secret, salt and key; a sealing key is the cipher's key and the MAC's.",
    "frames: in the order of the wire. sealed says under which key, bound to which bytes, and what "
    "the plaintext is. A frame with instead_of is another possible one in the place of that one, "
    "made with the same randomness.",
    "must_fail: the end named by `to` is as above. It first takes the frames named in `given`, "
    "then `receive`, which must end the session in the state `stage` because of `check`, and be "
    "answered with the reason PROTOCOL wherever an answer is possible. receive is bytes, or one of "
    "the frames above: as it is, or with the lowest bit flipped of the byte at `flip`, or with its "
    "last `cut` bytes left out or the bytes of `add` put behind it, and the length field adjusted.",
]
NAME = "Ira"
TOKEN = bytes(range(64, 80))
WELCOME = Welcome(bytes(range(80, 88)), 1, TOKEN, 2, bytes(range(32)), 215, 0, 1, 1)
ROSTER = Roster((RosterEntry(1, 0, NAME, key("ira").public.digest),))
RESUME = Resume(1, TOKEN, 4_660, 3)
REKEYED = bytes(range(32, 64))
MESSAGE = Message(2, 1, 1, bytes(96)).to_wire()
# An odd number of 1024 bits is enough: the size is looked at first.
WEAK_MODULUS = int.from_bytes(FixedBytes("vectors/weak key")(128), "big") | 1 << 1023 | 1
WEAK_BLOB = kex.PublicKey.from_rsa(RSA.construct((WEAK_MODULUS, 65_537))).blob


@dataclass(frozen=True)
class Handshake:
    """The frames, secrets and keys of the good handshake."""

    hello: bytes
    pubkey: bytes
    answer: bytes
    share: bytes
    shared: bytes
    session_key: bytes
    keys: dict[str, SealingKey]


class Ends:
    """Both sessions, with recorded randomness."""

    def __init__(self, first: Ready | Resume) -> None:
        self.for_offer, self.for_server, self.for_client = map(
            Recorded, ("offer", "server", "client")
        )
        self.offer = kex.SignedShare.make(key("server"), WALL_CLOCK, self.for_offer)
        self.server = ServerSession(Offer.of(self.offer), self.for_server, 0.0)
        self.client = ClientSession(
            NAME, key("ira"), first, self.for_client, 0.0, lambda: WALL_CLOCK
        )

    def shake_hands(self) -> list[bytes]:
        """The four frames of the handshake."""
        frames = []
        for sender, receiver in 2 * [("server", "client"), ("client", "server")]:
            frames.append(self.of(sender).data_to_send())
            self.receive(receiver, frames[-1])
        return frames

    def of(self, end: str) -> Session:
        return self.server if end == "server" else self.client

    def receive(self, end: str, data: bytes) -> list[SessionEvent]:
        """Let one end have some bytes; the client trusts whatever server it sees."""
        events = self.of(end).receive(data, 0.0)
        if [type(event) for event in events] == [HelloReceived]:
            self.client.trust()
        return events


def material(sealing: SealingKey) -> str:
    return (sealing.cipher + sealing.mac).hex()


def bound_to(frame_type: int, counter: int) -> bytes:
    """What a frame of the handshake or the link is bound to."""
    return bytes((frame_type,)) + counter.to_bytes(8, "big")


def frame_of(sender: str, name: str, data: bytes, **details: object) -> Json:
    return {"frame": name, "from": sender, "bytes": data.hex(), **details}


def sealed_frame(
    sender: str,
    name: str,
    data: bytes,
    sealing: str,
    bound: bytes,
    plaintext: bytes,
    **more: object,
) -> Json:
    inside = {"key": sealing, "associated": bound.hex(), "plaintext": plaintext.hex()}
    return frame_of(sender, name, data, sealed=inside, **more)


def name_of(control: Control) -> str:
    return type(control).__name__.upper()


def link_frame(sender: str, counter: int, control: Control, data: bytes, **more: object) -> Json:
    sealing, bound = f"k_{sender[0]}1", bound_to(Link.TYPE, counter)
    return sealed_frame(sender, name_of(control), data, sealing, bound, control.encode(), **more)


def make_handshake() -> Json:
    ends = Ends(Ready())
    hello, pubkey, answer, ready = ends.shake_hands()
    *_, resume = Ends(RESUME).shake_hands()
    share = kex.KeyShare(lambda _: ends.for_client.taken[0]).public
    shared = ends.offer.share.agree(share)
    session_key = ends.for_server.taken[0]
    first = kex.handshake_keys(shared, hello, share)
    second = kex.link_keys(shared, session_key, hello + pubkey + answer)
    keys = {
        "k_c0": first.client,
        "k_s0": first.server,
        "k_c1": second.client,
        "k_s1": second.server,
    }
    wrapped = first.server.open(bound_to(SessionKey.TYPE, 0), answer[3:])
    identity = introduction(key("ira").public.blob)
    refused = Refused(Reason.FULL, "").to_wire()
    frames = [
        frame_of("server", "HELLO", hello),
        frame_of("server", "REFUSED", refused, instead_of="HELLO"),
        sealed_frame("client", "PUBKEY", pubkey, "k_c0", bound_to(Pubkey.TYPE, 0), identity),
        sealed_frame(
            "server", "SESSION_KEY", answer, "k_s0", bound_to(SessionKey.TYPE, 0), wrapped
        ),
        link_frame("client", 0, Ready(), ready),
        link_frame("client", 0, RESUME, resume, instead_of="READY"),
    ]
    controls: list[Control] = [WELCOME, ROSTER, Rekey(3, REKEYED), Resend(7), Resumed()]
    for counter, control in enumerate(controls):
        ends.server.send(control.encode())
        frames.append(link_frame("server", counter, control, ends.server.data_to_send()))
    ends.client.tick(limits.PING_SECONDS)
    ping = ends.client.data_to_send()
    ends.server.receive(ping, limits.PING_SECONDS)
    frames.append(link_frame("client", 1, Ping(), ping))
    frames.append(link_frame("server", len(controls), Pong(), ends.server.data_to_send()))
    bye = Bye(Reason.LEFT, "so long")
    ends.client.close(bye.reason, bye.text)
    frames.append(link_frame("client", 2, bye, ends.client.data_to_send()))
    good = Handshake(hello, pubkey, answer, share, shared, session_key, keys)
    return {
        "about": ABOUT_HANDSHAKE,
        "keys": {name: key_pair(name) for name in ("server", "ira")},
        "name": NAME,
        "wall_clock": int(WALL_CLOCK),
        "not_after": ends.offer.not_after,
        "randomness": {
            "offer": ends.for_offer.labelled("X25519 private key", "PSS salt"),
            "client": ends.for_client.labelled(
                "X25519 private key", "IV of PUBKEY", "IV of READY", "IV of PING", "IV of BYE"
            ),
            "server": ends.for_server.labelled(
                "session key",
                "OAEP seed",
                "IV of SESSION_KEY",
                *(f"IV of {name_of(control)}" for control in controls),
                "IV of PONG",
            ),
        },
        "derived": {
            "server_share": ends.offer.share.public.hex(),
            "client_share": share.hex(),
            "shared": shared.hex(),
            "session_key": session_key.hex(),
            "h0": hashlib.sha256(hello + share).hexdigest(),
            "h1": hashlib.sha256(hello + pubkey + answer).hexdigest(),
            **{name: material(sealing) for name, sealing in keys.items()},
        },
        "frames": frames,
        "must_fail": [
            *bad_hellos(good),
            *bad_session_keys(good),
            *bad_pubkeys(good),
            *bad_first_controls(good),
            *bad_link_frames(),
        ],
    }


def introduction(blob: bytes) -> bytes:
    return ClientIdentity(NAME, blob).encode()


def key_pair(name: str) -> Json:
    return {
        "pem": (KEYS / f"{name}.pem").read_text(),
        "blob": key(name).public.blob.hex(),
        "fingerprint": key(name).public.fingerprint,
    }


Failure = Callable[[str, str, Json | bytes], Json]


def failures(to: str, stage: str, *given: str) -> Failure:
    """Makes scenarios that fail at one end in one state."""

    def failure(check: str, what: str, receive: Json | bytes) -> Json:
        return {
            "what": what,
            "to": to,
            "given": list(given),
            "stage": stage,
            "check": check,
            "receive": receive if isinstance(receive, dict) else {"bytes": receive.hex()},
        }

    return failure


def altered(frame: str, **how: object) -> Json:
    """One of the good frames, and how it is changed."""
    return {"frame": frame, **how}


def bad_hellos(good: Handshake) -> list[Json]:
    failure = failures("client", "AWAIT_HELLO")
    hello = decode_frame(good.hello)
    assert isinstance(hello, Hello)
    random_bytes = FixedBytes("vectors/bad hellos")
    long_ago = WALL_CLOCK - 2 * limits.SHARE_SECONDS
    expired = kex.SignedShare.make(key("server"), long_ago, random_bytes)
    others = kex.SignedShare.make(key("other"), WALL_CLOCK, random_bytes)

    def signed_by(offer: kex.SignedShare) -> bytes:
        fields = (offer.share.public, offer.not_after, hello.server_key, offer.signature)
        return Hello(PROTOCOL, *fields).to_wire()

    weak = replace(hello, server_key=WEAK_BLOB).to_wire()
    too_long = (limits.MAX_HANDSHAKE_FRAME_BYTES - 1).to_bytes(2, "big")
    signature = len(good.hello) - 1
    return [
        failure("signature", "a bit of the signature", altered("HELLO", flip=signature)),
        failure("signature", "a bit of the share", altered("HELLO", flip=11)),
        failure("signature", "a bit of not-after", altered("HELLO", flip=50)),
        failure("signature", "the share is signed by another key", signed_by(others)),
        failure("expiry", "what was signed has run out an hour ago", signed_by(expired)),
        failure("key", "the server's key has 1024 bits", weak),
        failure("version", "the protocol is chat/0", altered("HELLO", flip=10)),
        failure("frame", "a byte is left over", altered("HELLO", add="00")),
        failure("frame", "the last byte is missing", altered("HELLO", cut=1)),
        failure("frame", "the frame is empty", bytes(2)),
        failure("frame", "the frame is longer than 4096 bytes", too_long),
        failure("frame", "the frame type is unknown", block(b"\x7f")),
        failure("reason", "REFUSED for an unknown reason", altered("REFUSED", flip=3)),
        failure("place", "PUBKEY comes in the place of HELLO", altered("PUBKEY")),
        failure("place", "MESSAGE comes in the place of HELLO", MESSAGE),
    ]


def bad_session_keys(good: Handshake) -> list[Json]:
    failure = failures("client", "AWAIT_SESSION_KEY", "HELLO")
    random_bytes = FixedBytes("vectors/bad session keys")
    ira, other = key("ira").public, key("other").public

    def sealing(wrapped: bytes, name: str = "k_s0") -> bytes:
        associated = bound_to(SessionKey.TYPE, 0)
        return SessionKey(good.keys[name].seal(associated, wrapped, random_bytes)).to_wire()

    def wrapping(session_key: bytes, public: kex.PublicKey = ira) -> bytes:
        return public.wrap(session_key, random_bytes)

    shortest = len(good.answer) - 3 - 32
    return [
        failure("seal", "a bit of the ciphertext", altered("SESSION_KEY", flip=30)),
        failure("seal", "a bit of the tag", altered("SESSION_KEY", flip=len(good.answer) - 1)),
        failure("seal", "less than can be sealed", altered("SESSION_KEY", cut=shortest)),
        failure("seal", "it is sealed under k_c0", sealing(wrapping(good.session_key), "k_c0")),
        failure("unwrap", "wrapped for another key", sealing(wrapping(bytes(32), other))),
        failure("unwrap", "31 bytes are wrapped", sealing(wrapping(bytes(31)))),
        failure("unwrap", "33 bytes are wrapped", sealing(wrapping(bytes(33)))),
        failure("unwrap", "nothing is wrapped", sealing(b"")),
        failure("place", "HELLO comes again", altered("HELLO")),
        failure("place", "a link frame comes in its place", altered("READY")),
    ]


def bad_pubkeys(good: Handshake) -> list[Json]:
    failure = failures("server", "AWAIT_PUBKEY")
    random_bytes = FixedBytes("vectors/bad pubkeys")
    ira = key("ira").public

    def introducing(identity: bytes) -> bytes:
        sealed = good.keys["k_c0"].seal(bound_to(Pubkey.TYPE, 0), identity, random_bytes)
        return Pubkey(good.share, sealed).to_wire()

    identity = introduction(ira.blob)
    low_order = kex.handshake_keys(bytes(32), good.hello, bytes(32)).client
    of_low_order = low_order.seal(bound_to(Pubkey.TYPE, 0), identity, random_bytes)
    exponent_3 = kex.PublicKey.from_rsa(RSA.construct((key("ira").rsa.n, 3)))
    padded = ira.blob.replace(b"\0\0\x01\x01\0", b"\0\0\x01\x02\0\0", 1)
    return [
        failure("seal", "a bit of the share", altered("PUBKEY", flip=3)),
        failure("seal", "a bit of the IV", altered("PUBKEY", flip=35)),
        failure("seal", "a bit of the ciphertext", altered("PUBKEY", flip=60)),
        failure("seal", "a bit of the tag", altered("PUBKEY", flip=len(good.pubkey) - 1)),
        failure("share", "the share is of low order", Pubkey(bytes(32), of_low_order).to_wire()),
        failure("key", "the key has 1024 bits", introducing(introduction(WEAK_BLOB))),
        failure("key", "the exponent is 3", introducing(introduction(exponent_3.blob))),
        failure(
            "key", "the modulus has a leading zero too many", introducing(introduction(padded))
        ),
        failure("content", "a byte is left over", introducing(identity + b"\0")),
        failure("content", "the introduction is empty", introducing(b"")),
        failure("content", "the name is not UTF-8", introducing(block(b"\xff") + block(ira.blob))),
        failure("frame", "there is no whole share", altered("PUBKEY", cut=len(good.pubkey) - 20)),
        failure("place", "the server's HELLO comes back", altered("HELLO")),
        failure("place", "READY comes before PUBKEY", altered("READY")),
        failure("frame", "a web browser", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ]


def bad_first_controls(good: Handshake) -> list[Json]:
    failure = failures("server", "SEND_SESSION_KEY", "PUBKEY")
    random_bytes = FixedBytes("vectors/bad readies")

    def sealing(control: bytes, counter: int = 0, name: str = "k_c1") -> bytes:
        associated = bound_to(Link.TYPE, counter)
        return Link(good.keys[name].seal(associated, control, random_bytes)).to_wire()

    ready = Ready().encode()
    guessed = kex.link_keys(good.shared, bytes(32), good.hello + good.pubkey + good.answer)
    without = guessed.client.seal(bound_to(Link.TYPE, 0), ready, random_bytes)
    return [
        failure("seal", "a bit of READY", altered("READY", flip=40)),
        failure("seal", "a bit of RESUME", altered("RESUME", flip=40)),
        failure("seal", "it is sealed as the second frame", sealing(ready, 1)),
        failure("seal", "it is sealed under k_s1", sealing(ready, 0, "k_s1")),
        failure("seal", "it is sealed under k_c0", sealing(ready, 0, "k_c0")),
        failure("seal", "the session key is not known", Link(without).to_wire()),
        failure("first", "BYE comes in its place", sealing(Bye(Reason.LEFT, "").encode())),
        failure("first", "PING comes in its place", sealing(Ping().encode())),
        failure("content", "a byte is left over", sealing(ready + b"\0")),
        failure("content", "a byte of RESUME is missing", sealing(RESUME.encode()[:-1])),
        failure("content", "the control message is unknown", sealing(b"\x7f")),
        failure("content", "nothing is sealed in it", sealing(b"")),
        failure("place", "PUBKEY comes again", altered("PUBKEY")),
        failure("place", "MESSAGE comes before READY", MESSAGE),
    ]


def bad_link_frames() -> list[Json]:
    at_server = failures("server", "RELAY", "PUBKEY", "READY")
    at_client = failures("client", "RELAY", "HELLO", "SESSION_KEY")
    welcomed = failures("client", "RELAY", "HELLO", "SESSION_KEY", "WELCOME")
    return [
        at_server("seal", "READY is replayed", altered("READY")),
        at_server("seal", "PING is left out", altered("BYE")),
        at_server("seal", "a bit of PING", altered("PING", flip=40)),
        at_server("seal", "the server's own frame comes back", altered("WELCOME")),
        at_server("place", "a client sends EVENT", Event(2, 0, 1, bytes(96)).to_wire()),
        at_server("place", "a client sends REFUSED", altered("REFUSED")),
        at_server("frame", "the frame is empty", bytes(2)),
        at_server("frame", "the frame is longer than 65535 bytes", b"\xff\xfe"),
        at_client("seal", "WELCOME is left out", altered("ROSTER")),
        at_client("seal", "a bit of WELCOME", altered("WELCOME", flip=40)),
        at_client("seal", "the client's own frame comes back", altered("READY")),
        at_client("place", "SESSION_KEY comes again", altered("SESSION_KEY")),
        welcomed("seal", "WELCOME is replayed", altered("WELCOME")),
    ]


# -- the room ----------------------------------------------------------------------------------

ABOUT_ROOM = [
    "A room from its first member to its end, in which a member loses its connection twice. All "
    "bytes are in hex, times in seconds.",
    "randomness: what the room and each member take from their sources, in this order. The room "
    "takes its number (8 bytes), a fresh secret (32), a token whenever somebody joins and an IV "
    "whenever it seals (16); a member takes its origin (8), then IVs (16).",
    "epochs: every secret, how it came about, and the sealing keys that follow from it, each the "
    "cipher's key and the MAC's.",
    "log: the whole log at the end.",
    "steps: what happens, in order. log is the part of the log that the step appends, from one "
    "offset to another; deliveries are the control messages for one member and the offset `at` "
    "which they stand in its stream. read gives a member what its stream holds by then, and says "
    "what that member is shown and what it sends because of that. submit takes the run of frames "
    "that the log then holds, or where not all of it is accepted, `run`.",
    "lose, resume: the connection of a member is cut, whatever was on its way to it is lost, and "
    "it comes back with this request. trim: the server forgets the log before this offset.",
    "must_fail: after the first `after` steps one end takes what it should not. dropped: it is "
    "not taken, and a room answers with these controls; the message `then` is taken afterwards. "
    "breach: it ends the session. `check` is what finds it. ready: such a RESUME counts as READY. "
    "welcome: it is answered with a new WELCOME instead of RESUMED.",
]


class Scene:
    """Plays a room and its members, and writes down what happens."""

    def __init__(self) -> None:
        self.room_random = Recorded("room")
        self.log = OrderedLog(WINDOW_BYTES)
        self.room = Room(self.log, self.room_random, limits.GRACE_SECONDS)
        self.whole_log = b""
        self.members: dict[int, Member] = {}
        self.participants: dict[int, Participant] = {}
        self.member_random: dict[int, Recorded] = {}
        self.streams: dict[int, deque[tuple[int, bytes]]] = {}
        self.offsets: dict[int, int] = {}
        self.steps: list[Json] = []
        self.secrets: dict[int, tuple[str, kex.RoomSecret]] = {
            1: ("fresh", kex.RoomSecret(self.room_random.taken[1]))
        }

    def join(self, now: float, name: str) -> int:
        fingerprint = hashlib.sha256(name.encode()).digest()
        member = self.room.join(name, fingerprint, now)
        self.members[member.id] = member
        self.member_random[member.id] = Recorded(f"member {member.id}")
        self.participants[member.id] = Participant(self.member_random[member.id])
        self.note("join", now, name=name, fingerprint=fingerprint.hex(), member=member.id)
        self.changed(now, "step")
        return member.id

    def leave(self, now: float, member: int, reason: Reason) -> None:
        self.room.leave(self.members[member], reason)
        self.note("leave", now, member=member, reason=int(reason))
        self.changed(now, "fresh")

    def changed(self, now: float, how: str) -> None:
        """The tick in which a join or a leave takes effect."""
        unicasts = self.room.tick(now)
        last = self.secrets[self.room.epoch - 1][1]
        fresh = [taken for taken in self.room_random.taken if len(taken) == 32][-1]
        secret = last.step() if how == "step" else kex.RoomSecret(fresh)
        self.secrets[self.room.epoch] = (how, secret)
        self.note("tick", now, unicasts=unicasts)

    def operator_says(self, now: float, text: str) -> None:
        self.room.say(text)
        self.note("notice", now, text=text)

    def close(self, now: float) -> None:
        self.room.close()
        self.note("close", now)

    def say(self, now: float, member: int, text: str) -> bytes:
        time_ms = int((WALL_CLOCK + now) * 1000)
        self.participants[member].say(text, time_ms)
        sends = self.participants[member].data_to_send()
        self.note("say", now, member=member, time_ms=time_ms, text=text, sends=sends.hex())
        return sends

    def submit(self, now: float, member: int, run: bytes) -> None:
        before = self.room.messages
        unicasts = self.room.submit(self.members[member], run, now)
        accepted = self.room.messages - before
        whole = self.log.read(len(self.whole_log), self.log.end) == run
        rejected: Json = {} if whole else {"run": run.hex()}
        self.note("submit", now, unicasts=unicasts, member=member, accepted=accepted, **rejected)

    def read(self, now: float, member: int) -> bytes:
        """The member reads its stream to the end. Returns what it sends because of that."""
        participant = self.participants[member]
        stream = list(self.stream(member))
        shown = [
            shown_as(shown)
            for item in stream
            for shown in receive(participant, item, self.whole_log, now)
        ]
        sends = participant.data_to_send()
        details: Json = {"member": member, "stream": stream, "shown": shown, "sends": sends.hex()}
        self.note("read", now, **details)
        return sends

    def lose(self, now: float, member: int) -> None:
        """The connection is cut at both ends."""
        self.participants[member].disconnect()
        self.room.suspend(self.members[member], now)
        self.note("lose", now, member=member)

    def resume(self, now: float, member: int) -> None:
        request = self.participants[member].first_control()
        assert isinstance(request, Resume)
        found = self.room.resume(request, self.members[member].fingerprint, now)
        assert found is not None
        _, unicasts = found
        self.streams.pop(member, None)
        self.offsets[member] = unicasts[0].at
        details = {"member": member, "request": request.encode().hex()}
        self.note("resume", now, unicasts=unicasts, **details)

    def trim(self, now: float, start: int) -> None:
        self.log.window_bytes = self.log.end - start
        self.log.trim(self.log.start_after_trim())
        self.note("trim", now, start=start)
        self.log.window_bytes = WINDOW_BYTES

    def stream(self, member: int) -> Iterator[Json]:
        """What the member's stream holds that it has not read."""
        splices = self.streams.pop(member, deque())
        offset = self.offsets[member]
        for at, control in [*splices, (self.log.end, b"")]:
            if offset < at:
                yield {"log": [offset, at]}
            if control:
                yield {"control": control.hex()}
            offset = at
        self.offsets[member] = offset

    def note(
        self, what: str, now: float, *, unicasts: list[Unicast] | None = None, **details: object
    ) -> None:
        """Write down a step, with what it has appended and delivered."""
        step: Json = {"do": what, "now": now, **details}
        start = len(self.whole_log)
        if start < self.log.end:
            self.whole_log += self.log.read(start, self.log.end)
            step["log"] = [start, self.log.end]
        for unicast in unicasts or []:
            member = unicast.member.id
            self.offsets.setdefault(member, unicast.at)
            splices = self.streams.setdefault(member, deque())
            splices.extend((unicast.at, control) for control in unicast.controls)
        if unicasts:
            step["deliveries"] = list(map(delivered, unicasts))
        self.steps.append(step)


def delivered(unicast: Unicast) -> Json:
    return {
        "member": unicast.member.id,
        "at": unicast.at,
        "controls": [control.hex() for control in unicast.controls],
    }


def receive(participant: Participant, item: Json, log: bytes, now: float) -> list[ClientEvent]:
    """Give a participant one item of its stream."""
    if "control" in item:
        return participant.receive_control(decode_control(bytes.fromhex(item["control"])), now)
    data = log[slice(*item["log"])] if "log" in item else bytes.fromhex(item["frames"])
    return [
        shown
        for frame_type, run in FrameReader(65_535).feed(data)
        for shown in participant.receive_frames(frame_type, run)
    ]


def shown_as(shown: ClientEvent) -> Json:
    fields = asdict(shown).items()
    return {
        "what": type(shown).__name__,
        **{name: list(value) if isinstance(value, tuple) else value for name, value in fields},
    }


def make_room() -> Json:
    scene = Scene()
    ira = scene.join(0.0, "Ira")
    scene.read(0.0, ira)
    sahnawaz = scene.join(1.0, "Sahnawaz")
    scene.read(1.0, ira)
    scene.read(1.0, sahnawaz)

    scene.submit(2.0, ira, scene.say(2.0, ira, "Hi"))
    scene.operator_says(2.0, "half an hour to go")
    scene.read(2.0, ira)
    scene.read(2.0, sahnawaz)

    # Sealed before Zoë came and accepted after: she skips it.
    early = scene.say(3.0, ira, "sealed before Zoë came")
    zoe = scene.join(3.0, "Zoë")
    scene.submit(3.0, ira, early)
    long = scene.read(3.0, zoe) + scene.say(3.5, zoe, "") + scene.say(3.5, zoe, "ß" * 150)
    scene.submit(3.5, zoe, long)
    for member in (ira, sahnawaz, zoe):
        scene.read(4.0, member)

    # Sealed before Sahnawaz left, and submitted when its epoch is stale: asked for again.
    late = scene.say(5.0, ira, "sealed before Sahnawaz left")
    scene.leave(5.0, sahnawaz, Reason.LEFT)
    scene.submit(16.0, ira, late)
    again = scene.read(16.0, ira)
    scene.submit(16.0, ira, again)
    scene.submit(16.0, ira, again)
    scene.read(17.0, ira)
    scene.read(17.0, zoe)
    offences = offences_to_room(scene) + offences_to_participant(scene)
    lose_and_resume(scene, ira, zoe, offences)
    scene.close(30.0)
    scene.read(30.0, ira)
    return {
        "about": ABOUT_ROOM,
        "randomness": {
            "room": [taken.hex() for taken in scene.room_random.taken],
            "members": {
                str(member): [taken.hex() for taken in recorded.taken]
                for member, recorded in scene.member_random.items()
            },
        },
        "epochs": [
            {
                "epoch": epoch,
                "how": how,
                "secret": secret.secret.hex(),
                "message_key": material(secret.message_key()),
                "event_key": material(secret.event_key()),
            }
            for epoch, (how, secret) in scene.secrets.items()
        ],
        "log": scene.whole_log.hex(),
        "steps": scene.steps,
        "must_fail": offences,
    }


def lose_and_resume(scene: Scene, ira: int, zoe: int, offences: list[Json]) -> None:
    """Zoë comes back to her place in the log; and later, when it is no longer there, to its end."""
    # Of two messages under way one has arrived, of which she does not hear; a third is typed while
    # she is away. Meanwhile the key is renewed, and steps.
    bo = scene.join(18.0, "Bo")
    scene.read(18.0, zoe)
    scene.submit(18.0, zoe, scene.say(18.0, zoe, "arrives, but she does not know"))
    scene.say(18.0, zoe, "does not arrive")
    scene.lose(18.0, zoe)
    scene.say(19.0, zoe, "said without a connection")
    scene.leave(19.0, bo, Reason.KICKED)
    scene.join(20.0, "Cy")
    scene.read(20.0, ira)
    scene.submit(20.0, ira, scene.say(20.0, ira, "Zoë?"))
    offences += bad_resumes(scene, zoe)
    scene.resume(21.0, zoe)
    scene.submit(21.0, zoe, scene.read(21.0, zoe))
    scene.read(21.0, zoe)
    scene.read(21.0, ira)

    scene.lose(22.0, zoe)
    for text in ("one", "two"):
        scene.submit(22.0, ira, scene.say(22.0, ira, text))
    scene.trim(22.0, scene.log.end)
    scene.resume(23.0, zoe)
    scene.submit(23.0, ira, scene.say(23.0, ira, "three"))
    scene.read(23.0, zoe)
    scene.read(23.0, ira)


def bad_resumes(scene: Scene, member: int) -> list[Json]:
    """What does not bring a member back to its place, although it is waiting for it."""
    good = scene.participants[member].first_control()
    assert isinstance(good, Resume)
    right = scene.members[member].fingerprint
    present = next(iter(scene.members))

    def attempt(outcome: str, what: str, request: Resume, fingerprint: bytes = right) -> Json:
        return {
            "what": what,
            "to": "resume",
            "after": len(scene.steps),
            "now": 21.0,
            "request": request.encode().hex(),
            "fingerprint": fingerprint.hex(),
            "outcome": outcome,
        }

    return [
        attempt("ready", "another token", replace(good, token=bytes(limits.RESUME_TOKEN_BYTES))),
        attempt("ready", "another key", good, bytes(32)),
        attempt("ready", "another member's number", replace(good, member=present)),
        attempt("ready", "nobody's number", replace(good, member=99)),
        attempt("welcome", "an offset that is not there yet", replace(good, offset=2**40)),
        attempt("welcome", "an offset beyond all", replace(good, offset=2**64 - 1)),
        attempt("welcome", "an epoch to come", replace(good, epoch=99)),
        attempt("welcome", "an epoch before the member's own", replace(good, epoch=1)),
    ]


def offences_to_room(scene: Scene) -> list[Json]:
    """What the first member could send, at 17 s, when epoch 5 is 12 s old."""
    ira, zoe = scene.members[1], scene.members[3]
    following = ira.seq + 1
    sealed = bytes(96)

    def offence(
        outcome: str, check: str, what: str, run: bytes, member: Member = ira, resend: int = 0
    ) -> Json:
        return {
            "what": what,
            "to": "room",
            "after": len(scene.steps),
            "now": 17.0,
            "member": member.id,
            "run": run.hex(),
            "outcome": outcome,
            "check": check,
            "answer": [Resend(resend).encode().hex()] if resend else [],
            **({"then": message(5, ira, following).hex()} if outcome == "dropped" else {}),
        }

    def message(epoch: int, sender: Member, seq: int) -> bytes:
        return Message(epoch, sender.id, seq, sealed).to_wire()

    return [
        offence("breach", "sender", "a message in another's name", message(5, zoe, following)),
        offence("breach", "epoch", "an epoch to come", message(6, ira, following)),
        offence("breach", "epoch", "an epoch before the member's own", message(3, zoe, 3), zoe),
        offence("breach", "frame", "no header", block(b"\x20")),
        offence("breach", "frame", "nothing sealed", Message(5, ira.id, following, b"").to_wire()),
        offence("dropped", "number", "a repeat", message(5, ira, ira.seq)),
        offence("dropped", "number", "a gap", message(5, ira, following + 1), resend=following),
        offence("dropped", "epoch", "a stale epoch", message(4, ira, following), resend=following),
    ]


def flipped(data: bytes, at: int) -> bytes:
    """`data` with one bit flipped."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def offences_to_participant(scene: Scene) -> list[Json]:
    """What the third member could receive at 17 s, in epoch 5, when nothing of its own is under
    way."""
    ira, zoe = scene.members[1], scene.members[3]
    epoch = scene.room.epoch
    secret = scene.secrets[epoch][1]
    events = sum(frame_type == Event.TYPE for frame_type, _ in frames_of(scene.whole_log))
    following = ira.seq + 1
    random_bytes = FixedBytes("vectors/offences")
    hi = MessageContent(0, bytes(8), 1, "Hi").encode()

    def seal(
        kind: int, sealing: SealingKey, sender: int, seq: int, content: bytes, of: int = epoch
    ) -> bytes:
        header = room_header(kind, of, sender, seq, sealed_bytes(len(content)))
        return header + sealing.seal(header, content, random_bytes)

    def message(seq: int, content: bytes = hi, sender: int = ira.id) -> bytes:
        return seal(Message.TYPE, secret.message_key(), sender, seq, content)

    def event(happened: RoomEvent | bytes, sender: int = 0, of: int = epoch) -> bytes:
        content = happened if isinstance(happened, bytes) else happened.encode()
        return seal(Event.TYPE, secret.event_key(), sender, events + 1, content, of)

    def frames(outcome: str, check: str, what: str, *runs: bytes) -> Json:
        return offence(outcome, check, what, [{"frames": run.hex()} for run in runs])

    def control(what: str, unexpected: Control) -> Json:
        return offence("breach", "place", what, [{"control": unexpected.encode().hex()}])

    def offence(outcome: str, check: str, what: str, stream: list[Json]) -> Json:
        return {
            "what": what,
            "to": "participant",
            "after": len(scene.steps),
            "now": 17.0,
            "member": zoe.id,
            "stream": stream,
            "outcome": outcome,
            "check": check,
            # What opens has used up its number, whatever is in it.
            **(
                {"then": message(following + (check == "content")).hex()}
                if outcome == "dropped"
                else {}
            ),
        }

    true = message(following)
    notice = Notice("x")
    joined = Joined((RosterEntry(ira.id, 0, "Ira", bytes(32)),))
    own = message(zoe.seq + 1, sender=zoe.id)
    forged = seal(Event.TYPE, secret.message_key(), 0, events + 1, Closing().encode())
    relabelled = Event(epoch, 0, events + 1, true[ROOM_HEADER_BYTES:]).to_wire()
    to_come = Message(9, 1, following, bytes(96)).to_wire()
    return [
        frames("dropped", "seal", "a bit of the ciphertext is flipped", flipped(true, 50)),
        frames("dropped", "seal", "a bit of the tag is flipped", flipped(true, -1)),
        frames("dropped", "seal", "a bit of the number is flipped", flipped(true, 17)),
        frames("dropped", "seal", "an epoch to come", to_come),
        frames("dropped", "number", "a message comes again", message(ira.seq)),
        frames("dropped", "sender", "the sender is not in the room", message(1, sender=9)),
        frames("dropped", "sender", "the sender has left", message(2, sender=2)),
        frames("dropped", "content", "not UTF-8", message(following, hi + b"\xff")),
        frames("dropped", "content", "the number is cut", message(following, bytes(23))),
        frames("dropped", "seal", "an event under the message key", forged),
        frames("dropped", "seal", "a message relabelled as an event", relabelled),
        frames("breach", "frame", "no header", block(b"\x20")),
        frames("breach", "header", "an event of a member", event(notice, sender=ira.id)),
        frames("breach", "header", "an event of the last epoch", event(notice, of=epoch - 1)),
        frames("breach", "content", "an unknown event", event(b"\x7f")),
        frames("breach", "content", "a byte is left over", event(Closing().encode() + b"\0")),
        frames("breach", "roster", "somebody joins who is in", event(joined)),
        frames("breach", "roster", "a stranger leaves", event(Left(((9, Reason.LEFT),)))),
        frames("breach", "roster", "a stranger is lost", event(Lost(9))),
        frames("breach", "roster", "a stranger is back", event(Back(9))),
        frames("breach", "rekey", "no key follows a leave", event(Left(((1, Reason.LEFT),))), true),
        frames("breach", "own", "our own message, which we never sent", own),
        control("a key that nobody waits for", Rekey(epoch + 1, bytes(32))),
        control("a second welcome", WELCOME),
        control("a roster out of turn", Roster(())),
        control("RESUMED without a RESUME", Resumed()),
        control("READY from the server", Ready()),
    ]


# -- the samples in the document ---------------------------------------------------------------

SAMPLES_BEGIN = "<!-- samples: written by `python -m tests.make_vectors` -->\n"
SAMPLES_END = "<!-- end of the samples -->\n"
FIELD_SIZES = {
    "HELLO": (
        ("protocol", 8),
        ("share", 32),
        ("not-after", 8),
        ("server key", 2 + 279),
        ("signature", 2 + 256),
    ),
    "PUBKEY": (("share", 32),),
    "SESSION_KEY": (),
    "REFUSED": (("reason", 1), ("sentence", 2 + 16)),
    "LINK": (),
    "MESSAGE": (("epoch", 4), ("sender", 4), ("seq", 8)),
    "EVENT": (("epoch", 4), ("sender", 4), ("seq", 8)),
}
"""The size in bytes of each field of the samples. The rest of a frame is sealed."""


def samples() -> str:
    """One sample of each frame, taken from the vectors."""
    handshake, room = make_handshake(), make_room()
    frames = {each["frame"]: each for each in handshake["frames"]}
    names = ("HELLO", "PUBKEY", "SESSION_KEY", "REFUSED")
    parts = [sample(name, bytes.fromhex(frames[name]["bytes"])) for name in names]
    ready, inside = bytes.fromhex(frames["READY"]["bytes"]), frames["READY"]["sealed"]
    bound = f"READY, sealed under k_c1, bound to `{inside['associated']}`"
    opens = handshake["derived"][inside["key"]], inside["plaintext"]
    parts.append(sample("LINK", ready, bound, *opens))
    first_of_type = dict(reversed(frames_of(bytes.fromhex(room["log"]))))
    for name, frame_type in (("MESSAGE", Message.TYPE), ("EVENT", Event.TYPE)):
        data = first_of_type[frame_type]
        epoch = room["epochs"][int.from_bytes(data[3:7], "big") - 1]
        sealing = epoch[f"{name.lower()}_key"]
        plaintext = SealingKey.from_bytes(bytes.fromhex(sealing)).open(data[:19], data[19:])
        bound = f"Sealed under the {name.lower()} key of epoch {epoch['epoch']}"
        parts.append(sample(name, data, bound, sealing, plaintext.hex()))
    return "\n".join(parts)


def sample(name: str, data: bytes, bound: str = "", sealing: str = "", plaintext: str = "") -> str:
    """One frame, taken apart; and what opens it, if that is to be shown."""
    lines = []
    start = 0
    for field, size in (("length", 2), ("type", 1), *FIELD_SIZES[name], ("sealed", len(data))):
        lines += listing(field, data[start : start + size].hex())
        start += size
    if bound:
        lines += ["", f"{bound}:", "", *listing("key", sealing), *listing("plaintext", plaintext)]
    return "\n".join([f"### {name}", "", *lines, ""])


def listing(field: str, digits: str) -> list[str]:
    """A field as an indented block, its hex digits in lines of at most 96."""
    labels = [field] + [""] * (len(digits) // 96)
    return [
        f"    {label:<12}{digits[96 * number : 96 * (number + 1)]}"
        for number, label in enumerate(labels)
        if digits[96 * number :]
    ]


def with_samples(document: str) -> str:
    """The document with its samples written anew."""
    before, rest = document.split(SAMPLES_BEGIN)
    _, after = rest.split(SAMPLES_END)
    return f"{before}{SAMPLES_BEGIN}\n{samples()}\n{SAMPLES_END}{after}"


# -- the files ---------------------------------------------------------------------------------

MAKERS: dict[str, Callable[[], Json]] = {"handshake": make_handshake, "room": make_room}


def text_of(name: str) -> str:
    """What the file of this name should hold: a line for each frame, step or scenario."""
    parts = []
    for title, content in MAKERS[name]().items():
        if isinstance(content, list):
            lines = [json.dumps(each, ensure_ascii=False) for each in content]
            parts.append(f'"{title}": [\n' + ",\n".join(lines) + "\n]")
        else:
            parts.append(f'"{title}": ' + json.dumps(content, ensure_ascii=False, indent=1))
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    for name in MAKERS:
        (VECTORS / f"{name}.json").write_text(text_of(name), encoding="utf-8")
    document = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(with_samples(document), encoding="utf-8")


if __name__ == "__main__":
    main()
