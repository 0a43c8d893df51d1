"""The files in `tests/vectors` against the program, and against a second implementation by hand.

The program must make exactly these bytes of the same randomness, must take them, and must refuse
what is listed as bad at the stage and for the check that the file names.
"""

import base64
import hashlib
import hmac
import json
import re
from functools import cache

import pytest
from Cryptodome.Cipher import AES, PKCS1_OAEP
from Cryptodome.Hash import SHA256
from Cryptodome.PublicKey import RSA
from Cryptodome.Signature import pss

from chat.client.events import ClientEvent, FrameRefused, LogGone, MessageReceived, Tampered, Warned
from chat.contents import DirectText, Kind, MessageContent
from chat.controls import CONTROLS, Bye, Check, Ready, Resume, Resumed, Welcome, decode_control
from chat.errors import ProtocolError, Reason
from chat.identities import Card, ClientIdentity
from chat.kex import PrivateKey
from chat.roomevents import ROOM_EVENTS
from chat.server.room import Unicast
from chat.session import (
    ClientSession,
    ControlReceived,
    Ended,
    Established,
    HelloReceived,
    ServerSession,
    SubmitReceived,
)
from chat.wire import Event, Link, Message, Refused, block, decode_frame
from tests.make_vectors import (
    MAKERS,
    VECTORS,
    Ends,
    Json,
    Scene,
    readers,
    receive,
    room_key_of,
    text_of,
)
from tests.support.cheap_keys import derive
from tests.support.helpers import frames_of
from tests.test_cipher import padme


def load(name: str) -> Json:
    vectors: Json = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return vectors


HANDSHAKE, ROOM, DIRECT = load("handshake"), load("room"), load("direct")
LOGS = [bytes.fromhex(room["log"]) for room in ROOM["rooms"]]


def ids(scenarios: list[Json]) -> list[str]:
    return [f"{scenario['to']}: {scenario['what']}" for scenario in scenarios]


@pytest.mark.parametrize("name", MAKERS)
def test_file_is_what_the_maker_writes(name: str) -> None:
    assert (VECTORS / f"{name}.json").read_text(encoding="utf-8") == text_of(name)


# -- a second implementation of the primitives, by hand ----------------------------------------


def open_by_hand(material: bytes, associated: bytes, sealed: bytes) -> bytes:
    """The padded plaintext: MAC first, then CFB built of the bare block cipher."""
    iv, ciphertext, tag = sealed[:16], sealed[16:-16], sealed[-16:]
    covered = len(associated).to_bytes(8, "big") + associated + iv + ciphertext
    assert hmac.digest(material[32:], covered, "sha256")[:16] == tag
    cipher = AES.new(material[:32], AES.MODE_ECB)
    padded = b""
    last = iv
    for start in range(0, len(ciphertext), 16):
        block = ciphertext[start : start + 16]
        padded += bytes(a ^ b for a, b in zip(block, cipher.encrypt(last), strict=False))
        last = block
    return padded


def x25519(private: bytes, public: bytes) -> bytes:
    """RFC 7748, section 5, as it stands there; far too slow and too talkative for real use."""
    prime = 2**255 - 19
    scalar = int.from_bytes(private, "little") & ~(7 | 128 << 8 * 31) | 64 << 8 * 31
    u = int.from_bytes(public, "little") & (2**255 - 1)
    x_2, z_2, x_3, z_3, swap = 1, 0, u, 1, 0
    for bit in range(254, -1, -1):
        if swap ^ (scalar >> bit & 1):
            x_2, z_2, x_3, z_3 = x_3, z_3, x_2, z_2
        swap = scalar >> bit & 1
        a, b, c, d = x_2 + z_2, x_2 - z_2, x_3 + z_3, x_3 - z_3
        aa, bb, da, cb = a * a, b * b, d * a, c * b
        x_3, z_3 = (da + cb) ** 2 % prime, u * (da - cb) ** 2 % prime
        x_2, z_2 = aa * bb % prime, (aa - bb) * (aa + 121_665 * (aa - bb)) % prime
    if swap:
        x_2, z_2 = x_3, z_3
    return (x_2 * pow(z_2, prime - 2, prime) % prime).to_bytes(32, "little")


