"""The sentences that the operator reads: one function for each line.

Those that clients show as well are in `phrases`. Text of other people is made harmless here, right
where it becomes part of a line. This module does not know where lines go.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from chat import phrases
from chat.errors import ChatError
from chat.limits import ROOM_NAME_DIGITS, WINDOW_BYTES
from chat.localtime import time_of
from chat.phrases import INDENT, good, members_count, to_copy, trouble
from chat.program import PROGRAM
from chat.roomevents import Topic
from chat.server.access import KeptName, NotOnList, Refusal
from chat.server.lists import Ban, Failed, Trouble, Unreadable
from chat.server.members import Member
from chat.text import counted, escape_line

TERMINATED = good("All connections had been terminated")
SHUT_DOWN = good("Server is shut down")
STARTS_ANEW = good("Server starts anew")
NO_RESTART = trouble(
    "A server with --ephemeral cannot restart: it would have another key, and nobody could come "
    "back. TERMINATE ends it."
)
ENDING = good("The server ends, for everybody.")
ENDING_HERE = good("The server ends: everybody goes on at another one, or waits for one.")
RESTARTING = good("The server starts anew, and everybody comes back.")
COMMAND_FAILED = trouble("There is an error in this program; the console has shown it.")
COMMAND_TOO_LONG = trouble("A command is not as long as that.")
NOT_AN_OPERATOR = trouble("You are no operator here.")
RELOADED = good("The lists were read again.")

HELP = [
    good("TERMINATE          end the server"),
    good("RESTART            start the server anew, say after an upgrade; everybody comes back"),
    good("WHO                list the members of each room"),
    good("ROOMS              list the rooms"),
    good("KICK name [room]   put somebody out; they can join again"),
    good(
        "BAN name reason    put somebody out for good, by key: who is in, or was in the open room"
    ),
    good("UNBAN name         lift a ban; a fingerprint will do, too, here and for BAN"),
    good("BANS               list the bans"),
    good("ALLOW name         add the key that was refused under this name to --authorized-keys"),
    good("FORGET name        free a name that is kept for the key that used it last"),
    good("SAY text           tell everybody something"),
    good("TOPIC text         set the topic, for all rooms; TOPIC shows it, TOPIC - takes it away"),
    good("STATS              count members, messages and bytes"),
    good("HELP               show this"),
]


def person(connections: Sequence[Member]) -> str:
    """Somebody who is in, by these connections, and from where."""
    first, there = connections[0], [one for one in connections if not one.lost]
    about = first.name, first.joined_at, first.fingerprint, len(there)
    line = phrases.member_line(*about, calling=not first.stays)
    addresses = ", ".join(filter(None, (one.address for one in there)))
    return f"{line}, from {addresses}" if addresses else line


def put_out(name: str) -> str:
    return good(f"{escape_line(name)} is put out.")


def deed(name: str, fingerprint: str, what: str) -> str:
    """Another operator has given this command. `fingerprint`: of a member's key; else empty."""
    key = f", {fingerprint}" if fingerprint else ""
    return good(f"{escape_line(name)}{key}: {escape_line(what)}")


def answer_in_a_message(lines: Sequence[str], most: int) -> str:
    """The lines of an answer for a member, without their marks; at most so many bytes."""
    texts = [line[4:] if line.startswith(("[+] ", "[!] ")) else line for line in lines]
    size = 100  # What is said of the others has less than that.
    for number, text in enumerate(texts):
        size += len(text.encode()) + 1
        if size > most:
            rest = f"... and {len(texts) - number} more; the program admin shows all"
            return "\n".join([*texts[:number], rest])
    return "\n".join(texts)


def no_admin(why: ChatError) -> str:
    """Nobody can operate the server by the program `admin`."""
    return trouble(f"There is no admin socket: {escape_line(str(why))}.")


LOG_BROKEN = "its disk fails, and SIGHUP opens it again"
"""Why the operator's log cannot be written: for `log_trouble`."""


def log_trouble(why: str) -> str:
    """The operator's log cannot be written. `why`: a sentence without its end."""
    return trouble(f"The log: {escape_line(why)}. What happens is noted when that is mended.")


def room_name(tag: bytes, digits: int = ROOM_NAME_DIGITS) -> str:
    """By what the operator knows a room: as much of the tag as no two rooms share by chance."""
    return tag.hex()[:digits] if tag else "open"


