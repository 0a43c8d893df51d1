"""Operators among the members: who they are, what they are answered, and what others notice."""

from pathlib import Path
from unittest.mock import Mock

import pytest

from chat.client.asked import Asked
from chat.controls import Answer, Operate
from chat.errors import IdentityError, ProtocolError, Reason, UsageError
from chat.files.lists import ListFile
from chat.limits import MAX_ANSWER_BYTES, MAX_COMMAND_BYTES
from chat.server import words
from chat.server.access import Access
from chat.server.lists import BrokenLineError, InMemory, LimitedLineError, Trouble
from chat.server.operators import Operators, digest_in
from tests.support.helpers import key
from tests.support.loopback import Company, Hall, Peer

IRA = key("ira").public


def ask(hall: Hall, peer: Peer, command: str) -> Answer:
    """Give a command; the answer to it."""
    before = len(answers(peer))
    peer.send_control(Operate(command).encode())
    hall.until(lambda: len(answers(peer)) > before)
    return answers(peer)[-1]


def answers(peer: Peer) -> list[Answer]:
    return [control for control in peer.controls if isinstance(control, Answer)]


@pytest.fixture
def company(hall: Hall) -> Company:
    """Ira is an operator."""
    hall.server.operators = Operators(file=InMemory(f"{IRA.fingerprint} Ira"))
    return Company(hall)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        *((line, None) for line in ("", "  ", "# SHA256:x", "ssh-ed25519 AAAA zoe")),
        *((line.format(IRA.fingerprint), IRA.digest) for line in ("{}", " {}\tIra, at work ")),
        *((f"{line} Ira", IRA.digest) for line in (IRA.openssh, f"no-pty {IRA.openssh}")),
    ],
)
def test_line_names_a_key_by_its_fingerprint_or_as_openssh_does(
    line: str, expected: bytes | None
) -> None:
    assert digest_in(line) == expected


@pytest.mark.parametrize("line", ["Ira", "SHA256:abc", f"{IRA.fingerprint}x", "ssh-rsa AAAA"])
def test_line_that_names_no_key_is_broken(line: str) -> None:
    with pytest.raises(BrokenLineError):
        digest_in(line)


def test_key_with_conditions_makes_no_operator() -> None:
    with pytest.raises(LimitedLineError):
        digest_in(f'from="192.0.2.1" {IRA.openssh}')


def test_list_is_read_again_when_it_changes_and_holds_when_it_cannot_be_read(
    tmp_path: Path,
) -> None:
    path, troubles = tmp_path / "operators", list[Trouble]()
    operators = Operators(troubles.append, ListFile(path, "list of operators"))
    assert not operators.has(IRA.digest)
    path.write_text(f"{IRA.fingerprint}\n")
    assert operators.has(IRA.digest)
    assert not operators.has(key("other").public.digest)
    path.chmod(0o666)
    assert operators.has(IRA.digest)
    assert len(troubles) == 1
    path.chmod(0o600)
    path.write_text("")
    assert not operators.has(IRA.digest)


def test_operator_in_the_room_is_answered_alone_and_the_console_says_who_did_what(
    hall: Hall, company: Company
) -> None:
    eve = hall.join("Eve", "other")
    company.talk()
    company.news, shown = list(company.ira.news), hall.screen.lines()
    assert ask(hall, company.ira, "ROOMS") == Answer(True, "The open room: 3")
    assert hall.screen.lines() == shown, "nothing has changed"
    assert ask(hall, company.ira, "KICK Zoe") == Answer(False, "Nobody here is called Zoe.")
    assert ask(hall, company.ira, "kick Eve") == Answer(True, "Eve is put out.")
    assert hall.farewell_to(eve).reason is Reason.KICKED
    assert hall.shown(f"[+] Ira, {IRA.fingerprint}: KICK Eve")
    hall.until(lambda: len(company.ira.news) > len(company.news))
    assert answers(company.sahnawaz) == []
    company.news = list(company.ira.news)
    company.assert_undisturbed()


def test_others_are_no_operators_and_nothing_is_said_of_it(hall: Hall, company: Company) -> None:
    for command in ("WHO", "KICK Ira", "TERMINATE"):
        answer = ask(hall, company.sahnawaz, command)
        assert answer == Answer(False, "You are no operator here.")
    assert hall.screen.lines() == []
    company.assert_undisturbed()


