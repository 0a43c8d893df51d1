"""What lines look like: colours, rows that lose nothing, folded messages, and mentions."""

import re
import unicodedata
from collections.abc import Callable

import pyte
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chat.client.events import (
    ClientEvent,
    Entered,
    MemberJoined,
    MemberLeft,
    MessageReceived,
    NoticeReceived,
    Warned,
)
from chat.errors import Reason
from chat.limits import FOLDED_BEYOND_ROWS, FOLDED_KEPT, FOLDED_TO_ROWS
from chat.phrases import good
from chat.text import is_blank
from chat.ui.style import Colours, Painter, choose_colours
from chat.ui.wrap import columns_of, cut
from tests.support.terminals import Emulator

ZWNJ = "\u200c"

thoroughly = settings(max_examples=100, deadline=None, derandomize=True)

TEXT = st.text(st.one_of(st.sampled_from("ab \n\t漢é\u0301👋"), st.characters(codec="utf-8")))
"""Text in which there is something to wrap."""


def said(text: str, name: str = "Thea", *, own: bool = False) -> MessageReceived:
    return MessageReceived(name, 0, text, own)


def message(text: str, columns: int | None = None) -> list[str]:
    """The rows of a message that shows no time; its head is 6 columns wide."""
    return [without_codes(row) for row in Painter(time_format="").paint(said(text), columns)]


def without_codes(row: str) -> str:
    """A row without its colours, and without what keeps it from being wrapped."""
    return re.sub(r"\x1b\[([0-9;]*m|\?7[lh])", "", row)


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
    assert luminance(16) == 0
    assert luminance(231) == pytest.approx(1)
    seen = luminance(int(code.removeprefix("38;5;"))) + 0.05
    assert seen / 0.05 >= 3.5
    assert 1.05 / seen >= 3.5


@pytest.mark.parametrize("colours", [Colours.BASIC, Colours.RICH])
def test_names_have_different_colours_and_never_that_of_trouble(colours: Colours) -> None:
    assert len(set(colours.value)) == len(colours.value)
    assert not {"31", "38;5;1", "38;5;9", "38;5;196"} & set(colours.value)


# -- what is painted


@pytest.mark.parametrize(
    ("name", "to", "own", "head", "code"),
    [
        ("Thea", "Ira", False, "Thea → you", "1;35"),
        ("Ira", "Thea", True, "you → Thea", "35"),
        # From another connection of the reader.
        ("Ira", "Thea", False, "you → Thea", "35"),
    ],
)
def test_private_message_has_a_colour_of_its_own_and_words_without_one(
    name: str, to: str, own: bool, head: str, code: str
) -> None:
    event = MessageReceived(name, 0, "one\ntwo", own, to=to)
    colours, plain = Painter("Ira", Colours.RICH, ""), Painter("Ira", time_format="")
    first, second = colours.paint(event, 80)
    assert f"\x1b[{code}mone\x1b[m" in first
    assert second == f"\x1b[{code}m    two\x1b[m"
    assert [without_codes(first), without_codes(second)] == plain.paint(event)
    assert plain.paint(event) == [f"{head} [private]: one", "    two"]
    latin = Painter("Ira", time_format="", encoding="latin-1")
    assert latin.paint(event)[0] == f"{head} [private]: one".replace("→", "->")
    assert colours.mentions(event) is plain.mentions(event) is (to == "Ira")


def colour_of(name: str, colours: Colours = Colours.RICH) -> str:
    (row,) = Painter("Ira", colours, "").paint(said("Hi", name))
    found = re.fullmatch(rf"\x1b\[([0-9;]+)m{re.escape(name)}:\x1b\[m Hi", row)
    assert found is not None, row
    return found[1]


@pytest.mark.parametrize("colours", Colours)
def test_every_choice_of_colours_has_a_code_for_a_name(colours: Colours) -> None:
    """Python before 3.11.3, as in Debian 12, makes an object of the value () of an Enum."""
    assert [code for code in colours.value if isinstance(code, str)]


