"""Key exchange: RSA identities, the server's signed X25519 share, and the key schedule.

Implements PROTOCOL 4 (the handshake's cryptography), 6.1 (the keys of a room's epochs), and the
keys of 6.10 and 6.12. This module knows neither files nor the layout of frames: a transcript
arrives as bytes.
"""

import hashlib
import hmac
from base64 import b64decode, b64encode
from typing import Any

from Cryptodome.Cipher import PKCS1_OAEP
from Cryptodome.Hash import SHA256
from Cryptodome.Math.Numbers import Integer
from Cryptodome.Protocol.DH import import_x25519_private_key
from Cryptodome.PublicKey import RSA
from Cryptodome.PublicKey.ECC import EccXPoint
from Cryptodome.Signature import pss

from chat.cipher import SEALING_KEY_BYTES, LinkCipher, RandomBytes, SealingKey
from chat.errors import ClockError, OpenError, ProtocolError
from chat.frozen import field, frozen
from chat.limits import (
    MAX_RSA_BITS,
    MIN_RSA_BITS,
    PROOF_BYTES,
    ROOM_KEY_BYTES,
    ROOM_SECRET_BYTES,
    ROOM_TAG_BYTES,
    RSA_EXPONENT,
    SESSION_KEY_BYTES,
    SHARE_RENEW_SECONDS,
    SHARE_SECONDS,
    SHARE_SKEW_SECONDS,
    X25519_BYTES,
)
from chat.text import fingerprint_of

LABEL_SHARE = b"chat/1 server share"
LABEL_HANDSHAKE_CLIENT = b"chat/1 handshake client to server"
LABEL_HANDSHAKE_SERVER = b"chat/1 handshake server to client"
LABEL_LINK_CLIENT = b"chat/1 link client to server"
LABEL_LINK_SERVER = b"chat/1 link server to client"
LABEL_LINK_NEXT = b"chat/1 link next"
LABEL_ROOM_MESSAGE = b"chat/1 room message"
LABEL_ROOM_EVENT = b"chat/1 room event"
LABEL_ROOM_STEP = b"chat/1 room step"
LABEL_ROOM_REPEAT = b"chat/1 room repeat"
LABEL_TAG = b"chat/1 room tag"
LABEL_MEMBER = b"chat/1 member"
LABEL_SEALED_MESSAGE = b"chat/1 sealed message"
LABEL_SEALED_REPEAT = b"chat/1 sealed repeat"
LABEL_DIRECT = b"chat/1 direct"

_SSH_KEY_TYPE = b"ssh-rsa"
_SSH_HEAD = b"\0\0\0\x07" + _SSH_KEY_TYPE + b"\0\0\0\x03" + RSA_EXPONENT.to_bytes(3, "big")
_SSH_LENGTH_BYTES = 4
_HASH_BYTES = 32
_X25519_MASK = (1 << 255) - 1
"""The last bit of a share does not count (RFC 7748, 5)."""
_BAD_SHARE = "the X25519 share cannot be used"


# -- identities --------------------------------------------------------------------------------


