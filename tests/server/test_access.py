"""Who may come in, and whose a name is: decided from lists in memory."""

import contextlib
import re
from collections.abc import Callable
from unittest.mock import Mock

import pytest

from chat.errors import IdentityError, Reason
from chat.kex import PublicKey
from chat.localtime import stamp_of
from chat.server import access as access_module
from chat.server.access import SECONDS_PER_DAY, Access, KeptName, NotOnList
from chat.server.lists import (
    Ban,
    BrokenLineError,
    Failed,
    InMemory,
    LimitedLineError,
    Trouble,
    Unreadable,
    authorized_key,
    ban_of,
    tag_of,
)
from chat.text import digest_of
from tests.support.helpers import key

NOW = 1_800_000_000
IRA, OTHER, EVE = (key(name).public for name in ("ira", "other", "sahnawaz"))
LINE = IRA.openssh


class Failing(InMemory):
    """A list on a disk that is full, or that cannot be read."""

    fails = True

    def read(self) -> list[str] | None:
        if self.fails:
            raise IdentityError("cannot use the list")
        return super().read()

    def edit(self, change: Callable[[list[str]], list[str]]) -> None:
        if self.fails:
            raise IdentityError("cannot use the list")
        super().edit(change)

    def append(self, lines: list[str]) -> None:
        if self.fails:
            raise IdentityError("cannot use the list")
        super().append(lines)


def change_by_hand(file: InMemory, *lines: str) -> None:
    file.lines = list(lines)
    file._changed = True


# -- the list of keys ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        *(LINE, f"{LINE} ira@example", f"  \t{LINE}\r", LINE.replace(" ", "\t"), f"{LINE} a b c"),
        *(f"restrict,no-pty {LINE}", f'command="echo \\"from=x\\" , y",no-pty  {LINE} Ira'),
        f'environment="A=ssh-rsa B" {LINE}',
    ],
)
def test_line_of_authorized_keys_lets_its_key_in(line: str) -> None:
    assert authorized_key(line) == IRA.digest


@pytest.mark.parametrize(
    ("line", "error"),
    [
        *((line, None) for line in ("", "  ", "# ssh-rsa AAAA", f"#{LINE}", " # note")),
        *((f"{kind} AAAA Ira", None) for kind in ("ssh-ed25519", "ecdsa-sha2-nistp256")),
        *((f"no-pty {kind} AAAA", None) for kind in ("sk-ssh-ed25519@openssh.com", "ssh-dss")),
        *((line, BrokenLineError) for line in ("ssh-rsa", "ssh-rsa AAAA", "ssh-rsa !!!!", "Ira")),
        *((line, BrokenLineError) for line in (LINE[:-3], f"no pty {LINE}", f'a="b {LINE}')),
        *((f"{word} {LINE}", LimitedLineError) for word in ('from="10.*"', "cert-authority")),
        (f'no-pty,expiry-time="20200101" {LINE}', LimitedLineError),
    ],
)
def test_other_line_of_authorized_keys_lets_nobody_in(
    line: str, error: type[ValueError] | None
) -> None:
    if error is None:
        assert authorized_key(line) is None
        return
    with pytest.raises(error):
        authorized_key(line)


def test_only_keys_on_the_list_come_in_and_it_is_read_again_when_it_has_changed() -> None:
    told: list[Trouble] = []
    keys = InMemory(LINE, "broken", f'from="x" {OTHER.openssh}', name="keys")
    access = Access(told.append, keys=keys)
    for _ in range(2):
        assert access.admit("Ira", IRA, NOW) is None
        assert access.admit("Thea", OTHER, NOW) == NotOnList("Thea", OTHER.fingerprint)
    assert told == [Unreadable("keys", (2,)), Unreadable("keys", (3,), limited=True)]
    change_by_hand(keys, f"{OTHER.openssh} Thea")
    assert access.admit("Ira", IRA, NOW) == NotOnList("Ira", IRA.fingerprint)
    assert access.admit("Thea", OTHER, NOW) is None
    assert NotOnList.REASON is Reason.NOT_ALLOWED


