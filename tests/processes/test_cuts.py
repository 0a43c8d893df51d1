"""Real processes over a connection that is cut, frozen and throttled, and with ends that die.

The law is always the same: of what was sent everything is shown, once, and in order.
"""

import re
import signal
import sys

from tests.support.processes import Piped, Stage

LINES = 2000


class Cable:
    """The proxy, and what can be done to it."""

    def __init__(self, stage: Stage, port: int, *record: str) -> None:
        self._process = stage.run([sys.executable, "-m", "tests.support.proxy", str(port), *record])
        self._process.expect("\n")
        self.port = int(self._process.out)

    def do(self, command: str) -> None:
        self._process.type(command)
        self._process.expect(command.split()[0])


def flood(first: int, last: int) -> list[str]:
    return [f"line {number}." for number in range(first, last)]


def shown_by(client: Piped, speaker: str = "Ira") -> list[str]:
    return re.findall(rf"^\S+ \S+ {speaker}: (line \d+\.)$", client.out, flags=re.M)


def join(client: Piped) -> Piped:
    client.expect("Now you can start", "In the room")
    return client


def listener(stage: Stage, port: int) -> Piped:
    return join(stage.client(port, "Bob", key="sahnawaz"))


def leave(client: Piped) -> None:
    client.end_input()
    result = client.end()
    assert (result.status, result.err) == (0, "")


def test_flood_through_a_cable_that_is_cut_arrives_once_and_in_order(stage: Stage) -> None:
    _, port = stage.server("--rate", "0")
    cable = Cable(stage, port)
    bob = listener(stage, cable.port)
    ira = join(stage.client(cable.port, "Ira"))
    for number in range(0, LINES, 200):
        ira.type(*flood(number, number + 200))
        bob.expect(f"line {number}.")
        cable.do("cut")
    ira.end_input()
    bob.expect(f"line {LINES - 1}.")
    assert ira.end().status == 0
    leave(bob)
    assert shown_by(bob) == flood(0, LINES)
    assert "missed" not in bob.out
    assert bob.out.count("The connection was lost") >= 1


def test_frozen_and_throttled_cable_loses_nothing(stage: Stage) -> None:
    _, port = stage.server("--rate", "0")
    cable = Cable(stage, port)
    bob = listener(stage, cable.port)
    ira = join(stage.client(port, "Ira"))
    ira.type(*flood(0, 500))
    bob.expect("line 100.")
    cable.do("freeze")
    ira.type(*flood(500, 1000))
    ira.end_input()
    assert ira.end().status == 0
    cable.do("throttle 500")
    cable.do("thaw")
    bob.expect("line 999.", "Ira left the server")
    leave(bob)
    assert shown_by(bob) == flood(0, 1000)
    assert "connection" not in bob.out


def test_server_that_is_killed_and_started_again_loses_and_doubles_nothing(stage: Stage) -> None:
    port = stage.free_port()
    command = ["--port", str(port), "--rate", "0"]
    server, _ = stage.server(*command)
    bob = listener(stage, port)
    ira = join(stage.client(port, "Ira"))
    for number in range(0, LINES, 500):
        ira.type(*flood(number, number + 500))
        bob.expect(f"line {number}.")
        server.signal(signal.SIGKILL)
        server.wait()
        server, _ = stage.server(*command)
    ira.end_input()
    bob.expect(f"line {LINES - 1}.")
    assert ira.end().status == 0
    leave(bob)
    assert shown_by(bob) == flood(0, LINES)
    assert "in a new room" in bob.out
