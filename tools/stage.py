"""The people in the pictures and in the recording: Ira, Boris, and the server between them.

Each sits at a shell in a terminal of their own, with a home of their own. Both keep the invite of
the same room. What they type is typed key by key.
"""

import select
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.support.processes import CHAT, DEADLINE_SECONDS, ROOT, Stage, environment, place_key
from tests.support.terminals import Window

KEY_SECONDS = 0.06
"""From one key to the next."""

LOOK_SECONDS = 0.02
"""How long the windows are read before somebody looks again whether it has come to something."""

ROOM = "friends"

COMMAND = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(ROOT)!r})
from chat.__main__ import main
sys.exit(main())
"""
"""The command that an installation puts there."""

KEYS = {"Ira": "ira", "Boris": "sahnawaz"}


class Shell(Window):
    """A shell in a window, and when it wrote what."""

    def __init__(self, env: Mapping[str, str], columns: int, rows: int) -> None:
        super().__init__(["bash", "--norc", "--noprofile"], env, columns, rows)
        self.events: list[tuple[float, bytes]] = []
        """What was written, and at which second of `time.monotonic`."""

    def feed(self, data: bytes) -> None:
        super().feed(data)
        self.events.append((time.monotonic(), data))

    def fileno(self) -> int:
        """For `select`."""
        return int(self._child.child_fd)

    def read(self) -> None:
        """Read what is there."""
        self._read(0.0)

    def shows(self, *texts: str) -> bool:
        """Whether rows hold these."""
        return all(any(text in row for row in self.lines()) for text in texts)


class Stagehand:
    """Starts the three, and lets time pass."""

    def __init__(self, folder: Path, ends: ExitStack, pace: float = 1.0) -> None:
        """With a pace of 0 nobody pauses."""
        self._pace = pace
        self._stage = ends.enter_context(Stage(folder))
        self._ends = ends
        self._commands = folder / "bin"
        self._commands.mkdir()
        chatapp = self._commands / "chatapp"
        chatapp.write_text(COMMAND)
        chatapp.chmod(0o755)
        self.port = self._stage.free_port()
        self.windows: list[Shell] = []

    def server(self, columns: int, rows: int) -> Shell:
        """A server at work."""
        home = self._home("server", "server", f"[server]\nport = {self.port}\n")
        window = self._window(home, columns, rows)
        window.enter("chatapp server")
        self.until(lambda: window.shows("Others join with"))
        return window

    def person(self, name: str, columns: int, rows: int) -> Shell:
        """Somebody who keeps the invite and has done nothing so far."""
        home = self._home("client", KEYS[name], f'[client]\nname = "{name}"\n')
        rooms = home / ".config/chat/rooms"
        first = self._stage.folder / "rooms"
        if not first.exists():
            keep = ["invite", "127.0.0.1", str(self.port), "--keep", ROOM]
            invited = self._stage.run([*CHAT, *keep], env={"HOME": str(home)}).end()
            assert invited.status == 0, invited
            first.write_bytes(rooms.read_bytes())
        rooms.touch(0o600)
        rooms.write_bytes(first.read_bytes())
        return self._window(home, columns, rows)

    def _home(self, role: str, key: str, settings: str) -> Path:
        home = self._stage.folder / f"home of {key}"
        folder = home / ".config/chat"
        place_key(folder, role, key)
        (folder / "config.toml").write_text(settings)
        return home

    def _window(self, home: Path, columns: int, rows: int) -> Shell:
        path = environment(home, {})["PATH"]
        extra = {"PATH": f"{self._commands}:{path}", "PS1": "$ ", "HISTFILE": "/dev/null"}
        window = Shell(environment(home, extra), columns, rows)
        self._ends.callback(window.kill)
        self.windows.append(window)
        self.until(lambda: window.shows("$"))
        return window

    # -- time

    def pause(self, seconds: float) -> None:
        """Let the windows show what they have to show for so long."""
        self._read(seconds * self._pace)

    def _read(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for window in select.select(self.windows, [], [], left)[0]:
                window.read()

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until this is so."""
        end = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(
                    "\n".join(["it did not come to that", *map(str, self.windows)])
                )
            self._read(LOOK_SECONDS)

    def types(self, window: Shell, text: str) -> None:
        """Type a text, key by key."""
        for key in text:
            window.type(key)
            self.pause(KEY_SECONDS)

    def await_text(self, text: str, *windows: Shell) -> None:
        """Wait until each of the windows shows this."""
        self.until(lambda: all(window.shows(text) for window in windows))
