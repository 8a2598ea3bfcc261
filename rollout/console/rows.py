"""Links to the rows of the application's tables."""

from urllib.parse import quote

from django.conf import settings


def row_url(table: str, key: str) -> str:
    """The page of a row in the application, where ``ROLLOUT["ROW_URLS"]`` says how it is made.

    The parts of a composite key are joined by a comma.
    """
    patterns: dict[str, str] = getattr(settings, "ROLLOUT", {}).get("ROW_URLS", {})
    pattern = patterns.get(table, "")
    return pattern.format(key=quote(key, safe=""))
