"""A connection to a database that the tests of the plan only ask questions of."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from config import embedded

Ask = Callable[[sql.Composable], Any]


@pytest.fixture(scope="session")
def value_of() -> Iterator[Ask]:
    """What PostgreSQL makes of an expression."""
    url = embedded.with_database(os.environ["DATABASE_URL"], f"rollout_plan_{os.getpid()}")
    embedded.create_database(url)
    with psycopg.connect(url, autocommit=True) as connection:

        def ask(expression: sql.Composable) -> Any:
            row = connection.execute(sql.SQL("SELECT {}").format(expression)).fetchone()
            assert row is not None
            return row[0]

        yield ask
    embedded.drop_database(url)
