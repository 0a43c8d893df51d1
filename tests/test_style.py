"""What lines look like: colours and who gets which, rows that lose nothing, and one's own name."""

import re
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chat import style
from chat.errors import Reason
from chat.happenings import Came, Entered, Happening, Noticed, Said, Went
from chat.style import Colours, Painter, choose_colours, columns_of, cut
from tests.terminals import Emulator

thoroughly = settings(max_examples=300, deadline=None, derandomize=True)

TEXT = st.text(st.one_of(st.sampled_from("ab \n\t漢é\u0301👋"), st.characters(codec="utf-8")))
"""Text in which there is something to wrap."""


def said(text: str, name: str = "Thea", *, own: bool = False) -> Said:
    return Said(name, 0, text, own)


def message(text: str, columns: int | None = None) -> list[str]:
    """The rows of a message that shows no time; its head is 6 columns wide."""
    return Painter(time_format="").paint(said(text), columns)


def without_colours(row: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", row)


# -- which colours there are


@pytest.mark.parametrize(
    ("when", "environ", "is_terminal", "colours"),
    [
        ("auto", {"TERM": "xterm-256color"}, True, Colours.RICH),
        ("auto", {"TERM": "xterm"}, True, Colours.BASIC),
        ("auto", {"TERM": "xterm", "COLORTERM": "truecolor"}, True, Colours.RICH),
        ("auto", {"TERM": "xterm", "COLORTERM": "24bit"}, True, Colours.RICH),
        ("auto", {"TERM": "xterm", "COLORTERM": "yes"}, True, Colours.BASIC),
        ("auto", {"TERM": "dumb", "COLORTERM": "truecolor"}, True, Colours.NONE),
        ("auto", {}, True, Colours.NONE),
        ("auto", {"TERM": "xterm-256color"}, False, Colours.NONE),
        ("auto", {"TERM": "xterm-256color", "NO_COLOR": "1"}, True, Colours.NONE),
        ("auto", {"TERM": "xterm-256color", "NO_COLOR": "0"}, True, Colours.NONE),
        ("auto", {"TERM": "xterm-256color", "NO_COLOR": ""}, True, Colours.RICH),
        ("never", {"TERM": "xterm-256color"}, True, Colours.NONE),
        ("never", {"TERM": "xterm-256color"}, False, Colours.NONE),
        ("always", {"TERM": "xterm-256color", "NO_COLOR": "1"}, False, Colours.RICH),
        ("always", {"TERM": "dumb"}, False, Colours.BASIC),
        ("always", {}, False, Colours.BASIC),
    ],
)
def test_colours_are_chosen_by_the_option_the_settings_and_the_terminal(
    when: str, environ: dict[str, str], is_terminal: bool, colours: Colours
) -> None:
    assert choose_colours(when, environ, is_terminal) is colours


def luminance(code: int) -> float:
    """The relative luminance of one of xterm's 6 x 6 x 6 colours (WCAG 2.1)."""
    assert 16 <= code < 232
    levels = (0, 95, 135, 175, 215, 255)
    places = ((code - 16) // 36, (code - 16) // 6 % 6, (code - 16) % 6)
    parts = [levels[place] / 255 for place in places]
    linear = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("code", Colours.RICH.value)
def test_rich_colour_can_be_read_on_black_and_on_white(code: str) -> None:
    seen = luminance(int(code.removeprefix("38;5;"))) + 0.05
    assert seen / 0.05 >= 3.5
    assert 1.05 / seen >= 3.5


def test_luminance_is_that_of_the_standard() -> None:
    """The reckoning itself: a contrast that is wrong would hold for every colour."""
    assert luminance(16) == 0
    assert luminance(231) == pytest.approx(1)
    assert luminance(196) == pytest.approx(0.2126)


@pytest.mark.parametrize("colours", [Colours.BASIC, Colours.RICH])
def test_names_have_different_colours_and_never_that_of_trouble(colours: Colours) -> None:
    assert len(set(colours.value)) == len(colours.value)
    assert not {"31", "38;5;1", "38;5;9", "38;5;196"} & set(colours.value)


# -- what is painted


def colour_of(name: str, colours: Colours = Colours.RICH) -> str:
    (row,) = Painter("Ira", colours, "").paint(said("Hi", name))
    found = re.fullmatch(rf"\x1b\[([0-9;]+)m{re.escape(name)}:\x1b\[m Hi", row)
    assert found is not None, row
    return found[1]


@pytest.mark.parametrize("colours", [Colours.BASIC, Colours.RICH])
@pytest.mark.parametrize("same", [("Thea", "thea", "THEA"), ("Žofia", "žofia", "ŽOFIA")])
def test_name_has_the_same_colour_in_any_case(colours: Colours, same: tuple[str, ...]) -> None:
    (colour,) = {colour_of(name, colours) for name in same}
    assert colour in colours.value


def test_colour_of_a_name_is_the_same_in_every_run() -> None:
    assert [colour_of(name) for name in ("Ira", "sahnawaz", "Thea")] == [
        "38;5;100",
        "38;5;135",
        "38;5;132",
    ]


def test_every_colour_is_somebody_s() -> None:
    assert {colour_of(f"name {number}") for number in range(200)} == set(Colours.RICH.value)


def test_message_is_painted_by_its_parts() -> None:
    row = Painter("Ira", Colours.BASIC, "at %H").paint(said("Hi", "Thea"))[0]
    time, name, text = row.split("\x1b[m ")
    assert re.fullmatch(r"\x1b\[2mat [0-9]{2}", time)
    assert name == f"\x1b[{colour_of('Thea', Colours.BASIC)}mThea:"
    assert text == "Hi"


def test_action_is_painted_without_a_colon() -> None:
    assert message("\x01ACTION waves\x01") == ["* Thea waves"]


@pytest.mark.parametrize(
    ("happening", "row"),
    [
        (Came("Thea"), "\x1b[2m[+] New person joined the room. Username: Thea\x1b[m"),
        (
            Went("Thea", Reason.LOST),
            "\x1b[31m[!] Thea left the server: the connection was lost.\x1b[m",
        ),
    ],
)
def test_good_news_is_dim_and_trouble_is_red(happening: Happening, row: str) -> None:
    assert Painter("Ira", Colours.BASIC).paint(happening) == [row]
    assert Painter("Ira").paint(happening) == [without_colours(row)]


@pytest.mark.parametrize("colours", Colours)
@pytest.mark.parametrize("columns", [None, 20])
def test_colours_change_nothing_but_the_colour(colours: Colours, columns: int | None) -> None:
    for happening in (said("Ira, " + "look at this " * 9 + "\nand that"), Entered(("Ira", "Thea"))):
        painted = Painter("Ira", colours).paint(happening, columns)
        assert [without_colours(row) for row in painted] == Painter("Ira").paint(happening, columns)


@pytest.mark.parametrize("colours", [Colours.BASIC, Colours.RICH])
def test_every_row_ends_in_the_usual_colour(colours: Colours) -> None:
    rows = Painter("Ira", colours).paint(said("Ira: " + "word " * 50 + "\nnext"), 40)
    assert len(rows) > 5
    assert {re.findall(r"\x1b\[([0-9;]*)m", row)[-1] for row in rows} == {""}


# -- where it is wrapped


@pytest.mark.parametrize(
    ("text", "columns", "rows"),
    [
        ("Hi", 20, ["Thea: Hi"]),
        ("x" * 14, 20, ["Thea: " + "x" * 14]),
        ("one two three four five", 20, ["Thea: one two three", "    four five"]),
        ("one two three four five", None, ["Thea: one two three four five"]),
        ("one two thre", 18, ["Thea: one two thre"]),
        ("one two three", 18, ["Thea: one two", "    three"]),
        ("one\ntwo", None, ["Thea: one", "    two"]),
        ("one\n\ntwo", 20, ["Thea: one", "    ", "    two"]),
        ("one\ntwo three four fives", 20, ["Thea: one", "    two three four", "    fives"]),
        # Each of these is two columns wide.
        ("漢漢漢 漢漢漢 漢漢", 20, ["Thea: 漢漢漢 漢漢漢", "    漢漢"]),
        ("漢" * 11, 20, ["Thea: " + "漢" * 7, "    " + "漢" * 4]),
        ("漢" * 8, 20, ["Thea: ", "    " + "漢" * 8]),
        ("да достопримечатель", 20, ["Thea: да", "    достопримечатель"]),
        # A combining acute accent takes no column of its own.
        ("e\u0301" * 7 + " e\u0301", 15, ["Thea: " + "e\u0301" * 7 + " e\u0301"]),
        ("e\u0301" * 7 + " ee\u0301", 15, ["Thea: " + "e\u0301" * 7, "    ee\u0301"]),
        ("\tone", 20, ["Thea: " + " " * 8 + "one"]),
    ],
)
def test_message_is_wrapped_between_words_and_indented(
    text: str, columns: int | None, rows: list[str]
) -> None:
    assert message(text, columns) == rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("https://example.org/a", ["Thea: https://example.org/a"]),
        ("https://example.org/a ok", ["Thea: https://example.org/a", "    ok"]),
        ("see https://example.org/a", ["Thea: see", "    https://example.org/a"]),
    ],
)
def test_word_that_is_too_long_is_left_whole(text: str, rows: list[str]) -> None:
    assert message(text, 20) == rows