def test_colour_of_a_name_is_the_same_in_every_run_and_in_any_case() -> None:
    expected = {"Ira": "38;5;100", "sahnawaz": "38;5;135", "Thea": "38;5;132", "tHEA": "38;5;132"}
    assert {name: colour_of(name) for name in expected} == expected
    assert colour_of("Žofia", Colours.BASIC) == colour_of("žOFIA", Colours.BASIC)


def test_every_colour_is_somebody_s() -> None:
    assert {colour_of(f"name {number}") for number in range(200)} == set(Colours.RICH.value)


def test_message_is_painted_by_its_parts() -> None:
    row = Painter("Ira", Colours.BASIC, "at %H").paint(said("Hi", "Thea"))[0]
    time, name, text = row.split("\x1b[m ")
    assert re.fullmatch(r"\x1b\[2mat [0-9]{2}", time)
    assert name == f"\x1b[{colour_of('Thea', Colours.BASIC)}mThea:"
    assert text == "Hi"


@pytest.mark.parametrize(
    ("event", "row"),
    [
        (MemberJoined("Thea"), "\x1b[2m[+] New person joined the room. Username: Thea\x1b[m"),
        (
            MemberLeft("Thea", Reason.LOST),
            "\x1b[31m[!] Thea left the server: the connection was lost.\x1b[m",
        ),
    ],
)
def test_good_news_is_dim_and_trouble_is_red(event: ClientEvent, row: str) -> None:
    assert Painter("Ira", Colours.BASIC).paint(event) == [row]
    assert Painter("Ira").paint(event) == [without_codes(row)]


@pytest.mark.parametrize("colours", Colours)
@pytest.mark.parametrize("columns", [None, 20])
def test_colours_change_nothing_but_the_colour_and_end_with_the_row(
    colours: Colours, columns: int | None
) -> None:
    for event in (said("Ira, " + "look at this " * 9 + "\nand that"), Entered(("Ira", "Thea"))):
        painted = Painter("Ira", colours).paint(event, columns)
        assert [without_codes(row) for row in painted] == Painter("Ira").paint(event, columns)
        last_codes = {re.findall(r"\x1b\[([0-9;]*)m", row)[-1:] == [""] for row in painted}
        assert last_codes == {colours is not Colours.NONE}


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
        # A long word of ASCII is left whole.
        ("https://example.org/a", 20, ["Thea: https://example.org/a"]),
        ("https://example.org/a ok", 20, ["Thea: https://example.org/a", "    ok"]),
        ("see https://example.org/a", 20, ["Thea: see", "    https://example.org/a"]),
        # Blanks at the end of a row are not shown.
        ("one \u00a0\u3000\t ", 20, ["Thea: one"]),
        ("one" + "\t" * 50 + "two", 20, ["Thea: one", "    two"]),
        (" " * 50, 20, ["Thea: "]),
        ("one" + " " * 50 + "\ntwo" + " " * 50, 20, ["Thea: one", "    two"]),
        # What some terminals show wide counts so, but not what is ambiguous.
        ("\u4dc0" * 7, 20, ["Thea: " + "\u4dc0" * 7]),
        ("\u4dc0" * 9, 20, ["Thea: " + "\u4dc0" * 7, "    " + "\u4dc0" * 2]),
        ("\U000e1000 \ue000 \U0001f1e6 z", 16, ["Thea: \U000e1000 \ue000 \U0001f1e6 z"]),
        ("\U000e1000 \ue000 \U0001f1e6 z", 15, ["Thea: \U000e1000 \ue000 \U0001f1e6", "    z"]),
    ],
)
def test_message_is_wrapped_between_words_and_indented(
    text: str, columns: int | None, rows: list[str]
) -> None:
    assert message(text, columns) == rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("日本語の文。次", ["日本語の", "    文。次"]),
        ("日本語「文」。次", ["日本語「", "    文」。次"]),
        ("日本語文字。。。。。。。。", ["日本語文", "    字。。。。。", "    。。。"]),
    ],
)
def test_no_row_begins_with_what_ends_a_sentence(text: str, rows: list[str]) -> None:
    assert message(text, 16) == [f"Thea: {rows[0]}", *rows[1:]]


def test_status_line_is_wrapped_like_a_message() -> None:
    rows = Painter().status([good("In the room: Ira, Thea, Žofia")], 20)
    assert list(map(without_codes, rows)) == ["[+] In the room:", "    Ira, Thea, Žofia"]


