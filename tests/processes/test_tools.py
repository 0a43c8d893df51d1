"""What `make demo` and `make trace` start does what it says."""

import contextlib
import re
import sys
import time
from pathlib import Path

import pytest

from chat.reactor import Reactor
from tests.support.processes import ROOT, Stage
from tests.support.redis import needs_redis
from tools import demo
from tools.recording import SAID, Play
from tools.screenshots import converse
from tools.stage import Stagehand


def run(stage: Stage, tool: str, *arguments: str, **env: str) -> str:
    """What a tool shows that ends well and complains of nothing."""
    command = [sys.executable, "-m", f"tools.{tool}", *arguments]
    status, out, err = stage.run(command, env={"PYTHONPATH": str(ROOT), **env}).end()
    assert (status, err) == (0, ""), out
    return out


def test_demo_finds_everything_as_expected(stage: Stage) -> None:
    assert "│ all as expected, in " in run(stage, "demo").splitlines()[-1]


@needs_redis
def test_demo_of_a_cluster_finds_everything_as_expected(stage: Stage) -> None:
    out = run(stage, "cluster_demo")
    assert "none lost, none twice, in one order" in out
    assert out.count("The connection was lost; trying to get it back.") == 3
    assert "│ all as expected, in " in out.splitlines()[-1]


def test_demo_of_a_cluster_says_what_is_missing(stage: Stage) -> None:
    tool = [sys.executable, "-m", "tools.cluster_demo"]
    status, out, err = stage.run(tool, env={"PYTHONPATH": str(ROOT), "PATH": ""}).end()
    assert (status, err) == (1, "")
    assert out.count("\n") == 1
    assert "FAILED: redis-server is not installed" in out


def test_demo_can_be_shown_where_there_is_only_ascii_and_tells_no_journal(stage: Stage) -> None:
    out = run(stage, "demo", PYTHONIOENCODING="ascii", CHAT_LOG="/dev/stderr")
    assert r"Zo\xeb" in out
    assert "connection 1" not in out


def test_demo_notices_a_process_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "STARTED", time.monotonic())
    with contextlib.closing(Reactor()) as reactor:
        actor = demo.Actor(reactor, "server", ["--version"])
        with (
            actor.process,
            pytest.raises(demo.UnexpectedError, match=r"^server has ended, and did not show"),
        ):
            actor.shows("Running on port: ")


def test_play_of_the_recording_can_be_recorded_today(tmp_path: Path) -> None:
    with contextlib.ExitStack() as ends:
        play = Play(Stagehand(tmp_path, ends, pace=0))
        play.run()
        for window in (play.ira, play.boris):
            shown = "\n".join([*window.scrolled, *window.lines()])
            assert [shown.count(text) for text in SAID] == [1] * len(SAID)


def test_picture_of_the_conversation_can_be_made_today(tmp_path: Path) -> None:
    with contextlib.ExitStack() as ends:
        ira, boris = converse(Stagehand(tmp_path, ends, pace=0))
    assert (ira.title, boris.title) == ("Ira", "Boris")


MAKEFILE = """
.venv/ready-dev:
\tmkdir -p .venv && touch $@
lint: $(VENV)/ready-dev
\tgrep good text
format types:
"""


@pytest.mark.parametrize(("staged", "standing"), [("good", "bad"), ("bad", "good")])
def test_hook_checks_what_is_committed_and_not_what_stands_there(
    stage: Stage, tmp_path: Path, staged: str, standing: str
) -> None:
    identity = ["-c", "user.name=ira", "-c", "user.email=ira@example.org"]
    hooks = ["-c", f"core.hooksPath={ROOT / 'tools' / 'hooks'}"]

    def git(*arguments: str) -> int:
        return stage.run(["git", "-C", str(tmp_path / "repository"), *arguments]).end()[0]

    (tmp_path / "repository").mkdir()
    assert git("init", "--quiet") == 0
    (tmp_path / "repository" / "Makefile").write_text(MAKEFILE)
    text = tmp_path / "repository" / "text"
    text.write_text(staged)
    assert git("add", "Makefile", "text") == 0
    text.write_text(standing)
    status = git(*identity, *hooks, "commit", "--quiet", "--message", "Say something")
    assert (status == 0) == (staged == "good")


def test_way_of_a_message_is_counted_leg_by_leg(stage: Stage) -> None:
    heading, *rows, _ = run(stage, "trace", "--figures").splitlines()
    assert heading.split() == ["leg", "functions", "calls", "changes", "modules"]
    counts = [list(map(int, row.split()[-4:])) for row in rows]
    *legs, whole = counts
    assert len(legs) == 3
    assert whole[1] == sum(calls for _, calls, _, _ in legs)
    for functions, calls, changes, modules in counts:
        assert calls >= functions >= modules > 1
        assert calls > changes >= modules - 1


def test_way_of_a_message_is_shown_call_by_call(stage: Stage) -> None:
    calls, _, figures = run(stage, "trace").partition("\nleg ")
    assert "the whole way" in figures
    legs = re.split(r"^\S.*\n", calls, flags=re.MULTILINE)[1:]
    for leg in legs:
        first, *others = leg.strip("\n").splitlines()
        assert re.fullmatch(r" {6}\S+  chat/\w+\.py:\d+", first)
        assert all(re.fullmatch(r" {6,}\S+  chat/[\w/]+\.py:\d+", call) for call in others)
    assert "chat/stdio.py:" in legs[0]
    assert "chat/server/room.py:" in calls
    assert "chat/cipher.py:" in legs[-1]
