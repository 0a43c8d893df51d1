"""Writes `tests/vectors/*.json` and the samples of PROTOCOL 12: `python -m tests.make_vectors`.

Nothing in these is typed by hand. All randomness comes from a fixed source, and every byte that is
taken from it is recorded, so that another implementation can do the same with the same.
"""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from Cryptodome.PublicKey import RSA

from chat import kex, limits
from chat.cipher import RandomBytes, SealingKey, sealed_bytes
from chat.client.direct import DirectMessages
from chat.client.events import ClientEvent
from chat.client.participant import Participant
from chat.client.peers import Peer
from chat.contents import Direct, DirectText, Kind, MessageContent, Repeat, Seen
from chat.controls import (
    Answer,
    Bye,
    Check,
    Control,
    Greeting,
    Operate,
    Ping,
    Pong,
    Ready,
    Rekey,
    Resend,
    Resume,
    Resumed,
    Roster,
    Submit,
    Welcome,
    decode_control,
)
from chat.errors import Reason
from chat.frozen import as_dict, replace
from chat.identities import Card, ClientIdentity, RosterEntry, as_lost
from chat.introduction import Introduction
from chat.roomevents import Back, Closing, Joined, Left, Lost, RoomEvent, Topic, decode_room_event
from chat.runninghash import RunningHash
from chat.server.log import OrderedLog
from chat.server.members import Member
from chat.server.room import Room, Unicast
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
from tests.support.helpers import (
    KEYS,
    WALL_CLOCK,
    FixedBytes,
    frames_of,
    key,
    open_frame,
    roster_of,
)

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
    "derived: every secret, salt and key; a sealing key is the cipher's key and the MAC's. "
    "k_s1_next takes the place of k_s1 behind REKEY.",
    "frames: in the order of the wire. sealed says under which key, bound to which bytes, and what "
    "the plaintext is. A frame with instead_of is another possible one in the place of that one, "
    "made with the same randomness.",
    "must_fail: the end named by `to` is as above. It first takes the frames named in `given`, "
    "then `receive`, which must end the session in the state `stage` because of `check`. It then "
    "answers with `reason`: LOST for what no MAC has vouched for once there is a link, otherwise "
    "PROTOCOL. A client that has no link yet has no reason here; it closes the connection. receive "
    "is bytes, or one of the frames above: as it is, or with the lowest bit flipped of the byte at "
    "`flip`, or with its last `cut` bytes left out or the bytes of `add` put behind it, and the "
    "length field adjusted.",
]
NAME = "Ira"
TOKEN = bytes(range(64, 80))
WELCOME = Welcome(
    bytes(range(80, 88)), 1, TOKEN, 2, 1, bytes(range(32)), 215, bytes(range(96, 128)), 0, 1, 1
)
ROSTER = Roster((RosterEntry(1, 0, NAME, key("ira").public.digest),))
RESUME = Resume(1, TOKEN, 4_660, 3)
ROOM_KEY = kex.RoomKey(bytes(range(160, 192)))
GREETING = Greeting(1_700_000_002, "tea at four", "be kind\nand brief")
OPERATE = Operate("KICK Zoë")
ANSWER = Answer(True, "Zoë is put out.")
REKEY = Rekey(3, bytes(range(32, 64)))
CHECK = Check(4_660, bytes(range(128, 160)))
MESSAGE = Message(2, 1, 1, bytes(128)).to_wire()
# An odd number of 1024 bits is enough: the size is looked at first.
WEAK_MODULUS = int.from_bytes(FixedBytes("vectors/weak key")(128), "big") | 1 << 1023 | 1
WEAK_BLOB = kex.PublicKey.from_rsa(RSA.construct((WEAK_MODULUS, 65_537))).blob


_SEALED_BY_THE_CLIENT = ("PUBKEY", "READY", "SUBMIT", "OPERATE", "PING", "BYE")


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

    def __init__(self, first: Ready | Resume, room_key: kex.RoomKey | None = None) -> None:
        self.for_offer, self.for_server, self.for_client = map(
            Recorded, ("offer", "server", "client")
        )
        self.offer = kex.SignedShare.make(key("server"), WALL_CLOCK, self.for_offer)
        self.server = ServerSession(Offer.of(self.offer), self.for_server, 0.0)
        self.me = Introduction.fresh(NAME, key("ira"), self.for_client, room_key)
        self.client = ClientSession(self.me, first, self.for_client, 0.0, lambda: WALL_CLOCK)

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


def link_frame(
    sender: str, counter: int, control: Control, data: bytes, *, key: str = "", **more: object
) -> Json:
    sealing, bound = key or f"k_{sender[0]}1", bound_to(Link.TYPE, counter)
    return sealed_frame(sender, name_of(control), data, sealing, bound, control.encode(), **more)


def make_handshake() -> Json:
    ends = Ends(Ready())
    hello, pubkey, answer, ready = ends.shake_hands()
    *_, resume = Ends(RESUME).shake_hands()
    share = kex.KeyShare(lambda _: ends.for_client.taken[1]).public
    shared = ends.offer.share.agree(share)
    session_key = ends.for_server.taken[0]
    first = kex.handshake_keys(shared, hello, share)
    second = kex.link_keys(shared, session_key, hello + pubkey + answer)
    keys = {
        "k_c0": first.client,
        "k_s0": first.server,
        "k_c1": second.client,
        "k_s1": second.server,
        "k_s1_next": kex.next_link_key(second.server),
    }
    wrapped = first.server.open(bound_to(SessionKey.TYPE, 0), answer[3:])
    _, for_sealed_room, *_ = Ends(Ready(), ROOM_KEY).shake_hands()
    server_key = key("server").public
    sealed_room = ROOM_KEY.at(server_key.digest)
    open_place = ends.me.to(server_key)
    proof = sealed_room.proof(NAME, key("ira").public.digest, open_place.card.share, False)
    sealed_place = replace(
        open_place, tag=sealed_room.tag, card=replace(open_place.card, proof=proof)
    )
    pubkey_bound = bound_to(Pubkey.TYPE, 0)
    refused = Refused(Reason.FULL, "").to_wire()
    frames = [
        frame_of("server", "HELLO", hello),
        frame_of("server", "REFUSED", refused, instead_of="HELLO"),
        sealed_frame("client", "PUBKEY", pubkey, "k_c0", pubkey_bound, open_place.encode()),
        sealed_frame(
            "client",
            "PUBKEY_SEALED_ROOM",
            for_sealed_room,
            "k_c0",
            pubkey_bound,
            sealed_place.encode(),
            instead_of="PUBKEY",
        ),
        sealed_frame(
            "server", "SESSION_KEY", answer, "k_s0", bound_to(SessionKey.TYPE, 0), wrapped
        ),
        link_frame("client", 0, Ready(), ready),
        link_frame("client", 0, RESUME, resume, instead_of="READY"),
    ]
    controls: list[Control] = [WELCOME, ROSTER, REKEY, CHECK, Resend(7), Resumed(), GREETING]
    controls.append(ANSWER)
    sealing, counter = "k_s1", 0
    for control in controls:
        ends.server.send(control.encode())
        data = ends.server.data_to_send()
        frames.append(link_frame("server", counter, control, data, key=sealing))
        sealing, counter = ("k_s1_next", 0) if control == REKEY else (sealing, counter + 1)
    submit = Submit(2 * MESSAGE)
    ends.client.send(submit.encode())
    submitted = ends.client.data_to_send()
    ends.server.receive(submitted, 0.0)
    frames.append(link_frame("client", 1, submit, submitted))
    ends.client.send(OPERATE.encode())
    operate = ends.client.data_to_send()
    ends.server.receive(operate, 0.0)
    frames.append(link_frame("client", 2, OPERATE, operate))
    ends.client.tick(limits.PING_SECONDS)
    ping = ends.client.data_to_send()
    ends.server.receive(ping, limits.PING_SECONDS)
    frames.append(link_frame("client", 3, Ping(), ping))
    frames.append(link_frame("server", counter, Pong(), ends.server.data_to_send(), key=sealing))
    bye = Bye(Reason.LEFT, "so long")
    ends.client.close(bye.reason, bye.text)
    frames.append(link_frame("client", 4, bye, ends.client.data_to_send()))
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
                "X25519 private key of the card",
                "X25519 private key",
                *(f"IV of {name}" for name in _SEALED_BY_THE_CLIENT),
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
            "card_share": open_place.card.share.hex(),
            "room_key": ROOM_KEY.secret.hex(),
            "room_tag": sealed_room.tag.hex(),
            "room_proof": proof.hex(),
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
            *bad_link_frames(good),
        ],
    }