BASE_POINT = (9).to_bytes(32, "little")


def derived(name: str) -> bytes:
    return bytes.fromhex(HANDSHAKE["derived"][name])


@cache
def key(name: str) -> PrivateKey:
    return PrivateKey.from_rsa(RSA.import_key(HANDSHAKE["keys"][name]["pem"]))


def taken(end: str, use: str) -> bytes:
    """The random bytes that an end took for this use."""
    (found,) = [
        bytes.fromhex(each["bytes"]) for each in HANDSHAKE["randomness"][end] if each["for"] == use
    ]
    return found


def frame(name: str) -> bytes:
    (found,) = [each["bytes"] for each in HANDSHAKE["frames"] if each["frame"] == name]
    return bytes.fromhex(found)


def test_key_schedule_of_the_handshake_by_hand() -> None:
    server_private = taken("offer", "X25519 private key")
    client_private = taken("client", "X25519 private key")
    assert x25519(server_private, BASE_POINT) == derived("server_share")
    assert x25519(client_private, BASE_POINT) == derived("client_share")
    assert x25519(server_private, derived("client_share")) == derived("shared")
    assert x25519(client_private, derived("server_share")) == derived("shared")
    hello, pubkey, answer = frame("HELLO"), frame("PUBKEY"), frame("SESSION_KEY")
    assert hashlib.sha256(hello + derived("client_share")).digest() == derived("h0")
    assert hashlib.sha256(hello + pubkey + answer).digest() == derived("h1")
    assert taken("server", "session key") == derived("session_key")
    first, second = derived("shared"), derived("shared") + derived("session_key")
    for name, material, salt, label in (
        ("k_c0", first, "h0", b"chat/1 handshake client to server"),
        ("k_s0", first, "h0", b"chat/1 handshake server to client"),
        ("k_c1", second, "h1", b"chat/1 link client to server"),
        ("k_s1", second, "h1", b"chat/1 link server to client"),
    ):
        assert derive(material, derived(salt), label, 64) == derived(name)
    assert derive(derived("k_s1"), b"", b"chat/1 link next", 64) == derived("k_s1_next")


def test_tag_and_proof_of_a_sealed_room_by_hand() -> None:
    room_key, server = derived("room_key"), hashlib.sha256(key("server").public.blob).digest()
    share = x25519(taken("client", "X25519 private key of the card"), BASE_POINT)
    assert share == derived("card_share")
    tag = derive(room_key, server, b"chat/1 room tag", 16)
    assert tag == derived("room_tag")
    name, ira = HANDSHAKE["name"].encode(), hashlib.sha256(key("ira").public.blob).digest()
    covered = tag + len(name).to_bytes(2, "big") + name + ira + share + b"\0"
    proof_key = derive(room_key, b"", b"chat/1 member", 32)
    assert hmac.digest(proof_key, covered, "sha256")[:16] == derived("room_proof")


SEALED = [each for each in HANDSHAKE["frames"] if "sealed" in each]


@pytest.mark.parametrize("each", SEALED, ids=[each["frame"] for each in SEALED])
def test_sealed_frame_opens_by_hand(each: Json) -> None:
    data, inside = bytes.fromhex(each["bytes"]), each["sealed"]
    sealed = data[35:] if each["frame"].startswith("PUBKEY") else data[3:]
    assert len(data) == 2 + int.from_bytes(data[:2], "big")
    assert data[2] == bytes.fromhex(inside["associated"])[0]
    name = each.get("instead_of", each["frame"])
    assert sealed[:16] == taken(each["from"], f"IV of {name}")
    padded = open_by_hand(derived(inside["key"]), bytes.fromhex(inside["associated"]), sealed)
    plaintext = bytes.fromhex(inside["plaintext"])
    assert len(padded) == padme(max(len(plaintext) + 1, 96))
    assert padded == plaintext + b"\x80" + bytes(len(padded) - len(plaintext) - 1)


