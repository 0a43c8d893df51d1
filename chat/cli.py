"""The command line: its options, and what values they may have.

`__main__` does what it asks for.
"""

import argparse
import math
import os
import pwd
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chat import __version__
from chat.errors import IdentityError, UsageError
from chat.files.folders import expand
from chat.limits import (
    CONSOLE_LINE_BYTES,
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
from chat.parsers import Command, Commands, Top
from chat.place import (
    check_host,
    destination_of,
    is_invite,
    place_of,
    port_of,
    words_of_destination,
)
from chat.program import PROGRAM
from chat.settings import Settings, describe
from chat.text import normalize_name

if TYPE_CHECKING:
    from chat.socks import Proxy

STANDARD_INPUT = "-"
"""The TEXT of `send` that means: read the message from standard input, as without a text."""

FOREVER = "forever"

MAX_INPUT_BYTES = 2 * MAX_TEXT_BYTES + len("\ufeff\r\n".encode())
"""Longer input is no message, even if all of it is line ends of two bytes, which become one."""

_TOO_LONG = f"a message has at most {MAX_TEXT_BYTES} bytes"
_NO_TEXT = "a message is text, and this is not UTF-8"


def parser() -> argparse.ArgumentParser:
    """The command line as argparse knows it. What is wrong on it raises UsageError. Help and
    version are printed, or raise OSError."""
    top = Top(prog=PROGRAM, description="Encrypted group chat for the terminal.")
    top.add_argument("--version", action="version", version=f"chat {__version__}")
    roles = top.add_subparsers(
        dest="role",
        required=True,
        parser_class=Command,
        metavar="server|client|send|invite|rooms|fingerprint|forget|admin|config",
    )
    _add_server(roles)
    _add_client(roles)
    _add_send(roles)
    _add_invite(roles)
    _add_rooms(roles)
    _add_fingerprint(roles)
    _add_forget(roles)
    _add_admin(roles)
    _add_config(roles)
    top.commands = roles.choices
    top.forms = ("COMMAND",)
    settings = Settings(os.environ, {name: one.options for name, one in top.commands.items()})
    for command in top.commands.values():
        command.settings = settings
    return top


def _add_server(roles: Commands) -> None:
    _add_command(
        roles,
        "server",
        _fill_server,
        help="run a server",
        description="Run a server. Type HELP at its console.",
    )


def _fill_server(server: Command) -> None:
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
        help="messages a second from one key; 0 means no limit (default: %(default)g)",
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
        help="most rooms with invites at a time, of which one address begins half at most "
        "(default: %(default)s)",
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
    server.add_argument(
        "--log",
        type=_file,
        metavar="FILE",
        help="note who comes and goes, from where, and why; opened again at SIGHUP",
    )
    server.add_argument(
        "--quiet",
        action="store_true",
        help="show nothing at the console but the first lines, answers and errors",
    )
    server.add_argument(
        "--no-history", action="store_true", help="do not keep what you type for the next run"
    )
    _add_key_options(server)


def _add_client(roles: Commands) -> None:
    _add_command(
        roles,
        "client",
        _fill_client,
        "HOST [PORT] [NAME]",
        "NAME@HOST[:PORT]",
        "INVITE|KEPT|- [NAME]",
        help="join a room",
        description="Join a room. Each line you type is a message; /help lists the commands.",
        epilog=_SECRETS,
    )


def _fill_client(client: Command) -> None:
    client.understand = _understand_client
    client.add_argument(
        "--name",
        type=_name,
        help="your name, unless one stands behind WHERE (default: your login name)",
    )
    _add_destination(client, f"forever, or {PATIENCE_SECONDS} without a terminal")
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
        help="how times are shown, as for strftime (default: %%H:%%M, and in a pipe "
        "%%Y-%%m-%%d %%H:%%M:%%S)",
    )
    client.add_argument(
        "--notify",
        choices=("auto", "osc777", "osc9", "off"),
        default="auto",
        help="how the terminal is asked for a notification when your name is said (default: "
        "%(default)s, if it is known to show them)",
    )
    client.add_argument(
        "--no-history", action="store_true", help="do not keep what you type for the next run"
    )
    client.add_argument(
        "--quiet",
        choices=("on", "off", "smart"),
        default="smart",
        help="at a terminal, whose coming and going is summed up: everybody's, nobody's, or that "
        "of people with whom you do not talk (default: %(default)s)",
    )
    client.add_argument(
        "--log",
        type=_file,
        metavar="FILE",
        help="add what is said to this file, which only you can read",
    )
    client.add_argument(
        "--listen",
        action="store_true",
        help="stay when standard input, no terminal, ends",
    )
    client.add_argument(
        "--plain",
        action="store_true",
        help="plain lines at a terminal, too, without colours and codes, as for a screen reader",
    )
    _add_strip(client)
    client.add_argument(
        "--json", action="store_true", help="events and commands as JSON, for programs"
    )


