"""Every size, count and time that bounds something, each with its reason.

First what the protocol fixes for both ends (docs/PROTOCOL.md), then what this implementation chose.
Nothing else lives here. Times are in seconds unless a name says otherwise.
"""

# -- the protocol ------------------------------------------------------------------------------

MAX_FRAME_BYTES = 65_535
"""A whole frame, its length field included: what 16 bits can count."""

MAX_HANDSHAKE_FRAME_BYTES = 4_096
"""A whole frame before the link stands. An RSA-4096 key and signature need about 1,100."""

MAX_TEXT_BYTES = 16_384
"""The UTF-8 text of one message: a long page, yet a small part of anybody's window."""

MAX_TOPIC_BYTES = 1_024
"""The room's topic: a few lines of a terminal, on every screen of whoever comes in."""

MAX_PARTING_BYTES = 512
"""A word at leaving, which stands in one line with what happened."""

MAX_MOTD_BYTES = 16_384
"""The message of the day (`--motd`), as long as what a person may say."""

MAX_COMMAND_BYTES = 16_384
MAX_ANSWER_BYTES = 32_768
"""What an operator asks the server for from within the room, as long as a message may be; and the
answer, which takes one frame. Some 200 lines; the console and the admin socket have all."""

MAX_NAME_CHARS = 32
"""A name after NFC normalisation: long enough for a person, short enough for a line."""

NAMES_AT_HAND = 16
"""Names whose keys are remembered: of somebody who comes, a server asks for it six times in a row.
Few, since what strangers want to be called may be long."""

MAX_MARKS = 30
"""Combining marks in a row that are shown, and normalised, which takes time with the square of
their number. No language needs more (Unicode, UAX 15, 13: Stream-Safe Text Format)."""

MAX_REASON_BYTES = 512
"""The sentence in REFUSED and BYE."""

MIN_PADDED_BYTES = 96
"""Short plaintexts are padded to this, so that "yes" and "no" look alike; above it PADMÉ. It holds
what a message says beside its text, and 46 bytes of that."""

MAX_SUBMIT_BYTES = 21_504
"""The MESSAGE frames in one SUBMIT: the longest private message has 20,531, and the longest one for
everybody, repeated, 18,483. What is read of one connection in one turn, and so what many can append
in one, is not much more."""

DIRECT_WRAPS = 16
DIRECT_WRAPS_OF_PERSON = 8
DIRECT_WRAP_BYTES = 128
"""Wraps of a private message: a person has at most 8 connections, and two persons read it, its
sender being one. Always as many, so that nobody learns how many are meant. Each is a sealing key of
64 bytes, sealed."""

MIN_RSA_BITS = 2_048
MAX_RSA_BITS = 4_096
RSA_EXPONENT = 65_537
"""Below 2,048 bits an RSA key is no longer safe; above 4,096 it only costs the server time."""

INVITE_CHECKSUM_BYTES = 4
"""One mistyped invite in 4 billion passes for a right one."""

SESSION_KEY_BYTES = 32
ROOM_SECRET_BYTES = 32
X25519_BYTES = 32
ROOM_KEY_BYTES = 32
"""256 bits each (RFC 7748 for the share)."""

ROOM_TAG_BYTES = 16
PROOF_BYTES = 16
"""By which the server knows a sealed room, and by which its members know each other."""

ROOM_NAME_DIGITS = 8
"""So much of a tag, in hex, stands for a sealed room where people read it."""

SHARE_SECONDS = 3_600
"""A signed X25519 share is good for this long. Once it is forgotten, what was said is safe."""

SHARE_SKEW_SECONDS = 300
"""By how much a client's clock may differ from the server's when it looks at not-after."""

EPOCH_GRACE_SECONDS = 10
"""When a join has ended an epoch, a message under it is accepted for this long: the sender may not
have heard yet."""

RENEWAL_SECONDS = 600
"""A secret under which something was said is renewed after this long, even if nobody leaves: then
what was said before cannot be opened with what the members remember."""

RENEWAL_WAIT_SECONDS = 3
WAIT_AGAIN_SECONDS = 60
"""Members whose messages were refused because of a renewal say them again before the next one, but
the next one waits no longer than the first: a round trip over a bad network. A key for which it has
waited in vain does not make it wait again for so long."""

