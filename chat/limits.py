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

MAX_NAME_CHARS = 32
"""A name after NFC normalisation: long enough for a person, short enough for a line."""

MAX_REASON_BYTES = 512
"""The sentence in REFUSED and BYE."""

MIN_PADDED_BYTES = 64
"""Short plaintexts are padded to this, so that "yes" and "no" look alike; above it PADMÉ."""

MIN_RSA_BITS = 2_048
MAX_RSA_BITS = 4_096
RSA_EXPONENT = 65_537
"""Below 2,048 bits an RSA key is no longer safe; above 4,096 it only costs the server time."""

SESSION_KEY_BYTES = 32
ROOM_SECRET_BYTES = 32
X25519_BYTES = 32
"""256 bits each (RFC 7748 for the share)."""

SHARE_SECONDS = 3_600
"""A signed X25519 share is good for this long. Once it is forgotten, what was said is safe."""

SHARE_SKEW_SECONDS = 300
"""By how much a client's clock may be ahead of the server's when it looks at not-after."""

EPOCH_GRACE_SECONDS = 10
"""A message under an earlier epoch is accepted for this long after the epoch ended: the sender may
not have heard yet."""

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

SILENCE_SECONDS = 75
"""A member that the server has not heard for this long, two PINGs, has lost its connection."""

# -- this implementation -----------------------------------------------------------------------

DEFAULT_PORT = 9443
DEFAULT_RSA_BITS = 3_072
"""As strong as a 128-bit cipher (NIST SP 800-57)."""

HANDSHAKE_SECONDS = 10
"""From the connection to the finished handshake; whoever says nothing for this long is closed."""

SHARE_RENEW_SECONDS = SHARE_SECONDS // 2
"""A share is offered for this long, so that a client always gets one that will hold for a while."""

FAREWELL_SECONDS = 2
"""How long what is queued for a closing connection may take to leave."""

GRACE_SECONDS = 60
"""How long a member who lost the connection keeps its place (`--grace`)."""

RETRY_SECONDS = 0.5
MAX_RETRY_SECONDS = 15.0
"""A client that lost the connection tries again after the first, then waits twice as long each
time, up to the second; a random half of it is left out, so that not all come at once."""

PATIENCE_SECONDS = 120
"""A client without a person at it gives up after this long without a connection (`--patience`)."""

OFFER_AGAIN_SECONDS = 30
OFFER_AGAIN_BYTES = 8 * 1024 * 1024
"""What was acknowledged so recently is sent again into a new room, since a server that died may not
have passed it on to everybody."""

RETURN_SECONDS = 20
"""In a new room a client holds back what it has to say until everybody it knew is there again, for
no longer than this: MAX_RETRY_SECONDS, and time to shake hands."""

MAX_ORIGINS = 16_384
MAX_ORIGINS_OF_ONE = 64
"""Senders of which a participant remembers what it has shown, and runs of each; those that were
silent for longest are forgotten. The second, so that nobody can make it forget others."""

RATE = 500.0
RATED_READ_BYTES = 4_096
MAX_HOLD_SECONDS = 5.0
RATE_UNIT_BYTES = 1_024
RATE_BURST_SECONDS = 4
"""Messages a second of one member (`--rate`), where a long one counts as several; after a silence
that much more at once. Who sends faster is read more slowly: in small pieces, with pauses in
between that are short enough for PINGs to be answered."""

WINDOW_BYTES = 8 * 1024 * 1024
"""How much of the log is kept: the most by which a member can be behind. 50,000 short messages."""

MAX_SPLICES = 4_096
"""Frames for one member alone (new keys, mostly) that it has not taken, before it is cut off."""

READ_BYTES = 64 * 1024
"""At most this much is read from one socket before the others have their turn. Reading costs six
times as much where the buffer is so large that the C library maps it anew each time."""

SEND_BYTES = 256 * 1024
"""At most this much of the log is handed to one slow socket at a time."""

MAX_MEMBERS = 10_000
"""Members of the room, and
MAX_HANDSHAKES: connections that are not members yet; further ones wait in the listening queue."""
MAX_HANDSHAKES = 4_096

SPARE_DESCRIPTORS = 64
"""Beside those of the connections: listener, console, keys, and what Python itself opens."""

ACCEPT_PER_TURN = 64
"""New connections taken in one turn of the loop, so that a storm of them does not stop the talk."""

ACCEPT_PAUSE_SECONDS = 1.0
"""When descriptors have run out: how long not to try again."""

BACKLOG = 4_096
"""Connections the kernel holds for us until we accept them (it may hold fewer)."""

JOIN_INTERVAL_SECONDS = 0.05
LEAVE_INTERVAL_SECONDS = 0.1
INTERVAL_SECONDS_PER_MEMBER = 2e-4
"""Joins (leaves) that come faster than this share one change of the room's key. What a change costs
grows with the room, so in rooms of more than some hundred members the interval does, too."""

JOINS_PER_STEP = 256
"""Members in one JOINED event and in one ROSTER message, which must fit into a frame."""

MAX_EPOCHS = 512
"""Epochs whose keys a participant keeps. No more than 300 can end while a message under the first
of them is still accepted (10 s of grace, 20 joins and 10 leaves a second)."""

OUTBOX_MESSAGES = 1_024
OUTBOX_BYTES = 1024 * 1024
"""What a client has sent and not seen acknowledged. Beyond either it stops reading its input."""

CONSOLE_LINE_BYTES = 1024 * 1024
"""A line of standard input that is longer is refused: it could not be sent anyway."""

CONSOLE_READ_BYTES = 65_536
"""At most this much is read from standard input at a time."""

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

PENDING_ROWS = 5
"""So many of the messages that are under way are shown, a row each."""

SPIN_SECONDS = 0.1
"""What takes longer is shown with a spinner, which turns this often."""

HISTORY_LINES = 1000
HISTORY_BYTES = 4 * 1024 * 1024
"""What a person has typed is kept for the next run, and no more than this is read at the start."""

CONSOLE_QUEUE_BYTES = 1024 * 1024
"""Lines waiting for a terminal or a disk that does not take them. Beyond it the server drops lines
(and says how many), while a client stops reading from the server, since text must not be lost."""

MESSAGE_LINES_PER_SECOND = 10
"""Single "Message exchanged" lines at the server; what exceeds them is summed up once a second."""