@frozen
class PublicKey:
    """An RSA public key, as the blob that SSH uses (RFC 4253, 6.6): one key, one blob."""

    blob: bytes

    @classmethod
    def from_rsa(cls, rsa: RSA.RsaKey) -> "PublicKey":
        return cls(b64decode(rsa.public_key().export_key(format="OpenSSH").split()[1]))

    @property
    def openssh(self) -> str:
        """`ssh-rsa AAAA…`, as in `known_hosts` and `authorized_keys`."""
        return f"{_SSH_KEY_TYPE.decode()} {b64encode(self.blob).decode()}"

    @property
    def digest(self) -> bytes:
        """SHA-256 of the blob, which is what a fingerprint shows."""
        return hashlib.sha256(self.blob).digest()

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, as `ssh-keygen -lf` prints it."""
        return fingerprint_of(self.digest)

    def rsa(self) -> RSA.RsaKey:
        """The key as the library computes with it.

        Raises:
            ProtocolError: it is not an RSA key, is not in its one encoding, or has a size that we
                do not take.
        """
        modulus = int.from_bytes(self.blob[len(_SSH_HEAD) + _SSH_LENGTH_BYTES :], "big")
        if self.blob == _ssh_blob(modulus) and _is_taken(modulus):
            return _QuickKey(modulus)
        # It is refused. The library reads it, to say why.
        try:
            rsa = RSA.import_key(_SSH_KEY_TYPE + b" " + b64encode(self.blob))
        except (ValueError, IndexError, TypeError) as exc:
            raise ProtocolError("the public key cannot be read") from exc
        check_strength(rsa)
        raise ProtocolError("the public key is not in its canonical encoding")

    def wrap(self, session_key: bytes, random_bytes: RandomBytes) -> bytes:
        """The session key, for the owner of this key alone: RSAES-OAEP with SHA-256 and an empty
        label (RFC 8017, 7.1).

        Raises:
            ProtocolError: the key cannot be used.
        """
        oaep = PKCS1_OAEP.new(self.rsa(), hashAlgo=_Sha256(), randfunc=random_bytes)
        return oaep.encrypt(session_key)


class _QuickKey(RSA.RsaKey):
    """A public key of the library, whose power the library computes. Only the numbers are handed
    over between Python and C in a quicker way, as bytes: the library copies them 32 bits at a time,
    which takes ten times as long as the power, and happens four times in one OAEP."""

    def __init__(self, modulus: int) -> None:
        self._modulus = modulus
        self._number = _number(modulus)
        numbers: dict[str, Any] = {"n": self._number, "e": Integer(RSA_EXPONENT)}
        super().__init__(**numbers)

    @property
    def n(self) -> int:
        return self._modulus

    def _encrypt(self, plaintext: int) -> int:
        if not 0 <= plaintext < self._modulus:
            raise ValueError("the number is not below the modulus")
        power = _number(plaintext).inplace_pow(RSA_EXPONENT, self._number)
        return int.from_bytes(power.to_bytes(), "big")


def _number(value: int) -> Integer:
    return Integer.from_bytes(value.to_bytes(MAX_RSA_BITS // 8, "big"))


class _Sha256:
    """SHA-256 of OpenSSL, for the library's OAEP: it takes nine short hashes, and the library's own
    takes six times as long for each."""

    digest_size: int = _HASH_BYTES

    def new(self, data: bytes | None = None) -> "hashlib._Hash":
        return hashlib.sha256(data or b"")


def _ssh_blob(modulus: int) -> bytes:
    """The one blob of this modulus and our exponent (RFC 4253, 6.6). By hand: the library's own
    export would make up half of what it costs to take a key."""
    # A number begins with a bit that is 0, since it has a sign (RFC 4251, 5).
    number = modulus.to_bytes(modulus.bit_length() // 8 + 1, "big")
    return _SSH_HEAD + len(number).to_bytes(_SSH_LENGTH_BYTES, "big") + number


def _is_taken(modulus: int) -> bool:
    """Whether the library and we take this modulus with our exponent, which is a prime."""
    fits = MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS
    return fits and modulus % 2 == 1 and modulus % RSA_EXPONENT != 0


def check_strength(rsa: RSA.RsaKey) -> None:
    """Refuse a key that is too small to be safe, or so large that it only costs time.

    Raises:
        ProtocolError: the modulus is not of 2,048 to 4,096 bits, or the exponent not 65,537.
    """
    bits = rsa.size_in_bits()
    if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
        raise ProtocolError(f"an RSA key of {bits} bits is not taken")
    if rsa.e != RSA_EXPONENT:
        raise ProtocolError(f"an RSA key with another exponent than {RSA_EXPONENT} is not taken")


@frozen
class PrivateKey:
    """An RSA key pair. A client uses its own only to unwrap, a server only to sign."""

    rsa: RSA.RsaKey = field(shown=False)
    public: PublicKey

    @classmethod
    def generate(cls, bits: int, random_bytes: RandomBytes | None = None) -> "PrivateKey":
        """A new pair. Takes seconds; `random_bytes` is called many times meanwhile."""
        return cls.from_rsa(RSA.generate(bits, randfunc=random_bytes, e=RSA_EXPONENT))

    @classmethod
    def from_rsa(cls, rsa: RSA.RsaKey) -> "PrivateKey":
        """Raises ProtocolError for a key of a size or exponent that is not taken."""
        check_strength(rsa)
        return cls(rsa, PublicKey.from_rsa(rsa))

    def unwrap(self, wrapped: bytes) -> bytes:
        """The session key that was given to `PublicKey.wrap`.

        Raises:
            OpenError: it was not wrapped for this key.
        """
        try:
            session_key = PKCS1_OAEP.new(self.rsa, hashAlgo=_Sha256()).decrypt(wrapped)
        except (ValueError, TypeError) as exc:
            raise OpenError from exc
        if len(session_key) != SESSION_KEY_BYTES:
            raise OpenError
        return session_key


# -- the server's share ------------------------------------------------------------------------


class KeyShare:
    """One end's X25519 key pair (RFC 7748)."""

    __slots__ = ("_scalar", "public")

    def __init__(self, random_bytes: RandomBytes) -> None:
        private = import_x25519_private_key(random_bytes(X25519_BYTES))
        self.public: bytes = private.public_key().export_key(format="raw")
        self._scalar = int(private.d)

    def agree(self, peer: bytes) -> bytes:
        """The shared secret with the peer's public share (RFC 7748, 6.1). This is a multiplication
        of the library's points. Its `key_agreement` does the same, but takes four times as long to
        copy numbers between Python and C, and to compare the share with a list of points of low
        order, whose product is the one that has no coordinate anyway.

        Raises:
            ProtocolError: the peer's share is not 32 bytes, or is of low order.
        """
        if len(peer) != X25519_BYTES:
            raise ProtocolError(_BAD_SHARE)
        try:
            point = EccXPoint(int.from_bytes(peer, "little") & _X25519_MASK, "Curve25519")
            point *= self._scalar
            return bytes(point.x.to_bytes(X25519_BYTES, "little"))
        except ValueError as exc:
            raise ProtocolError(_BAD_SHARE) from exc


