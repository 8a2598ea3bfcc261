"""How free text for a type or a status is tidied and compared, as SQL expressions.

The database decides, not Python: the rollout's triggers and backfill use the same SQL, and what
is white space or lower case for one must be so for the other.
"""

from __future__ import annotations

from django.db.models import Func, TextField, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Lower, NullIf

UNSPECIFIED = "Unspecified"


class Tidy(Func):
    """White space collapsed to single spaces and stripped from both ends."""

    template = r"btrim(regexp_replace(%(expressions)s, '[\s\u00a0]+', ' ', 'g'))"
    output_field = TextField()


def shown_sql(text: str) -> str:
    """``shown`` as SQL, of an expression in SQL."""
    tidy = Tidy.template % {"expressions": text}
    return f"coalesce(nullif({tidy}, ''), '{UNSPECIFIED}')"


def normal_form_sql(text: str) -> str:
    """``normal_form`` as SQL, of an expression in SQL."""
    return f"lower({shown_sql(text)})"


def shown(text: Combinable) -> Coalesce:
    """The text as people see it: tidy, and "Unspecified" if there is none."""
    return Coalesce(NullIf(Tidy(text), Value("")), Value(UNSPECIFIED), output_field=TextField())


def normal_form(text: Combinable) -> Lower:
    """What two spellings of one value have in common; blank and null are "unspecified"."""
    return Lower(shown(text))


def given(text: str | None) -> Value:
    """A value that came from outside, ready for ``shown`` and ``normal_form``."""
    return Value(text or "", output_field=TextField())
