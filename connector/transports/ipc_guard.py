"""Gives the requests of the core's IPC client, which calls urllib.request.urlopen, a time-out, and forbids redirects.

The client (`greengrass_ipc_python_sdk`, part of the core's runtime and on no package index) opens its requests without
a time-out and follows redirects: after a 302 on the core's port the request would be repeated elsewhere, as a GET, and
an answer 200 from there would count as the core's. urlopen() takes its opener from urllib.request.install_opener(), so
both are changed there, and only for requests inside `guarded()`: the runtime's own wait for work may last for days.

A core whose client does not use urllib.request is not guarded; the publisher still bounds its unanswered calls.
"""

from __future__ import annotations

import http.client
import threading
import urllib.request
from contextlib import contextmanager
from http.client import HTTPMessage
from typing import IO, Any, Iterator, Optional

from . import MAX_SEND_SECONDS

_thread = threading.local()


@contextmanager
def guarded() -> Iterator[None]:
    """Guard the requests that this thread makes inside the `with` block."""
    _thread.is_guarded = True
    try:
        yield
    finally:
        _thread.is_guarded = False


def install(seconds: float = MAX_SEND_SECONDS) -> None:
    """Guard requests made inside `guarded()`; all others go on as before. seconds: to wait for an answer."""
    before: Optional[urllib.request.OpenerDirector] = getattr(urllib.request, "_opener", None)
    urllib.request.install_opener(_Opener(before or urllib.request.build_opener(_LateHTTPSHandler()), seconds))


class _LateHTTPSHandler(urllib.request.HTTPSHandler):
    """The standard handler, but made at the first HTTPS request: it loads certificates, 1 MB from Python 3.12 on."""

    def __init__(self) -> None:
        urllib.request.AbstractHTTPHandler.__init__(self)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        if not hasattr(self, "_context"):
            super().__init__()
        return super().https_open(req)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Follow no redirect: it is an HTTPError, as any other answer but 2xx."""


_HANDLERS = (
    urllib.request.HTTPHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPErrorProcessor,
    urllib.request.UnknownHandler,
    _NoRedirect,
)


class _Opener(urllib.request.OpenerDirector):
    def __init__(self, before: urllib.request.OpenerDirector, seconds: float) -> None:
        super().__init__()
        self._before = before
        self._seconds = seconds
        # Plain HTTP only, and no proxy, whatever the environment says. build_opener() would add a handler of HTTPS,
        # which takes 0.5 MB for its certificates from Python 3.12 on.
        self._guarded = urllib.request.OpenerDirector()
        for handler in _HANDLERS:
            self._guarded.add_handler(handler())

    def open(self, fullurl: Any, data: Any = None, timeout: Any = None, *arguments: Any) -> Any:
        if getattr(_thread, "is_guarded", False):
            return self._guarded.open(fullurl, data, self._seconds)
        return self._before.open(fullurl, data, timeout, *arguments)