def test_who_was_just_refused_is_allowed_by_name_unless_it_could_be_another() -> None:
    keys = InMemory("# mine")
    access = Access(keys=keys)
    access.admit("Ira", IRA, NOW)
    access.admit("\u0406ra", EVE, NOW)
    assert access.allow("ira") == [IRA.fingerprint, EVE.fingerprint]
    assert keys.lines == ["# mine"]
    assert access.allow(IRA.fingerprint) == [IRA.fingerprint]
    assert keys.lines == ["# mine", f"{LINE} Ira"]
    assert access.admit("Ira", IRA, NOW) is None
    assert access.allow(IRA.fingerprint) == []
    assert access.allow("Boris") == []


@pytest.mark.parametrize("name", [f"Ira\n{EVE.openssh}", "", "x" * 60_000, "Ira\r", "server"])
def test_name_that_cannot_be_used_is_not_allowed_into_the_list(name: str) -> None:
    keys = InMemory()
    access = Access(keys=keys)
    assert isinstance(access.admit(name, IRA, NOW), NotOnList)
    assert access.allow(name) == access.allow(IRA.fingerprint) == []
    assert keys.lines == []


def test_key_that_is_refused_under_many_names_is_remembered_by_the_last_and_alone() -> None:
    access = Access(keys=InMemory())
    access.admit("Thea", OTHER, NOW)
    for number in range(100):
        access.admit(f"guest {number}", IRA, NOW)
    assert access.allow("guest 98") == []
    assert access.allow("guest 99") == [IRA.fingerprint]
    assert access.allow("Thea") == [OTHER.fingerprint]


def test_of_many_keys_that_are_refused_those_that_came_last_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(access_module, "MAX_TURNED_AWAY", 2)
    access = Access(keys=InMemory())
    for owner, name in ((IRA, "Ira"), (OTHER, "Thea"), (IRA, "Ira"), (EVE, "Eve")):
        access.admit(name, owner, NOW)
    assert access.allow("Thea") == []
    assert access.allow("Ira") == [IRA.fingerprint]
    assert access.allow("Eve") == [EVE.fingerprint]


# -- bans ------------------------------------------------------------------------------------------


def test_banned_key_is_refused_under_every_name_until_the_ban_is_lifted() -> None:
    bans = InMemory("# by hand")
    access = Access(bans=bans)
    ban = access.ban(IRA.fingerprint, "Ira", " spams\tand  shouts ", NOW)
    assert ban == Ban(IRA.fingerprint, NOW, "Ira", "spams and shouts")
    access.save_orders()
    assert bans.lines == [
        "# by hand",
        f"{IRA.fingerprint} 2027-01-15T08:00:00Z Ira: spams and shouts",
    ]
    assert access.admit("Boris", IRA, NOW) == ban
    assert access.admit("Ira", OTHER, NOW) is None
    assert Access(bans=InMemory(*bans.lines)).admit("Ira", IRA, NOW) == ban
    access.ban(IRA.fingerprint, "Ira", "", NOW + 1)
    access.save_orders()
    assert len(bans.lines) == len(access.bans()) + 1 == 2, "one line a key"
    assert [one.fingerprint for one in access.unban("IRA")] == [IRA.fingerprint]
    assert access.unban("Ira") == []
    access.save_orders()
    assert (access.admit("Ira", IRA, NOW), bans.lines) == (None, ["# by hand"])


def test_many_bans_and_their_ends_are_written_at_once_and_once() -> None:
    bans = InMemory("# by hand")
    access = Access(bans=bans)
    edit = Mock(wraps=bans.edit)
    bans.edit = edit  # type: ignore[method-assign]
    for owner in (IRA, EVE, OTHER, IRA):
        access.ban(owner.fingerprint, "Ira", "", NOW)
        assert isinstance(access.admit("Boris", owner, NOW), Ban)
    access.unban(EVE.fingerprint)
    assert access.admit("Boris", EVE, NOW) is None
    for _ in range(2):
        access.save_orders()
    assert edit.call_count == 1
    assert bans.lines == [
        "# by hand",
        *(f"{owner.fingerprint} 2027-01-15T08:00:00Z Ira" for owner in (IRA, OTHER)),
    ]


