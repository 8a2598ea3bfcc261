"""A database without the site, as the tests of the engine have it."""

from tests.engine.conftest import connection, target

__all__ = ["connection", "target"]
