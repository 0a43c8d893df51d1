"""The key of a sealed room is in the invite, in the list of kept rooms, and nowhere else.

A room lives its whole life, and all goes wrong in it that can. Then everything is searched that was
written, shown or sent.
"""

import shutil
import signal
import sys
from pathlib import Path

from chat.errors import UsageError
from chat.files.keyfolder import ROOMS
from chat.frozen import replace
from chat.invite import Invite
from tests.processes.test_cuts import Cable
from tests.support.helpers import key, output_of
from tests.support.processes import CHAT, Piped, Stage, await_condition
from tests.support.secrets import Secret
from tests.support.terminals import Window, window_of

FULL_DISK = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *CHAT]

FAULTY_SERVER = """
import sys
from chat.__main__ import main
from chat.server.connection import Connection

received, faults = Connection.received, [ZeroDivisionError("on purpose")]

def faulty(connection, data):
    if faults and connection.member is not None:
        raise faults.pop()
    received(connection, data)

Connection.received = faulty
sys.exit(main())
"""

FAULTY_CLIENT = """
import gc, sys
from chat.__main__ import main
from chat.client.client import Client

def faulty(client, *_event):
    packages = "chat", "argparse", "functools"
    for each in gc.get_objects():
        if type(each).__module__.partition(".")[0] in packages:
            print(type(each).__name__, repr(each), file=sys.stderr)
    raise ZeroDivisionError("on purpose")

Client._on_entered = faulty
sys.exit(main())
"""
"""When it is in the room, it shows all its objects, and fails."""

MISUSED = UsageError.exit_status


