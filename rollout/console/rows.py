"""Links to the rows of the application's tables."""

from urllib.parse import quote

from rollout.conf import setting


def row_url(table: str, key: str) -> str:
    """The page of a row in the application, where ``ROLLOUT["ROW_URLS"]`` says how it is made.

    The parts of a composite key are joined by a comma.
    """
    pattern = setting("ROW_URLS", dict[str, str]()).get(table, "")
    return pattern.format(key=quote(key, safe=""))
