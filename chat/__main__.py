"""The programs: they do what the command line asks for, and end with an exit status.

Slow imports are made where they are needed, so that `--help` answers at once.
Exit status: 0 done, 1 failed, 2 misused, 3 refused by the server, 4 the server's key changed.
"""

import argparse
import os
import signal
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from chat import __version__, journal
from chat.cli import MAX_INPUT_BYTES, STANDARD_INPUT, message_of, parser
from chat.errors import ChatError, EditorMissingError, IdentityError, UsageError
from chat.files.folders import config_folder, state_folder
from chat.limits import (
    LINGER_SECONDS,
    MAX_MEMBERS,
    PATIENCE_SECONDS,
    SPARE_DESCRIPTORS,
)
from chat.reactor import Reactor
from chat.stdio import LineOutput, has_terminal, read_whole

if TYPE_CHECKING:
    from chat.client.view import View
    from chat.files.history import History
    from chat.files.known_servers import KnownServers
    from chat.files.members import MembersFile
    from chat.kex import PrivateKey, PublicKey
    from chat.server.access import Access
    from chat.server.console import Console
    from chat.server.desk import Desk
    from chat.server.greeting import Greeting
    from chat.server.lists import Complain
    from chat.server.operators import Operators
    from chat.server.oplog import OperatorLog
    from chat.server.rooms import RoomRules
    from chat.targets import Target
    from chat.ui.style import Painter

FAILED = 1

NO_UNIX = "chat runs on Linux, macOS and other Unix systems; on Windows use WSL"

_PACKAGE = "'pycryptodomex>=3.21'"


def main(arguments: list[str] | None = None) -> int:
    """Run `chat` with these arguments (default: the process's own) and return the exit status. It
    does not depend on whether the error could be written."""
    _occupy_standard_descriptors()
    if isinstance(sys.stdout, TextIOWrapper):
        # Names, topics and paths may have what its encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        options = parser().parse_args(arguments)
    except SystemExit:
        # Help or version was shown.
        status = 0
    except UsageError as error:
        status = _report(str(error), error.hint, error.exit_status)
    except OSError as error:
        # Help or version could not be written.
        status = _report_os_error(error)
    else:
        status = _run(options)
    _give_up(sys.stderr)
    shown = _give_up(sys.stdout)
    return status if shown else status or FAILED


def _run(options: argparse.Namespace) -> int:
    if not _is_unix():
        # Nothing else of this program is sure to work here, not even `LineOutput`.
        print(f"chat: error: {NO_UNIX}", file=sys.stderr)
        return FAILED
    try:
        if path := os.environ.get("CHAT_LOG"):
            _start_journal(path, options.role)
        _require_cryptodome()
        return _PROGRAMS[options.role](options) or 0
    except ChatError as error:
        return _report(str(error), error.hint, error.exit_status)
    except OSError as error:
        return _report_os_error(error)
    except KeyboardInterrupt:
        return _report("interrupted", "", FAILED)


def _start_journal(path: str, role: str) -> None:
    journal.start(path)
    python = sys.version.partition(" ")[0]
    journal.note(role, f"chat {__version__}, Python {python}, {os.uname().sysname}")


def _report_os_error(error: OSError) -> int:
    return _report((error.strerror or str(error)).lower(), "", FAILED)


def _report(text: str, hint: str, status: int) -> int:
    lines = f"chat: error: {text}".split("\n")
    if hint:
        lines += f"chat: hint: {hint}".split("\n")
    with closing(Reactor()) as reactor:
        # If nobody reads, or the terminal is gone, the exit status still tells.
        errors = LineOutput(reactor, _descriptor_of(sys.stderr), _encoding())
        for line in lines:
            errors.write("\n".join(_fitting(line, errors.columns)))
        errors.drain(LINGER_SECONDS)
    return status


def _fitting(line: str, columns: int | None) -> list[str]:
    """The rows of a line of an error, on a terminal with so many columns. What is indented by
    INDENT is a command: it stays whole, so that it can be copied."""
    from chat.phrases import INDENT
    from chat.ui.wrap import broken

    return [line] if columns is None or line.startswith(INDENT) else broken(line, columns)


def _give_up(stream: TextIO | None) -> bool:
    """Flush a standard stream, and return whether that succeeded. If not, the stream is led to
    /dev/null: at exit the interpreter would flush again, fail, and change the status."""
    try:
        if stream is not None:
            stream.flush()
    except OSError:
        assert stream is not None
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return False
    return True