def test_signature_and_wrapping_by_hand() -> None:
    hello = frame("HELLO")
    signed = (
        b"chat/1 server share" + derived("server_share") + HANDSHAKE["not_after"].to_bytes(8, "big")
    )
    server = key("server").rsa
    signature = hello[-server.size_in_bytes() :]
    pss.new(server.public_key()).verify(SHA256.new(signed), signature)
    salt = taken("offer", "PSS salt")
    assert pss.new(server, rand_func=lambda _: salt).sign(SHA256.new(signed)) == signature
    (answer,) = [each for each in SEALED if each["frame"] == "SESSION_KEY"]
    wrapped = bytes.fromhex(answer["sealed"]["plaintext"])
    assert PKCS1_OAEP.new(key("ira").rsa, hashAlgo=SHA256).decrypt(wrapped) == derived(
        "session_key"
    )


@pytest.mark.parametrize("name", HANDSHAKE["keys"])
def test_fingerprint_is_the_hash_of_the_blob(name: str) -> None:
    pair = HANDSHAKE["keys"][name]
    blob = key(name).public.blob
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode()
    assert pair["blob"] == blob.hex()
    assert pair["fingerprint"] == "SHA256:" + digest.rstrip("=")


# -- the handshake -----------------------------------------------------------------------------


def plaintext_of(name: str) -> bytes:
    (found,) = [each["sealed"]["plaintext"] for each in SEALED if each["frame"] == name]
    return bytes.fromhex(found)


def test_recorded_frames_are_taken_for_what_they_are() -> None:
    ends = Ends(Ready())
    identity = ClientIdentity.decode(plaintext_of("PUBKEY"))
    for each in HANDSHAKE["frames"]:
        if "instead_of" not in each:
            to = "client" if each["from"] == "server" else "server"
            events = ends.receive(to, bytes.fromhex(each["bytes"]))
            ends.of(to).data_to_send()
            match each["frame"]:
                case "HELLO":
                    assert events == [HelloReceived(key("server").public)]
                case "SESSION_KEY":
                    assert events == [Established(identity, key("ira").public, None)]
                case "READY":
                    (at_server,) = events
                    assert isinstance(at_server, Established)
                    assert at_server.identity == identity
                case "BYE":
                    assert events == [Ended(Reason.LEFT, "so long", by_peer=True)]
                case "PUBKEY" | "PONG":
                    assert events == []
                case "SUBMIT":
                    assert events == [SubmitReceived(plaintext_of("SUBMIT")[1:])]
                case name:
                    assert events == [ControlReceived(decode_control(plaintext_of(name)))]


HANDSHAKE_CHECKS = {
    "signature": "the server's signature is not valid",
    "expiry": "what the server signed is not valid now",
    "key": "an RSA key .* is not taken|the public key",
    "version": "the server speaks 'chat/0'",
    "frame": "left-over bytes|too short for its fields|an empty frame|is too long|unknown frame",
    "reason": "unknown reason",
    "place": "is out of place in",
    "seal": "a sealed frame does not open",
    # The peer must not be able to tell the two apart.
    "unwrap": "a sealed frame does not open",
    "share": "the X25519 share cannot be used",
    "content": "left-over bytes|too short for its fields|a text is not UTF-8|unknown control"
    "|a tag without a proof|a flag that is not known",
    "first": "the first control message is neither READY nor RESUME",
}


def received(receive: Json) -> bytes:
    """The bytes that `receive` of a scenario stands for."""
    if "bytes" in receive:
        return bytes.fromhex(receive["bytes"])
    data = bytearray(frame(receive["frame"]))
    if "flip" in receive:
        data[receive["flip"]] ^= 1
        return bytes(data)
    body = bytes(data[2 : len(data) - receive.get("cut", 0)])
    return block(body + bytes.fromhex(receive.get("add", "")))


