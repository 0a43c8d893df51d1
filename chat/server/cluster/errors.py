"""What can be wrong with Redis, a class for each thing, and a sentence for a person.

    RedisError              anything; of its own: what no other class is for
    ├── RedisLostError      the connection broke, or is silent
    ├── NotRedisError       what answers is no Redis, or speaks TLS where we do not, or the reverse
    ├── CertificateError    its certificate is not one that we trust
    ├── LoginError          it wants a password, or another one, or forbids what we need
    ├── TooOldError         it has no streams
    ├── ShardedError        it is a Redis Cluster, which keeps no order over several connections
    ├── ReadOnlyError       it is a replica
    ├── FullError           it has no memory left for what we want to write
    └── BusyError           it loads its data, runs a script, or cannot write to its disk

Nothing here repeats a password; what Redis says is made harmless and short.
"""

from chat.errors import TransportError
from chat.limits import MAX_REDIS_TEXT_CHARS, MAX_REPLY_BYTES, MIN_REDIS
from chat.text import escape_line


class RedisError(TransportError):
    """Something is wrong with Redis. `means_gone`: over this connection nothing good will come any
    more."""

    means_gone = False


class RedisLostError(RedisError):
    """The connection to Redis broke, or nothing comes over it."""


class NotRedisError(RedisError):
    """What answers there does not speak as Redis does."""

    means_gone = True


class CertificateError(RedisError):
    """The certificate that Redis shows is not trusted here."""


class LoginError(RedisError):
    """Redis does not accept how we log in, or does not allow us what we need."""


class TooOldError(RedisError):
    """Redis is so old that it has no streams."""


class ShardedError(RedisError):
    """Redis is a Redis Cluster."""

    means_gone = True


class ReadOnlyError(RedisError):
    """Redis is a replica, or has become one."""

    means_gone = True


class FullError(RedisError):
    """Redis has no memory left."""


class BusyError(RedisError):
    """Redis does not serve anybody at the moment."""


ACL = "~chat:* +auth +select +ping +info +time +get +set +expire +xadd +xrange +xread +xtrim"
"""What a user of Redis needs, in the words of its ACL (redis.io/docs, ACL SETUSER)."""

_SHARDED = (
    ShardedError,
    "this Redis is part of a Redis Cluster, which cannot be used",
    "take a Redis with cluster-enabled no; one is enough for all rooms",
)
_CLASSES: dict[str, tuple[type[RedisError], str, str]] = {
    "NOAUTH": (
        LoginError,
        "this Redis wants a password, and none was given",
        "put it into CHAT_REDIS_PASSWORD, or into a file for --cluster-password-file",
    ),
    "WRONGPASS": (LoginError, "this Redis does not accept the user and password", ""),
    "NOPERM": (
        LoginError,
        "the user may not do in Redis what a server needs",
        f"its ACL needs: {ACL}",
    ),
    "MOVED": _SHARDED,
    "ASK": _SHARDED,
    "CROSSSLOT": _SHARDED,
    "CLUSTERDOWN": _SHARDED,
    "READONLY": (
        ReadOnlyError,
        "this Redis is a read-only replica",
        "name the primary, or an address that always leads to it",
    ),
    "OOM": (
        FullError,
        "Redis has no memory left for what is said (maxmemory)",
        "raise maxmemory; everybody waits meanwhile, and nothing is lost",
    ),
    "LOADING": (BusyError, "Redis loads its data and is not ready yet", ""),
    "MASTERDOWN": (BusyError, "Redis is a replica that has lost its primary", ""),
    "BUSY": (BusyError, "Redis runs a script and serves nobody", ""),
    "MISCONF": (
        BusyError,
        "Redis takes nothing more, since it cannot write to its disk",
        "its own log says why",
    ),
    "NOREPLICAS": (BusyError, "Redis takes nothing more, since too few replicas follow it", ""),
    "WRONGTYPE": (
        RedisError,
        "a key of this cluster in Redis holds something else",
        "somebody else uses its name; --cluster-name takes another one",
    ),
}
"""By the word with which an error of Redis begins."""


def error_of(reply: str) -> RedisError:
    """The error for what Redis answered, which begins with a word in capitals."""
    word = reply.partition(" ")[0]
    if word in _CLASSES:
        kind, text, hint = _CLASSES[word]
        return kind(text, hint)
    lower = reply.lower()
    if "invalid password" in lower:
        return error_of("WRONGPASS")
    if "without any password configured" in lower or "no password is set" in lower:
        return LoginError("this Redis has no password, and one was given")
    if "instance state changed" in lower:
        # To a command that waited when it became one.
        return error_of("READONLY")
    if "unknown command" in lower or "wrong number of arguments for 'auth'" in lower:
        return RedisError(
            f"this Redis does not know a command that is needed: {harmless(reply)}",
            "is it older than it says, or are commands renamed in its configuration?",
        )
    if "db index" in lower:
        return RedisError("this Redis has no database of that number", "0 is always there")
    return RedisError(f"Redis answers: {harmless(reply)}")


def too_old(version: str) -> TooOldError:
    """The error for a Redis of this version."""
    needed = ".".join(map(str, MIN_REDIS))
    return TooOldError(
        f"this Redis is too old: {harmless(version)}, and {needed} or newer is needed"
    )


def a_sentinel() -> NotRedisError:
    """The error for what watches Redis, and keeps nothing."""
    return NotRedisError(
        "what answers there is a Sentinel, and no Redis",
        "name the primary, by an address that always leads to it",
    )


def too_long() -> NotRedisError:
    """The error for a reply that is longer than any to what we ask."""
    return NotRedisError(f"Redis answers with more than {MAX_REPLY_BYTES:,} bytes at once")


def foreign_answer(data: bytes) -> NotRedisError:
    """The error for first bytes that Redis would never send: by whom they may be."""
    for sign, what, hint in (
        (b"HTTP/", "a web server", ""),
        (b"SSH-", "an SSH server", ""),
        (b"\x15\x03", "a server with TLS", "a URL with rediss:// speaks TLS"),
    ):
        if data.startswith(sign):
            return NotRedisError(f"what answers there is {what}, and no Redis", hint)
    if data[2:3] == b"\x01" and b"chat/" in data[3:16]:
        return NotRedisError(
            "what answers there is a chat server, and no Redis",
            "--cluster takes the address of Redis; servers find each other through it",
        )
    return NotRedisError(f"what answers there is no Redis: {harmless(data[:24])}")


def harmless(said: str | bytes) -> str:
    """What came over the wire, in one short and printable line."""
    text = said.decode("latin-1") if isinstance(said, bytes) else said
    return escape_line(text[:MAX_REDIS_TEXT_CHARS])
