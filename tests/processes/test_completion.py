"""What Tab completes: the files are those that the parser makes, and the shells obey them."""

import shutil
import subprocess
from pathlib import Path

import pexpect
import pytest

from tests.support.processes import DEADLINE_SECONDS, ROOT, environment

FOLDER = ROOT / "packaging/completion"


def test_files_are_as_the_parser_makes_them() -> None:
    # Only those need it who change the command line.
    pytest.importorskip("shtab")
    from tools import completion

    made = completion.scripts()
    assert {path.name for path in FOLDER.iterdir()} == set(made)
    for name, text in made.items():
        assert (FOLDER / name).read_text() == text, "python -m tools.completion"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with kept rooms, one of which is a comment."""
    folder = tmp_path / ".config/chat"
    folder.mkdir(parents=True)
    (folder / "rooms").write_text("friends chat://x/\n  family chat://y/\n# foes chat://z/\nfact\n")
    return tmp_path


CASES = [
    ("chatapp cl", {"client"}),
    ("chatapp fo", {"forget"}),
    ("chatapp client --col", {"--color"}),
    ("chatapp client --color a", {"auto", "always"}),
    ("chatapp client f", {"friends", "family"}),
    ("chatapp send fr", {"friends"}),
    ("chatapp rooms remove fr", {"friends"}),
    ("chatapp server --room-tags READ", {"README.md"}),
    ("chatapp server --keys packag", {"packaging"}),
]

ASK_BASH = """
source packaging/completion/chatapp.bash
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_shtab_chatapp
printf '%s\\n' "${COMPREPLY[@]}"
"""
ASK_FISH = "source packaging/completion/chatapp.fish; complete -C $argv[1]"


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(("line", "completed"), CASES)
def test_bash_completes(home: Path, line: str, completed: set[str]) -> None:
    command = ["bash", "--norc", "-c", ASK_BASH, "bash", *line.split()]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment(home, {})
    )
    assert set(done.stdout.split()) == completed
    assert done.stderr == ""


@pytest.mark.skipif(shutil.which("fish") is None, reason="the package fish is not installed")
@pytest.mark.parametrize(("line", "completed"), CASES)
def test_fish_completes(home: Path, line: str, completed: set[str]) -> None:
    command = ["fish", "--no-config", "-c", ASK_FISH, line]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment(home, {})
    )
    assert {row.partition("\t")[0].rstrip("/") for row in done.stdout.splitlines()} == completed
    assert done.stderr == ""


STARTS = {
    "bash": (["--norc", "--noprofile"], "source packaging/completion/chatapp.bash"),
    "zsh": (["-f"], "fpath=($PWD/packaging/completion $fpath); autoload -U compinit; compinit -uD"),
}


@pytest.mark.parametrize("shell", STARTS)
def test_shell_completes_on_tab(home: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"the package {shell} is not installed")
    options, start = STARTS[shell]
    env = environment(home, {"TERM": "dumb"})
    child = pexpect.spawn(
        shell, [*options, "-i"], cwd=str(ROOT), env=env, encoding="utf-8", timeout=DEADLINE_SECONDS
    )
    try:
        child.sendline(f"{start}; echo rea''dy")
        child.expect("ready\r\n")
        child.sendline("chatapp() { echo \"<$*>\"; }; echo on''ce")
        child.expect("once\r\n")
        child.send("chatapp cl\tfri\t--ephe\t\n")
        child.expect_exact("<client friends --ephemeral>")
    finally:
        child.close(force=True)