@thoroughly
@given(TEXT, st.one_of(st.none(), st.integers(1, 40)))
@example("x" * 50, 20)
@example("漢 " * 50, 1)
@example("漢 " * 50, 12)
@example(" " * 50, 20)
@example("see " + "x" * 50, 20)
@example("\n2023-06-25 09:35:24 Ira: I owe you a drink\n[+] Server is shut down", None)
@example("x " * 20 + "[+] Server is shut down", 20)
@example("\r\n[+] Server is shut down\r[+] Server is shut down", 80)
@example("\x0b[+]\x0c[+]\x1c[+]\x1d[+]\x1e[+]\x85[+]\u2028[+]\u2029[+]", 80)
def test_rows_lose_nothing_fit_and_cannot_pass_for_another_line(
    text: str, columns: int | None
) -> None:
    """Blanks may get lost where a row ends, and a long word alone may reach beyond it."""
    for event, head in ((said(text), "Thea:"), (NoticeReceived(text), "[+] The server says:")):
        rows = list(map(without_codes, Painter(time_format="").paint(event, columns)))
        whole = Painter(time_format="").paint(event)
        assert "".join("".join(rows).split()) == "".join("".join(whole).split())
        assert rows == "\n".join(rows).splitlines()
        first, *further = rows
        assert first.startswith(head) or (columns is not None and head.startswith(first))
        assert all(row.startswith("    ") for row in further)
        assert all(row.replace("\t", "").isprintable() or not row.isascii() for row in rows)
        if columns is not None and columns >= 12:
            words = {row: row.removeprefix("Thea: ").split() for row in rows}
            assert all(columns_of(row) <= columns or len(words[row]) <= 1 for row in rows)


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


# The mark of an action is not part of the text.
MENTIONED = {
    "Ira": [
        *("Ira", "hello IRA!", "ira: look", "one\n(ira)\ntwo", "\x01ACTION waves to Ira\x01"),
        *("I\u200dra", "mirairaira ira", "Ira" + "\u0316" * 99),
    ],
    "C++": ["is C++ here?"],
    "Žofia": ["Z\u030cofia!"],
    "Žofia 漢": ["žofia 漢, look"],
    "action": ["\x01ACTION calls for action\x01"],
    "Strauß": ["STRAUSS?"],
    "علی" + ZWNJ + "رضا": ["علیرضا"],
    "太郎": ["太郎さん、どう思う?", "ねえ太郎", "bob太郎さん"],
    "タロー": ["タローさん"],
    "小明": ["我觉得小明说得对"],
    "bob": ["我觉得bob说得对", "bobさん"],
    "小 bob": ["我觉得小 bob说得对"],
    "สมชาย": ["คุณสมชายครับ", "สมชายๆ"],
    "ສົມ": ["ທ່ານສົມເອີຍ"],
    "သူရ": ["ကိုသူရရေ"],
    "សុខា": ["លោកសុខាអើយ"],
}
NOT_MENTIONED = {
    "Ira": ["Iran", "mirage", "Elmira", "Ira2", "Ira_", ""],
    "C++": ["C"],
    ".*": ["anything"],
    "action": ["\x01ACTION waves\x01"],
    "": ["anything"],
    "太郎": ["太一郎さん"],
    "ハ": ["ハ\u3099ス"],
    "สม": ["สมุด"],
    "bob": ["我觉得bobby说得对", "éboba"],
}


@pytest.mark.parametrize(
    ("name", "text", "mentioned"),
    [
        (name, text, table is MENTIONED)
        for table in (MENTIONED, NOT_MENTIONED)
        for name, texts in table.items()
        for text in texts
    ],
)
def test_name_is_mentioned_as_a_whole_word_in_any_case(
    name: str, text: str, mentioned: bool
) -> None:
    painter = Painter(name, Colours.BASIC)
    assert painter.mentions(said(text)) is mentioned
    assert any("\x1b[1m" in row for row in painter.paint(said(text))) is mentioned


