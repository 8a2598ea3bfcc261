"""Brings the demo's database to where the pages can be opened: `python -m config.prepare`.

Runs at every start, and does only what is missing.
"""

import os
from contextlib import suppress
from functools import cache, partial

import django
from django.contrib.auth.hashers import check_password, make_password
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from config.home import Home

PEOPLE = {"lead": "lead", "lead2": "lead", "engineer": "engineer", "viewer": "viewer"}


def load_listings() -> None:
    """Loads $LISTINGS, or generates $ROWS, into an empty table; keeps a table that has rows."""
    unfinished = Home.from_environ(os.environ).listings_loading
    # Whatever columns the table has in the rollout's present phase.
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM properties LIMIT 1")
        if cursor.rowcount and not unfinished.exists():
            return
    unfinished.touch()
    if listings := os.environ.get("LISTINGS"):
        call_command("load_listings", "--file", listings)
    else:
        call_command("load_listings", "--rows", os.environ["ROWS"])
    unfinished.unlink()


def load_offers() -> None:
    """Generates offers into an empty table, in a demo that has it."""
    from django.apps import apps

    if apps.is_installed("offers"):
        from offers.generated import fill

        fill()


def count_statements() -> None:
    """Makes pg_stat_statements, where that is there and ours to make: the console shows deltas."""
    with suppress(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")


def make_people(password: str) -> None:
    """Creates the demo's users, each in the group of its role, all with the demo's password."""
    from django.contrib.auth.models import Group, User

    # They share a hash; to compute or to check one takes a third of a second.
    is_right = cache(partial(check_password, password))
    hashed = ""
    for name, role in PEOPLE.items():
        user, made = User.objects.get_or_create(username=name)
        if made or not is_right(user.password):
            hashed = hashed or make_password(password)
            user.password = hashed
            user.save(update_fields=["password"])
        user.groups.add(Group.objects.get(name=role))


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    call_command("migrate", interactive=False, verbosity=0)
    count_statements()
    load_listings()
    load_offers()
    make_people(os.environ["DEMO_PASSWORD"])
    call_command("collectstatic", interactive=False, verbosity=0)


if __name__ == "__main__":
    main()
