"""What every answer tells the browser not to do, and how large a request may be."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.http import parse_header_parameters

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

View = Callable[[HttpRequest], HttpResponse]

# A small middleware instead of a library: Django has one from version 6 on, and 5.2 is our floor.
# Without a word for inline scripts, styles and eval: there are none.
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
FEATURES = (
    *("accelerometer", "autoplay", "camera", "display-capture", "encrypted-media", "fullscreen"),
    *("geolocation", "gyroscope", "magnetometer", "microphone", "midi", "payment", "usb"),
)


def content_security_policy(form_action: list[str]) -> str:
    """``form_action`` names further sites that a form may lead to: a provider of logins."""
    policy = {**POLICY, "form-action": " ".join([POLICY["form-action"], *form_action])}
    return "; ".join(f"{name} {sources}" for name, sources in policy.items())


class SecurityHeaders:
    """Middleware: the headers that Django's own SecurityMiddleware does not set."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response
        self.headers = {
            "Content-Security-Policy": content_security_policy(settings.CSP_FORM_ACTION),
            "Permissions-Policy": ", ".join(f"{name}=()" for name in FEATURES),
            "Cross-Origin-Resource-Policy": "same-origin",
        }

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for name, value in self.headers.items():
            response.headers.setdefault(name, value)
        return response


class LargestRequest:
    """Middleware: refuses a request that is larger than any form takes, before it is read.

    The upload of a file is limited by its form, but only once the whole of it is there.
    """

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length.isdecimal() and int(length) > settings.MAX_REQUEST_BYTES:
            most = settings.MAX_REQUEST_BYTES // 1024 // 1024
            return HttpResponse(
                f"Request too large (limit {most} MB). Split the file and try again.\n",
                status=413,
                content_type="text/plain; charset=utf-8",
            )
        return self.get_response(request)


class OnlyUtf8:
    """Around the WSGI application: refuses a request that declares another encoding than UTF-8.

    Django decodes the query while it makes the request, and a form for the pages of its own
    errors: what fails there passes by every handler of errors.
    """

    def __init__(self, application: "WSGIApplication") -> None:
        self.application = application

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        try:
            _, parameters = parse_header_parameters(environ.get("CONTENT_TYPE", ""))
            declared = parameters.get("charset", "utf-8")
        except Exception:  # Whatever a header may say that is none.
            declared = "none that is known"
        if declared.lower() in ("utf-8", "utf8"):
            return self.application(environ, start_response)
        text = [("Content-Type", "text/plain; charset=utf-8")]
        start_response("415 Unsupported Media Type", text)
        return [b"This site reads UTF-8 alone. Send the request in that encoding.\n"]


def client_address(request: HttpRequest) -> str:
    """Where a request comes from: behind the TLS proxy, what the proxy wrote last."""
    forwarded = str(request.META.get("HTTP_X_FORWARDED_FOR", "")) if settings.HTTPS else ""
    return forwarded.rpartition(",")[2].strip() or str(request.META.get("REMOTE_ADDR", ""))
