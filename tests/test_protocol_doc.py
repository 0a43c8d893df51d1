"""What people read agrees with the code: PROTOCOL's tables, numbers and samples, the README's
numbers and diagrams, the tests that SECURITY names, and the places that CONTRIBUTING names.

A number is looked for in the words around it, so that the sentence that names a limit cannot go.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import chat
from chat import invite, kex, limits, runninghash
from chat.client.events import FrameRefused, Tampered
from chat.client.phase import Phase
from chat.contents import CONTENT_HEADER_BYTES, Kind, MessageContent
from chat.controls import (
    CONTROLS,
    Check,
    Control,
    Greeting,
    Ping,
    Pong,
    Ready,
    Rekey,
    Resend,
    Resume,
    Resumed,
    Roster,
    Submit,
)
from chat.errors import ProtocolError, Reason
from chat.roomevents import ROOM_EVENTS
from chat.session import ClientSession, ServerSession, Session
from chat.ui.transcript import happened
from chat.wire import FRAMES, PROTOCOL, ROOM_HEADER_BYTES, Frame
from tests.make_vectors import WELCOME, with_samples
from tests.support.hall import CUT, MEMBERS, Desk, RoomInMemory
from tests.support.helpers import frames_of

PACKAGE = Path(chat.__file__).parent
ROOT = PACKAGE.parent
DOCUMENT = (ROOT / "docs" / "PROTOCOL.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
OPERATING = (ROOT / "docs/OPERATING.md").read_text(encoding="utf-8")
HEADING = re.compile(r"^#{2,3} (.+)$", re.MULTILINE)


def chapter(title: str) -> str:
    """The text under a heading, up to the next one."""
    _, _, after = DOCUMENT.partition(f"# {title}\n")
    assert after, title
    return re.split(r"^#", after, flags=re.MULTILINE)[0]


def table(text: str, *columns: str) -> Iterator[list[str]]:
    """The rows of the first table with these columns."""
    _, _, after = text.partition(f"| {' | '.join(columns)} |\n")
    assert after, columns
    for line in after.splitlines()[1:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def in_document(name: str) -> str:
    """A class's name as the document writes it: SessionKey is SESSION_KEY."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()


def plain(text: str) -> str:
    """Text without line breaks and without commas in numbers."""
    return re.sub(r"(?<=\d),(?=\d{3})", "", " ".join(text.split()))


# -- tables ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "session"), [("server", ServerSession), ("client", ClientSession)]
)
def test_state_table_is_the_one_in_the_code(side: str, session: type[Session]) -> None:
    _, _, after = chapter("4.1 States").partition(f"At the {side}:")
    rows = {
        (state, frame): (handler, next_state)
        for state, frame, handler, next_state in table(
            after, "state", "frame", "handler", "next state"
        )
    }
    assert rows == {
        (state.name, in_document(frame.__name__)): (handler.__name__.lstrip("_"), next_state.name)
        for (state, frame), (handler, next_state) in session.TRANSITIONS.items()
    }


def test_frames_come_from_whom_the_document_says() -> None:
    """Who may send a frame is who takes it at the other end."""

    def takes(session: type[Session], frame: type[Frame]) -> bool:
        return any(taken is frame for _, taken in session.TRANSITIONS)

    for number, _, sender, _ in table(chapter("2. Frames"), "type", "frame", "from", "body"):
        frame = FRAMES[int(number, 0)]
        assert takes(ServerSession, frame) == (sender in ("client", "both"))
        assert takes(ClientSession, frame) == (sender in ("server", "both"))


def names_of(classes: Mapping[int, type]) -> list[tuple[int, str]]:
    return [(number, in_document(classes[number].__name__)) for number in sorted(classes)]


@pytest.mark.parametrize(
    ("title", "columns", "expected"),
    [
        ("2. Frames", ("type", "frame", "from", "body"), names_of(FRAMES)),
        ("5.1 Control messages", ("type", "message", "from", "body"), names_of(CONTROLS)),
        ("5.3 Reasons", ("number", "reason", "means"), [(one.value, one.name) for one in Reason]),
        ("6.3 EVENT", ("type", "event", "body"), names_of(ROOM_EVENTS)),
    ],
)
def test_numbers_and_names_in_a_table_are_those_in_the_code(
    title: str, columns: tuple[str, ...], expected: list[tuple[int, str]]
) -> None:
    rows = table(chapter(title), *columns)
    assert [(int(number, 0), name.upper()) for number, name, *_ in rows] == expected