def _is_unix() -> bool:
    try:
        for module in ("fcntl", "resource", "termios"):
            import_module(module)
    except ImportError:
        return False
    return True


def _require_cryptodome() -> None:
    try:
        if not hasattr(import_module("Cryptodome.Protocol.DH"), "import_x25519_public_key"):
            raise ImportError
    except ImportError as exc:
        if exc.name in ("ctypes", "_ctypes"):
            text = "this Python has no ctypes, which the package pycryptodomex needs"
            raise ChatError(text, "use another Python, such as the system's") from exc
        raise ChatError(
            "the package pycryptodomex (3.21 or newer) is not installed", _how_to_install()
        ) from exc


def _how_to_install() -> str:
    """The command that works for this Python: pip must not add to that of a system (PEP 668)."""
    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    if sys.prefix != sys.base_prefix or not marker.exists():
        return f"{sys.executable} -m pip install {_PACKAGE}"
    return (
        f"{sys.executable} -m venv .venv && .venv/bin/python -m pip install {_PACKAGE}, "
        "then .venv/bin/python -m chat; or make demo, which does both"
    )


# -- the programs ------------------------------------------------------------------------------


def _serve(options: argparse.Namespace) -> None:
    from chat import phrases
    from chat.inherited import inherited, start_anew
    from chat.localtime import look_again
    from chat.server import words
    from chat.server.console import Console
    from chat.server.server import Server
    from chat.server.service import Service
    from chat.sockets import address_text, listen, own_host, reachable_at

    _allow_many_descriptors(options.pending)
    listeners = inherited(os.environ) or listen(options.host, options.port)
    for listener in listeners:
        journal.note("server", f"listens on {address_text(*listener.getsockname()[:2])}")
    with closing(Reactor()) as reactor, ExitStack() as listening:
        for listener in listeners:
            listening.enter_context(listener)
        output = LineOutput(reactor, _descriptor_of(sys.stdout), _encoding())

        def announce() -> None:
            output.write(phrases.MAKING_KEY)

        key = _load_key(options, announce)
        reactor.on_signals([signal.SIGCONT], look_again)
        desk = listening.enter_context(closing(_desk(options, reactor, output)))

        def miss_log(why: str) -> None:
            console.show(words.log_trouble(why))

        log = listening.enter_context(closing(_operator_log(options, reactor, miss_log)))
        console = Console(reactor, desk, log, quiet=options.quiet)
        complain = console.complain
        server = Server(
            reactor,
            listeners,
            key,
            console,
            options.grace,
            options.rate,
            options.pending,
            options.pending_per_source,
            _rules(options, complain),
            _access(options, complain),
            comes_back=not options.ephemeral,
            greeting=_greeting(options, complain),
            operators=_operators(options, complain),
        )
        service = Service(reactor, server, os.environ)
        server.on_reload.append(log.reopen)
        reactor.on_fault = server.on_fault
        had_terminal = has_terminal()

        def hang_up() -> None:
            # The terminal is gone, or somebody wants us to read our files again.
            if had_terminal and not has_terminal():
                server.terminate()
            else:
                service.reload()

        reactor.on_signals([signal.SIGINT], desk.interrupt)
        reactor.on_signals([signal.SIGTERM], server.pause)
        reactor.on_signals([signal.SIGHUP], hang_up)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
        hosts = [own_host(listener) for listener in listeners]
        port = listeners[0].getsockname()[1]
        fingerprint = key.public.fingerprint
        console.show(*words.running(", ".join(hosts), port, fingerprint))
        outside = reachable_at(hosts)
        if outside is None:
            console.show(words.ONLY_HERE)
        host, open_room = outside or hosts[0], not options.no_open_room
        console.show(*words.invitation(host, port, fingerprint, open_room=open_room))
        console.obey(server)
        with _admin_door(options, reactor, console):
            service.begin()
            server.run()
        console.close(anew=server.starts_anew)
        if server.starts_anew:
            # It would end the program until the new one hears it; so it waits for that one.
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
            log.close()
            listening.pop_all()
    if server.starts_anew:
        start_anew(listeners)