@pytest.mark.parametrize("columns", [None, 20])
def test_every_row_of_a_mention_stands_out_unless_it_is_ones_own(columns: int | None) -> None:
    painter, text = Painter("Ira", Colours.BASIC, ""), "one two three four Ira\nfive"
    head, *further = painter.paint(said(text), columns)
    assert "\x1b[m \x1b[1mone two" in head
    assert all(row.startswith("\x1b[1m    ") for row in further)
    own = said(text, "Ira", own=True)
    assert not painter.mentions(own)
    assert "\x1b[1m" not in "".join(painter.paint(own, columns))


# -- no row but the first begins at the very left

TRICKY = st.text(
    st.one_of(
        st.sampled_from(
            "ab[!]:/  \u00a0\u3000\u2800\u2003\t\n漢дe\u0301\ufe0f\u200d"
            "\u4dc0\U0001d35d🇦☺👋\U000e1000"
        ),
        st.characters(codec="utf-8"),
    ),
    max_size=120,
)


def newer_width(char: str) -> int:
    """Its width on terminals that know Unicode 16, and show unassigned characters wide."""
    wide = re.match("[\u2630-\u2637\u268a-\u268f\u4dc0-\u4dff\U0001d300-\U0001d376🇦-🇿]", char)
    return 2 if wide or unicodedata.category(char) in ("Cn", "Co") else columns_of(char)


def widest_width(char: str) -> int:
    """Its width on terminals that show everything ambiguous wide, and emoji, too."""
    narrow = char.isascii() or unicodedata.category(char) in ("Mn", "Me", "Cf")
    return columns_of(char) if narrow and char != "\ufe0f" else 2


WIDTHS = [columns_of, newer_width, widest_width]


