"""What follows from the cluster key, and what it keeps apart."""

import pytest

from chat.errors import OpenError, UsageError
from chat.server.cluster.clusterkey import BEGINNING, ENTRY, ClusterKey
from tests.support.helpers import FixedBytes

SECRET = bytes(range(32))
KEY = ClusterKey.of(SECRET, "chat")
STREAM = KEY.stream_of(b"a tag")


def test_names_and_keys_are_what_they_always_were() -> None:
    assert STREAM == "chat:chat:71f8dbdf91e1b79b5d78eab33bfc38dd"
    assert KEY.stream_of(b"").startswith("chat:chat:")
    sealed = KEY.seal(STREAM, ENTRY, b"words", FixedBytes("seal"))
    assert sealed[-16:].hex() == "1dc0118ead7ef51508de62c2f13f92b2"


def test_whatever_differs_gives_other_names_and_other_keys() -> None:
    others = ClusterKey.of(SECRET, "chat2"), ClusterKey.of(bytes(32), "chat")
    names = {key.stream_of(tag) for key in (KEY, *others) for tag in (b"", b"a tag", b"b tag")}
    assert len(names) == 9
    sealed = KEY.seal(STREAM, ENTRY, b"words", FixedBytes("seal"))
    assert KEY.open(STREAM, ENTRY, sealed) == b"words"
    for key, stream, kind in (
        *((other, STREAM, ENTRY) for other in others),
        (KEY, KEY.stream_of(b"b tag"), ENTRY),
        (KEY, STREAM, BEGINNING),
    ):
        with pytest.raises(OpenError):
            key.open(stream, kind, sealed)


def test_secret_is_not_shown() -> None:
    assert repr(KEY) == "ClusterKey(name='chat')"


@pytest.mark.parametrize("name", ["", "a" * 33, "a:b", "a b", "ä", "a\n"])
def test_name_that_cannot_stand_in_a_key_of_redis_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="the name of a cluster"):
        ClusterKey.of(SECRET, name)
