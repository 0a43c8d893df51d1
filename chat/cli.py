"""The command line: its options, and what values they may have.

`__main__` does what it asks for.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    MAX_ROOMS,
    MAX_TEXT_BYTES,
    PATIENCE_SECONDS,
    RATE,
)
from chat.place import check_host, destination_of, place_of, port_of

STANDARD_INPUT = "-"
"""The TEXT of `send` that means: read the message from standard input."""

MAX_INPUT_BYTES = 2 * MAX_TEXT_BYTES + len("\ufeff\r\n".encode())
"""Longer input is no message, even if all of it is line ends of two bytes, which become one."""

_TOO_LONG = f"a message has at most {MAX_TEXT_BYTES} bytes"
_NO_TEXT = "a message is text, and this is not UTF-8"


class _Parser(argparse.ArgumentParser):
    """Raises OSError if standard output does not take the help or the version, which argparse would
    pass over. The parsers of the roles are of this class as well.

    A role may have words that only make sense together, and `understand` makes options of them. It
    raises UsageError. Options may stand between the words, and none behind `--`.
    """

    fill: "Callable[[_Parser], None] | None" = None
    """Adds the role's arguments. Called when it is the role that was chosen: to add all of them
    takes longer than to read the command line."""
    understand: Callable[[argparse.Namespace], None] | None = None
    _inside = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.fill is not None:
            fill, self.fill = self.fill, None
            fill(self)
        if self.understand is None or self._inside:
            return super().parse_known_args(args, namespace)
        end = args.index("--") if "--" in args else len(args)
        # It may call this method again, for the options and then for the words.
        self._inside = True
        options, unknown = self.parse_known_intermixed_args(args[:end], namespace)
        self._inside = False
        options.words += args[end + 1 :]
        if not unknown:
            try:
                self.understand(options)
            except UsageError as error:
                self.error(error.advice)
        return options, unknown

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
    roles = top.add_subparsers(
        dest="role", required=True, metavar="server|client|send|invite|rooms|fingerprint|forget"
    )
    _add_server(roles)
    _add_client(roles)
    _add_send(roles)
    _add_invite(roles)
    _add_rooms(roles)
    _add_fingerprint(roles)
    _add_forget(roles)
    return top


def _add_server(roles: "argparse._SubParsersAction[_Parser]") -> None:
    server = roles.add_parser(
        "server", help="run a server", description="Run a server. Type HELP at its console."
    )
    server.fill = _fill_server


def _fill_server(server: _Parser) -> None:
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
        "--no-open-room", action="store_true", help="let in only people who have an invite"
    )
    server.add_argument(
        "--room-tags",
        type=_file,
        metavar="FILE",
        help="allow only these rooms with invites: one tag a line, as invite --tag prints it",
    )
    server.add_argument(
        "--max-rooms",
        type=_count,
        default=MAX_ROOMS,
        metavar="N",
        help="most rooms with invites at a time (default: %(default)s)",
    )
    server.add_argument(
        "--motd",
        type=_file,
        metavar="FILE",
        help="what everybody is told who comes in, read again when it changes",
    )
    server.add_argument(
        "--authorized-keys",
        type=_file,
        metavar="FILE",
        help="let in only these keys, one a line as in OpenSSH's authorized_keys",
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
        usage=_usage("client", "HOST [PORT] NAME", "NAME@HOST[:PORT]", "INVITE|KEPT|- NAME"),
        description="Join a room. Each line you type is a message; /help lists the commands.",
        epilog=_SECRETS,
    )
    client.fill = _fill_client


def _fill_client(client: _Parser) -> None:
    client.understand = _understand_client
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
        usage=_usage(
            "send", "HOST [PORT] NAME TEXT", "NAME@HOST[:PORT] TEXT", "INVITE|KEPT|- NAME TEXT"
        ),
        description="Send one message, and end when it is acknowledged.",
        epilog=f"{_SECRETS} A secret text should come from standard input: TEXT is - then. Put -- "
        "before a text that begins with a dash.",
    )
    send.fill = _fill_send


def _fill_send(send: _Parser) -> None:
    send.understand = _understand_send
    _add_destination(send, float(PATIENCE_SECONDS), str(PATIENCE_SECONDS))


def _add_invite(roles: "argparse._SubParsersAction[_Parser]") -> None:
    invite = roles.add_parser(
        "invite",
        help="make a private room, and print the invite to it",
        usage=_usage("invite", "HOST [PORT]"),
        description="Make a room that only those can enter and read who have its invite, and print "
        "the invite. The server is told nothing.",
    )
    invite.fill = _fill_invite


def _fill_invite(invite: _Parser) -> None:
    invite.understand = _understand_place
    _add_words(invite, "HOST [PORT]", f"the server (default port: {DEFAULT_PORT})")
    invite.add_argument("--keep", metavar="KEPT", help="also keep it under this name of your own")
    invite.add_argument("--qr", action="store_true", help="also draw it as a QR code")
    invite.add_argument(
        "--tag", action="store_true", help="also show the room's line for the server's --room-tags"
    )
    _add_expected(invite)
    _add_keys(invite)


def _add_rooms(roles: "argparse._SubParsersAction[_Parser]") -> None:
    rooms = roles.add_parser(
        "rooms",
        help="list the rooms that are kept, keep one, remove one",
        usage=_usage("rooms", "", "add KEPT", "remove KEPT"),
        description="List the rooms whose invites are kept, keep one, or remove one. add takes the "
        "invite from CHAT_INVITE, or asks for it, or reads it from a pipe.",
    )
    rooms.fill = _fill_rooms


def _fill_rooms(rooms: _Parser) -> None:
    rooms.understand = _understand_rooms
    _add_words(rooms, "add|remove KEPT", "a name of your own for the room")
    _add_keys(rooms)


def _add_fingerprint(roles: "argparse._SubParsersAction[_Parser]") -> None:
    fingerprint = roles.add_parser(
        "fingerprint",
        help="show the fingerprint of a server",
        usage=_usage("fingerprint", "HOST [PORT]", "INVITE|KEPT|-"),
        description="Show the fingerprint of a server: the one that it shows now, or the one that "
        "an invite holds.",
        epilog=_SECRETS,
    )
    fingerprint.fill = _fill_fingerprint


def _fill_fingerprint(fingerprint: _Parser) -> None:
    fingerprint.understand = _understand_place
    _add_words(fingerprint, "HOST [PORT]", _WHERE)
    _add_keys(fingerprint)


def _add_forget(roles: "argparse._SubParsersAction[_Parser]") -> None:
    forget = roles.add_parser(
        "forget",
        help="forget a server's key",
        description="Forget the key of a server, so that its next one is accepted.",
    )
    forget.fill = _fill_forget


def _fill_forget(forget: _Parser) -> None:
    forget.add_argument("host", type=_host, help="where the server runs")
    forget.add_argument("port", type=_port, help="its port")
    _add_keys(forget)


def _usage(role: str, *forms: str) -> str:
    return "\n       ".join(f"chat {role} [option ...] {form}".rstrip() for form in forms)


_WHERE = (
    f"the server (default port: {DEFAULT_PORT}), or an invite, or the name of a kept room, or -, "
    "which takes the invite from CHAT_INVITE or asks for it"
)
_SECRETS = (
    "Every user of this machine can read the arguments of a process, so keep an invite "
    "(chat rooms add) or give - for it."
)


def _add_words(role: argparse.ArgumentParser, form: str, meaning: str) -> None:
    role.add_argument("words", nargs="*", metavar=form, help=meaning)


def _understand_client(options: argparse.Namespace) -> None:
    options.place, options.name = destination_of(options.words)
    del options.words


def _understand_send(options: argparse.Namespace) -> None:
    *where, text = options.words or [""]
    options.place, options.name = destination_of(where, "your name or the text")
    options.text = _checked(text)
    del options.words


def _understand_place(options: argparse.Namespace) -> None:
    options.place = place_of(options.words)
    del options.words


def _understand_rooms(options: argparse.Namespace) -> None:
    match options.words:
        case []:
            options.action, options.kept = "list", ""
        case ["add" | "remove" as action, name]:
            options.action, options.kept = action, name
        case ["add", _, *_]:
            raise UsageError(
                "the invite is asked for, or read from a pipe: others can read what is typed here"
            )
        case ["add" | "remove"]:
            raise UsageError("the name of the room is missing")
        case _:
            raise UsageError("rooms takes add KEPT or remove KEPT; without them it lists the rooms")
    del options.words


def _add_destination(role: argparse.ArgumentParser, patience: float | None, default: str) -> None:
    """`default` says what the default `patience` means."""
    _add_words(role, "WHERE NAME", f"WHERE: {_WHERE}; NAME: your name in the room")
    _add_expected(role)
    role.add_argument(
        "--patience",
        type=_number,
        default=patience,
        metavar="SECONDS",
        help="how long to try again when the connection is lost, or the server is too busy "
        f"(default: {default})",
    )
    _add_key_options(role)


def _add_expected(role: argparse.ArgumentParser) -> None:
    role.add_argument(
        "--fingerprint",
        type=_fingerprint,
        metavar="SHA256:...",
        help="the server's fingerprint, if you were told it",
    )


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


@contextmanager
def _told() -> Iterator[None]:
    """Let argparse tell what is wrong with an argument."""
    try:
        yield
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _file(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("a file has a name")
    return _folder(text)


def _port(text: str) -> int:
    with _told():
        return port_of(text)


def _port_or_zero(text: str) -> int:
    with _told():
        return port_of(text, 0)


def _host(text: str) -> str:
    with _told():
        return check_host(text)


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