def _desk(options: argparse.Namespace, reactor: Reactor, output: LineOutput) -> "Desk":
    """Where the operator sits: the one that fits the standard streams."""
    from chat import phrases
    from chat.server.desk import PlainDesk

    source = _descriptor_of(sys.stdin)
    if source is not None and _is_terminal(source) and output.is_terminal:
        try:
            with _what_an_editor_needs():
                from chat.ui.desk import TerminalDesk
            history = _history(options, "server_history")
            return TerminalDesk(reactor, source, output, history)
        except EditorMissingError as error:
            rows = _fitting(phrases.no_editing(error.advice), output.columns)
            output.write("\n".join(rows))
    return PlainDesk(reactor, source, output)


def _operator_log(
    options: argparse.Namespace, reactor: Reactor, complain: Callable[[str], None]
) -> "OperatorLog":
    """Where it is noted what happens, if anywhere."""
    from chat.files.logs import open_log
    from chat.server.oplog import LogFile, OperatorLog

    if not options.log:
        return OperatorLog(reactor)
    return OperatorLog(reactor, LogFile(reactor, lambda: open_log(options.log), complain))


def _operators(options: argparse.Namespace, complain: "Complain") -> "Operators":
    """Which members are operators. With --ephemeral there is no folder for the list."""
    from chat.files.keyfolder import OPERATORS
    from chat.files.lists import ListFile
    from chat.server.operators import Operators

    if options.ephemeral:
        return Operators()
    operators = ListFile(_keys(options) / OPERATORS, "list of operators")
    operators.require(may_be_missing=True)
    return Operators(complain, operators)


@contextmanager
def _admin_door(
    options: argparse.Namespace, reactor: Reactor, console: "Console"
) -> Iterator[None]:
    """Within this, the program `admin` can operate the server. With --ephemeral it cannot: there is
    no folder for the socket."""
    from chat.files.adminsocket import AdminSocket
    from chat.files.keyfolder import ADMIN_SOCKET
    from chat.server import words
    from chat.server.admin import AdminDoor

    if options.ephemeral:
        yield
        return
    try:
        admin_socket = AdminSocket(_keys(options) / ADMIN_SOCKET)
    except IdentityError as error:
        console.show(words.no_admin(error))
        yield
        return
    with closing(admin_socket), closing(AdminDoor(reactor, admin_socket.listener, console)) as door:
        door.open()
        yield


def _rules(options: argparse.Namespace, complain: "Complain") -> "RoomRules":
    """What rooms there may be."""
    from chat.files.lists import ListFile
    from chat.server.rooms import ListedTags, RoomRules

    rules = RoomRules(not options.no_open_room, options.max_rooms)
    if not options.room_tags:
        return rules
    tags = ListFile(options.room_tags, "list of tags")
    tags.require()
    listed = ListedTags(tags, complain)
    return replace(rules, is_allowed=listed, refresh=listed.refresh)


def _access(options: argparse.Namespace, complain: "Complain") -> "Access":
    """Who may come in. With --ephemeral, bans and names are kept for this run."""
    from chat.files.keyfolder import BANS, NAMES
    from chat.files.lists import ListFile
    from chat.server.access import Access

    keys = bans = names = None
    if options.authorized_keys:
        keys = ListFile(options.authorized_keys, "list of keys")
        # What is missing now is a mistake. Later it may be missing while somebody replaces it.
        keys.require()
    if not options.ephemeral:
        bans = ListFile(_keys(options) / BANS, "list of bans")
        # Later what was read last holds, and now there is nothing that could.
        bans.require(may_be_missing=True)
        if options.keep_names:
            names = ListFile(_keys(options) / NAMES, "list of names", durably=False)
    return Access(complain, keys=keys, bans=bans, names=names, keep_days=options.keep_names)


def _greeting(options: argparse.Namespace, complain: "Complain") -> "Greeting":
    """What newcomers are told. With --ephemeral, the topic is kept for this run."""
    from chat.files.keyfolder import TOPIC
    from chat.files.lists import ListFile
    from chat.files.motd import MotdFile
    from chat.server.greeting import Greeting

    motd = topic = None
    if options.motd:
        # What cannot be read now is a mistake.
        MotdFile(options.motd).read()
        motd = MotdFile(options.motd)
    if not options.ephemeral:
        topic = ListFile(_keys(options) / TOPIC, "topic")
        topic.require(may_be_missing=True)
    return Greeting(complain, topic=topic, motd=motd)


def _join(options: argparse.Namespace) -> None:
    target = _target(options)
    with closing(Reactor()) as reactor, closing(_view(options, reactor)) as view:
        if options.by_login:
            from chat.client.events import NamedByLogin

            view.show(NamedByLogin(options.name))
        _converse(options, target, reactor, view)