@frozen
class SignedShare:
    """The share that a server offers to all clients for a while, signed once (PROTOCOL 4.2)."""

    share: KeyShare = field(shown=False)
    not_after: int
    signature: bytes
    server_key: PublicKey

    @classmethod
    def make(cls, key: PrivateKey, wall_clock: float, random_bytes: RandomBytes) -> "SignedShare":
        """Make a share and sign it. `wall_clock` is in seconds since 1970; an earlier time cannot
        be encoded, and counts as 1970."""
        share = KeyShare(random_bytes)
        not_after = max(0, int(wall_clock)) + SHARE_SECONDS
        digest = SHA256.new(_signed_part(share.public, not_after))
        signature = pss.new(key.rsa, rand_func=random_bytes).sign(digest)
        return cls(share, not_after, signature, key.public)

    def is_fresh(self, wall_clock: float) -> bool:
        """Whether to offer it still. A clock that was set back ends it as well."""
        left = self.not_after - max(0.0, wall_clock)
        return SHARE_SECONDS - SHARE_RENEW_SECONDS < left <= SHARE_SECONDS


def check_offer(
    share: bytes, not_after: int, signature: bytes, server_key: PublicKey, wall_clock: float
) -> None:
    """Check that `server_key` signed this share, and that the share is valid: not too old, and not
    for longer than an honest server signs, so that no signature holds for ever.

    Raises:
        ClockError: by our clock it has run out, or was made in the future.
        ProtocolError: the signature is not the key's.
    """
    try:
        digest = SHA256.new(_signed_part(share, not_after))
        pss.new(server_key.rsa()).verify(digest, signature)
    except ValueError as exc:
        raise ProtocolError("the server's signature is not valid") from exc
    # A server whose clock is before 1970 signs as if it were 1970.
    left = not_after - max(0.0, wall_clock)
    if not -SHARE_SKEW_SECONDS <= left <= SHARE_SECONDS + SHARE_SKEW_SECONDS:
        raise ClockError(not_after, wall_clock)


def _signed_part(share: bytes, not_after: int) -> bytes:
    return LABEL_SHARE + share + not_after.to_bytes(8, "big")


# -- the key schedule --------------------------------------------------------------------------


@frozen
class LinkKeys:
    """One sealing key for each direction."""

    client: SealingKey
    server: SealingKey

    def for_client(self) -> LinkCipher:
        return LinkCipher(send_key=self.client, receive_key=self.server)

    def for_server(self) -> LinkCipher:
        return LinkCipher(send_key=self.server, receive_key=self.client)


def handshake_keys(shared: bytes, hello: bytes, client_share: bytes) -> LinkKeys:
    """k_c0 and k_s0, which seal PUBKEY and SESSION_KEY."""
    salt = hashlib.sha256(hello + client_share).digest()
    return LinkKeys(
        SealingKey.from_bytes(derive(shared, salt, LABEL_HANDSHAKE_CLIENT, SEALING_KEY_BYTES)),
        SealingKey.from_bytes(derive(shared, salt, LABEL_HANDSHAKE_SERVER, SEALING_KEY_BYTES)),
    )


def link_keys(shared: bytes, session_key: bytes, transcript: bytes) -> LinkKeys:
    """k_c1 and k_s1, which seal the link; `transcript` is HELLO ‖ PUBKEY ‖ SESSION_KEY."""
    salt = hashlib.sha256(transcript).digest()
    material = shared + session_key
    return LinkKeys(
        SealingKey.from_bytes(derive(material, salt, LABEL_LINK_CLIENT, SEALING_KEY_BYTES)),
        SealingKey.from_bytes(derive(material, salt, LABEL_LINK_SERVER, SEALING_KEY_BYTES)),
    )


def next_link_key(key: SealingKey) -> SealingKey:
    """k_s1 behind a REKEY: with it nobody can open that REKEY, nor any before (PROTOCOL 3.3)."""
    material = key.cipher + key.mac
    return SealingKey.from_bytes(derive(material, b"", LABEL_LINK_NEXT, SEALING_KEY_BYTES))


