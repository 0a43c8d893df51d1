"""What an address says of where a connection comes from."""

import pytest

from chat.sockets import address_text, source_of


@pytest.mark.parametrize(
    ("host", "text", "source"),
    [
        ("192.0.2.1", "192.0.2.1:9443", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1:9443", "192.0.2.1"),
        ("2001:db8::1", "[2001:db8::1]:9443", "2001:db8::/64"),
        ("2001:db8::2:0:0:1", "[2001:db8::2:0:0:1]:9443", "2001:db8::/64"),
        ("2001:db8:0:1::1", "[2001:db8:0:1::1]:9443", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "[fe80::1%eth0]:9443", "fe80::/64"),
    ],
)
def test_an_address_has_a_text_and_a_source(host: str, text: str, source: str) -> None:
    assert address_text(host, 9443) == text
    assert source_of(host) == source
