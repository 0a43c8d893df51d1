"""The programs: what the command line asks for, and its exit status.

What takes long to load is imported when it is needed, so that `--help` answers at once.
Exit status: 0 done, 1 failed, 2 misused, 3 refused by the server, 4 the server's key changed.
"""

import argparse
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from chat.arguments import MAX_INPUT_BYTES, STANDARD_INPUT, message_of, parser
from chat.errors import ChatError, EditorMissingError, IdentityError
from chat.folders import config_folder, state_folder
from chat.limits import (
    FAREWELL_SECONDS,
    MAX_HANDSHAKES,
    MAX_MEMBERS,
    PATIENCE_SECONDS,
    READ_BYTES,
    SPARE_DESCRIPTORS,
)
from chat.reactor import Reactor
from chat.terminal import LineOutput

if TYPE_CHECKING:
    from chat.kex import PrivateKey, PublicKey
    from chat.style import Painter
    from chat.view import View

FAILED = 1


def main(arguments: list[str] | None = None) -> int:
    """Run `chat` with these arguments (default: the process's own) and return the exit status."""
    try:
        status = _run(arguments)
    except SystemExit as exit_:
        # This is how argparse ends.
        status = exit_.code if isinstance(exit_.code, int) else 0
    return _flushed(sys.stdout, _flushed(sys.stderr, status))


def _flushed(stream: TextIO | None, status: int) -> int:
    """Write what waits in a standard stream. When that fails, so have we, if we had not yet; and
    Python, which would try once more at the exit and end with a status of its own, need not."""
    if stream is None:
        return status
    try:
        stream.flush()
    except OSError:
        with suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
        return status or FAILED
    return status


def _run(arguments: list[str] | None) -> int:
    options = parser().parse_args(arguments)
    _occupy_standard_descriptors()
    try:
        _require_cryptodome()
        _PROGRAMS[options.role](options)
    except ChatError as error:
        return _report(str(error), error.hint, error.exit_status)
    except OSError as error:
        return _report((error.strerror or str(error)).lower(), "", FAILED)
    except KeyboardInterrupt:
        return _report("interrupted", "", FAILED)
    return 0


def _report(text: str, hint: str, status: int) -> int:
    lines = [f"chat: error: {text}"]
    if hint:
        lines.append(f"chat: hint: {hint}")
    with closing(Reactor()) as reactor:
        # It may be that nobody reads, or that the terminal is gone: the status tells, too.
        errors = LineOutput(reactor, _descriptor_of(sys.stderr), _encoding())
        errors.write("\n".join(lines))
        errors.drain(FAREWELL_SECONDS)
    return status


def _require_cryptodome() -> None:
    try:
        if not hasattr(import_module("Cryptodome.Protocol.DH"), "import_x25519_public_key"):
            raise ImportError
    except ImportError as exc:
        if exc.name in ("ctypes", "_ctypes"):
            text = "this Python has no ctypes, which the package pycryptodomex needs"
            raise ChatError(text, "take another Python, such as the system's") from exc
        raise ChatError(
            "the package pycryptodomex (3.21 or newer) is not installed",
            f"{sys.executable} -m pip install 'pycryptodomex>=3.21'",
        ) from exc


# -- the programs ------------------------------------------------------------------------------


def _serve(options: argparse.Namespace) -> None:
    from chat import transcript
    from chat.console import Console
    from chat.localtime import look_again
    from chat.server import Server
    from chat.sockets import listen

    _allow_many_descriptors()
    with listen(options.host, options.port) as listener, closing(Reactor()) as reactor:
        output = LineOutput(reactor, _descriptor_of(sys.stdout), _encoding())

        def announce() -> None:
            output.write(transcript.MAKING_KEY)

        key = _load_key(options, announce)
        console = Console(reactor, _descriptor_of(sys.stdin), output)
        server = Server(reactor, listener, key, console, options.grace, options.rate)
        reactor.on_signals([signal.SIGINT, signal.SIGTERM, signal.SIGHUP], server.terminate)
        reactor.on_signals([signal.SIGCONT], look_again)
        host, port = listener.getsockname()[:2]
        console.show(*transcript.running(host, port, key.public.fingerprint))
        console.obey(server)
        server.run()
        console.close()


def _join(options: argparse.Namespace) -> None:
    with closing(Reactor()) as reactor, closing(_view(options, reactor)) as view:
        _converse(options, reactor, view)


def _send(options: argparse.Namespace) -> None:
    from chat.lines import SingleView

    text = _read_text() if options.text == STANDARD_INPUT else options.text
    with closing(Reactor()) as reactor:
        _converse(options, reactor, SingleView(reactor, text))


def _read_text() -> str:
    """The message on standard input, before anybody is told that we are there."""
    source = _descriptor_of(sys.stdin)
    data = b""
    # More than this is too long whatever it is, and need not come to an end.
    while source is not None and len(data) <= MAX_INPUT_BYTES:
        more = os.read(source, READ_BYTES)
        if not more:
            break
        data += more
    return message_of(data)