def means_room(typed: str, tag: bytes) -> bool:
    """Whether the operator can mean this room: by its name, or by more of its tag. Less of it does
    not count: it could be the end of a member's name."""
    if not tag:
        return typed == room_name(tag)
    return len(typed) >= ROOM_NAME_DIGITS and tag.hex().startswith(typed.lower())


def room_title(tag: bytes) -> str:
    """What a line about a sealed room ends with; nothing for the open room."""
    return f" (room {room_name(tag)})" if tag else ""


def room_members(tag: bytes, count: int, *, only: bool) -> str:
    """`only`: there is no other room."""
    if only and not tag:
        return members_count(count)
    return good(f"In the {f'room {room_name(tag)}' if tag else 'open room'}: {count}")


NO_ROOMS = good("There is no room: nobody is here.")


def room_count(tag: bytes, count: int) -> str:
    """A room, and how many are in."""
    return good(f"Room {room_name(tag)}: {count}" if tag else f"The open room: {count}")


def in_several_rooms(name: str, tags: Collection[bytes]) -> str:
    digits = _digits_to_tell_apart(tags)
    rooms = ", ".join(room_name(tag, digits) for tag in tags)
    return trouble(f"{escape_line(name)} is in several rooms; name one behind it: {rooms}.")


def _digits_to_tell_apart(tags: Collection[bytes]) -> int:
    """How many digits of each tag are shown, so that no two look the same."""
    digits = ROOM_NAME_DIGITS
    while len({tag.hex()[:digits] for tag in tags}) < len(tags):
        digits += 1
    return digits


def several_keys(name: str, fingerprints: Iterable[str]) -> list[str]:
    """Several keys have this name, each in a room of its own."""
    return [
        trouble(f"{escape_line(name)} is another key in another room; name the one you mean:"),
        *(f"{INDENT}{fingerprint}" for fingerprint in fingerprints),
    ]


def memory(rooms: int, kept_bytes: int) -> str:
    most = (rooms * WINDOW_BYTES) >> 20
    return good(f"{rooms} room{'' if rooms == 1 else 's'}, {kept_bytes} bytes of {most} MiB kept")


def running(host: str, port: int, fingerprint: str) -> list[str]:
    return [
        good(f"Running on host: {host}"),
        good(f"Running on port: {port}"),
        good(f"Fingerprint: {fingerprint}"),
    ]


ONLY_HERE = good("Only this machine can connect; --host :: lets others in.")


def invitation(host: str, port: int, fingerprint: str, *, open_room: bool) -> list[str]:
    """What the others type, and whoever invites them into a room of their own."""
    join = f"{PROGRAM} client {host} {port} --fingerprint {fingerprint}"
    invite = f"{PROGRAM} invite {host} {port} --fingerprint {fingerprint}"
    if not open_room:
        return [to_copy("Nobody comes in without an invite. To make one", invite)]
    return [to_copy("Others join with", join), to_copy("For a private room", invite)]


ONE_OF_SEVERAL = good("One of several servers: others can name them all, with commas between.")


def joined(name: str, heard_by: int) -> list[str]:
    """A client is in. So many others are told of it (`heard_by`)."""
    lines = [good(f"New connection. Username: {escape_line(name)}")]
    if heard_by:
        lines.append(
            good(f"Broadcast message:  New person joined the room. Username: {escape_line(name)}")
        )
    return [
        *lines,
        good("Client public key had been received"),
        good("Secret key had been sent to the client"),
    ]


def exchanged(count: int, seconds: float) -> str:
    what = "Message exchanged" if count == 1 else f"{count} messages exchanged"
    return f"{time_of(seconds)} {what}"


def refused(address: str, text: str) -> str:
    return trouble(f"{address} was refused: {escape_line(text)}.")


def went_away(address: str, text: str) -> str:
    return trouble(f"{address} went away: {escape_line(text)}.")


def many_refused(count: int, source: str, from_there: int) -> str:
    """`source` is where most of them came from."""
    if count == 1:
        return trouble(f"1 more connection, from {source}, was refused or went away.")
    where = f"all from {source}" if from_there == count else f"{from_there} of them from {source}"
    return trouble(f"{count} more connections were refused or went away, {where}.")


def fault(kinds: Iterable[tuple[str, Iterable[str]]], closed: str) -> list[str]:
    """An error in this program: for each exception its kind and its frames. `closed` is the member
    or the address whose connection was closed for it."""
    lines: list[str] = [
        trouble("There is an error in this program; please report it. The server goes on.")
    ]
    if closed:
        lines.append(f"{INDENT}The connection of {escape_line(closed)} was closed.")
    for kind, frames in kinds:
        lines += [f"{INDENT}{escape_line(frame)}" for frame in frames]
        lines.append(f"{INDENT}{escape_line(kind)}")
    return lines