@pytest.mark.parametrize("bad", HANDSHAKE["must_fail"], ids=ids(HANDSHAKE["must_fail"]))
def test_bad_handshake_fails_at_its_stage(bad: Json) -> None:
    ends = Ends(Ready())
    session = ends.of(bad["to"])
    for name in bad["given"]:
        ends.receive(bad["to"], frame(name))
    session.data_to_send()
    assert session.state.name == bad["stage"]
    (ended,) = session.receive(received(bad["receive"]), 0.0)
    assert isinstance(ended, Ended)
    reason = Reason[bad.get("reason", "PROTOCOL")]
    assert (ended.reason, ended.by_peer) == (reason, False)
    assert re.search(HANDSHAKE_CHECKS[bad["check"]], ended.text)
    answer = session.data_to_send()
    if bad["stage"] in ("SEND_SESSION_KEY", "RELAY"):
        direction = "k_s1" if bad["to"] == "server" else "k_c1"
        sent = 0 if bad["to"] == "server" else 1
        bound = bytes((Link.TYPE, *sent.to_bytes(8, "big")))
        said = Bye(reason, ended.text).encode()
        assert open_by_hand(derived(direction), bound, answer[3:]).startswith(said + b"\x80")
    elif bad["to"] == "server":
        assert decode_frame(answer) == Refused(reason, ended.text)
    else:
        assert (answer, "reason" in bad) == (b"", False)


def test_every_check_of_the_handshake_is_among_the_bad_ones() -> None:
    assert {bad["check"] for bad in HANDSHAKE["must_fail"]} == set(HANDSHAKE_CHECKS)
    stages = {(bad["to"], bad["stage"]) for bad in HANDSHAKE["must_fail"]}
    entries = [("server", state.name) for state, _ in ServerSession.TRANSITIONS]
    entries += [("client", state.name) for state, _ in ClientSession.TRANSITIONS]
    # AWAIT_TRUST waits for a person, not for the peer.
    assert stages == {entry for entry in entries if entry[1] != "AWAIT_TRUST"}


def test_every_control_message_is_among_the_frames() -> None:
    inside = [plaintext_of(each["frame"]) for each in SEALED if each["bytes"][4:6] == "10"]
    assert {decode_control(plaintext).TYPE for plaintext in inside} == set(CONTROLS)


# -- the room ----------------------------------------------------------------------------------


def replayed(count: int) -> Scene:
    """The scene after so many steps, each of which came out as it was recorded."""
    scene, steps = Scene(), ROOM["steps"][:count]
    for step in steps:
        now, member = step["now"], step.get("member", 0)
        match step["do"]:
            case "join":
                scene.join(now, step["name"])
            case "leave":
                scene.leave(now, member, Reason(step["reason"]))
            case "notice":
                scene.operator_says(now, step["text"])
            case "part":
                scene.part(now, member, step["text"])
            case "topic":
                scene.set_topic(now, step["since"], step["text"], step["motd"])
            case "say":
                scene.say(now, member, step["text"])
            case "submit":
                log = LOGS[len(scene.rooms)]
                run = bytes.fromhex(step["run"]) if "run" in step else log[slice(*step["log"])]
                scene.submit(now, member, [run])
            case "trim":
                scene.trim(now, step["start"])
            case "read" | "lose" | "resume":
                getattr(scene, step["do"])(now, member)
            case "tick" | "crash" | "close":
                getattr(scene, step["do"])(now)
    assert scene.steps == steps
    assert LOGS[len(scene.rooms)].startswith(scene.whole_log)
    return scene


ROOMS = pytest.mark.parametrize("number", range(len(ROOM["rooms"])))


