"""TLS over memory. What is said of a Redis that cannot be trusted is in `test_check`."""

import ssl
from pathlib import Path

from chat.server.cluster.tls import Tls, context_of
from tests.support.helpers import needs_openssl, output_of


@needs_openssl
def test_authority_that_was_made_by_hand_is_trusted_by_every_python(tmp_path: Path) -> None:
    """As the script does it that comes with Redis (utils/gen-test-certs.sh)."""
    authority, certificate = tmp_path / "authority.pem", tmp_path / "certificate.pem"
    its_key, key, request = tmp_path / "its.key", tmp_path / "key", tmp_path / "request"
    extensions = tmp_path / "extensions"
    extensions.write_text(
        "keyUsage = digitalSignature, keyEncipherment\nsubjectAltName = DNS:here\n"
    )
    new_key = ("-newkey", "rsa:2048", "-nodes", "-keyout")
    output_of(
        *("openssl", "req", "-x509", *new_key, its_key),
        *("-subj", "/O=Redis/CN=Certificate Authority", "-out", authority),
    )
    output_of("openssl", "req", *new_key, key, "-subj", "/O=Redis/CN=here", "-out", request)
    output_of(
        *("openssl", "x509", "-req", "-in", request, "-CA", authority, "-CAkey", its_key),
        *("-CAcreateserial", "-extfile", extensions, "-out", certificate),
    )
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate, key)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    redis = theirs.wrap_bio(incoming, outgoing, server_side=True)
    tls = Tls(context_of(authority), "here")
    incoming.write(tls.data_to_send())
    try:
        redis.do_handshake()
    except ssl.SSLWantReadError:
        tls.receive(outgoing.read())
    assert tls.shaken
