"""Follow one message from the line that is read to the line that is written: `make trace`.

A real server and two real clients with plain views share this process and talk over the loopback.
Each has a reactor of its own, whose turns are taken here one at a time, so that what is called in
between belongs to one of them. A leg of the way is the turn of one reactor in which the message
arrives, and ends with the system call by which it leaves. All calls of functions in `chat` are
counted, those that the turn makes for other reasons included.

    python -m tools.trace              each call of each leg, and the legs in figures
    python -m tools.trace --figures    the figures alone

What a turn does before the bytes arrive or leave is counted, and not listed.
"""

import argparse
import contextlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Self

import chat
from chat.client.client import Client
from chat.kex import PrivateKey
from chat.reactor import Reactor
from chat.server.console import Console
from chat.server.desk import PlainDesk
from chat.server.server import Server
from chat.sockets import Dialer, listen
from chat.stdio import LineOutput
from chat.ui.plain import LineView
from chat.ui.style import Painter

PACKAGE = Path(chat.__file__).parent
MANY_TURNS = 10_000
SETTLED_TURNS = 200
"""Idle turns before the message: nothing of the joins is under way any more."""


class NotRunError(Exception):
    """A program would have run its reactor; its turns are taken here instead."""


class SteppedReactor(Reactor):
    """A reactor that does not run by itself."""

    def run(self) -> None:
        raise NotRunError


class Party:
    """A server or a client with a reactor of its own, and pipes to type at it and to hear it."""

    def __init__(self) -> None:
        self.reactor = SteppedReactor()
        self.source, self._keyboard = os.pipe()
        self._screen, target = os.pipe()
        os.set_blocking(self._screen, False)
        self.output = LineOutput(self.reactor, target, "utf-8")
        self._heard = b""

    def start(self, run: Callable[[], None]) -> None:
        """Do what `run` does before it runs the reactor."""
        with contextlib.suppress(NotRunError):
            run()

    def type(self, line: str) -> None:
        os.write(self._keyboard, line.encode() + b"\n")

    def shows(self, text: str) -> bool:
        """Whether this has been shown so far."""
        with contextlib.suppress(BlockingIOError):
            self._heard += os.read(self._screen, 65536)
        return text.encode() in self._heard


MOVES = {"read", "recv", "send", "write"}
"""The system calls that move a message."""


class Call(NamedTuple):
    """A call: of which function, where that stands, and how many calls it is inside of."""

    module: str
    function: str
    line: int
    depth: int

    def __str__(self) -> str:
        return f"    {'  ' * self.depth}{self.function}  chat/{self.module}.py:{self.line}"


class Leg:
    """The calls of one party's turns, up to the system call at the leg's end."""

    def __init__(self, title: str, calls: Iterable[Call] = ()) -> None:
        self.title = title
        self.calls = list(calls)
        self._depth = 0
        self._first = 0
        """The call in `Reactor.turn` in which the first byte moves."""
        self.system_calls: Counter[str] = Counter()

    @classmethod
    def of(cls, title: str, reactor: Reactor, system_call: str, times: int = 1) -> Self:
        """Take turns until `system_call` has been made so many times."""
        leg = cls(title)
        for _ in range(MANY_TURNS):
            sys.setprofile(leg._note)
            reactor.turn(0)
            sys.setprofile(None)
            if leg.system_calls[system_call] >= times:
                return leg
            if not leg.system_calls.keys() & MOVES:
                leg.calls.clear()  # an idle turn: the kernel had not carried the bytes over yet
        raise AssertionError(f"no {system_call}: {title}")

    def _note(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if not code.co_filename.startswith(str(PACKAGE)):
            return
        if event == "c_call":
            self._note_system_call(getattr(argument, "__name__", ""))
        elif event == "call":
            module = Path(code.co_filename).relative_to(PACKAGE).with_suffix("").as_posix()
            self.calls.append(Call(module, code.co_qualname, code.co_firstlineno, self._depth))
            self._depth += 1
        elif event == "return":
            self._depth -= 1

    def _note_system_call(self, name: str) -> None:
        if name in MOVES and not self.system_calls.keys() & MOVES:
            inside = [number for number, call in enumerate(self.calls) if call.depth == 1]
            self._first = inside[-1]
        self.system_calls[name] += 1

    @property
    def listed(self) -> list[Call]:
        """The calls from the one on in which the first byte moves."""
        return self.calls[self._first :]

    @property
    def figures(self) -> tuple[int, int, int, int]:
        """Functions, calls, changes of module from one call to the next, modules."""
        modules = [call.module for call in self.calls]
        changes = sum(one != other for one, other in pairwise(modules))
        functions = {(call.module, call.function) for call in self.calls}
        return len(functions), len(self.calls), changes, len(set(modules))


def follow() -> list[Leg]:
    """The legs of a message that one member sends and another one reads."""
    key = PrivateKey.generate(2048)
    server, sender, receiver = parties = Party(), Party(), Party()

    def take_turns(turns: int, shown: str = "", to: Party = server) -> None:
        """So many for each, or until this is shown."""
        for _ in range(turns):
            for party in parties:
                party.reactor.turn(0)
            if shown and to.shows(shown):
                return
        assert not shown, f"never shown: {shown}"

    with contextlib.ExitStack() as ends:
        listeners = [ends.enter_context(listener) for listener in listen("127.0.0.1", 0)]
        console = Console(server.reactor, PlainDesk(server.reactor, server.source, server.output))
        serving = Server(server.reactor, listeners, key, console)
        console.obey(serving)
        server.start(serving.run)
        port = listeners[0].getsockname()[1]
        for name, party in (("ann", sender), ("ben", receiver)):
            view = LineView(party.reactor, party.source, party.output, Painter(name))
            dialer = Dialer(party.reactor, "127.0.0.1", port)
            client = Client(party.reactor, dialer, name, key, lambda _: "", view)
            party.start(client.run)
            take_turns(MANY_TURNS, "Now you can start", party)
        take_turns(MANY_TURNS, "Username: ben", sender)
        take_turns(SETTLED_TURNS)
        sender.type("Hello")
        legs = [
            Leg.of("sender: the line is read, and leaves", sender.reactor, "send"),
            Leg.of("server: into the log, and to each of two", server.reactor, "send", times=2),
            Leg.of("receiver: it arrives and is shown", receiver.reactor, "write"),
        ]
        assert receiver.shows("Hello")
    return legs


def main() -> None:
    """Print the calls and the table."""
    arguments = argparse.ArgumentParser(description="Follow one message, call by call.")
    arguments.add_argument("--figures", action="store_true", help="print the table alone")
    options = arguments.parse_args()
    legs = follow()
    if not options.figures:
        for leg in legs:
            print(leg.title, *leg.listed, "", sep="\n")
    whole = Leg("the whole way", [call for leg in legs for call in leg.calls])
    print(f"{'leg':<42}{'functions':>10}{'calls':>10}{'changes':>10}{'modules':>10}")
    for leg in [*legs, whole]:
        print("{:<42}{:>10}{:>10}{:>10}{:>10}".format(leg.title, *leg.figures))
    print("changes: how often a call is made to another module than the call before")


if __name__ == "__main__":
    main()
