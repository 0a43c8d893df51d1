"""Sealing: the published vectors, and everything that must not open."""

import hashlib
import hmac

import pytest
from Cryptodome.Cipher import AES
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.cipher import (
    IV_BYTES,
    MIN_SEALED_BYTES,
    SEALING_KEY_BYTES,
    TAG_BYTES,
    LinkCipher,
    SealingKey,
    pad,
    padded_bytes,
    sealed_bytes,
    unpad,
)
from chat.errors import OpenError
from chat.limits import MAX_FRAME_BYTES, MIN_PADDED_BYTES
from tests.support.helpers import FixedBytes

thoroughly = settings(max_examples=100, deadline=None, derandomize=True)

MATERIAL = bytes(range(SEALING_KEY_BYTES))
KEY = SealingKey.from_bytes(MATERIAL)
OTHER_KEY = SealingKey.from_bytes(bytes(range(1, SEALING_KEY_BYTES + 1)))
ASSOCIATED, PLAINTEXT = b"the header", b"Hello Ira"
SEALED = KEY.seal(ASSOCIATED, PLAINTEXT, FixedBytes("iv"))


def flips_of(data: bytes) -> list[bytes]:
    """`data` with each of its bits flipped, one at a time."""
    number = int.from_bytes(data, "big")
    return [(number ^ 1 << bit).to_bytes(len(data), "big") for bit in range(8 * len(data))]


def assert_does_not_open(key: SealingKey, associated: bytes, sealed: bytes) -> None:
    with pytest.raises(OpenError, match=r"^a sealed frame does not open$"):
        key.open(associated, sealed)


# -- published vectors -------------------------------------------------------------------------

