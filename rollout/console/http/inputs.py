"""What a browser sends, before a view reads it: hostile until it is known to be a text."""

import re
from typing import Any

from django.forms import BaseForm
from django.http import HttpRequest, QueryDict

from rollout.logs.texts import is_storable

# Maximum length of a field, in characters; the runner's own limits are narrower.
MAX_FIELD_LENGTH = 10_000
# Texts of the data, which a mapping review carries from page to page, as long as they are there,
# and the marks of those that a page showed.
_OF_THE_DATA = re.compile(r"decisions|shown|(form|was|like|as-written)-\d+")
# A bigint holds any number of 18 digits.
_NUMBER = re.compile(r"[0-9]{1,18}")


def number_in(text: str) -> int | None:
    """The number that a text is, of 18 digits at most; None for any other text."""
    return int(text) if _NUMBER.fullmatch(text) else None


def refusal_to_read(request: HttpRequest, named: dict[str, Any]) -> str:
    """Why no view reads a request, with what to do about it; empty where one may.

    ``named`` is what the address names.
    """
    for name, value in named.items():
        if isinstance(value, str) and not is_storable(value):
            return f"The address has a character in its {name} that no text has. Type it again."
    return _refusal(request.GET) or _refusal(request.POST)


def errors_of(form: BaseForm) -> str:
    """All that is wrong with a form, in one text."""
    return " ".join(str(error) for errors in form.errors.values() for error in errors)


def _refusal(fields: QueryDict) -> str:
    for name, values in fields.lists():
        for value in values:
            if not is_storable(name) or not is_storable(value):
                return "A field contains a NUL character. Enter it again without it."
            if len(value) > MAX_FIELD_LENGTH and not _OF_THE_DATA.fullmatch(name):
                return f"A field is longer than {MAX_FIELD_LENGTH:,} characters. Shorten it."
    return ""