@ROOMS
def test_keys_of_the_epochs_by_hand(number: int) -> None:
    fresh = [each for each in ROOM["randomness"]["rooms"][number] if len(each) == 64]
    secret = b""
    for count, epoch in enumerate(ROOM["rooms"][number]["epochs"], 1):
        assert epoch["epoch"] == count
        if epoch["how"] == "step":
            secret = derive(secret, b"", b"chat/1 room step", 32)
        else:
            secret = bytes.fromhex(fresh.pop(0))
        assert secret.hex() == epoch["secret"]
        for key_name in ("message", "event", "repeat"):
            label = f"chat/1 room {key_name}".encode()
            assert derive(secret, b"", label, 64).hex() == epoch[f"{key_name}_key"]
        for key_name in ("message", "repeat"):
            label = f"chat/1 sealed {key_name}".encode()
            both = secret + derived("room_key")
            assert derive(both, b"", label, 64).hex() == epoch[f"sealed_{key_name}_key"]
    assert fresh == []


def opened_by_hand(number: int, frame: bytes, which: str) -> bytes:
    """What is sealed in a frame of the log of a room."""
    epoch = int.from_bytes(frame[3:7], "big")
    material = bytes.fromhex(ROOM["rooms"][number]["epochs"][epoch - 1][which])
    padded = open_by_hand(material, frame[:19], frame[19:])
    assert padded.rstrip(b"\0").endswith(b"\x80")
    return padded.rstrip(b"\0")[:-1]


def repeated_by_hand(content: bytes, repeat: Json) -> str:
    """The text in a message of the kind *repeat*, which is listed as this one."""
    old = ROOM["rooms"][0]
    assert repeat["key"] == old["epochs"][repeat["epoch"] - 1]["repeat_key"]
    head = old["room"] + repeat["epoch"].to_bytes(4, "big").hex()
    assert content[49:].hex() == head + repeat["sealed"]
    assert content[1:25].hex() == repeat["associated"]
    padded = open_by_hand(bytes.fromhex(repeat["key"]), content[1:25], content[61:])
    assert padded.rstrip(b"\0")[:-1].hex() == repeat["plaintext"]
    return bytes.fromhex(repeat["plaintext"]).decode()


def test_frames_of_the_log_open_by_hand() -> None:
    said: list[str] = []
    repeated: list[str] = []
    happened = set()
    for number, log in enumerate(LOGS):
        for frame_type, frame in frames_of(log):
            if frame_type == Event.TYPE:
                assert frame[7:11] == bytes(4)
                happened.add(opened_by_hand(number, frame, "event_key")[0])
                continue
            assert frame_type == Message.TYPE
            content = opened_by_hand(number, frame, "message_key")
            if content[0] in (Kind.SAY, Kind.PARTING):
                said.append(content[49:].decode())
            else:
                assert content[0] == 2
                repeated.append(repeated_by_hand(content, ROOM["repeats"][len(repeated)]))
    assert happened == set(ROOM_EVENTS)
    assert sorted(said) == sorted(
        step["text"] for step in ROOM["steps"] if step["do"] in ("say", "part")
    )
    assert "said before the crash" in repeated
    assert len(repeated) == len(ROOM["repeats"])
    assert set(repeated) < set(said)


def hashes_by_hand(number: int) -> dict[int, bytes]:
    """The running hash at the beginning of a room, and at the end of each of its frames."""
    base = hashlib.sha256(
        b"chat/1 room log" + bytes.fromhex(ROOM["rooms"][number]["room"])
    ).digest()
    epoch, offset, hashes = b"", 0, {0: base}
    for frame_type, frame in frames_of(LOGS[number]):
        epoch += frame
        offset += len(frame)
        hashes[offset] = hashlib.sha256(base + hashlib.sha256(epoch).digest()).digest()
        # 1 and 2, joined and left, end an epoch.
        if frame_type == Event.TYPE and opened_by_hand(number, frame, "event_key")[0] in (1, 2):
            base, epoch = hashes[offset], b""
    return hashes