def faults_again(count: int) -> str:
    times = "once" if count == 1 else f"{count} times"
    return trouble(f"Errors in this program that are shown above came again {times}.")


def span(seconds: float) -> str:
    """A length of time, in words for a person."""
    whole = max(1, round(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"


def in_use(seconds: float) -> str:
    return f"it has been in use for {span(seconds)}"


def kept(name: str, lost_for: float, free_in: float) -> str:
    return f"{name} lost the connection {span(lost_for)} ago; the name is free in {span(free_in)}"


def not_admitted(refusal: Refusal) -> str:
    """Why a client may not come in. It is told this itself, and so is the operator."""
    match refusal:
        case NotOnList(name, fingerprint):
            return f"the key {fingerprint} of {name} is not on the server's list of keys"
        case Ban():
            return banned(refusal)
        case KeptName(name, used, until):
            return (
                f"the name {name} is taken: another key used it last, on {time_of(used)}, and "
                f"keeps it until {time_of(until)}; take another name, or ask the operator to "
                "free it"
            )


def banned(ban: Ban) -> str:
    since = f" since {time_of(ban.since)}" if ban.since else ""
    why = f": {ban.why}" if ban.why else ""
    return f"the key {ban.fingerprint} is banned{since}{why}"


def ban_line(ban: Ban) -> str:
    since = f", since {time_of(ban.since)}" if ban.since else ""
    name = f", {escape_line(ban.name)}" if ban.name else ""
    why = f": {escape_line(ban.why)}" if ban.why else ""
    return good(f"{ban.fingerprint}{name}{since}{why}")


def bans_count(count: int) -> str:
    return good(f"Banned: {count}" if count else "Nobody is banned.")


def ban_lifted(ban: Ban) -> str:
    name = f" of {escape_line(ban.name)}" if ban.name else ""
    return good(f"The key {ban.fingerprint}{name} is no longer banned.")


def ban_made(ban: Ban) -> str:
    name = f" of {escape_line(ban.name)}" if ban.name else ""
    return good(f"The key {ban.fingerprint}{name} is banned.")


def nobody_banned(which: str) -> str:
    return trouble(f"No ban of {escape_line(which)} was lifted. BANS lists the bans.")


def unknown_name(name: str) -> str:
    return trouble(f"No key is known that uses or used the name {escape_line(name)}.")


def allowed(which: str, fingerprint: str) -> str:
    return good(f"{escape_line(which)} may come in now, with the key {fingerprint}.")


def nobody_refused(which: str) -> str:
    return trouble(f"No key was refused lately under the name {escape_line(which)}.")


def several_refused(which: str, fingerprints: Iterable[str]) -> list[str]:
    text = f"Several keys were refused under the name {escape_line(which)}; ALLOW one of them:"
    return [trouble(text), *(INDENT + fingerprint for fingerprint in fingerprints)]


NO_LIST = trouble("Everybody may come in: this server was started without --authorized-keys.")


def forgotten(name: str) -> str:
    return good(f"The name {escape_line(name)} is free for any key.")


def forgotten_elsewhere(name: str) -> str:
    return good(
        f"The name {escape_line(name)} is not kept here. The other servers free it if they keep it."
    )


def not_kept(name: str) -> str:
    return trouble(f"The name {escape_line(name)} is not kept for anybody.")


LINES_NAMED = 5


def _some(texts: Sequence[str], most: int) -> str:
    """So many of these at most, and how many more there are."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def list_trouble(what: Trouble) -> str:
    """Something is wrong with one of the server's lists. What was read before still holds."""
    match what:
        case Failed(text, holds=True):
            return trouble(f"{escape_line(text)}; what was changed holds until the server ends.")
        case Failed(text):
            return trouble(f"{escape_line(text)}; what was known before still holds.")
        case Unreadable(name, lines, limited):
            numbers = _some(list(map(str, lines)), LINES_NAMED)
            which = f"Line{'s' if len(lines) > 1 else ''} {numbers} of {escape_line(name)}"
            if limited:
                return trouble(f"{which}: conditions such as from= are not supported; passed over.")
            return trouble(f"{which}: damaged; passed over.")


def unknown_command(word: str, nearest: str = "") -> str:
    """`nearest`: a command that is much like this word, if there is one."""
    hint = f"Is it {nearest}?" if nearest else "HELP lists the commands."
    return trouble(f"Unknown command: {escape_line(word)}. {hint}")


ONLY_TERMINATE = trouble("TERMINATE ends the server, for everybody.")
"""For who types what would end other programs."""


NOT_TEXT = trouble("A command is text, and this line is not UTF-8.")


ROOMS_ELSEWHERE = good("Sealed rooms in which nobody is connected to this server are left out.")


def said(text: str) -> str:
    """The operator's own words, as everybody is told them."""
    return good(f"Everybody is told: {escape_line(text)}")


def topic(topic: Topic) -> str:
    if not topic.text:
        return NO_TOPIC
    return good(f"Topic, since {time_of(topic.since)}: {escape_line(topic.text)}")


NO_TOPIC = good("There is no topic.")


def topic_told(topic: Topic) -> str:
    """The topic was set, or taken away."""
    if not topic.text:
        return good("The topic was taken away. Everybody is told.")
    return good(f"Everybody is told the topic: {escape_line(topic.text)}")


def no_topic_like_this(why: ChatError) -> str:
    text = str(why)
    return trouble(f"{text[:1].upper()}{text[1:]}.")


def stats(members: int, messages: int, log_bytes: int, uptime: float) -> str:
    return good(
        f"{members} member{'' if members == 1 else 's'}, "
        f"{messages} message{'' if messages == 1 else 's'} exchanged, {log_bytes} bytes relayed, "
        f"up for {uptime:.0f} s"
    )


def lines_dropped(count: int) -> str:
    return trouble(f"{counted(count, 'line')} not shown.")


COMES_TOO_OFTEN = "joins and reconnects too often; try again in a minute"

OUT_OF_DESCRIPTORS = trouble("No descriptors are left: new connections have to wait.")


# -- several servers -------------------------------------------------------------------------------

KEYS_NAMED = 3

REDIS_BACK = "Redis is there again."
REDIS_TAKES = "Redis takes again what it had refused."
LETTING_GO = (
    "Redis has been away for so long that members are let go: another server may reach it, and "
    "take them in."
)
SLOW_HERE = (
    "What is said here comes back from Redis too late, if at all. As far as is known, another "
    "server is quicker: members are let go, and go on there."
)
SLOW_EVERYWHERE = (
    "What is said here comes back from Redis too late, if at all. No other server is known to be "
    "quicker: members stay, and wait."
)
REDIS_IN_TIME = "What is said here comes back from Redis in time again."
CUT_OFF = "the server does not hear from Redis in time, and without Redis no message arrives"
TOO_MUCH_WAITS = "too much waits for Redis"
ONE_ENDS = "another server carries the room, and this one restarts or ends"


def cluster_key_made(path: Path) -> str:
    """The cluster key was made, at this machine."""
    return good(
        f"{escape_line(str(path))} was made. All machines of a cluster need the same one, and the "
        "same server_private_key.pem."
    )


def of_cluster(text: str, *, good_news: bool) -> str:
    """Something about the servers that carry the rooms together."""
    return (good if good_news else trouble)(f"cluster: {text}")


def more_of_cluster(count: int) -> str:
    """Lines like those that were shown just before."""
    return of_cluster(f"{counted(count, 'more line')} like these", good_news=False)


def redis_away(error: ChatError) -> str:
    """Redis cannot be asked, so nothing that is said arrives."""
    return f"Redis is away: {error}. What is said waits until it is back."


def room_lost(why: str, tag: bytes) -> str:
    """What this server knows of a room may not be so."""
    return f"{why}. {f'The room {room_name(tag)}' if tag else 'The open room'} begins anew."


def bans_lifted(fingerprints: list[str]) -> str:
    """This server banned keys that the cluster does not ban."""
    some = _some(fingerprints, KEYS_NAMED)
    return f"bans that do not hold in the cluster are lifted here: {some}"


def servers(count: int, *, known: bool) -> str:
    """How many servers carry the rooms."""
    if not known:
        return trouble("Servers: not known while nothing comes back from Redis")
    return good(f"Servers: {count}")


def server_line(title: str, people: int, age: float | None, behind: float, *, own: bool) -> str:
    """One of the servers that carry the rooms. `age`: for so long it was not heard; None: it was
    read in the stream, where it may have gone since."""
    this = ", this one" if own else ""
    heard = "not heard yet" if age is None else f"heard {age:.0f} s ago"
    return (
        f"{INDENT}{title}{this}: {people} connected, {heard}, "
        f"{behind * 1000:.0f} ms behind the stream"
    )
