"""How long pages take and what they ask, and what fifty open tabs cost.

    python -m bench.pages --rows 10000000

Every page of the console and of the application, against a rollout that was carried up to phase 2
over so many properties, with a journal of 200 jobs, 100,000 entries, 10,000 mismatches and a month
of measurements. Times are the server's: from the request's arrival in the handler until the answer
is whole. Queries are all that a page sends to PostgreSQL, those on connections of the engine's own
included.

The last line is JSON: {"pages": {address: {"p50_ms", "p95_ms", "queries"}}, "tabs": {…}}.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.server import Database, create, django_uses, server, set_up_django
from config.garbage import collect_seldom

if TYPE_CHECKING:
    from django.test import Client

PLAN = "property-classification"
PAGE = f"/rollout/{PLAN}/production/"
P95_MS = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(description="How long pages take, and what tabs cost.")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--requests", type=int, default=60, help="of each page")
    parser.add_argument("--tabs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30, help="of watching the tabs")
    options = parser.parse_args()
    with server() as home:
        set_up_django(home)
        from bench.open_tabs import open_tabs

        database = create(home, "pages")
        _prepare(database, options.rows)
        # As a web process does; and what the preparation has left behind is none of its own.
        collect_seldom()
        with django_uses(database):
            pages = {}
            for address in _addresses(database):
                pages[address] = measured(address, options.requests)
                print(_line(address, pages[address]), file=sys.stderr, flush=True)
            tabs = open_tabs(database, PAGE, count=options.tabs, seconds=options.seconds)
            print(json.dumps(tabs, indent=2), file=sys.stderr)
    print(json.dumps({"pages": pages, "tabs": tabs}))
    return 0


def _prepare(database: Database, rows: int) -> None:
    from django.core.management import call_command

    from bench import application, journal
    from bench.loops.rollout import carry_out, workers

    with django_uses(database):
        call_command("migrate", interactive=False, verbosity=0)
        with database.connect() as connection:
            application.load(connection, rows)
        with workers(database):
            for phase in (0, 1, 2):
                carry_out(PLAN, phase)
        journal.fill(PLAN)
        with database.connect() as connection:
            connection.execute("VACUUM (ANALYZE)")


def _addresses(database: Database) -> list[str]:
    from rollout.models import AuditReport, BackfillJob, Finding

    ended = AuditReport.objects.filter(finished_at__isnull=False)
    audits = list(ended.order_by("-pk").values_list("pk", flat=True)[:2])
    job = BackfillJob.objects.filter(kind="fill").latest("pk")
    finding = Finding.objects.latest("pk")
    with database.connect() as connection:
        row = connection.execute("SELECT id FROM properties LIMIT 1").fetchone()
    assert row is not None
    console = [
        "",
        *(f"{PLAN}/production/phases/{number}/" for number in range(5)),
        f"{PLAN}/production/phases/3/start/",
        f"{PLAN}/production/phases/2/roll-back/",
        *(f"{PLAN}/production/{name}/" for name in ("audits", "snapshots", "jobs", "monitoring")),
        f"{PLAN}/production/audits/?order=most-mismatches",
        f"{PLAN}/production/jobs/?kind=fill&order=most-rows",
        f"{PLAN}/production/monitoring/?hours=720",
        *(f"{PLAN}/production/{name}/" for name in ("schema", "mappings")),
        f"{PLAN}/production/mappings/properties/type/",
        f"{PLAN}/production/mappings/properties/type/?order=a-to-z",
        f"{PLAN}/production/",
        f"jobs/{job.pk}/",
        *(f"audits/{pk}/" for pk in audits),
        f"audits/{audits[0]}/?order=by-category",
        f"audits/{audits[1]}/compare/{audits[0]}/",
        f"findings/{finding.pk}/",
        *(
            "log/",
            f"log/?plan={PLAN}&actor=grace",
            "log/?text=Entry+99",
            "log/?after=50000",
            "log/?order=oldest",
        ),
        *("notifications/", "glossary/", "style/"),
    ]
    return [
        *(f"/rollout/{path}" for path in console),
        *("/properties/", "/properties/?text=loft", "/properties/?type=Houseboat"),
        f"/properties/{row[0]}/",
    ]


def measured(address: str, requests: int) -> dict[str, Any]:
    """Of one page, opened by a lead."""
    client = _lead()
    with _queries_counted() as counted:
        response = client.get(address)
    assert response.status_code == 200, (address, response.content[-600:])
    queries = counted[0]
    times = []
    for _ in range(requests):
        began = time.perf_counter()
        client.get(address)
        times.append((time.perf_counter() - began) * 1000)
    cuts = statistics.quantiles(times, n=20)
    return {"p50_ms": round(cuts[9], 1), "p95_ms": round(cuts[18], 1), "queries": queries}


def _lead() -> "Client":
    from django.conf import settings
    from django.contrib.auth.models import Group, User
    from django.test import Client

    from rollout.permissions import group_of

    settings.ALLOWED_HOSTS = ["testserver", "127.0.0.1"]
    user, _made = User.objects.get_or_create(username="lead")
    # A superuser's permissions are not looked up. The one of production opens every page but those
    # of no environment; a lead of all environments opens them too.
    for environment in ("", "production"):
        user.groups.add(Group.objects.get(name=group_of("lead", environment)))
    client = Client()
    client.force_login(user)
    return client


@contextmanager
def _queries_counted() -> Iterator[list[int]]:
    """Every statement that goes to PostgreSQL, by whatever connection."""
    import psycopg

    counted, send = [0], psycopg.Cursor.execute

    def counting(self: Any, *args: Any, **kwargs: Any) -> Any:
        counted[0] += 1
        return send(self, *args, **kwargs)

    psycopg.Cursor.execute = counting  # type: ignore[method-assign]
    try:
        yield counted
    finally:
        psycopg.Cursor.execute = send  # type: ignore[method-assign]


def _line(address: str, figures: dict[str, Any]) -> str:
    missed = figures["p95_ms"] >= P95_MS
    return (
        f"{figures['p50_ms']:>8.1f} {figures['p95_ms']:>8.1f} {figures['queries']:>4}  "
        f"{'MISSED ' if missed else ''}{address}"
    )


if __name__ == "__main__":
    os.environ.setdefault("ROLLOUT_TESTING", "1")
    sys.exit(main())