def _send(options: argparse.Namespace) -> None:
    from chat.ui.plain import SingleView

    target = _target(options)
    text = _read_text() if options.text == STANDARD_INPUT else options.text
    with closing(Reactor()) as reactor:
        _converse(options, target, reactor, SingleView(reactor, text), caller=True)


def _target(options: argparse.Namespace) -> "Target":
    """Where to connect. The person may be asked for it, so this comes before any view."""
    from chat.targets import target_of

    return target_of(options.place, lambda: _keys(options), options.alias)


def _read_text() -> str:
    """The message on standard input, which is read before we connect."""
    # More than this is too long in any case, and may never end.
    return message_of(read_whole(_descriptor_of(sys.stdin), MAX_INPUT_BYTES))


def _view(options: argparse.Namespace, reactor: Reactor) -> "View":
    """The view that fits the standard streams."""
    from chat import localtime, phrases
    from chat.localtime import look_again
    from chat.ui import style
    from chat.ui.plain import LineView

    source = _descriptor_of(sys.stdin)
    output = LineOutput(reactor, _descriptor_of(sys.stdout), _encoding())
    colours = style.choose_colours(options.color, os.environ, output.is_terminal)
    usual = localtime.SHORT_TIME_FORMAT if output.is_terminal else localtime.TIME_FORMAT
    time_format = usual if options.time is None else options.time
    is_dumb = os.environ.get("TERM", "dumb") == "dumb"
    painter = style.Painter(options.name, colours, time_format, _encoding(), is_dumb=is_dumb)
    reactor.on_signals([signal.SIGCONT], look_again)
    errors = LineOutput(reactor, _descriptor_of(sys.stderr), _encoding())
    if options.json:
        from chat.ui.jsonlines import JsonView

        return JsonView(reactor, source, output, painter, errors)
    if source is not None and _is_terminal(source) and output.is_terminal:
        try:
            return _screen(options, reactor, source, output, painter)
        except EditorMissingError as error:
            rows = painter.status([phrases.no_editing(error.advice)], output.columns)
            output.write("\n".join(rows))
    return LineView(reactor, source, output, painter, errors)


def _screen(
    options: argparse.Namespace,
    reactor: Reactor,
    source: int,
    output: LineOutput,
    painter: "Painter",
) -> "View":
    from chat.ui import notify

    with _what_an_editor_needs():
        from chat.ui.screen import Screen
    history = _history(options, "history")
    notification = notify.choose(options.notify, os.environ)
    return Screen(reactor, source, output, painter, history, os.environ["TERM"], notification)


@contextmanager
def _what_an_editor_needs() -> Iterator[None]:
    """Import what edits lines within this.

    Raises:
        EditorMissingError: lines cannot be edited here.
    """
    if os.environ.get("TERM", "dumb") == "dumb":
        raise EditorMissingError("the terminal is a dumb one")
    try:
        yield
    except (ImportError, AttributeError, OSError) as error:
        # Some Pythons are built without readline or ctypes.
        text = f"this Python lacks something ({error})"
        raise EditorMissingError(text, "one with ctypes and readline can do more") from error


def _history(options: argparse.Namespace, name: str) -> "History | None":
    """What was typed in earlier runs, in a file of this name. None without a home folder, or if
    nobody wants it."""
    from chat.files.history import History

    with suppress(IdentityError):
        if not options.no_history:
            return History(state_folder(os.environ) / name)
    return None


def _converse(
    options: argparse.Namespace,
    target: "Target",
    reactor: Reactor,
    view: "View",
    *,
    caller: bool = False,
) -> None:
    from chat.client.client import Client
    from chat.client.events import Failed, MakingKey, Warned
    from chat.kex import RoomKey
    from chat.sleep import SleepWatch
    from chat.targets import is_right_key, way_to

    known_servers = _known_servers(options, read_only=options.ephemeral)

    def trust(key: "PublicKey") -> str | None:
        def warn(why: str) -> None:
            view.show(Warned(why))

        return is_right_key(target, options.fingerprint, key, known_servers, warn)

    def announce() -> None:
        view.show(MakingKey())
        view.spin()

    patience = options.patience
    if patience is None and not _is_terminal(_descriptor_of(sys.stdin)):
        patience = PATIENCE_SECONDS
    try:
        # The host is looked up while the key is loaded.
        with closing(way_to(target, reactor, options.proxy)) as dialer:
            key = _load_key(options, announce, view.spin)
            room_key = None if target.room_key is None else RoomKey(target.room_key)
            client = Client(
                reactor,
                dialer,
                options.name,
                key,
                trust,
                view,
                patience,
                room_key=room_key,
                members=_known_members(options),
                caller=caller,
            )
            reactor.on_signals([signal.SIGINT], view.interrupt)
            reactor.on_signals([signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT], client.leave)
            with closing(SleepWatch(reactor, client.wake)):
                client.run()
        if not client.has_joined:
            raise ChatError("interrupted")
    except ChatError as error:
        view.show(Failed(str(error), error.hint, error.exit_status))
        raise


