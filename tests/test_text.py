"""Names and text: what a name may be, when two are the same, and how text is escaped."""

import contextlib
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chat.errors import UsageError
from chat.limits import MAX_MARKS, MAX_NAME_CHARS, NAMES_AT_HAND
from chat.lookalikes import LOOKALIKES, TERMINALS
from chat.text import (
    NOBODY,
    action_of,
    as_action,
    cap_marks,
    caseless,
    caseless_name,
    check_size,
    escape,
    fold_name,
    normalize_name,
    usable_name,
)

thoroughly = settings(max_examples=100, deadline=None, derandomize=True)

C0 = [chr(code) for code in range(0x20) if chr(code) not in "\t\n"]
DEL_AND_C1 = [chr(code) for code in range(0x7F, 0xA0)]
BIDI = [*"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"]
INVISIBLE = [*"\u00ad\u180e\u200b\u2060\u2061\u206a\ufeff\ufff9\U000e0001\U000e0041"]
SEPARATORS = [*"\u2028\u2029"]
SURROGATES = ["\ud800", "\udcff", "\udfff"]
HARMFUL = [*C0, *DEL_AND_C1, *BIDI, *INVISIBLE, *SEPARATORS, *SURROGATES]

ZWNJ, ZWJ = "\u200c\u200d"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


def code_of(char: str) -> str:
    return f"U+{ord(char):04X}"


# -- what a name may be ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("Ira", "I", "sahnawaz", "Zoë", "Владимир", "李小龍", "علي", "नेहा", "\U0001f600"),
        # Joiners where they change what is seen.
        *(f"علی{ZWNJ}رضا", f"نمایش{ZWNJ}نامه", f"क्{ZWJ}ष", f"क़्{ZWNJ}ष", f"ශ්{ZWJ}රී", f"അവന്{ZWJ}"),
        *(FAMILY, "\U0001f468\U0001f3fd\u200d\U0001f4bb Ira", "\u2764\ufe0f\u200d\U0001f525"),
        *("\U0001f642\u200d\u2194\ufe0f", "\U0001f3f4\u200d\u2620\ufe0f"),
        *("J. R. O'Hara-Smith_2", "King Jr.", "Ira 2.0", "I. J", "Marks & Spencer"),
        *("' DROP TABLE members", "$(reboot)", "col\u00b7lega", "Ka\u02bbiulani", "\u01c3Xu"),
        *(
            "रामः",
            "བཀྲ་ཤིས",
            "\u05d2\u05f3\u05d5\u05e8\u05d2\u05f3",
            "\u20a1olon",
            "servers",
            "you two",
            "Serverin",
        ),
        *("e" + "\u0316" * MAX_MARKS, "I" * MAX_NAME_CHARS, "\U0001f600" * MAX_NAME_CHARS),
    ],
)
def test_name_that_can_be_read_is_taken_as_it_is(name: str) -> None:
    assert normalize_name(name) == usable_name(name) == name


def test_length_counts_after_normalisation() -> None:
    assert normalize_name("e\u0308" * MAX_NAME_CHARS) == "ë" * MAX_NAME_CHARS
    # U+0958 is excluded from composition: one character becomes two.
    with pytest.raises(UsageError, match="at most 32"):
        normalize_name("\u0958" * MAX_NAME_CHARS)


REFUSED = {
    "at least one": [""],
    "at most 32": ["I" * (MAX_NAME_CHARS + 1), "I" * 100_000, "I" + "\u0301\u0316" * 1_000],
    "can be seen": [" Ira", "Ira ", " ", "\u0301Ira", "\u20dd", "\u093eIra"],
    "no comma, colon, semicolon, asterisk": [
        *("Ira: hello", ":", "Ira\uff1a", "me, Boris", "Ira,", "Ira\uff0cBoris", "Ira\ufe10"),
        *("[+] The server", "\uff3b!] Ira", "Ira left. [!] Nobody", "Ira [1]", "I\uff3d"),
        *(f"Ira{mark} Boris" for mark in "\u3001\u060c\ufe30\u2236\ua789\u02d0;\u037e"),
        *("*", "* Ira", "*Ira", "Ira*", "I * ra", "\uff0aIra", "Yahoo!", "Who?", "Ira?!"),
        *("Stop! Ira", "Who? Me", "Ira\uff01 Boris", "Ira\u061f Boris", "Ira\u3002 Boris"),
        *("Ira\uff61 Boris", "Ira\u2047"),
    ],
    "end a sentence": [
        *("Ira left the server. Nobody", "Ira\u2026 left", "_. Ira"),
        *("J. Ira. Boris", "Ira.. I", ". Ira", "Ira\u2024 Boris"),
    ],
    "nobody can be called": ["server", "Server", "YOU", "everybody", "\uff41ll", "Ro\u034fot"],
    "printable": [
        *("e" + "\u0316" * (MAX_MARKS + 1), "I\tra", "I\nra", "Ira\n", "I\u00a0ra", "I\u3000ra"),
        *("Ira\u200d", "I\u200cra", "I\u200dra", "\u200dIra", f"علی{ZWNJ}", f"{ZWNJ}علی"),
        *(f"علی{ZWNJ}{ZWNJ}رضا", f"علی{ZWJ}رضا", f"علی{ZWNJ}Ira", f"Владимир{ZWNJ}ович"),
        *(f"क{ZWJ}ष", f"क्{ZWJ}{ZWJ}ष", f"क्{ZWJ}ा", "\U0001f468\u200dIra", "Ira\u200d\U0001f468"),
        *("\U0001f468\u200c\U0001f469", "\ue000", "\u0378", "\uffff"),
    ],
}