CHECK_SECONDS = 1.0
CHECK_SECONDS_PER_MEMBER = 3.5e-3
"""How often a member is told the running hash while the log moves. To seal and to send it takes a
hundredth of the second figure (35 µs), so in a room of more than 285 members it is told less often:
all CHECKs together take a hundredth of a processor at most. In a room of MAX_MEMBERS it is told
every 35 s, which must be well below ACKNOWLEDGE_SECONDS."""

FINGERPRINT_BYTES = 32
"""The SHA-256 of a key blob."""

HASH_BYTES = 32
SEEN_HASH_BYTES = 16
"""The running hash of the log, and as much of it as a message carries."""

RESUME_TOKEN_BYTES = 16
ROOM_ID_BYTES = 8
ORIGIN_BYTES = 8
"""Random, so that none of them is met twice; the token so that nobody can guess it."""

PING_SECONDS = 30
"""A client says PING this often, so that the server knows it is there."""

WELCOME_SECONDS = 30
"""From the connection to the whole WELCOME. A room that many join at once may take a while."""

PONG_SECONDS = 15
"""When after a PING a client has heard nothing for this long, the connection is dead."""

NEXT_PING_SECONDS = 10
NEXT_PONG_SECONDS = 10
"""The same for a client that can go on at the next server if this one hangs."""

ASLEEP_SECONDS = PING_SECONDS + PONG_SECONDS
"""A running client takes a turn more often. After a longer gap it was stopped, or has slept."""

SILENCE_SECONDS = 75
"""A member that the server has not heard for this long, two PINGs, has lost its connection."""

UNKNOWN_PLACE_SECONDS = SILENCE_SECONDS + 15.0
"""A client that comes in for the first time, and does not get the answer, may have a place that it
does not know of. After so long the server has noticed that nobody has it."""

FRAME_SECONDS = 60
"""What arrives of a frame that has not become whole in this time is no sign of life. The longest
takes so long at 1 KB a second."""

ACKNOWLEDGE_SECONDS = 45
"""When none of its own messages has come back for this long though some are under way, a client
takes the connection for lost: as long as a dead one is not noticed (PING_SECONDS, PONG_SECONDS). A
server that holds a member to a rate of one message a second reads on after 18 seconds when that
member has said a message of the largest size."""

CATCH_UP_SECONDS = 600
"""Whoever comes back is told what was missed, then RESEND, within this; otherwise it begins again
from where it is by then. The window in this time is 14 KB a second."""

# -- this implementation -----------------------------------------------------------------------

DEFAULT_PORT = 9443
DEFAULT_RSA_BITS = 3_072
"""As strong as a 128-bit cipher (NIST SP 800-57)."""

MAX_HOST_CHARS = 253
"""The longest name that DNS has (RFC 1035, 2.3.4)."""

MAX_HOST_PART_CHARS = 63
"""Between two dots of such a name (RFC 1035, 2.3.4)."""

MAX_SERVERS = 8
"""So many servers may be given for one room, in an invite as well. Nobody who runs more needs to
name them all, and each costs a client that finds nobody a few seconds."""

MAX_INVITE_CHARS = 2_304
"""The longest invite has 2,179: MAX_SERVERS hosts of MAX_HOST_CHARS. What is longer is none, and is
not looked at."""

HANDSHAKE_SECONDS = 10
"""From the connection to the finished handshake."""

FIRST_FRAME_SECONDS = 3
"""From the connection to the client's first whole frame. A client answers HELLO by itself, so this
is a few round trips over a bad network; whoever only keeps a place is closed."""

LOOKUP_SECONDS = 15
"""How long a host may be looked up: by then the second name server has been asked twice as well."""

ATTEMPT_SECONDS = 0.25
"""When an address has not answered for this long, the next is tried beside it (RFC 8305, 5)."""

NEXT_SERVER_SECONDS = 2.0
"""When the server that is dialled has not answered for this long, the next one that was given is
tried beside it. A lost SYN is repeated after a second, so this is a server that is down or cut off.
It is longer than ATTEMPT_SECONDS, since the servers need not be equal: one that is merely far away
should not lose its people to another. As long as there is a next one, a server that has taken the
connection has this long to say HELLO, too: one that hangs takes it and says nothing. When all have
had their turns it has another one, of HANDSHAKE_SECONDS, since it may only be slow."""

MAX_ADDRESSES = 16
"""So many of a host's addresses are tried: in four seconds, and in few descriptors."""

