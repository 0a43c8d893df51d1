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

WINDOW_BYTES = 8 * 1024 * 1024
"""How much of the log is kept: the most by which a member can be behind. 50,000 short messages."""

MAX_SPLICES = 4_096
"""Frames for one member alone (new keys, mostly) that it has not taken, before it is cut off."""

READ_BYTES = 256 * 1024
"""At most this much is read from one socket before the others have their turn."""

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
"""Joins (leaves) that come faster than this share one change of the room's key."""

JOINS_PER_STEP = 256
"""Members in one JOINED event and in one ROSTER message, which must fit into a frame."""

EPOCH_KEEP_SECONDS = 60
"""A participant keeps an ended epoch's keys for this long: the grace and a generous delay."""

OUTBOX_MESSAGES = 1_024
OUTBOX_BYTES = 1024 * 1024
"""What a client has sent and not seen acknowledged. Beyond either it stops reading its input."""

CONSOLE_LINE_BYTES = 1024 * 1024
"""A line of standard input that is longer is refused: it could not be sent anyway."""

CONSOLE_READ_BYTES = 65_536
"""At most this much is read from standard input at a time."""

CONSOLE_QUEUE_BYTES = 1024 * 1024
"""Lines waiting for a terminal that does not take them. Beyond it the server drops lines (and says
how many), while a client stops reading from the server, since text must not be lost."""

MESSAGE_LINES_PER_SECOND = 10
"""Single "Message exchanged" lines at the server; what exceeds them is summed up once a second."""
