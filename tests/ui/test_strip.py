"""What is left of the output of tools: no codes, and the last state of each line."""

import pytest

from chat.ui.strip import strip


@pytest.mark.parametrize(
    ("output", "seen"),
    [
        ("plain ö 太郎 👩‍🚀", "plain ö 太郎 👩‍🚀"),
        ("\x1b[1;31mFAILED\x1b[0m tests\x1b[m", "FAILED tests"),
        ("\x1b[38;5;208mgreen\x1b[38:2::1:2:3m \x1b[?25lb\x1b[?25h", "green b"),
        ("\x9b31mred\x9bm", "red"),
        ("\x1b]8;;https://a.example\x1b\\link\x1b]8;;\x1b\\ \x1b]0;title\x07!", "link !"),
        ("\x1b]0;never ends", ""),
        ("\x1b]0;cut off\x1b[31mred\x1b[m", "red"),
        (
            "\x1b]0;no end \x1b]0;title\x07one \x1bPgiven up\x18two \x9dand\x1athree",
            "one two three",
        ),
        ("\x1b(Bascii\x1b=\x1b>", "ascii"),
        ("\x1bPq#0;2\x1b\\sixel", "sixel"),
        (" 10%\r 50%\r100%", "100%"),
        ("downloading 100 files\rdone", "doneloading 100 files"),
        ("downloading 100 files\r\x1b[Kdone", "done"),
        ("downloading\x1b[2K\rdone", "done"),
        ("abc\x1b[2Kx", "x"),
        ("abc\x1b[1K\rx", "xbc"),
        ("|loading\x1b[1G\x1b[K/loading\x1b[G\x1b[0Kdone", "done"),
        ("12%\x1b[3D13%\x1b[2D4", "14%"),
        ("abc\x1b[3G\x1b[1Cd\x1b[1D\x1b[De", "abed"),
        ("abc\x1b[999999999Cd\x1b[999999999De\x1b[999999999Gf", "ebcdf"),
        (f"abc\x1b[{'9' * 5000}Dd\x1b[?1Ge", "dec"),
        ("50%   \r100% \r\n\tnext\r\n", "100%\n\tnext\n"),
        ("N\bNA\bAM\bME\bE _\bi_\bt", "NAME it"),
        ("\b\bone\b\b\b\b\btwo", "two"),
        ("bell\x07 nul\0 del\x7f", "bell nul del"),
        ("cut \x1b", "cut "),
        ("cut \x1b[31", "cut "),
        ("two lines\n\x1b[32mof them\x1b[m", "two lines\nof them"),
        ("trailing  ", "trailing  "),
        ("\r\r\r", ""),
        ("", ""),
    ],
)
def test_output_is_left_as_a_terminal_would_show_it(output: str, seen: str) -> None:
    assert strip(output) == seen
    assert strip(seen) == seen


def test_long_progress_costs_time_in_proportion() -> None:
    """Each carriage return goes over a long line again; nothing may copy that line each time."""
    line = "x" * 300_000 + "\ry" * 300_000
    assert strip(line) == "y" + "x" * 299_999