@pytest.mark.parametrize(
    ("name", "complaint"), [(name, text) for text, names in REFUSED.items() for name in names]
)
def test_name_that_could_mislead_is_refused(name: str, complaint: str) -> None:
    for check in (normalize_name, usable_name):
        with pytest.raises(UsageError, match=complaint):
            check(name)


ONLY_BY_THE_SERVER = {
    "no comma, colon": [
        *("Ira\u0903", "Ira\ua4fd hello", "\u2731 Ira", "Ira\u0589", "Ira\u1361Boris", "Ira\u06d4"),
        *("राम\u0964", "Ira\u055e", "\u00bfIra", "Ira\u05c3", "Ira\u2757"),
    ],
    "nobody can be called": [
        *(
            "s\u0435rver",
            "r00t",
            "a11",
            "\u0443ou",
            "adrnin",
            "\u0430d\u043cin",
            "\u13da\u0395RVER",
        ),
    ],
}


@pytest.mark.parametrize(
    ("name", "complaint"),
    [(name, text) for text, names in ONLY_BY_THE_SERVER.items() for name in names],
)
def test_name_that_misleads_by_tables_that_change_is_refused_by_the_server_alone(
    name: str, complaint: str
) -> None:
    """A client whose Unicode is older or newer than the server's must not break with it."""
    with pytest.raises(UsageError, match=complaint):
        usable_name(name)
    assert normalize_name(name) == name


def test_server_asks_for_the_key_of_a_newcomers_name_once_and_keeps_few() -> None:
    for number in range(2 * NAMES_AT_HAND):
        usable_name(f"Ira {number}")
        folded = fold_name.cache_info().misses
        for _ in range(6):
            fold_name(f"Ira {number}")
        assert fold_name.cache_info().misses == folded
    assert usable_name.cache_info().currsize == fold_name.cache_info().currsize == NAMES_AT_HAND


@pytest.mark.parametrize("name", sorted(NOBODY))
def test_name_that_is_nobodys_is_refused_in_any_case(name: str) -> None:
    for form in (name, name.upper(), name.title()):
        with pytest.raises(UsageError, match="nobody can be called"):
            normalize_name(form)


BLANKS = "\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc\U0001107f\U00016fe4\U0001d159"


@pytest.mark.parametrize("char", BLANKS, ids=code_of)
def test_character_that_nobody_sees_has_no_place_in_a_name(char: str) -> None:
    for name in (char, f"Ira{char}", f"{char}Ira", f"I{char}ra"):
        with pytest.raises(UsageError):
            normalize_name(name)


