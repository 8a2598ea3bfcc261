"""The journal's database: the default one, unless a database router sends the app's models away."""

from collections.abc import Callable
from typing import Any

from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import Atomic


def alias() -> str:
    """The Django alias of the database in which the journal is kept."""
    # The application may import this before its models are there.
    from rollout.models import Rollout

    return router.db_for_write(Rollout)


def connection() -> BaseDatabaseWrapper:
    """This thread's connection to the journal."""
    return connections[alias()]


def on_commit(act: Callable[[], Any], *, robust: bool = False) -> None:
    """Do something once the journal's transaction has committed, at once if there is none.

    What goes wrong with a ``robust`` one is logged and fails nobody.
    """
    transaction.on_commit(act, using=alias(), robust=robust)


def atomic() -> Atomic:
    """A transaction of the journal."""
    return transaction.atomic(using=alias())
