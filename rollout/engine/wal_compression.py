"""Compression of the full pages that the engine's sessions write to the WAL."""

from dataclasses import dataclass

from psycopg import sql

from rollout.engine.target import Connection

# Of the methods a server may have. 100,000 rows: 28 % less WAL for 2 % more processor time. zstd
# takes 25 % more and saves a third.
CHEAP = "lz4"
# Every server has it. It takes 45 % more processor time and saves a quarter: worth it only while
# others wait for the disk that the WAL goes to.
COSTLY = "pglz"
# Before this version only superusers set it, and the one method is pglz.
MIN_VERSION = 150000


@dataclass(frozen=True)
class WalCompression:
    """What the server does by itself, what it can do, and whether this role may choose."""

    setting: str
    method: str | None
    """The cheapest that the server was built with; None where a session has no choice."""
    may_set: bool

    @property
    def is_on(self) -> bool:
        return self.setting != "off"


def read(connection: Connection) -> WalCompression:
    """The compression of this session."""
    if connection.info.server_version < MIN_VERSION:
        row = connection.execute("SELECT current_setting('wal_compression')").fetchone()
        assert row is not None
        return WalCompression(row[0], None, False)
    row = connection.execute(
        "SELECT setting, enumvals, has_parameter_privilege('wal_compression', 'SET')"
        "  FROM pg_settings WHERE name = 'wal_compression'"
    ).fetchone()
    assert row is not None
    setting, methods, may_set = row
    return WalCompression(setting, CHEAP if CHEAP in methods else COSTLY, may_set)


class SessionCompression:
    """Compresses what a session writes, where its role may: always, or while others write.

    A server that compresses by itself keeps its setting.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        compression = read(connection)
        chooses = compression.may_set and not compression.is_on
        self._method = compression.method if chooses else None
        self._is_on = False
        self.follow(others_write=False)

    def follow(self, *, others_write: bool) -> None:
        """Compress from now on, or no longer, by whether other sessions write too."""
        wanted = self._method is not None and (self._method == CHEAP or others_write)
        if wanted == self._is_on:
            return
        self._connection.execute(
            sql.SQL("SET wal_compression = {}").format(
                sql.Literal(self._method if wanted else "off")
            )
        )
        self._is_on = wanted