@ROOMS
def test_running_hash_by_hand(number: int) -> None:
    """In each CHECK, in each WELCOME, and in what each message has seen."""
    hashes = hashes_by_hand(number)
    crash = next(at for at, step in enumerate(ROOM["steps"]) if step["do"] == "crash")
    steps = ROOM["steps"][crash:] if number else ROOM["steps"][:crash]
    kinds = set()
    for step in steps:
        for delivery in step.get("deliveries", ()):
            for control in map(bytes.fromhex, delivery["controls"]):
                message = decode_control(control)
                kinds.add(type(message))
                if isinstance(message, Check):
                    assert message.offset == delivery["at"]
                    assert message.digest == hashes[message.offset]
                elif isinstance(message, Welcome):
                    assert message.base == hashes[message.offset]
    assert {Check, Welcome} <= kinds
    for frame_type, frame in frames_of(LOGS[number]):
        if frame_type == Message.TYPE:
            content = opened_by_hand(number, frame, "message_key")
            assert hashes[int.from_bytes(content[25:33], "big")][:16] == content[33:49]


def test_what_the_story_is_to_show_is_in_it() -> None:
    """A second implementation meets everything that happens seldom."""
    shown = {event["what"] for step in ROOM["steps"] for event in step.get("shown", ())}
    assert {
        "MessageNotForUs",
        "Reconnected",
        "Tampered",
        "MemberLost",
        "RoomClosed",
        "TopicSet",
    } <= shown
    nobody = [
        opened_by_hand(0, frame, "event_key")
        for frame_type, frame in frames_of(LOGS[0])
        if frame_type == Event.TYPE
    ]
    # A joined and a left that name nobody.
    assert {b"\x01", b"\x02"} <= set(nobody)


ROOM_CHECKS = {
    ("breach", "welcome"): "a message before the welcome",
    ("breach", "sender"): "a message in another member's name",
    ("breach", "epoch"): "a message under a key that",
    ("breach", "frame"): "a frame is too short for its fields",
    ("breach", "run"): "a run of frames has something else in it",
}
PARTICIPANT_CHECKS = {
    ("refused", "number"): "cannot have passed on here",
    ("refused", "sender"): "cannot have passed on here",
    ("refused", "epoch"): "cannot have passed on here",
    ("refused", "own"): "not as we sent it",
    ("refused", "frame"): "a frame is too short for its fields",
    ("refused", "header"): "cannot have told here",
    ("refused", "rekey"): "where a new key was due|where none was due",
    ("distrusted", "content"): "unknown event|left-over bytes",
    (
        "distrusted",
        "roster",
    ): "in the room twice|of different keys|somebody who is not here|a fingerprint that is none",
    ("distrusted", "number"): "cannot have passed on here",
    ("dropped", "seal"): "could not be opened",
    ("dropped", "content"): "a text is not UTF-8|too short for its fields|too long",
    ("dropped", "kind"): "of an unknown kind",
    ("dropped", "jump"): "a number that is not next",
    ("dropped", "repeat"): "a repeated message could not be opened",
    ("passed over", "repeat"): "",
    ("tampered", "check"): "",
    ("gone", "check"): "",
    ("unvouched", "check"): "",
    ("split", "seen"): "shown another conversation than you",
    ("refused", "phase"): "before the welcome",
    ("breach", "place"): "is out of place",
    ("breach", "welcome"): "a welcome that makes no sense|more members than|in the room twice|"
    "in the list of members|messages that we did not send",
}


def bad(to: str) -> pytest.MarkDecorator:
    scenarios = [each for each in ROOM["must_fail"] if each["to"] == to]
    return pytest.mark.parametrize("scenario", scenarios, ids=ids(scenarios))


def test_every_check_of_the_room_is_among_the_bad_ones() -> None:
    for to, checks in (("room", {*ROOM_CHECKS}), ("participant", {*PARTICIPANT_CHECKS})):
        scenarios = [each for each in ROOM["must_fail"] if each["to"] == to]
        found = {(each["outcome"], each["check"]) for each in scenarios}
        assert found - {("dropped", "number"), ("dropped", "epoch")} == checks


