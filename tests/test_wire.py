"""Frames as bytes: round trips, everything that is refused, and the reader that finds frames."""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate, groupby, pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chat import limits
from chat.errors import REASONS, ProtocolError, Reason
from chat.wire import (
    FRAMES,
    PROTOCOL,
    ROOM_HEADER_BYTES,
    Event,
    Frame,
    FrameReader,
    Hello,
    Link,
    Message,
    Pubkey,
    Refused,
    RoomFrame,
    SessionKey,
    block,
    clip_text,
    decode_frame,
    room_header,
    room_headers,
    starts_frame,
)

thoroughly = settings(max_examples=100, deadline=None, derandomize=True)

u32 = st.integers(0, (1 << 32) - 1)
u64 = st.integers(0, (1 << 64) - 1)
blocks = st.binary(max_size=200)
shares = st.binary(min_size=limits.X25519_BYTES, max_size=limits.X25519_BYTES)
reasons = st.sampled_from(Reason)
sentences = st.text(min_size=1, max_size=limits.MAX_REASON_BYTES // 4)
hellos = st.builds(Hello, st.just(PROTOCOL), shares, u64, blocks, blocks)
messages = st.builds(Message, u32, u32, u64, blocks)
events = st.builds(Event, u32, u32, u64, blocks)
STRATEGIES: dict[type[Frame], st.SearchStrategy[Frame]] = {
    Hello: hellos,
    Pubkey: st.builds(Pubkey, shares, blocks),
    SessionKey: st.builds(SessionKey, blocks),
    Refused: st.builds(Refused, reasons, sentences),
    Link: st.builds(Link, blocks),
    Message: messages,
    Event: events,
}
frames = st.one_of(*STRATEGIES.values())

HELLO = Hello(PROTOCOL, bytes(range(32)), 1_700_003_600, b"the key", b"the signature")
SAMPLES: list[Frame] = [
    HELLO,
    Pubkey(bytes(range(32)), b"sealed"),
    SessionKey(b"sealed"),
    Refused(Reason.FULL, "the room is full"),
    Link(b"sealed"),
    Message(1, 2, 3, b"sealed"),
    Event(1, 0, 3, b"sealed"),
]


def name_of(frame: object) -> str:
    return type(frame).__name__


# -- frames as bytes ---------------------------------------------------------------------------


def test_every_frame_type_is_tried_here() -> None:
    assert set(STRATEGIES) == set(FRAMES.values()) == {type(frame) for frame in SAMPLES}
    assert all(FRAMES[frame_class.TYPE] is frame_class for frame_class in STRATEGIES)


@pytest.mark.parametrize(
    ("frame", "wire"),
    [
        (
            HELLO,
            "0049 01 0006636861742f31" + bytes(range(32)).hex() + "000000006553ff10"
            "0007746865206b6579 000d746865207369676e6174757265",
        ),
        (SAMPLES[1], "0027 02" + bytes(range(32)).hex() + "7365616c6564"),
        (SAMPLES[2], "0007 03 7365616c6564"),
        (Refused(Reason.FULL, "no"), "0006 04 12 00026e6f"),
        (SAMPLES[4], "0007 10 7365616c6564"),
        (SAMPLES[5], "0017 20 00000001 00000002 0000000000000003 7365616c6564"),
        (SAMPLES[6], "0017 21 00000001 00000000 0000000000000003 7365616c6564"),
    ],
    ids=name_of,
)
def test_frame_has_the_bytes_of_the_document(frame: Frame, wire: str) -> None:
    assert frame.to_wire() == bytes.fromhex(wire)
    assert decode_frame(bytes.fromhex(wire)) == frame


@thoroughly
@given(frames)
def test_frame_that_was_encoded_is_decoded_to_itself(frame: Frame) -> None:
    wire = frame.to_wire()
    assert int.from_bytes(wire[:2], "big") == len(wire) - 2
    decoded = decode_frame(wire)
    assert decoded == frame
    assert type(decoded) is type(frame)
    assert decoded.to_wire() == wire


@pytest.mark.parametrize("frame", SAMPLES, ids=name_of)
def test_frame_that_was_cut_or_extended_is_refused_wherever(frame: Frame) -> None:
    wire = frame.to_wire()
    for end in range(len(wire)):
        with pytest.raises(ProtocolError):
            decode_frame(wire[:end])
    for more in (b"\0", b"\0\0\0\0", b"\xff" * 100):
        with pytest.raises(ProtocolError):
            decode_frame(wire + more)


@pytest.mark.parametrize("frame", [HELLO, Refused(Reason.FULL, "no")], ids=name_of)
def test_frame_with_fields_that_were_cut_or_extended_is_refused(frame: Frame) -> None:
    content = frame.encode()
    for end in range(len(content)):
        with pytest.raises(ProtocolError, match="too short for its fields"):
            decode_frame(block(content[:end]))
    with pytest.raises(ProtocolError, match=f"^left-over bytes after {name_of(frame)}$"):
        decode_frame(block(content + b"\0"))


def test_unknown_frame_type_is_refused() -> None:
    for frame_type in set(range(256)) - set(FRAMES):
        with pytest.raises(ProtocolError, match=f"^unknown frame type 0x{frame_type:02x}$"):
            decode_frame(block(bytes((frame_type,)) + bytes(64)))


@pytest.mark.parametrize("protocol", ["", "chat/0", "chat/2", "chat/1 ", "CHAT/1", "x" * 1000])
def test_hello_of_another_protocol_is_refused_whatever_follows(protocol: str) -> None:
    with pytest.raises(ProtocolError, match=r"^the server speaks '.{0,16}', not 'chat/1'$"):
        decode_frame(block(b"\x01" + block(protocol.encode()) + b"in another way"))


def test_hello_of_a_protocol_that_is_no_text_is_refused_harmlessly() -> None:
    with pytest.raises(ProtocolError, match="not UTF-8"):
        decode_frame(block(b"\x01" + block(b"\xff\xfe") + bytes(50)))
    with pytest.raises(ProtocolError) as refusal:
        decode_frame(block(b"\x01" + block(b"\x1b[2J\n") + bytes(50)))
    assert str(refusal.value).isprintable()


# -- reasons -----------------------------------------------------------------------------------


def test_unknown_reason_is_refused() -> None:
    for number in set(range(256)) - set(Reason):
        with pytest.raises(ProtocolError, match=f"^unknown reason {number}$"):
            decode_frame(block(bytes((Refused.TYPE, number)) + block(b"no")))


@pytest.mark.parametrize("reason", Reason)
def test_refusal_without_a_sentence_is_sent_with_the_usual_one(reason: Reason) -> None:
    assert decode_frame(Refused(reason, "").to_wire()) == Refused(reason, REASONS[reason])


@pytest.mark.parametrize("sentence", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80"])
def test_sentence_that_is_not_utf_8_or_too_long_is_refused(sentence: bytes) -> None:
    head, longest = bytes((Refused.TYPE, Reason.FULL)), b"x" * limits.MAX_REASON_BYTES
    with pytest.raises(ProtocolError, match="not UTF-8"):
        decode_frame(block(head + block(sentence)))
    assert decode_frame(block(head + block(longest))) == Refused(Reason.FULL, longest.decode())
    with pytest.raises(ProtocolError):
        decode_frame(block(head + block(longest + b"x")))


@thoroughly
@given(reasons, st.text(min_size=1))
@example(Reason.FULL, "\U0001f600" * 200)
@example(Reason.FULL, "a" + "é" * 300)
def test_sentence_is_cut_to_the_limit_between_two_characters(reason: Reason, text: str) -> None:
    decoded = decode_frame(Refused(reason, text).to_wire())
    assert isinstance(decoded, Refused)
    assert text.startswith(decoded.text)
    size = len(decoded.text.encode())
    assert size <= limits.MAX_REASON_BYTES
    assert decoded.text == text or size > limits.MAX_REASON_BYTES - 4


@thoroughly
@given(st.text(max_size=50), st.integers(0, 60))
def test_clipped_text_is_the_longest_beginning_that_fits(text: str, limit: int) -> None:
    clipped = clip_text(text, limit)
    assert text.startswith(clipped)
    assert len(clipped.encode()) <= limit
    assert clipped == text or len(text[: len(clipped) + 1].encode()) > limit


# -- garbage -----------------------------------------------------------------------------------


def tampered(frame: Frame, at: int, byte: int) -> bytes:
    content = bytearray(frame.encode())
    content[at % len(content)] = byte
    return block(bytes(content))


types = st.sampled_from([*FRAMES, 0x00, 0x05, 0xFF]).map(lambda number: bytes((number,)))
garbage = st.builds(bytes.__add__, types, st.binary(max_size=150)).map(block)


@settings(thoroughly, max_examples=250)
@given(
    garbage
    | st.binary(max_size=100)
    | st.builds(tampered, frames, st.integers(0, 500), st.integers(0, 255))
)
@example(b"\0\0\x10sealed")
@example(b"\0\x06\x10sealed")
@example(b"\xff\xff\x10sealed")
def test_any_bytes_are_decoded_exactly_or_refused(wire: bytes) -> None:
    """There is one encoding of everything; a refusal's sentence may be replaced or cut."""
    try:
        frame = decode_frame(wire)
    except ProtocolError:
        return
    if isinstance(frame, Refused):
        wire = Refused(frame.reason, frame.text).to_wire()
    assert frame.to_wire() == wire


# -- room frames -------------------------------------------------------------------------------


@thoroughly
@given(st.one_of(messages, events))
def test_header_of_a_room_frame_is_what_stands_before_the_sealed_bytes(frame: RoomFrame) -> None:
    wire = frame.to_wire()
    size = len(frame.sealed)
    header = room_header(frame.TYPE, frame.epoch, frame.sender, frame.seq, size)
    assert header + frame.sealed == wire
    assert len(header) == ROOM_HEADER_BYTES


sealed = st.binary(min_size=1, max_size=100)
runs = st.lists(st.builds(Message, u32, u32, u64, sealed), max_size=6)


@thoroughly
@given(runs)
def test_headers_of_a_run_are_those_of_its_frames(run: list[Message]) -> None:
    data = b"".join(frame.to_wire() for frame in run)
    headers = list(room_headers(Message.TYPE, data))
    assert [decode_frame(data[header.start : header.end]) for header in headers] == run
    assert [header[2:] for header in headers] == [(f.epoch, f.sender, f.seq) for f in run]
    starts = [0, *(header.end for header in headers)]
    assert [header.start for header in headers] == starts[:-1]
    assert starts[-1] == len(data)


GOOD = Message(1, 1, 1, b"sealed").to_wire()
EMPTY = [block(b"\x20" + bytes(size)) for size in range(ROOM_HEADER_BYTES - 2)]
CUT_OFF = [GOOD[:end] for end in range(1, ROOM_HEADER_BYTES + 1)]


@pytest.mark.parametrize("behind", [b"", GOOD, GOOD * 3], ids=len)
def test_room_frame_without_content_is_refused_after_those_before_it(behind: bytes) -> None:
    for bad in (*(empty + behind for empty in EMPTY), *CUT_OFF):
        headers = room_headers(Message.TYPE, GOOD + bad)
        assert next(headers).end == len(GOOD)
        with pytest.raises(ProtocolError, match="too short for its fields"):
            next(headers)


@pytest.mark.parametrize(
    "bad", [Event(1, 0, 1, b"sealed").to_wire(), Link(bytes(99)).to_wire(), GOOD[:-1]]
)
def test_run_with_something_else_in_it_is_refused_after_what_precedes(bad: bytes) -> None:
    headers = room_headers(Message.TYPE, GOOD + bad)
    assert next(headers).end == len(GOOD)
    with pytest.raises(ProtocolError, match="has something else in it"):
        next(headers)


def test_place_in_a_run_is_known_to_begin_a_frame() -> None:
    run = GOOD + Event(1, 0, 1, bytes(300)).to_wire() + GOOD
    ends = {0, len(GOOD), len(run) - len(GOOD), len(run)}
    assert {at for at in range(len(run) + 1) if starts_frame(run, at)} == ends


# -- the reader --------------------------------------------------------------------------------

Found = tuple[int, bytes]

ROOM_TYPES = (Message.TYPE, Event.TYPE)


def feed(limit: int, *pieces: bytes) -> list[Found]:
    """What a fresh reader finds in a stream that arrives in these pieces."""
    reader = FrameReader(limit)
    return [found for piece in pieces for found in reader.feed(piece)]


def joined(found: Iterable[Found]) -> list[Found]:
    """Room frames of one type in a row made one run, however many runs they came in."""
    result: list[Found] = []
    for frame_type, data in found:
        if result and frame_type in ROOM_TYPES and result[-1][0] == frame_type:
            data = result.pop()[1] + data
        result.append((frame_type, data))
    return result


def expected(stream: list[bytes]) -> list[Found]:
    """What should be found in these frames when they arrive at once."""
    result: list[Found] = []
    for frame_type, group in groupby(stream, key=lambda frame: frame[2]):
        members = list(group)
        if frame_type in ROOM_TYPES:
            members = [b"".join(members)]
        result += [(frame_type, member) for member in members]
    return result


raw_frames = st.builds(
    lambda frame_type, body: block(bytes((frame_type,)) + body),
    st.sampled_from([*ROOM_TYPES, *ROOM_TYPES, Link.TYPE, Hello.TYPE, 0x00, 0xFF]),
    st.binary(max_size=40),
)
streams = st.lists(raw_frames, max_size=8)

MIXED = [SAMPLES[number].to_wire() for number in (5, 5, 4, 6, 6, 5, 4, 4, 3)]
EMPTY_ROOM_FRAMES = [block(bytes((each,))) for each in (0x20, 0x20, 0x21, 0x10, 0x20)]


@thoroughly
@given(streams, st.lists(st.integers(0, 400), max_size=10))
@example(MIXED, [])
@example(MIXED, [*range(400)])
@example(EMPTY_ROOM_FRAMES, [])
@example(EMPTY_ROOM_FRAMES, [*range(400)])
def test_frames_are_found_in_whatever_pieces_they_arrive(
    stream: list[bytes], cuts: list[int]
) -> None:
    sent = b"".join(stream)
    places = [0, *sorted(cut for cut in cuts if cut < len(sent)), len(sent)]
    ends = [0, *accumulate(map(len, stream))]
    reader, found = FrameReader(limits.MAX_FRAME_BYTES), list[Found]()
    for start, end in pairwise(places):
        found += reader.feed(sent[start:end])
        # A frame is out as soon as its last byte is in: no piece waits for the one behind it.
        assert joined(found) == expected(stream[: bisect_right(ends, end) - 1])
        assert reader.inside_frame is (end not in ends)
    assert found == expected(stream) or len(places) > 2


def before_refusal(limit: int, data: bytes) -> tuple[list[Found], str]:
    """What a fresh reader finds before it refuses, and what it says then."""
    before: list[Found] = []
    try:
        for found in FrameReader(limit).feed(data):
            before.append(found)
    except ProtocolError as refusal:
        return before, str(refusal)
    pytest.fail("nothing was refused")


@pytest.mark.parametrize("limit", [limits.MAX_HANDSHAKE_FRAME_BYTES, limits.MAX_FRAME_BYTES])
@pytest.mark.parametrize("frame_type", [Hello.TYPE, Link.TYPE, Message.TYPE])
def test_frame_of_the_greatest_length_is_taken(limit: int, frame_type: int) -> None:
    frame = block(bytes((frame_type,)) + bytes(limit - 3))
    assert len(frame) == limit
    assert feed(limit, frame) == [(frame_type, frame)]
    assert joined(feed(limit, frame, frame)) == joined([(frame_type, frame)] * 2)
    assert feed(limit, *(frame[at : at + 1000] for at in range(0, limit, 1000))) == [
        (frame_type, frame)
    ]


@pytest.mark.parametrize("limit", [limits.MAX_HANDSHAKE_FRAME_BYTES, limits.MAX_FRAME_BYTES])
def test_bad_length_is_refused_when_it_has_arrived(limit: int) -> None:
    lengths = {n: f"a frame of {n + 2} bytes is too long" for n in (limit - 1, limit, 65_535)}
    for length, refusal in {**lengths, 0: "an empty frame"}.items():
        announced = length.to_bytes(2, "big")
        assert before_refusal(limit, announced) == ([], refusal)
        reader = FrameReader(limit)
        assert list(reader.feed(announced[:1])) == []
        with pytest.raises(ProtocolError, match=refusal):
            list(reader.feed(announced[1:]))


@pytest.mark.parametrize("before", [MIXED, MIXED[:2], MIXED[2:3], MIXED[3:5]], ids=len)
@pytest.mark.parametrize(
    "bad",
    [
        b"\0\0",
        b"\0\0\x20",
        b"\0\0\x21" + bytes(50),
        b"\xff\xff",
        b"\x10\0\x20",
        b"\x10\0\x20" + bytes(5000),
    ],
)
def test_frames_before_a_bad_one_still_come(before: list[bytes], bad: bytes) -> None:
    found, _ = before_refusal(limits.MAX_HANDSHAKE_FRAME_BYTES, b"".join(before) + bad)
    assert found == expected(before)


def test_limit_that_is_raised_between_two_frames_holds_for_the_next() -> None:
    short = Link(bytes(10)).to_wire()
    long = Link(bytes(limits.MAX_HANDSHAKE_FRAME_BYTES)).to_wire()
    reader = FrameReader(limits.MAX_HANDSHAKE_FRAME_BYTES)
    found = reader.feed(short + long)
    assert next(found) == (Link.TYPE, short)
    reader.limit = limits.MAX_FRAME_BYTES
    assert list(found) == [(Link.TYPE, long)]
