"""A connection to a database that the tests of the plan only ask questions of."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.support.bare_databases import new_database

Ask = Callable[[sql.Composable], Any]


@pytest.fixture(scope="session")
def value_of() -> Iterator[Ask]:
    """What PostgreSQL makes of an expression."""
    with (
        new_database() as target,
        psycopg.connect(**target.parameters, autocommit=True) as connection,
    ):

        def ask(expression: sql.Composable) -> Any:
            row = connection.execute(sql.SQL("SELECT {}").format(expression)).fetchone()
            assert row is not None
            return row[0]

        yield ask
