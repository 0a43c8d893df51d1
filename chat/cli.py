"""The command line: its options, and what values they may have.

`__main__` does what it asks for.
"""

import argparse
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from chat import __version__
from chat.errors import IdentityError, UsageError
from chat.files.folders import expand
from chat.limits import (
    DEFAULT_PORT,
    DEFAULT_RSA_BITS,
    GRACE_SECONDS,
    KEEP_NAMES_DAYS,
    MAX_PENDING,
    MAX_PENDING_PER_SOURCE,
    MAX_TEXT_BYTES,
    PATIENCE_SECONDS,
    RATE,
)
from chat.text import normalize_name

STANDARD_INPUT = "-"
"""The TEXT of `send` that means: read the message from standard input."""

MAX_INPUT_BYTES = 2 * MAX_TEXT_BYTES + len("\ufeff\r\n".encode())
"""Longer input is no message, even if all of it is line ends of two bytes, which become one."""

_TOO_LONG = f"a message has at most {MAX_TEXT_BYTES} bytes"
_NO_TEXT = "a message is text, and this is not UTF-8"


class _Parser(argparse.ArgumentParser):
    """Raises OSError if standard output does not take the help or the version, which argparse would
    pass over. The parsers of the roles are of this class as well."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is not None and file is sys.stdout:
            file.write(message)
            file.flush()
        else:
            super()._print_message(message, file)


def parser() -> argparse.ArgumentParser:
    """The command line as argparse knows it. Help and version are printed, or raise OSError."""
    top = _Parser(prog="chat", description="Encrypted group chat for the terminal.")
    top.add_argument("--version", action="version", version=f"chat {__version__}")
    roles = top.add_subparsers(dest="role", required=True, metavar="server|client|send|forget")
    _add_server(roles)
    _add_client(roles)
    _add_send(roles)
    _add_forget(roles)
    return top


def _add_server(roles: "argparse._SubParsersAction[_Parser]") -> None:
    server = roles.add_parser(
        "server", help="run a room", description="Run a room. Type HELP at its console."
    )
    server.add_argument(
        "--host",
        type=_host,
        default="127.0.0.1",
        help="address to listen on (default: %(default)s)",
    )
    server.add_argument(
        "-p",
        "--port",
        type=_port_or_zero,
        default=DEFAULT_PORT,
        help="port to listen on; 0 takes a free one (default: %(default)s)",
    )
    server.add_argument(
        "--grace",
        type=_number,
        default=GRACE_SECONDS,
        metavar="SECONDS",
        help="how long a member that lost the connection keeps its place (default: %(default)s)",
    )
    server.add_argument(
        "--rate",
        type=_number,
        default=RATE,
        metavar="N",
        help="messages a second from one key; 0 means no limit (default: %(default)s)",
    )
    server.add_argument(
        "--pending",
        type=_count,
        default=MAX_PENDING,
        metavar="N",
        help="most connections that are not members yet (default: %(default)s)",
    )
    server.add_argument(
        "--pending-per-source",
        type=_count,
        default=MAX_PENDING_PER_SOURCE,
        metavar="N",
        help="the same from one IPv4 address or IPv6 /64 (default: %(default)s)",
    )
    server.add_argument(
        "--authorized-keys",
        type=_file,
        metavar="FILE",
        help="let in these keys alone, one a line as in OpenSSH's authorized_keys",
    )
    server.add_argument(
        "--keep-names",
        type=_number,
        default=KEEP_NAMES_DAYS,
        metavar="DAYS",
        help="how long a key keeps the name that it used last; 0: not at all "
        "(default: %(default)s)",
    )
    _add_key_options(server)


def _add_client(roles: "argparse._SubParsersAction[_Parser]") -> None:
    client = roles.add_parser(
        "client",
        help="join a room",
        description="Join a room. Each line you type is a message; /help lists the commands.",
    )
    _add_destination(client, None, f"for ever, or {PATIENCE_SECONDS} without a terminal")
    client.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="colours (default: %(default)s, which heeds NO_COLOR)",
    )
    client.add_argument(
        "--time",
        type=_time_format,
        metavar="FORMAT",
        help="how times are shown, as for strftime (default: %%Y-%%m-%%d %%H:%%M:%%S)",
    )
    client.add_argument(
        "--no-history", action="store_true", help="do not keep what you type for the next run"
    )
    client.add_argument(
        "--json", action="store_true", help="events and commands as JSON, for programs"
    )


def _add_send(roles: "argparse._SubParsersAction[_Parser]") -> None:
    send = roles.add_parser(
        "send",
        help="send one message",
        description="Send one message, and end when it is acknowledged.",
        epilog="Every user of this machine can read the arguments of a process: a secret should "
        "come from standard input. Put -- before a message that begins with a dash.",
    )
    _add_destination(send, float(PATIENCE_SECONDS), str(PATIENCE_SECONDS))
    send.add_argument("text", type=_text, help="the message; - reads it from standard input")


def _add_forget(roles: "argparse._SubParsersAction[_Parser]") -> None:
    forget = roles.add_parser(
        "forget",
        help="forget a server's key",
        description="Forget the key of a server, so that its next one is accepted.",
    )
    _add_address(forget)
    _add_keys(forget)


def _add_address(role: argparse.ArgumentParser) -> None:
    role.add_argument("host", type=_host, help="where the server runs")
    role.add_argument("port", type=_port, help="its port")


def _add_destination(role: argparse.ArgumentParser, patience: float | None, default: str) -> None:
    """`default` says what the default `patience` means."""
    _add_address(role)
    role.add_argument("name", type=_name, help="your name in the room")
    role.add_argument(
        "--fingerprint",
        type=_fingerprint,
        metavar="SHA256:...",
        help="the server's fingerprint, if you were told it",
    )
    role.add_argument(
        "--patience",
        type=_number,
        default=patience,
        metavar="SECONDS",
        help="how long to try again when the connection is lost, or the server is too busy "
        f"(default: {default})",
    )
    _add_key_options(role)


def _add_keys(role: argparse.ArgumentParser) -> None:
    role.add_argument("--version", action="version", version=f"chat {__version__}")
    role.add_argument(
        "--keys", type=_folder, metavar="DIR", help="where keys are kept (default: ~/.config/chat)"
    )


def _add_key_options(role: argparse.ArgumentParser) -> None:
    _add_keys(role)
    role.add_argument(
        "--bits",
        type=int,
        choices=(2048, 3072, 4096),
        default=DEFAULT_RSA_BITS,
        help="size of a new RSA key (default: %(default)s)",
    )
    role.add_argument(
        "--ephemeral", action="store_true", help="use new keys for this run and keep nothing"
    )


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("a folder has a name; . is the current folder")
    try:
        return expand(text)
    except IdentityError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _file(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("a file has a name")
    return _folder(text)


def _port(text: str) -> int:
    port = _port_or_zero(text)
    if port == 0:
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    return port


def _port_or_zero(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _name(text: str) -> str:
    try:
        return normalize_name(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _host(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise argparse.ArgumentTypeError("a host is text, and this is not UTF-8") from error
    return text


def _text(text: str) -> str:
    try:
        return _checked(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def message_of(data: bytes) -> str:
    """The message in the bytes of standard input, without the last line end.

    Raises:
        UsageError: it is empty, too long, or not UTF-8.
    """
    if len(data) > MAX_INPUT_BYTES:
        raise UsageError(_TOO_LONG)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise UsageError(_NO_TEXT) from exc
    return _checked(text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n"))


def _checked(message: str) -> str:
    if not message:
        raise UsageError("a message has at least one character")
    try:
        size = len(message.encode())
    except UnicodeEncodeError as exc:
        raise UsageError(_NO_TEXT) from exc
    if size > MAX_TEXT_BYTES:
        raise UsageError(_TOO_LONG)
    return message


def _number(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", text):
        raise argparse.ArgumentTypeError("a number is expected, as in 0, 60 or 0.5")
    return float(text)


def _count(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,5}", text):
        raise argparse.ArgumentTypeError("a whole number is expected, from 1 to 999999")
    return int(text)


def _time_format(text: str) -> str:
    # Of a sign that it does not know, strftime makes the sign itself.
    shown = datetime.now().strftime(text.replace("%%", "")) if text.isprintable() else "%"
    if "%" in shown or not shown.isprintable():
        raise argparse.ArgumentTypeError("a format for strftime is expected, as in %H:%M")
    return text


def _fingerprint(text: str) -> str:
    if not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", text):
        raise argparse.ArgumentTypeError(
            "a fingerprint is SHA256: and 43 characters: letters, digits, + and /"
        )
    return text