# NIST SP 800-38A, F.3.17 and F.3.18: CFB128-AES256.
CFB_KEY = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
CFB_IV = "000102030405060708090a0b0c0d0e0f"
CFB_PLAINTEXT = (
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
CFB_CIPHERTEXT = (
    "dc7e84bfda79164b7ecd8486985d386039ffed143b28b1c832113c6331e5407b"
    "df10132415e54b92a13ed0a8267ae2f975a385741ab9cef82031623d55b1e471"
)


def test_ciphertext_is_that_of_nist_for_aes_256_in_cfb128_mode() -> None:
    key = SealingKey(cipher=bytes.fromhex(CFB_KEY), mac=bytes(32))
    iv, plaintext = bytes.fromhex(CFB_IV), bytes.fromhex(CFB_PLAINTEXT)
    sealed = key.seal(b"", plaintext, lambda size: iv[:size])
    # The padding comes behind the vector, and in this mode changes nothing before it.
    assert sealed[: IV_BYTES + len(plaintext)].hex() == CFB_IV + CFB_CIPHERTEXT
    # The keystream of each block of padding is the block before it, enciphered.
    enciphered = AES.new(key.cipher, AES.MODE_ECB).encrypt
    first = enciphered(bytes.fromhex(CFB_CIPHERTEXT)[-16:])
    first = bytes((first[0] ^ 0x80,)) + first[1:]
    padding = first + enciphered(first)
    covered = bytes(8) + bytes.fromhex(CFB_IV + CFB_CIPHERTEXT) + padding
    assert key.open(b"", covered[8:] + hmac_sha_256_128(key.mac, covered)) == plaintext


def hmac_sha_256_128(key: bytes, data: bytes) -> bytes:
    """RFC 2104 and RFC 4868 as they are written, for keys of at most a block."""
    inner, outer = (bytes(byte ^ pad for byte in key.ljust(64, b"\0")) for pad in (0x36, 0x5C))
    return hashlib.sha256(outer + hashlib.sha256(inner + data).digest()).digest()[:16]


# RFC 4868, 2.7.2.1: test cases AUTH256-1 to AUTH256-4.
HMAC_VECTORS = [
    (b"\x0b" * 32, b"Hi There", "198a607eb44bfbc69903a0f1cf2bbdc5"),
    (b"Jefe" * 8, b"what do ya want for nothing?", "167f928588c5cc2eef8e3093caa0e87c"),
    (b"\xaa" * 32, b"\xdd" * 50, "cdcb1220d1ecccea91e53aba3092f962"),
    (bytes(range(1, 33)), b"\xcd" * 50, "372efcf9b40b35c2115b1346903d2ef4"),
]


@pytest.mark.parametrize(("mac_key", "data", "tag"), HMAC_VECTORS)
def test_tag_is_that_of_rfc_4868_over_all_that_is_bound(
    mac_key: bytes, data: bytes, tag: str
) -> None:
    assert hmac_sha_256_128(mac_key, data).hex() == tag
    sealed = SealingKey(bytes(32), mac_key).seal(data, b"", FixedBytes("iv"))
    covered = len(data).to_bytes(8, "big") + data + sealed[:-TAG_BYTES]
    assert sealed[-TAG_BYTES:] == hmac_sha_256_128(mac_key, covered)


# -- padding -----------------------------------------------------------------------------------


def padme(size: int) -> int:
    """The next number that, as a float, has no more significand than exponent bits (PETS 2019)."""
    exponent = len(f"{size:b}") - 1
    significant = len(f"{exponent:b}") + 1
    while set(f"{size:b}"[significant:]) - {"0"}:
        size += 1
    return size


def test_padded_length_is_that_of_the_padme_paper() -> None:
    assert {padded_bytes(size) for size in range(MIN_PADDED_BYTES)} == {MIN_PADDED_BYTES}
    for size in (*range(MIN_PADDED_BYTES, 2100), 4095, 4097, 9001, 16_393, 33_333, 65_000):
        assert padded_bytes(size) == padme(size) <= 1.12 * size
    assert len({padded_bytes(size) for size in range(MAX_FRAME_BYTES)}) < 150


@pytest.mark.parametrize(
    "padded",
    [
        b"",
        b"\0" * MIN_PADDED_BYTES,
        b"\x80",
        b"\x81".ljust(MIN_PADDED_BYTES, b"\0"),
        b"text without a mark".ljust(MIN_PADDED_BYTES, b"\0"),
        *(b"text\x80".ljust(MIN_PADDED_BYTES + more, b"\0") for more in (-1, 8, MIN_PADDED_BYTES)),
        b"x" * MIN_PADDED_BYTES + b"\x80".ljust(9, b"\0"),
        pad(b"text") + b"\0",
        pad(b"x" * MIN_PADDED_BYTES)[:-1],
        b"\x80".ljust(MIN_PADDED_BYTES, b"x"),
    ],
)
def test_padding_that_is_not_the_one_of_its_text_does_not_open(padded: bytes) -> None:
    def seal(content: bytes) -> bytes:
        aes = AES.new(KEY.cipher, AES.MODE_CFB, iv=bytes(IV_BYTES), segment_size=128)
        covered = bytes(IV_BYTES) + aes.encrypt(content)
        return covered + hmac_sha_256_128(KEY.mac, bytes(8) + covered)

    with pytest.raises(OpenError):
        unpad(padded)
    # Nor where the tag around it is right.
    assert KEY.open(b"", seal(pad(b"as it should be"))) == b"as it should be"
    assert_does_not_open(KEY, b"", seal(padded))


# -- sealing -----------------------------------------------------------------------------------

looks_like_padding = st.lists(st.sampled_from([b"\x80", b"\0"]), max_size=130).map(b"".join)


@thoroughly
@given(st.binary(max_size=64), st.binary(max_size=2000) | looks_like_padding, st.text(max_size=3))
def test_sealed_plaintext_opens_again(associated: bytes, plaintext: bytes, seed: str) -> None:
    sealed = KEY.seal(associated, plaintext, FixedBytes(seed))
    assert KEY.open(associated, sealed) == plaintext == unpad(pad(plaintext))


def test_sealed_size_is_known_before_sealing_and_the_same_for_all_that_is_short() -> None:
    sizes = [len(KEY.seal(b"", bytes(size), FixedBytes("iv"))) for size in range(300)]
    assert sizes == [sealed_bytes(size) for size in range(300)]
    assert sizes.count(MIN_SEALED_BYTES) == MIN_PADDED_BYTES == sizes.index(sizes[96])


def test_each_sealing_takes_an_iv_and_nothing_else_at_random() -> None:
    ivs = [b"\x07" * IV_BYTES, b"\x08" * IV_BYTES]
    left = list(ivs)

    def random_bytes(size: int) -> bytes:
        assert size == IV_BYTES
        return left.pop(0)

    one, other = (KEY.seal(ASSOCIATED, PLAINTEXT, random_bytes) for _ in range(2))
    assert [one[:IV_BYTES], other[:IV_BYTES]] == ivs
    assert one[IV_BYTES:-TAG_BYTES] != other[IV_BYTES:-TAG_BYTES]
    assert one[-TAG_BYTES:] != other[-TAG_BYTES:]


def test_every_flipped_bit_keeps_it_shut() -> None:
    for flipped in flips_of(SEALED):
        assert_does_not_open(KEY, ASSOCIATED, flipped)
    for flipped in flips_of(ASSOCIATED):
        assert_does_not_open(KEY, flipped, SEALED)
    for flipped in flips_of(KEY.mac):
        assert_does_not_open(SealingKey(KEY.cipher, flipped), ASSOCIATED, SEALED)


@pytest.mark.parametrize("size", [0, 70, 71, 72, 73, 500])
def test_sealed_bytes_that_were_cut_extended_or_moved_do_not_open(size: int) -> None:
    sealed = KEY.seal(ASSOCIATED, b"x" * size, FixedBytes("iv"))
    for end in range(len(sealed)):
        assert_does_not_open(KEY, ASSOCIATED, sealed[:end])
        assert_does_not_open(KEY, ASSOCIATED, sealed[end + 1 :])
    for more in (b"\0", b"\x80", b"\0" * 16, bytes(range(64))):
        for at in (0, IV_BYTES, len(sealed) - TAG_BYTES, len(sealed)):
            assert_does_not_open(KEY, ASSOCIATED, sealed[:at] + more + sealed[at:])
    whole = ASSOCIATED + sealed
    for border in {*range(len(whole))} - {len(ASSOCIATED)}:
        assert_does_not_open(KEY, whole[:border], whole[border:])


def test_key_is_two_halves_that_are_not_interchangeable() -> None:
    assert (KEY.cipher, KEY.mac) == (MATERIAL[:32], MATERIAL[32:])
    swapped = SealingKey(cipher=KEY.mac, mac=KEY.cipher)
    assert_does_not_open(swapped, ASSOCIATED, SEALED)
    assert swapped.seal(ASSOCIATED, PLAINTEXT, FixedBytes("iv")) != SEALED
    for size in (0, 32, 63, 65):
        with pytest.raises(AssertionError):
            SealingKey.from_bytes(bytes(size))


def test_tag_is_compared_in_constant_time_before_anything_is_deciphered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    aes_of, compare = SealingKey._aes, hmac.compare_digest

    def recording_aes(key: SealingKey, iv: bytes) -> object:
        done.append("decipher")
        return aes_of(key, iv)

    def recording_compare(one: bytes, other: bytes) -> bool:
        done.append(f"compare {len(one)} bytes")
        return compare(one, other)

    monkeypatch.setattr(SealingKey, "_aes", recording_aes)
    monkeypatch.setattr(hmac, "compare_digest", recording_compare)
    assert_does_not_open(KEY, ASSOCIATED, SEALED[:-1] + bytes((SEALED[-1] ^ 1,)))
    assert KEY.open(ASSOCIATED, SEALED) == PLAINTEXT
    assert done == ["compare 16 bytes", "compare 16 bytes", "decipher"]


# -- the link ----------------------------------------------------------------------------------

TYPE, OTHER_TYPE = 0x10, 0x02


def ends() -> tuple[LinkCipher, LinkCipher]:
    """The two ends of a link."""
    return LinkCipher(KEY, OTHER_KEY), LinkCipher(OTHER_KEY, KEY)


def type_of(number: int) -> int:
    """Every other frame is of another type."""
    return OTHER_TYPE if number % 2 else TYPE


def seal_some(end: LinkCipher, *texts: bytes) -> list[bytes]:
    return [end.seal(type_of(n), text, FixedBytes("link")) for n, text in enumerate(texts)]


def test_frame_is_bound_to_its_type_and_to_a_counter_that_starts_at_zero() -> None:
    client, _ = ends()
    for counter, sealed in enumerate(seal_some(client, b"a", b"", b"c")):
        associated = bytes((type_of(counter),)) + counter.to_bytes(8, "big")
        assert KEY.open(associated, sealed) == (b"a", b"", b"c")[counter]


@thoroughly
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.booleans()), max_size=30))
def test_only_the_next_frame_of_each_direction_opens_whatever_is_tried(
    tries: list[tuple[bool, int, bool]],
) -> None:
    """Replays, frames ahead of their turn, of another type and turned back to their sender do not
    open, and count for nothing."""
    both = ends()
    frames = [seal_some(end, *(b"%d" % number for number in range(5))) for end in both]
    opened = [0, 0]
    for sender, number, right_type in tries:
        receiver, sealed = both[not sender], frames[sender][number]
        if right_type and number == opened[sender]:
            assert receiver.open(type_of(number), sealed) == b"%d" % number
            opened[sender] += 1
            continue
        with pytest.raises(OpenError):
            receiver.open(type_of(number + (not right_type)), sealed)
        with pytest.raises(OpenError):
            both[sender].open(type_of(number), sealed)