def _add_send(roles: Commands) -> None:
    _add_command(
        roles,
        "send",
        _fill_send,
        "HOST [PORT] NAME [TEXT ...]",
        "NAME@HOST[:PORT] [TEXT ...]",
        "INVITE|KEPT|- NAME [TEXT ...]",
        help="send one message",
        description="Send one message, and end when it is acknowledged.",
        epilog=f"{_SECRETS} A secret text should come from standard input: TEXT is - then, or "
        f"missing. {_DASHES}.",
    )


def _fill_send(send: Command) -> None:
    send.understand = _understand_send
    send.about_options = _DASHES[0].lower() + _DASHES[1:]
    _add_destination(send, str(PATIENCE_SECONDS))
    _add_strip(send)
    send.add_argument(
        "--json", action="store_true", help="print what became of the message as JSON"
    )


def _add_invite(roles: Commands) -> None:
    _add_command(
        roles,
        "invite",
        _fill_invite,
        "HOST [PORT]",
        help="make a private room, and print the invite to it",
        description="Make a room that only those can enter and read who have its invite, and print "
        "the invite. The server is told nothing.",
    )


def _fill_invite(invite: Command) -> None:
    invite.understand = _understand_place
    _add_words(invite, "HOST [PORT]", f"the server (default port: {DEFAULT_PORT})")
    invite.add_argument("--keep", metavar="KEPT", help="also keep it under this name of your own")
    invite.add_argument("--qr", action="store_true", help="also draw it as a QR code")
    invite.add_argument(
        "--tag", action="store_true", help="also show the room's line for the server's --room-tags"
    )
    _add_expected(invite)
    _add_keys(invite)


def _add_rooms(roles: Commands) -> None:
    _add_command(
        roles,
        "rooms",
        _fill_rooms,
        "",
        "add KEPT",
        "remove KEPT",
        help="list the rooms that are kept, keep one, remove one",
        description="List the rooms whose invites are kept, keep one, or remove one. add takes the "
        "invite from CHAT_INVITE, or asks for it, or reads it from a pipe.",
    )


def _fill_rooms(rooms: Command) -> None:
    rooms.understand = _understand_rooms
    _add_words(rooms, "add|remove KEPT", "a name of your own for the room")
    _add_keys(rooms)


def _add_fingerprint(roles: Commands) -> None:
    _add_command(
        roles,
        "fingerprint",
        _fill_fingerprint,
        "HOST [PORT]",
        "INVITE|KEPT|-",
        help="show the fingerprint of a server",
        description="Show the fingerprint of a server: the one that it shows now, or the one that "
        "an invite holds.",
        epilog=_SECRETS,
    )


def _fill_fingerprint(fingerprint: Command) -> None:
    fingerprint.goes_to_a_room = True
    fingerprint.understand = _understand_place
    _add_words(fingerprint, "HOST [PORT]", _WHERE)
    _add_way(fingerprint)
    _add_keys(fingerprint)


def _add_forget(roles: Commands) -> None:
    _add_command(
        roles,
        "forget",
        _fill_forget,
        "HOST [PORT]",
        "--alias NAME",
        help="forget a server's key",
        description="Forget the key of a server, so that its next one is accepted.",
    )


def _fill_forget(forget: Command) -> None:
    forget.understand = _understand_forget
    _add_words(forget, "HOST [PORT]", f"where the server runs (default port: {DEFAULT_PORT})")
    _add_alias(forget, "the name by which the server is known, in place of HOST")
    _add_keys(forget)


def _add_admin(roles: Commands) -> None:
    _add_command(
        roles,
        "admin",
        _fill_admin,
        "CONSOLE-COMMAND",
        "-",
        help="give a command to the server on this machine",
        description="Give a command, as at the console, to the server on this machine whose keys "
        "are in the same folder; or each line of standard input (-). The status is 1 if one was "
        "refused.",
        epilog="Put -- before a word that begins with a dash.",
    )


