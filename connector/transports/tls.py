"""A TLS connection with a client certificate: how it is made, and in words why it can't be."""

from __future__ import annotations

import errno
import os
import re
import select
import socket
import ssl
import struct
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

from ..errors import ConnectorError

ALPN = "x-amzn-mqtt-ca"  # how AWS IoT Core tells MQTT with client certificates from other protocols on port 443
MAX_STEP_SECONDS = 10.0  # for each of TCP to one address, the proxy's answer, and TLS
MAX_ADDRESSES = 4  # to try of those that a name has
MAX_PROXY_ANSWER_BYTES = 8192

CLOSED = "it was closed"
# The end of a connection without TLS's own; Python before 3.10 calls it by an older reason with the same number.
_ENDS = ("UNEXPECTED_EOF_WHILE_READING", "KRB5_S_TKT_NYV")
# OpenSSL's names of the alerts that say something about the client's certificate.
_CERTIFICATE_ALERTS = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "HANDSHAKE_FAILURE", "DECRYPT_ERROR")


class Endpoint(NamedTuple):
    """Where to connect, and what to show there.

    host, port: the broker. cert_file, key_file: this device's certificate and private key, PEM.
    ca_file: the authorities to trust, PEM; empty for those of the system.
    proxy: (host, port) of an HTTP proxy that knows CONNECT, or None.
    """

    host: str
    port: int
    cert_file: str
    key_file: str
    ca_file: str = ""
    proxy: Optional[Tuple[str, int]] = None


class Stopped(Exception):
    """The wait was ended because the transport closes."""


# wait(descriptor, events, seconds): return once one of poll(2)'s events is there; raise socket.timeout after the
# seconds, Stopped at a stop.
Wait = Callable[[int, int, float], None]


