"""What is sealed in frames (identities, controls, contents, roomevents): round trips, refusals, and
the largest ones that must fit."""

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat import limits
from chat.cipher import SEALING_KEY_BYTES, sealed_bytes
from chat.contents import Direct, DirectText, Kind, MessageContent, Repeat, Seen
from chat.controls import (
    CONTROLS,
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
from chat.errors import REASONS, ProtocolError, Reason
from chat.frozen import replace
from chat.identities import Card, ClientIdentity, RosterEntry
from chat.roomevents import (
    ROOM_EVENTS,
    Back,
    Closing,
    Joined,
    Left,
    Lost,
    Notice,
    RoomEvent,
    Topic,
    decode_room_event,
)
from chat.wire import ROOM_HEADER_BYTES, Fields, Link, Pubkey, Record, block

thoroughly = settings(max_examples=100, deadline=None, derandomize=True)

u32 = st.integers(0, (1 << 32) - 1)
u64 = st.integers(0, (1 << 64) - 1)
secrets = st.binary(min_size=limits.ROOM_SECRET_BYTES, max_size=limits.ROOM_SECRET_BYTES)
rooms = st.binary(min_size=limits.ROOM_ID_BYTES, max_size=limits.ROOM_ID_BYTES)
tokens = st.binary(min_size=limits.RESUME_TOKEN_BYTES, max_size=limits.RESUME_TOKEN_BYTES)
origins = st.binary(min_size=limits.ORIGIN_BYTES, max_size=limits.ORIGIN_BYTES)
digests = st.binary(min_size=limits.HASH_BYTES, max_size=limits.HASH_BYTES)
reasons = st.sampled_from(Reason)
names = st.text(max_size=limits.MAX_NAME_CHARS)
roster_entries = st.builds(RosterEntry, u32, u64, names, st.binary(max_size=64), u64)
entries = st.lists(roster_entries, max_size=5).map(tuple)
sentences = st.text(min_size=1, max_size=limits.MAX_REASON_BYTES // 4)

CONTROL_STRATEGIES: dict[type[Control], st.SearchStrategy[Control]] = {
    Ready: st.builds(Ready),
    Welcome: st.builds(Welcome, rooms, u32, tokens, u32, u32, secrets, u64, digests, u64, u64, u32),
    Roster: st.builds(Roster, entries),
    Rekey: st.builds(Rekey, u32, secrets),
    Resend: st.builds(Resend, u64),
    Bye: st.builds(Bye, reasons, sentences),
    Resume: st.builds(Resume, u32, tokens, u64, u32),
    Resumed: st.builds(Resumed),
    Ping: st.builds(Ping),
    Pong: st.builds(Pong),
    Submit: st.builds(Submit, st.binary(max_size=200)),
    Check: st.builds(Check, u64, digests),
    Greeting: st.builds(Greeting, u64, st.text(max_size=100), st.text(max_size=100)),
    Operate: st.builds(Operate, st.text(max_size=100)),
    Answer: st.builds(Answer, st.booleans(), st.text(max_size=100)),
}
EVENT_STRATEGIES: dict[type[RoomEvent], st.SearchStrategy[RoomEvent]] = {
    Joined: st.builds(Joined, entries),
    Left: st.builds(Left, st.lists(st.tuples(u32, reasons), max_size=8).map(tuple)),
    Notice: st.builds(Notice, st.text(max_size=100)),
    Closing: st.builds(Closing),
    Lost: st.builds(Lost, u32),
    Back: st.builds(Back, u32),
    Topic: st.builds(Topic, u64, st.text(max_size=100)),
}
records = st.one_of(*CONTROL_STRATEGIES.values(), *EVENT_STRATEGIES.values())

SECRET = bytes(range(32))
ROOM = b"the room"
TOKEN = b"TOKEN".ljust(limits.RESUME_TOKEN_BYTES)
ORIGIN = b"a client"
DIGEST = bytes(range(100, 132))
SHARE = bytes(range(32, 64))
PROOF = bytes(range(16))
ENTRY = RosterEntry(7, 9, "Ira", b"print", 1_700_000_000, Card(SHARE, PROOF, True), True)
ENTRY_HEX = (
    "0000000000000009 00000007 0003497261 00057072696e74 000000006553f100"
    f"03 {SHARE.hex()} 0010 {PROOF.hex()}"
)
SAMPLES: list[tuple[Record, str]] = [
    (Ready(), "01"),
    (
        Welcome(ROOM, 1, TOKEN, 2, 1, SECRET, 3, DIGEST, 4, 5, 6),
        f"02 {ROOM.hex()} 00000001 {TOKEN.hex()} 00000002 00000001 {SECRET.hex()} 0000000000000003"
        f"{DIGEST.hex()} 0000000000000004 0000000000000005 00000006",
    ),
    (Roster((ENTRY,)), f"03 {ENTRY_HEX}"),
    (Rekey(2, SECRET), f"04 00000002 {SECRET.hex()}"),
    (Resend(258), "05 0000000000000102"),
    (Bye(Reason.LEFT, "bye"), "06 01 0003627965"),
    (Bye(Reason.RESTARTING, "soon"), "06 09 0004736f6f6e"),
    (Resume(1, TOKEN, 2, 3), f"07 00000001 {TOKEN.hex()} 0000000000000002 00000003"),
    (Resumed(), "08"),
    (Ping(), "09"),
    (Pong(), "0a"),
    (Submit(b"a run"), "0b 612072756e"),
    (Check(258, DIGEST), f"0c 0000000000000102 {DIGEST.hex()}"),
    (Greeting(258, "Zoë", "a\nb"), "0d 0000000000000102 0004 5a6fc3ab 610a62"),
    (Operate("Zoë"), "0e 5a6fc3ab"),
    (Answer(True, "Zoë"), "0f 01 5a6fc3ab"),
    (Joined((ENTRY, ENTRY)), f"01 {ENTRY_HEX} {ENTRY_HEX}"),
    (Left(((7, Reason.LEFT), (8, Reason.LOST))), "02 00000007 01 00000008 02"),
    (Notice("Zoë"), "03 5a6fc3ab"),
    (Closing(), "04"),
    (Lost(7), "05 00000007"),
    (Back(7), "06 00000007"),
    (Topic(258, "Zoë"), "07 0000000000000102 5a6fc3ab"),
]


def decode_like(record: Record, data: bytes) -> Record:
    return (decode_control if isinstance(record, Control) else decode_room_event)(data)


def name_of(value: object) -> str | None:
    return None if isinstance(value, str) else type(value).__name__


# -- control messages and room events ----------------------------------------------------------


def test_every_control_message_and_event_is_tried_here() -> None:
    assert set(CONTROL_STRATEGIES) == set(CONTROLS.values())
    assert set(EVENT_STRATEGIES) == set(ROOM_EVENTS.values())
    tried = {type(record) for record, _ in SAMPLES}
    assert tried == {*CONTROL_STRATEGIES, *EVENT_STRATEGIES}


@pytest.mark.parametrize(("record", "encoded"), SAMPLES, ids=name_of)
def test_record_has_the_bytes_of_the_document(record: Record, encoded: str) -> None:
    assert record.encode() == bytes.fromhex(encoded)
    assert decode_like(record, bytes.fromhex(encoded)) == record


@thoroughly
@given(records)
def test_record_that_was_encoded_is_decoded_to_itself(record: Record) -> None:
    decoded = decode_like(record, record.encode())
    assert decoded == record
    assert decoded.encode() == record.encode()


def is_list(record: Record) -> bool:
    """Whether a record goes on to the end of its bytes, so that a beginning of it may be one."""
    listing = Roster | Joined | Left | Notice | Submit | Greeting | Topic | Operate | Answer
    return isinstance(record, listing)


@pytest.mark.parametrize(("record", "encoded"), SAMPLES, ids=name_of)
def test_record_that_was_cut_is_refused_but_between_the_items_of_a_list(
    record: Record, encoded: str
) -> None:
    data = bytes.fromhex(encoded)
    taken = []
    for end in range(len(data)):
        try:
            assert decode_like(record, data[:end]).encode() == data[:end]
        except ProtocolError:
            continue
        taken.append(end)
    sizes = {
        Roster: len(ENTRY.encode()),
        Joined: len(ENTRY.encode()),
        Left: 5,
        Notice: 1,
        Submit: 1,
        Greeting: 1,
        Operate: 1,
        Answer: 1,
        Topic: 1,
    }
    size = sizes.get(type(record), len(data))
    # What stands before the list, and what is no UTF-8, since it ends within "ë".
    first = {Topic: 9, Greeting: 15, Answer: 2}.get(type(record), 1)
    within = {Notice: {4}, Topic: {12}, Operate: {4}, Answer: {5}}.get(type(record), set())
    between = set(range(first, len(data), size)) if is_list(record) else set()
    assert set(taken) == between - within


@pytest.mark.parametrize(
    ("record", "encoded"),
    [sample for sample in SAMPLES if not isinstance(sample[0], Submit)],
    ids=name_of,
)
def test_left_over_byte_behind_a_record_is_refused(record: Record, encoded: str) -> None:
    # A list takes it for the beginning of an item, and a notice for text that is not UTF-8.
    refusal = (
        "too short|not UTF-8" if is_list(record) else f"^left-over bytes after {name_of(record)}$"
    )
    with pytest.raises(ProtocolError, match=refusal):
        decode_like(record, bytes.fromhex(encoded) + b"\xff")


Decode = Callable[[bytes], Record]


@pytest.mark.parametrize(
    ("decode", "known", "what"),
    [(decode_control, CONTROLS, "control message"), (decode_room_event, ROOM_EVENTS, "event")],
)
def test_unknown_record_is_refused(decode: Decode, known: Mapping[int, object], what: str) -> None:
    with pytest.raises(ProtocolError, match="too short for its fields"):
        decode(b"")
    for number in set(range(256)) - set(known):
        with pytest.raises(ProtocolError, match=f"^unknown {what} 0x{number:02x}$"):
            decode(bytes((number,)) + bytes(60))


ENTRY_HEAD, ENTRY_TAIL = bytes(12), block(b"") + bytes(8)


@pytest.mark.parametrize(
    ("refusal", "decode", "data"),
    [
        ("unknown reason", decode_control, b"\x06\x63" + block(b"why")),
        ("unknown reason", decode_control, b"\x06\x00" + block(b"why")),
        ("unknown reason", decode_room_event, b"\x02\0\0\0\x07\x63"),
        ("unknown reason", decode_room_event, b"\x02\0\0\0\x07\x01\0\0\0\x08\xff"),
        ("not UTF-8", decode_control, b"\x06\x01" + block(b"\xff")),
        ("not UTF-8", decode_control, b"\x03" + ENTRY_HEAD + block(b"\xc3") + ENTRY_TAIL),
        (
            "not UTF-8",
            decode_room_event,
            b"\x01" + ENTRY_HEAD + block(b"\xed\xa0\x80") + ENTRY_TAIL,
        ),
        ("not UTF-8", decode_room_event, b"\x03\xf8\x88\x80\x80\x80"),
        ("not UTF-8", ClientIdentity.decode, block(b"\xff") + block(b"")),
        ("not UTF-8", MessageContent.decode, b"\1" + bytes(48) + b"\xc0\x80"),
        ("too short", MessageContent.decode, b""),
        ("too short", MessageContent.decode, b"\1"),
    ],
)
def test_field_that_cannot_be_is_refused(refusal: str, decode: Decode, data: bytes) -> None:
    with pytest.raises(ProtocolError, match=refusal):
        decode(data)


def tampered(record: Record, at: int, byte: int) -> bytes:
    data = bytearray(record.encode())
    data[at % len(data)] = byte
    return bytes(data)


numbers = st.sampled_from([*CONTROLS, 0x00, 0x07]).map(lambda number: bytes((number,)))
garbage = st.binary(max_size=120) | st.builds(bytes.__add__, numbers, st.binary(max_size=120))


@settings(thoroughly, max_examples=200)
@given(garbage | st.builds(tampered, records, st.integers(0, 500), st.integers(0, 255)))
def test_any_bytes_are_decoded_exactly_or_refused(data: bytes) -> None:
    """There is one encoding of everything; a farewell's sentence may be replaced or cut."""
    decoders: list[Callable[[bytes], Record | ClientIdentity | MessageContent]] = [
        *(decode_control, decode_room_event, ClientIdentity.decode, MessageContent.decode)
    ]
    for decode in decoders:
        try:
            decoded = decode(data)
        except ProtocolError:
            continue
        assert decoded.encode() == data or isinstance(decoded, Bye)


# -- farewells ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", Reason)
def test_sentence_of_a_farewell_is_the_usual_one_if_there_is_none_and_cut_to_the_limit(
    reason: Reason,
) -> None:
    """What arrives and is too long is refused, as in REFUSED."""
    assert decode_control(Bye(reason, "").encode()) == Bye(reason, REASONS[reason])
    decoded = decode_control(Bye(reason, "é" * limits.MAX_REASON_BYTES).encode())
    assert decoded == Bye(reason, "é" * (limits.MAX_REASON_BYTES // 2))
    with pytest.raises(ProtocolError):
        decode_control(bytes((Bye.TYPE, reason)) + block(b"x" * (limits.MAX_REASON_BYTES + 1)))


# -- introductions and content ------------------------------------------------------------------


@thoroughly
@given(
    st.text(max_size=100),
    st.binary(max_size=600),
    st.sampled_from([(b"", b""), (bytes(range(16)), PROOF)]),
    st.booleans(),
)
def test_introduction_that_was_encoded_is_decoded_to_itself(
    name: str, key: bytes, room: tuple[bytes, bytes], caller: bool
) -> None:
    identity = ClientIdentity(name, key, room[0], Card(SHARE, room[1], caller))
    data = identity.encode()
    assert ClientIdentity.decode(data) == identity
    for end in {0, 1, len(data) // 2, len(data) - 1}:
        with pytest.raises(ProtocolError):
            ClientIdentity.decode(data[:end])
    with pytest.raises(ProtocolError, match="left-over bytes after the introduction"):
        ClientIdentity.decode(data + b"\0")


@thoroughly
@given(u64, origins, u64, st.text(max_size=200), u64, st.binary(min_size=16, max_size=16))
def test_content_that_was_encoded_is_decoded_to_itself(
    time_ms: int, origin: bytes, number: int, text: str, offset: int, digest: bytes
) -> None:
    content = MessageContent(Kind.SAY, time_ms, origin, number, text.encode(), Seen(offset, digest))
    head = b"\1" + time_ms.to_bytes(8, "big") + origin + number.to_bytes(8, "big")
    assert content.encode() == head + offset.to_bytes(8, "big") + digest + text.encode()
    decoded = MessageContent.decode(content.encode())
    assert (decoded, decoded.seen) == (content, content.seen)


def test_message_is_the_same_however_far_its_sender_had_read() -> None:
    content = MessageContent(Kind.SAY, 1, ORIGIN, 1, b"Hi", Seen(1, bytes(16)))
    assert content == replace(content, seen=Seen(2, b"x" * 16))


def test_repeat_is_bound_to_its_number_and_says_where_it_was_said() -> None:
    content = MessageContent(Kind.SAY, 258, ORIGIN, 772, b"Hi")
    assert content.bound().hex() == f"0000000000000102{ORIGIN.hex()}0000000000000304"
    body = Repeat(ROOM, 258, b"sealed").encode()
    assert body.hex() == f"{ROOM.hex()}00000102{b'sealed'.hex()}"
    assert Repeat.decode(body) == Repeat(ROOM, 258, b"sealed")
    with pytest.raises(ProtocolError, match="too short"):
        Repeat.decode(body[:11])


def test_private_text_says_for_whom_it_is_behind_a_key_for_each_reader() -> None:
    wraps = tuple(bytes((n,)) * limits.DIRECT_WRAP_BYTES for n in range(limits.DIRECT_WRAPS))
    body = Direct(wraps, b"sealed").encode()
    assert body == b"".join(wraps) + b"sealed"
    assert Direct.decode(body) == Direct(wraps, b"sealed")
    assert sealed_bytes(SEALING_KEY_BYTES) == limits.DIRECT_WRAP_BYTES
    text = DirectText("Zoë", bytes(range(32)), "Hi")
    assert text.encode().hex() == f"0004{'Zoë'.encode().hex()}{bytes(range(32)).hex()}4869"
    assert DirectText.decode(text.encode()) == text
    assert "Hi" not in repr(text)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\0\5Zo", "too short"),
        (b"\0\1\xff" + bytes(32), "not UTF-8"),
        (b"\0\1Z" + bytes(31), "too short"),
        (b"\0\1Z" + bytes(32) + b"\xff", "not UTF-8"),
        (b"\0\1Z" + bytes(32 + limits.MAX_TEXT_BYTES + 1), "too long"),
    ],
)
def test_private_text_that_is_none_is_refused(data: bytes, error: str) -> None:
    with pytest.raises(ProtocolError, match=error):
        DirectText.decode(data)


# -- what must fit into a frame ----------------------------------------------------------------

LONGEST_NAME = "\U0001f600" * limits.MAX_NAME_CHARS
LONGEST_CARD = Card(proof=bytes(limits.PROOF_BYTES))
ENTRIES = (RosterEntry(1, 1, LONGEST_NAME, bytes(32), 1, LONGEST_CARD),) * limits.JOINS_PER_STEP
LONGEST_SEALED = bytes(sealed_bytes(limits.MAX_TEXT_BYTES))
NO_WRAPS = (bytes(limits.DIRECT_WRAP_BYTES),) * limits.DIRECT_WRAPS
LONGEST_TEXT = DirectText(LONGEST_NAME, bytes(32), "x" * limits.MAX_TEXT_BYTES)
LONGEST_DIRECT = Direct(NO_WRAPS, bytes(sealed_bytes(len(LONGEST_TEXT.encode()))))
LINK_FRAME_BYTES = len(Link(b"").to_wire())


@pytest.mark.parametrize(
    "record",
    [
        Roster(ENTRIES),
        Joined(ENTRIES),
        Left(((1, Reason.LOST),) * limits.MAX_MEMBERS),
        Notice("x" * limits.MAX_TEXT_BYTES),
        Bye(Reason.PROTOCOL, "x" * limits.MAX_REASON_BYTES),
        Submit(bytes(limits.MAX_SUBMIT_BYTES)),
        MessageContent(Kind.SAY, 1, ORIGIN, 1, bytes(limits.MAX_TEXT_BYTES)),
        MessageContent(Kind.REPEAT, 1, ORIGIN, 1, Repeat(ROOM, 1, LONGEST_SEALED).encode()),
        MessageContent(Kind.DIRECT, 1, ORIGIN, 1, LONGEST_DIRECT.encode()),
    ],
    ids=name_of,
)
def test_largest_of_its_kind_fits_into_a_frame(record: Record | MessageContent) -> None:
    size = sealed_bytes(len(record.encode()))
    assert max(LINK_FRAME_BYTES, ROOM_HEADER_BYTES) + size <= limits.MAX_FRAME_BYTES


@pytest.mark.parametrize(
    ("kind", "body", "size"),
    [
        (Kind.REPEAT, Repeat(ROOM, 1, LONGEST_SEALED).encode(), 18_483),
        (Kind.DIRECT, LONGEST_DIRECT.encode(), 20_531),
    ],
)
def test_submit_takes_the_largest_message(kind: Kind, body: bytes, size: int) -> None:
    largest = MessageContent(kind, 1, ORIGIN, 1, body)
    frame = ROOM_HEADER_BYTES + sealed_bytes(len(largest.encode()))
    assert frame == size < limits.MAX_SUBMIT_BYTES
    Submit.decode_body(Fields(bytes(frame)))


def test_longest_introduction_fits_into_a_handshake_frame() -> None:
    identity = ClientIdentity(LONGEST_NAME, bytes(limits.MAX_RSA_BITS // 8 + 32)).encode()
    pubkey = Pubkey(bytes(limits.X25519_BYTES), bytes(sealed_bytes(len(identity))))
    assert len(pubkey.to_wire()) <= limits.MAX_HANDSHAKE_FRAME_BYTES


# -- secrets are not shown ---------------------------------------------------------------------


def test_secrets_of_the_room_are_not_shown() -> None:
    secret = b"PRIVATE".ljust(limits.ROOM_SECRET_BYTES)
    welcome = Welcome(ROOM, 1, TOKEN, 2, 1, secret, 3, DIGEST, 4, 5, 6)
    shown = repr([welcome, Rekey(2, secret), Resume(1, TOKEN, 2, 3)])
    assert "PRIVATE" not in shown
    assert "TOKEN" not in shown