def _fill_admin(admin: Command) -> None:
    admin.understand = _understand_admin
    _add_words(admin, "CONSOLE-COMMAND", "a command of the console (HELP lists them), or -")
    _add_keys(admin)


def _add_config(roles: Commands) -> None:
    def fill(config: Command) -> None:
        config.understand = partial(_understand_config, commands=roles.choices)
        _add_words(config, "COMMAND [KEPT]", "a command, and a room for which it is asked")
        _add_version(config)

    _add_command(
        roles,
        "config",
        fill,
        "[COMMAND [KEPT]]",
        help="show what is set in the environment and in config.toml",
        description="Show the options that are set in the environment and in config.toml, with "
        "their values and where they come from; and check the file.",
    )


def _add_command(
    roles: Commands, name: str, fill: Callable[[Command], None], *forms: str, **words: Any
) -> None:
    """`forms`: what may stand behind the name. `words` are for argparse."""
    words["epilog"] = f"{words.get('epilog', '')} {which_wins(name)}".strip()
    forms = forms or ("",)
    whole = [f"{PROGRAM} {name} [option ...] {form}".rstrip() for form in forms]
    command = roles.add_parser(name, usage="\n       ".join(whole), **words)
    command.name = name
    command.forms = forms
    command.fill = fill


_WHERE = (
    f"the server (default port: {DEFAULT_PORT}), or an invite, or the name of a kept room, or -, "
    "which takes the invite from CHAT_INVITE or asks for it"
)
_DASHES = "Put -- before a text that begins with a dash"
_SECRETS = (
    "Every user of this machine can read the arguments of a process, so keep an invite "
    f"({PROGRAM} rooms add) or give - for it."
)


def which_wins(command: str) -> str:
    """What the help of a command says of the options that are not on the command line."""
    return _WHICH_WINS.format(command)


_WHICH_WINS = (
    "Each option may also be set by a variable (--no-history: CHAT_NO_HISTORY=1) or in config.toml "
    "in the folder ~/.config/chat, below [rooms.KEPT] for one room or [{}] for all. What stands on "
    "the command line wins; then the variable, the room, the command, and the default."
)


def _add_words(role: argparse.ArgumentParser, form: str, meaning: str) -> None:
    role.add_argument("words", nargs="*", metavar=form, help=meaning)


def _understand_client(options: argparse.Namespace) -> None:
    options.by_login = options.name is None
    usual = (_login_name() if options.by_login else options.name) or ""
    options.place, options.name = destination_of(options.words, usual=usual)
    options.by_login &= options.name == usual
    del options.words


def _login_name() -> str:
    """The name of the account, if it can be a name in a room; else empty."""
    try:
        return normalize_name(pwd.getpwuid(os.getuid()).pw_name)
    except (KeyError, UsageError):
        return ""


def _understand_send(options: argparse.Namespace) -> None:
    length = words_of_destination(options.words)
    where, text = options.words[:length], options.words[length:]
    options.place, options.name = destination_of(where)
    options.text = _checked(" ".join(text)) if text else None
    del options.words


def _understand_place(options: argparse.Namespace) -> None:
    options.place = place_of(options.words)
    del options.words


def _understand_forget(options: argparse.Namespace) -> None:
    if options.words and options.alias:
        raise UsageError("a server is forgotten by its address or by its alias, not by both")
    if options.alias:
        del options.words
        return
    _understand_place(options)
    options.host, options.port = options.place.host, options.place.port
    del options.place
    if not options.host:
        raise UsageError("the host is missing")


def _understand_rooms(options: argparse.Namespace) -> None:
    match options.words:
        case []:
            options.action, options.kept = "list", ""
        case ["add" | "remove" as action, name] if not is_invite(name):
            options.action, options.kept = action, name
        case ["remove", name]:
            raise UsageError("a room is removed by the name that you keep it under")
        case ["add", _, *_]:
            raise UsageError(
                "the invite is asked for, or read from a pipe: others can read what is typed here"
            )
        case ["add" | "remove"]:
            raise UsageError("the name of the room is missing")
        case _:
            raise UsageError("rooms takes add KEPT or remove KEPT; without them it lists the rooms")
    del options.words


def _understand_admin(options: argparse.Namespace) -> None:
    if not "".join(options.words).strip():
        raise UsageError("a command of the console is missing, such as WHO")