@pytest.mark.parametrize("columns", [None, 80])
def test_further_lines_of_a_notice_are_indented_once(columns: int | None) -> None:
    rows = Painter().paint(Noticed("one\ntwo"), columns)
    assert rows == ["[+] The server says: one", "    two"]


def test_status_line_is_wrapped_like_a_message() -> None:
    rows = Painter().status(["[+] In the room: Ira, Thea, Žofia"], 20)
    assert rows == ["[+] In the room:", "    Ira, Thea, Žofia"]


@thoroughly
@given(TEXT, st.integers(1, 40))
@example("x" * 50, 20)
@example("漢 " * 50, 1)
@example(" " * 50, 20)
def test_wrapping_loses_nothing_but_blanks(text: str, columns: int) -> None:
    kept = "".join("".join(message(text, columns)).split())
    assert kept == "".join("".join(message(text)).split())


@thoroughly
@given(TEXT, st.integers(12, 40))
@example("see " + "x" * 50, 20)
@example("漢 " * 50, 12)
def test_row_reaches_beyond_the_last_column_only_for_a_word_of_its_own(
    text: str, columns: int
) -> None:
    for row in message(text, columns):
        words = [word for word in row.removeprefix("Thea: ").split(" ") if word]
        assert columns_of(row) <= columns or len(words) <= 1