@bad("room")
def test_room_does_not_take_what_it_should_not(scenario: Json) -> None:
    scene = replayed(scenario["after"])
    end = scene.log.end
    member = scene.members[scenario["member"]]

    def submit(run: str) -> list[Unicast]:
        return scene.room.submit(member, bytes.fromhex(run), scenario["now"])

    if scenario["outcome"] == "breach":
        with pytest.raises(ProtocolError, match=ROOM_CHECKS["breach", scenario["check"]]):
            submit(scenario["run"])
    else:
        answer = [control.hex() for each in submit(scenario["run"]) for control in each.controls]
        assert answer == scenario["answer"]
    assert scene.log.end == end
    if "then" in scenario:
        assert submit(scenario["then"]) == []
        assert scene.log.read(end, scene.log.end).hex() == scenario["then"]


def texts(shown: list[ClientEvent]) -> list[str]:
    return [event.text for event in shown if isinstance(event, MessageReceived)]


@bad("participant")
def test_participant_does_not_take_what_it_should_not(scenario: Json) -> None:
    scene = replayed(scenario["after"])
    participant = scene.participants[scenario["member"]]
    outcome = scenario["outcome"]
    said = PARTICIPANT_CHECKS[outcome, scenario["check"]]

    def take(*stream: Json) -> list[ClientEvent]:
        return [
            event for item in stream for event in receive(participant, item, b"", scenario["now"])
        ]

    if outcome == "breach":
        with pytest.raises(ProtocolError, match=said):
            take(*scenario["stream"])
        return
    shown = take(*scenario["stream"])
    assert texts(shown) == scenario["shows"]
    told = [event for event in shown if not isinstance(event, MessageReceived)]
    match outcome:
        case "refused" | "distrusted":
            assert isinstance(told[-1], FrameRefused)
            assert re.search(said, told[-1].text)
        case "tampered" | "unvouched":
            (tampered,) = [event for event in told if isinstance(event, Tampered)]
            assert tampered.certain == (outcome == "tampered")
        case "gone":
            assert told == [LogGone()]
        case "dropped" | "split":
            (warning,) = told
            assert isinstance(warning, Warned)
            assert warning.text.startswith("Ira")
            assert re.search(said, warning.text)
        case "passed over":
            assert told == []
    if "resume" in scenario:
        participant.disconnect()
        assert participant.first_control().encode().hex() == scenario["resume"]
    if "then" in scenario:
        if "resume" in scenario:
            take({"control": Resumed().encode().hex()})
        assert texts(take({"frames": scenario["then"]})) == ["Hi"]


@bad("resume")
def test_bad_resume_does_not_bring_back_to_the_place(scenario: Json) -> None:
    scene = replayed(scenario["after"])
    request = decode_control(bytes.fromhex(scenario["request"]))
    assert isinstance(request, Resume)
    fingerprint = bytes.fromhex(scenario["fingerprint"])
    end = scene.log.end
    resumed = scene.room.resume(request, fingerprint, scenario["now"])
    if scenario["outcome"] == "ready":
        assert resumed is None
        assert scene.log.end == end
    else:
        assert resumed is not None
        first = decode_control(resumed[1][0].controls[0])
        assert isinstance(first, Welcome)
        assert (first.member, first.token) == (request.member, request.token)
        assert first.offset == scene.log.end > end


# -- private messages --------------------------------------------------------------------------

CONNECTIONS = {each["connection"]: each for each in DIRECT["connections"]}
IN_ROOM = {"open": b"", "sealed": bytes.fromhex(DIRECT["room_key"])}
PRIVATE = pytest.mark.parametrize(
    "message", DIRECT["messages"], ids=[each["room"] for each in DIRECT["messages"]]
)


