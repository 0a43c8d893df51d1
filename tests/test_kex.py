"""Key exchange: published vectors, keys that are refused, the signed share.

The key schedule is done by hand in `test_vectors.py`.
"""

import hashlib
import hmac
import os
from pathlib import Path
from typing import Any

import pytest
from Cryptodome.Cipher import PKCS1_OAEP, PKCS1_v1_5
from Cryptodome.Hash import SHA1, SHA256
from Cryptodome.PublicKey import RSA
from Cryptodome.Signature import pkcs1_15, pss
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chat.cipher import LinkCipher, SealingKey
from chat.errors import ClockError, OpenError, ProtocolError
from chat.kex import (
    LABEL_SHARE,
    KeyShare,
    LinkKeys,
    PrivateKey,
    PublicKey,
    RoomKey,
    RoomSecret,
    SignedShare,
    check_offer,
    check_strength,
    derive,
    direct_key,
)
from chat.limits import SHARE_RENEW_SECONDS, SHARE_SECONDS, SHARE_SKEW_SECONDS, X25519_BYTES
from chat.text import fingerprint_of
from tests.support import cheap_keys
from tests.support.helpers import (
    WALL_CLOCK,
    FixedBytes,
    key,
    needs_openssl,
    needs_ssh_keygen,
    offer,
    output_of,
)

thoroughly = settings(max_examples=150, deadline=None, derandomize=True)


def flip(data: bytes, bit: int) -> bytes:
    return (int.from_bytes(data, "big") ^ 1 << bit).to_bytes(len(data), "big")


# -- rooms -------------------------------------------------------------------------------------


def test_tag_of_a_room_depends_on_its_key_and_on_the_server_and_shows_neither() -> None:
    room_key, digest = bytes(range(32)), bytes(range(32, 64))
    tag = RoomKey(room_key).at(digest).tag
    assert tag.hex() == "5a09cf19fadc592000974ac21363696c"
    # RFC 5869 in its own words: extract with the salt, then expand by one block.
    secret = hmac.digest(digest, room_key, "sha256")
    assert tag == hmac.digest(secret, b"chat/1 room tag\x01", "sha256")[:16]


# -- HKDF (RFC 5869) ---------------------------------------------------------------------------

# RFC 5869, A.1 to A.3: the test cases for SHA-256.
HKDF_VECTORS = [
    (
        b"\x0b" * 22,
        bytes(range(13)),
        bytes(range(0xF0, 0xFA)),
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)),
        bytes(range(0x60, 0xB0)),
        bytes(range(0xB0, 0x100)),
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
        "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
        "cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    (
        b"\x0b" * 22,
        b"",
        b"",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


@pytest.mark.parametrize(("material", "salt", "info", "derived"), HKDF_VECTORS)
def test_derivation_is_that_of_rfc_5869(
    material: bytes, salt: bytes, info: bytes, derived: str
) -> None:
    assert derive(material, salt, info, len(derived) // 2).hex() == derived
    # What simulations take in its place.
    assert cheap_keys.derive(material, salt, info, len(derived) // 2).hex() == derived


# -- X25519 (RFC 7748) -------------------------------------------------------------------------


def own(private: bytes) -> KeyShare:
    """The share with this private key."""
    return KeyShare(lambda size: private[:size])


OURS = KeyShare(FixedBytes("one"))


# RFC 7748, 5.2. The last byte of the second coordinate has a bit that is to be ignored.
X25519_VECTORS = [
    (
        "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
        "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
    ),
    (
        "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
        "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
        "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
    ),
    (
        "09".ljust(64, "0"),
        "09".ljust(64, "0"),
        "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079",
    ),
]


@pytest.mark.parametrize(("scalar", "coordinate", "product"), X25519_VECTORS)
def test_agreement_is_that_of_rfc_7748(scalar: str, coordinate: str, product: str) -> None:
    assert own(bytes.fromhex(scalar)).agree(bytes.fromhex(coordinate)).hex() == product


# RFC 7748, 6.1.
ALICE = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
ALICE_PUBLIC = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
BOB = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
BOB_PUBLIC = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
AGREED = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


def test_both_ends_of_rfc_7748_agree() -> None:
    alice, bob = own(bytes.fromhex(ALICE)), own(bytes.fromhex(BOB))
    assert (alice.public.hex(), bob.public.hex()) == (ALICE_PUBLIC, BOB_PUBLIC)
    assert alice.agree(bob.public).hex() == bob.agree(alice.public).hex() == AGREED


LOW_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]
"""Every coordinate of low order: those of order 1, 2, 4 and 8, and two of them plus the prime."""


@pytest.mark.parametrize("top_bit", [0, 0x80], ids=["as_it_is", "with_the_ignored_bit"])
@pytest.mark.parametrize("coordinate", LOW_ORDER)
def test_share_of_low_order_is_refused(coordinate: str, top_bit: int) -> None:
    share = bytearray.fromhex(coordinate)
    share[-1] |= top_bit
    with pytest.raises(ProtocolError, match="X25519 share cannot be used"):
        OURS.agree(bytes(share))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.binary(max_size=40) | st.binary(min_size=X25519_BYTES, max_size=X25519_BYTES))