SOCKS_PORT = 1080
"""Where a proxy listens, unless `--proxy` says another port (RFC 1928, 3)."""

MAX_SOCKS_FIELD_BYTES = 255
"""A host, a user or a password for a proxy: what 8 bits can count."""

PROXY_SECONDS = 60
"""From the connection to a proxy until it has connected us. Tor may have to make a circuit first,
and then needs up to half a minute for an onion service."""

ROUND_SECONDS = 1.0
"""The server looks at the deadlines of connections once in so many seconds, and a connection may
end so much later than is due. If each had a timer, ten thousand silent members would wake the
server up 130 times a second."""

SHARE_RENEW_SECONDS = SHARE_SECONDS // 2
"""A share is offered for this long, so that a client always gets one that will hold for a while."""

LINGER_SECONDS = 2
"""How long what is queued for a closing connection may take to leave, and how long a client that
leaves tries to be acknowledged, or to get a lost connection back."""

HURRIED_LINGER_SECONDS = 0.2
"""The same for somebody who leaves at once, with a second Ctrl-C: enough for a BYE to get out."""

GRACE_SECONDS = 60
"""How long a member who lost the connection keeps its place (`--grace`)."""

RETRY_SECONDS = 0.5
MAX_RETRY_SECONDS = 15.0
"""A client that lost the connection tries again after the first, then waits twice as long each
time, up to the second; a random half of it is left out, so that not all come at once."""

SLEEP_SECONDS = 2
"""When the machine has slept for longer, a connection is doubted, and
AWAKE_PONG_SECONDS: so long an answer may take then. The network has to come back first; but whoever
has just opened the lid waits for it, and connecting again in vain costs little."""
AWAKE_PONG_SECONDS = 5

PATIENCE_SECONDS = 120
"""A client without a person at it gives up after this long without a connection, or without an
acknowledgement that is due (`--patience`)."""

REPLAY_SECONDS = 30
REPLAY_BYTES = 8 * 1024 * 1024
"""Replay: what was acknowledged this recently, and no more than this much of it, is sent again into
a new room. A server that died may not have passed it on to everybody. `client/outbox.py` explains
the new room."""

REGROUP_SECONDS = 20
"""Regroup: in a new room a client waits with the replay until everybody it knew is there again, for
no longer than this. It is MAX_RETRY_SECONDS, and time to shake hands."""

MAX_ORIGINS = 16_384
MAX_ORIGINS_OF_ONE = 64
"""Seen messages: of so many senders, and so many runs of each, a participant remembers what it has
shown. The sender or run that was silent for longest is dropped. The second limit keeps one sender
from crowding out the others."""

RATE = 500.0
MIN_RATED_READ_BYTES = 128
MAX_RATED_READ_BYTES = 4_096
MAX_HOLD_SECONDS = 5.0
RATE_UNIT_BYTES = 1_024
RATE_BURST_SECONDS = 4
VOID_COST = 1 / 16
"""Messages a second of one key (`--rate`), where a long one counts as several; after a silence
that much more at once. Who sends faster is read more slowly: in small pieces, with pauses in
between that are short enough for PINGs to be answered. The lower the rate, the smaller the pieces,
down to about one short message, so a rate below 0.2 is not kept. What the server drops, such as
messages under a key that has just ended, costs this part of what it costs to relay it: the sender
could not know, and sends it again."""

READS_PER_HOLD = 4
"""So many connections of one key are read in each of the longest pauses. A person has no more of
them; who has very many cannot say more by it."""

SOURCE_RATE_FACTOR = 16
"""All keys of one source together may send so many times what one may. Many people may share an
address (an office, a phone network, `ssh -L`), but few of them say 500 messages a second."""

ARRIVALS_PER_SECOND = 1.0
ARRIVALS_AT_ONCE = 10
"""Joins and resumes of one key; every one may show three lines on every screen. Scripts that all
say one thing at the same moment, and a laptop on a bad line, never wait."""

SOURCE_ARRIVALS_PER_SECOND = 16.0
SOURCE_ARRIVALS_AT_ONCE = 1_024
"""Joins and resumes of one source. A large room behind one address may come back at once."""

MAX_ARRIVAL_WAIT_SECONDS = 15.0
"""Who comes too often is let in so much later at most; beyond that the connection ends, and a
client that was in tries again. Together with the handshake it is less than WELCOME_SECONDS."""