def make_context(endpoint: Endpoint) -> ssl.SSLContext:
    """Return a context for TLS 1.2 or later that checks the host's name and shows the device's certificate.

    Raises ConnectorError, which names the file and what is wrong with it.
    """
    cert, key = endpoint.cert_file, endpoint.key_file
    for name in (endpoint.ca_file, cert, key):
        if name:
            try:
                with open(name, "rb"):
                    pass
            except OSError as error:
                raise ConnectorError(f"{name} can't be read: {error.strerror}") from error
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_file or None)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConnectorError(f"{endpoint.ca_file} has no certificates in PEM: {reason(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if endpoint.port == 443:
        context.set_alpn_protocols([ALPN])

    asked: List[bool] = []  # filled where the key has a password: Python 3.7 passes no error of the callback on

    def no_password() -> str:
        asked.append(True)
        return ""

    try:
        context.load_cert_chain(cert, key, no_password)
    except (OSError, ValueError) as error:
        if asked:
            text = f"the key {key} is encrypted: store it without a password, mode 600"
        elif "KEY_VALUES_MISMATCH" in str(error):
            text = f"the key {key} does not belong to the certificate {cert}"
        else:
            text = f"{cert} and {key} are not a certificate and its key in PEM: {reason(error)}"
        raise ConnectorError(text) from error
    return context


class TlsSocket:
    """A connected socket as paho uses one.

    error: why reading or sending failed, or None. paho only logs it.
    """

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection
        self.error: Optional[OSError] = None

    def recv(self, size: int) -> bytes:
        try:
            return self._connection.recv(size)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            self.error = error
            raise

    def send(self, data: bytes) -> int:
        try:
            return self._connection.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            self.error = error
            self._read_alert()
            raise

    def _read_alert(self) -> None:
        """Keep the alert by which the peer refused a certificate: with TLS 1.3 it may come after the handshake."""
        try:
            self._connection.recv(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except ssl.SSLError as error:
            self.error = error
        except OSError:
            pass

    def pending(self) -> int:
        """Return how many bytes are decrypted already: poll(2) does not see them."""
        return self._connection.pending()

    def fileno(self) -> int:
        return self._connection.fileno()

    def setblocking(self, flag: bool) -> None:
        self._connection.setblocking(flag)

    def close(self) -> None:
        """Close, and drop what the kernel has not sent yet, so that a given-up message can't arrive later."""
        try:
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass  # closed already
        self._connection.close()

    def finish(self) -> None:
        """Close; the kernel still sends what was written."""
        self._connection.close()


def connect(endpoint: Endpoint, context: ssl.SSLContext, wait: Wait) -> TlsSocket:
    """Return a connection after the TLS handshake. Raises OSError, of which `reason` makes words, and Stopped."""
    host, port = endpoint.proxy or (endpoint.host, endpoint.port)
    try:
        raw = _connect_tcp(host, port, wait)
    except OSError as error:
        if endpoint.proxy is None:
            raise
        raise OSError(f"the proxy {host}:{port} can't be reached: {reason(error)}") from error
    try:
        if endpoint.proxy is not None:
            _ask_proxy(raw, endpoint, wait)
        connection = context.wrap_socket(raw, server_hostname=endpoint.host, do_handshake_on_connect=False)
    except BaseException:
        raw.close()
        raise
    try:
        while True:
            try:
                connection.do_handshake()
                return TlsSocket(connection)
            except ssl.SSLWantReadError:
                wait(connection.fileno(), select.POLLIN, MAX_STEP_SECONDS)
            except ssl.SSLWantWriteError:
                wait(connection.fileno(), select.POLLOUT, MAX_STEP_SECONDS)
    except BaseException:
        connection.close()
        raise


def _connect_tcp(host: str, port: int, wait: Wait) -> socket.socket:
    """Return a non-blocking connection to the first address that accepts one. Raises the last address's error."""
    failure: OSError = OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[:MAX_ADDRESSES]:
        connection = None
        try:
            connection = socket.socket(family, kind, protocol)
            connection.setblocking(False)
            code = connection.connect_ex(address)
            if code == errno.EINPROGRESS:
                wait(connection.fileno(), select.POLLOUT, MAX_STEP_SECONDS)
                code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code:
                return connection
            failure = OSError(code, os.strerror(code))
        except OSError as error:
            failure = error
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        if connection is not None:
            connection.close()
    raise failure


def _ask_proxy(connection: socket.socket, endpoint: Endpoint, wait: Wait) -> None:
    """Have an HTTP proxy connect to the broker (RFC 9110, 9.3.6). Raises OSError where it does not."""
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    target = f"{host}:{endpoint.port}"
    connection.send(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode("ascii"))
    answer = b""
    # By single bytes: what follows the empty line belongs to TLS.
    while not answer.endswith(b"\r\n\r\n"):
        wait(connection.fileno(), select.POLLIN, MAX_STEP_SECONDS)
        byte = connection.recv(1)
        answer += byte
        if not byte or len(answer) > MAX_PROXY_ANSWER_BYTES:
            raise OSError("the proxy closed the connection or did not answer with HTTP")
    status = answer.partition(b"\r\n")[0].decode("latin-1")
    if not re.match(r"HTTP/1\.[01] 2[0-9][0-9]\b", status):
        raise OSError(f"the proxy refused to connect to {target}: {status}")


def reason(error: BaseException) -> str:
    """Return in words why a connection could not be made, or why it ended."""
    if isinstance(error, socket.gaierror):
        return f"the name can't be resolved: {error.strerror}"
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = ""
        if error.verify_code in (18, 19, 20, 21):  # X509_V_ERR_*: the issuer is not trusted, or not found
            hint = "; is its CA in --ca-file, or among those of the system (package ca-certificates)?"
        return f"the broker's certificate was not accepted: {error.verify_message}{hint}"
    if isinstance(error, ssl.SSLError):
        return _tls_reason(error)
    if isinstance(error, socket.timeout):
        return f"no answer in {MAX_STEP_SECONDS:.0f} s"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return repr(error)


def _tls_reason(error: ssl.SSLError) -> str:
    name: Any = error.reason or ""
    if name in _ENDS:
        return CLOSED
    alert = re.fullmatch("(?:SSLV3|TLSV1|TLSV13)_ALERT_(.+)", name)
    if alert is None:
        return f"TLS failed: {error.reason or error}"
    words = alert.group(1).replace("_", " ").lower()
    if alert.group(1).endswith("APPLICATION_PROTOCOL"):
        return f"the broker does not speak {ALPN} on this port ({words}): use another --port"
    if any(part in alert.group(1) for part in _CERTIFICATE_ALERTS):
        return f"the broker did not accept this device's certificate: {words}"
    return f"the broker ended TLS: {words}"
