"""TLS over memory: what is sealed and opened, and nothing of sockets.

Python's `ssl` does all of it, with the certificates that the system trusts or those of a file. The
peer's certificate is always checked, and has to be for the host that was asked for.
"""

import ssl
from pathlib import Path

from chat.errors import IdentityError, cause_of
from chat.server.cluster.errors import CertificateError, NotRedisError, RedisError, RedisLostError

_PIECE_BYTES = 65_536


def context_of(authorities: Path | None) -> ssl.SSLContext:
    """What is trusted: the certificates in this file, or those of the system.

    Raises:
        IdentityError: the file cannot be read, or holds none.
    """
    try:
        context = ssl.create_default_context(cafile=authorities)
    except ssl.SSLError as exc:
        raise IdentityError(
            f"{authorities} holds no certificates that could be trusted: {cause_of(exc)}"
        ) from exc
    except OSError as exc:
        raise IdentityError(f"cannot use {authorities}: {cause_of(exc)}") from exc
    # Since Python 3.13 this is on. It refuses authorities as people make them with openssl, and as
    # the script makes them that comes with Redis: the key usage is missing there.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


class Tls:
    """One connection. What goes wrong is raised as a RedisError; nothing can be done with it then.
    Before the handshake is over (`shaken`), what is to be sent waits."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)
        self._waiting = b""
        self.shaken = False
        self._host = host
        self._shake()

    def send(self, data: bytes) -> None:
        """Seal this, after the rest."""
        if self.shaken:
            self._tls.write(data)
        else:
            self._waiting += data

    def data_to_send(self) -> bytes:
        """What is to be sent now; it is the caller's from then on."""
        return self._out.read()

    def receive(self, data: bytes) -> bytes:
        """Take what arrived, and return what is in it.

        Raises:
            RedisError: it is no TLS, or the certificate is not trusted, or was changed on the way.
        """
        self._in.write(data)
        if not self.shaken:
            self._shake()
        if not self.shaken:
            return b""
        opened = []
        try:
            while piece := self._tls.read(_PIECE_BYTES):
                opened.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as exc:
            raise _error_of(exc, self._host) from exc
        return b"".join(opened)

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        except (ssl.SSLError, ssl.CertificateError) as exc:
            raise _error_of(exc, self._host) from exc
        self.shaken = True
        if self._waiting:
            self._tls.write(self._waiting)
            self._waiting = b""


def no_tls(host: str) -> NotRedisError:
    """The error for who does not answer as TLS does, or not at all."""
    return NotRedisError(f"what is at {host} does not speak TLS", "a URL with redis:// speaks none")


def _error_of(exc: Exception, host: str) -> RedisError:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return CertificateError(
            f"the certificate of Redis at {host} is not trusted: {exc.verify_message}",
            "--cluster-ca FILE names the certificate of who signed it, and the host in the URL has "
            "to be one of those in it",
        )
    if isinstance(exc, ssl.SSLError) and exc.reason in (
        "WRONG_VERSION_NUMBER",
        "RECORD_LAYER_FAILURE",
    ):
        return no_tls(host)
    if isinstance(exc, ssl.SSLZeroReturnError):
        return RedisLostError("Redis has closed the connection")
    reason = getattr(exc, "reason", None) or str(exc)
    return RedisError(f"TLS with Redis at {host} fails: {reason.lower().replace('_', ' ')}")