RESENT_BYTES_PER_ARRIVAL = 256 * 1024
"""What a resume has sent a second time costs as much as one arrival for so many bytes. A connection
that breaks has hardly more on its way."""

WINDOW_SHARE_OF_KEY = 1 / 4
WINDOW_SHARE_OF_SOURCE = 1 / 2
SHARE_REFILL_SECONDS = 300
"""While somebody is lost: how much of the window one key (or one source) may fill within the grace,
or within this time if the grace is longer. The window holds what is said in some minutes, not in a
day, and nobody is made mute because somebody is away for long."""

BEHIND = 1 / 16
"""Who is behind by this part of the window, and by what the kernel holds, counts as lost as well: a
connection may be dead for SILENCE_SECONDS before that is known."""

MAX_UNUSED_BUDGETS = 16_384
"""Budgets (some hundred bytes each) of keys and sources that are gone and have not repaid all."""

MAX_CONNECTIONS_OF_KEY = 8
MAX_CALLERS_OF_KEY = 8
"""Members of one key: those that stay (a laptop, a phone, a few scripts), and callers, who say one
thing each. When there is one more, the one of them that has been lost for longest makes room."""

MAX_LOST_OF_SOURCE = 1_024
"""Lost members of one source that keep their places. When there is one more, the one that has been
lost for longest leaves."""

WINDOW_BYTES = 8 * 1024 * 1024
"""How much of the log is kept: the most by which a member can be behind. 50,000 short messages."""

MAX_SPLICES = 4_096
"""Frames for one member alone (new keys, mostly) that it has not taken, before it is cut off."""

MAX_RENEWALS = MAX_SPLICES // 2
"""New keys that a server keeps for members that come back, who are given all of them at once. Ten
are made in a second at most, so whoever is away for 200 s can always go on where they were."""

READ_BYTES = 64 * 1024
"""At most this much is read from one socket before the others have their turn. Reading costs six
times as much where the buffer is so large that the C library maps it anew each time."""

SEND_BYTES = 256 * 1024
"""At most this much of the log is handed to one slow socket at a time."""

MAX_MEMBERS = 10_000
"""Members of the room."""

MAX_ROOMS = 64
"""Sealed rooms (`--max-rooms`). Each may keep a window of the log, so all of them 512 MiB."""

ROOMS_SHARE_OF_SOURCE = 1 / 2
"""Of the sealed rooms that there may be, so many may have been begun from one source. Keys are
free, so otherwise one address could take all of them, and nobody else could begin one."""

MAX_PENDING = 4_096
MAX_PENDING_PER_SOURCE = 1_024
"""Connections that are not members yet, in all and of one source, an IPv4 address or an IPv6 /64
(`--pending`, `--pending-per-source`). The second is enough for a thousand members behind one
address (NAT, `ssh -L`) who come back at once, and leaves room for others. Each takes a descriptor
and at most MAX_HANDSHAKE_FRAME_BYTES twice."""

SPARE_DESCRIPTORS = 64
"""Beside those of the connections: listener, console, keys, and what Python itself opens."""

ACCEPT_PER_TURN = 12
MAKE_ROOM_PER_TURN = 8
"""New connections taken in one turn of the loop; and, when the turn before has left some waiting,
how many of them others make room for. The rest is closed, which is cheap. So a storm of them takes
a millisecond or two of a turn, and yet the listening queue, where all newcomers wait, is emptied
faster than it is filled."""

PATIENT_PER_TURN = 64
"""Connections that are not members and are read in one turn, so that however many have something to
be read, members are served again after a millisecond or two."""

ACCEPT_PAUSE_SECONDS = 1.0
"""When descriptors have run out: how long not to try again."""

FAULT_PAUSE_SECONDS = 1.0
"""After a fault of our own: how long what failed is not tried again, so that it does not spin."""

FAULT_FRAMES = 30
"""Frames of a traceback that are written down, the innermost; a runaway recursion has thousands."""

BACKLOG = 4_096
"""Connections the kernel holds for us until we accept them (it may hold fewer)."""

FREE_PORT_TRIES = 16
"""How many free ports are tried until one is free on all addresses of the host."""

JOIN_INTERVAL_SECONDS = 0.05
LEAVE_INTERVAL_SECONDS = 0.1
INTERVAL_SECONDS_PER_MEMBER = 2e-4
"""Joins (leaves) that come faster than this share one change of the room's key. What a change costs
grows with the room, so in rooms of more than some hundred members the interval does, too."""