def introduction(blob: bytes) -> bytes:
    return ClientIdentity(NAME, blob).encode()


def without_card(identity: bytes) -> bytes:
    """An introduction up to its tag."""
    return identity[: -len(Card().encode())]


def key_pair(name: str) -> Json:
    return {
        "pem": (KEYS / f"{name}.pem").read_text(),
        "blob": key(name).public.blob.hex(),
        "fingerprint": key(name).public.fingerprint,
    }


Failure = Callable[[str, str, Json | bytes], Json]
FORGEABLE = {"seal", "place", "frame"}
"""The checks of `must_fail` that come before any MAC is checked."""


def failures(to: str, stage: str, *given: str) -> Failure:
    """Makes scenarios that fail at one end in one state."""

    has_link = stage in ("SEND_SESSION_KEY", "RELAY")

    def failure(check: str, what: str, receive: Json | bytes) -> Json:
        reason = Reason.LOST if has_link and check in FORGEABLE else Reason.PROTOCOL
        return {
            "what": what,
            "to": to,
            "given": list(given),
            "stage": stage,
            "check": check,
            **({"reason": reason.name} if has_link or to == "server" else {}),
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
    oldest, newest = WALL_CLOCK - limits.SHARE_SECONDS, WALL_CLOCK
    expired, ahead = (
        kex.SignedShare.make(key("server"), made_at, random_bytes)
        for made_at in (
            oldest - limits.SHARE_SKEW_SECONDS - 1,
            newest + limits.SHARE_SKEW_SECONDS + 1,
        )
    )
    others = kex.SignedShare.make(key("other"), WALL_CLOCK, random_bytes)

    def signed_by(offer: kex.SignedShare) -> bytes:
        fields = (offer.share.public, offer.not_after, hello.server_key, offer.signature)
        return Hello(PROTOCOL, *fields).to_wire()

    weak = replace(hello, server_key=WEAK_BLOB).to_wire()
    too_long = (limits.MAX_HANDSHAKE_FRAME_BYTES - 1).to_bytes(2, "big")
    unknown = block(bytes((Refused.TYPE, 0x7F)) + block(b""))
    signature = len(good.hello) - 1
    return [
        failure("signature", "a bit of the signature", altered("HELLO", flip=signature)),
        failure("signature", "a bit of the share", altered("HELLO", flip=11)),
        failure("signature", "a bit of not-after", altered("HELLO", flip=50)),
        failure("signature", "the share is signed by another key", signed_by(others)),
        failure("expiry", "what was signed has run out 301 s ago", signed_by(expired)),
        failure("expiry", "what was signed holds for another 3,901 s", signed_by(ahead)),
        failure("key", "the server's key has 1024 bits", weak),
        failure("version", "the protocol is chat/0", altered("HELLO", flip=10)),
        failure("frame", "a byte is left over", altered("HELLO", add="00")),
        failure("frame", "the last byte is missing", altered("HELLO", cut=1)),
        failure("frame", "the frame is empty", bytes(2)),
        failure("frame", "the frame is longer than 4096 bytes", too_long),
        failure("frame", "the frame type is unknown", block(b"\x7f")),
        failure("reason", "REFUSED for an unknown reason", unknown),
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
    in_room = Card(proof=bytes(16))
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
        failure(
            "content",
            "the tag has 15 bytes",
            introducing(ClientIdentity(NAME, ira.blob, bytes(15), in_room).encode()),
        ),
        failure(
            "content",
            "a tag without a proof",
            introducing(ClientIdentity(NAME, ira.blob, bytes(16)).encode()),
        ),
        failure(
            "content",
            "a proof without a tag",
            introducing(ClientIdentity(NAME, ira.blob, b"", in_room).encode()),
        ),
        failure(
            "content",
            "a flag that is not known",
            introducing(without_card(identity) + as_lost(Card().encode())),
        ),
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


def bad_link_frames(good: Handshake) -> list[Json]:
    at_server = failures("server", "RELAY", "PUBKEY", "READY")
    at_client = failures("client", "RELAY", "HELLO", "SESSION_KEY")
    welcomed = failures("client", "RELAY", "HELLO", "SESSION_KEY", "WELCOME")
    named = failures("client", "RELAY", "HELLO", "SESSION_KEY", "WELCOME", "ROSTER")
    rekeyed = failures("client", "RELAY", "HELLO", "SESSION_KEY", "WELCOME", "ROSTER", "REKEY")
    random_bytes = FixedBytes("vectors/bad link frames")

    def sealing(name: str, counter: int, control: bytes) -> bytes:
        associated = bound_to(Link.TYPE, counter)
        return Link(good.keys[name].seal(associated, control, random_bytes)).to_wire()

    def to_server(control: bytes) -> bytes:
        return sealing("k_c1", 1, control)

    def to_client(control: bytes) -> bytes:
        return sealing("k_s1", 0, control)

    bye = Bye(Reason.LEFT, "").encode()
    return [
        at_server("seal", "READY is replayed", altered("READY")),
        at_server("seal", "SUBMIT is left out", altered("PING")),
        at_server("seal", "a bit of SUBMIT", altered("SUBMIT", flip=80)),
        at_server("seal", "the server's own frame comes back", altered("WELCOME")),
        at_server("place", "a client sends MESSAGE", MESSAGE),
        at_server("place", "a client sends EVENT", Event(2, 0, 1, bytes(128)).to_wire()),
        at_server("place", "a client sends REFUSED", altered("REFUSED")),
        at_server("place", "PUBKEY comes again", altered("PUBKEY")),
        at_server("frame", "the frame is empty", bytes(2)),
        at_server("frame", "the frame is longer than 65535 bytes", b"\xff\xfe"),
        at_server("frame", "the frame type is unknown", block(b"\x7f")),
        at_server("content", "the control message is unknown", to_server(b"\x7f")),
        at_server("content", "a byte is left over", to_server(Ping().encode() + b"\0")),
        at_server("content", "a command is not UTF-8", to_server(OPERATE.encode()[:-1] + b"\xff")),
        at_server("reason", "BYE for an unknown reason", to_server(bye[:1] + b"\x7f" + bye[2:])),
        at_client("seal", "WELCOME is left out", altered("ROSTER")),
        at_client("seal", "a bit of WELCOME", altered("WELCOME", flip=40)),
        at_client("seal", "the client's own frame comes back", altered("READY")),
        at_client("place", "SESSION_KEY comes again", altered("SESSION_KEY")),
        at_client("place", "REFUSED comes once the link stands", altered("REFUSED")),
        at_client("frame", "the frame is empty", bytes(2)),
        at_client("frame", "the frame type is unknown", block(b"\x7f")),
        at_client("content", "WELCOME has no base", to_client(WELCOME.encode()[:-32])),
        at_client("content", "ANSWER is neither yes nor no", to_client(b"\x0f\x02")),
        at_client("content", "CHECK has half a hash", to_client(CHECK.encode()[:-16])),
        at_client("content", "the control message is unknown", to_client(b"\x7f")),
        welcomed("seal", "WELCOME is replayed", altered("WELCOME")),
        named("seal", "REKEY is left out", altered("CHECK")),
        rekeyed("seal", "REKEY is replayed", altered("REKEY")),
        rekeyed("seal", "the key is still the old one", sealing("k_s1", 3, CHECK.encode())),
        rekeyed("seal", "the counter goes on", sealing("k_s1_next", 3, CHECK.encode())),
    ]


# -- the room ----------------------------------------------------------------------------------

ABOUT_ROOM = [
    "A room from its first member to a crash of its server, and the next room, to its end. All "
    "bytes are in hex, times in seconds.",
    "randomness: what each room and each member takes from its source, in this order. A room takes "
    "its number (8 bytes), a fresh secret (32), a token whenever somebody joins (16) and an IV "
    "whenever it seals (16); a member takes its origin (8), then IVs (16).",
    "rooms: each with its number, `epochs` and `log`. epochs: every secret, how it came about, and "
    "the sealing keys that follow from it, each the cipher's key and the MAC's. This is the open "
    "room; the two that begin with sealed_ are what they would be in a sealed room with the room "
    "key of handshake.json. log: the whole log at the end.",
    "repeats: how the text in each *repeat* of the second log is sealed. It also says in which "
    "room and epoch it was said, and where its frame begins.",
    "steps: what happens, in order, in the first room up to `crash`, and then in the second. log "
    "is the part of the log that the step appends, from one offset to another; deliveries are the "
    "control messages for one member and the offset `at` which they stand in its stream. What is "
    "for a member without a connection is lost. join: somebody wants to be in, and says `first` on "
    "its link. tick: what is due at this time takes effect. part: a member says its last word. "
    "topic: the operator sets it, and newcomers are told it and the message of the day, `motd`. "
    "read gives a member what its stream "
    "holds by then, and says what that member is shown and what it sends because of that: runs of "
    "frames, each for one SUBMIT. submit takes the run that the log then holds, or where not all "
    "of it is accepted, `run`. The texts of warnings are free.",
    "lose, resume: the connection of a member is cut, whatever was on its way to it is lost, and "
    "it comes back with this request. trim: the server forgets the log before this offset.",
    "must_fail: after the first `after` steps one end takes what it should not. `check` is what "
    "finds it, and `to` says who takes it:",
    "to room: a member submits the `run`. breach: the session ends with BYE, PROTOCOL. dropped: "
    "nothing of it is appended, the room answers with the controls in `answer`, and the message "
    "`then` is taken afterwards.",
    "to resume: somebody with a key of this `fingerprint` says the RESUME `request`. ready: it "
    "counts as READY. welcome: it is answered with WELCOME instead of RESUMED, behind an EVENT "
    "that ends the epoch.",
    "to participant: a member is given `stream`, which is frames, controls, and cuts of the "
    "connection. It shows the texts in `shows`, and the outcome is one of these. refused: it does "
    "not take the last frames, and drops the connection. distrusted: the same, and it needs a new "
    "WELCOME. tampered: CHECK differs; it says so, and drops the connection. gone: the server "
    "does not have the log that it vouched for; it says so, and joins anew. unvouched: WELCOME "
    "has come before CHECK; it says that nobody vouches for what came since the last CHECK. "
    "dropped: the last frame takes its place and its numbers, but is not shown; the user is told "
    "why. passed over: the same, but the user is not told. split: the last frame is shown, and the "
    "user is told that its sender was shown another conversation. breach: the session ends with "
    "BYE, PROTOCOL.",
    "resume: the participant says this on its next connection. then: it takes this frame "
    "afterwards (behind RESUMED, if there is `resume`), and shows the text in it.",
]


class Scene:
    """Plays a room and its members, and writes down what happens."""

    def __init__(self) -> None:
        self.steps: list[Json] = []
        self.rooms: list[Json] = []
        self.people: dict[str, Participant] = {}
        self.random: dict[str, Recorded] = {}
        self._open_room()

    def _open_room(self) -> None:
        self.room_random = Recorded(f"room {len(self.rooms) + 1}")
        self.log = OrderedLog(WINDOW_BYTES)
        self.room = Room(self.log, self.room_random, limits.GRACE_SECONDS)
        self.whole_log = b""
        self.members: dict[int, Member] = {}
        self.participants: dict[int, Participant] = {}
        self.streams: dict[int, deque[tuple[int, bytes]]] = {}
        self.offsets: dict[int, int] = {}
        self.secrets: list[tuple[str, kex.RoomSecret]] = []
        self._fresh = 0
        self._learn_secret()

    def _learn_secret(self) -> None:
        """The secret of the epoch that has begun, if one has."""
        if len(self.secrets) == self.room.epoch:
            return
        fresh = [taken for taken in self.room_random.taken if len(taken) == 32][self._fresh :]
        self._fresh += len(fresh)
        if fresh:
            self.secrets.append(("fresh", kex.RoomSecret(*fresh)))
        else:
            self.secrets.append(("step", self.secrets[-1][1].step()))
        assert len(self.secrets) == self.room.epoch, "two epochs have begun in one step"

    def end_room(self) -> None:
        """Nothing more is appended to this room's log."""
        epochs = [
            {
                "epoch": epoch,
                "how": how,
                "secret": secret.secret.hex(),
                "message_key": material(secret.message_key()),
                "event_key": material(secret.event_key()),
                "repeat_key": material(secret.repeat_key()),
                "sealed_message_key": material(secret.message_key(ROOM_KEY)),
                "sealed_repeat_key": material(secret.repeat_key(ROOM_KEY)),
            }
            for epoch, (how, secret) in enumerate(self.secrets, 1)
        ]
        room = self.room.id.hex()
        taken = hexes(self.room_random.taken)
        log = self.whole_log.hex()
        self.rooms.append({"room": room, "epochs": epochs, "log": log, "taken": taken})

    def crash(self, now: float) -> None:
        """The server dies, and is started anew."""
        self.end_room()
        for participant in self.people.values():
            participant.disconnect()
        self._open_room()
        self.note("crash", now)

    def join(self, now: float, name: str) -> int:
        fingerprint = hashlib.sha256(name.encode()).digest()
        member = self.room.join(name, fingerprint, now)
        if name not in self.people:
            self.random[name] = Recorded(f"member {name}")
            self.people[name] = Participant(self.random[name], name)
        self.members[member.id] = member
        self.participants[member.id] = self.people[name]
        first = self.people[name].first_control().encode().hex()
        who: Json = {"name": name, "fingerprint": fingerprint.hex(), "member": member.id}
        self.note("join", now, first=first, **who)
        return member.id

    def enter(self, now: float, name: str) -> int:
        """Join, and be let in at once."""
        member = self.join(now, name)
        self.tick(now)
        return member

    def leave(self, now: float, member: int, reason: Reason) -> None:
        self.room.leave(self.members[member], reason)
        self.note("leave", now, member=member, reason=int(reason))

    def tick(self, now: float) -> None:
        """What is due takes effect: a join, a leave, a CHECK."""
        self.note("tick", now, unicasts=[*self.room.tick(now), *self.room.tell_hash(now)])

    def operator_says(self, now: float, text: str) -> None:
        self.room.say(text)
        self.note("notice", now, text=text)

    def set_topic(self, now: float, since: int, text: str, motd: str) -> None:
        """The operator sets the topic. Newcomers are told it, and the message of the day."""
        greeting = Greeting(since, text, motd).encode()
        self.room.greeting = lambda: greeting
        self.room.set_topic(Topic(since, text))
        self.note("topic", now, since=since, text=text, motd=motd)

    def close(self, now: float) -> None:
        self.room.close()
        self.note("close", now)

    def say(self, now: float, member: int, text: str) -> list[bytes]:
        time_ms = int((WALL_CLOCK + now) * 1000)
        self.participants[member].say(text, time_ms)
        runs = self.participants[member].data_to_send()
        self.note("say", now, member=member, time_ms=time_ms, text=text, sends=hexes(runs))
        return runs

    def part(self, now: float, member: int, text: str) -> list[bytes]:
        """Say the last word."""
        time_ms = int((WALL_CLOCK + now) * 1000)
        self.participants[member].say_parting(text, time_ms)
        runs = self.participants[member].data_to_send()
        self.note("part", now, member=member, time_ms=time_ms, text=text, sends=hexes(runs))
        return runs

    def submit(self, now: float, member: int, runs: list[bytes]) -> None:
        for run in runs:
            before = self.room.messages
            unicasts = self.room.submit(self.members[member], run, now)
            accepted = self.room.messages - before
            whole = self.log.read(len(self.whole_log), self.log.end) == run
            rejected: Json = {} if whole else {"run": run.hex()}
            details = {"member": member, "accepted": accepted, **rejected}
            self.note("submit", now, unicasts=unicasts, **details)

    def read(self, now: float, member: int) -> list[bytes]:
        """The member reads its stream to the end. Returns what it sends because of that."""
        participant = self.participants[member]
        stream = list(self.stream(member))
        shown = [
            shown_as(shown)
            for item in stream
            for shown in receive(participant, item, self.whole_log, now)
        ]
        runs = participant.data_to_send()
        self.note("read", now, member=member, stream=stream, shown=shown, sends=hexes(runs))
        return runs

    def read_all(self, now: float, *members: int) -> None:
        """These read, have nothing to say, and are told the running hash."""
        self.tick(now)
        for member in members:
            assert self.read(now, member) == []

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
        self._learn_secret()
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

    def seen(self) -> Seen:
        """How far somebody has read who has read all."""
        check = decode_control(self.room.check())
        assert isinstance(check, Check)
        return Seen(check.offset, check.digest[: limits.SEEN_HASH_BYTES])


def hexes(runs: list[bytes]) -> list[str]:
    return [run.hex() for run in runs]


def delivered(unicast: Unicast) -> Json:
    return {
        "member": unicast.member.id,
        "at": unicast.at,
        "controls": hexes(list(unicast.controls)),
    }


def receive(participant: Participant, item: Json, log: bytes, now: float) -> list[ClientEvent]:
    """Give a participant one item of its stream."""
    if "cut" in item:
        participant.disconnect()
        return []
    participant.note_activity(now)
    if "control" in item:
        return participant.receive_control(decode_control(bytes.fromhex(item["control"])), now)
    data = log[slice(*item["log"])] if "log" in item else bytes.fromhex(item["frames"])
    return [
        shown
        for frame_type, run in FrameReader(65_535).feed(data)
        for shown in participant.receive_frames(frame_type, run)
    ]


def shown_as(shown: ClientEvent) -> Json:
    # This is the open room, none of these is private, and whose key it is stands in the roster.
    left_out = ("to", "fingerprint", "tag", "unproved")
    fields = [field for field in as_dict(shown).items() if field[0] not in left_out]
    return {
        "what": type(shown).__name__,
        **{name: list(value) if isinstance(value, tuple) else value for name, value in fields},
    }


def make_room() -> Json:
    scene = Scene()
    offences: list[Json] = []
    ira = scene.enter(0.0, "Ira")
    scene.read(0.0, ira)
    sahnawaz = scene.enter(1.0, "Sahnawaz")
    scene.read(1.0, ira)
    scene.read(1.0, sahnawaz)

    scene.submit(2.0, ira, scene.say(2.0, ira, "Hi"))
    scene.operator_says(2.0, "half an hour to go")
    scene.set_topic(2.0, int(WALL_CLOCK) + 2, "tea at four", "be kind\nand brief")
    scene.read_all(2.5, ira, sahnawaz)

    # Sealed before Zoë came and accepted after: it is not for her.
    early = scene.say(3.0, ira, "sealed before Zoë came")
    zoe = scene.join(3.0, "Zoë")
    offences += offence_before_welcome(scene)
    scene.tick(3.0)
    scene.submit(3.0, ira, early)
    scene.read(3.0, zoe)
    long = scene.say(3.5, zoe, "") + scene.say(3.5, zoe, "ß" * 150)
    scene.submit(3.5, zoe, [b"".join(long)])
    scene.read_all(4.0, ira, sahnawaz, zoe)

    # Sealed before Sahnawaz left: refused, and asked for again.
    late = scene.say(5.0, ira, "sealed before Sahnawaz left")
    scene.submit(5.0, sahnawaz, scene.part(5.0, sahnawaz, "so long"))
    scene.leave(5.0, sahnawaz, Reason.LEFT)
    scene.tick(5.0)
    scene.submit(5.5, ira, late)
    again = scene.read(5.5, ira)
    scene.submit(6.0, ira, again)
    scene.submit(6.0, ira, again)
    scene.read_all(17.0, ira, zoe)
    offences += offences_to_room(scene) + offences_to_participant(scene)

    offences += lose_and_resume(scene, ira, zoe)

    # A quarter of an hour later the secret is renewed, though nobody has left.
    scene.read_all(700.0, ira, zoe)
    scene.submit(701.0, zoe, scene.say(701.0, zoe, "still here"))
    scene.read_all(702.0, ira, zoe)

    # What only Ira has read is acknowledged, what Zoë says does not arrive. Then the server dies.
    scene.submit(703.0, ira, scene.say(703.0, ira, "said before the crash"))
    scene.read(703.0, ira)
    scene.say(703.0, zoe, "not acknowledged")
    scene.crash(704.0)
    come_back(scene)
    scene.end_room()
    return {
        "about": ABOUT_ROOM,
        "randomness": {
            "rooms": [room.pop("taken") for room in scene.rooms],
            "members": {name: hexes(recorded.taken) for name, recorded in scene.random.items()},
        },
        "rooms": scene.rooms,
        "repeats": repeats_in(scene),
        "steps": scene.steps,
        "must_fail": offences,
    }


def repeats_in(scene: Scene) -> list[Json]:
    """The bodies of the repeats in the second room, taken apart."""
    old, new = scene.rooms
    repeats = []
    offset = 0
    for frame_type, frame in frames_of(scene.whole_log):
        if frame_type == Message.TYPE:
            key = scene.secrets[int.from_bytes(frame[3:7], "big") - 1][1].message_key()
            content = MessageContent.decode(open_frame(key, frame))
            if content.kind is Kind.REPEAT:
                body = Repeat.decode(content.body)
                sealing = old["epochs"][body.epoch - 1]["repeat_key"]
                opens = SealingKey.from_bytes(bytes.fromhex(sealing))
                repeats.append(
                    {
                        "at": offset,
                        "room": body.room.hex(),
                        "epoch": body.epoch,
                        "sealed": body.sealed.hex(),
                        "key": sealing,
                        "associated": content.bound().hex(),
                        "plaintext": opens.open(content.bound(), body.sealed).hex(),
                    }
                )
        offset += len(frame)
    assert {repeat["room"] for repeat in repeats} == {old["room"]} != {new["room"]}
    return repeats


def lose_and_resume(scene: Scene, ira: int, zoe: int) -> list[Json]:
    """Zoë comes back to her place in the log; and later, when it is no longer there, to its end.
    Returns what she cannot come back with."""
    # Of two messages under way one has arrived, of which she does not hear; a third is typed while
    # she is away. Meanwhile the key is renewed, and steps.
    bo = scene.enter(18.0, "Bo")
    scene.read(18.0, zoe)
    offences = offences_to_room_later(scene)
    scene.submit(18.0, zoe, scene.say(18.0, zoe, "arrives, but she does not know"))
    scene.say(18.0, zoe, "does not arrive")
    scene.lose(18.0, zoe)
    scene.say(19.0, zoe, "said without a connection")
    scene.leave(19.0, bo, Reason.KICKED)
    scene.tick(19.0)
    cy = scene.enter(20.0, "Cy")
    scene.read(20.0, ira)
    scene.submit(20.0, ira, scene.say(20.0, ira, "Zoë?"))
    offences += bad_resumes(scene, zoe)
    scene.resume(21.0, zoe)
    scene.submit(21.0, zoe, scene.read(21.0, zoe))
    scene.read_all(22.0, ira, zoe)
    scene.leave(22.5, cy, Reason.LEFT)
    scene.tick(22.5)
    scene.read_all(23.0, ira, zoe)

    # In the middle of an epoch, which therefore ends with a JOINED that names nobody.
    scene.lose(24.0, zoe)
    for text in ("one", "two"):
        scene.submit(24.0, ira, scene.say(24.0, ira, text))
    scene.trim(24.0, scene.log.end)
    scene.resume(25.0, zoe)
    scene.submit(25.0, ira, scene.say(25.0, ira, "three"))
    scene.read_all(26.0, zoe, ira)
    return offences


def come_back(scene: Scene) -> None:
    """Three come to the new room, of whom one was not in the old one."""
    ira = scene.enter(705.0, "Ira")
    assert scene.read(705.0, ira) == []
    di = scene.enter(705.5, "Di")
    scene.read(705.5, di)
    # Now everybody is there whom the two knew.
    zoe = scene.enter(706.0, "Zoë")
    news = scene.read(706.0, zoe)
    repeats = scene.read(706.0, ira)
    scene.submit(706.0, ira, repeats)
    scene.submit(706.0, zoe, news)
    scene.read_all(707.0, ira, di, zoe)
    scene.close(708.0)
    scene.read_all(708.0, ira, di, zoe)


def bad_resumes(scene: Scene, member: int) -> list[Json]:
    """What does not bring a member back to its place, although it is waiting for it."""
    good = scene.participants[member].first_control()
    assert isinstance(good, Resume)
    right = scene.members[member].fingerprint
    present = next(iter(scene.members))
    welcomed_at = scene.members[member].welcomed_at
    before = welcomed_at - len(frames_of(scene.whole_log[:welcomed_at])[-1][1])

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
        attempt("welcome", "an offset inside a frame", replace(good, offset=good.offset + 9)),
        attempt("welcome", "the frame before the own welcome", replace(good, offset=before)),
        attempt("welcome", "the beginning of the log", replace(good, offset=0)),
        attempt("welcome", "an offset that is not there yet", replace(good, offset=2**40)),
        attempt("welcome", "an offset beyond all", replace(good, offset=2**64 - 1)),
        attempt("welcome", "an epoch to come", replace(good, epoch=99)),
        attempt("welcome", "an epoch before the member's own", replace(good, epoch=1)),
    ]


def room_offence(
    scene: Scene, now: float, member: int, outcome: str, check: str, what: str, run: bytes
) -> Json:
    """What a member says in a SUBMIT, to which a room answers nothing."""
    return {
        "what": what,
        "to": "room",
        "after": len(scene.steps),
        "now": now,
        "member": member,
        "run": run.hex(),
        "outcome": outcome,
        "check": check,
        "answer": [],
    }


def offence_before_welcome(scene: Scene) -> list[Json]:
    """What somebody says who has joined and is not welcomed yet."""
    newest = max(scene.members)
    run = Message(scene.room.epoch, newest, 1, bytes(128)).to_wire()
    return [room_offence(scene, 3.0, newest, "breach", "welcome", "before the welcome", run)]


def offences_to_room(scene: Scene) -> list[Json]:
    """What the first member could submit, at 17 s, when epoch 5 has begun with a leave."""
    ira, zoe = scene.members[1], scene.members[3]
    following = ira.seq + 1
    sealed = bytes(128)

    def message(epoch: int, seq: int, sender: Member = ira) -> bytes:
        return Message(epoch, sender.id, seq, sealed).to_wire()

    good = message(5, following)

    def breach(check: str, what: str, run: bytes, member: Member = ira) -> Json:
        return room_offence(scene, 17.0, member.id, "breach", check, what, run)

    def dropped(check: str, what: str, run: bytes, *answer: Control) -> Json:
        offence = room_offence(scene, 17.0, ira.id, "dropped", check, what, run)
        return {**offence, "answer": hexes([each.encode() for each in answer]), "then": good.hex()}

    event = Event(5, ira.id, following, sealed).to_wire()
    again = Resend(following)
    return [
        breach("sender", "a message in another's name", message(5, following, zoe)),
        breach("epoch", "an epoch to come", message(6, following)),
        breach("epoch", "an epoch before the member's own", message(3, 3, zoe), zoe),
        breach("frame", "no header", block(b"\x20")),
        breach("frame", "nothing sealed", Message(5, ira.id, following, b"").to_wire()),
        breach("frame", "half a header", good[:10]),
        breach("run", "the last byte is missing", good[:-1]),
        breach("run", "an EVENT", event),
        breach("run", "an EVENT of the server", Event(5, 0, 99, sealed).to_wire()),
        breach("run", "a LINK", block(b"\x10" + bytes(128))),
        dropped("number", "a repeat", message(5, ira.seq)),
        dropped("number", "a gap", message(5, following + 1), again),
        dropped("epoch", "an epoch before the last leave", message(4, following), again),
        dropped("epoch", "two of them", message(4, following) + message(4, following + 1), again),
    ]


def offences_to_room_later(scene: Scene) -> list[Json]:
    """The same member 11 s after a join has ended epoch 5, which is more than 10."""
    ira = scene.members[1]

    def message(epoch: int) -> bytes:
        return Message(epoch, ira.id, ira.seq + 1, bytes(128)).to_wire()

    what = "an epoch that a join has ended long ago"
    offence = room_offence(scene, 29.0, ira.id, "dropped", "epoch", what, message(5))
    answer = [Resend(ira.seq + 1).encode().hex()]
    return [{**offence, "answer": answer, "then": message(6).hex()}]


def flipped(data: bytes, at: int) -> bytes:
    """`data` with one bit flipped."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def running_hash(scene: Scene) -> RunningHash:
    """The hash of all that is in the log."""
    running = RunningHash.of_room(scene.room.id)
    for frame_type, frame in frames_of(scene.whole_log):
        running.update(frame)
        if frame_type == Event.TYPE:
            event_key = scene.secrets[int.from_bytes(frame[3:7], "big") - 1][1].event_key()
            if isinstance(decode_room_event(open_frame(event_key, frame)), Joined | Left):
                running.begin_epoch()
    return running


class Offences:
    """What the third member could receive at 17 s, in epoch 5, when nothing of its own is under
    way and a CHECK has covered all that it read. The first member sends, or somebody in its
    name."""

    def __init__(self, scene: Scene) -> None:
        self.after = len(scene.steps)
        self.ira, self.zoe = scene.members[1], scene.members[3]
        self.room, self.epoch, self.end = scene.room.id, scene.room.epoch, scene.log.end
        self.secret = scene.secrets[-1][1]
        self.events = sum(kind == Event.TYPE for kind, _ in frames_of(scene.whole_log))
        self.seq = self.ira.seq + 1
        self.seen = scene.seen()
        self.origin = scene.random["Ira"].taken[0]
        self.hash = running_hash(scene)
        self.random_bytes = FixedBytes("vectors/offences")
        self.true = self.message(self.seq)

    # -- what can be received

    def seal(self, header: bytes, sealing: SealingKey, content: bytes) -> bytes:
        return header + sealing.seal(header, content, self.random_bytes)

    def content(
        self, number: int, body: bytes = b"Hi", kind: Kind = Kind.SAY, seen: Seen | None = None
    ) -> MessageContent:
        """What the first member says; by default it has seen what is there."""
        return MessageContent(kind, 0, self.origin, number, body, seen or self.seen)

    def message(self, seq: int, content: bytes | None = None, sender: int = 1) -> bytes:
        content = self.content(seq).encode() if content is None else content
        header = room_header(Message.TYPE, self.epoch, sender, seq, sealed_bytes(len(content)))
        return self.seal(header, self.secret.message_key(), content)

    def event(
        self, content: RoomEvent | bytes, sender: int = 0, epoch: int = 0, ahead: int = 1
    ) -> bytes:
        data = content if isinstance(content, bytes) else content.encode()
        place = (epoch or self.epoch, sender, self.events + ahead, sealed_bytes(len(data)))
        return self.seal(room_header(Event.TYPE, *place), self.secret.event_key(), data)

    def check(self, *frames: bytes) -> Json:
        """The server's CHECK when it has written these."""
        running = self.hash.copy()
        running.update(b"".join(frames))
        return control(Check(self.end + len(b"".join(frames)), running.digest()))

    # -- what comes of it

    def offence(self, outcome: str, check: str, what: str, *stream: Json, **more: object) -> Json:
        return {
            "what": what,
            "to": "participant",
            "after": self.after,
            "now": 17.5,
            "member": self.zoe.id,
            "stream": list(stream),
            "shows": [],
            "outcome": outcome,
            "check": check,
            **more,
        }

    def resume(self, offset: int) -> str:
        return Resume(self.zoe.id, self.zoe.token, offset, self.epoch).encode().hex()

    def refused(self, check: str, what: str, *runs: bytes) -> Json:
        """Nothing of the run is taken, and the true frame is taken afterwards."""
        more = {"resume": self.resume(self.end), "then": self.true.hex()}
        return self.offence("refused", check, what, *map(frames, runs), **more)

    def distrusted(self, check: str, what: str, *stream: Json) -> Json:
        more = {"resume": self.resume(2**64 - 1)}
        return self.offence("distrusted", check, what, *stream, **more)

    def dropped(self, check: str, what: str, content: bytes, outcome: str = "dropped") -> Json:
        """The frame has used up its number, whatever is in it."""
        run, then = self.message(self.seq, content), self.message(self.seq + 1)
        return self.offence(outcome, check, what, frames(run), then=then.hex())

    def breach(self, what: str, unexpected: Control) -> Json:
        return self.offence("breach", "place", what, control(unexpected))

    # -- the offences

    def frames_that_cannot_be_there(self) -> list[Json]:
        true, seq, refused = self.true, self.seq, self.refused
        left = self.event(Left(((1, Reason.LEFT),)))
        far = Message(9, 1, seq, bytes(128)).to_wire()
        past = Message(self.epoch - 1, 1, seq, bytes(128)).to_wire()
        forged_header = room_header(Event.TYPE, self.epoch, 0, self.events + 1, sealed_bytes(1))
        forged = self.seal(forged_header, self.secret.message_key(), Closing().encode())
        relabelled = Event(self.epoch, 0, self.events + 1, true[ROOM_HEADER_BYTES:]).to_wire()
        closing = self.event(Closing())
        return [
            refused("number", "a message is left out", self.message(seq + 1)),
            refused("number", "a message comes again", self.message(seq - 1)),
            refused("number", "a bit of the number is flipped", flipped(true, 17)),
            refused("sender", "the sender is not in the room", self.message(1, sender=9)),
            refused("sender", "the sender has left", self.message(2, sender=2)),
            refused("sender", "a message of the server", self.message(1, sender=0)),
            refused("epoch", "an epoch to come", far),
            refused("epoch", "an epoch before the last leave", past),
            refused("own", "our own message, which we never sent", self.own()),
            refused("frame", "no header", block(b"\x20")),
            refused("header", "an event of a member", self.event(Closing(), sender=1)),
            refused("header", "an event of the last epoch", self.event(Closing(), epoch=4)),
            refused("header", "an event is left out", self.event(Closing(), ahead=2)),
            refused("header", "an event comes again", self.event(Closing(), ahead=0)),
            refused("header", "a bit of an event is flipped", flipped(closing, 50)),
            refused("header", "an event under the message key", forged),
            refused("header", "a message relabelled as an event", relabelled),
            # It is the true frame that cannot stand where a key was due.
            self.offence(
                "refused",
                "rekey",
                "no key follows a leave",
                frames(left),
                frames(true),
                resume=self.resume(self.end + len(left)),
            ),
        ]

    def own(self) -> bytes:
        return self.message(self.zoe.seq + 1, sender=self.zoe.id)

    def what_cannot_be_mended(self) -> list[Json]:
        joined = Joined((RosterEntry(self.ira.id, 0, "Ira", bytes(32)),))
        alike = Joined((RosterEntry(9, 0, "IRA", bytes(32)),))
        no_print = Joined((RosterEntry(9, 0, "Eve", bytes(31)),))
        bad = frames(self.message(self.seq + 1))
        events: list[tuple[str, str, RoomEvent | bytes]] = [
            ("content", "an unknown event", b"\x7f"),
            ("content", "a byte is left over", Closing().encode() + b"\0"),
            ("roster", "somebody joins who is in", joined),
            ("roster", "another key joins with a name that is taken", alike),
            ("roster", "a fingerprint of 31 bytes", no_print),
            ("roster", "a stranger leaves", Left(((9, Reason.LEFT),))),
            ("roster", "the participant itself leaves", Left(((3, Reason.LEFT),))),
            ("roster", "a stranger is lost", Lost(9)),
            ("roster", "a stranger is back", Back(9)),
        ]
        once_more = ({"cut": True}, control(Resumed()), bad)
        again = (bad, *limits.MAX_REFUSALS * once_more)
        return [
            *(
                self.distrusted(check, what, frames(self.event(event)))
                for check, what, event in events
            ),
            self.distrusted("number", "the same place is wrong again and again", *again),
        ]

    def what_is_dropped(self) -> list[Json]:
        seq = self.seq
        hi = self.content(seq).encode()
        long = self.content(seq, bytes(limits.MAX_TEXT_BYTES + 1)).encode()
        text = SealingKey.from_bytes(bytes(64)).seal(b"", b"Hi", self.random_bytes)
        repeats = {room: Repeat(room, self.epoch, text).encode() for room in (self.room, bytes(8))}
        cannot, absent = (self.content(seq, body, Kind.REPEAT) for body in repeats.values())
        torn = self.content(seq, self.room, Kind.REPEAT)
        then = self.message(seq + 1).hex()
        jump, back = self.content(seq + 1), self.content(seq - 1)
        return [
            *(
                self.offence("dropped", "seal", what, frames(flipped(self.true, at)), then=then)
                for what, at in (("a bit of the ciphertext", 50), ("a bit of the tag", -1))
            ),
            self.dropped("content", "not UTF-8", hi + b"\xff"),
            self.dropped("content", "the number is cut", hi[:23]),
            self.dropped("content", "`seen` is cut", hi[:48]),
            self.dropped("content", "a text of 16,385 bytes", long),
            self.dropped("kind", "the kind 0", b"\0" + hi[1:]),
            self.dropped("kind", "an unknown kind", b"\x7f" + hi[1:]),
            self.dropped("jump", "the number in the run jumps", jump.encode()),
            self.dropped("jump", "the number in the run stands still", back.encode()),
            self.dropped("repeat", "a repeat that does not open", cannot.encode()),
            self.dropped("content", "a repeat without an epoch", torn.encode()),
            self.dropped("repeat", "a repeat from a strange room", absent.encode(), "passed over"),
        ]

    def what_is_said(self) -> list[Json]:
        """What is taken, and comes to light by a hash."""
        seq, end, true = self.seq, self.end, self.true
        forged = self.message(seq, self.content(seq, b"Forged").encode())
        wrong = Check(end + len(true), bytes(32))
        elsewhere = Seen(end, bytes(limits.SEEN_HASH_BYTES))
        between = Seen(end - 1, self.seen.digest)
        short = control(Check(end, self.hash.digest()))
        left = self.event(Left(()))
        rekey = control(replace(REKEY, epoch=self.epoch + 1))
        entries = tuple(member.entry() for member in (self.ira, self.zoe))
        welcome = replace(WELCOME, room=self.room, member=3, token=self.zoe.token, members=2)
        back = {"resume": self.resume(end)}
        lost = Resume(self.zoe.id, self.zoe.token, 2**64 - 1, self.epoch + 1).encode().hex()

        def tampered(what: str, *stream: Json, **more: object) -> Json:
            return self.offence("tampered", "check", what, *stream, **{**back, **more})

        def split(what: str, seen: Seen) -> Json:
            run = self.message(seq, self.content(seq, seen=seen).encode())
            then = self.message(seq + 1).hex()
            return self.offence("split", "seen", what, frames(run), shows=["Hi"], then=then)

        return [
            tampered("CHECK with another hash", frames(true), control(wrong), shows=["Hi"]),
            self.offence(
                "gone",
                "check",
                "CHECK with another hash at the place of the last CHECK",
                control(Check(end, bytes(32))),
                resume=Ready().encode().hex(),
            ),
            tampered("a message is kept back", self.check(true), then=true.hex()),
            tampered("a message is added", frames(true), short, shows=["Hi"]),
            tampered(
                "another text is put in its place, with the room's keys",
                frames(forged),
                self.check(true),
                shows=["Forged"],
                then=true.hex(),
            ),
            tampered(
                "an epoch has ended since the last CHECK",
                frames(left),
                rekey,
                self.check(true, left),
                resume=lost,
            ),
            self.offence(
                "unvouched",
                "check",
                "WELCOME comes where CHECK was due",
                frames(true),
                {"cut": True},
                control(welcome),
                control(Roster(entries)),
                shows=["Hi"],
            ),
            split("its sender has seen another hash", elsewhere),
            split("its sender has seen the end of a frame where there is none", between),
        ]

    def controls_out_of_place(self) -> list[Json]:
        cut = {"cut": True}
        again = {"resume": self.resume(self.end), "then": self.true.hex()}
        early = (cut, frames(self.true))
        check = control(Check(self.end, self.hash.digest()))
        rekey = control(replace(REKEY, epoch=self.epoch + 1))
        return [
            self.offence("refused", "phase", "a message before RESUMED", *early, **again),
            self.offence("breach", "place", "CHECK before RESUMED", cut, check),
            self.offence("refused", "rekey", "a key that nobody waits for", rekey, **again),
            self.breach("a second welcome", WELCOME),
            self.breach("a roster out of turn", Roster(())),
            self.breach("RESUMED without a RESUME", Resumed()),
            self.breach("READY from the server", Ready()),
            self.breach("SUBMIT from the server", Submit(self.true)),
            self.breach("PING from the server", Ping()),
        ]

    def welcomes_that_make_no_sense(self) -> list[Json]:
        ira, zoe = self.ira.entry(), self.zoe.entry()
        welcome = replace(WELCOME, room=self.room, member=3, token=self.zoe.token, members=2)
        scripts: list[tuple[str, list[Control]]] = [
            ("the number 0", [replace(welcome, member=0)]),
            ("a room without members", [replace(welcome, members=0)]),
            ("a room of 10,001 members", [replace(welcome, members=10_001)]),
            ("more members than it said", [welcome, Roster((ira, zoe, replace(ira, id=4)))]),
            ("a member twice", [welcome, Roster((ira,)), Roster((ira,))]),
            ("a member with the number 0", [welcome, Roster((ira, replace(zoe, id=0)))]),
            ("the participant is missing", [welcome, Roster((ira, replace(zoe, id=4)))]),
            ("it has another name itself", [welcome, Roster((ira, replace(zoe, name="Eve")))]),
            ("more messages than it has sent", [welcome, Roster((ira, replace(zoe, seq=99)))]),
        ]
        return [
            self.offence("breach", "welcome", what, {"cut": True}, *map(control, script))
            for what, script in scripts
        ]


def frames(run: bytes) -> Json:
    return {"frames": run.hex()}


def control(message: Control) -> Json:
    return {"control": message.encode().hex()}


def offences_to_participant(scene: Scene) -> list[Json]:
    offences = Offences(scene)
    return [
        *offences.frames_that_cannot_be_there(),
        *offences.what_cannot_be_mended(),
        *offences.what_is_dropped(),
        *offences.what_is_said(),
        *offences.controls_out_of_place(),
        *offences.welcomes_that_make_no_sense(),
    ]


# -- private messages --------------------------------------------------------------------------

ABOUT_DIRECT = [
    "The bodies of direct messages. All bytes are in hex. Two connections of Ira, two of Boris and "
    "one of Thea are in, in the open room or in the sealed one of `room_key`.",
    "connections: each with the name and the fingerprint of its person, and its X25519 pair.",
    "messages: what Ira's first connection says to Boris. randomness: what it takes from its "
    "source, in this order. wraps: for whom each is, in the order in which they are made, with the "
    "pair key and what the wrap is bound to. sealed: the text under the text key.",
    "must_fail: a message that the connection `from` sends is not shown by the connection `to`. "
    "passed over: it is for somebody else. dropped: the user is told why, because of `check`. "
    "Where a scenario has `share`, that is the sender's in the roster; unproved: its proof is "
    "wrong.",
]
TEXT_FOR_BORIS = DirectText("Boris", hashlib.sha256(b"Boris").digest(), "Psst")


class Reader:
    """A connection of somebody, and how all have it in their rosters."""

    def __init__(self, name: str, number: int) -> None:
        self.title = f"{name} {number}"
        self.private = FixedBytes(f"vectors/share {self.title}")(limits.X25519_BYTES)
        self.share = kex.KeyShare(lambda _: self.private)
        digest = hashlib.sha256(name.encode()).digest()
        self.entry = Peer(name, 0, digest, card=Card(self.share.public), proved=True)

    def direct(
        self, room_key: kex.RoomKey | None, random_bytes: RandomBytes = bytes
    ) -> DirectMessages:
        return DirectMessages(self.share, room_key, random_bytes)


def readers() -> dict[str, Reader]:
    made = [Reader(*who) for who in (("Ira", 1), ("Ira", 2), ("Boris", 1), ("Boris", 2))]
    return {reader.title: reader for reader in (*made, Reader("Thea", 1))}


def room_key_of(room: str) -> kex.RoomKey | None:
    return ROOM_KEY if room == "sealed" else None


def private_message(room: str, number: int, text: str) -> Json:
    people, recorded = readers(), Recorded(f"direct {room}")
    said = MessageContent(Kind.DIRECT, 1_700_000_000_000, bytes(range(8)), number, b"")
    peers = roster_of(*(each.entry for each in people.values()))
    ira, room_key = people["Ira 1"], room_key_of(room)
    meant = peers.of_person(*people["Boris 1"].entry.person)
    body = ira.direct(room_key, recorded).seal(said, ira.entry, peers, meant, text)
    to = ("Ira 1", "Ira 2", "Boris 1", "Boris 2")
    lacking = limits.DIRECT_WRAPS - len(to)
    inside = replace(TEXT_FOR_BORIS, text=text).encode()
    return {
        "room": room,
        **numbers_of(said),
        "text": text,
        "randomness": recorded.labelled(
            "text key",
            *(f"IV of the wrap for {who}" for who in to),
            *(f"wrap {number} for nobody" for number in range(1, lacking + 1)),
            "IV of the text",
        ),
        "wraps": [wrap_for(people[who], ira, said, room_key) for who in to],
        "sealed": {"associated": (said.bound() + b"\x02").hex(), "plaintext": inside.hex()},
        "body": body.hex(),
    }


def numbers_of(said: MessageContent) -> Json:
    return {"time": said.time_ms, "origin": said.origin.hex(), "number": said.number}


def wrap_for(
    reader: Reader, sender: Reader, said: MessageContent, room_key: kex.RoomKey | None
) -> Json:
    pair = kex.direct_key(sender.share, reader.share.public, room_key, sending=True)
    bound = said.bound() + b"\x01" + sender.entry.fingerprint + reader.entry.fingerprint
    return {"for": reader.title, "pair_key": material(pair), "associated": bound.hex()}


def bad_private_messages(good: Json) -> Iterator[Json]:
    """What Boris's first connection does not show, of what passes for Ira's or Thea's."""
    body = bytes.fromhex(good["body"])
    wraps_end = limits.DIRECT_WRAPS * limits.DIRECT_WRAP_BYTES
    at = body.index(wrap_in(good, "Boris 1"))

    def bad(outcome: str, check: str, what: str, body: bytes = body, **more: Any) -> Json:
        numbers = {name: good[name] for name in ("time", "origin", "number")}
        who = {"from": "Ira 1", "to": "Boris 1"}
        ends = {"outcome": outcome, "check": check}
        return {
            "what": what,
            "room": good["room"],
            **who,
            **numbers,
            **ends,
            "body": body.hex(),
        } | (more)

    def made(check: str, what: str, inside: bytes, key: bytes = bytes(64)) -> Json:
        return bad("dropped", check, what, body_by_hand(good, inside, key))

    inside = TEXT_FOR_BORIS
    thea: Json = {"from": "Thea 1"}
    yield bad("dropped", "frame", "a byte of the last wrap is missing", body[: wraps_end - 1])
    yield bad("dropped", "seal", "nothing behind the wraps", body[:wraps_end])
    yield bad("dropped", "seal", "the last byte is missing", body[:-1])
    yield bad("dropped", "seal", "a bit of the text is flipped", flipped(body, wraps_end + 20))
    yield made("seal", "a text key of 63 bytes", inside.encode(), bytes(63))
    yield made("meant", "it names Thea", replace(inside, name="Thea").encode())
    other_key = replace(inside, fingerprint=hashlib.sha256(b"Thea").digest())
    yield made("meant", "it names a Boris with another key", other_key.encode())
    yield made("content", "not UTF-8", inside.encode() + b"\xff")
    yield made("content", "a text of 16,385 bytes", inside.encode() + bytes(limits.MAX_TEXT_BYTES))
    yield made("frame", "half a fingerprint", inside.encode()[:20])
    yield bad("passed over", "wrap", "a bit of the wrap is flipped", flipped(body, at + 20))
    yield bad("passed over", "wrap", "its number is another", number=good["number"] + 1)
    yield bad("passed over", "wrap", "Thea says the same bytes", **thea)
    copied = {**thea, "share": readers()["Ira 1"].share.public.hex()}
    yield bad("passed over", "wrap", "Thea says them, and shows Ira's share", **copied)
    yield bad("passed over", "wrap", "it is for Thea", to="Thea 1")
    yield bad("passed over", "share", "the share is of low order", share=bytes(32).hex())


def wrap_in(good: Json, who: str) -> bytes:
    """How the wrap for this connection begins, which is with its IV."""
    (found,) = [each["bytes"] for each in good["randomness"] if each["for"].endswith(f"for {who}")]
    return bytes.fromhex(found)


def body_by_hand(good: Json, inside: bytes, key: bytes) -> bytes:
    """A body that opens for Boris's first connection, whatever is inside."""
    random_bytes = FixedBytes("vectors/by hand")
    (wrap,) = [each for each in good["wraps"] if each["for"] == "Boris 1"]
    pair = SealingKey.from_bytes(bytes.fromhex(wrap["pair_key"]))
    wraps = [pair.seal(bytes.fromhex(wrap["associated"]), key, random_bytes)]
    wraps += [random_bytes(limits.DIRECT_WRAP_BYTES) for _ in range(limits.DIRECT_WRAPS - 1)]
    bound = bytes.fromhex(good["sealed"]["associated"])
    sealed = SealingKey.from_bytes(bytes(64)).seal(bound, inside, random_bytes)
    return Direct(tuple(sorted(wraps)), sealed).encode()


def make_direct() -> Json:
    open_room, sealed_room = private_message("open", 7, "Psst"), private_message("sealed", 8, "ß")
    unproved = {"what": "who says it has not proved to have the room key", "unproved": True}
    (told,) = [
        each for each in bad_private_messages(sealed_room) if each["what"] == "it is for Thea"
    ]
    return {
        "about": ABOUT_DIRECT,
        "room_key": ROOM_KEY.secret.hex(),
        "connections": [
            {
                "connection": reader.title,
                "name": reader.entry.name,
                "fingerprint": reader.entry.fingerprint.hex(),
                "private": reader.private.hex(),
                "share": reader.share.public.hex(),
            }
            for reader in readers().values()
        ],
        "messages": [open_room, sealed_room],
        "must_fail": [
            *bad_private_messages(open_room),
            {**told, **unproved, "to": "Boris 1"},
            {**told, "what": "it was said with another room key", "room": "open", "to": "Boris 1"},
        ],
    }


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
    first = room["rooms"][0]
    first_of_type = dict(reversed(frames_of(bytes.fromhex(first["log"]))))
    for name, frame_type in (("MESSAGE", Message.TYPE), ("EVENT", Event.TYPE)):
        data = first_of_type[frame_type]
        epoch = first["epochs"][int.from_bytes(data[3:7], "big") - 1]
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

MAKERS: dict[str, Callable[[], Json]] = {
    "handshake": make_handshake,
    "room": make_room,
    "direct": make_direct,
}


def one_by_one(
    key: SealingKey, plaintexts: Sequence[tuple[bytes, bytes]], random_bytes: RandomBytes
) -> list[bytes]:
    """In place of `seal_all`: then each IV is what was taken of the randomness, and another
    implementation can make the same bytes without our way to make many at once."""
    return [key.seal(*each, random_bytes) for each in plaintexts]


def text_of(name: str) -> str:
    """What the file of this name should hold: a line for each frame, step or scenario."""
    parts = []
    with mock.patch.object(SealingKey, "seal_all", one_by_one):
        made = MAKERS[name]()
    for title, content in made.items():
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