IGNORABLE = (
    *((0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5)),
    *((0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164)),
    *((0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8)),
    *((0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
"""Default_Ignorable_Code_Point, from the first to the last (Unicode, DerivedCoreProperties.txt)."""


@pytest.mark.parametrize(("first", "last"), IGNORABLE, ids=lambda code: f"U+{code:04X}")
def test_character_that_unicode_lets_programs_ignore_makes_no_other_name(
    first: int, last: int
) -> None:
    for char in map(chr, range(first, last + 1)):
        with pytest.raises(UsageError):
            normalize_name(char)
        with contextlib.suppress(UsageError):
            assert fold_name(normalize_name(f"Ira{char}")) == fold_name("Ira"), code_of(char)


@thoroughly
@given(st.text(max_size=MAX_NAME_CHARS + 2))
@example("e\u0308")
@example("\u0344")
def test_name_that_was_taken_is_taken_again_unchanged(text: str) -> None:
    try:
        name = normalize_name(text)
    except UsageError:
        return
    assert 1 <= len(name) <= MAX_NAME_CHARS
    assert normalize_name(name) == name
    assert unicodedata.is_normalized("NFC", name)
    assert escape(name) == name
    assert set(":,[]*;!?").isdisjoint(unicodedata.normalize("NFKC", name))
    assert name == name.strip()


# -- when two names are the same ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ira", "IRA"),
        ("Zoë", "ZOE\u0308"),
        ("Strauß", "STRAUSS"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("\uff29\uff52\uff41", "Ira"),
        ("\ufb01n", "FIN"),
        ("\u2167", "viii"),
        ("\U0001d408ra", "ira"),
        ("\u212b", "å"),
        ("\u0345\u0391", "\u0345\u03b1"),
        (f"علی{ZWNJ}رضا", "علیرضا"),
        (f"क्{ZWJ}ष", "क्ष"),
        (FAMILY, FAMILY.replace("\u200d", "")),
        ("\u2764\ufe0f", "\u2764"),
    ],
)
def test_names_that_differ_in_case_width_or_form_are_the_same(one: str, other: str) -> None:
    assert fold_name(one) == fold_name(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(
            ("Ira", "Ir\u0430"),
            ("\u0406ra", "ira"),
            ("boris", "\u0412oris"),
            ("Boris", "\u0432oris"),
        ),
        *(
            ("hans", "\u041dans"),
            ("Eva", "\u0395va"),
            ("eva", "\u0395VA"),
        ),
        *(("B0ris", "BORIS"), ("Julia", "Ju1ia"), ("Tom", "Torn"), ("O'Hara", "O\u2019Hara")),
        *(
            ("paypal", "\u0440\u0430\u0443\u0440\u0430\u04cf"),
            ("scope", "\u0455\u0441\u043e\u0440\u0435"),
        ),
    ],
)
def test_names_that_look_alike_are_the_same_and_clients_can_tell_them_apart(
    one: str, other: str
) -> None:
    assert fold_name(one) == fold_name(other)
    assert caseless_name(one) != caseless_name(other)


def test_no_two_letters_or_digits_of_ascii_are_the_same_but_those_that_unicode_says() -> None:
    alike = {"0": "o", "1": "l", "m": "rn"}
    for char in "abcdefghijklmnopqrstuvwxyz0123456789":
        assert fold_name(char) == fold_name(char.upper()) == alike.get(char, char)


def test_table_has_only_what_folding_leaves_alone_and_leads_where_it_ends() -> None:
    for code, text in LOOKALIKES.items():
        assert fold_name(chr(code)) == fold_name(text) == text, code_of(chr(code))
    assert {"\u0430": "a", "\u0435": "e"}.items() <= {
        chr(k): v for k, v in LOOKALIKES.items()
    }.items()
    assert TERMINALS.isdisjoint(".-_'&#@%/ ")


@pytest.mark.parametrize(
    ("one", "other"),
    [("Ira", "Ira2"), ("Ira", "Irá"), ("a", "b"), ("ab", "a b"), ("\u0131", "l"), ("lra", "Ira")],
)
def test_names_that_differ_in_letters_are_different(one: str, other: str) -> None:
    assert fold_name(one) != fold_name(other)


def test_characters_that_turn_into_marks_make_no_long_run_that_is_sorted() -> None:
    # U+1AE2 is unknown to older Unicodes, and looks like a mark that is not.
    assert len(fold_name(("\u1ae2" + 15 * "\u0323\u0301") * 20_000)) <= MAX_MARKS


@thoroughly
@given(st.text(max_size=MAX_NAME_CHARS))
@example("\u0345\u0301")
@example("\u1fb3\u0301")
@example("\u1e9e")
@example("\u03f4")
@example("\u00e1" + 31 * "\u0301")
@example("\u00f8" + 30 * "\u0301")
@example("\u0410\u064e\u0316")
def test_key_of_a_name_does_not_depend_on_its_form(name: str) -> None:
    forms = [unicodedata.normalize(form, name) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    assert {fold_name(form) for form in forms} == {fold_name(name)}
    assert fold_name(fold_name(name)) == fold_name(caseless_name(name)) == fold_name(name)


# -- what is done ------------------------------------------------------------------------------


@thoroughly
@given(st.text(st.characters(codec=None)))
@example("")
@example(" ")
@example("ends with the mark\x01")
@example("\x01ACTION waves\x01")
def test_what_was_made_an_action_is_the_same_action(text: str) -> None:
    assert as_action(text) == f"\x01ACTION {text}\x01", "as other programs know it"
    assert action_of(as_action(text)) == text
    assert action_of(f"\x01ACTION {text}") == text.removesuffix("\x01")


@pytest.mark.parametrize(
    "text",
    [
        *("", "waves", "\x01", "\x01\x01", "\x01ACTION", "\x01ACTION\x01", "\x01ACTIONS speak\x01"),
        *("\x01action waves\x01", "\x01VERSION\x01", "ACTION waves\x01"),
        *(" \x01ACTION waves\x01", "/me waves"),
    ],
)
def test_anything_else_is_said_and_not_done(text: str) -> None:
    assert action_of(text) is None


# -- what is shown -----------------------------------------------------------------------------


@pytest.mark.parametrize("char", HARMFUL, ids=code_of)
def test_harmful_character_is_shown_as_an_escape_and_has_no_place_in_a_name(char: str) -> None:
    with pytest.raises(UsageError, match="printable"):
        normalize_name(f"I{char}ra")
    shown = escape(f"a{char}b")
    assert shown.isprintable()
    assert shown.isascii()
    assert (shown[:2], shown[-1]) == ("a\\", "b")
    assert char not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
        ("\x9b31mred", "\\x9b31mred"),
        ("over\rwrite", "over\\rwrite"),
        ("back\b\bspace", "back\\x08\\x08space"),
        ("one\u2028two", "one\\u2028two"),
        ("one\x85two\x0bthree\x0cfour", "one\\x85two\\x0bthree\\x0cfour"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),
        ("\U000e0041", "\\U000e0041"),
        ("\udc9b", "\\udc9b"),
        ("nul\0", "nul\\x00"),
    ],
)
def test_escape_names_the_character(text: str, shown: str) -> None:
    assert escape(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hi",
        "tab\tand\nline feed",
        f"family {FAMILY} of three",
        "می\u200cروند",
        f"क्{ZWJ}ष",
        "\u2764\ufe0f",
        "no\u00a0break, wide\u3000space",
        "private \ue0b0 use",
        "not \U0001fbff\U000323b0 assigned yet",
        "back\\slash and \\x1b[2J as typed",
        "علي writes עברית",
    ],
)
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert escape(text) == text


