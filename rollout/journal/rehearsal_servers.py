"""The server for the databases of rehearsals, if it is not production's."""

import copy
from dataclasses import dataclass
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from psycopg.conninfo import conninfo_to_dict

from rollout.conf import setting
from rollout.plan.errors import RolloutError

SETTING = 'ROLLOUT["REHEARSE_ON"]'
# Django's alias of a server that is named by a connection string.
ALIAS = "rollout-rehearsals"
DEFAULT_PORT = "5432"


class ServerAway(RolloutError, LookupError):
    """The settings no longer name the server of a rehearsal."""


@dataclass(frozen=True)
class Server:
    """``name`` is host and port, as people know it; ``alias`` a database on it."""

    name: str
    alias: str


def rehearsal_server() -> Server | None:
    """The server that rehearsals are made on; None for production's own.

    Raises ImproperlyConfigured where the setting names none.
    """
    named = setting("REHEARSE_ON", "")
    if not named:
        return None
    alias = named if named in connections.databases else ALIAS
    if alias == ALIAS:
        connections.databases[ALIAS] = _settings_of(named)
    of = connections[alias].settings_dict
    return Server(f"{of['HOST'] or 'localhost'}:{of['PORT'] or DEFAULT_PORT}", alias)


def server_of(name: str) -> Server:
    """The server of that name. Raises ServerAway where another is named by now, or none."""
    server = rehearsal_server()
    if server is None or server.name != name:
        raise ServerAway(
            f"Its database is on the server {name}, which {SETTING} no longer names. Name it there "
            "again to inspect or drop the database."
        )
    return server


def _settings_of(named: object) -> dict[str, Any]:
    """Django's settings for a connection string: those of the default database but for the way."""
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(str(named)).items()}
    except psycopg.ProgrammingError as error:
        raise ImproperlyConfigured(
            f"{SETTING} is neither an alias in DATABASES nor a connection string: {error}"
        ) from error
    return {
        **copy.deepcopy(connections.databases["default"]),
        "NAME": given.pop("dbname", "postgres"),
        "USER": given.pop("user", ""),
        "PASSWORD": given.pop("password", ""),
        "HOST": given.pop("host", ""),
        "PORT": given.pop("port", ""),
        "OPTIONS": given,
        "CONN_MAX_AGE": 0,
        "ATOMIC_REQUESTS": False,
    }
