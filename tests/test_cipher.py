"""Sealing: the published vectors, and everything that must not open."""

import hashlib
import hmac
from collections.abc import Callable

import pytest
from Cryptodome.Cipher import AES
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.cipher import (
    IV_BYTES,
    MIN_SEALED_BYTES,
    OVERHEAD_BYTES,
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

KEY = SealingKey.from_bytes(bytes(range(SEALING_KEY_BYTES)))
OTHER_KEY = SealingKey.from_bytes(bytes(range(1, SEALING_KEY_BYTES + 1)))
ASSOCIATED = b"the header"
PLAINTEXT = b"Hello Ira"


def sealed_hello() -> bytes:
    return KEY.seal(ASSOCIATED, PLAINTEXT, FixedBytes("iv"))


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
    iv = bytes.fromhex(CFB_IV)
    plaintext = bytes.fromhex(CFB_PLAINTEXT)
    sealed = key.seal(b"", plaintext, lambda size: iv[:size])
    # What padding adds comes behind the vector, and in this mode changes nothing before it.
    assert sealed[:IV_BYTES] == iv
    assert sealed[IV_BYTES : IV_BYTES + len(plaintext)].hex() == CFB_CIPHERTEXT
    assert key.open(b"", sealed) == plaintext


def test_ciphertext_of_nist_is_deciphered_to_its_plaintext() -> None:
    key = SealingKey(cipher=bytes.fromhex(CFB_KEY), mac=bytes(32))
    # In this mode the keystream of the last, padded block is the block before it, enciphered.
    block = AES.new(key.cipher, AES.MODE_ECB).encrypt(bytes.fromhex(CFB_CIPHERTEXT)[-16:])
    padding = bytes(a ^ b for a, b in zip(b"\x80".ljust(8, b"\0"), block, strict=False))
    covered = bytes(8) + bytes.fromhex(CFB_IV + CFB_CIPHERTEXT) + padding
    sealed = covered[8:] + hmac_sha_256_128(key.mac, covered)
    assert key.open(b"", sealed) == bytes.fromhex(CFB_PLAINTEXT)


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
    for size in (*range(MIN_PADDED_BYTES, 2100), 4095, 4097, 9001, 16_393, 33_333, 65_000):
        assert padded_bytes(size) == padme(size)


@pytest.mark.parametrize(
    ("size", "padded"),
    [(0, 64), (63, 64), (64, 64), (65, 72), (72, 72), (73, 80), (513, 544), (16_393, 17_408)],
)
def test_padded_length_of_some_texts(size: int, padded: int) -> None:
    assert padded_bytes(size) == padded


@thoroughly
@given(st.integers(0, 1 << 20))
def test_padding_adds_little_and_leaves_few_lengths(size: int) -> None:
    padded = padded_bytes(size)
    assert max(size, MIN_PADDED_BYTES) <= padded <= max(1.12 * size, MIN_PADDED_BYTES)
    assert padded_bytes(padded) == padded
    assert padded_bytes(size + 1) >= padded


def test_lengths_that_can_be_told_apart_are_few() -> None:
    assert len({padded_bytes(size) for size in range(MAX_FRAME_BYTES)}) < 150


@thoroughly
@given(st.binary(max_size=300))
def test_unpad_gives_back_what_pad_was_given(plaintext: bytes) -> None:
    padded = pad(plaintext)
    assert len(padded) == padded_bytes(len(plaintext) + 1)
    assert unpad(padded) == plaintext


@pytest.mark.parametrize("plaintext", [b"\x80", b"\0", b"\x80\0\0", b"\0" * 63, b"\x80" * 64])
def test_plaintext_that_looks_like_padding_survives(plaintext: bytes) -> None:
    assert unpad(pad(plaintext)) == plaintext


@pytest.mark.parametrize(
    "padded",
    [
        b"",
        b"\0" * 64,
        b"\x80",
        b"\x81".ljust(64, b"\0"),
        b"text without a mark".ljust(64, b"\0"),
        b"text\x80".ljust(63, b"\0"),
        b"text\x80".ljust(72, b"\0"),
        b"text\x80".ljust(128, b"\0"),
        pad(b"text") + b"\0",
        pad(b"x" * 64)[:-1],
        b"\x80" + b"x" * 63,
    ],
)
def test_padding_that_is_not_the_one_of_its_text_does_not_open(padded: bytes) -> None:
    with pytest.raises(OpenError):
        unpad(padded)


# -- sealing -----------------------------------------------------------------------------------


@thoroughly
@given(st.binary(max_size=64), st.binary(max_size=2000), st.text(max_size=3))
def test_sealed_plaintext_opens_again(associated: bytes, plaintext: bytes, seed: str) -> None:
    sealed = KEY.seal(associated, plaintext, FixedBytes(seed))
    assert KEY.open(associated, sealed) == plaintext
    assert len(sealed) == sealed_bytes(len(plaintext))


def test_sealed_plaintext_of_the_largest_size_opens_again() -> None:
    plaintext = bytes(range(256)) * 250
    assert KEY.open(b"", KEY.seal(b"", plaintext, FixedBytes("iv"))) == plaintext


def test_empty_plaintext_has_the_smallest_sealed_length() -> None:
    assert len(KEY.seal(b"", b"", FixedBytes("iv"))) == MIN_SEALED_BYTES == sealed_bytes(0)
    assert sealed_bytes(MIN_PADDED_BYTES) > MIN_SEALED_BYTES


def test_short_answers_cannot_be_told_apart_by_length() -> None:
    assert len({sealed_bytes(size) for size in range(MIN_PADDED_BYTES)}) == 1


def test_same_plaintext_sealed_twice_shares_nothing() -> None:
    random_bytes = FixedBytes("iv")
    one, other = (KEY.seal(ASSOCIATED, PLAINTEXT, random_bytes) for _ in range(2))
    assert one[:IV_BYTES] != other[:IV_BYTES]
    assert one[IV_BYTES:-TAG_BYTES] != other[IV_BYTES:-TAG_BYTES]
    assert one[-TAG_BYTES:] != other[-TAG_BYTES:]


def test_iv_is_all_the_randomness_that_is_asked_for() -> None:
    asked: list[int] = []

    def random_bytes(size: int) -> bytes:
        asked.append(size)
        return b"\x07" * size

    assert KEY.seal(b"", PLAINTEXT, random_bytes).startswith(b"\x07" * IV_BYTES)
    assert asked == [IV_BYTES]


def test_every_flipped_bit_of_what_is_sealed_keeps_it_shut() -> None:
    for flipped in flips_of(sealed_hello()):
        assert_does_not_open(KEY, ASSOCIATED, flipped)


def test_every_flipped_bit_of_what_it_is_bound_to_keeps_it_shut() -> None:
    for flipped in flips_of(ASSOCIATED):
        assert_does_not_open(KEY, flipped, sealed_hello())


def test_every_flipped_bit_of_the_mac_key_keeps_it_shut() -> None:
    for flipped in flips_of(KEY.mac):
        assert_does_not_open(SealingKey(KEY.cipher, flipped), ASSOCIATED, sealed_hello())


@pytest.mark.parametrize("size", [70, 71, 72, 73, 500])
def test_sealed_bytes_that_were_cut_do_not_open(size: int) -> None:
    sealed = KEY.seal(ASSOCIATED, b"x" * size, FixedBytes("iv"))
    for end in range(len(sealed)):
        assert_does_not_open(KEY, ASSOCIATED, sealed[:end])
        assert_does_not_open(KEY, ASSOCIATED, sealed[end + 1 :])


@pytest.mark.parametrize("more", [b"\0", b"\x80", b"\0" * 16, bytes(range(64))])
def test_sealed_bytes_that_were_extended_do_not_open(more: bytes) -> None:
    sealed = sealed_hello()
    for at in (0, IV_BYTES, len(sealed) - TAG_BYTES, len(sealed)):
        assert_does_not_open(KEY, ASSOCIATED, sealed[:at] + more + sealed[at:])


def test_border_between_header_and_sealed_bytes_cannot_be_moved() -> None:
    sealed = KEY.seal(ASSOCIATED, b"x" * 70, FixedBytes("iv"))
    whole = ASSOCIATED + sealed
    for border in range(len(whole)):
        if border != len(ASSOCIATED):
            assert_does_not_open(KEY, whole[:border], whole[border:])


def test_halves_of_a_key_are_not_interchangeable() -> None:
    swapped = SealingKey(cipher=KEY.mac, mac=KEY.cipher)
    assert_does_not_open(swapped, ASSOCIATED, sealed_hello())
    assert KEY.seal(b"", b"", FixedBytes("iv")) != swapped.seal(b"", b"", FixedBytes("iv"))


def test_key_is_cut_in_the_middle() -> None:
    material = bytes(range(SEALING_KEY_BYTES))
    key = SealingKey.from_bytes(material)
    assert (key.cipher, key.mac) == (material[:32], material[32:])


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_key_of_another_size_is_our_own_mistake(size: int) -> None:
    with pytest.raises(AssertionError):
        SealingKey.from_bytes(bytes(size))


@thoroughly
@given(st.binary(max_size=200), st.binary(max_size=400))
def test_bytes_that_nobody_sealed_do_not_open(associated: bytes, sealed: bytes) -> None:
    assert_does_not_open(KEY, associated, sealed)


@pytest.mark.parametrize(
    "padded",
    [
        b"\0" * 64,
        b"no mark".ljust(64, b"\0"),
        b"too much\x80".ljust(72, b"\0"),
        b"x" * 64 + b"\x80".ljust(9, b"\0"),
    ],
)
def test_padding_is_checked_although_the_tag_is_right(padded: bytes) -> None:
    iv = bytes(IV_BYTES)

    def seal(content: bytes) -> bytes:
        aes = AES.new(KEY.cipher, AES.MODE_CFB, iv=iv, segment_size=128)
        covered = iv + aes.encrypt(content)
        return covered + hmac_sha_256_128(KEY.mac, bytes(8) + covered)

    assert KEY.open(b"", seal(pad(b"as it should be"))) == b"as it should be"
    assert_does_not_open(KEY, b"", seal(padded))


def test_nothing_is_deciphered_before_the_tag_is_known_to_be_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sealed = sealed_hello()
    deciphered: list[bytes] = []
    aes_of = SealingKey._aes

    def recording(key: SealingKey, iv: bytes) -> object:
        deciphered.append(iv)
        return aes_of(key, iv)

    monkeypatch.setattr(SealingKey, "_aes", recording)
    assert_does_not_open(KEY, ASSOCIATED, sealed[:-1] + bytes((sealed[-1] ^ 1,)))
    assert deciphered == []
    assert KEY.open(ASSOCIATED, sealed) == PLAINTEXT
    assert deciphered == [sealed[:IV_BYTES]]


def test_tags_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def compare_digest(one: bytes, other: bytes) -> bool:
        compared.append(len(one))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare_digest)
    assert_does_not_open(OTHER_KEY, ASSOCIATED, sealed_hello())
    assert KEY.open(ASSOCIATED, sealed_hello()) == PLAINTEXT
    assert compared == [TAG_BYTES, TAG_BYTES]


