"""How a type or a status is spelt among the free texts, known without reading the whole table."""

from __future__ import annotations

from django.db import connections
from django.db.models import Q

from properties.text import normal_form_sql

# Each step looks the next text up in the column's index. No text is a spelling of what nobody
# specified.
_SPELLINGS = """
WITH RECURSIVE spelling (text) AS (
  (SELECT {column} FROM properties WHERE {column} IS NOT NULL ORDER BY {column} LIMIT 1)
   UNION ALL
  SELECT (SELECT p.{column} FROM properties AS p
           WHERE p.{column} > s.text ORDER BY p.{column} LIMIT 1)
    FROM spelling AS s WHERE s.text IS NOT NULL
)
SELECT text FROM spelling WHERE text IS NOT NULL AND {form} = {asked}
 UNION ALL SELECT NULL WHERE {asked} = {none}
"""


def spelt_like(column: str, text: str, *, using: str) -> Q:
    """The rows whose ``type`` or ``status`` has the normal form of a text."""
    query = _SPELLINGS.format(
        column={"type": "type", "status": "status"}[column],
        form=normal_form_sql("text"),
        asked=normal_form_sql("%(text)s::text"),
        none=normal_form_sql("NULL::text"),
    )
    with connections[using].cursor() as cursor:
        cursor.execute(query, {"text": text})
        spellings = [spelling for (spelling,) in cursor]
    matching = Q(**{f"{column}__in": [text for text in spellings if text is not None]})
    return matching | Q(**{f"{column}__isnull": True}) if None in spellings else matching
