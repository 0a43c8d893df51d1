"""What is installed is the whole program, and it runs."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from chat import __version__
from tests.support.processes import ROOT

PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


def run(*command: str | Path) -> str:
    """What a program says that must end well, far from our own sources."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=os.sep, env=environ
    )
    return done.stdout


def test_wheel_holds_every_module_and_runs_where_nothing_else_is(tmp_path: Path) -> None:
    source, empty = tmp_path / "source", tmp_path / "empty"
    shutil.copytree(ROOT / "chat", source / "chat", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(sys.executable, *PIP, "wheel", "--no-deps", "--wheel-dir", tmp_path, source)
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    assert packed == {path.relative_to(ROOT).as_posix() for path in ROOT.glob("chat/**/*.py")}
    run(sys.executable, "-m", "venv", empty)
    run(empty / "bin/python", *PIP, "install", wheel)
    assert run(empty / "bin/chat", "--version") == f"chat {__version__}\n"
    where = run(empty / "bin/python", "-c", "import chat.server.server as it; print(it.__file__)")
    assert where.startswith(str(empty))
