"""What the client tells its user, in words.

`happened` has the status lines for each event, `activity` the words for what takes a while, and
the rest answers commands. Text from other people is escaped here, where it becomes part of a line;
only line feeds stay, for the view to indent. Where lines are shown, and how they look, is the
views' business. The status lines are those of the demo from which this program grew.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from chat.client.events import (
    Answered,
    ClientEvent,
    ClockDiffers,
    Connected,
    Connecting,
    Disconnected,
    Entered,
    KeyChanged,
    KeysExchanged,
    Leaving,
    LookingUp,
    MakingKey,
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    MessageNotForUs,
    MessageReceived,
    MotdReceived,
    NameChanged,
    NamedByLogin,
    NoticeReceived,
    OutboxFull,
    Person,
    Reconnected,
    RoomClosed,
    Security,
    ServerMet,
    Standing,
    Tampered,
    TopicSet,
    Warned,
)
from chat.limits import CACHED_NAMES, MAX_TEXT_BYTES, REGROUP_SECONDS, ROOM_NAME_DIGITS
from chat.localtime import time_of
from chat.phrases import (
    MAKING_KEY,
    MAKING_KEY_NOW,
    Assuring,
    StatusLine,
    Unproved,
    announced,
    back,
    good,
    how_here,
    left,
    lost,
    trouble,
)
from chat.program import PROGRAM
from chat.text import action_of, caseless_name, escape, escape_line, fingerprint_of


def said(
    message: MessageReceived,
    time_format: str,
    reader: str = "",
    arrow: str = "->",
    *,
    marks_doubt: bool = True,
) -> tuple[str, str, str]:
    """When, who, and what, which may have several lines. `reader` is the name of whoever reads it;
    `arrow` stands between two names if it is private."""
    when = time_of(message.time_ms / 1000, time_format)
    if message.doubtful and marks_doubt and when:
        when = f"({when}?)"
    action = action_of(message.text)
    who = _escaped_name(message.name)
    if message.to:
        # A name has no brackets, so nobody's name looks like this.
        who = f"{_you_or(message.name, reader)} {arrow} {_you_or(message.to, reader)} [private]"
    if action is None:
        return when, f"{who}:", escape(message.text)
    return when, f"* {who}", escape(action)


@lru_cache(CACHED_NAMES)
def _escaped_name(name: str) -> str:
    return escape_line(name)


def _you_or(name: str, reader: str) -> str:
    return "you" if caseless_name(name) == caseless_name(reader) else escape_line(name)


def happened(event: ClientEvent) -> list[StatusLine]:
    """The status lines for an event other than a message; none if there is nothing to say."""
    words = _LINES.get(type(event))
    return [] if words is None else words(event)


def timed(line: StatusLine, time_format: str, at: float | None = None) -> StatusLine:
    """The same line with a time before it, in seconds since 1970; None: now."""
    at = time.time() if at is None else at
    return type(line)(f"{time_of(at, time_format)} {line}".lstrip())


def came_and_went(counts: Mapping[str, int], names: Iterable[str], *, more: bool) -> StatusLine:
    """How many joined, left, were lost and came back, and some of their names; `more`: there are
    others."""
    kinds = ("joined", "left", "lost", "back")
    what = ", ".join(f"{counts[kind]:,} {kind}" for kind in kinds if counts.get(kind))
    return good(f"{what}: {_names(names)}{', …' if more else ''}")


def activity(event: ClientEvent) -> str:
    """What begins with this event and may take a while; empty if nothing does."""
    words = _ACTIVITIES.get(type(event))
    return "" if words is None else words(event)


def _entered(event: Entered) -> list[StatusLine]:
    lines = [] if event.again else [*SET_UP]
    names = _names(event.members)
    if not event.tag:
        lines.append(good(f"In the room: {names}"))
    elif len(event.members) == 1:
        alone = "Nobody else is here" if event.again else "You are the first here"
        lines.append(good(f"In a sealed room. {alone}."))
    else:
        lines.append(good(f"In a sealed room with: {names}"))
    if event.unproved:
        lines.append(trouble(f"Not proved to have the room key: {_names(event.unproved)}"))
    return lines


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(escape_line, names))


def _disconnected(event: Disconnected) -> list[StatusLine]:
    if event.restarting and event.elsewhere:
        return [good("The server restarts or ends; going on at the first one that answers.")]
    if event.restarting:
        return [good(f"{event.text[:1].upper()}{event.text[1:]}; waiting for it.")]
    # Some reasons say themselves what became of the connection.
    why = "" if event.text.startswith("the connection") else "the connection was lost: "
    text = f"{why}{event.text}"
    return [trouble(f"{text[:1].upper()}{text[1:]}; trying to get it back.")]


WAITING_FOR_OTHERS = (
    f"Your messages are sent when the others are back, or in {REGROUP_SECONDS:.0f} s."
)


def _reconnected(event: Reconnected) -> list[StatusLine]:
    server = escape_line(event.server)
    back = f"Connected to {server}" if server else "The connection is back"
    anew = ", in a new room" if event.new_room else ""
    waiting = f" {WAITING_FOR_OTHERS}" if event.awaiting else ""
    lines = [good(f"{back}{anew}.{waiting}")]
    if event.missed:
        lines.append(trouble(f"{event.missed} message{'' if event.missed == 1 else 's'} missed."))
    return lines


def _not_for_us(event: MessageNotForUs) -> StatusLine:
    name = escape_line(event.name)
    return good(f"What {name} said just before you came was for those who were here then.")


def _tampered(event: Tampered) -> StatusLine:
    since = time_of(time.time() - event.seconds, "%H:%M:%S")
    if event.certain:
        again = " What was really said comes again." if event.again else ""
        return trouble(
            "Somebody on the way changes what the server sends. What was shown since "
            f"{since} may be changed, out of order, or incomplete.{again}"
        )
    return good(f"The server has not confirmed what was shown since {since}.")


def _leaving(event: Leaving) -> str:
    if not event.messages:
        return "Leaving; Ctrl-C leaves at once"
    what = "1 message" if event.messages == 1 else f"{event.messages} messages"
    return f"Waiting for {what} to be acknowledged; Ctrl-C leaves at once"


def _newcomer(event: MemberJoined) -> list[StatusLine]:
    name = escape_line(event.name)
    joined = good(f"New person joined the room. Username: {name}")
    unproved = trouble(f"{name} has not proved to have the room key.")
    return [joined, unproved] if event.unproved else [joined]


def _key_changed(event: KeyChanged) -> StatusLine:
    name = escape_line(event.name)
    return trouble(
        f"{name} HAS ANOTHER KEY than the {name} whom you know since {_day(event.since)}\n"
        f"known: {fingerprint_of(event.known)}\n"
        f"shown: {fingerprint_of(event.shown)}\n"
        f"It may be somebody else. Ask {name} over another channel; if the new key is right, "
        f"type /trust {name}"
    )


def _name_changed(event: NameChanged) -> StatusLine:
    name, before = escape_line(event.name), escape_line(event.before)
    return good(f"{name} has the key that you know as {before} since {_day(event.since)}.")


def _clock_differs(event: ClockDiffers) -> StatusLine:
    name, way = escape_line(event.name), "behind" if event.seconds > 0 else "ahead of"
    return trouble(
        f"The times of {name} are {_about(abs(event.seconds))} {way} your clock: one of the two "
        f"clocks is wrong, or {name} sends wrong times."
    )


def _about(seconds: float) -> str:
    units = (86_400, "day"), (3_600, "hour"), (60, "minute")
    size, unit = next((each for each in units if seconds >= each[0]), units[-1])
    count = round(seconds / size)
    return f"{count:,} {unit}{'' if count == 1 else 's'}"


def topic(event: TopicSet) -> StatusLine:
    """The topic, when it was set, when somebody comes, and when somebody asks."""
    if not event.text:
        return TOPIC_TAKEN_AWAY if event.changed else NO_TOPIC
    text = escape_line(event.text)
    if event.changed:
        return announced(f"The topic is now: {text}")
    return good(f"Topic, since {time_of(event.since)}: {text}")


def _answered(event: Answered) -> StatusLine:
    """In one line, or below one that says whose words they are."""
    word = escape_line(event.command.partition(" ")[0].upper())
    text = escape("\n".join(event.lines))
    if not text:
        text = "done" if event.done else "refused"
    head = f"The server answers {word}:{chr(10) if len(event.lines) > 1 else ' '}"
    return (good if event.done else trouble)(head + text)


NO_TOPIC = good("There is no topic.")
TOPIC_TAKEN_AWAY = good("The topic was taken away.")
NOT_YOURS = trouble(
    "Only operators of the server can set the topic, for all rooms: /op TOPIC text."
)


def _day(seconds: float) -> str:
    return time_of(seconds, "%Y-%m-%d")


def named_by_login(name: str) -> StatusLine:
    return Assuring(f"[+] You are {escape_line(name)}, as you are logged in. --name gives another.")


def server_fingerprint(of: str, since: str | None) -> StatusLine:
    """`since`: the day since which it is known, empty if that is not written down; None if it is
    new."""
    return good(f"Fingerprint of the server: {of} ({'new' if since is None else _known(since)})")


def _known(since: str) -> str:
    return f"known since {since}" if since else "known"


def _server_met(event: ServerMet) -> StatusLine:
    text = f"[+] The server {escape_line(event.host)} has the key\n{event.fingerprint}\n"
    if event.known:
        return Assuring(text + _known(event.since))
    if event.invited:
        return Assuring(f"{text}as in the invite")
    if event.named:
        return Assuring(f"{text}as you have named it")
    return Unproved(f"{text}new: compare it with the one that its operator sees (/security)")


def outbox_full(count: int) -> StatusLine:
    return trouble(f"{count:,} messages wait for the connection; no more can be taken.")


CONNECTED = [
    good("Connected successfully."),
    good("Exchanging keys."),
    good("Getting public key from the server"),
]
SENDING_KEY = good("Sending public key to server")
EXCHANGED = good("Exchange completed!")
SET_UP = [
    good("Initial set up had been completed!"),
    good("Now you can start to exchange messages"),
]

_LINES: dict[type[ClientEvent], Callable[[Any], list[StatusLine]]] = {
    MakingKey: lambda _: [MAKING_KEY],
    NamedByLogin: lambda event: [named_by_login(event.name)],
    Connected: lambda _: [*CONNECTED],
    ServerMet: lambda event: [
        _server_met(event),
        SENDING_KEY,
    ],
    KeysExchanged: lambda _: [EXCHANGED],
    Entered: _entered,
    Disconnected: _disconnected,
    Reconnected: _reconnected,
    MessageNotForUs: lambda event: [_not_for_us(event)],
    Tampered: lambda event: [_tampered(event)],
    ClockDiffers: lambda event: [_clock_differs(event)],
    MemberJoined: _newcomer,
    KeyChanged: lambda event: [_key_changed(event)],
    NameChanged: lambda event: [_name_changed(event)],
    MemberLeft: lambda event: [left(event.name, event.reason, parting=event.parting)],
    MemberLost: lambda event: [lost(event.name)],
    MemberBack: lambda event: [back(event.name)],
    NoticeReceived: lambda event: [announced(f"The server says: {escape(event.text)}")],
    TopicSet: lambda event: [topic(event)],
    MotdReceived: lambda event: [announced(f"Message of the day:\n{escape(event.text)}")],
    Answered: lambda event: [_answered(event)],
    RoomClosed: lambda _: [trouble("The server has shut down.")],
    OutboxFull: lambda event: [outbox_full(event.messages)],
    Warned: lambda event: [trouble(f"{escape_line(event.text)}.")],
    Leaving: lambda event: [good(f"{_leaving(event)}.")],
}

_ACTIVITIES: dict[type[ClientEvent], Callable[[Any], str]] = {
    MakingKey: lambda _: MAKING_KEY_NOW,
    LookingUp: lambda event: f"Looking up {escape_line(event.host)}",
    Connecting: lambda event: f"Connecting to {escape_line(event.host)}, port {event.port}",
    Connected: lambda _: "Exchanging keys",
    Reconnected: lambda event: "Waiting for the others" if event.awaiting else "Catching up",
    Leaving: _leaving,
}


def folded(lines: int, characters: int, number: int) -> StatusLine:
    """Stands below the first rows of a message that has too many: how much more there is."""
    what = f"{lines:,} more lines" if lines > 1 else f"{characters:,} more characters"
    return good(f"{what} of this; /more {number} shows the whole.")


def line_not_sent(number: int, why: str) -> str:
    """For standard error; `number` is that of the line in the input, from 1."""
    return f"chat: line {number}: {escape_line(why)}"


def warning_of_program(text: str) -> str:
    """For standard error: what is not as it should be, and ends nothing."""
    return f"chat: warning: {escape_line(text)}"


# -- answers to the person who types -----------------------------------------------------------

LEAVE_HINT = good("Ctrl-C once more leaves, and so does Ctrl-D.")
BELL = {True: good("The bell rings when your name is said."), False: good("The bell is silent.")}
BELL_STATE = {
    True: good("The bell is on; /bell off silences it."),
    False: good("The bell is off; /bell on lets it ring."),
}


def command_line(usage: str, text: str) -> StatusLine:
    return good(f"{usage:<16} {text}")


SLASH_LINE = command_line("//text", "send /text, a line that begins with a slash")


def no_such_command(word: str, nearest: str) -> StatusLine:
    hint = f"Is it {nearest}?" if nearest else "/help lists the commands."
    return trouble(
        f"There is no command {escape_line(word)}. {hint} "
        "To send a line that begins with a slash, double the slash."
    )


def is_said(text: str) -> StatusLine:
    """For who may have wanted to leave."""
    return good(f"/quit leaves, and so does Ctrl-D. To say {text}, type it once more.")


NOT_HERE = {
    "/time": trouble("Each message shows its time; the option --time says in which form."),
    "/nick": trouble("A name stays the same until you leave. Join again to take another one."),
}
"""Commands of other programs that this one lacks, and what is to be known instead."""

NOT_A_NUMBER = trouble("/more takes a number.")
NOTHING_HEARD = good("Nothing like that was heard in this run.")
STILL_IN_SCROLLBACK = good("The scrollback still has what left the window; /clear all takes it.")
NOT_CLEARED = trouble("A plain terminal cannot be cleared from here.")
ALL_OR_NOTHING = trouble("/clear takes all, or nothing.")
QUIET = {
    "on": good("Everybody's coming and going is summed up."),
    "off": good("Everybody's coming and going is shown."),
    "smart": good("The coming and going of people with whom you do not talk is summed up."),
}


def lines_missing(count: int, where: str) -> str:
    """Of a log that could not be written for a while; `where` is "here" in the log itself."""
    return f"{'1 line is' if count == 1 else f'{count:,} lines are'} missing {where}"


def log_gap(count: int) -> StatusLine:
    """Stands in the log where the lines are missing."""
    return trouble(f"{lines_missing(count, 'here')}.")


def quiet_takes(mode: str) -> StatusLine:
    return trouble(f"/quiet takes on, off or smart; it is {mode}.")


def on_or_off(rings: bool) -> StatusLine:
    return trouble(f"/bell takes on or off; it is {'on' if rings else 'off'}.")


def security(here: Security) -> list[StatusLine]:
    """What protects this conversation, what has happened, and the fingerprints to compare."""
    return [
        *(_sealed(here.tag) if here.tag else _OPEN),
        *_EVERYWHERE,
        *_vouched(here),
        labelled("Keys", "compare them over another channel:"),
        good(f"the server, {here.server}"),
        *(_key_line(one, f", {fingerprint_of(one.fingerprint)}") for one in here.members),
    ]


def invite(text: str | None) -> list[StatusLine]:
    """The invite of the room, or (None) why there is none."""
    if text is None:
        return [NO_INVITE]
    # On one line of its own it would stand below an empty mark, wherever it does not fit.
    return [good(f"{INVITE_IS_SECRET}\n{text}")]


INVITE_IS_SECRET = (
    "Whoever has this invite can come in and read. Give it only to people who are to be here, "
    "where nobody else can read it:"
)
NO_INVITE = trouble(
    "This is the open room, which has no invite: whoever reaches the server can come in. "
    f"A room with an invite is made by: {PROGRAM} invite HOST PORT"
)


def labelled(label: str, text: str, mark: Callable[[str], StatusLine] = good) -> StatusLine:
    """A line of a short table."""
    return mark(f"{label:<8} {text}")


_OPEN = [
    labelled("Room", "open: whoever reaches the server can join"),
    labelled("Readers", "the members, and whoever runs the server, who could forge as well"),
]


def _sealed(tag: bytes) -> list[StatusLine]:
    called = tag.hex()[:ROOM_NAME_DIGITS]
    return [
        labelled(
            "Room",
            f"sealed: only somebody with its invite can join; to the server it is {called}",
        ),
        labelled(
            "Readers", "only who has the invite; the server sees who talks when, and no words"
        ),
    ]


_EVERYWHERE = [
    labelled(
        "Cipher",
        "AES-256 and HMAC-SHA-256. The keys change when somebody joins or leaves, and every "
        "ten minutes while people talk",
    ),
    labelled("Wire", "shows when somebody talks, comes or goes, and how much; no name, no text"),
]


def _vouched(here: Security) -> list[StatusLine]:
    """What the server has vouched for, and what it has not."""
    checked = time_of(here.checked_at, _CLOCK)
    if here.all_checked:
        lines = [labelled("Checked", f"by the server: all that was shown, last at {checked}")]
    else:
        lines = [
            labelled(
                "Checked", f"by the server: what was shown until {checked}, not yet what came since"
            )
        ]
    if here.tampered:
        often = "once" if here.tampered == 1 else f"{here.tampered:,} times"
        last = time_of(here.tampered_at, _CLOCK)
        lines.append(labelled("Tampered", f"{often} in this run, last at {last}", trouble))
    else:
        lines.append(labelled("Tampered", "never in this run"))
    if here.unconfirmed:
        often = "once" if here.unconfirmed == 1 else f"{here.unconfirmed:,} times"
        lines.append(labelled("Unsure", f"{often} in this run what was shown could not be checked"))
    if here.split:
        text = f"another conversation than yours was shown to {_names(here.split)}"
        lines.append(labelled("Split", text, trouble))
    return lines


_CLOCK = "%H:%M:%S"


def member(one: Person) -> StatusLine:
    """A member in the list of all."""
    since = f", since {time_of(one.since)}, {fingerprint_of(one.fingerprint)}"
    how = how_here(one.connections, calling=one.calling)
    return _key_line(one, since + how)


def _key_line(one: Person, about: str) -> StatusLine:
    """A member, what there is to say about it, and what is known of its key; in red if that is not
    as it should be. The name comes first: on a narrow terminal a key takes a row of its own."""
    known = {
        Standing.YOU: "",
        Standing.NEW: ", new",
        Standing.KNOWN: f", known since {_day(one.known_since)}",
        Standing.CHANGED: f", ANOTHER KEY than the one known since {_day(one.known_since)}",
    }[one.standing]
    proof = ", has not proved to have the room key" if one.unproved else ""
    bad = one.unproved or one.standing is Standing.CHANGED
    ignored = ", ignored" if one.ignored else ""
    text = f"{escape_line(one.name)}{about}{known}{proof}{ignored}"
    return (trouble if bad else good)(text)


def trusted(one: Person) -> StatusLine:
    """The answer to `/trust`; `one` is the member as it was before."""
    name, key = escape_line(one.name), fingerprint_of(one.fingerprint)
    if one.unproved:
        return trouble(f"{name} has not proved to have the room key, so there is nothing to trust.")
    match one.standing:
        case Standing.YOU:
            return THAT_IS_YOU
        case Standing.NEW:
            return good(f"The key of {name} is new, and no other is known: {key}")
        case Standing.KNOWN:
            return good(f"The key of {name} is known since {_day(one.known_since)}: {key}")
    return good(f"From now on this is the key of {name}: {key}")


def yourself(name: str) -> str:
    """Marks your own name in a list of members."""
    return f"{name} (you)"


THAT_IS_YOU = trouble("That is you.")


IGNORED_BY_FINGERPRINT = good(
    "Who has not been here can be ignored by the fingerprint of the key: /ignore SHA256:..."
)


def not_ignored(name: str) -> StatusLine:
    return trouble(f"{escape_line(name)} is not ignored.")


def ignoring(names: Iterable[str]) -> StatusLine:
    listed = ", ".join(map(escape_line, names))
    return good(f"Ignored: {listed}" if listed else "Nobody is ignored.")


def not_folded(number: str) -> StatusLine:
    return trouble(
        f"Nothing was folded as {escape_line(number)}." if number else "Nothing is folded."
    )


def confirm_paste(lines: int) -> str:
    return f"Send these {lines} lines as one message? Type y or n, and Enter: "


def confirm_parts(size: int, parts: int) -> str:
    return (
        f"This has {size:,} bytes, and a message has at most {MAX_TEXT_BYTES:,}. "
        f"Send it in {parts} parts? Type y or n, and Enter: "
    )


def rest_not_sent(parts: int) -> StatusLine:
    what = "The last part was" if parts == 1 else f"The last {parts} parts were"
    return good(f"{what} not sent. The up key brings that back.")


def refused(why: str) -> StatusLine:
    """Why something was not done: a line not sent, a command not carried out."""
    return trouble(f"{escape_line(why[:1].upper() + why[1:])}.")


YES_OR_NO = trouble("Please answer y or n. Ctrl-C cancels.")

NO_EDITOR_HERE = trouble("/edit needs a terminal on which lines can be edited.")


def edit_failed(why: str, *, saved: bool) -> list[StatusLine]:
    """What comes from the person's own editor is not in the line, and why. `saved`: it had saved
    something."""
    kept = "What it saved can be called back with the up key." if saved else ""
    return [refused(why), good(f"The line is as it was. {kept}".rstrip())]


NOT_SENT = good("Not sent. The up key brings it back.")


def draft(text: str, kept: bool) -> StatusLine:
    """For the end: what the person was typing, and whether the next run has it."""
    if kept:
        return good("What you were typing is kept: the up key brings it back.")
    return pending_at_the_end(text, offline=True)


def pending_at_the_end(text: str, offline: bool, to: str = "") -> StatusLine:
    """The whole of a message that was not acknowledged when its sender left. `to` is for whom it
    is, if it is private."""
    action = action_of(text)
    what = "Not sent" if offline else "Perhaps not delivered"
    what += f" to {escape_line(to)} [private]" if to else ""
    return trouble(f"{what}: {escape(text if action is None else f'* {action}')}")


def prompt(present: bool, waiting: int, silent_seconds: int = 0) -> str:
    """Stands before the line that is being typed; `waiting`: the messages not yet acknowledged;
    `silent_seconds`: for how long the server has not answered, if that is to be shown."""
    if present:
        return f"(no answer for {silent_seconds} s) > " if silent_seconds else "> "
    return f"(offline, {waiting} waiting) > " if waiting else "(offline) > "


def when_back(name: str) -> str:
    """For whoever says something in private to somebody who has lost the connection."""
    return (
        f"{name} has lost the connection: the private message arrives when {name} is back, and is "
        f"lost if {name} leaves instead"
    )


def pending(text: str, to: str = "") -> str:
    """A message that is not acknowledged yet, in one line. `to` is for whom it is, if it is
    private."""
    whom = f"to {escape_line(to)} [private]: " if to else ""
    action = action_of(text)
    return f"... {whom}" + escape_line(text if action is None else f"* {action}")


def more_pending(count: int) -> str:
    return f"... and {count} more"


def title(name: str, mentions: int) -> str:
    """For the terminal's window."""
    return f"({mentions}) chat: {escape_line(name)}"
