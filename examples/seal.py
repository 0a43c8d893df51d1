"""Sealing alone: the one construction that protects everything (PROTOCOL 3).

    python examples/seal.py "some text"

It seals the text, shows the bytes, opens them again, and then flips each bit in turn: none of the
changed copies opens. AES in CFB mode alone would decrypt every copy: a flipped bit of the
ciphertext flips the same bit of the text.
"""

import os
import sys

from chat.cipher import SEALING_KEY_BYTES, SealingKey
from chat.errors import OpenError

text = " ".join(sys.argv[1:]) or "Hello"
key = SealingKey.from_bytes(os.urandom(SEALING_KEY_BYTES))
header = b"this stands in the clear, and must not be changed either"

sealed = key.seal(header, text.encode(), os.urandom)
print(f"iv          {sealed[:16].hex()}")
print(f"ciphertext  {sealed[16:-16].hex()}")
print(f"tag         {sealed[-16:].hex()}")
print(f"opened      {key.open(header, sealed).decode()}")

opened = 0
for bit in range(8 * len(sealed)):
    changed = bytearray(sealed)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        key.open(header, bytes(changed))
        opened += 1
    except OpenError:
        pass
print(f"of {8 * len(sealed)} copies with one bit flipped, {opened} opened")
