"""The command line: arguments and the options they become, defaults, and what is refused."""

import math
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from chat import __version__, limits
from chat.__main__ import main
from chat.cli import parser
from chat.errors import UsageError
from chat.meanings import MAX_INPUT_BYTES, STANDARD_INPUT, message_of
from chat.place import Place
from chat.ui.strip import strip
from tests.support.helpers import key

FINGERPRINT = key("server").public.fingerprint
ROLES = ("server", "client", "send", "invite", "rooms", "fingerprint", "forget", "admin", "config")
DEFAULTS = {
    "server": (
        limits.DEFAULT_PORT,
        limits.GRACE_SECONDS,
        f"{limits.RATE:g}",
        limits.DEFAULT_RSA_BITS,
    ),
    "client": (
        f"forever, or {limits.PATIENCE_SECONDS} without a terminal",
        "%H:%M, and in a pipe %Y-%m-%d %H:%M:%S",
    ),
    "send": (limits.PATIENCE_SECONDS,),
}


@pytest.mark.parametrize("role", [[], *([role] for role in ROLES)])
def test_version_and_help_are_shown(role: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    shown = {}
    for option in ("--version", "--help", "-h"):
        with pytest.raises(SystemExit) as caught:
            parser().parse_args([*role, option])
        assert caught.value.code == 0
        shown[option], err = capsys.readouterr()
        assert err == ""
    assert shown["--version"] == f"chat {__version__}\n"
    assert shown["-h"] == shown["--help"]
    assert shown["--help"].startswith(" ".join(["usage: chatapp", *role]))
    words = " ".join(shown["--help"].split())
    for default in DEFAULTS.get(role[0] if role else "", ()):
        assert f"(default: {default})" in words


PORT_OR_ZERO = "a port is a number from 0 to 65535"
PORT = "a port is a number from 1 to 65535"
PRINTABLE = "a name has printable characters only"
A_NUMBER = "a number from 0 on is expected, as in 60 or 0.5"
A_FORMAT = "a format for strftime is expected, as in %H:%M"
A_FINGERPRINT = "a fingerprint is SHA256: and 43 characters: letters, digits, + and /"

A_PROXY = "a proxy is a URL (%40 for an @ in its password), such as socks5h://HOST:PORT"
UNKNOWN = "does not take "
NO_UTF8 = "and this is not UTF-8"
JOIN = ["client", "localhost", "9443", "Ira"]
SEND = ["send", "localhost", "9443", "Ira"]
INVITE = "chat://chat.example:9443/AQAB"

BAD_PORTS = ("70000", "x", "", " 1", "9_443", "\u0669\u0664\u0664\u0663", "9" * 5000)
BAD_FINGERPRINTS = ("", FINGERPRINT[7:], FINGERPRINT[:-1], FINGERPRINT + "=", FINGERPRINT + "\n")
BAD_NAMES = {
    "": "a name has at least one character",
    "x" * (limits.MAX_NAME_CHARS + 1): f"a name has at most {limits.MAX_NAME_CHARS} characters",
    "a:b": "a name has no comma, colon",
    " Ira": "a name begins and ends with",
    "\x1b[31m": PRINTABLE,
    "\udcff": PRINTABLE,
}

MISUSE = [
    ([], "a command is missing"),
    (["room"], "room is no command"),
    (["server", "--nonsense"], f"server {UNKNOWN}--nonsense"),
    (["server", "extra"], f"server {UNKNOWN}extra"),
    (["server", "--port"], "expected one argument"),
    (["server", "--port", "-1"], "argument -p/--port"),
    *((["server", "--port", port], PORT_OR_ZERO) for port in BAD_PORTS),
    (["server", "--bits", "1024"], "invalid choice: 1024"),
    (["server", "--fingerprint", FINGERPRINT], f"{UNKNOWN}--fingerprint"),
    (["server", "--grace", "-1"], f"argument --grace: {A_NUMBER}"),
    (["server", "--grace", "inf"], A_NUMBER),
    (["server", "--rate", "1e3"], A_NUMBER),
    (["server", "--rate", ""], A_NUMBER),
    (["server", "--pending", "0"], "a whole number is expected, from 1 to 999999"),
    (["server", "--pending-per-source", "1.5"], "argument --pending-per-source: "),
    (["server", "--authorized-keys", ""], "a file has a name"),
    (["server", "--keep-names", "for ever"], A_NUMBER),
    (["server", "--color", "never"], f"{UNKNOWN}--color"),
    (["server", "--keys=~no-one/x"], "the home folder of the user no-one is not known"),
    (["server", "--host", "caf\udce9"], f"a host is text, {NO_UTF8}"),
    (JOIN[:1], "the host, the invite or the kept room is missing"),
    (["config", "friends"], "config takes the name of a command"),
    (["config", "client", "friends", "Ira"], "config takes the name of a command"),
    ([*JOIN, "more"], "there are too many words: 4"),
    ([*JOIN, "--nonsense"], f"{UNKNOWN}--nonsense"),
    *((["client", "localhost", port, "Ira"], PORT) for port in ("0", "00000")),
    (["client", "localhost", "http", "Ira"], "a port is a number from"),
    *(([*JOIN[:3], name], said) for name, said in BAD_NAMES.items()),
    *(([*JOIN, "--fingerprint", bad], A_FINGERPRINT) for bad in BAD_FINGERPRINTS),
    ([*JOIN, "--fingerprint", "MD5:" + "00:" * 16], A_FINGERPRINT),
    ([*JOIN, "--patience", "inf"], f"{A_NUMBER}, or forever"),
    ([*JOIN, "--color", "red"], "invalid choice: 'red'"),
    ([*JOIN, "--time", "%H\0"], A_FORMAT),
    ([*JOIN, "--time", "\udce9"], A_FORMAT),
    *(([*JOIN, "--time", bad], A_FORMAT) for bad in ("%", "%H:%", "%é", "%H%n", "\x1b[1m%H")),
    ([*JOIN, "--json", "yes"], "there are too many words: 4"),
    ([*JOIN, "--keys="], "a folder has a name"),
    (["forget"], "the host is missing"),
    (["forget", "-"], "the host is missing"),
    (["forget", "a.example,b.example"], "one server at a time is forgotten"),
    (["forget", "localhost", "--alias", "x"], "not by both"),
    *(([*JOIN, "--alias", bad], "an alias is") for bad in ("a b", "[a]", "*", "é", "-", "a" * 64)),
    *(([*JOIN, "--proxy", bad], A_PROXY) for bad in ("localhost:1080", "http://localhost")),
    (["admin"], "a command of the console is missing, such as WHO"),
    (["admin", "", " "], "a command of the console is missing, such as WHO"),
    (["forget", "localhost", "0"], PORT),
    (SEND[:1], "the host, the invite or the kept room is missing"),
    (SEND[:2], "your name is missing"),
    (SEND[:3], "9443 is taken for a port, so your name is missing"),
    ([*SEND, ""], "a message has at least one character"),
    ([*SEND, "caf\udce9"], f"a message is text, {NO_UTF8}"),
    ([*SEND, "--fail"], f"{UNKNOWN}--fail"),
    ([*SEND, "Hi", "--color"], f"{UNKNOWN}--color"),
    ([*SEND, "Hi", "--fingerprint", "x"], A_FINGERPRINT),
    (["send", "localhost", "9443", "caf\udce9", "Hi"], PRINTABLE),
    (["send", "caf\udce9", "9443", "Ira", "Hi"], f"a host is text, {NO_UTF8}"),
    (["send", "localhost", "0", "Ira", "Hi"], PORT),
    (["invite"], "the host is missing"),
    (["invite", "localhost", "9443", "Ira"], "there are too many words: 3"),
    (["invite", "localhost", "--keep"], "expected one argument"),
    (["fingerprint"], "the host is missing"),
    (["fingerprint", INVITE, "9443"], "an invite says the port"),
    (["rooms", "add"], "the name of the room is missing"),
    (["rooms", "remove"], "the name of the room is missing"),
    (["rooms", "add", "friends", INVITE], "the invite is asked for"),
    (["rooms", "remove", "friends", "more"], "rooms takes add KEPT or remove KEPT"),
    (["rooms", "friends"], "rooms takes add KEPT or remove KEPT"),
]


@pytest.fixture(autouse=True)
def login(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the login name, which is ira if a test does not say otherwise."""

    def set_login(name: str) -> None:
        account = pwd.struct_passwd([name, "x", 1000, 1000, "", "/home/ira", "/bin/sh"])
        monkeypatch.setattr("pwd.getpwuid", lambda _uid: account)

    set_login("ira")
    return set_login


@pytest.mark.parametrize(("arguments", "text"), MISUSE)
def test_misuse_is_told_in_two_lines_and_ends_with_status_two(
    arguments: list[str], text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    error, hint, *more = err.splitlines()
    assert error.startswith("chat: error: ")
    assert text in error
    assert hint.startswith("chat: hint: ")
    assert not more
    assert "AQAB" not in err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], "the commands are server, client, send, "),
        (["sever"], "did you mean server?"),
        (["help"], "did you mean --help?"),
        (["Client"], "did you mean client?"),
        (["xyzzy"], "usage: chatapp [option ...] COMMAND; --help says more"),
        (["server", "9443"], "did you mean -p 9443?"),
        (["server", "0.0.0.0"], "did you mean --host 0.0.0.0?"),
        (["server", "::"], "did you mean --host ::?"),
        (["server", "ephemeral"], "did you mean --ephemeral?"),
        (["server", "x"], "usage: chatapp server [option ...]; --help says more"),
        ([*JOIN, "--colour", "never"], "did you mean --color?"),
        ([*JOIN, "--colour=never"], "did you mean --color?"),
        ([*SEND, "--fail"], "put -- before a text that begins with a dash"),
        ([*SEND, "--stripe"], "did you mean --strip?"),
        ([*JOIN, "more"], "usage: chatapp client [option ...] HOST [PORT] [NAME], or "),
        (["forget", "localhost", "1", "2"], "usage: chatapp forget [option ...] HOST [PORT], or "),
        ([INVITE], "usage: chatapp [option ...] COMMAND; --help says more"),
        (["server", INVITE], "usage: chatapp server [option ...]; --help says more"),
    ],
)
def test_hint_is_a_guess_or_the_usage_of_the_command(arguments: list[str], hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parser().parse_args(arguments)
    assert caught.value.hint.startswith(hint)
    assert "AQAB" not in str(caught.value)


# -- what is given, and what is left out

KEYS = {"keys": None, "bits": limits.DEFAULT_RSA_BITS, "ephemeral": False}
WAY = {"alias": "", "proxy": None}
DESTINATION = {
    "place": Place("localhost", 9443),
    "name": "Ira",
    "fingerprint": None,
    **WAY,
    "patience": None,
}
CLIENT = {
    "role": "client",
    "color": "auto",
    "time": None,
    "no_history": False,
    "json": False,
    "quiet": "smart",
    "log": None,
    "listen": False,
    "plain": False,
    "strip": False,
    "by_login": False,
    "notify": "auto",
    **DESTINATION,
    **KEYS,
}
SERVER = {
    "check": False,
    "cluster": None,
    "cluster_ca": None,
    "cluster_key": None,
    "cluster_name": None,
    "cluster_password_file": None,
    "role": "server",
    "host": "127.0.0.1",
    "port": limits.DEFAULT_PORT,
    "grace": limits.GRACE_SECONDS,
    "rate": limits.RATE,
    "pending": limits.MAX_PENDING,
    "pending_per_source": limits.MAX_PENDING_PER_SOURCE,
    "no_open_room": False,
    "room_tags": None,
    "motd": None,
    "max_rooms": limits.MAX_ROOMS,
    "authorized_keys": None,
    "keep_names": limits.KEEP_NAMES_DAYS,
    "log": None,
    "quiet": False,
    "no_history": False,
    **KEYS,
}
SENT = {"role": "send", "text": "Hi", "json": False, "strip": False, **DESTINATION, **KEYS}
KEPT = Place("localhost", may_be_kept=True)
JSON_AND_STRIP = {"text": "Hi Ira", "json": True, "strip": True}
FORGET = ["forget", "localhost", "9443"]
FORGOTTEN = {"role": "forget", "alias": "", "keys": None}
MAKE = {
    "role": "invite",
    "place": Place("localhost", may_be_kept=True),
    "keep": None,
    "qr": False,
    "tag": False,
    "fingerprint": None,
    **WAY,
    "keys": None,
}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["server"], SERVER),
        (["server", "-p", "0", "--host", "::"], SERVER | {"port": 0, "host": "::"}),
        (["server", "--port", "65535"], SERVER | {"port": 65_535}),
        (["server", "--grace", "0.5", "--rate", "0"], SERVER | {"grace": 0.5, "rate": 0}),
        (
            ["server", "--pending", "50", "--pending-per-source", "5"],
            SERVER | {"pending": 50, "pending_per_source": 5},
        ),
        (
            ["server", "--authorized-keys", "~/.ssh/keys", "--keep-names", "0"],
            SERVER | {"authorized_keys": Path("/home/ira/.ssh/keys"), "keep_names": 0},
        ),
        (JOIN, CLIENT),
        ([*JOIN[:3], "Z\u030cofia"], CLIENT | {"name": "\u017dofia"}),
        ([*JOIN, "--color", "always"], CLIENT | {"color": "always"}),
        ([*JOIN, "--time", "%H:%M"], CLIENT | {"time": "%H:%M"}),
        ([*JOIN, "--notify", "off"], CLIENT | {"notify": "off"}),
        ([*JOIN, "--time", ""], CLIENT | {"time": ""}),
        ([*JOIN, "--time", "%%%I%p 100%%"], CLIENT | {"time": "%%%I%p 100%%"}),
        ([*JOIN, "--no-history", "--json"], CLIENT | {"no_history": True, "json": True}),
        ([*JOIN, "--fingerprint", FINGERPRINT], CLIENT | {"fingerprint": FINGERPRINT}),
        ([*JOIN, "--patience", "0"], CLIENT | {"patience": 0}),
        ([*JOIN, "--patience", "forever"], CLIENT | {"patience": math.inf}),
        ([*JOIN, "--keys", "a b"], CLIENT | {"keys": Path("a b")}),
        ([*JOIN, "--keys=~/x"], CLIENT | {"keys": Path("/home/ira/x")}),
        ([*JOIN, "--bits", "4096", "--ephemeral"], CLIENT | {"bits": 4096, "ephemeral": True}),
        ([*JOIN, "--listen", "--quiet", "off"], CLIENT | {"listen": True, "quiet": "off"}),
        ([*JOIN, "--log", "~/room.log"], CLIENT | {"log": Path("/home/ira/room.log")}),
        ([*JOIN, "--plain", "--strip"], CLIENT | {"plain": True, "strip": True}),
        ([*SEND, "Hi"], SENT),
        (SEND, SENT | {"text": None}),
        ([*SEND, "one", "two", " 3"], SENT | {"text": "one two  3"}),
        (["send", "localhost", "Ira", "Hi", "9443"], SENT | {"text": "Hi 9443", "place": KEPT}),
        (["send", "Ira@localhost:9443", "9443", "Hi"], SENT | {"text": "9443 Hi"}),
        (["send", INVITE, "Ira"], SENT | {"text": None, "place": Place(invite=INVITE)}),
        ([*SEND, "Hi", "--json", "Ira", "--strip"], SENT | JSON_AND_STRIP),
        (
            ["client", "--json", "localhost", "--keys", "x", "9443", "--time", "", "Ira"],
            CLIENT | {"json": True, "keys": Path("x"), "time": ""},
        ),
        (["client", "Ira@[::1]:1"], CLIENT | {"place": Place("::1", 1)}),
        (["client", INVITE, "Ira"], CLIENT | {"place": Place(invite=INVITE)}),
        (["client", "-", "Ira"], CLIENT | {"place": Place()}),
        (["send", "-", "Ira", "-"], SENT | {"place": Place(), "text": STANDARD_INPUT}),
        (["send", "Ira@localhost:9443", "Hi"], SENT),
        (["send", "--", *SEND[1:], "-x"], SENT | {"text": "-x"}),
        (["invite", "localhost"], MAKE),
        (
            ["invite", "localhost", "--keep", "x", "9443", "--qr", "--tag"],
            MAKE | {"place": Place("localhost", 9443), "keep": "x", "qr": True, "tag": True},
        ),
        (
            ["fingerprint", "-"],
            {"role": "fingerprint", "place": Place(), **WAY, "keys": None},
        ),
        (["rooms"], {"role": "rooms", "action": "list", "kept": "", "keys": None}),
        (
            ["rooms", "add", "--keys", "x", "friends"],
            {"role": "rooms", "action": "add", "kept": "friends", "keys": Path("x")},
        ),
        (["server", "--quiet", "--log=~/l"], SERVER | {"quiet": True, "log": Path("/home/ira/l")}),
        (["admin", "KICK", "a b"], {"role": "admin", "words": ["KICK", "a b"], "keys": None}),
        (
            ["admin", "TOPIC", "-", "--keys", "x", "--", "--", "-y"],
            {"role": "admin", "words": ["TOPIC", "-", "--", "-y"], "keys": Path("x")},
        ),
        (FORGET, FORGOTTEN | {"host": "localhost", "port": 9443}),
        (["forget", "[::1]"], FORGOTTEN | {"host": "::1", "port": 9443}),
        (["forget", "--alias", "work"], FORGOTTEN | {"alias": "work"}),
        ([*JOIN, "--alias", "Work.2"], CLIENT | {"alias": "Work.2"}),
        ([*JOIN, "--alias", "", "--proxy="], CLIENT),
        ([*SEND, "--", "--json"], SENT | {"text": "--json"}),
        ([*SEND, "-"], SENT | {"text": STANDARD_INPUT}),
        ([*SEND, "one\ntwo", "--patience", "5"], SENT | {"text": "one\ntwo", "patience": 5}),
    ],
)
def test_arguments_become_options(
    arguments: list[str], expected: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ira")
    assert vars(parser().parse_args(arguments)) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"Hi", "Hi"),
        (b"Hi\n", "Hi"),
        (b"Hi\n\n", "Hi\n"),
        (b"\xef\xbb\xbfone\r\ntwo\r\n", "one\ntwo"),
        (b"one\rtwo\r", "one\ntwo"),
        (b"\xef\xbb\xbf" + b"\r\n" * (limits.MAX_TEXT_BYTES + 1), "\n" * limits.MAX_TEXT_BYTES),
        ("ä".encode() * (limits.MAX_TEXT_BYTES // 2) + b"\n", "ä" * (limits.MAX_TEXT_BYTES // 2)),
    ],
    ids=lambda value: repr(value[:10]),
)
def test_standard_input_becomes_a_message(data: bytes, message: str) -> None:
    assert len(data) <= MAX_INPUT_BYTES
    assert message_of(data) == message


@pytest.mark.parametrize(
    "data", [b"", b"\r\n", b"\xef\xbb\xbf", b"\xff", b"x" * (limits.MAX_TEXT_BYTES + 1)]
)
def test_standard_input_that_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError):
        message_of(data)


def test_output_of_a_tool_may_be_longer_than_a_message_and_has_its_own_limit() -> None:
    output = b"50%\r" * (limits.CONSOLE_LINE_BYTES // 4)
    assert message_of(output, strip) == "50%"
    with pytest.raises(UsageError, match="with --strip the input has at most 1048576 bytes"):
        message_of(output + b"x", strip)


# -- the name that is not given


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["localhost"], Place("localhost", may_be_kept=True)),
        (["localhost", "1"], Place("localhost", 1)),
        (["[::1]:1"], Place("::1", 1)),
        ([INVITE], Place(invite=INVITE)),
        (["-"], Place()),
    ],
)
@pytest.mark.parametrize(
    ("more", "variable", "name", "by_login"),
    [
        ([], "", "ira", True),
        ([], "Zoe", "Zoe", False),
        (["--name", "Boris"], "Zoe", "Boris", False),
    ],
)
def test_name_that_is_left_out_is_the_one_set_elsewhere_or_that_of_the_login(
    words: list[str],
    place: Place,
    more: list[str],
    variable: str,
    name: str,
    by_login: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHAT_NAME", variable)
    options = parser().parse_args(["client", *words, *more])
    assert (options.place, options.name, options.by_login) == (place, name, by_login)


def test_name_behind_the_place_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_NAME", "Zoe")
    for words in (["localhost", "Ira"], ["Ira@localhost"], ["localhost", "--name", "Al", "Ira"]):
        options = parser().parse_args(["client", *words])
        assert (options.name, options.by_login) == ("Ira", False)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("root", "nobody can be called root"),
        ("a:b", "a name has no comma, colon, "),
        ("", "a name has at least one character"),
    ],
)
def test_login_that_cannot_be_a_name_is_none_and_it_is_said_why(
    name: str, why: str, login: Callable[[str], None]
) -> None:
    login(name)
    with pytest.raises(UsageError) as caught:
        parser().parse_args(["client", "localhost", "9443"])
    reason = f"your name is missing; that of your login will not do: {why}"
    assert str(caught.value).startswith(f"9443 is taken for a port, so {reason}")


def test_proxy_is_known_by_its_url() -> None:
    for role in (JOIN, [*SEND, "Hi"], ["invite", "h"], ["fingerprint", "h"]):
        options = parser().parse_args([*role, "--proxy", "socks5h://ira:hush@localhost"])
        assert str(options.proxy) == "socks5h://localhost:1080"


@pytest.mark.parametrize("words", ["rooms --proxy=IT", "server IT", "client IT", "IT", "send h IT"])
def test_password_of_a_proxy_in_a_wrong_place_is_not_repeated(words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parser().parse_args(words.replace("IT", "socks5h://ira:h@ush@localhost").split())
    assert "ush" not in str(caught.value) + caught.value.hint


def test_password_of_a_proxy_is_not_among_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_PROXY", "socks5h://ira:hush@localhost")
    assert parser().parse_args(["config", "client"]).lines() == [
        "[client]",
        'proxy = "socks5h://localhost:1080"  # CHAT_PROXY',
    ]