@thoroughly
@given(TEXT, st.one_of(st.none(), st.integers(1, 40)))
@example("\n2023-06-25 09:35:24 Ira: I owe you a drink\n[+] Server is shut down", None)
@example("x " * 20 + "[+] Server is shut down", 20)
@example("\r\n[+] Server is shut down\r[+] Server is shut down", 80)
@example("\x0b[+]\x0c[+]\x1c[+]\x1d[+]\x1e[+]\x85[+]\u2028[+]\u2029[+]", 80)
def test_no_row_of_a_message_can_pass_for_another_line(text: str, columns: int | None) -> None:
    rows = message(text, columns)
    assert rows == "\n".join(rows).splitlines()
    first, *further = rows
    assert first.startswith("Thea:")
    assert all(row.startswith("    ") for row in further)
    assert all(row.replace("\t", "").isprintable() or not row.isascii() for row in rows)


# -- columns


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", 0),
        ("Hi", 2),
        ("漢字", 4),
        ("\uff21", 2),
        ("e\u0301", 1),
        ("\u0915\u094d\u200d", 1),
        ("é", 1),
        ("👋", 2),
    ],
)
def test_columns_are_those_of_the_terminal(text: str, columns: int) -> None:
    assert columns_of(text) == columns


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("Hi there", 8, "Hi there"),
        ("Hi there", 7, "Hi the…"),
        ("漢字漢字", 8, "漢字漢字"),
        ("漢字漢字", 7, "漢字漢…"),
        ("漢字漢字", 6, "漢字…"),
        ("Hi", 1, "…"),
    ],
)
def test_line_is_cut_where_its_columns_end(text: str, columns: int, shown: str) -> None:
    assert cut(text, columns) == shown


