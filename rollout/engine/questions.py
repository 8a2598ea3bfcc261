"""Questions to the target that can be asked together, as one statement."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from psycopg import sql

from rollout.engine.target import Connection

T = TypeVar("T")
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Question(Generic[T]):
    """A query, and what its rows say.

    They come as JSON, by the names of their columns: times are texts in it.
    """

    query: sql.Composable
    read: Callable[[Rows], T]

    def ask(self, connection: Connection) -> T:
        answer: T = ask_together(connection, self)[0]
        return answer


def ask_together(connection: Connection, *questions: Question[Any]) -> list[Any]:
    """The answer to each question, all from one statement."""
    rows = sql.SQL(", ").join(
        sql.SQL("(SELECT json_agg(r)::text FROM ({}) AS r)").format(question.query)
        for question in questions
    )
    answers = connection.execute(sql.SQL("SELECT {}").format(rows)).fetchone()
    assert answers is not None
    return [
        question.read(json.loads(answer) if answer else [])
        for question, answer in zip(questions, answers, strict=True)
    ]