# -- the link ----------------------------------------------------------------------------------

TYPE, OTHER_TYPE = 0x10, 0x02


def ends() -> tuple[LinkCipher, LinkCipher]:
    """The two ends of a link."""
    return LinkCipher(KEY, OTHER_KEY), LinkCipher(OTHER_KEY, KEY)


def seal_some(end: LinkCipher, *texts: bytes) -> list[bytes]:
    random_bytes = FixedBytes("link")
    return [end.seal(TYPE, text, random_bytes) for text in texts]


def assert_link_does_not_open(end: LinkCipher, frame_type: int, sealed: bytes) -> None:
    with pytest.raises(OpenError):
        end.open(frame_type, sealed)


def test_both_directions_of_a_link_open_in_order() -> None:
    client, server = ends()
    for text in (b"one", b"", b"three"):
        assert server.open(TYPE, client.seal(TYPE, text, FixedBytes("c"))) == text
        assert client.open(TYPE, server.seal(TYPE, text * 2, FixedBytes("s"))) == text * 2


def test_directions_count_for_themselves() -> None:
    client, server = ends()
    for sealed in seal_some(client, b"1", b"2", b"3"):
        server.open(TYPE, sealed)
    assert client.open(TYPE, *seal_some(server, b"first")) == b"first"


def test_counter_starts_at_zero_and_is_bound_with_the_type() -> None:
    client, _ = ends()
    for counter, sealed in enumerate(seal_some(client, b"a", b"b", b"c")):
        associated = bytes((TYPE,)) + counter.to_bytes(8, "big")
        assert KEY.open(associated, sealed) == (b"a", b"b", b"c")[counter]