def test_what_was_written_by_hand_meanwhile_stays_beside_what_is_not_written_yet() -> None:
    bans = InMemory()
    access = Access(bans=bans)
    access.ban(IRA.fingerprint, "Ira", "", NOW)
    change_by_hand(bans, OTHER.fingerprint)
    for owner in (IRA, OTHER):
        assert isinstance(access.admit("Thea", owner, NOW), Ban)
    access.save_orders()
    assert bans.lines == [OTHER.fingerprint, f"{IRA.fingerprint} 2027-01-15T08:00:00Z Ira"]


def test_banned_key_keeps_no_name() -> None:
    access = Access(keep_days=1)
    access.used("Ira", EVE.digest, NOW)
    assert isinstance(access.admit("Ira", IRA, NOW), KeptName)
    access.ban(EVE.fingerprint, "Ira", "", NOW)
    assert access.admit("Ira", IRA, NOW) is None


@pytest.mark.parametrize(
    ("rest", "ban"),
    [
        ("", Ban("", 0)),
        (" 2027-01-15T08:00:00Z", Ban("", NOW)),
        ("  Ira 2.0", Ban("", 0, "Ira 2.0")),
        (" Ira : at 12:30", Ban("", 0, "Ira", "at 12:30")),
        ("\t2027-01-15T08:00:00Z  Ira", Ban("", NOW, "Ira")),
        (" : spam", Ban("", 0, "", "spam")),
    ],
)
def test_ban_may_be_written_by_hand(rest: str, ban: Ban) -> None:
    expected = Ban(IRA.fingerprint, ban.since, ban.name, ban.why)
    assert ban_of(f"{IRA.fingerprint}{rest}") == expected


@pytest.mark.parametrize(
    ("parse", "line"),
    [
        (authorized_key, '"' + '\\"' * 200_000),
        (authorized_key, '"a' * 200_001 + f" {LINE}"),
        (ban_of, f"{IRA.fingerprint} Ira" + " " * 200_000 + "Thea"),
        (ban_of, f"{IRA.fingerprint}" + " 1" * 200_000 + ":"),
        (tag_of, "0" * 32 + " " * 200_000 + "\n"),
    ],
)
def test_long_line_takes_no_longer_than_many_short_ones(
    parse: Callable[[str], object], line: str
) -> None:
    with contextlib.suppress(BrokenLineError):
        parse(line)


@pytest.mark.parametrize(
    "line",
    ["Ira", "SHA256:short", f"x{IRA.fingerprint}", f"{IRA.fingerprint} 2027-13-40T08:00:00Z"],
)
def test_broken_ban_is_told_once_and_stays_in_the_list(line: str) -> None:
    told: list[Trouble] = []
    bans = InMemory("", line, name="bans")
    access = Access(told.append, bans=bans)
    access.ban(OTHER.fingerprint, "Thea", "", NOW)
    access.save_orders()
    access.unban("Thea")
    access.save_orders()
    access.admit("Ira", IRA, NOW)
    assert told == [Unreadable("bans", (2,))]
    assert bans.lines == ["", line]


def test_ban_holds_though_it_cannot_be_written_and_is_told_each_time() -> None:
    told: list[Trouble] = []
    bans = Failing()
    access = Access(told.append, bans=bans)
    for owner in (IRA, OTHER):
        access.ban(owner.fingerprint, "Ira", "", NOW)
        access.save_orders()
    failed = Failed("cannot use the list", holds=True)
    assert told == [Failed("cannot use the list"), failed, failed]
    bans.fails = False
    change_by_hand(bans)
    assert isinstance(access.admit("Ira", IRA, NOW), Ban)
    assert len(access.unban("Ira")) == 2
    assert access.admit("Ira", IRA, NOW) is None
    access.save_orders()
    change_by_hand(bans)
    assert access.admit("Ira", IRA, NOW) is None