def _admin(options: argparse.Namespace) -> int:
    from chat.admin import operate

    return operate(options, _keys(options))


def _about_invites(options: argparse.Namespace) -> None:
    from chat.invitations import PROGRAMS

    PROGRAMS[options.role](options, _keys(options))


def _config(options: argparse.Namespace) -> None:
    from chat.settings import CONFIG

    path = config_folder(os.environ) / CONFIG
    lines = options.lines()
    print(f"# {path}" if os.path.lexists(path) else f"# There is no file {path}")
    for line in lines or ["# Nothing is set, there or by a variable CHAT_..."]:
        print(line)


def _forget(options: argparse.Namespace) -> None:
    where = (options.alias, None) if options.alias else (options.host, options.port)
    for key in _known_servers(options).forget(*where):
        what = f"the key {key.fingerprint}" if key else "a damaged line"
        print(f"[+] Forgot {what}", flush=True)


def _keys(options: argparse.Namespace) -> Path:
    return options.keys or config_folder(os.environ)


def _known_servers(options: argparse.Namespace, *, read_only: bool = False) -> "KnownServers":
    from chat.files.keyfolder import KNOWN_SERVERS
    from chat.files.known_servers import KnownServers

    return KnownServers(_keys(options) / KNOWN_SERVERS, read_only=read_only)


def _known_members(options: argparse.Namespace) -> "MembersFile | None":
    """None for `send`, which shows nobody anything of the members."""
    from chat.files.keyfolder import KNOWN_MEMBERS
    from chat.files.members import MembersFile

    if options.role == "send":
        return None
    return MembersFile(_keys(options) / KNOWN_MEMBERS, read_only=options.ephemeral)


def _load_key(
    options: argparse.Namespace,
    announce: Callable[[], None],
    spin: Callable[[], None] = lambda: None,
) -> "PrivateKey":
    """Our key. If it must be made, `announce` is called before, and `spin` again and again."""
    from chat.files.keys import load_or_make_key
    from chat.kex import PrivateKey

    interrupts: list[int] = []

    def random_bytes(size: int) -> bytes:
        if interrupts:
            raise KeyboardInterrupt
        spin()
        return os.urandom(size)

    def make() -> PrivateKey:
        announce()
        # A KeyboardInterrupt at any point could be swallowed by the library: raise it where we are
        # asked for random bytes. So the terminal is given back at other signals, too.
        before = {number: signal.getsignal(number) for number in ENDING}
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, lambda number, _: interrupts.append(number))
        try:
            return PrivateKey.generate(options.bits, random_bytes)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    if options.ephemeral:
        return make()
    role = "server" if options.role == "server" else "client"
    return load_or_make_key(_keys(options), role, make)


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that end the program."""

_PROGRAMS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "server": _serve,
    "client": _join,
    "send": _send,
    **dict.fromkeys(("invite", "rooms", "fingerprint"), _about_invites),
    "forget": _forget,
    "admin": _admin,
    "config": _config,
}


def _descriptor_of(stream: TextIO | None) -> int | None:
    """The descriptor of a standard stream; None if it was closed before we started."""
    return None if stream is None else stream.fileno()


def _allow_many_descriptors(pending: int) -> None:
    """Raise the soft limit, which is usually 1,024: each connection takes a descriptor. If the
    system refuses so many, half as many are asked for, and so on."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_MEMBERS + pending + SPARE_DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    while soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            wanted //= 2
        else:
            return


def _is_terminal(descriptor: int | None) -> bool:
    return descriptor is not None and os.isatty(descriptor)


def _encoding() -> str:
    return sys.stdout.encoding if sys.stdout is not None else "utf-8"


def _occupy_standard_descriptors() -> None:
    """Open /dev/null in place of closed standard streams, or a socket would get their numbers."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", errors="backslashreplace", closefd=False)


if __name__ == "__main__":
    sys.exit(main())
