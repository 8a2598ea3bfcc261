"""What measuring costs: requests with and without it, by turns, within one process and run.

    python -m bench.telemetry --requests 400

The last line is JSON: processor time a request with and without, in ms, and the ratio of the two.
Requests go through the site's own handler, pages and database; the writing of what was measured is
part of the time with it, a whole flush after each block.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.server import server
from config.prepare import PEOPLE

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

BLOCK = 20
"""Requests before the other side has its turn: what drifts meanwhile meets both."""
ROWS = 2_000


def main() -> int:
    parser = argparse.ArgumentParser(description="What measuring a request costs.")
    parser.add_argument("--requests", type=int, default=1000, help="on each side")
    parser.add_argument("--rows", type=int, default=ROWS, help="listings in the table")
    options = parser.parse_args()
    with server() as database:
        os.environ.update(
            {
                "DATABASE_URL": database.url,
                "DJANGO_SETTINGS_MODULE": "bench.settings",
                "SECRET_KEY": "only-for-the-benchmark",
                "ROLLOUT_HOME": str(database.home),
                "ROLLOUT_TESTING": "1",
            }
        )
        print(json.dumps(_measured(options.requests, options.rows)))
    return 0


def _measured(requests: int, rows: int) -> dict[str, object]:
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.db.models import Sum
    from django.test import Client

    from rollout.models import Measurement

    settings.ALLOWED_HOSTS = ["testserver"]
    call_command("migrate", verbosity=0, interactive=False)
    call_command("load_listings", rows=rows, verbosity=0, stdout=sys.stderr)
    with_it, without = Client(), _client_without_middleware()
    for client in (with_it, without):
        client.force_login(_somebody())
    addresses = _addresses()
    sides = {"with": _measuring(with_it), "without": _not_measuring(without)}
    for visit in sides.values():
        _block(visit, addresses, BLOCK * 2)
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(max(1, requests // BLOCK)):
        # Who begins changes, so that neither always comes second.
        for name in sorted(sides, reverse=bool(number % 2)):
            times[name].append(_block(sides[name], addresses, BLOCK) / BLOCK * 1000)
        print(f"block {number + 1}", end="\r", file=sys.stderr, flush=True)
    ratios = [a / b for a, b in zip(times["with"], times["without"], strict=True)]
    measured = Measurement.objects.aggregate(calls=Sum("calls"))["calls"]
    assert measured == BLOCK * (len(ratios) + 2), (
        "one side was measured whole, the other not at all"
    )
    return {
        "requests": BLOCK * len(ratios),
        "with_ms": round(statistics.median(times["with"]), 3),
        "without_ms": round(statistics.median(times["without"]), 3),
        "ratio": round(statistics.median(ratios), 4),
        "ratio_of_sums": round(sum(times["with"]) / sum(times["without"]), 4),
        "wanted": 1.02,
    }


def _block(visit: Callable[[str], None], addresses: list[str], number: int) -> float:
    """Processor seconds of so many requests, all of the process's threads together."""
    began = time.process_time()
    for n in range(number):
        visit(addresses[n % len(addresses)])
    visit("")
    return time.process_time() - began


def _measuring(client: "Client") -> Callable[[str], None]:
    from rollout.telemetry.recorder import recorder

    return lambda address: _get(client, address) if address else recorder.flush()


def _not_measuring(client: "Client") -> Callable[[str], None]:
    from rollout.telemetry.operations import unmeasured

    def visit(address: str) -> None:
        if address:
            with unmeasured():
                _get(client, address)

    return visit


def _get(client: "Client", address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200, (address, answer.status_code)


def _client_without_middleware() -> "Client":
    from django.conf import settings
    from django.test import Client

    usual = settings.MIDDLEWARE
    settings.MIDDLEWARE = [name for name in usual if not name.endswith("Telemetry")]
    client = Client()
    # The handler reads the setting when it is loaded.
    client.handler.load_middleware()
    settings.MIDDLEWARE = usual
    return client


def _somebody() -> "User":
    from django.contrib.auth.models import User

    return User.objects.get_or_create(username=next(iter(PEOPLE)))[0]


def _addresses() -> list[str]:
    """Searches and single pages, as people look at them."""
    from properties.transition.models import LegacyProperty

    ids = list(LegacyProperty.objects.values_list("pk", flat=True)[:8])
    return [
        part
        for pk in ids
        for part in ("/properties/", "/properties/?type=House", f"/properties/{pk}/")
    ]


if __name__ == "__main__":
    sys.exit(main())