def test_end_of_a_ban_holds_though_it_cannot_be_written_and_is_told() -> None:
    told: list[Trouble] = []
    bans = Failing(f"{IRA.fingerprint} Ira", OTHER.fingerprint)
    bans.fails = False
    access = Access(told.append, bans=bans)
    bans.fails = True
    assert len(access.unban("Ira")) == 1
    access.save_orders()
    assert told[1:] == [Failed("cannot use the list", holds=True)]
    bans.fails = False
    change_by_hand(bans, *bans.lines)
    assert access.admit("Ira", IRA, NOW) is None
    assert isinstance(access.admit("Ira", OTHER, NOW), Ban)
    access.ban(IRA.fingerprint, "", "", NOW)
    access.save_orders()
    change_by_hand(bans, *bans.lines)
    assert isinstance(access.admit("Ira", IRA, NOW), Ban)


def test_what_was_read_last_holds_while_a_list_cannot_be_read() -> None:
    told: list[Trouble] = []
    keys = Failing(LINE)
    keys.fails = False
    access = Access(told.append, keys=keys)
    keys.fails = True
    for _ in range(3):
        assert access.admit("Ira", IRA, NOW) is None
        assert access.admit("Thea", OTHER, NOW)
    assert told == [Failed("cannot use the list")]
    assert access.allow("Thea") is None
    assert access.admit("Thea", OTHER, NOW)


# -- names -----------------------------------------------------------------------------------------


def keeping(names: InMemory | None = None, days: float = 30) -> Access:
    return Access(names=names, keep_days=days)


@pytest.mark.parametrize("name", ["Ira", "IRA", "\u0406ra", "Ir\u0430"])
def test_name_is_kept_for_the_key_that_used_it_last(name: str) -> None:
    access = keeping()
    access.used("Ira", IRA.digest, NOW)
    end = NOW + 30 * SECONDS_PER_DAY
    assert access.admit(name, IRA, NOW + 1) is None
    for when in (NOW, end - 1):
        assert access.admit(name, OTHER, when) == KeptName("Ira", NOW, end)
    assert access.admit(name, OTHER, end) is None
    access.used(name, OTHER.digest, end)
    assert isinstance(access.admit("Ira", IRA, end), KeptName)
    assert KeptName.REASON is Reason.NAME_TAKEN


def test_names_are_not_kept_when_that_is_switched_off_but_known_for_a_ban() -> None:
    access = keeping(days=0)
    assert not access.used("Ira", IRA.digest, NOW)
    assert access.admit("Ira", OTHER, NOW) is None
    use = access.use_of("ira")
    assert use is not None
    assert (use.name, use.fingerprint) == ("Ira", IRA.fingerprint)


@pytest.mark.parametrize("days", [0, 30])
def test_name_of_who_is_in_takes_memory_only_where_names_are_kept(days: float) -> None:
    access = keeping(days=days)
    assert access.used("Ira", IRA.digest, NOW, stays=True) is bool(days)
    assert (access.use_of("Ira") is not None) is bool(days)


def test_forgotten_name_is_free_and_is_forgotten_in_the_file_too() -> None:
    names = InMemory()
    access = keeping(names)
    access.used("Ira", IRA.digest, NOW)
    access.save()
    assert access.forget("\u0406RA")
    assert not access.forget("Ira")
    access.save_orders()
    assert (access.admit("Ira", OTHER, NOW), names.lines) == (None, [])


def test_names_are_saved_when_they_are_due_and_read_by_the_next_server() -> None:
    names = InMemory("# note", "damaged", f"{OTHER.fingerprint} {stamp_of(NOW - 9)} Thea")
    access = keeping(names)
    assert access.used("Ira", IRA.digest, NOW)
    assert not access.used("Zoe", IRA.digest, NOW), "the first of them is enough"
    assert len(names.lines) == 3
    access.save()
    assert names.lines == [
        *("# note", "damaged", f"{OTHER.fingerprint} {stamp_of(NOW - 9)} Thea"),
        f"{IRA.fingerprint} {stamp_of(NOW)} Ira",
        f"{IRA.fingerprint} {stamp_of(NOW)} Zoe",
    ]
    assert access.used("Ira", IRA.digest, NOW + 5)
    after = keeping(InMemory(*names.lines))
    for name in ("Ira", "Zoe", "Thea"):
        assert isinstance(after.admit(name, EVE, NOW), KeptName)