def rows_on_a_terminal(rows: list[str], columns: int, width: Callable[[str], int]) -> list[str]:
    """What a terminal with this measure of width makes of these lines: it wraps where it may, and
    begins the next row at the very left."""
    terminal = Emulator(columns, 2 + len(rows) + 2 * sum(map(len, rows)) // columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyte.screens, "wcwidth", width)
        for row in rows:
            terminal.feed(f"{row}\r\n".encode())
    return terminal.lines()


def can_pass_for_a_line(row: str, said: str = "") -> bool:
    """A part of a link in what was said has no blank, as each line of ours has."""
    links = re.findall(r"[a-z]://(\S*)", said)
    if any(row in link for link in links) and not any(map(is_blank, row)):
        return False
    return row[:1] not in ("", " ") and (not row.isascii() or " " in row)


@pytest.mark.parametrize("is_dumb", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
@thoroughly
@given(TRICKY, st.integers(12, 40))
@example("hello" + "\u00a0" * 11 + "[!]\u00a0The\u00a0server\u00a0says", 16)
@example("x" * 11 + "\u2800" * 9 + "[!]\u2800down", 20)
@example("\U0001d35d" * 7 + " [+] kim left the server.", 40)
@example("дом " * 6 + "[+] kim left.", 40)
@example("x://" + "ж" * 40 + " [+] kim left. " + "漢" * 9, 20)
@example("x://ж" + "\u2800" * 40 + "[+]\u2800kim", 20)
def test_no_row_on_a_terminal_can_pass_for_a_line_of_its_own(
    width: Callable[[str], int], is_dumb: bool, text: str, columns: int
) -> None:
    rows = Painter(time_format="", is_dumb=is_dumb).paint(said(text), columns)
    assert not (is_dumb and any("\x1b" in row for row in rows))
    shown = rows_on_a_terminal(rows, columns, width)
    assert not any(can_pass_for_a_line(row, text) for row in shown[1:])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("columns", [20, 30, 40])
@pytest.mark.parametrize(
    "name", ["kim left the server. [+] al", "ж" * 12 + " [+] kim left. ж", "漢" * 32]
)
def test_name_that_is_longer_than_a_row_begins_none(
    width: Callable[[str], int], columns: int, name: str
) -> None:
    for event in (
        said("one two three", name),
        said("\x01ACTION waves\x01", name),
        MemberJoined(name),
    ):
        rows = Painter(time_format="").paint(event, columns)
        shown = rows_on_a_terminal(rows, columns, width)
        assert not any(map(can_pass_for_a_line, shown[1:]))


def test_greek_and_cyrillic_fill_a_row_that_the_terminal_does_not_wrap() -> None:
    """Terminals for which they are wide lose the rest of the row, but none begins another."""
    text = " ".join(["привет"] * 4)
    rows = Painter(time_format="").paint(said(text), 40)
    assert rows == [f"\x1b[?7lThea: {text}\x1b[?7h"]
    assert rows_on_a_terminal(rows, 40, columns_of) == [f"Thea: {text}"]
    assert len(rows_on_a_terminal(rows, 40, widest_width)) == 1


@pytest.mark.parametrize("name", ["Thea", "Žofia"])
def test_link_is_wrapped_by_the_terminal_alone(name: str) -> None:
    link = "https://example.org/" + "0123456789" * 5
    rows = Painter(time_format="").paint(said(f"да {link} да", name), 20)
    assert f"    {link}" in rows
    assert link in "".join(rows_on_a_terminal(rows, 20, columns_of)).replace("    ", "")
    rows = Painter(time_format="").paint(said(link, name), 20)
    assert rows[-1] == (f"Thea: {link}" if name == "Thea" else f"    {link}")


@pytest.mark.parametrize(
    "link",
    [
        "https://ru.wikipedia.org/wiki/Заглавная_страница_и_ещё",
        "(https://zh.wikipedia.org/wiki/漢字漢字漢字漢字漢字)",
        "gemini+x://el.example/Ελληνική_Βικιπαίδεια",
    ],
)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["Thea", "Žofia"])
def test_link_in_any_script_is_wrapped_by_the_terminal_alone(
    link: str, width: Callable[[str], int], name: str
) -> None:
    rows = Painter(time_format="").paint(said(f"да {link} да", name), 20)
    assert f"    {link}" in rows
    shown = rows_on_a_terminal(rows, 20, width)
    assert link in "".join(shown).replace("    ", "")
    rows = Painter(time_format="").paint(said(link, name), 20)
    assert rows[-1] == (f"Thea: {link}" if name == "Thea" else f"    {link}")


@pytest.mark.parametrize("hidden", ["\u2800", "\u200d", "\u3164", "\ue000", "\U0001f1e6"])
def test_link_with_what_cannot_be_seen_or_measured_is_broken(hidden: str) -> None:
    link = f"https://example.org/ж{hidden}" + "[+]" * 20
    rows = Painter(time_format="").paint(said(link), 20)
    assert all(columns_of(without_codes(row)) <= 20 for row in rows)


def test_link_that_takes_many_rows_is_folded() -> None:
    link = "https://example.org/" + "ж" * 2_000
    rows = Painter(time_format="").paint(said(f"{link}\n" * 3), 20, window_rows=24)
    assert "/more 1" in "".join(rows)
    assert sum(link in row for row in rows) == 1


@pytest.mark.parametrize("is_dumb", [False, True])
def test_what_the_terminal_cannot_show_is_broken_as_it_is_written(is_dumb: bool) -> None:
    painter = Painter(time_format="", encoding="ascii", is_dumb=is_dumb)
    rows = painter.paint(said("д " * 9 + "[+] kim left."), 40)
    assert rows == [
        "Thea: " + " ".join([r"\u0434"] * 5),
        "    " + " ".join([r"\u0434"] * 4) + " [+] kim",
        "    left.",
    ]
    for event in (said("Hi", "ж" * 6 + " [+] kim left"), MemberJoined("ж" * 6 + " [+] kim left")):
        rows = painter.paint(event, 40)
        assert all(map(str.isascii, rows))
        assert not any(map(can_pass_for_a_line, rows_on_a_terminal(rows, 40, columns_of)[1:]))


# -- what takes very many rows


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("one\n" * 100, "81 more lines"),
        ("word " * 500, "1,400 more characters"),
        # The first row has room for 27 of them, the others for 28.
        ("漢" * 2000, "1,441 more characters"),
        ("\tx" * 2000, ""),
        ("e\u0301漢 " * 1000, ""),
        ("x\n" * 18 + "y " * 2000, "3,888 more characters"),
    ],
)
def test_message_of_very_many_rows_is_folded_and_can_be_had_whole(text: str, left: str) -> None:
    painter = Painter("Ira", time_format="")
    whole = painter.paint(said(text), 60)
    assert len(whole) > FOLDED_BEYOND_ROWS
    *first, last = painter.paint(said(text), 60, window_rows=100)
    assert first == whole[:FOLDED_TO_ROWS]
    assert left in last
    assert re.fullmatch(
        r"\[\+\] [0-9,]+ more (lines|characters) of this; /more 1 shows the whole.", last
    )
    assert painter.unfold("1", 60) == painter.unfold("", 60) == whole
    assert painter.unfold("2", 60) == []