JOINS_PER_STEP = 256
"""Members in one JOINED event and in one ROSTER message, which must fit into a frame."""

LONG_WELCOME_BYTES = 16 * 1024
WELCOMED_BYTES_PER_TURN = 1024 * 1024
"""A welcome with a roster so long that it has more than LONG_WELCOME_BYTES waits for its turn. In
one turn of the loop such welcomes leave until they have WELCOMED_BYTES_PER_TURN together, which
takes some 5 ms to seal and send. All welcomes of a step, in a room of a thousand, would keep the
others' messages waiting for 0.2 s."""

MAX_EPOCHS = 512
MAX_PAST_EPOCHS = 256
"""Epochs whose keys a participant keeps, and past ones under which a server still accepts messages.
Joins end 200 epochs in the 10 s of grace, and each welcome of a member that is back may end one. So
the second limit is needed, and whoever reads a message has its key."""

CHECKS_TOGETHER = 1 / 8
"""Members that are due within this part of the interval are told the running hash together."""

MAX_REFUSALS = 5
"""How often a participant asks for the log from a place up to which the server has vouched for it,
and is sent what cannot stand there, before it asks for a new WELCOME. With the pauses in between
(MAX_RETRY_SECONDS) that is half a minute."""

MAX_BASES = 512
MAX_HASHED_AGAIN = 256 * 1024
"""A server can tell the running hash of a place that lies in one of its last so many epochs, and at
most so many bytes behind the beginning of that: so a member that comes back costs less than a
millisecond."""

CHECKS_PER_TURN = 64
"""Members that are told the running hash in one turn of the loop: two milliseconds. In a flood a
turn of a room of MAX_MEMBERS takes 0.2 s, and still all are told in time."""

MAX_PAIR_KEYS = 1_024
"""Keys for private messages that a participant keeps, each for one share and one direction. To make
one anew takes a millisecond; most members of a large room never send a private message."""

MAX_UNREAD = 1_024
"""Private messages of which a participant remembers that their reader is lost. Of what was
forgotten, nobody is told whether it was read."""

MAX_UNCHECKED = 32_768
MAX_TRAIL = 4_096
"""Messages of each sender's run that a participant remembers until the next CHECK, and how many
places in the log it can compare with what others have seen. The first is more than a sender can say
in 45 s; of what was forgotten, a message may be shown twice."""

OUTBOX_MESSAGES = 1_024
OUTBOX_BYTES = 1024 * 1024
"""What a client has sent and not seen acknowledged. Beyond either it stops reading its input."""

CONSOLE_LINE_BYTES = 1024 * 1024
"""A line of standard input that is longer is refused: it could not be sent anyway."""

CONSOLE_READ_BYTES = 65_536
"""At most this much is read from standard input at a time."""

COMMANDS_AT_ONCE = 100
"""So many lines of a pipe the server's console obeys before everybody else has their turn: that
takes some hundredths of a second."""

UNREAD_BYTES = 16 * 1024 * 1024
"""When it is over before the input is: how much of the rest is counted."""

FOREGROUND_SECONDS = 1.0
"""In the background a terminal cannot be read: how often to look whether we are in front again."""

NEXT_WRITER_SECONDS = 1.0
"""When all who wrote to a FIFO have closed it: how often to look whether another has opened it."""

OUTPUT_RETRY_SECONDS = 1.0
"""When the disk that takes the output is full: how often to try again."""

ZONE_SECONDS = 60.0
"""How often to look whether the system's time zone is still the same."""

INTERRUPT_SECONDS = 2.0
"""A second Ctrl-C leaves if it comes so soon after the first."""

PASTE_LINES = 20
"""Whoever pastes more than this as one message is asked whether it is meant."""

MAX_PARTS = 16
"""A text that is too long for a message is offered to be sent in so many: a quarter of a MiB, which
leaves room in the outbox. Who has more to say sends a file."""

EDITED_BYTES = 1024 * 1024
"""A text from the person's own editor: many times a message. The line editor redraws a line of this
length in some tenths of a second."""

TALL_ROWS = 4
"""A draft has half of the window, and in small ones so many rows; of a taller one a part is shown.
"""

PENDING_ROWS = 5
"""So many of the messages that are under way are shown, a row each."""

