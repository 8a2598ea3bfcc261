"""A table whose texts people decide on, and what its mapping says."""

from dataclasses import replace
from typing import Any

from psycopg import sql

from rollout.engine import mapping
from rollout.engine.mapping import Decision, Outcome
from rollout.engine.target import Connection
from rollout.plan.translations import Lookup
from tests.engine.samples import BIGINT

SAMPLE = replace(
    BIGINT, name="with synonyms", synonyms={"Apt": "Apartment", "WHG": "Apartment"}, unknown="null"
)
PLAN, KIND, STATE = SAMPLE.plan, SAMPLE.kind, SAMPLE.state
ROWS = {"House": 5, " house": 2, "House for sale": 4, "apt": 3, "Condo": 2, "Condop": 1, None: 2}


def review_of(connection: Connection) -> mapping.Review:
    counts = mapping.counts_of(connection, KIND, mapping.EVERY_TEXT)
    return mapping.review(connection, PLAN, KIND, counts)


def fill_table(connection: Connection) -> None:
    SAMPLE.create(connection)
    texts = [text for text, rows in ROWS.items() for _ in range(rows)]
    connection.execute(
        "INSERT INTO things (id, kind, state) SELECT n, t, 'open'"
        " FROM unnest(%s::text[]) WITH ORDINALITY AS u (t, n)",
        [texts],
    )


def decide(
    connection: Connection, decisions: dict[str, str | None], *, keep: bool = True
) -> Outcome:
    wanted = {text: Decision(name) for text, name in decisions.items()}
    return mapping.decide(connection, PLAN, KIND, wanted, reviewer="grace", keep=keep)


def meanings(connection: Connection) -> dict[str, str | None]:
    """What the review says that each text means."""
    return {
        spelling.text: value.name
        for value in review_of(connection).values
        for spelling in value.spellings
    }


def whys(connection: Connection) -> dict[str, str]:
    return {
        spelling.text: spelling.why
        for value in review_of(connection).values
        for spelling in value.spellings
    }


def names(connection: Connection) -> dict[str, bool]:
    """The lookup rows, and whether they are in use."""
    return dict(connection.execute("SELECT name, active FROM kinds").fetchall())


def name_of(connection: Connection, text: str, *, column: str = "kind") -> Any:
    """What the row that the application writes now with a text gets."""
    row = connection.execute(
        sql.SQL(
            "INSERT INTO things (id, {}) SELECT max(id) + 1, %s FROM things RETURNING {}"
        ).format(sql.Identifier(column), sql.Identifier(f"{column}_id")),
        [text],
    ).fetchone()
    assert row is not None
    named = connection.execute(
        sql.SQL("SELECT name FROM {} WHERE id = %s").format(sql.Identifier(f"{column}s")), row
    ).fetchone()
    return named and named[0]


def new_texts(connection: Connection, lookup: Lookup) -> tuple[int, list[mapping.NewText]]:
    texts = mapping.new_texts(connection, PLAN, lookup)
    assert texts is not None, "the texts are mapped"
    return texts


def write_around_the_triggers(connection: Connection, *texts: str) -> None:
    connection.execute("ALTER TABLE things DISABLE TRIGGER USER")
    connection.execute(
        "INSERT INTO things (id, kind, state) SELECT (SELECT max(id) FROM things) + n, t, 'open'"
        " FROM unnest(%s::text[]) WITH ORDINALITY AS u (t, n)",
        [list(texts)],
    )
    connection.execute("ALTER TABLE things ENABLE TRIGGER USER")
