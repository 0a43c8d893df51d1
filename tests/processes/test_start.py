"""What is not imported at the start, since it takes long. How long is not measured here."""

import shutil
import subprocess
import sys

import pytest

from chat.parsers import columns

_LOOK = """
import sys
from chat.__main__ import main
{}
print(*sorted({{*sys.modules}} & {!r}), file=sys.stderr)
"""

_LATE = {"dataclasses", "inspect", "logging", "asyncio", "tomllib", "difflib", "tempfile"}
"""What no program needs at its start."""

_HELP_NEEDS_NO = {"socket", "selectors", "signal", "pathlib", "shutil", "datetime", "Cryptodome"}

_PROCESSES = {"subprocess", "platform"} if sys.platform == "linux" else set()
"""What the library for cryptography would import to start processes."""

_CLIENT = """
main(["fingerprint", "127.0.0.1", "1"])
import chat.joining, chat.client.client, chat.ui.screen, chat.ui.feed, chat.files.keys
import chat.files.known_servers, chat.files.members, chat.sleep
"""
_SERVER = """
main(["fingerprint", "127.0.0.1", "1"])
import chat.serving, chat.server.server, chat.server.console, chat.files.keys
"""


@pytest.mark.parametrize(
    ("program", "late"),
    [
        ("main(['--help'])", _LATE | _PROCESSES | _HELP_NEEDS_NO),
        (_CLIENT, _LATE | _PROCESSES | {"chat.server", "chat.lookalikes"}),
        (_SERVER, _LATE | _PROCESSES | {"chat.client.client"}),
    ],
    ids=["help", "client", "server"],
)
def test_nothing_slow_is_imported_before_it_is_needed(program: str, late: set[str]) -> None:
    # -S: the installation of a developer imports much itself.
    program = f"import sys; sys.path[:0] = {sys.path}\n{_LOOK.format(program, late)}"
    command = [sys.executable, "-S", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == ""


@pytest.mark.parametrize("said", ["", "0", "132", "-3", "many"])
def test_help_is_as_wide_as_argparse_would_make_it(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", said)
    assert columns() == shutil.get_terminal_size().columns