MAX_LINK_CHARS = 2_048
"""Of a word of ASCII so much at a time is left to the terminal to wrap, so that it can be copied
whole: browsers and servers take links of about this length."""

FOLDED_BEYOND_ROWS = 40
FOLDED_BEYOND_WINDOWS = 2
FOLDED_TO_ROWS = 20
FOLDED_KEPT = 32
"""A message that takes more rows than the first on a terminal, or fills so many windows, is folded
to the third, or to half a window if that is less, so that its sender can be seen; `/more` has so
many of them."""

BELL_SECONDS = 1.0
"""The bell rings once in this time, however often one's name is said, and the desktop shows one
notification."""

NOTIFIED_CHARS = 80
"""So much of a message stands in a notification of the desktop: a line or two."""

UNANSWERED_SECONDS = 5
"""When something has not been acknowledged for so long, that is shown: a bad network takes a second
or two, and loses a packet now and then."""

AWAY_SECONDS = 300.0
"""Who has pressed no key for so long may have gone away: a line is drawn where they stopped
reading. People read, and think, for some minutes without a key."""

SKEW_SECONDS = 60.0
DELAY_SECONDS = SILENCE_SECONDS + 15.0
SETTLE_SECONDS = 30.0
"""By how much a message's time may be ahead of our clock, and by how much behind it, before that is
said. A message can be behind by the second, since a dead connection is noticed after
SILENCE_SECONDS. After the third all is sent that waited for a connection: it is REGROUP_SECONDS,
and time to send it."""

CACHED_CHARS = 4_096
"""Characters whose width is remembered: more than most texts have, and no peer can fill the memory
with them."""

CACHED_NAMES = 1_024
CACHED_TIMES = 16
"""Names of which it is remembered when they are the same, and times of which it is remembered how
they are written. Of those who talk at once there are fewer."""

LAST_SHOWN = 20
LAST_KEPT = 5_000
LAST_CHARS = 2 * 1024 * 1024
"""What `/last` shows, a window or so, and what it knows: a day of a lively room. More, and how long
they are, others could choose; what is written to a log is not bounded."""

QUIET_SECONDS = 900.0
"""With somebody who has said something in this time one talks: their coming and going is shown."""

QUIET_NAMES = 5
"""Names in the sum of those who came and went: what fits a row, mostly."""

QUIET_MENTIONS = 32
"""People whom one message of ours can mention. Who names more of them calls everybody."""

SPIN_SECONDS = 0.1
"""What takes longer is shown with a spinner, which turns this often."""

HISTORY_LINES = 1000
HISTORY_BYTES = 4 * 1024 * 1024
"""What a person has typed is kept for the next run, and no more than this is read at the start."""

HISTORY_LOCK_SECONDS = 0.1
"""For so long a line that was typed waits for another client that adds one, and no longer: somebody
is typing."""

KEY_FILE_BYTES = 64 * 1024
"""A key file: RSA-4096 as PEM is 3,300, and some write notes above it."""

CONFIG_BYTES = 256 * 1024
"""The file of a person's own settings: a table for each of hundreds of rooms."""

KNOWN_SERVERS_BYTES = 4 * 1024 * 1024
"""The list of known servers: 6,000 of them. It is read at each connection."""

ROOMS_BYTES = 1024 * 1024
"""The list of kept rooms: 4,000 of them."""

MAX_KNOWN_MEMBERS = 10_000
KNOWN_MEMBERS_BYTES = 4 * 1024 * 1024
"""The list of known members, of all rooms together: as many as a full room has. It is read when we
enter a room, in 0.2 s if all are of this room. A line has 130 bytes, or 250 if the name is long."""

KEEP_MEMBERS_SECONDS = 60.0
"""What we learn about members is written down this often, and at the end. A crash loses no more,
and a busy room costs hardly anything."""

LOCK_SECONDS = 2.0
LOCK_POLL_SECONDS = 0.002
"""For how long a program that does nothing may keep us from changing keys and known servers, and
how often we try. A change takes milliseconds."""

KEEP_NAMES_DAYS = 30
MAX_KEPT_NAMES = 16_384
MAX_KEPT_NAMES_OF_KEY = 8
"""For how long a key keeps the name that it used last (`--keep-names`), and how many names are
kept: more than there can be members, 200 bytes each. A person has a few; nobody takes all names
with one key. The name that was not used for longest is forgotten."""