def test_replayed_frame_does_not_open() -> None:
    client, server = ends()
    one, two = seal_some(client, b"one", b"two")
    assert server.open(TYPE, one) == b"one"
    assert_link_does_not_open(server, TYPE, one)
    assert server.open(TYPE, two) == b"two"
    assert_link_does_not_open(server, TYPE, one)
    assert_link_does_not_open(server, TYPE, two)


def test_frame_ahead_of_its_turn_does_not_open_until_it_has_come() -> None:
    client, server = ends()
    one, two, three = seal_some(client, b"one", b"two", b"three")
    for ahead in (two, three, two, three):
        assert_link_does_not_open(server, TYPE, ahead)
    assert [server.open(TYPE, sealed) for sealed in (one, two, three)] == [b"one", b"two", b"three"]


def test_frame_of_another_type_does_not_open_and_does_not_count() -> None:
    client, server = ends()
    (sealed,) = seal_some(client, b"one")
    assert_link_does_not_open(server, OTHER_TYPE, sealed)
    assert server.open(TYPE, sealed) == b"one"


def test_type_counts_with_every_frame_of_a_direction() -> None:
    client, server = ends()
    assert server.open(OTHER_TYPE, client.seal(OTHER_TYPE, b"0", FixedBytes("a"))) == b"0"
    assert server.open(TYPE, client.seal(TYPE, b"1", FixedBytes("b"))) == b"1"