class Life:
    """A sealed room, and what its processes have shown, each by its own name."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.shown: dict[str, bytes | str] = {}
        self._port = str(stage.free_port())
        self.server = self.start_server()
        self.cable = Cable(stage, int(self._port), str(stage.folder / "wire"))
        made = self.run("invite", "127.0.0.1", str(self.cable.port), "--keep", "friends", "--tag")
        status, self.invite, self.shown["invite"] = made.end()
        assert status == 0
        self.secret = Secret(self.invite)
        assert self.secret.found_in(self.invite)

    def start_server(self, *chat: str) -> Piped:
        options = {"CHAT_LOG": str(self.stage.folder / "journal of the server")}
        port = ["--port", self._port]
        return self.stage.server(*port, chat=list(chat) or CHAT, env=options)[0]

    def run(
        self, *arguments: str, key: str = "ira", chat: list[str] = CHAT, env: str = ""
    ) -> Piped:
        """Start a program. `env` is the invite that its environment has."""
        keys = self.stage.keys("client", key)
        variables = {"CHAT_LOG": str(self.stage.folder / "journal"), "CHAT_INVITE": env}
        return self.stage.run([*chat, *arguments, *keys], env=variables)

    def member(self, *arguments: str, key: str = "ira", env: str = "") -> Piped:
        client = self.run("client", *arguments, key=key, env=env)
        client.expect("sealed")
        return client

    def at_terminal(self, name: str, key: str) -> Window:
        """Somebody who is asked for the invite, and is in."""
        command = [*CHAT, "client", "-", name, *self.stage.keys("client", key), "--time", ""]
        window = window_of(self.stage, command, 200)
        window.await_screen("Invite (it is not shown):")
        window.enter(self.invite.strip())
        window.await_screen("In a sealed room")
        return window

    def end(self, what: str, process: Piped, status: int = 0) -> str:
        """Wait for this end; what was shown."""
        result = process.end()
        assert result.status == status, f"{what}: {result}"
        self.shown[what] = result.out + result.err
        return result.out + result.err


def all_command_lines() -> str:
    """Of every process of this machine, as any user can read them."""
    read = [output_of("ps", "-A", "-o", "args=")] if shutil.which("ps") else []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            read.append(path.read_bytes())
        except OSError:
            # It has ended meanwhile.
            continue
    return b"\n".join(read).decode(errors="surrogateescape")


def test_whole_life_of_a_room_shows_its_key_nowhere(stage: Stage) -> None:
    life = Life(stage)
    talk_and_crash(life)
    make_mistakes(life)
    fail(life)
    files = {str(path): path for path in stage.folder.rglob("*")}
    names = {path.name for path in files.values()}
    lists = {"known_servers", "known_members", "history", "server_private_key.pem"}
    assert {*lists, "wire", "journal", "journal of the server"} <= names
    kept = {path for path, file in files.items() if file.name == ROOMS}
    assert len(kept) == 2
    seen = {**life.shown, "names of files": "\n".join(files)}
    seen |= {path: file.read_bytes() for path, file in files.items() if file.is_file()}
    assert {what for what, data in seen.items() if life.secret.found_in(data)} == kept


def talk_and_crash(life: Life) -> None:
    """Three come in, each in another way, talk, and come back to the room when it has died."""
    ira = life.member("friends", "Ira")
    thea = life.member("-", "Thea", "--json", key="other", env=life.invite)
    boris = life.at_terminal("Boris", "sahnawaz")
    boris.enter("/security", "/who", "/msg Ira for you alone")
    ira.expect("for you alone")
    life.end("send", life.run("send", "friends", "Ira", "one"))
    life.end("send -", life.run("send", "-", "Ira", "two", env=life.invite))
    for text in ("one", "two"):
        thea.expect(f'"text": "{text}"')
    add_from_a_pipe(life)
    life.server.signal(signal.SIGKILL)
    life.end("killed server", life.server, -signal.SIGKILL)
    life.server = life.start_server(sys.executable, "-c", FAULTY_SERVER)
    ira.type("after the crash")
    thea.expect('"text": "after the crash"')
    boris.await_screen("Ira: after the crash")
    life.server.expect("ZeroDivisionError")
    boris.enter("/quit")
    assert boris.end() == 0
    life.shown["Boris"] = bytes(boris.written)
    for name, client in (("Ira", ira), ("Thea", thea)):
        client.end_input()
        life.end(name, client)


def add_from_a_pipe(life: Life) -> None:
    """A friend keeps the invite; meanwhile everybody looks at all processes there are."""
    add = life.run("rooms", "add", "pals", key="sahnawaz")
    add.type(life.invite[:60])
    await_condition(add.has_done_its_input)
    life.shown["command lines"] = seen = all_command_lines()
    assert "rooms add pals" in " ".join(seen.split("\0"))
    add.type(life.invite[60:])
    add.end_input()
    assert "Kept as pals" in life.end("rooms add", add)
    assert "pals 127.0.0.1" in life.end("rooms", life.run("rooms", key="sahnawaz"))
    life.end("fingerprint", life.run("fingerprint", "pals", key="sahnawaz"))


def make_mistakes(life: Life) -> None:
    """Invites of other servers, mistyped ones, options that there are not, and a full disk."""
    invite = Invite.decode(life.invite)
    wrong = replace(invite, server_digest=key("other").public.digest).encode()
    mistyped = life.invite.strip().replace("127.0.0.1", "127.0.0.2")
    join = ["client", "-", "Ira"]
    started = {
        "wrong invite": (4, life.run(*join, env=wrong)),
        "mistyped invite": (MISUSED, life.run(*join, env=mistyped)),
        "invite that is cut off": (MISUSED, life.run(*join, env=life.invite[:-9])),
        "mistyped argument": (MISUSED, life.run("client", mistyped, "Ira")),
        "option that there is not": (MISUSED, life.run("server", "--room", life.invite)),
        "full disk": (1, life.run("rooms", "add", "x", chat=FULL_DISK, env=life.invite)),
    }
    for what, (status, process) in started.items():
        assert ": error: " in life.end(what, process, status)


def fail(life: Life) -> None:
    """A client shows all its objects, and ends with a traceback."""
    faulty = life.run("client", "friends", "Ira", chat=[sys.executable, "-c", FAULTY_CLIENT])
    shown = life.end("faulty client", faulty, 1)
    for what in ("RoomKey", "SealedRoom", "Target", "Introduction", "Namespace", "Traceback"):
        assert f"{what} " in shown
    life.server.type("STATS", "ROOMS", "WHO", "TERMINATE")
    life.end("server", life.server)