NAMES_SAVE_SECONDS = 30.0
"""So long after somebody came or left, that is added to the file of names, and not durably. A
server that is killed forgets who used a name in this time, and not who had it before."""

MAX_NAME_LINES = MAX_KEPT_NAMES + MAX_KEPT_NAMES // 4
"""Lines in the file of names. Beyond it the file is written anew, without those that are out of
date: some tenths of a second, once in 4,096 comings and goings."""

MAX_TURNED_AWAY = 64
"""Keys that were not on the list and are remembered, each with its last name, so that the operator
can let them in."""

LIST_BYTES = 4 * 1024 * 1024
LIST_LOCK_SECONDS = 0.1
"""A server's lists (keys, bans, names), and how long it waits for another program that changes one:
everybody waits with it."""

CONSOLE_QUEUE_BYTES = 1024 * 1024
"""Lines waiting for a terminal or a disk that does not take them. Beyond it the server drops lines
(and says how many), while a client stops reading from the server, since text must not be lost."""

SERVICE_STATUS_SECONDS = 60.0
"""How often the service manager is told how many people are in, if that has changed."""

REFUSAL_LINES_PER_SECOND = 5
FAULT_SUM_SECONDS = 60.0
"""Single lines about connections that were refused; what exceeds them is summed up once a second.
Faults that were written down before are summed up after the second."""

CLUSTER_LINES_PER_SECOND = 5
"""Single lines about what is wrong in a cluster; what exceeds them is summed up once a second.
Whoever can write to Redis can put there as much as they like that does not open."""

MESSAGE_LINES_PER_SECOND = 10
"""Single "Message exchanged" lines at the server; what exceeds them is summed up once a second."""

LOG_LINES_PER_SECOND = 100
LOG_QUEUE_BYTES = 1024 * 1024
LOG_TEXT_CHARS = 512
"""The operator's log (`--log`): lines about connections that were refused or went away, beyond
which they are only counted, so that a flood does not fill the disk; what waits while the disk is
full; and as much of a text as is noted."""

MAX_ADMIN_CONNECTIONS = 16
SOCKET_PATH_BYTES = 103
ADMIN_LINE_BYTES = 65_536
ADMIN_ANSWER_SECONDS = 30.0
ADMIN_LOCK_SECONDS = 2.0
"""The admin socket: when another connection comes, the one that was silent for longest goes; a path
for which every system has room in the address of a socket; a command, which is longest for SAY; how
long the program `admin` waits for an answer, which a server gives at once; and how long two servers
in one folder wait for each other at their start."""

# -- several servers, one Redis ----------------------------------------------------------------

REDIS_PORT = 6379
"""Where Redis listens, unless its URL says another port."""

MIN_REDIS = (5, 0)
"""The oldest Redis that has streams."""

MINID_REDIS = (6, 2)
TRIM_SLACK_ENTRIES = 4_096
"""The first Redis that can trim a stream at a place. At an older one, which can only count, so many
more entries are kept: others may have added some meanwhile."""

CLUSTER_KEY_BYTES = 32
MAX_CLUSTER_NAME_CHARS = 32
SECRET_FILE_BYTES = 4_096
"""The cluster key; the name under which a cluster keeps its things in Redis, which stands in each
of their names; and a file that holds nothing but a key or a password."""

REDIS_PING_SECONDS = 2.0
REDIS_SILENCE_SECONDS = 5.0
"""A connection to Redis on which nothing is awaited asks for a PONG after the first, and one that
has not answered for the second is given up. Together less than the 10 s after which a server counts
as gone, so that a server whose Redis is frozen knows it before others would think it dead."""

REDIS_RETRY_SECONDS = 0.25
MAX_REDIS_RETRY_SECONDS = 2.0
"""As RETRY_SECONDS, for servers that have lost Redis: they are few, and everybody waits for
them."""

STREAM_BLOCK_SECONDS = 5.0
"""How long Redis lets us wait for the next entry before it answers that there is none. That answer
is our sign of life on a quiet day."""

READER_ROOMS = 64
"""A connection to Redis waits for the entries of so many rooms at most. Whenever one of them says
something, all are named again, which costs about 0.6 µs a room here and 0.5 µs at Redis: with 64
as much as a message in one room, and with 1,000 ten times that."""

STREAM_PAGE_ENTRIES = 256
"""So many entries of a stream are asked for at once: with MAX_BATCH_BYTES at most 16 MiB."""

