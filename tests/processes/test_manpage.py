"""The man page is what the parser and the document make it, and man has nothing to complain of."""

import shutil
import subprocess

import pytest

from tools import manpage


def test_page_is_as_the_parser_and_the_document_make_it() -> None:
    assert manpage.PAGE.read_text() == manpage.page(), "python -m tools.manpage"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("--no-history", r"\-\-no\-history"),
        (".config", r"\&.config"),
        ("the server's", r"the server\(aqs"),
        ("\\n in ~", r"\en in \(ti"),
    ],
)
def test_text_is_no_request(text: str, escaped: str) -> None:
    assert manpage.escaped(text) == escaped


@pytest.mark.skipif(shutil.which("man") is None, reason="the package man-db is not installed")
def test_man_shows_the_page_without_a_warning() -> None:
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", manpage.PAGE],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MANPAGER": "cat"},
        check=True,
    )
    assert done.stderr == ""
    shown = done.stdout
    for part in ("chatapp client [option ...]", "--no-history", "~/.config/chat/rooms", "SEE ALSO"):
        assert part in shown
