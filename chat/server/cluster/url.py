"""Where Redis is, and how to log in: the URL, and the password that may come from elsewhere.

    redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]      TCP
    rediss://...                                          the same within TLS
    redis+unix://[[USER]:PASSWORD@]/PATH[?db=DATABASE]    a socket on this machine

%XX stands for any byte in user, password and path. Nothing of a URL that has an @ is repeated in an
error, and no password is in a `repr`. Files and the environment are read elsewhere.
"""

import re
from urllib.parse import unquote_to_bytes

from chat.errors import UsageError
from chat.frozen import field, frozen, replace
from chat.limits import REDIS_PORT, SOCKET_PATH_BYTES
from chat.place import check_host, port_of, with_port

PASSWORD_VARIABLE = "CHAT_REDIS_PASSWORD"

_NETWORK = re.compile(
    r"(rediss?)://(?:([^@/?#]*)@)?(\[[^\[\]/@]*\]|[^\[\]:/@?#]+)(?::([^:/@]*))?(?:/([^/]*))?",
    re.IGNORECASE,
)
_LOCAL = re.compile(r"redis\+unix://(?:([^@/?#]*)@)?(/[^?#]*)(?:\?db=([^&]*))?", re.IGNORECASE)
_FORMS = (
    "redis://HOST:PORT/DATABASE, rediss:// for TLS, redis+unix:///PATH for a socket; "
    ":PASSWORD@ or USER:PASSWORD@ stand before the host, with %40 for an @ in them"
)


@frozen
class RedisUrl:
    """Where Redis is. `path`: a socket on this machine, and then there is no host. `tls`: we speak
    TLS, and its certificate has to be for `host`. `in_text`: the password stood in the URL."""

    host: str = ""
    port: int = REDIS_PORT
    path: str = ""
    database: int = 0
    tls: bool = False
    user: str = ""
    password: bytes = field(default=b"", shown=False)
    in_text: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        """For people: without user and password."""
        if self.path:
            return f"redis+unix://{self.path}" + (f"?db={self.database}" if self.database else "")
        where = with_port(self.host, self.port)
        return f"redis{'s' if self.tls else ''}://{where}/{self.database}"

    @classmethod
    def parse(cls, text: str) -> "RedisUrl":
        """Read a URL.

        Raises:
            UsageError: it is none; the sentence repeats nothing of it.
        """
        if found := _LOCAL.fullmatch(text):
            login, path, database = found.groups()
            user, password = _login(login)
            return cls(
                path=_path(path),
                database=_database(database),
                user=user,
                password=password,
                in_text=bool(password),
            )
        if found := _NETWORK.fullmatch(text):
            scheme, login, host, port, database = found.groups()
            user, password = _login(login)
            return cls(
                host=check_host(host),
                port=REDIS_PORT if port is None else port_of(port),
                database=_database(database),
                tls=scheme.lower() == "rediss",
                user=user,
                password=password,
                in_text=bool(password),
            )
        raise UsageError("this is no address of a Redis", _FORMS)

    def with_password(self, password: bytes, source: str) -> "RedisUrl":
        """The same with a password from `source`, which names it in an error. It may be empty: then
        nothing changes.

        Raises:
            UsageError: there is another one already, or it cannot be one.
        """
        if not password or password == self.password:
            return self
        if self.password:
            raise UsageError(
                f"the URL of Redis has a password, and {source} has another one", "keep one of them"
            )
        return replace(self, password=_checked(password))

    @property
    def warning(self) -> str:
        """What to tell whoever typed this URL as an argument; "" if it may be seen."""
        if not self.in_text:
            return ""
        return (
            "the password of Redis stands in its URL: on the command line every user of this "
            f"machine can read it; {PASSWORD_VARIABLE} or a file keeps it to yourself"
        )


def password_in(content: bytes) -> bytes:
    """The password in a file's content: its first line.

    Raises:
        UsageError: it is empty, or there are more lines.
    """
    password, _, rest = content.partition(b"\n")
    password = password.removesuffix(b"\r")
    if rest.strip() or not password:
        raise UsageError("a file with a password holds one line, and nothing else")
    return _checked(password)


def _checked(password: bytes) -> bytes:
    if b"\0" in password:
        raise UsageError("a password has no NUL in it")
    return password


def _login(text: str | None) -> tuple[str, bytes]:
    if text is None:
        return "", b""
    user, colon, password = text.partition(":")
    try:
        name = unquote_to_bytes(user).decode()
        secret = _checked(unquote_to_bytes(password))
    except (UnicodeDecodeError, UnicodeEncodeError) as exc:
        raise UsageError("user or password of Redis are not UTF-8") from exc
    if not name and not secret:
        raise UsageError("there is neither a user nor a password before the @")
    if colon and not secret:
        raise UsageError("the password of Redis is empty")
    return name, secret


def _path(text: str) -> str:
    try:
        path = unquote_to_bytes(text)
    except UnicodeEncodeError as exc:
        raise UsageError("the path of the socket is not UTF-8") from exc
    if b"\0" in path or len(path) > SOCKET_PATH_BYTES:
        raise UsageError(f"the path of a socket has at most {SOCKET_PATH_BYTES} bytes, and no NUL")
    return path.decode("utf-8", "surrogateescape")


def _database(text: str | None) -> int:
    if not text:
        return 0
    if not re.fullmatch("[0-9]{1,5}", text):
        raise UsageError("the database of Redis is a number; 0 is the usual one")
    return int(text)