def test_frame_turned_back_to_its_sender_does_not_open() -> None:
    client, server = ends()
    (sealed,) = seal_some(client, b"one")
    assert_link_does_not_open(client, TYPE, sealed)
    assert server.open(TYPE, sealed) == b"one"


def test_every_flipped_bit_keeps_a_frame_shut_and_the_counter_where_it_was() -> None:
    client, server = ends()
    (sealed,) = seal_some(client, b"one")
    for flipped in flips_of(sealed):
        assert_link_does_not_open(server, TYPE, flipped)
    assert server.open(TYPE, sealed) == b"one"


def test_sealing_does_not_disturb_opening() -> None:
    client, server = ends()
    (sealed,) = seal_some(client, b"one")
    seal_some(server, b"a", b"b")
    assert server.open(TYPE, sealed) == b"one"


@thoroughly
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=20))
def test_only_the_next_frame_opens_whatever_is_tried(tries: list[tuple[int, bool]]) -> None:
    client, server = ends()
    sealed = seal_some(client, b"0", b"1", b"2", b"3", b"4")
    opened = 0
    for number, right_type in tries:
        if number == opened and right_type:
            assert server.open(TYPE, sealed[number]) == b"%d" % number
            opened += 1
        else:
            assert_link_does_not_open(server, TYPE if right_type else OTHER_TYPE, sealed[number])


# -- secrets are not shown ---------------------------------------------------------------------


@pytest.mark.parametrize("show", [repr, str, "{}".format])
def test_key_shows_nothing_of_itself(show: Callable[[object], str]) -> None:
    key = SealingKey(b"secret of cipher", b"secret of the mac")
    for shown in (show(key), show(LinkCipher(key, key)), show([key])):
        assert "secret" not in shown
        assert b"secret".hex() not in shown


def test_sealed_length_is_known_before_sealing() -> None:
    for size in (0, 1, 63, 64, 100, 1000, 16_392):
        assert len(KEY.seal(b"", bytes(size), FixedBytes("iv"))) == sealed_bytes(size)
        assert sealed_bytes(size) == OVERHEAD_BYTES + padded_bytes(size + 1)
