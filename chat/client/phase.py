"""How a participant stands with the server, and what may arrive then.

Implements PROTOCOL 6.6. Everything else that arrives is a breach of the protocol:

    phase           takes                             ends with
    DISCONNECTED    WELCOME; RESUMED, if we may       WELCOME -> LOADING_ROSTER
                    resume                            RESUMED -> CATCHING_UP
    LOADING_ROSTER  GREETING, ROSTER                  the last name -> REGROUPING or LIVE as a new
                                                      member, CATCHING_UP as the old one
    CATCHING_UP     room frames, REKEY, CHECK,        RESEND -> LIVE, or REGROUPING if others are
                    RESEND                            still missing
    REGROUPING      the same                          everybody is there, or time is up -> LIVE
    LIVE            the same                          -

The participant assigns the phase, and `disconnect` leads from each of them to DISCONNECTED. We send
in LIVE alone, and not between LEFT and its REKEY.
"""

from enum import Enum, auto


class Phase(Enum):
    """How we stand with the server; the table above says what each phase takes."""

    DISCONNECTED = auto()
    LOADING_ROSTER = auto()
    """Welcomed, but not told all names."""
    CATCHING_UP = auto()
    """Being told what we missed. RESEND comes at its end."""
    REGROUPING = auto()
    """In a new room, and waiting for the members of the old one."""
    LIVE = auto()


PRESENT = (Phase.CATCHING_UP, Phase.REGROUPING, Phase.LIVE)
"""The phases in which we are in the room."""
