"""Secrets that could be guessed, and hosts that could be anybody's: refused on a real site."""

from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

LOOPBACK = {"127.0.0.1", "localhost", "::1", "[::1]"}
LEAST_LENGTH, LEAST_CHARACTERS = 50, 5
COMMON = {
    *("password", "postgres", "postgresql", "admin", "secret", "changeme", "rollout", "test"),
    *("root", "user", "demo", "12345678", "123456"),
}


def is_open(*, hosts: Sequence[str], https: bool) -> bool:
    """Whether others than this machine may reach the site."""
    return https or not set(hosts) <= LOOPBACK


def weaknesses(*, secret_key: str, database_url: str, hosts: Sequence[str]) -> list[str]:
    """What must be different on a site that others reach, each as a sentence."""
    problems = []
    if (
        len(secret_key) < LEAST_LENGTH
        or len(set(secret_key)) < LEAST_CHARACTERS
        or secret_key.startswith("django-insecure-")
    ):
        problems.append(
            f"SECRET_KEY is too weak. Use at least {LEAST_LENGTH} random characters: python3 -c "
            "'import secrets; print(secrets.token_urlsafe(50))'"
        )
    if "*" in hosts:
        problems.append("ALLOWED_HOSTS allows any host. List the host names that you serve.")
    url = urlsplit(database_url)
    password = unquote(url.password or "")
    # On a socket, or on this machine, the server itself may ask for none.
    if password and url.hostname not in {None, *LOOPBACK} and _is_common(password, url.username):
        problems.append("DATABASE_URL uses a common password. Change the password of its role.")
    return problems


def _is_common(password: str, name: str | None) -> bool:
    return password.lower() in COMMON or password == unquote(name or "")