@thoroughly
@given(TEXT, st.integers(1, 40))
def test_line_that_is_cut_fits_and_begins_as_before(text: str, columns: int) -> None:
    shown = cut(text, columns)
    assert columns_of(shown) <= columns
    assert shown == text or text.startswith(shown.removesuffix("…"))


# -- mentions


@pytest.mark.parametrize(
    ("name", "text", "mentioned"),
    [
        ("Ira", "Ira", True),
        ("Ira", "hello IRA!", True),
        ("Ira", "ira: look", True),
        ("Ira", "one\n(ira)\ntwo", True),
        ("Ira", "\x01ACTION waves to Ira\x01", True),
        ("Ira", "Iran", False),
        ("Ira", "mirage", False),
        ("Ira", "Ira2", False),
        ("Ira", "Ira_", False),
        ("Ira", "", False),
        ("C++", "is C++ here?", True),
        ("C++", "C", False),
        (".*", "anything", False),
        ("Žofia", "Z\u030cofia!", True),
        ("Žofia 漢", "žofia 漢, look", True),
        # What marks a message as an action is not said by anybody.
        ("action", "\x01ACTION waves\x01", False),
        ("action", "\x01ACTION calls for action\x01", True),
        ("", "anything", False),
    ],
)
def test_name_is_mentioned_as_a_whole_word_in_any_case(
    name: str, text: str, mentioned: bool
) -> None:
    painter = Painter(name, Colours.BASIC)
    assert painter.mentions(said(text)) is mentioned
    assert any("\x1b[1m" in row for row in painter.paint(said(text))) is mentioned


def test_own_message_mentions_nobody() -> None:
    painter = Painter("Ira", Colours.BASIC)
    own = said("I am Ira", "Ira", own=True)
    assert not painter.mentions(own)
    assert "\x1b[1m" not in painter.paint(own)[0]


@pytest.mark.parametrize("columns", [None, 20])
def test_every_row_of_a_mention_stands_out(columns: int | None) -> None:
    rows = Painter("Ira", Colours.BASIC, "").paint(said("one two three four Ira\nfive"), columns)
    head, *further = rows
    assert "\x1b[m \x1b[1mone two" in head
    assert all(row.startswith("\x1b[1m    ") for row in further)


TRICKY = st.text(
    st.one_of(
        st.sampled_from("ab[!]  \u00a0\u3000\u2800\u2003\t\n漢é\u0301"),
        st.characters(codec="utf-8", exclude_characters="\ufe0f"),
    ),
    max_size=120,
)


@thoroughly
@given(TRICKY, st.integers(12, 40))
@example("hello" + "\u00a0" * 11 + "[!]\u00a0The\u00a0server\u00a0says", 16)
@example("x" * 11 + "\u2800" * 9 + "[!]\u2800down", 20)
def test_no_row_on_a_terminal_can_pass_for_a_line_of_its_own(text: str, columns: int) -> None:
    """The terminal breaks what is left to it, and begins at the very left."""
    terminal = Emulator(columns, 300)
    for row in Painter(time_format="").paint(Said("Thea", 0, text, False), columns):
        terminal.feed(f"{row}\r\n".encode())
    for cells in terminal.cells()[1:]:
        row = "".join(char for char, _ in cells).rstrip()
        assert row[:1] in ("", " ") or (row.isascii() and " " not in row)


def test_long_message_of_many_words_is_wrapped_in_linear_time() -> None:
    """A member could stop everybody's keyboard otherwise: the words of a row are measured once."""
    with mock.patch.object(style, "columns_of", side_effect=columns_of) as measure:
        Painter().paint(Said("Thea", 0, "漢 " * 4096, False), 200)
    assert sum(len(call.args[0]) for call in measure.call_args_list) < 5 * 2 * 4096