def test_member_who_is_no_operator_is_not_told_what_could_not_be_written(
    hall: Hall, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = IdentityError("the disk is full")
    bans = Mock(wraps=InMemory(), edit=Mock(side_effect=full))
    monkeypatch.setattr(hall.server, "access", Access(hall.console.complain, bans=bans))
    company.ira.send_control(Operate(f"BAN SHA256:{1:043}").encode())
    company.sahnawaz.send_control(Operate("WHO").encode())
    hall.until(lambda: all(map(answers, (company.ira, company.sahnawaz))))
    (told,) = answers(company.ira)
    assert told.text.startswith(f"{full}; what was changed holds")
    assert answers(company.sahnawaz) == [Answer(False, "You are no operator here.")]


@pytest.mark.parametrize("command", ["TERMINATE", "restart"])
def test_answer_to_the_last_command_leaves_before_the_farewell(
    hall: Hall, company: Company, command: str
) -> None:
    assert ask(hall, company.ira, command).done
    for peer in (company.ira, company.sahnawaz):
        assert hall.farewell_to(peer).reason in (Reason.CLOSING, Reason.RESTARTING)


def test_operator_who_puts_itself_out_is_told_that_alone(hall: Hall, company: Company) -> None:
    company.ira.send_control(Operate("KICK Ira").encode())
    assert hall.farewell_to(company.ira).reason is Reason.KICKED
    assert answers(company.ira) == []


def test_commands_of_one_turn_are_answered_when_all_that_they_change_is_written_at_once(
    hall: Hall, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    bans = InMemory()
    edit = Mock(wraps=bans.edit)
    monkeypatch.setattr(bans, "edit", edit)
    monkeypatch.setattr(hall.server, "access", Access(hall.console.complain, bans=bans))

    def give(*commands: str) -> list[str]:
        before = len(answers(company.ira))
        for command in commands:
            company.ira.session.send(Operate(command).encode())
        company.ira.flush()
        hall.until(lambda: len(answers(company.ira)) == before + len(commands))
        return [answer.text for answer in answers(company.ira)[before:]]

    first, second, bye = give(f"BAN SHA256:{1:043}", f"BAN SHA256:{2:043}", "ROOMS")
    assert (f"{1:043}" in first, f"{2:043}" in second) == (True, True)
    assert (edit.call_count, len(bans.lines)) == (1, 2)
    edit.side_effect = IdentityError("the disk is full")
    full = "the disk is full; what was changed holds until the server ends."
    again = [first, second, bye]
    assert give(f"BAN SHA256:{1:043}", f"BAN SHA256:{2:043}", "ROOMS") == [
        f"{full}\n{one}" for one in again
    ]
    assert edit.call_count == 2


def test_longest_answer_fits_into_a_frame(hall: Hall, company: Company) -> None:
    access = hall.server.access
    for number in range(1000):
        access.ban(f"SHA256:{number:043}", f"Eve{number}", "she spams", 0)
    *lines, last = ask(hall, company.ira, "BANS").text.split("\n")
    assert lines[0] == "Banned: 1000"
    assert last == f"... and {1001 - len(lines)} more; the program admin shows all"
    assert len("\n".join(lines).encode()) > MAX_ANSWER_BYTES - 300


def test_command_as_long_as_may_be_is_obeyed(hall: Hall, company: Company) -> None:
    answer = ask(hall, company.ira, f"TOPIC {'x' * (MAX_COMMAND_BYTES - 6)}")
    assert answer.text.startswith("A topic has at most ")


def test_command_before_membership_ends_the_session(hall: Hall) -> None:
    guest = hall.unproved("Eve", "other")
    guest.send_control(Operate("WHO").encode())
    assert hall.farewell_to(guest).reason is Reason.PROTOCOL


def test_fault_in_a_command_is_answered_and_disturbs_nobody(
    hall: Hall, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    hall.contains_faults = True
    monkeypatch.setattr(hall.server, "set_topic", None)
    answer = ask(hall, company.ira, "TOPIC tea")
    assert answer == Answer(False, words.COMMAND_FAILED[4:])
    company.assert_undisturbed()


# -- the client's end


def test_client_waits_for_the_answer_before_it_leaves(hall: Hall) -> None:
    hall.server.operators = Operators(file=InMemory(IRA.fingerprint))
    seat = hall.seat("Ira")

    def story() -> None:
        hall.until(lambda: seat.inside)
        for command in ("ROOMS", "HELP", "kick \x1b"):
            seat.client.operate(command)
        seat.end_input()

    seat.run(story)
    shown = seat.screen.lines()
    assert "[+] The server answers ROOMS: The open room: 1" in shown
    assert "[!] The server answers KICK: Nobody here is called \\x1b." in shown
    # What comes from elsewhere is indented, so that it cannot pass for a line of our own.
    head = shown.index("[+] The server answers HELP:")
    assert shown[head + 1].startswith("    TERMINATE ")


def test_command_is_lost_with_its_connection_and_never_given_again(hall: Hall) -> None:
    hall.server.operators = Operators(file=InMemory(IRA.fingerprint))
    cable = hall.cable()
    seat = hall.seat("Ira", address=cable.address)
    seat.begin()
    hall.until(lambda: seat.inside)
    cable.freeze()
    seat.client.operate("TOPIC tea")
    hall.turns(2)
    cable.unplug()
    why = "the connection was lost before the server answered TOPIC; it may have obeyed or not"
    hall.until(lambda: f"[!] {why}." in seat.screen.lines())
    with pytest.raises(UsageError, match="no connection"):
        seat.client.operate("TOPIC cake")
    cable.plug()
    hall.wait(5)
    hall.until(lambda: seat.client.in_room)
    hall.turns(5)
    assert hall.server.greeting.topic.text == ""


def test_answer_to_nothing_is_no_answer() -> None:
    asked = Asked()
    with pytest.raises(ProtocolError):
        asked.take(Answer(True, ""))
    asked.ask("WHO")
    assert asked.take(Answer(True, "")).command == "WHO"
    with pytest.raises(ProtocolError):
        asked.take(Answer(True, ""))


@pytest.mark.parametrize("command", ["x" * (MAX_COMMAND_BYTES + 1), "SAY \udcff"])
def test_command_that_is_too_long_or_no_text_is_not_sent(command: str) -> None:
    asked = Asked()
    with pytest.raises(UsageError):
        asked.ask(command)
    assert not asked