def _understand_config(options: argparse.Namespace, commands: Mapping[str, Command]) -> None:
    match options.words:
        case []:
            asked, room = [*commands], ""
        case [name, *more] if name in commands and len(more) < 2:
            asked, room = [name], "".join(more)
        case _:
            raise UsageError("config takes the name of a command, and of a room behind it")
    options.lines = partial(_lines_of, [commands[name] for name in asked], room)
    del options.words


def _lines_of(commands: Sequence[Command], room: str) -> list[str]:
    """What is set for these commands; raises UsageError if something is wrong with it."""
    lines = []
    for command in commands:
        assert command.settings is not None
        command.settings.check(command.name, command.options())
        held = command.settings.hold(command.name, room, command.options())
        if found := describe(held):
            lines += [f"[{command.name}]", *found]
    return lines


def _add_destination(role: Command, patience: str) -> None:
    """`patience` says what holds if none is given."""
    role.goes_to_a_room = True
    _add_words(role, "WHERE NAME", f"WHERE: {_WHERE}; NAME: your name in the room")
    _add_expected(role)
    role.add_argument(
        "--patience",
        type=_patience,
        metavar="SECONDS",
        help="how long to try again when the connection is lost, or the server is too busy, or "
        f"forever (default: {patience}); if it is given, the first connection is tried again, too",
    )
    _add_key_options(role)


def _add_expected(role: argparse.ArgumentParser) -> None:
    role.add_argument(
        "--fingerprint",
        type=_fingerprint,
        metavar="SHA256:...",
        help="the server's fingerprint, if you were told it",
    )
    _add_way(role)


def _add_way(role: argparse.ArgumentParser) -> None:
    """How a server is reached and known, wherever it is."""
    _add_alias(
        role,
        "know the server by this name and not by its address, as ssh's HostKeyAlias: for several "
        "servers behind one forwarded port",
    )
    role.add_argument(
        "--proxy",
        type=_proxy,
        metavar="URL",
        help="connect through a SOCKS 5 proxy: socks5h://HOST:PORT, which looks names up itself, "
        "or socks5://HOST:PORT; with USER:PASSWORD@ before HOST if it wants them",
    )


def _add_alias(role: argparse.ArgumentParser, meaning: str) -> None:
    role.add_argument("--alias", type=_alias, default="", metavar="NAME", help=meaning)


def _add_version(role: argparse.ArgumentParser) -> None:
    role.add_argument("--version", action="version", version=f"chat {__version__}")


def _add_keys(role: argparse.ArgumentParser) -> None:
    _add_version(role)
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


def _add_strip(role: argparse.ArgumentParser) -> None:
    role.add_argument(
        "--strip",
        action="store_true",
        help="make the output of tools readable: leave out colours, and all but the last state of "
        "a progress bar; from a pipe only",
    )


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("a folder has a name; . is the current folder")
    if is_invite(text):
        # It would be part of names and errors.
        raise argparse.ArgumentTypeError("an invite is no name of a file or folder")
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


def _name(text: str) -> str:
    with _told():
        return normalize_name(text)


def _host(text: str) -> str:
    with _told():
        return check_host(text)


def message_of(data: bytes, strip: Callable[[str], str] | None = None) -> str:
    """The message in the bytes of standard input, without the last line end. `strip` is what to
    make of it first.

    Raises:
        UsageError: it is empty, too long, or not UTF-8.
    """
    if len(data) > (CONSOLE_LINE_BYTES if strip else MAX_INPUT_BYTES):
        raise UsageError(_TOO_LONG)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise UsageError(_NO_TEXT) from exc
    if strip is not None:
        text = strip(text)
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


def _alias(text: str) -> str:
    # It stands in a list like known_hosts of OpenSSH, where other characters mean something.
    if text and not re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]{0,62}", text):
        raise argparse.ArgumentTypeError(
            "an alias is a letter or digit, and 62 more of them, dots, dashes or low lines at most"
        )
    return text


def _proxy(text: str) -> "Proxy | None":
    if not text:
        return None
    from chat.socks import Proxy

    with _told():
        return Proxy(text)


def _number(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", text):
        raise argparse.ArgumentTypeError("a number is expected, as in 0, 60 or 0.5")
    return float(text)


def _patience(text: str) -> float:
    try:
        return math.inf if text == FOREVER else _number(text)
    except argparse.ArgumentTypeError as exc:
        raise argparse.ArgumentTypeError(f"{exc}, or {FOREVER}") from exc


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