@pytest.mark.parametrize(
    ("window_rows", "beyond", "shown"),
    [(1, 2, 1), (2, 4, 1), (12, 24, 6), (13, 26, 6), (24, 40, 12), (40, 40, 20), (200, 40, 20)],
)
def test_message_is_folded_to_half_a_window_at_most(
    window_rows: int, beyond: int, shown: int
) -> None:
    painter = Painter(time_format="")
    rows = painter.paint(said("\n".join(["x"] * beyond)), 80, window_rows=window_rows)
    assert len(rows) == beyond
    rows = painter.paint(said("\n".join(["x"] * (beyond + 1))), 80, window_rows=window_rows)
    assert rows == ["Thea: x", *["    x"] * (shown - 1), rows[-1]]
    assert rows[-1].startswith(f"[+] {beyond + 1 - shown} more lines")


def test_message_is_folded_only_on_a_terminal() -> None:
    painter, message = Painter(time_format=""), said("x\n" * 1000)
    assert painter.paint(message, None, window_rows=100) == painter.paint(message)
    assert painter.unfold("", 80) == []


@pytest.mark.parametrize(
    ("event", "columns"),
    [
        (NoticeReceived("x\n" * 99), 80),
        (Entered(tuple(map(str, range(5000)))), 80),
        (Warned("x " * 9999), 80),
        # A line that is folded is followed by others.
        (Entered(("Ira",)), 1),
    ],
)
def test_notice_and_list_of_members_are_folded_too(event: ClientEvent, columns: int) -> None:
    painter = Painter()
    rows = painter.paint(event, columns, window_rows=100)
    assert len(rows) < FOLDED_BEYOND_ROWS
    assert columns == 1 or rows[-1].startswith("[+] ")
    assert painter.unfold("", 80) == painter.paint(event, 80)


def test_of_folded_messages_the_last_ones_are_kept() -> None:
    painter = Painter(time_format="")
    for number in range(FOLDED_KEPT + 1):
        painter.paint(said(f"{number}\n" * 99), 80, window_rows=100)
    assert painter.unfold("1", 80) == []
    assert painter.unfold("2", 80)[0] == "Thea: 1"
    assert painter.unfold("", 80)[0] == f"Thea: {FOLDED_KEPT}"


@pytest.mark.parametrize("text", ["x" * 9000, "\0" * 5000, "xyz " + "x" * 9000])
def test_row_that_the_terminal_makes_many_of_counts_as_many(text: str) -> None:
    painter = Painter(time_format="")
    *rows, fold = painter.paint(said(text), 60, window_rows=100)
    assert len(rows_on_a_terminal(rows, 60, columns_of)) < FOLDED_BEYOND_ROWS
    assert fold.startswith("[+] ")
    whole = "".join("".join(painter.unfold("", 60)).split())
    assert whole == "".join("".join(painter.paint(said(text))).split())


# -- whatever the text is, the work grows with its length and no faster

# That it takes little time, `tests/fuzz` shows.


@settings(max_examples=200, deadline=None, derandomize=True)
@given(TRICKY, st.integers(12, 80), st.integers(1, 50))
@example("漢 " * 400, 80, 1)
@example("漢" * 800, 80, 1)
@example("e" + "\u0301" * 300 + "д", 12, 9)
def test_no_character_is_measured_more_than_a_few_times(
    text: str, columns: int, times: int
) -> None:
    painter, measured = Painter(time_format=""), 0
    measure = painter._measure

    def count(char: str) -> int:
        nonlocal measured
        measured += 1
        return measure(char)

    painter._measure = count
    text *= times
    painter.paint(said(text), columns)
    shown = sum(map(len, painter.paint(said(text))))
    assert measured <= 4 * (shown + text.count("\t") * 8 + columns)