def test_change_by_hand_holds_and_so_does_what_was_not_saved_yet() -> None:
    names = InMemory(f"{OTHER.fingerprint} {stamp_of(NOW)} Thea")
    access = keeping(names)
    access.used("Ira", IRA.digest, NOW)
    change_by_hand(names, f"{OTHER.fingerprint} {stamp_of(NOW)} Boris")
    assert access.admit("Thea", EVE, NOW) is None
    assert access.admit("Boris", EVE, NOW)
    assert access.admit("Ira", EVE, NOW)
    access.save()
    assert [line.split()[-1] for line in names.lines] == ["Boris", "Ira"]


def test_names_that_cannot_be_saved_are_told_once_and_saved_later() -> None:
    told: list[Trouble] = []
    names = Failing()
    names.fails = False
    access = Access(told.append, names=names, keep_days=1)
    names.fails = True
    access.used("Ira", IRA.digest, NOW)
    assert [access.save() for _ in range(3)] == [False] * 3
    assert told == [Failed("cannot use the list")]
    names.fails = False
    assert access.save()
    assert names.lines == [f"{IRA.fingerprint} {stamp_of(NOW)} Ira"]


def test_names_are_saved_later_though_one_could_not_be_freed() -> None:
    names = Failing()
    names.fails = False
    access = keeping(names)
    assert access.used("Ira", IRA.digest, NOW)
    assert access.save()
    names.fails = True
    access.forget("Ira")
    access.save_orders()
    names.fails = False
    assert access.used("Boris", OTHER.digest, NOW), "it is to be saved soon"
    assert not access.used("Eve", EVE.digest, NOW)
    assert access.save()
    assert [line.split()[-1] for line in names.lines] == ["Boris", "Eve"]


def test_no_key_keeps_many_names_and_the_oldest_of_all_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(access_module, "MAX_KEPT_NAMES_OF_KEY", 2)
    monkeypatch.setattr(access_module, "MAX_KEPT_NAMES", 3)
    access = keeping()

    def kept() -> str:
        return "".join(name for name in "abcdefg" if access.use_of(name))

    for name in "abc":
        access.used(name, IRA.digest, NOW)
    assert kept() == "bc", "of one key"
    access.used("d", OTHER.digest, NOW)
    access.used("b", IRA.digest, NOW)
    access.used("e", EVE.digest, NOW)
    assert kept() == "bde", "the one that was not used for longest"


def test_list_of_names_is_written_anew_when_it_has_too_many_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(access_module, "MAX_NAME_LINES", 3)
    names = InMemory("# note")
    access = keeping(names)
    for second in range(4):
        access.used("Ira", IRA.digest, NOW + second)
        access.save()
    last = f"{IRA.fingerprint} {stamp_of(NOW + 3)} Ira"
    assert names.lines == ["# note", last]
    for _ in range(2):
        access.used("Ira", IRA.digest, NOW + 3)
        access.save()
    assert names.lines == ["# note", last, last, last]
    assert len(list(keeping(InMemory(*names.lines))._uses)) == 1


def test_time_in_the_future_keeps_a_name_no_longer_than_one_of_now() -> None:
    names = InMemory(f"{IRA.fingerprint} {stamp_of(NOW + 10**9)} Ira")
    refusal = keeping(names).admit("Ira", OTHER, NOW)
    assert isinstance(refusal, KeptName)
    assert refusal.until == NOW + 30 * SECONDS_PER_DAY


def test_no_line_breaks_a_list(access_lines: list[str]) -> None:
    told: list[Trouble] = []
    lists = {which: InMemory(*access_lines) for which in ("keys", "bans", "names")}
    access = Access(told.append, **lists, keep_days=1)
    assert access.admit("Ira", IRA, NOW)
    assert len(told) == 3
    for one in lists.values():
        assert one.lines == access_lines


@pytest.fixture
def access_lines() -> list[str]:
    return ["\udcff\0", "SHA256:" + "A" * 43 + " \udc80", "x" * 100_000, '"' * 50_000, "a=" * 9]


def test_fingerprint_is_a_whole_one() -> None:
    assert digest_of(IRA.fingerprint) == IRA.digest
    assert digest_of(f"{IRA.fingerprint}x") is None
    assert re.fullmatch("SHA256:.{43}", PublicKey(IRA.blob).fingerprint)
