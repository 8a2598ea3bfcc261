"""A second environment, in a database of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from django.db import connections

from config import embedded
from tests.support.servers import Database, template_url

if TYPE_CHECKING:
    from rollout.models import Rollout


@contextmanager
def staging_database(settings: Any, template: str | None = None) -> Iterator[str]:
    """The environment `staging` for as long as this lasts: empty, or a copy; its address."""
    name = f"rollout_{uuid4().hex}"
    url = embedded.with_database(template_url(), name)
    embedded.create_database(url, template=template)
    settings.ROLLOUT = {
        **settings.ROLLOUT,
        "ENVIRONMENTS": {"production": "default", "staging": "staging"},
    }
    connections.databases["staging"] = {**connections["default"].settings_dict, "NAME": name}
    try:
        yield url
    finally:
        connections["staging"].close()
        del connections["staging"]
        connections.databases.pop("staging")
        embedded.drop_database(url)


@contextmanager
def staging_environment(settings: Any, template: str) -> Iterator[psycopg.Connection]:
    """The environment `staging`, migrated, for as long as this lasts; a connection to it."""
    with (
        staging_database(settings, template) as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        yield connection


@pytest.fixture
def empty_staging(
    properties: "Rollout", committed_db: Database, settings: Any
) -> Iterator["Rollout"]:
    """The rollout in an environment whose database is empty."""
    from rollout.queries.status import find_rollout

    with staging_database(settings):
        yield find_rollout(properties.plan, "staging")
