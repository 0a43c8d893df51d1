"""The journal: where it goes, what a line is, and that it never stands in the way."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat import journal
from chat.errors import UsageError


@pytest.fixture(autouse=True)
def _no_journal_afterwards() -> Iterator[None]:
    yield
    journal.stop()


def test_line_says_when_which_process_and_what(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text("earlier\n")
    journal.start(str(path))
    journal.note("connection 1", "accepted from 192.0.2.7:1234")
    note = journal.about("connection 2")
    assert note is not None
    note("closed: \udc80é\n\x1b")
    lines = path.read_text().splitlines()
    assert lines[0] == "earlier"
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    first = rf"{moment} {os.getpid()} connection 1: accepted from 192\.0\.2\.7:1234"
    assert re.fullmatch(first, lines[1])
    assert lines[2].endswith(r" connection 2: closed: \udc80\xe9\n\x1b")
    assert len(lines) == 3


def test_nothing_is_written_where_nobody_asked() -> None:
    journal.note("connection 1", "accepted")
    assert journal.about("connection 1") is None


def test_others_cannot_read_it(tmp_path: Path) -> None:
    journal.start(str(tmp_path / "journal"))
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("path", ["", "missing/journal", ".", "nul\0"])
def test_file_that_cannot_be_opened_is_said(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="CHAT_LOG: .* cannot be written: "):
        journal.start(path)


def test_reader_that_does_not_read_holds_nothing_up(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    journal.start(str(fifo))
    for _ in range(3):
        journal.note("connection 1", "x" * 40_000)
    os.close(reader)
    journal.note("connection 1", "nobody is there")
