"""Which entries of a stream count: what a run of several servers reaches only now and then."""

from chat.server.cluster.clusterkey import BEGINNING, ENTRY, ClusterKey
from chat.server.cluster.sequence import (
    Begun,
    Header,
    Lost,
    PassedOver,
    Ruling,
    Sequence,
    encode_items,
)
from chat.server.cluster.store import EntryId, RawEntry
from tests.support.helpers import FixedBytes

KEY = ClusterKey.of(bytes(32), "test")
NAME = KEY.stream_of(b"a room")
ORIGIN = b"an origi"


def read(sequence: Sequence, ms: int, kind: bytes, header: Header, content: bytes) -> Ruling:
    """Let it read an entry."""
    sealed = KEY.seal(NAME, kind, header.encode() + content, FixedBytes(f"{ms}"))
    return sequence.read(RawEntry(EntryId(ms, 0), kind, sealed))


def test_room_that_was_found_broken_is_not_followed_from_a_snapshot_of_the_one_before() -> None:
    sequence = Sequence(KEY, NAME)
    begun = read(sequence, 1, BEGINNING, sequence.beginning(ORIGIN), b"")
    assert isinstance(begun, Begun)
    # So it goes on where the snapshot of this room was loaded after the next one was lost.
    sequence.broken = (EntryId(2, 0),)
    assert isinstance(read(sequence, 2, BEGINNING, sequence.beginning(ORIGIN), b""), Lost)
    assert sequence.lost
    said = read(sequence, 3, ENTRY, sequence.header(ORIGIN, 1), encode_items([b"said"]))
    assert isinstance(said, PassedOver)


def test_room_that_is_over_does_not_come_back_where_the_stream_is_put_back_to_it() -> None:
    sequence = Sequence(KEY, NAME)
    first = sequence.beginning(ORIGIN)
    assert isinstance(read(sequence, 1, BEGINNING, first, b""), Begun)
    assert isinstance(read(sequence, 2, BEGINNING, sequence.beginning(ORIGIN), b""), Begun)
    # As where it is read again from the beginning.
    anew = Sequence(KEY, NAME)
    anew.broken = sequence.broken
    assert isinstance(read(anew, 1, BEGINNING, first, b""), PassedOver)
    assert anew.lost
    assert isinstance(read(anew, 2, BEGINNING, anew.beginning(ORIGIN), b""), Begun)
