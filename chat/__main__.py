"""The programs: they do what the command line asks for, and end with an exit status.

Slow imports are made where they are needed, so that `--help` answers at once.
Exit status: 0 done, 1 failed, 2 misused, 3 refused by the server, 4 the server's key changed.
"""

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from io import TextIOWrapper
from typing import TextIO

from chat import __version__, cryptodome, journal
from chat.cli import parser
from chat.errors import ChatError, UsageError, cause_of

FAILED = ChatError.exit_status

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
    return _report(cause_of(error), "", FAILED)


def _report(text: str, hint: str, status: int) -> int:
    from chat.limits import LINGER_SECONDS
    from chat.reactor import Reactor
    from chat.stdio import LineOutput, descriptor_of, encoding
    from chat.ui.wrap import fitting

    lines = f"chat: error: {text}".split("\n")
    if hint:
        lines += f"chat: hint: {hint}".split("\n")
    with closing(Reactor()) as reactor:
        # If nobody reads, or the terminal is gone, the exit status still tells.
        errors = LineOutput(reactor, descriptor_of(sys.stderr), encoding())
        for line in lines:
            errors.write("\n".join(fitting(line, errors.columns)))
        errors.drain(LINGER_SECONDS)
    return status


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
        cryptodome.prepare()
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
    import sysconfig
    from pathlib import Path

    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    if sys.prefix != sys.base_prefix or not marker.exists():
        return f"{sys.executable} -m pip install {_PACKAGE}"
    return (
        f"{sys.executable} -m venv .venv && .venv/bin/python -m pip install {_PACKAGE}, "
        "then .venv/bin/python -m chat; or make demo, which does both"
    )


# -- the programs ------------------------------------------------------------------------------


def _serve(options: argparse.Namespace) -> None:
    from chat.serving import serve

    serve(options)


def _join(options: argparse.Namespace) -> None:
    from chat.joining import join

    join(options)


def _send(options: argparse.Namespace) -> None:
    from chat.joining import send

    send(options)


def _admin(options: argparse.Namespace) -> int:
    from chat.admin import operate

    return operate(options)


def _about_invites(options: argparse.Namespace) -> None:
    from chat.invitations import PROGRAMS

    PROGRAMS[options.role](options)


def _config(options: argparse.Namespace) -> None:
    from chat.files.folders import config_folder
    from chat.settings import CONFIG

    path = config_folder(os.environ) / CONFIG
    lines = options.lines()
    print(f"# {path}" if os.path.lexists(path) else f"# There is no file {path}")
    for line in lines or ["# Nothing is set, there or by a variable CHAT_..."]:
        print(line)


def _forget(options: argparse.Namespace) -> None:
    from chat.startup import known_servers

    where = (options.alias, None) if options.alias else (options.host, options.port)
    for key in known_servers(options).forget(*where):
        what = f"the key {key.fingerprint}" if key else "a damaged line"
        print(f"[+] Forgot {what}", flush=True)


_PROGRAMS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "server": _serve,
    "client": _join,
    "send": _send,
    **dict.fromkeys(("invite", "rooms", "fingerprint"), _about_invites),
    "forget": _forget,
    "admin": _admin,
    "config": _config,
}


def _occupy_standard_descriptors() -> None:
    """Open /dev/null in place of closed standard streams, or a socket would get their numbers."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", errors="backslashreplace", closefd=False)


if __name__ == "__main__":
    sys.exit(main())