@thoroughly
@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_text_is_made_printable_character_by_character(one: str, other: str) -> None:
    assert escape(f"{one}.{other}") == f"{escape(one)}.{escape(other)}"


# -- marks in a row ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("e" + "\u0301" * MAX_MARKS, "e" + "\u0301" * MAX_MARKS),
        ("e" + "\u0301" * MAX_MARKS + "\u0316x", "e" + "\u0301" * MAX_MARKS + "\\u0316x"),
        ("\u0301" * (MAX_MARKS + 2), "\u0301" * MAX_MARKS + "\\u0301" * 2),
        ("a\u200d" * 99, "a\u200d" * 99),
        ("a" + "\u200d\ufe0f\u034f" * 11, "a" + "\u200d\ufe0f\u034f" * 10 + r"\u200d\ufe0f\u034f"),
        ("\U0001d165" * 31, "\U0001d165" * 30 + r"\U0001d165"),
    ],
)
def test_marks_beyond_the_thirtieth_are_shown_as_escapes(text: str, shown: str) -> None:
    assert escape(text) == cap_marks(text, escape=True) == shown
    assert shown.startswith(cap_marks(text, escape=False).removesuffix("x"))


@thoroughly
@given(st.text(st.sampled_from("e\u0301\u0316\u034f\u200d\ufe0f\n")), st.integers(1, 40))
def test_no_text_that_is_normalised_has_more_marks_in_a_row(text: str, times: int) -> None:
    """All that a normal form has to sort (Unicode, 3.11)."""
    text *= times
    for safe in (escape(text), cap_marks(text, escape=False), caseless(text), fold_name(text)):
        run = 0
        for char in safe:
            run = run + 1 if unicodedata.combining(char) else 0
            assert run <= MAX_MARKS


def test_all_that_a_normal_form_sorts_are_marks() -> None:
    sorted_ones = [chr(code) for code in range(0x110000) if unicodedata.combining(chr(code))]
    assert {unicodedata.category(char)[0] for char in sorted_ones} == {"M"}


def test_size_of_a_text_counts_bytes_and_what_is_no_text_is_refused() -> None:
    check_size("é" * 4, "a word", 8)
    with pytest.raises(UsageError, match=r"^a word of 10 bytes is too long") as caught:
        check_size("é" * 5, "a word", 8, "; cut it")
    assert caught.value.hint == "a word has at most 8 bytes; cut it"
    with pytest.raises(UsageError, match=r"^a word is text, and this is not UTF-8$"):
        check_size("\udcff", "a word", 8)
