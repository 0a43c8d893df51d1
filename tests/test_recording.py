"""The recording in the README is a valid one, shows what is said of it, and is drawn as it is."""

import json
from collections.abc import Iterator
from functools import cache
from xml.etree import ElementTree

import pytest

from tools.casts import Cast, CastError
from tools.drawing import THEMES, Panel
from tools.recording import SAID, path_of, picture, read
from tools.screenshots import PICTURES

SVG = "{http://www.w3.org/2000/svg}"


def screens(panel: Panel) -> Iterator[str]:
    for frame in panel.frames:
        yield "\n".join("".join(char for char, _ in row) for row in frame.screen.rows)


@cache
def shown(title: str) -> list[str]:
    """All screens of a window, in order."""
    return list(screens(Cast.decode(path_of(title).read_text()).panel()))


@pytest.mark.parametrize("title", ["Ira", "Boris", "the server"])
def test_recording_is_kept_in_the_form_in_which_it_is_written(title: str) -> None:
    text = path_of(title).read_text()
    assert Cast.decode(text).encode() == text
    header = json.loads(text.splitlines()[0])
    assert (header["version"], header["title"]) == (2, title)


HEADER = '{"version": 2, "width": 80, "height": 24, "title": ""}\n'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        '{"version": 1, "width": 80, "height": 24, "title": ""}\n',
        '{"version": 2, "width": 80, "title": ""}\n',
        '{"version": 2, "width": 0, "height": 24, "title": ""}\n',
        HEADER + '[1.0, "o"]\n',
        HEADER + '[1.0, "x", "a"]\n',
        HEADER + '["1.0", "o", "a"]\n',
        HEADER + '[2.0, "o", "a"]\n[1.0, "o", "b"]\n',
    ],
)
def test_what_is_no_recording_is_refused(text: str) -> None:
    with pytest.raises(CastError):
        Cast.decode(text)


@pytest.mark.parametrize("title", ["Ira", "Boris"])
def test_everything_that_was_said_stands_there_once_and_in_order(title: str) -> None:
    *_, last = shown(title)
    places = [last.index(text) for text in SAID]
    assert places == sorted(places)
    assert [last.count(text) for text in SAID] == [1] * len(SAID)


def test_recording_shows_lines_that_wait_while_the_server_is_dead() -> None:
    assert any("(offline, 2 waiting) >" in screen for screen in shown("Ira"))
    assert any("Killed" in screen for screen in shown("the server"))


def test_what_is_typed_stays_whole_when_a_message_comes() -> None:
    assert any("return f" in screen and "> And if it di" in screen for screen in shown("Ira"))


def test_server_is_shown_nothing_that_was_said() -> None:
    screens_of_server = "\n".join(shown("the server"))
    assert "Message exchanged" in screens_of_server
    assert not [text for text in SAID if text in screens_of_server]


@pytest.mark.parametrize("theme", THEMES)
def test_picture_is_drawn_from_the_recording_and_is_small(theme: str) -> None:
    kept = (PICTURES / f"recording-{theme}.svg").read_text()
    assert kept == picture(read(), THEMES[theme])
    assert len(kept) < 300_000


def test_last_screen_stands_where_nothing_moves() -> None:
    root = ElementTree.fromstring((PICTURES / "recording-light.svg").read_text())
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text") if _stands(text)]
    drawn = "".join(texts).replace(" ", "")
    for title in ("Ira", "Boris", "the server"):
        for row in shown(title)[-1].splitlines():
            assert row.replace(" ", "") in drawn


def test_whatever_is_hidden_at_first_is_shown_once_and_hidden_again() -> None:
    root = ElementTree.fromstring((PICTURES / "recording-light.svg").read_text())
    hidden = [text for text in root.iter(f"{SVG}text") if not _stands(text)]
    assert len(hidden) > 100
    for text in hidden:
        moves = text.findall(f"{SVG}animate")
        values = [move.get("values", "").split(";") for move in moves]
        assert values in ([["hidden", "visible", "hidden"]], [["visible", "hidden"]])
        times = [float(time) for time in moves[0].get("keyTimes", "").split(";")]
        assert times[0] == 0
        assert times == sorted(set(times))
        assert times[-1] < 1


def _stands(text: ElementTree.Element) -> bool:
    return text.get("visibility") != "hidden"
