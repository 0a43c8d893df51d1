"""Who a client is in one run of the program, and what it says of itself to a server (PROTOCOL 4.3).

Neither the room nor the connection is known here.
"""

from chat.cipher import RandomBytes
from chat.frozen import field, frozen
from chat.identities import Card, ClientIdentity
from chat.kex import KeyShare, PrivateKey, PublicKey, RoomKey, SealedRoom


@frozen
class Introduction:
    """A name, a key pair, and a share that is fresh for the run. `room_key` is that of the sealed
    room we want to be in; None: the open room. A *caller* comes to say one thing."""

    name: str
    key: PrivateKey
    share: KeyShare = field(shown=False)
    room_key: RoomKey | None = None
    caller: bool = False

    @classmethod
    def fresh(
        cls,
        name: str,
        key: PrivateKey,
        random_bytes: RandomBytes,
        room_key: RoomKey | None = None,
        *,
        caller: bool = False,
    ) -> "Introduction":
        """For a run that begins."""
        return cls(name, key, KeyShare(random_bytes), room_key, caller)

    def room_at(self, server_key: PublicKey) -> SealedRoom | None:
        """Our room at this server; None for the open one."""
        return None if self.room_key is None else self.room_key.at(server_key.digest)

    def to(self, server_key: PublicKey) -> ClientIdentity:
        """What we seal in PUBKEY for this server. It is not told the room key."""
        blob, share, room = self.key.public.blob, self.share.public, self.room_at(server_key)
        if room is None:
            return ClientIdentity(self.name, blob, b"", Card(share, b"", self.caller))
        proof = room.proof(self.name, self.key.public.digest, share, self.caller)
        return ClientIdentity(self.name, blob, room.tag, Card(share, proof, self.caller))
