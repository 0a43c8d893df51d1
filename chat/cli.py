"""The command line: the commands, and the options that each of them has.

What a value of an option may be is said in `values`; what the words behind a command's name mean,
in `meanings`. `__main__` does what the command line asks for.
"""

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from chat import __version__, meanings, values
from chat.limits import (
    DEFAULT_PORT,
    DEFAULT_RSA_BITS,
    GRACE_SECONDS,
    KEEP_NAMES_DAYS,
    MAX_PENDING,
    MAX_PENDING_PER_SOURCE,
    MAX_ROOMS,
    PATIENCE_SECONDS,
    RATE,
)
from chat.parsers import Command, Commands, Top
from chat.program import PROGRAM
from chat.settings import Settings


def parser() -> argparse.ArgumentParser:
    """The command line as argparse knows it. What is wrong on it raises UsageError. Help and
    version are printed, or raise OSError."""
    top = Top(prog=PROGRAM, description="Encrypted group chat for the terminal.")
    top.add_argument("--version", action="version", version=f"chat {__version__}")
    roles = top.add_subparsers(dest="role", required=True, parser_class=Command)
    _add_server(roles)
    _add_client(roles)
    _add_send(roles)
    _add_invite(roles)
    _add_rooms(roles)
    _add_fingerprint(roles)
    _add_forget(roles)
    _add_admin(roles)
    _add_config(roles)
    roles.metavar = "|".join(roles.choices)
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
        type=values.host,
        default="127.0.0.1",
        help="address to listen on (default: %(default)s)",
    )
    server.add_argument(
        "-p",
        "--port",
        type=values.port,
        default=DEFAULT_PORT,
        help="port to listen on; 0 takes a free one (default: %(default)s)",
    )
    server.add_argument(
        "--grace",
        type=values.number,
        default=GRACE_SECONDS,
        metavar="SECONDS",
        help="how long a member that lost the connection keeps its place (default: %(default)s)",
    )
    server.add_argument(
        "--rate",
        type=values.number,
        default=RATE,
        metavar="N",
        help="messages a second from one key; 0 means no limit (default: %(default)g)",
    )
    server.add_argument(
        "--pending",
        type=values.count,
        default=MAX_PENDING,
        metavar="N",
        help="most connections that are not members yet (default: %(default)s)",
    )
    server.add_argument(
        "--pending-per-source",
        type=values.count,
        default=MAX_PENDING_PER_SOURCE,
        metavar="N",
        help="the same from one IPv4 address or IPv6 /64 (default: %(default)s)",
    )
    server.add_argument(
        "--no-open-room", action="store_true", help="let in only people who have an invite"
    )
    _add_file(
        server,
        "--room-tags",
        "allow only these rooms with invites: one tag a line, as invite --tag prints it",
    )
    server.add_argument(
        "--max-rooms",
        type=values.count,
        default=MAX_ROOMS,
        metavar="N",
        help="most rooms with invites at a time, of which one address begins half at most "
        "(default: %(default)s)",
    )
    _add_file(server, "--motd", "what everybody is told who comes in, read again when it changes")
    _add_file(
        server,
        "--authorized-keys",
        "let in only these keys, one a line as in OpenSSH's authorized_keys",
    )
    server.add_argument(
        "--keep-names",
        type=values.number,
        default=KEEP_NAMES_DAYS,
        metavar="DAYS",
        help="how long a key keeps the name that it used last; 0: not at all "
        "(default: %(default)s)",
    )
    _add_cluster(server)
    _add_file(
        server, "--log", "note who comes and goes, from where, and why; opened again at SIGHUP"
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


def _add_cluster(server: Command) -> None:
    cluster = server.add_argument_group("several servers with the same rooms")
    cluster.add_argument(
        "--cluster",
        metavar="URL",
        help="carry the rooms together with other servers: where their Redis is, as "
        "redis://HOST:PORT/DATABASE, rediss:// or redis+unix:///PATH",
    )
    _add_file(
        cluster,
        "--cluster-key",
        "the key that all servers of a cluster have, made where it is missing "
        "(default: cluster.key in the folder of the keys)",
    )
    cluster.add_argument(
        "--cluster-name",
        metavar="NAME",
        help="tells clusters in one Redis apart (default: chat)",
    )
    _add_file(
        cluster,
        "--cluster-password-file",
        "holds the password of Redis; so does CHAT_REDIS_PASSWORD",
    )
    _add_file(
        cluster, "--cluster-ca", "trust these certificates for rediss://, instead of the system's"
    )
    cluster.add_argument(
        "--check",
        action="store_true",
        help="say what is wrong with Redis and the keys of a cluster, and serve nothing",
    )


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
    client.understand = meanings.of_client
    client.add_argument(
        "--name",
        type=values.name,
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
        type=values.time_format,
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
    _add_file(client, "--log", "add what is said to this file, which only you can read")
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
    send.understand = meanings.of_send
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
    invite.understand = meanings.of_place
    _add_words(invite, "HOST [PORT]", _SERVERS)
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
    rooms.understand = meanings.of_rooms
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
    fingerprint.understand = meanings.of_place
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
    forget.understand = meanings.of_forget
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
    admin.understand = meanings.of_admin
    _add_words(admin, "CONSOLE-COMMAND", "a command of the console (HELP lists them), or -")
    _add_keys(admin)


def _add_config(roles: Commands) -> None:
    def fill(config: Command) -> None:
        config.understand = partial(meanings.of_config, commands=roles.choices)
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
    goes_to_a_room = any("KEPT|-" in form for form in forms)
    help_of_options = which_wins(name, goes_to_a_room=goes_to_a_room)
    words["epilog"] = f"{words.get('epilog', '')} {help_of_options}".strip()
    forms = forms or ("",)
    whole = [f"{PROGRAM} {name} [option ...] {form}".rstrip() for form in forms]
    command = roles.add_parser(name, usage="\n       ".join(whole), **words)
    command.name = name
    command.forms = forms
    command.goes_to_a_room = goes_to_a_room
    command.fill = fill


_SERVERS = f"the server (default port: {DEFAULT_PORT}), or several with commas between them"
_WHERE = (
    f"{_SERVERS}, or an invite, or the name of a kept room, or -, which takes the invite from "
    "CHAT_INVITE or asks for it"
)
_DASHES = "Put -- before a text that begins with a dash"
_SECRETS = (
    "Every user of this machine can read the arguments of a process, so keep an invite "
    f"({PROGRAM} rooms add) or give - for it."
)


def which_wins(command: str, *, goes_to_a_room: bool) -> str:
    """What the help of a command says of the options that are not on the command line."""
    if goes_to_a_room:
        tables, order = f"[rooms.KEPT] for one room or [{command}] for all", "the room, the command"
    else:
        tables, order = f"[{command}]", "the file"
    return (
        "Each option may also be set by a variable (--no-history: CHAT_NO_HISTORY=1; --log has "
        f"none) or in config.toml in the folder ~/.config/chat, below {tables}. What stands on the "
        f"command line wins; then the variable, {order}, and the default."
    )


def _add_words(role: argparse.ArgumentParser, form: str, meaning: str) -> None:
    role.add_argument("words", nargs="*", metavar=form, help=meaning)


def _add_destination(role: Command, patience: str) -> None:
    """`patience` says what holds if none is given."""
    _add_words(role, "WHERE NAME", f"WHERE: {_WHERE}; NAME: your name in the room")
    _add_expected(role)
    role.add_argument(
        "--patience",
        type=values.patience,
        metavar="SECONDS",
        help="how long to try again when the connection is lost, or the server is too busy, or "
        f"forever (default: {patience}); if it is given, the first connection is tried again, too",
    )
    _add_key_options(role)


def _add_expected(role: argparse.ArgumentParser) -> None:
    role.add_argument(
        "--fingerprint",
        type=values.fingerprint,
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
        type=values.proxy,
        metavar="URL",
        help="connect through a SOCKS 5 proxy: socks5h://HOST:PORT, which looks names up itself, "
        "or socks5://HOST:PORT; with USER:PASSWORD@ before HOST if it wants them",
    )


def _add_alias(role: argparse.ArgumentParser, meaning: str) -> None:
    role.add_argument("--alias", type=values.alias, default="", metavar="NAME", help=meaning)


def _add_version(role: argparse.ArgumentParser) -> None:
    role.add_argument("--version", action="version", version=f"chat {__version__}")


def _add_keys(role: argparse.ArgumentParser) -> None:
    _add_version(role)
    role.add_argument(
        "--keys",
        type=values.folder,
        metavar="DIR",
        help="where keys are kept (default: ~/.config/chat)",
    )


def _add_file(role: argparse._ActionsContainer, option: str, meaning: str) -> None:
    role.add_argument(option, type=values.file, metavar="FILE", help=meaning)


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
