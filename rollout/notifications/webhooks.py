"""Webhooks: named in the settings alone, signed as Standard Webhooks says, never redirected.

The receiver checks ``webhook-signature``: "v1," and the base64 of the HMAC-SHA256, by the secret,
of "{webhook-id}.{webhook-timestamp}.{body}". A repeated delivery has the id of the first.
"""

import base64
import binascii
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from rollout.conf import setting
from rollout.notifications.kinds import DEFAULT_KINDS

# For all of a delivery: also for a receiver that sends byte after byte.
TIMEOUT_SECONDS = 5.0
_PREFIX = "whsec_"


@dataclass(frozen=True)
class Webhook:
    """A receiver. Its address is a secret too: those of chat tools contain a token."""

    name: str
    url: str = field(repr=False)
    secret: str = field(default="", repr=False)
    kinds: Sequence[str] = DEFAULT_KINDS
    """The kinds it gets until somebody chooses others in the console."""

    @property
    def shown(self) -> str:
        """The part of the address that anybody may see."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}/…"

    def problem(self, *, http_allowed: bool) -> str:
        """What is wrong with it; empty if nothing is."""
        try:
            parts = urlsplit(self.url)
            parts.port  # noqa: B018  raises where it is none
        except ValueError:
            return "has an invalid URL"
        if parts.scheme not in ("https", "http") or not parts.hostname:
            return "needs a URL that begins with https://"
        if parts.scheme == "http" and not http_allowed:
            return "has a URL without TLS; use https://, or set ALLOW_HTTP"
        if parts.username or parts.password:
            return "has a user name in its URL; use SECRET instead"
        return ""


@dataclass(frozen=True)
class Outcome:
    """What came of a delivery; an empty error is a success."""

    error: str = ""
    status: int | None = None


def configured() -> Mapping[str, Any]:
    """``ROLLOUT["NOTIFICATIONS"]``."""
    return setting("NOTIFICATIONS", dict[str, Any]())


def webhooks() -> dict[str, Webhook]:
    """By name: {"WEBHOOKS": {name: {"URL", "SECRET", "EVENTS"}}}."""
    return {
        name: Webhook(
            name,
            hook.get("URL", ""),
            hook.get("SECRET", ""),
            tuple(hook.get("EVENTS", DEFAULT_KINDS)),
        )
        for name, hook in configured().get("WEBHOOKS", {}).items()
    }


def http_allowed() -> bool:
    """Whether receivers without TLS are allowed: on a network of one's own, and in tests."""
    return bool(configured().get("ALLOW_HTTP", False))


def signature(secret: str, *, id: str, timestamp: int, body: bytes) -> str:
    """As in the header ``webhook-signature``."""
    signed = f"{id}.{timestamp}.".encode() + body
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: str) -> bytes:
    if secret.startswith(_PREFIX):
        with suppress(binascii.Error):
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    return secret.encode()


def post(hook: Webhook, *, id: str, timestamp: int, body: bytes) -> Outcome:
    """Send once. No error contains the address."""
    if problem := hook.problem(http_allowed=http_allowed()):
        return Outcome(f"The webhook {problem}.")
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "rollout",
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
    }
    if hook.secret:
        headers["webhook-signature"] = signature(hook.secret, id=id, timestamp=timestamp, body=body)
    parts = urlsplit(hook.url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = _connection(parts)
    late = threading.Event()
    watch = threading.Timer(TIMEOUT_SECONDS, _cut, (connection, late))
    watch.daemon = True
    watch.start()
    try:
        connection.request("POST", path, body, headers)
        status = connection.getresponse().status
    except TimeoutError:
        late.set()
    except ssl.SSLError as error:
        return Outcome(f"TLS error: {error.reason or 'no reason given'}.")
    except socket.gaierror:
        return Outcome("DNS lookup failed. Check the host name in the URL.")
    except (OSError, http.client.HTTPException) as error:
        if not late.is_set():
            return Outcome(f"Connection failed: {_words(error)}.")
    finally:
        watch.cancel()
        connection.close()
    if late.is_set():
        return Outcome(f"No response within {TIMEOUT_SECONDS:.0f} s.")
    return _outcome_of(status)


def _connection(parts: SplitResult) -> http.client.HTTPConnection:
    """One that follows no redirect and knows no proxy."""
    assert parts.hostname
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=TIMEOUT_SECONDS, context=context
        )
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS)


def _cut(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    """The timeout of a socket starts again with every byte; this one does not."""
    late.set()
    if (stream := connection.sock) is not None:
        with suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _outcome_of(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome(status=status)
    if 300 <= status < 400:
        return Outcome(f"HTTP {status}: redirects are not followed.", status)
    return Outcome(f"HTTP {status}.", status)