def _view(options: argparse.Namespace, reactor: Reactor) -> "View":
    """The conversation as it fits to where it is shown and typed."""
    from chat import style, transcript
    from chat.lines import LineView
    from chat.localtime import look_again

    source = _descriptor_of(sys.stdin)
    output = LineOutput(reactor, _descriptor_of(sys.stdout), _encoding())
    colours = style.choose_colours(options.color, os.environ, output.is_terminal)
    time_format = transcript.TIME_FORMAT if options.time is None else options.time
    painter = style.Painter(options.name, colours, time_format)
    reactor.on_signals([signal.SIGCONT], look_again)
    errors = LineOutput(reactor, _descriptor_of(sys.stderr), _encoding())
    if options.json:
        from chat.jsonlines import JsonView

        return JsonView(reactor, source, output, painter, errors)
    if source is not None and _is_terminal(source) and output.is_terminal:
        try:
            return _screen(options, reactor, source, output, painter)
        except EditorMissingError as error:
            output.write(transcript.no_editing(error.advice))
    return LineView(reactor, source, output, painter, errors)


def _screen(
    options: argparse.Namespace,
    reactor: Reactor,
    source: int,
    output: LineOutput,
    painter: "Painter",
) -> "View":
    term = os.environ.get("TERM", "dumb")
    if term == "dumb":
        raise EditorMissingError("the terminal is a dumb one")
    from chat.history import History

    try:
        from chat.screen import TITLED, Screen
    except (ImportError, AttributeError, OSError) as error:
        # Not every Python is built with all of its own modules.
        text = f"this Python lacks something ({error})"
        raise EditorMissingError(text, "one with ctypes and readline can do more") from error
    history = None
    # Who has no home has no history either.
    with suppress(IdentityError):
        if not options.no_history:
            history = History(state_folder(os.environ) / "history")
    has_title = term.startswith(TITLED)
    screen = Screen(reactor, source, output, painter, history, has_title=has_title)
    reactor.on_signals([signal.SIGWINCH], screen.resize)
    reactor.on_signals([signal.SIGTSTP], screen.suspend)
    reactor.on_signals([signal.SIGCONT], screen.go_on)
    return screen


def _converse(options: argparse.Namespace, reactor: Reactor, view: "View") -> None:
    from chat.client import Client
    from chat.happenings import Connecting, Failed, MakingKey
    from chat.identity import KNOWN_SERVERS, KnownServers, check_fingerprint
    from chat.sockets import Dialer

    known_servers = KnownServers(_keys(options) / KNOWN_SERVERS, read_only=options.ephemeral)

    def trust(key: "PublicKey") -> bool:
        if options.fingerprint:
            check_fingerprint(options.fingerprint, key)
        return known_servers.check(options.host, options.port, key)

    def announce() -> None:
        view.show(MakingKey())
        view.spin()

    patience = options.patience
    if patience is None and not _is_terminal(_descriptor_of(sys.stdin)):
        patience = PATIENCE_SECONDS
    try:
        key = _load_key(options, announce, view.spin)
        dialer = Dialer(reactor, options.host, options.port)
        client = Client(reactor, dialer, options.name, key, trust, view, patience)
        reactor.on_signals([signal.SIGINT], view.interrupt)
        reactor.on_signals([signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT], client.leave)
        view.show(Connecting(options.host, options.port))
        client.run()
    except ChatError as error:
        view.show(Failed(str(error), error.hint, error.exit_status))
        raise


def _keys(options: argparse.Namespace) -> Path:
    return options.keys or config_folder(os.environ)


def _load_key(
    options: argparse.Namespace,
    announce: Callable[[], None],
    spin: Callable[[], None] = lambda: None,
) -> "PrivateKey":
    """The key of this side. Before one is made, `announce` is called; meanwhile, `spin`."""
    from chat.identity import load_or_make_key
    from chat.kex import PrivateKey

    interrupts: list[int] = []

    def random_bytes(size: int) -> bytes:
        if interrupts:
            raise KeyboardInterrupt
        spin()
        return os.urandom(size)

    def make() -> PrivateKey:
        announce()
        # An exception that a signal raises anywhere may come where it is swallowed.
        before = signal.getsignal(signal.SIGINT)
        if before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
        try:
            return PrivateKey.generate(options.bits, random_bytes)
        finally:
            signal.signal(signal.SIGINT, before)

    if options.ephemeral:
        return make()
    role = "server" if options.role == "server" else "client"
    return load_or_make_key(_keys(options), role, make)


_PROGRAMS = {"server": _serve, "client": _join, "send": _send}


def _descriptor_of(stream: TextIO | None) -> int | None:
    """The descriptor behind a standard stream; None when it was closed before we started."""
    return None if stream is None else stream.fileno()


def _allow_many_descriptors() -> None:
    """Each member takes one, and the usual limit of 1,024 is a soft one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_MEMBERS + MAX_HANDSHAKES + SPARE_DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _is_terminal(descriptor: int | None) -> bool:
    return descriptor is not None and os.isatty(descriptor)


def _encoding() -> str:
    return sys.stdout.encoding if sys.stdout is not None else "utf-8"


def _occupy_standard_descriptors() -> None:
    """Where a standard stream was closed, put /dev/null, before a socket gets its number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
