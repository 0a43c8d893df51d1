"""Notifications of the desktop: which terminals show them, and what they are sent."""

import pytest

from chat.client.events import MessageReceived
from chat.limits import NOTIFIED_CHARS
from chat.ui.notify import Notifications, choose
from tests.support.helpers import FakeClock

OSC_777, OSC_9 = "\x1b]777;notify;T;text\a", "\x1b]9;T: text\a"


@pytest.mark.parametrize(
    ("choice", "environ", "shown"),
    [
        ("auto", {}, None),
        ("auto", {"TERM": "xterm-256color"}, None),
        ("auto", {"TERM": "foot"}, OSC_777),
        ("auto", {"TERM": "foot-extra"}, OSC_777),
        ("auto", {"TERM": "rxvt-unicode-256color"}, OSC_777),
        ("auto", {"TERM": "xterm-kitty"}, OSC_777),
        ("auto", {"TERM": "xterm-ghostty"}, OSC_777),
        ("auto", {"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, OSC_777),
        ("auto", {"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, OSC_777),
        ("auto", {"TERM": "xterm-256color", "KONSOLE_VERSION": "230800"}, OSC_777),
        ("auto", {"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, OSC_9),
        ("auto", {"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, OSC_9),
        ("auto", {"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, None),
        ("auto", {"TERM": "screen", "STY": "1.tty", "KITTY_WINDOW_ID": "1"}, None),
        ("auto", {"TERM": "tmux-256color", "TMUX": "/tmp/tmux"}, None),
        (
            "auto",
            {"TERM": "tmux-256color", "TMUX": "/tmp/tmux", "KITTY_WINDOW_ID": "1"},
            "\x1bPtmux;\x1b\x1b]777;notify;T;text\a\x1b\\",
        ),
        (
            "auto",
            {"TERM": "screen", "TMUX": "/tmp/tmux", "ITERM_SESSION_ID": "w0t0p0"},
            "\x1bPtmux;\x1b\x1b]9;T: text\a\x1b\\",
        ),
        ("osc9", {"TERM": "foot"}, OSC_9),
        ("osc777", {}, OSC_777),
        ("osc777", {"TMUX": "/tmp/tmux"}, "\x1bPtmux;\x1b\x1b]777;notify;T;text\a\x1b\\"),
        ("off", {"TERM": "foot"}, None),
        ("off", {"TERM": "foot", "TMUX": "/tmp/tmux"}, None),
    ],
)
def test_form_is_what_the_terminal_is_known_to_understand(
    choice: str, environ: dict[str, str], shown: str | None
) -> None:
    show = choose(choice, environ)
    assert (show and show("T", "text")) == shown


def said(text: str, name: str = "Zoe", to: str = "") -> MessageReceived:
    return MessageReceived(name, 0, text, own=False, to=to)


class Desktop:
    """What the desktop of one person is told, in OSC 777."""

    def __init__(self, clock: FakeClock) -> None:
        self.notifications = Notifications(clock, choose("osc777", {}))

    def told(self, *messages: MessageReceived, wanted: bool = True) -> str:
        for message in messages:
            self.notifications.add(message)
        return self.notifications.tell(str.encode, wanted=wanted).decode()


def test_one_notification_a_second_tells_of_the_first_message(clock: FakeClock) -> None:
    desktop = Desktop(clock)
    assert desktop.told() == ""
    assert desktop.told(said("Ira?"), said("Ira!")) == "\x1b]777;notify;chat: Zoe;Ira?\a"
    assert desktop.told() == ""
    clock.advance(0.9)
    assert desktop.told(said("Ira!!")) == ""
    clock.advance(0.1)
    assert desktop.told() == ""
    assert desktop.told(said("Ira!!!")) == "\x1b]777;notify;chat: Zoe;Ira!!!\a"


def test_who_is_looking_is_not_notified_then_or_later(clock: FakeClock) -> None:
    desktop = Desktop(clock)
    assert desktop.told(said("Ira?"), wanted=False) == desktop.told() == ""


def test_without_a_form_nothing_is_told(clock: FakeClock) -> None:
    notifications = Notifications(clock, None)
    notifications.add(said("Ira?"))
    assert notifications.tell(str.encode, wanted=True) == b""


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (said("\x01ACTION waves at Ira\x01"), "waves at Ira"),
        (said("one\n\n  two\t"), "one two"),
        (said("a;b\x1b]0;x\a\x07\x9c\u202e"), r"a,b\x1b]0,x\x07\x07\x9c\u202e"),
        (said("x" * 1000), "x" * (NOTIFIED_CHARS - 1) + "…"),
        (said("secret", to="Ira"), "says something to you in private"),
    ],
)
def test_words_are_few_and_harmless_and_not_private(
    clock: FakeClock, message: MessageReceived, words: str
) -> None:
    assert Desktop(clock).told(message) == f"\x1b]777;notify;chat: Zoe;{words}\a"


def test_name_is_harmless(clock: FakeClock) -> None:
    shown = Desktop(clock).told(said("Ira", name="a;\x1b\\\n"))
    assert shown == "\x1b]777;notify;chat: a,\\x1b\\\\n;Ira\a"