@PRIVATE
def test_private_message_by_hand(message: Json) -> None:
    def of(who: str, what: str) -> bytes:
        return bytes.fromhex(CONNECTIONS[who][what])

    for who in CONNECTIONS:
        assert x25519(of(who, "private"), BASE_POINT) == of(who, "share")
    bound = message["time"].to_bytes(8, "big") + bytes.fromhex(message["origin"])
    bound += message["number"].to_bytes(8, "big")
    body, taken = bytes.fromhex(message["body"]), [each["bytes"] for each in message["randomness"]]
    wraps, sealed = [body[at : at + 128] for at in range(0, 2048, 128)], body[2048:]
    assert wraps == sorted(wraps)
    by_iv = {wrap[:16].hex(): wrap for wrap in wraps}
    sender = "Ira 1"
    for wrap, iv in zip(message["wraps"], taken[1:], strict=False):
        shares = of(sender, "share") + of(wrap["for"], "share")
        shared = x25519(of(sender, "private"), of(wrap["for"], "share"))
        material = shared + IN_ROOM[message["room"]]
        salt = hashlib.sha256(shares).digest()
        assert derive(material, salt, b"chat/1 direct", 64).hex() == wrap["pair_key"]
        prints = of(sender, "fingerprint") + of(wrap["for"], "fingerprint")
        assert (bound + b"\1" + prints).hex() == wrap["associated"]
        opened = open_by_hand(
            bytes.fromhex(wrap["pair_key"]), bytes.fromhex(wrap["associated"]), by_iv[iv]
        )
        assert opened == bytes.fromhex(taken[0]) + b"\x80" + bytes(31)
    made = len(message["wraps"])
    nobodies = {wrap.hex() for wrap in wraps if wrap[:16].hex() not in taken[1 : 1 + made]}
    assert nobodies == set(taken[1 + made : -1])
    assert (bound + b"\2").hex() == message["sealed"]["associated"]
    padded = open_by_hand(bytes.fromhex(taken[0]), bound + b"\2", sealed)
    inside = block(b"Boris") + of("Boris 1", "fingerprint") + message["text"].encode()
    assert padded.rstrip(b"\0")[:-1] == inside == bytes.fromhex(message["sealed"]["plaintext"])


def opened(message: Json, to: str, sender: str = "Ira 1") -> DirectText | None:
    people = readers()
    of = people[sender].entry
    of.card = Card(bytes.fromhex(message.get("share", of.card.share.hex())))
    of.proved = "unproved" not in message
    origin, body = bytes.fromhex(message["origin"]), bytes.fromhex(message["body"])
    said = MessageContent(Kind.DIRECT, message["time"], origin, message["number"], body)
    direct = people[to].direct(room_key_of(message["room"]))
    return direct.open(said, people[to].entry, of)


@PRIVATE
def test_private_message_opens_for_those_who_may_read_it(message: Json) -> None:
    boris = bytes.fromhex(CONNECTIONS["Boris 1"]["fingerprint"])
    text = DirectText("Boris", boris, message["text"])
    assert {who: opened(message, who) for who in CONNECTIONS} == {
        **dict.fromkeys(("Ira 1", "Ira 2", "Boris 1", "Boris 2"), text),
        "Thea 1": None,
    }


DIRECT_CHECKS = {
    ("dropped", "frame"): "a frame is too short for its fields",
    ("dropped", "seal"): "a private message could not be opened",
    ("dropped", "meant"): "a private message is for somebody else",
    ("dropped", "content"): "a text is not UTF-8|too long",
    ("passed over", "wrap"): "",
    ("passed over", "share"): "",
}


def test_every_check_of_a_private_message_is_among_the_bad_ones() -> None:
    found = {(each["outcome"], each["check"]) for each in DIRECT["must_fail"]}
    assert found == set(DIRECT_CHECKS)


@pytest.mark.parametrize("bad", DIRECT["must_fail"], ids=ids(DIRECT["must_fail"]))
def test_bad_private_message_is_not_shown(bad: Json) -> None:
    if bad["outcome"] == "passed over":
        assert opened(bad, bad["to"], bad["from"]) is None
        return
    with pytest.raises(ProtocolError, match=DIRECT_CHECKS["dropped", bad["check"]]):
        opened(bad, bad["to"], bad["from"])
