"""The running hash: chained over the epochs, by the formulas of PROTOCOL 6.4."""

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from chat.runninghash import RunningHash

ROOM = b"the room"


def chained(base: bytes, *epochs: bytes) -> bytes:
    """The running hash behind these epochs, the last of them not over."""
    for entries in epochs:
        base = sha256(base + sha256(entries).digest()).digest() if entries else base
    return base


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.binary(max_size=40), max_size=4), min_size=1, max_size=5))
def test_hash_is_chained_over_the_epochs_however_the_log_is_cut(log: list[list[bytes]]) -> None:
    first = sha256(b"chat/1 room log" + ROOM).digest()
    running = RunningHash.of_room(ROOM)
    read: list[bytes] = []
    for number, pieces in enumerate(log):
        if number:
            running.begin_epoch()
        base = running.digest()
        assert running.base == base == chained(first, *read)
        for piece in pieces:
            running.update(piece)
        read.append(b"".join(pieces))
        assert running.digest() == chained(first, *read)
        # Who is given the base knows the same as who has read everything.
        newcomer = RunningHash(base)
        newcomer.update(read[-1])
        assert newcomer.digest() == running.digest()


def test_copy_goes_its_own_way() -> None:
    running = RunningHash(bytes(32))
    running.update(b"one")
    place, copy = running.digest(), running.copy()
    running.update(b"two")
    running.begin_epoch()
    assert copy.digest() == place
    copy.update(b"two")
    assert copy.digest() == running.base


def test_neither_the_order_nor_the_ends_of_epochs_can_be_changed() -> None:
    hashes = {chained(bytes(32), *epochs) for epochs in ((b"ab",), (b"a", b"b"), (b"b", b"a"))}
    assert len(hashes) == 3
