"""Listening sockets from outside: what is taken, and what is refused."""

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from chat import inherited as module
from chat.errors import TransportError
from chat.inherited import inherited, start_anew
from tests.support.loopback import listen


def said(count: object, process: int | None = None) -> dict[str, str]:
    """The environment in which a service manager hands over so many."""
    pid = os.getpid() if process is None else process
    return {"LISTEN_FDS": str(count), "LISTEN_PID": str(pid), "LISTEN_FDNAMES": "a:b"}


FIRST = 200
"""Far beyond the descriptors that the tests have open; it is 3 in the program."""


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """Two listeners that are handed over."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(listen("127.0.0.1", 0)) for _ in range(2)]
        for descriptor, listener in enumerate(listeners, FIRST):
            os.dup2(listener.fileno(), descriptor)
        monkeypatch.setattr(module, "_FIRST", FIRST)
        yield listeners
        for descriptor in range(FIRST, FIRST + 2):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def test_what_was_handed_over_listens_on_and_nobody_else_inherits_it(
    handed: list[socket.socket],
) -> None:
    environ = {**said(2), "HOME": "/"}
    taken = inherited(environ)
    assert [one.getsockname() for one in taken] == [one.getsockname() for one in handed]
    assert not any(os.get_inheritable(one.fileno()) for one in taken)
    assert environ == {"HOME": "/"}
    for one in taken:
        one.close()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        said(2, process=1),
        said(0),
        said(""),
        said("-1"),
        said("two"),
        said("9999"),
        said("²"),
        {"LISTEN_FDS": "2"},
    ],
)
def test_what_is_not_for_this_process_or_makes_no_sense_is_passed_over(
    handed: list[socket.socket], environ: dict[str, str]
) -> None:
    assert inherited(environ) == []
    assert environ == {}


def test_what_is_no_listening_socket_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams, socket.socket() as idle:
        for one in (datagrams, idle):
            descriptor = os.dup(one.fileno())
            monkeypatch.setattr(module, "_FIRST", descriptor)
            with pytest.raises(TransportError, match=f"{descriptor} does not listen for TCP"):
                inherited(said(1))
    with open(os.devnull) as file:
        monkeypatch.setattr(module, "_FIRST", file.fileno())
        with pytest.raises(TransportError, match="is no socket"):
            inherited(said(1))


def test_program_that_is_gone_is_named_when_the_server_is_to_start_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(TransportError, match="cannot start anew: /nowhere/python: no such file"):
        start_anew([])
