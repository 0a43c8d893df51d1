"""Options that are not on the command line: from where each comes, which wins, what is refused."""

import subprocess
import sys
from argparse import Action, Namespace
from pathlib import Path

import pytest

from chat.__main__ import main
from chat.cli import parser, which_wins
from chat.errors import UsageError
from chat.parsers import Top
from chat.settings import variable_of

ROOM = ["client", "friends", "Ira"]


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the settings are; there is no such file yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", "/home/ira")
    path = tmp_path / "chat/config.toml"
    path.parent.mkdir(mode=0o700)
    return path


def write(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)


def parse(*arguments: str) -> Namespace:
    return parser().parse_args(arguments)


# -- which wins


def test_argument_wins_then_the_variable_the_room_the_command_and_the_default(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert parse(*ROOM).time is None
    write(file, "[client]\ntime = '%H'")
    assert parse(*ROOM).time == "%H"
    write(file, "[client]\ntime = '%H'\n[rooms.FRIENDS]\ntime = '%M'")
    assert parse(*ROOM).time == "%M"
    assert parse("client", "--json", "Ira@friends").time == "%M"
    assert parse("client", "others", "Ira").time == "%H"
    monkeypatch.setenv("CHAT_TIME", "%S")
    assert parse(*ROOM).time == "%S"
    assert parse(*ROOM, "--time", "%p").time == "%p"
    assert parse(*ROOM, "--time", "").time == ""
    monkeypatch.setenv("CHAT_TIME", "")
    assert parse(*ROOM).time == "%M"


def test_flag_is_true_or_false(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, "[client]\nno-history = true\n[rooms.friends]\nno-history = false")
    assert parse("client", "others", "Ira").no_history is True
    assert parse(*ROOM).no_history is False
    assert parse(*ROOM, "--no-history").no_history is True
    monkeypatch.setenv("CHAT_NO_HISTORY", "1")
    assert parse(*ROOM).no_history is True
    monkeypatch.setenv("CHAT_NO_HISTORY", "0")
    assert parse("client", "others", "Ira").no_history is False


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("port = 1\nhost = '::'\nrate = 0.5", {"port": 1, "host": "::", "rate": 0.5}),
        ("max-rooms = 3\ngrace = 0", {"max_rooms": 3, "grace": 0.0}),
        ("bits = 4096", {"bits": 4096}),
        ("keys = '~/x'\nephemeral = true", {"keys": Path("/home/ira/x"), "ephemeral": True}),
    ],
)
def test_values_are_what_the_option_makes_of_them(
    file: Path, table: str, expected: dict[str, object]
) -> None:
    write(file, f"[server]\n{table}")
    options = vars(parse("server"))
    assert {key: options[key] for key in expected} == expected


def test_name_of_a_room_is_used_there(file: Path) -> None:
    write(file, "[client]\nname = 'Boris'\n[rooms.friends]\nname = 'Ira'")
    assert parse("client", "friends").name == "Ira"
    assert parse("client", "others").name == "Boris"
    assert parse("client", "friends", "Zoe").name == "Zoe"


def test_room_may_have_options_of_another_command(file: Path) -> None:
    write(file, "[rooms.friends]\ntime = '%H'\npatience = 5")
    assert parse("send", "friends", "ci", "Hi").patience == 5
    assert parse("fingerprint", "friends").keys is None


