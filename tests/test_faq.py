"""What docs/FAQ.md says of files and limits is what the code does."""

import pytest

from chat import limits
from chat.files import keyfolder
from chat.settings import CONFIG
from tests.support.processes import ROOT

FAQ = " ".join((ROOT / "docs/FAQ.md").read_text(encoding="utf-8").split())
FILES = [
    *(f"{role}_{half}_key.pem" for role in ("client", "server") for half in ("private", "public")),
    *keyfolder.LISTS,
    keyfolder.BANS,
    keyfolder.NAMES,
    keyfolder.TOPIC,
    CONFIG,
]


@pytest.mark.parametrize("file", FILES)
def test_each_file_that_is_kept_stands_in_the_table(file: str) -> None:
    assert f"`{file}`" in FAQ


@pytest.mark.parametrize(
    ("sentence", "number"),
    [
        ("The server keeps the last {} MiB of each room", limits.WINDOW_BYTES >> 20),
        ("within `--grace` seconds, {} unless the operator says more", limits.GRACE_SECONDS),
        ("A message has at most {} KiB", limits.MAX_TEXT_BYTES >> 10),
    ],
)
def test_limit_in_the_answers_is_the_one_in_the_code(sentence: str, number: float) -> None:
    assert sentence.format(f"{number:g}") in FAQ