MAX_BATCH_BYTES = 65_536
"""What a server proposes in one entry: all that it had to say in a turn, or a part of it. A single
proposal may be longer."""

MAX_REPLY_BYTES = 32 * 1024 * 1024
"""Over a connection on which Redis answers with more at once we listen no longer: it would fill the
memory. A page of a stream is at most half as long, and a snapshot is hardly longer than
WINDOW_BYTES. Only what many rooms have said while a server slept can be longer; then each room is
read on page by page over the next connection."""

MAX_PROPOSED_BYTES = 4 * 1024 * 1024
"""Proposals of one room that no entry has come back for. A server that has more reads its members
more slowly (`Stream.full`). When it has twice as much, it lets go those that say something, and
lets nobody in."""

GATHER_SECONDS = 0.002
"""What other servers have said waits for so long at most for what this one has just said."""

RESEND_SECONDS = 1.0
"""So long after Redis has refused a proposal, or has put it where it does not count, it is proposed
again."""

FAULT_SECONDS = 60.0
"""After an error that nobody foresaw what was applied is read anew. If it comes again at the same
place, this does not help, and is not done for so long."""

LOST_ANSWER_SECONDS = 120.0
"""What a server has asked of Redis to read a room is asked again after so long. While the
connection stands, only an error that nobody foresaw can have lost the answer."""

UNREAD_SECONDS = 5.0
"""A proposal that was not read is proposed again so long after Redis has last taken one of us:
somebody may have removed it from the stream. In peace it is read within milliseconds."""

MAX_BROKEN_ERAS = 8
"""A server remembers so many rooms of one stream that it has found broken, or has left for a later
one."""

SNAPSHOT_TRIES = 3
"""So often a server that has found no snapshot to start from asks the others for one,
RESEND_SECONDS apart, before it has a new room begin."""

ORIGIN_SECONDS = 600
"""A server that has proposed nothing in a room for so long is forgotten there, by the time of the
entries, and begins again with a new origin. So is one that does not beat any more. So what is
remembered of them does not grow with each restart."""

RECENT_ENTRIES = 512
"""Of so many entries the running hash is kept, against which is compared what other servers say
that they have read. A server is hardly ever further behind another one."""

SNAPSHOT_BYTES = 4 * 1024 * 1024
"""After so many bytes of entries a room's state is kept in Redis, and what lies before the last but
one of these places is trimmed. A server that starts reads at most twice as much."""

MAX_REDIS_TEXT_CHARS = 200
"""As much of what Redis says of an error is repeated."""

CLOCK_DOUBT_SECONDS = 60
"""By so much Redis' clock may differ from ours before a person is told. Nothing but
times that people are shown, such as since when somebody is in, comes from the clock of a server."""

CARD_SECONDS = 60
"""The card by which the servers of a cluster know that they belong together is kept for so long
after the last of them has asked for it: then others may come, with other keys or another
version."""

SERVER_ID_BYTES = 8
PROPOSAL_SEED_BYTES = 32
"""Each run of a server of a cluster has a random id; each proposal brings so much randomness."""

MAX_EPOCH_BYTES = 2 * 1024 * 1024
"""In a cluster an epoch ends when it has more of the log. A snapshot must hold all of it, so this
and what comes in one entry must fit into WINDOW_BYTES."""

SPARE = 1 / 8
"""In a cluster a log may be longer than its window by this part of it before it is trimmed. All
servers trim at the same place, in the middle of what came at once, and send first what came before
it: if the log never was longer, a flood would leave in a `send` for each item."""

MAX_FREED_NAMES = 256
"""So many of the names that were freed last are freed at a server that starts again, too."""

SEALED_ROOM_SECONDS = 3_600
EMPTY_ROOM_SECONDS = 60
SEALED_ROOM_AGAIN_SECONDS = 30
"""A sealed room that no server carries any more is kept in Redis for the first, and for the second
if nobody was in; who carries one asks for that anew each time the third has passed. Whoever reaches
a server can begin rooms, put some MiB into each within a second, and leave: they would fill Redis
otherwise."""

STREAM_HOLD_SECONDS = 0.25
"""For so long a member is not read where its proposals wait for Redis, and are too many."""

BEAT_SECONDS = 3.0
SERVER_GONE_SECONDS = 10.0
"""A server of a cluster says so often that it is alive, and counts as gone when it was not heard
for so long. Its members have lost their connections then."""