@thoroughly
@given(st.lists(st.tuples(st.integers(0, 200), st.booleans(), st.booleans()), max_size=12))
def test_frames_of_any_size_open_one_behind_the_other_also_after_a_rest_and_a_bad_one(
    frames: list[tuple[int, bool, bool]],
) -> None:
    client, server = ends()
    sealed = seal_some(client, *(bytes(range(size)) for size, _, _ in frames))
    for number, (size, rests, bad) in enumerate(frames):
        if rests:
            server.rest()
        if bad:
            with pytest.raises(OpenError):
                server.open(type_of(number), sealed[number][:-1] + b"x")
        assert server.open(type_of(number), sealed[number]) == bytes(range(size))


def test_cipher_object_is_made_for_the_second_frame_and_after_a_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, server = ends()
    sealed = seal_some(client, *[b"text"] * 6)
    made: list[bytes] = []
    aes = SealingKey._aes

    def recording_aes(key: SealingKey, iv: bytes) -> object:
        made.append(iv)
        return aes(key, iv)

    monkeypatch.setattr(SealingKey, "_aes", recording_aes)
    counts = []
    for number, frame in enumerate(sealed):
        server.open(type_of(number), frame)
        counts.append(len(made))
        if number == 3:
            server.rest()
    assert counts == [1, 2, 2, 2, 3, 3]


