"""What is published is everything, and what is installed from it runs."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from chat import __version__
from tests.support.processes import ROOT

PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")
MADE_BY_SETUPTOOLS = {"PKG-INFO", "setup.cfg"}
QUICK_TESTS = ("tests/test_wire.py", "tests/test_vectors.py", "tests/test_maps.py")


def run(*command: str | Path, cwd: Path = Path(os.sep)) -> str:
    """What a program says that must end well, by default far from our own sources."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=cwd, env=environ
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sources() -> set[str]:
    """Every file that belongs to the project: what git has; in an unpacked source distribution,
    where there is no git, what its list of files says."""
    if (ROOT / ".git").exists():
        listed = run("git", "ls-files", cwd=ROOT).splitlines()
    else:
        listed = (ROOT / "chatapp.egg-info/SOURCES.txt").read_text().splitlines()
    made = {*MADE_BY_SETUPTOOLS, *(name for name in listed if ".egg-info/" in name)}
    return {name for name in set(listed) - made if (ROOT / name).exists()}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, made from a copy, and unpacked in `chatapp-…`."""
    folder = tmp_path_factory.mktemp("published")
    for name in sources():
        copy = folder / "copy" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy)
    run(sys.executable, "-m", "build", "--sdist", "--outdir", folder, folder / "copy")
    (packed,) = folder.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_source_distribution_is_complete_and_passes_its_tests(published: Path) -> None:
    unpacked = published / f"chatapp-{__version__}"
    files = {
        path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()
    }
    made = {*MADE_BY_SETUPTOOLS, *(name for name in files if ".egg-info/" in name)}
    assert files - made == sources()
    run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *QUICK_TESTS, cwd=unpacked)


def test_wheel_holds_every_module_and_runs_where_nothing_else_is(
    published: Path, tmp_path: Path
) -> None:
    (packed,) = published.glob("*.tar.gz")
    run(sys.executable, *PIP, "wheel", "--no-deps", "--wheel-dir", tmp_path, packed)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    beside = {name for name in names if name.startswith(f"chatapp-{__version__}.data/data/share/")}
    assert names - beside == {name for name in sources() if name.startswith("chat/")}
    assert "chat/py.typed" in names
    empty = tmp_path / "empty"
    run(sys.executable, "-m", "venv", "--without-pip", empty)
    run(sys.executable, *PIP, "--python", empty / "bin/python", "install", wheel)
    assert run(empty / "bin/chatapp", "--version") == f"chat {__version__}\n"
    assert run(empty / "bin/chatapp", "--help").startswith("usage: chatapp ")
    assert run(empty / "bin/python", "-m", "chat", "--help").startswith("usage: python -m chat ")
    assert {path.name for path in (empty / "share").rglob("*") if path.is_file()} == {
        *("chatapp.1", "chatapp.bash", "_chatapp", "chatapp.fish"),
    }
    where = run(empty / "bin/python", "-c", "import chat.server.server as it; print(it.__file__)")
    assert where.startswith(str(empty))