@example(b"\x09" * (X25519_BYTES - 1))
@example(b"\x09" * (X25519_BYTES + 1))
def test_any_share_gives_a_secret_or_is_refused(share: bytes) -> None:
    try:
        secret = OURS.agree(share)
    except ProtocolError:
        return
    assert len(secret) == len(share) == X25519_BYTES
    assert any(secret)


# -- RSA public keys ---------------------------------------------------------------------------


def mpint(number: int) -> bytes:
    """A positive integer as in RFC 4251, 5."""
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big"))


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def blob_of(n: int, e: int = 65_537, kind: bytes = b"ssh-rsa") -> bytes:
    return string(kind) + mpint(e) + mpint(n)


def odd_number(bits: int) -> int:
    """Something that could be a modulus, as far as anybody can see."""
    number = 3 << bits - 2 | int.from_bytes(FixedBytes("modulus")(bits // 8 - 1), "big") | 1
    assert number.bit_length() == bits
    return number


N, E = key("ira").rsa.n, key("ira").rsa.e
RAW_N, RAW_E = N.to_bytes(N.bit_length() // 8 + 1, "big"), E.to_bytes(3, "big")
BLOB = key("ira").public.blob


def test_blob_is_that_of_rfc_4253() -> None:
    assert blob_of(N, E) == BLOB
    assert PublicKey(BLOB).rsa() == key("ira").rsa.public_key()
    assert PublicKey.from_rsa(PublicKey(BLOB).rsa()) == key("ira").public
    assert not key("ira").public.rsa().has_private()


@pytest.mark.parametrize("bits", [2048, 2049, 3072, 4096])
def test_key_of_a_size_in_between_is_taken(bits: int) -> None:
    assert PublicKey(blob_of(odd_number(bits))).rsa().size_in_bits() == bits


@pytest.mark.parametrize("bits", [16, 1024, 2047, 4097, 16_384])
def test_key_that_is_too_small_or_too_large_is_refused(bits: int) -> None:
    n = odd_number(bits) if bits % 8 == 0 else odd_number(bits + 1) >> 1 | 1
    with pytest.raises(ProtocolError, match=f"^an RSA key of {n.bit_length()} bits is not taken"):
        PublicKey(blob_of(n, 65_537 if bits > 16 else 257)).rsa()


@pytest.mark.parametrize("exponent", [3, 257, 65_539, (1 << 32) + 15, N - 2])
def test_key_with_another_exponent_is_refused(exponent: int) -> None:
    with pytest.raises(ProtocolError, match=r"^an RSA key with another exponent than 65537 is not"):
        PublicKey(blob_of(N, exponent)).rsa()


NOT_CANONICAL = {
    "zero before the modulus": string(b"ssh-rsa") + mpint(E) + string(b"\0" + RAW_N),
    "zero before the exponent": string(b"ssh-rsa") + string(b"\0" + RAW_E) + mpint(N),
    "modulus without its sign byte": string(b"ssh-rsa") + mpint(E) + string(RAW_N[1:]),
    "left-over byte": BLOB + b"\0",
    "left-over bytes": BLOB + bytes(4),
    "left-over string": BLOB + string(b"comment"),
    "type of another key": blob_of(N, E, b"ssh-dss"),
    "type of a signature": blob_of(N, E, b"rsa-sha2-256"),
    "type in capitals": blob_of(N, E, b"SSH-RSA"),
    "no type": string(b"") + mpint(E) + mpint(N),
    "modulus before exponent": string(b"ssh-rsa") + mpint(N) + mpint(E),
    "certificate": string(b"ssh-rsa-cert-v01@openssh.com") + BLOB[11:],
    "length too great by one": BLOB[: -len(RAW_N) - 1] + bytes((len(RAW_N) % 256 + 1,)) + RAW_N,
}


NO_KEY = {
    "nothing": b"",
    "type alone": string(b"ssh-rsa"),
    "no modulus": string(b"ssh-rsa") + mpint(E),
    "all zero": string(b"ssh-rsa") + string(b"\0") + string(b"\0"),
    "empty numbers": string(b"ssh-rsa") + string(b"") + string(b""),
    "exponent 1": blob_of(N, 1),
    "exponent 0": blob_of(N, 0),
    "exponent greater than the modulus": blob_of(N, N + 2),
    "even modulus": blob_of(N - 1),
    "modulus that the exponent divides": blob_of(E * odd_number(2040)),
    "length beyond the end": b"\xff\xff\xff\xff" + BLOB,
    "key of an elliptic curve": string(b"ssh-ed25519") + string(bytes(32)),
    "PEM": key("ira").rsa.public_key().export_key(),
    "DER": key("ira").rsa.public_key().export_key("DER"),
    "line of authorized_keys": key("ira").public.openssh.encode(),
}


@pytest.mark.parametrize("blob", (NOT_CANONICAL | NO_KEY).values(), ids=NOT_CANONICAL | NO_KEY)
def test_bytes_that_are_no_key_in_its_one_encoding_are_refused(blob: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"^the public key (cannot be read|is not in its)"):
        PublicKey(blob).rsa()


def test_key_that_was_cut_is_refused_wherever() -> None:
    for end in range(len(BLOB)):
        with pytest.raises(ProtocolError):
            PublicKey(BLOB[:end]).rsa()


strings = st.lists(st.binary(max_size=300), max_size=5).map(
    lambda parts: b"".join(map(string, parts))
)
tampered = st.builds(
    lambda at, removed, added: BLOB[:at] + added + BLOB[at + removed :],
    st.integers(0, len(BLOB)),
    st.integers(0, 6),
    st.binary(max_size=6),
)


@thoroughly
@given(st.binary(max_size=600) | strings | strings.map(string(b"ssh-rsa").__add__) | tampered)
@example(b"\0\0\0\x01")
def test_any_bytes_are_the_one_encoding_of_a_key_or_refused(blob: bytes) -> None:
    try:
        rsa = PublicKey(blob).rsa()
    except ProtocolError:
        with pytest.raises(ProtocolError):
            wrapped_for(PublicKey(blob))
    else:
        assert blob_of(int(rsa.n), int(rsa.e)) == blob


@needs_ssh_keygen
@pytest.mark.parametrize("name", ["ira", "sahnawaz", "server", "other"])
def test_fingerprint_is_what_ssh_keygen_prints(name: str, tmp_path: Path) -> None:
    public = key(name).public
    path = tmp_path / "key.pub"
    path.write_text(f"{public.openssh} {name}@example\n")
    bits, fingerprint, comment, kind = output_of("ssh-keygen", "-lf", path).decode().split()
    assert fingerprint == public.fingerprint == fingerprint_of(public.digest)
    assert (bits, comment, kind) == (str(key(name).rsa.size_in_bits()), f"{name}@example", "(RSA)")


# -- RSA pairs ---------------------------------------------------------------------------------


def test_pair_comes_of_the_randomness_given_which_is_asked_for_again_and_again() -> None:
    """A client turns its spinner meanwhile."""
    sizes = []

    def random_bytes(size: int) -> bytes:
        sizes.append(size)
        return os.urandom(size)

    made = PrivateKey.generate(2048, random_bytes)
    assert (made.rsa.size_in_bits(), made.rsa.e) == (2048, 65_537)
    assert made.public.rsa() == made.rsa.public_key()
    assert len(sizes) > 10
    assert sum(sizes) >= 2048 // 8


@pytest.mark.parametrize(
    ("n", "e", "complaint"),
    [
        (odd_number(1024), 65_537, "of 1024 bits"),
        (odd_number(4104), 65_537, "of 4104 bits"),
        (N, 3, "another exponent"),
    ],
)
def test_weak_key_is_refused_in_every_role(n: int, e: int, complaint: str) -> None:
    weak = RSA.construct((n, e))
    with pytest.raises(ProtocolError, match=complaint):
        check_strength(weak)
    with pytest.raises(ProtocolError, match=complaint):
        PrivateKey.from_rsa(weak)
    with pytest.raises(ProtocolError, match=complaint):
        wrapped_for(PublicKey.from_rsa(weak))
    with pytest.raises(ProtocolError, match=complaint):
        check_offer(bytes(32), int(WALL_CLOCK), bytes(256), PublicKey.from_rsa(weak), WALL_CLOCK)


# -- the wrapped session key -------------------------------------------------------------------

SESSION_KEY = bytes(range(32))
IRA = key("ira").public


def wrapped_for(public: PublicKey, session_key: bytes = SESSION_KEY) -> bytes:
    return public.wrap(session_key, FixedBytes("wrap"))


def test_wrapped_session_key_is_unwrapped_by_its_owner_alone() -> None:
    assert key("ira").unwrap(wrapped_for(IRA)) == SESSION_KEY
    with pytest.raises(OpenError):
        key("sahnawaz").unwrap(wrapped_for(IRA))


@pytest.mark.parametrize("bits", [2048, 2049, 3072, 4096])
def test_wrapping_and_the_power_in_it_are_the_library_s_to_the_byte(bits: int) -> None:
    public = PublicKey(blob_of(odd_number(bits)))
    theirs: Any = RSA.import_key(public.openssh)
    ours: Any = public.rsa()
    oaep = PKCS1_OAEP.new(theirs, hashAlgo=SHA256, randfunc=FixedBytes("wrap"))
    assert wrapped_for(public) == oaep.encrypt(SESSION_KEY)
    assert (ours.n, ours.e, ours) == (theirs.n, theirs.e, theirs)
    for number in (0, 1, 2, theirs.n // 3, theirs.n - 1):
        assert ours._encrypt(number) == theirs._encrypt(number)
    for number in (-1, theirs.n, theirs.n + 1):
        with pytest.raises(ValueError, match="modulus"):
            ours._encrypt(number)


WRAPPED = wrapped_for(IRA)
NOT_WRAPPED = {
    **{f"bit {bit} flipped": flip(WRAPPED, bit) for bit in (0, 1, 7, 8, 1000, 2040, 2047)},
    **{f"key of {size} bytes": wrapped_for(IRA, bytes(size)) for size in (0, 16, 31, 33, 64)},
    "nothing": b"",
    "a byte less": WRAPPED[:-1],
    "a byte more": WRAPPED + b"\0",
    "a byte before": b"\0" + WRAPPED,
    "zeros": bytes(len(WRAPPED)),
    "the modulus": RAW_N[1:],
    "with SHA-1": PKCS1_OAEP.new(IRA.rsa(), hashAlgo=SHA1).encrypt(SESSION_KEY),
    "with a label": PKCS1_OAEP.new(IRA.rsa(), hashAlgo=SHA256, label=b"x").encrypt(SESSION_KEY),
    "PKCS 1 of old": PKCS1_v1_5.new(IRA.rsa()).encrypt(SESSION_KEY),
}


@pytest.mark.parametrize("wrapped", NOT_WRAPPED.values(), ids=NOT_WRAPPED)
def test_bytes_that_nobody_wrapped_so_do_not_open(wrapped: bytes) -> None:
    with pytest.raises(OpenError):
        key("ira").unwrap(wrapped)


@needs_openssl
def test_session_key_wrapped_by_openssl_is_unwrapped(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(key("ira").public.rsa().export_key())
    options = ("rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256")
    command = ["openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", str(path)]
    for option in options:
        command += ["-pkeyopt", option]
    assert key("ira").unwrap(output_of(*command, given_input=SESSION_KEY)) == SESSION_KEY


# -- the signed share --------------------------------------------------------------------------


Signed = tuple[bytes, int, bytes, PublicKey]
"""A share, until when it counts, the signature of both, and whose it is said to be."""

GOOD: Signed = (offer().share.public, offer().not_after, offer().signature, key("server").public)


def forgeries() -> dict[str, Signed]:
    """Offers that the server did not sign."""
    share, not_after, signature, public = GOOD
    rsa, signed = key("server").rsa, share + not_after.to_bytes(8, "big")
    digest = SHA256.new(LABEL_SHARE + signed)
    labels = (b"", b"chat/2 server share", LABEL_SHARE + b"\0", LABEL_SHARE[1:])
    other = SignedShare.make(key("other"), WALL_CLOCK, FixedBytes("offer"))
    assert other.share.public == share
    signatures = {
        **{f"bit {bit}": flip(signature, bit) for bit in (0, 1, 8, 1024, 2040, 2047)},
        "nothing": b"",
        "its last byte missing": signature[:-1],
        "its first byte missing": signature[1:],
        "a byte more": signature + b"\0",
        "a byte before": b"\0" + signature,
        "by another key": other.signature,
        **{f"for {label!r}": pss.new(rsa).sign(SHA256.new(label + signed)) for label in labels},
        "PKCS 1 of old": pkcs1_15.new(rsa).sign(digest),
        "without salt": pss.new(rsa, salt_bytes=0).sign(digest),
    }
    return {
        **{f"share, bit {9 * n}": (flip(share, 8 * n + n % 8), *GOOD[1:]) for n in range(32)},
        # The share and what follows it cannot run into each other.
        "share, a byte more": (share + b"\0", *GOOD[1:]),
        "share, a byte less": (share[:-1], *GOOD[1:]),
        **{f"time, bit {n}": (share, not_after ^ 1 << n, *GOOD[2:]) for n in range(0, 64, 4)},
        **{f"signature, {what}": (share, not_after, it, public) for what, it in signatures.items()},
        "another key": (share, not_after, signature, key("other").public),
    }


FORGERIES = forgeries()


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_offer_that_the_server_did_not_sign_is_refused(forgery: Signed) -> None:
    with pytest.raises(ProtocolError, match=r"^the server's signature is not valid$"):
        check_offer(*forgery, WALL_CLOCK)


LAST_MOMENT = int(WALL_CLOCK) + SHARE_SECONDS + SHARE_SKEW_SECONDS


LONGEST = SHARE_SECONDS + 2 * SHARE_SKEW_SECONDS


@pytest.mark.parametrize("left", [LONGEST, SHARE_SECONDS, 0.5, 0])
def test_offer_is_accepted_by_clocks_that_differ_a_little(left: float) -> None:
    check_offer(*GOOD, LAST_MOMENT - left)


@pytest.mark.parametrize("left", [-0.001, -1, -1e12, LONGEST + 0.001, LONGEST + 1, LAST_MOMENT])
def test_offer_that_has_run_out_or_holds_for_too_long_is_refused(left: float) -> None:
    with pytest.raises(ClockError, match="not valid now") as caught:
        check_offer(*GOOD, LAST_MOMENT - left)
    assert caught.value.not_after == WALL_CLOCK + SHARE_SECONDS
    assert caught.value.now == LAST_MOMENT - left


@pytest.mark.parametrize(
    ("age", "fresh"),
    [
        (0.0, True),
        (SHARE_RENEW_SECONDS - 0.001, True),
        (SHARE_RENEW_SECONDS, False),
        (SHARE_SECONDS, False),
        (-0.001, False),
        (-SHARE_SECONDS, False),
    ],
)
def test_offer_is_fresh_for_half_its_life_by_a_clock_that_goes_forward(
    age: float, fresh: bool
) -> None:
    assert offer().is_fresh(WALL_CLOCK + age) is fresh


def test_offer_made_within_a_second_is_fresh_at_once() -> None:
    made_at = WALL_CLOCK + 0.999
    assert SignedShare.make(key("server"), made_at, FixedBytes("offer")).is_fresh(made_at)


@needs_openssl
def test_signature_of_an_offer_is_what_openssl_verifies(tmp_path: Path) -> None:
    for name, content in {
        "key.pem": key("server").public.rsa().export_key(),
        "signature": GOOD[2],
        "signed": b"chat/1 server share" + GOOD[0] + GOOD[1].to_bytes(8, "big"),
    }.items():
        (tmp_path / name).write_bytes(content)
    command = ["openssl", "dgst", "-sha256", "-verify", str(tmp_path / "key.pem")]
    for option in ("rsa_padding_mode:pss", "rsa_pss_saltlen:32", "rsa_mgf1_md:sha256"):
        command += ["-sigopt", option]
    command += ["-signature", str(tmp_path / "signature"), str(tmp_path / "signed")]
    assert output_of(*command).strip() == b"Verified OK"


# -- secrets are not shown ---------------------------------------------------------------------


def test_private_values_are_not_shown() -> None:
    private = key("ira")
    share = own(b"PRIVATE-SHARE-OF-THE-SERVER-HERE")
    sealing_key = SealingKey(b"PRIVATE", b"PRIVATE")
    values = [
        private,
        share,
        SignedShare(share, 0, b"", private.public),
        RoomSecret(b"PRIVATE"),
        sealing_key,
        LinkKeys(sealing_key, sealing_key),
        LinkCipher(sealing_key, sealing_key),
    ]
    shown = f"{values!r} {[str(value) for value in values]} {[f'{value}' for value in values]}"
    assert "PRIVATE" not in shown
    assert b"PRIVATE".hex() not in shown
    rsa = private.rsa
    for number in (rsa.d, rsa.p, rsa.q, rsa.u):
        assert str(int(number)) not in shown
        assert f"{int(number):x}" not in shown.lower()


# -- room keys ---------------------------------------------------------------------------------

ROOM_KEY = RoomKey(bytes(range(32)))
WHO = ("Ira", bytes(32), bytes(range(32)), False)


def test_room_has_another_tag_at_each_server_and_for_each_key() -> None:
    keys, servers = (ROOM_KEY, RoomKey(bytes(32))), (bytes(32), bytes(range(32)))
    assert len({room_key.at(server).tag for room_key in keys for server in servers}) == 4


@pytest.mark.parametrize(
    "other",
    [
        ("Irb", *WHO[1:]),
        ("", *WHO[1:]),
        ("Ira", bytes(range(32)), *WHO[2:]),
        (*WHO[:2], bytes(32), False),
        (*WHO[:3], True),
        # What one field loses, the next may not win.
        ("Ira\0", bytes(31), *WHO[2:]),
    ],
)
def test_proof_is_of_one_member_of_one_room(other: tuple[str, bytes, bytes, bool]) -> None:
    room = ROOM_KEY.at(bytes(32))
    proof = room.proof(*WHO)
    assert room.has_proved(*WHO, proof)
    assert not room.has_proved(*other, proof)
    assert not room.has_proved(*WHO, b"")
    assert not ROOM_KEY.at(bytes(range(32))).has_proved(*WHO, proof)
    assert not RoomKey(bytes(32)).at(bytes(32)).has_proved(*WHO, proof)


def test_server_that_knows_every_secret_has_no_key_of_a_sealed_room() -> None:
    secret = RoomSecret(bytes(range(32)))
    of_server = {secret.message_key(), secret.event_key(), secret.repeat_key()}
    of_room = {secret.message_key(ROOM_KEY), secret.repeat_key(ROOM_KEY)}
    of_other = {secret.message_key(RoomKey(bytes(32))), secret.repeat_key(RoomKey(bytes(32)))}
    assert len(of_server | of_room | of_other) == 7


def test_room_key_is_not_shown() -> None:
    room = ROOM_KEY.at(bytes(32))
    assert ROOM_KEY.secret.hex() not in repr(room) + repr(ROOM_KEY)
    assert repr(ROOM_KEY.secret) not in repr(room) + repr(ROOM_KEY)


# -- private messages ----------------------------------------------------------------------------


def test_key_of_a_pair_is_that_of_both_ends_for_one_direction_and_one_room_key() -> None:
    ira, boris = (KeyShare(FixedBytes(name)) for name in ("Ira", "Boris"))
    for room_key in (None, ROOM_KEY):
        there = direct_key(ira, boris.public, room_key, sending=True)
        assert there == direct_key(boris, ira.public, room_key, sending=False)
        back = direct_key(boris, ira.public, room_key, sending=True)
        assert back == direct_key(ira, boris.public, room_key, sending=False)
        material = ira.agree(boris.public) + (b"" if room_key is None else room_key.secret)
        salt = hashlib.sha256(ira.public + boris.public).digest()
        derived = cheap_keys.derive(material, salt, b"chat/1 direct", 64)
        assert (there.cipher + there.mac, there != back) == (derived, True)
    others = {direct_key(ira, boris.public, key, sending=True) for key in (None, ROOM_KEY)}
    assert len(others) == 2


def test_share_of_low_order_has_no_key_of_a_pair() -> None:
    with pytest.raises(ProtocolError, match="X25519 share cannot be used"):
        direct_key(OURS, bytes(X25519_BYTES), ROOM_KEY, sending=True)