@frozen
class RoomKey:
    """K, the key of a sealed room (PROTOCOL 6.10). The server never has it."""

    secret: bytes = field(shown=False)

    @classmethod
    def fresh(cls, random_bytes: RandomBytes) -> "RoomKey":
        """For a room that nobody is in yet."""
        return cls(random_bytes(ROOM_KEY_BYTES))

    def at(self, server_digest: bytes) -> "SealedRoom":
        """The room of this key at the server whose key has this SHA-256."""
        return SealedRoom(
            self,
            derive(self.secret, server_digest, LABEL_TAG, ROOM_TAG_BYTES),
            derive(self.secret, b"", LABEL_MEMBER, _HASH_BYTES),
        )


@frozen
class SealedRoom:
    """A sealed room at one server. `tag` is by what the server knows it: nothing about K follows
    from it, and two servers cannot compare theirs."""

    key: RoomKey
    tag: bytes
    _proof_key: bytes = field(shown=False)

    def proof(self, name: str, fingerprint: bytes, share: bytes, caller: bool) -> bytes:
        """What only somebody who has the room key can say of a member: 16 bytes of HMAC-SHA-256.
        So the server can neither invent a member nor put another key or share under a name."""
        name_bytes = name.encode()
        covered = b"".join(
            (
                self.tag,
                len(name_bytes).to_bytes(2, "big"),
                name_bytes,
                fingerprint,
                share,
                bytes((caller,)),
            )
        )
        return hmac.digest(self._proof_key, covered, "sha256")[:PROOF_BYTES]

    def has_proved(
        self, name: str, fingerprint: bytes, share: bytes, caller: bool, proof: bytes
    ) -> bool:
        """Whether this is that proof."""
        return hmac.compare_digest(proof, self.proof(name, fingerprint, share, caller))


def direct_key(
    share: KeyShare, peer: bytes, room_key: RoomKey | None, *, sending: bool
) -> SealingKey:
    """For private messages of ours to the member with the share `peer`, or of that member to us. In
    a sealed room nobody can derive it who has not the room key.

    Raises:
        ProtocolError: the peer's share cannot be used.
    """
    material = share.agree(peer) + (b"" if room_key is None else room_key.secret)
    pair = share.public + peer if sending else peer + share.public
    salt = hashlib.sha256(pair).digest()
    return SealingKey.from_bytes(derive(material, salt, LABEL_DIRECT, SEALING_KEY_BYTES))


@frozen
class RoomSecret:
    """The secret of one epoch of the room (PROTOCOL 6.1)."""

    secret: bytes = field(shown=False)

    @classmethod
    def fresh(cls, random_bytes: RandomBytes) -> "RoomSecret":
        """For the first epoch, and after a leave."""
        return cls(random_bytes(ROOM_SECRET_BYTES))

    def step(self) -> "RoomSecret":
        """For the epoch after a join. A member that has the new secret cannot compute this one."""
        return RoomSecret(derive(self.secret, b"", LABEL_ROOM_STEP, ROOM_SECRET_BYTES))

    def event_key(self) -> SealingKey:
        """For what the server tells. It is the server's, in a sealed room, too."""
        return self._key(LABEL_ROOM_EVENT)

    def message_key(self, room_key: RoomKey | None = None) -> SealingKey:
        """For what members say. In a sealed room the server cannot derive it."""
        if room_key is None:
            return self._key(LABEL_ROOM_MESSAGE)
        return self._key(LABEL_SEALED_MESSAGE, room_key.secret)

    def repeat_key(self, room_key: RoomKey | None = None) -> SealingKey:
        """For what is repeated in a new room. It opens nothing that is in this room's log."""
        if room_key is None:
            return self._key(LABEL_ROOM_REPEAT)
        return self._key(LABEL_SEALED_REPEAT, room_key.secret)

    def _key(self, label: bytes, room_key: bytes = b"") -> SealingKey:
        return SealingKey.from_bytes(derive(self.secret + room_key, b"", label, SEALING_KEY_BYTES))


def derive(material: bytes, salt: bytes, label: bytes, size: int) -> bytes:
    """HKDF-SHA-256 (RFC 5869); `size` is at most 255 times 32 bytes. These are the RFC's own lines
    over `hmac.digest`: the library's function takes several times as long, and a join derives four
    keys."""
    key = hmac.digest(salt, material, "sha256")
    derived = block = b""
    for number in range(1, -(-size // _HASH_BYTES) + 1):
        block = hmac.digest(key, block + label + bytes((number,)), "sha256")
        derived += block
    return derived[:size]