# -- many at once ------------------------------------------------------------------------------

pairs = st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=300)), max_size=8)


@thoroughly
@given(pairs, st.text(max_size=3))
def test_what_was_sealed_at_once_opens_one_by_one_and_at_once(
    said: list[tuple[bytes, bytes]], seed: str
) -> None:
    sealed = KEY.seal_all(said, FixedBytes(seed))
    assert [len(each) for each in sealed] == [sealed_bytes(len(text)) for _, text in said]
    bound = [(associated, each) for (associated, _), each in zip(said, sealed, strict=True)]
    texts = [text for _, text in said]
    assert [KEY.open(*each) for each in bound] == KEY.open_all(bound) == texts
    assert OTHER_KEY.open_all(bound) == [None] * len(bound)


def test_one_that_is_sealed_at_once_with_no_other_is_sealed_as_alone() -> None:
    assert KEY.seal_all([(ASSOCIATED, PLAINTEXT)], FixedBytes("iv")) == [SEALED]


def test_each_of_those_sealed_at_once_has_an_iv_that_its_random_bytes_do_not_tell() -> None:
    source = FixedBytes("iv")
    ivs = [each[:IV_BYTES] for each in KEY.seal_all([(b"", b"the same")] * 20, source)]
    random_bytes = FixedBytes("iv")(20 * IV_BYTES)
    taken = {random_bytes[at : at + IV_BYTES] for at in range(0, len(random_bytes), IV_BYTES)}
    assert len(set(ivs)) == 20
    assert taken & set(ivs) == {ivs[0]}


@pytest.mark.parametrize("size", [0, 70, 73, 80, 500])
def test_one_that_does_not_open_keeps_none_of_the_others_shut(size: int) -> None:
    sealed = KEY.seal_all([(ASSOCIATED, b"x" * size)] * 5, FixedBytes("iv"))
    opened: list[bytes | None] = [b"x" * size] * 5
    bad_padding = KEY.seal(ASSOCIATED, b"", FixedBytes("iv"))[:IV_BYTES] + b"x" * (size + 64)
    covered = len(ASSOCIATED).to_bytes(8, "big") + ASSOCIATED + bad_padding
    for wrong in (
        sealed[0][:-1],
        sealed[0][:-1] + bytes((sealed[0][-1] ^ 1,)),
        b"",
        b"x" * 40,
        bad_padding + hmac_sha_256_128(KEY.mac, covered),
    ):
        assert_does_not_open(KEY, ASSOCIATED, wrong)
        for at in range(len(sealed) + 1):
            mixed = [*sealed[:at], wrong, *sealed[at:]]
            expected = [*opened[:at], None, *opened[at:]]
            assert KEY.open_all([(ASSOCIATED, each) for each in mixed]) == expected