def test_every_option_of_every_command_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys and variables are those of the options themselves."""
    top = parser()
    assert isinstance(top, Top)
    for command in top.commands.values():
        options = command.options()
        flags = {action.dest for action in command._actions if action.option_strings}
        assert {action.dest for action in options.values()} == flags - {"help", "version"}
        assert {f"CHAT_{key.upper().replace('-', '_')}" for key in options} >= {
            name for action in options.values() if (name := variable_of(action))
        }


# -- what is refused


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("[client]\ntiem = '%H'", "[client] has no option tiem", "did you mean time?"),
        ("[client]\nport = 3", "[client] has no option port", ""),
        ("[client]\n'' = 3", "[client] has no option ", ""),
        ("[client]\n'\u2028' = 3", "[client] has no option \\u2028", ""),
        ("[client.time]\nx = 3", "[client] time: a text or a number is expected", ""),
        ("[client]\ntime = true", "[client] time: a text or a number is expected", ""),
        ("[client]\ntime = ['%H']", "[client] time: a text or a number is expected", ""),
        ("[client]\ntime = 2026-01-01", "[client] time: a text or a number is expected", ""),
        ("[client]\ntime = '%Q'", "[client] time: a format for strftime is expected", ""),
        ("[client]\npatience = inf", "[client] patience: a number from 0 on", ""),
        ("[client]\npatience = -1", "[client] patience: a number from 0 on", ""),
        (f"[client]\npatience = 0x{'f' * 5000}", "[client] patience: the number is too long", ""),
        ("[client]\njson = 1", "[client] json: true or false is expected", ""),
        ("[client]\ncolor = 'red'", "[client] color: one of auto, always, never is", ""),
        ("[client]\nbits = 1024", "[client] bits: one of 2048, 3072, 4096 is expected", ""),
        ("[client]\nbits = 'x'", "[client] bits: not x", ""),
        ("[rooms.friends]\nname = 'a:b'", "[rooms.friends] name: a name has no comma", ""),
        ("[rooms.friends]\nnam = 'Ira'", "[rooms.friends] has no option nam", "did you mean name"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_else_happens(
    file: Path, text: str, said: str, hint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write(file, text)
    assert main(ROOM) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"chat: error: {file}: {said}")
    assert f"chat: hint: {hint}" in err or not hint
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"]


def test_file_that_is_wrong_is_told_whenever_it_is_asked_for(file: Path) -> None:
    write(file, "[client")
    command_line = parser()
    for _ in range(2):
        with pytest.raises(UsageError, match="it is not TOML"):
            command_line.parse_args(ROOM)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CHAT_JSON", "yes", "CHAT_JSON is 1 or 0"),
        ("CHAT_TIME", "\x1b", "CHAT_TIME: a format for strftime is expected"),
        (
            "CHAT_COLOR",
            "\x1bred",
            r"CHAT_COLOR: one of auto, always, never is expected, not \x1b",
        ),
        ("CHAT_NAME", "you", "CHAT_NAME: nobody can be called you"),
    ],
)
def test_variable_with_a_wrong_value_is_told(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as caught:
        parse(*ROOM)
    assert str(caught.value).startswith(said)


def test_variables_of_another_meaning_set_no_option() -> None:
    def of(dest: str) -> str:
        return variable_of(Action([], dest))

    assert (of("log"), of("invite"), of("no_history")) == ("", "", "CHAT_NO_HISTORY")


def test_help_names_the_options_that_no_variable_sets() -> None:
    top = parser()
    assert isinstance(top, Top)
    of_all = {key: one for each in top.commands.values() for key, one in each.options().items()}
    without = [key for key, action in of_all.items() if not variable_of(action)]
    assert without
    for key in without:
        assert f"--{key} has none" in which_wins("client", goes_to_a_room=True)


def test_help_speaks_of_the_tables_of_rooms_only_where_one_is_read() -> None:
    top = parser()
    assert isinstance(top, Top)
    for name, command in top.commands.items():
        assert ("[rooms.KEPT]" in str(command.epilog)) is command.goes_to_a_room
        assert command.goes_to_a_room is (name in ("client", "send", "fingerprint"))


# -- what is shown


def test_what_is_set_is_shown_with_where_it_comes_from(
    file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["config"]) == 0
    nothing = f"# There is no file {file}\n# Nothing is set, there or by a variable CHAT_...\n"
    assert capfd.readouterr() == (nothing, "")
    write(file, "[client]\ntime = '%H'\nno-history = true\n[rooms.friends]\nname = 'Ira'")
    monkeypatch.setenv("CHAT_PATIENCE", "5")
    assert main(["config", "client", "friends"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert out.splitlines() == [
        f"# {file}",
        "[client]",
        'name = "Ira"  # [rooms.friends]',
        "patience = 5  # CHAT_PATIENCE",
        'time = "%H"  # [client]',
        "no-history = true  # [client]",
    ]


def test_all_of_the_file_is_checked(file: Path) -> None:
    write(file, "[rooms.friends]\nnam = 'Ira'")
    assert main(["config"]) == 2
    write(file, "[server]\nport = true")
    assert main(["config"]) == 2
    assert main(["config", "client"]) == 0


def test_without_a_file_the_reader_of_toml_is_not_imported(tmp_path: Path) -> None:
    program = (
        "import sys; from chat.cli import parser; parser().parse_args(sys.argv[1:]); "
        "print('tomllib' in sys.modules)"
    )
    command = [sys.executable, "-c", program, *ROOM]
    for content, imported in ((None, "False\n"), ("[client]", "True\n")):
        if content is not None:
            write(tmp_path / "chat/config.toml", content)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == imported