SIZE = re.compile(r"`u(\d+)`|`\[(\d+)\]`")


def size_of(fields: str) -> int:
    """How many bytes these fields take, as far as they have a fixed size."""
    return sum(int(bits or 0) // 8 + int(size or 0) for bits, size in SIZE.findall(fields))


def test_bodies_of_a_fixed_size_have_it() -> None:
    rows = table(chapter("5.1 Control messages"), "type", "message", "from", "body")
    bodies = {name: body for _, name, _, body in rows}
    for control in (
        *(Ready(), WELCOME, Rekey(1, bytes(32)), Resend(1), Resume(1, bytes(16), 1, 1), Resumed()),
        *(Ping(), Pong(), Check(1, bytes(32))),
    ):
        body = bodies[in_document(type(control).__name__)]
        assert size_of(body) == len(control.encode_body())


def test_content_of_a_message_is_laid_out_as_the_table_says() -> None:
    rows = list(table(chapter("6.2 MESSAGE"), "field", "size", "is"))
    fixed = {field: size_of(size) for field, size, _ in rows}
    assert sum(fixed.values()) == CONTENT_HEADER_BYTES
    content = MessageContent(Kind.REPEAT, 3, bytes(8), 4, b"")
    for field, value in (("kind", b"\2"), ("time", b"\3"), ("number", b"\4")):
        start = sum(fixed[before] for before in list(fixed)[: list(fixed).index(field)])
        part = content.encode()[start : start + fixed[field]]
        assert part == bytes(fixed[field] - 1) + value
    kinds = re.findall(r"(\d+): \*(\w+)\*", rows[0][2])
    assert kinds == [(str(int(kind)), kind.name.lower()) for kind in Kind]


# -- the phases --------------------------------------------------------------------------------


def in_phase(phase: Phase) -> Desk:
    """A participant that has come so far."""
    desk = Desk(welcomed=phase is not Phase.LOADING_ROSTER)
    match phase:
        case Phase.DISCONNECTED:
            desk.play(CUT)
        case Phase.LOADING_ROSTER:
            desk.play(desk.welcome())
        case Phase.CATCHING_UP:
            desk.play(CUT, Resumed())
        case Phase.REGROUPING:
            desk.new_room(MEMBERS[0])
    assert desk.participant.phase is phase
    return desk


def taken_in(phase: Phase) -> set[str]:
    """What a participant takes in this phase."""
    desk = in_phase(phase)
    controls = (desk.welcome(), Roster(MEMBERS), desk.check(), Resend(1), Resumed(), Submit(b""))
    greeting = Greeting(0, "", "")
    others = (Ready(), Ping(), Pong(), Resume(1, bytes(16), 0, 1))
    taken = {
        in_document(type(control).__name__)
        for control in (*controls, *others, greeting)
        if takes(in_phase(phase), control)
    }
    if not any(isinstance(shown, FrameRefused) for shown in desk.play(desk.left())):
        taken.add("frames of the log")
    return taken | ({"REKEY"} if takes(desk, desk.rekey()) else set())


def takes(desk: Desk, control: Control) -> bool:
    try:
        desk.play(control)
    except ProtocolError:
        return False
    return True


def test_phases_are_those_in_the_code_and_take_what_the_table_says() -> None:
    said: dict[str, set[str]] = {}
    name = ""
    for phase, took, ends in table(
        chapter("6.6 The phases of a participant"), "phase", "takes", "ends with"
    ):
        name = phase or name  # An empty cell continues the row above.
        said.setdefault(name, set()).update(re.findall("[A-Z]{4,}|frames of the log", took))
        assert {*re.findall(r"→ (\w+)", ends)} <= set(Phase.__members__)
    assert said == {phase.name: taken_in(phase) for phase in Phase}


# -- labels and limits -------------------------------------------------------------------------


def test_labels_are_those_in_the_code() -> None:
    labels = {
        value.decode()
        for module in (invite, kex, runninghash)
        for name, value in vars(module).items()
        if name.startswith("LABEL_")
    }
    assert runninghash.LABEL_ROOM_LOG.decode() in labels
    assert set(re.findall(rf"{PROTOCOL} [a-z ]+", DOCUMENT)) == labels
    keys = dict(table(chapter("4. The handshake"), "key", "info"))
    assert keys == {
        "k_c0": f"`{kex.LABEL_HANDSHAKE_CLIENT.decode()}`",
        "k_s0": f"`{kex.LABEL_HANDSHAKE_SERVER.decode()}`",
        "k_c1": f"`{kex.LABEL_LINK_CLIENT.decode()}`",
        "k_s1": f"`{kex.LABEL_LINK_SERVER.decode()}`",
    }
    behind_rekey = f'HKDF(key, empty, "{kex.LABEL_LINK_NEXT.decode()}", 64)'
    assert behind_rekey in chapter("3.3 What is sealed under what")
    room = chapter("6.1 Epochs and keys")
    for what, label in (
        ("message key", kex.LABEL_ROOM_MESSAGE),
        ("event key", kex.LABEL_ROOM_EVENT),
        ("repeat key", kex.LABEL_ROOM_REPEAT),
        ("step", kex.LABEL_ROOM_STEP),
    ):
        assert re.search(rf'{what} += HKDF\(secret, empty, "{label.decode()}"', room)
    first_base = rf'base of epoch 1 += SHA-256\("{runninghash.LABEL_ROOM_LOG.decode()}" ‖ room\)'
    assert re.search(first_base, chapter("6.4 The running hash"))


LIMITS = [
    ("1. Notation", "RSA keys have {} to {} bits", limits.MIN_RSA_BITS, limits.MAX_RSA_BITS),
    ("1. Notation", "the exponent {}.", limits.RSA_EXPONENT),
    ("2. Frames", "has at most {} bytes", limits.MAX_FRAME_BYTES),
    (
        "2. Frames",
        "until the link stands (section 4), at most {}.",
        limits.MAX_HANDSHAKE_FRAME_BYTES,
    ),
    ("3.2 Padding", "L' = max(L, {})", limits.MIN_PADDED_BYTES),
    ("3.2 Padding", "all padded to {} bytes", limits.MIN_PADDED_BYTES),
    ("3.3 What is sealed under what", "the frame's first {} bytes", ROOM_HEADER_BYTES),
    ("4.1 States", "Each session has {} seconds", limits.HANDSHAKE_SECONDS),
    ("4.1 States", "within {} seconds of the connection", limits.FIRST_FRAME_SECONDS),
    ("4.2 HELLO", "not-after = now + {} ", limits.SHARE_SECONDS),
    ("4.2 HELLO", "more than {} seconds past", limits.SHARE_SKEW_SECONDS),
    (
        "4.2 HELLO",
        "more than {} seconds ahead",
        limits.SHARE_SECONDS + limits.SHARE_SKEW_SECONDS,
    ),
    (
        "4.2 HELLO",
        "up to {} minutes slow, or up to {} minutes fast",
        limits.SHARE_SKEW_SECONDS / 60,
        (limits.SHARE_SECONDS - limits.SHARE_RENEW_SECONDS + limits.SHARE_SKEW_SECONDS) / 60,
    ),
    ("4.4 SESSION_KEY", "The server makes {} random bytes r", limits.SESSION_KEY_BYTES),
    ("5.1 Control messages", "token `[{}]`", limits.RESUME_TOKEN_BYTES),
    ("5.1 Control messages", "room `[{}]`", limits.ROOM_ID_BYTES),
    ("5.1 Control messages", "room secret `[{}]`", limits.ROOM_SECRET_BYTES),
    ("5.1 Control messages", "base `[{}]`", limits.HASH_BYTES),
    ("5.1 Control messages", "running hash `[{}]`", limits.HASH_BYTES),
    ("5.1 Control messages", "MESSAGE frames, the rest: at most {} bytes", limits.MAX_SUBMIT_BYTES),
    ("5.1 Control messages", "sentence `text` (at most {} bytes)", limits.MAX_REASON_BYTES),
    ("5.1 Control messages", "a command, at most {} bytes", limits.MAX_COMMAND_BYTES),
    ("5.1 Control messages", "the rest, at most {} bytes: the lines", limits.MAX_ANSWER_BYTES),
    ("8. Keys and fingerprints", "Up to {} servers may stand there", limits.MAX_SERVERS),
    ("5.1 Control messages", "at most {} members", limits.MAX_MEMBERS),
    ("5.2 Endings", "says PING every {} seconds", limits.PING_SECONDS),
    ("5.2 Endings", "or every {} seconds if it knows several", limits.NEXT_PING_SECONDS),
    ("5.2 Endings", "heard nothing at all for {} seconds", limits.PONG_SECONDS),
    ("5.2 Endings", "or for {} if it knows several", limits.NEXT_PONG_SECONDS),
    ("5.2 Endings", "or for {} after a sleep;", limits.AWAKE_PONG_SECONDS),
    ("5.2 Endings", "for {} seconds has seen none of them", limits.ACKNOWLEDGE_SECONDS),
    ("5.2 Endings", "not come {} seconds after", limits.CATCH_UP_SECONDS),
    ("5.2 Endings", "heard nothing of a member for {} seconds.", limits.SILENCE_SECONDS),
    ("6.1 Epochs and keys", "a room secret of {} bytes", limits.ROOM_SECRET_BYTES),
    (
        "6.1 Epochs and keys",
        "come within {} ms share one step",
        limits.JOIN_INTERVAL_SECONDS * 1000,
    ),
    ("6.1 Epochs and keys", "leaves within {} ms one", limits.LEAVE_INTERVAL_SECONDS * 1000),
    (
        "6.1 Epochs and keys",
        "within {} ms for each member",
        limits.INTERVAL_SECONDS_PER_MEMBER * 1000,
    ),
    ("6.1 Epochs and keys", "was {} seconds ago and something", limits.RENEWAL_SECONDS),
    ("6.1 Epochs and keys", "waits, for at most {} seconds", limits.RENEWAL_WAIT_SECONDS),
    ("6.2 MESSAGE", "| origin | `[{}]`", limits.ORIGIN_BYTES),
    ("6.2 MESSAGE", "the first {} bytes of the running hash", limits.SEEN_HASH_BYTES),
    ("6.2 MESSAGE", "at most {} bytes of UTF-8", limits.MAX_TEXT_BYTES),
    ("6.2 MESSAGE", "that ended no more than {} seconds ago", limits.EPOCH_GRACE_SECONDS),
    ("6.4 The running hash", "and {} second has gone by", limits.CHECK_SECONDS),
    ("6.4 The running hash", "{} ms if that is longer", limits.CHECK_SECONDS_PER_MEMBER * 1000),
    ("6.4 The running hash", "the ends of the last {} frames", limits.MAX_TRAIL),
    ("6.5 What a participant checks", "a fingerprint of {} bytes", limits.FINGERPRINT_BYTES),
    ("6.5 What a participant checks", "the keys of the last {} epochs", limits.MAX_EPOCHS),
    ("6.2 MESSAGE", "one of the last {} before it", limits.MAX_PAST_EPOCHS),
    ("6.6 The phases of a participant", "or {} seconds are over", limits.REGROUP_SECONDS),
    ("6.6 The phases of a participant", "has {} seconds from the", limits.WELCOME_SECONDS),
    ("6.7 Losing the connection, and coming back", "a grace ({} seconds", limits.GRACE_SECONDS),
    (
        "6.7 Losing the connection, and coming back",
        "after {} seconds and then twice as long each time, {} at most",
        limits.RETRY_SECONDS,
        limits.MAX_RETRY_SECONDS,
    ),
    ("6.8 A new room", "at most {} seconds. Then", limits.REGROUP_SECONDS),
    ("6.8 A new room", "in the last {} seconds", limits.REPLAY_SECONDS),
    ("6.8 A new room", "room `[{}]`", limits.ROOM_ID_BYTES),
    ("6.8 A new room", "keys of its last {} epochs", limits.MAX_EPOCHS),
    ("6.9 Too fast, too slow", "the log's window ({} MiB)", limits.WINDOW_BYTES / 2**20),
    ("6.9 Too fast, too slow", "for up to {} seconds", limits.MAX_ARRIVAL_WAIT_SECONDS),
    ("6.9 Too fast, too slow", "more than {} of its address", limits.MAX_LOST_OF_SOURCE),
    ("6.11 People and callers", "at most {} members", limits.MAX_CONNECTIONS_OF_KEY),
    ("6.11 People and callers", "at most {} callers", limits.MAX_CALLERS_OF_KEY),
    ("7. Names and text", "has 1 to {} characters", limits.MAX_NAME_CHARS),
    ("7. Names and text", "at most {} combining marks", limits.MAX_MARKS),
    ("9. Rejections", "no RELAY within {} seconds", limits.HANDSHAKE_SECONDS),
    ("9. Rejections", "no whole first frame within {} seconds", limits.FIRST_FRAME_SECONDS),
    (
        "11. What is not protected",
        "after {} seconds, or after {} if it is catching up",
        limits.ACKNOWLEDGE_SECONDS,
        limits.CATCH_UP_SECONDS,
    ),
    ("11. What is not protected", "{} MiB of sealed log", limits.WINDOW_BYTES / 2**20),
]


@pytest.mark.parametrize(("title", "sentence", "numbers"), [(a, b, c) for a, b, *c in LIMITS])
def test_limit_in_the_document_is_the_one_in_the_code(
    title: str, sentence: str, numbers: list[float]
) -> None:
    assert sentence.format(*(f"{number:.12g}" for number in numbers)) in plain(chapter(title))


def test_server_takes_no_message_of_an_epoch_whose_key_participants_have_forgotten() -> None:
    """PROTOCOL 6.2: however many come back within the grace, and need a new WELCOME."""
    hall = RoomInMemory()
    ira, thea = hall.enter("Ira", "Thea")
    ira.say("on its way for long")
    ira.carry(0)
    request = Resume(thea.member.id, thea.member.token, 2**64 - 1, 1)
    for _ in range(limits.MAX_EPOCHS):
        hall.lose(thea)
        hall.room.resume(request, thea.member.fingerprint, hall.now)
    ira.carry()
    assert hall.room.messages == 0
    hall.settle()
    assert ira.said() == [("Ira", "on its way for long")]


def test_contents_name_all_chapters_and_lead_there() -> None:
    contents, _, _ = DOCUMENT.partition("## 1. ")
    found = re.findall(r"(\d+)\. \[([^\]]+)\]\(#([^)]+)\)", contents)
    titles = re.findall(r"^## (.+)$", DOCUMENT, re.MULTILINE)
    assert [f"{number}. {title}" for number, title, _ in found] == titles
    for number, title, anchor in found:
        assert anchor == f"{number}-{title.lower().replace(' ', '-')}"


def test_sections_that_are_referred_to_are_there() -> None:
    prose = re.sub(r"(RFC \d+|SP 800-38A|FIPS 180-4), \d+(\.\d+)?", "", DOCUMENT)
    sections = {title.split()[0].rstrip(".") for title in HEADING.findall(DOCUMENT)}
    for reference in re.findall(r"\((?:section )?(\d{1,2}(?:\.\d)?)\)", prose):
        assert reference in sections
    sources = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    cited = re.findall(r"PROTOCOL (\d+(?:\.\d+)?)", "\n".join(sources))
    assert cited
    assert set(cited) <= sections


# -- samples -----------------------------------------------------------------------------------


def test_samples_are_what_the_maker_writes() -> None:
    assert with_samples(DOCUMENT) == DOCUMENT


def test_samples_are_one_whole_frame_of_each_type() -> None:
    _, _, samples = DOCUMENT.partition("## 12. Samples\n")
    titles = re.findall(r"^### (\w+)$", samples, re.MULTILINE)
    assert titles == [in_document(frame.__name__) for frame in FRAMES.values()]
    for title in titles:
        listing = next(
            part for part in chapter(title).split("\n\n") if part.lstrip().startswith("length")
        )
        digits = "".join(line.split()[-1] for line in listing.strip().splitlines())
        ((frame_type, data),) = frames_of(bytes.fromhex(digits))
        assert in_document(FRAMES[frame_type].__name__) == title
        assert data.hex() == digits


# -- the README --------------------------------------------------------------------------------


README_LIMITS = [
    ("after `--grace` seconds ({}) without you", limits.GRACE_SECONDS),
    ("or {} without an acknowledgement", limits.ACKNOWLEDGE_SECONDS),
    ("drops the connection after {} seconds,", limits.ACKNOWLEDGE_SECONDS),
    ("or after {} minutes if it has just come back", limits.CATCH_UP_SECONDS / 60),
    ("gives up after {} seconds without a connection (`--patience`)", limits.PATIENCE_SECONDS),
    ("sends more than {} messages a second (`--rate`)", limits.RATE),
    ("The server keeps the last {} MiB.", limits.WINDOW_BYTES / 2**20),
    ("| {} times that |", limits.SOURCE_RATE_FACTOR),
    ("or {} minutes if that is less", limits.SHARE_REFILL_SECONDS / 60),
    ("| {} at once, then one a second |", limits.ARRIVALS_AT_ONCE),
    ("then {} a second |", limits.SOURCE_ARRIVALS_PER_SECOND),
    ("after {} seconds at most", limits.MAX_ARRIVAL_WAIT_SECONDS),
    ("clients that stay | {} |", limits.MAX_CONNECTIONS_OF_KEY),
    ("| messages of `send` at the same moment | {} |", limits.MAX_CALLERS_OF_KEY),
    ("who lost the connection | as above | {} |", limits.MAX_LOST_OF_SOURCE),
    ("A name has 1 to {} characters", limits.MAX_NAME_CHARS),
    ("127.0.0.1 and port {},", limits.DEFAULT_PORT),
    ("A message has at most {} KiB.", limits.MAX_TEXT_BYTES / 2**10),
    ("the last {} lines, in `$XDG_STATE_HOME", limits.HISTORY_LINES),
]


@pytest.mark.parametrize(("sentence", "number"), README_LIMITS)
def test_limit_in_the_readme_is_the_one_in_the_code(sentence: str, number: float) -> None:
    assert sentence.format(f"{number:.12g}") in plain(README)


OPERATING_LIMITS = [
    ("at most {} pending connections (`--pending`)", limits.MAX_PENDING),
    ("at most {} from one IPv4 address", limits.MAX_PENDING_PER_SOURCE),
    ("not heard for {} seconds is gone", limits.SERVER_GONE_SECONDS),
    ("after {} seconds at most if it hangs", limits.NEXT_PING_SECONDS + limits.NEXT_PONG_SECONDS),
]


@pytest.mark.parametrize(("sentence", "number"), OPERATING_LIMITS)
def test_limit_in_the_page_for_operators_is_the_one_in_the_code(
    sentence: str, number: float
) -> None:
    assert sentence.format(f"{number:.12g}") in plain(OPERATING)


def test_readme_quotes_the_lines_about_what_was_changed_on_the_way() -> None:
    for certain in (True, False):
        (line,) = happened(Tampered(0.0, certain, again=True))
        assert re.sub(r"\d\d:\d\d:\d\d", "18:02:11", line) in plain(README)


@pytest.mark.parametrize(
    ("side", "session", "decision"),
    [
        ("server", ServerSession, set()),
        ("client", ClientSession, {("AWAIT_TRUST", "trust", "AWAIT_SESSION_KEY")}),
    ],
)
def test_diagram_of_the_states_is_the_one_in_the_code(
    side: str, session: type[Session], decision: set[tuple[str, str, str]]
) -> None:
    _, _, after = README.partition(f"\nAt the {side}, ")
    diagram = after.partition("```mermaid\nstateDiagram-v2\n")[2].partition("```")[0]
    direction, start, *arrows = diagram.splitlines()
    assert direction == "    direction LR"
    assert start == f"    [*] --> {next(iter(session.TRANSITIONS))[0].name}"
    drawn = set()
    for arrow in arrows:
        found = re.fullmatch(r"    (\w+) --> (\w+): (.+)", arrow)
        assert found, arrow
        drawn |= {(found[1], frame, found[2]) for frame in found[3].split(", ")}
    assert drawn == decision | {
        (state.name, in_document(frame.__name__), next_state.name)
        for (state, frame), (_, next_state) in session.TRANSITIONS.items()
    }


@pytest.mark.parametrize(
    "path", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda path: path.name
)
def test_links_to_files_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (path.parent / target).exists(), target


# -- the promises ------------------------------------------------------------------------------


def test_each_promise_of_the_readme_is_held_by_tests_that_are_there() -> None:
    security = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = list(table(security, "who", "promise", "test"))
    assert {who for who, _ in table(README, "who", "gets")} <= {who for who, *_ in rows}
    for _, promise, tests in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
        assert named, promise
        for path, name in named:
            assert f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8"), name


# -- for those who change the code -------------------------------------------------------------


def test_newest_version_in_the_changelog_is_that_of_the_code() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(\S+)\] - \d{4}-\d{2}-\d{2}$", changelog, re.MULTILINE)
    assert versions[0] == chat.__version__
    numbers = [[int(part) for part in version.split(".")] for version in versions]
    assert numbers == sorted(numbers, reverse=True)


def test_recipes_name_files_that_are_there_and_what_is_in_them() -> None:
    recipes = " ".join((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split())
    paths = set(re.findall(r"`((?:chat|docs|tests)/[\w/.]+)`", recipes))
    assert paths
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    named = re.findall(r"`([\w.]+)` in `([\w/]+\.py)`", recipes)
    assert named
    for name, path in named:
        for part in name.split("."):
            assert re.search(rf"\b{part}\b", (ROOT / path).read_text(encoding="utf-8")), (
                name,
                path,
            )
