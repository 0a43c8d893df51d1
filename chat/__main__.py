"""The command line: arguments, keys, exit status.

What takes long to load is imported when it is needed, so that `--help` answers at once.
Exit status: 0 done, 1 failed, 2 misused, 3 refused by the server, 4 the server's key changed.
"""

import argparse
import os
import re
import resource
import signal
import sys
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from chat import __version__
from chat.errors import ChatError, UsageError
from chat.limits import (
    DEFAULT_PORT,
    DEFAULT_RSA_BITS,
    FAREWELL_SECONDS,
    GRACE_SECONDS,
    MAX_HANDSHAKES,
    MAX_MEMBERS,
    PATIENCE_SECONDS,
    RATE,
    SPARE_DESCRIPTORS,
)
from chat.names import normalize_name
from chat.reactor import Reactor
from chat.terminal import LineOutput

if TYPE_CHECKING:
    from chat.kex import PrivateKey, PublicKey

FAILED = 1


def main(arguments: list[str] | None = None) -> int:
    """Run `chat` with these arguments (default: the process's own) and return the exit status."""
    options = parser().parse_args(arguments)
    _occupy_standard_descriptors()
    try:
        _require_cryptodome()
        _serve(options) if options.role == "server" else _join(options)
    except ChatError as error:
        return _report(str(error), error.hint, error.exit_status)
    except OSError as error:
        return _report((error.strerror or str(error)).lower(), "", FAILED)
    except KeyboardInterrupt:
        return _report("interrupted", "", FAILED)
    return 0


def _report(text: str, hint: str, status: int) -> int:
    if sys.stderr is not None:
        print(f"chat: error: {text}", file=sys.stderr)
        if hint:
            print(f"chat: hint: {hint}", file=sys.stderr)
    return status


def _require_cryptodome() -> None:
    try:
        if not hasattr(import_module("Cryptodome.Protocol.DH"), "import_x25519_public_key"):
            raise ImportError
    except ImportError as exc:
        raise ChatError(
            "the package pycryptodomex (3.21 or newer) is not installed",
            f"{sys.executable} -m pip install 'pycryptodomex>=3.21'",
        ) from exc


# -- arguments ---------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """The command line as argparse knows it."""
    top = argparse.ArgumentParser(prog="chat", description="Encrypted group chat for the terminal.")
    top.add_argument("--version", action="version", version=f"chat {__version__}")
    roles = top.add_subparsers(dest="role", required=True, metavar="server|client")
    server = roles.add_parser(
        "server", help="run a room", description="Run a room. Type HELP at its console."
    )
    server.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
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
        help="how long who lost the connection keeps the place (default: %(default)s)",
    )
    server.add_argument(
        "--rate",
        type=_number,
        default=RATE,
        metavar="N",
        help="messages a second of one member; 0 is no limit (default: %(default)s)",
    )
    client = roles.add_parser(
        "client",
        help="join a room",
        description="Join a room. Each line you type is a message; EXIT leaves.",
    )
    client.add_argument("host", help="where the server runs")
    client.add_argument("port", type=_port, help="its port")
    client.add_argument("name", type=_name, help="what the others shall call you")
    client.add_argument(
        "--fingerprint",
        type=_fingerprint,
        metavar="SHA256:...",
        help="the server's fingerprint, if you were told it",
    )
    client.add_argument(
        "--patience",
        type=_number,
        metavar="SECONDS",
        help="how long to try again when the connection is lost "
        f"(default: for ever, or {PATIENCE_SECONDS} in a pipe)",
    )
    for role in (server, client):
        _add_key_options(role)
    return top


def _add_key_options(role: argparse.ArgumentParser) -> None:
    role.add_argument("--version", action="version", version=f"chat {__version__}")
    role.add_argument(
        "--keys", type=Path, metavar="DIR", help="where keys are kept (default: ~/.config/chat)"
    )
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


def _number(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", text):
        raise argparse.ArgumentTypeError("a number is expected, as in 0, 60 or 0.5")
    return float(text)


def _fingerprint(text: str) -> str:
    if not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", text):
        raise argparse.ArgumentTypeError("a fingerprint is SHA256: and 43 letters and digits")
    return text


# -- the two programs --------------------------------------------------------------------------


def _serve(options: argparse.Namespace) -> None:
    from chat import transcript
    from chat.console import Console
    from chat.server import Server, listen

    _allow_many_descriptors()
    with listen(options.host, options.port) as listener, closing(Reactor()) as reactor:
        output = LineOutput(reactor, _descriptor_of(sys.stdout), _encoding())
        key = _load_key(options, output)
        console = Console(reactor, _descriptor_of(sys.stdin), output)
        server = Server(reactor, listener, key, console, options.grace, options.rate)
        reactor.on_signals([signal.SIGINT, signal.SIGTERM, signal.SIGHUP], server.terminate)
        host, port = listener.getsockname()[:2]
        console.show(*transcript.running(host, port, key.public.fingerprint))
        console.obey(server)
        server.run()
        console.close()


def _join(options: argparse.Namespace) -> None:
    from chat.client import Client
    from chat.identity import KNOWN_SERVERS, KnownServers, check_fingerprint
    from chat.transport import Dialer

    known_servers = KnownServers(_keys(options) / KNOWN_SERVERS, read_only=options.ephemeral)

    def trust(key: "PublicKey") -> bool:
        if options.fingerprint:
            check_fingerprint(options.fingerprint, key)
        return known_servers.check(options.host, options.port, key)

    with closing(Reactor()) as reactor:
        output = LineOutput(reactor, _descriptor_of(sys.stdout), _encoding())
        key = _load_key(options, output)
        dialer = Dialer(reactor, options.host, options.port)
        source = _descriptor_of(sys.stdin)
        patience = options.patience
        if patience is None and not _is_terminal(source):
            patience = PATIENCE_SECONDS
        client = Client(reactor, dialer, options.name, key, trust, source, output, patience)
        reactor.on_signals([signal.SIGINT, signal.SIGTERM, signal.SIGHUP], client.leave)
        client.run()


def _keys(options: argparse.Namespace) -> Path:
    from chat.identity import default_directory

    return options.keys or default_directory(os.environ)


def _load_key(options: argparse.Namespace, output: LineOutput) -> "PrivateKey":
    from chat import transcript
    from chat.identity import load_or_make_key
    from chat.kex import PrivateKey

    def announce() -> None:
        output.write(transcript.MAKING_KEY)
        output.drain(FAREWELL_SECONDS)

    if options.ephemeral:
        announce()
        return PrivateKey.generate(options.bits)
    return load_or_make_key(_keys(options), options.role, options.bits, announce)


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
