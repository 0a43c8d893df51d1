"""What follows from the cluster key: names in Redis that say nothing, and the sealing of what is
kept under them.

All servers of a cluster have the same 32 random bytes in a file (`files.clusterkey`). Whoever runs
Redis does not have them. Each derived key has one purpose, and the cluster's name goes into all of
them, so that two clusters never share one. What the sealed bytes mean is not known here.
"""

import hmac
import re

from chat.cipher import SEALING_KEY_BYTES, RandomBytes, SealingKey
from chat.errors import UsageError
from chat.frozen import field, frozen
from chat.kex import derive
from chat.limits import CLUSTER_KEY_BYTES, MAX_CLUSTER_NAME_CHARS

LABEL_NAMES = b"chat/1 cluster names"
LABEL_SEALING = b"chat/1 cluster sealing"

BEGINNING, ENTRY, WANTED, SNAPSHOT, CARD = b"b", b"e", b"w", b"s", b"c"
"""The kinds of sealed things. Each opens as what it was sealed as, and under the name under which
it was sealed, and nowhere else."""

_NAME = re.compile(f"[A-Za-z0-9_-]{{1,{MAX_CLUSTER_NAME_CHARS}}}")
_PREFIX = "chat:"
_NAME_BYTES = 16


@frozen
class ClusterKey:
    """The keys of one cluster. `name` is seen by whoever runs Redis."""

    name: str
    _names: bytes = field(shown=False)
    _sealing: SealingKey = field(shown=False)

    @classmethod
    def of(cls, secret: bytes, name: str) -> "ClusterKey":
        """The keys that follow from the 32 bytes in the file.

        Raises:
            UsageError: the name cannot be one.
        """
        assert len(secret) == CLUSTER_KEY_BYTES
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"the name of a cluster has 1 to {MAX_CLUSTER_NAME_CHARS} letters, digits, - or _"
            )
        salt = name.encode()
        sealing = SealingKey.from_bytes(derive(secret, salt, LABEL_SEALING, SEALING_KEY_BYTES))
        return cls(name, derive(secret, salt, LABEL_NAMES, CLUSTER_KEY_BYTES), sealing)

    @property
    def card(self) -> str:
        """The name of the card, by which servers of one cluster know that they belong together."""
        return f"{_PREFIX}{self.name}"

    def stream_of(self, tag: bytes) -> str:
        """The name of a room's stream. Nothing about its tag follows from it."""
        digest = hmac.digest(self._names, tag, "sha256")
        return f"{self.card}:{digest[:_NAME_BYTES].hex()}"

    def snapshot_of(self, stream: str) -> str:
        """The name of what is kept beside a stream."""
        return f"{stream}:s"

    def seal(self, stream: str, kind: bytes, plaintext: bytes, random_bytes: RandomBytes) -> bytes:
        """Seal what is to stand under this name as this kind."""
        return self._sealing.seal(_bound_to(stream, kind), plaintext, random_bytes)

    def open(self, stream: str, kind: bytes, sealed: bytes) -> bytes:
        """Open it again.

        Raises:
            OpenError: it was not sealed so, or changed since.
        """
        return self._sealing.open(_bound_to(stream, kind), sealed)


def _bound_to(stream: str, kind: bytes) -> bytes:
    return kind + stream.encode()
