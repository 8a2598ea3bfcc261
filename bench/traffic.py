"""An application's transactions beside a loop, and how long they took.

pgbench starts them at the rate of their schedule, whether or not those before have ended, and
counts a transaction's time from the moment it was due: waiting in a queue is waiting.
"""

import math
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.server import Database
from config import embedded, processes

RATE = 300
CLIENTS = 8
START_SECONDS = 30
LONGEST_SECONDS = 1800

KEYS = {"uuid": "md5(:n::text)::uuid", "bigint": ":n"}

SCRIPTS = {
    40: "SELECT title, price, type, status FROM listings WHERE id = {key};",
    30: "UPDATE listings SET price = :n, title = 'Listing :n, new price', updated_at = now()"
    " WHERE id = {key};",
    10: "INSERT INTO listings (title, description, address, city, postal_code, price, type, status,"
    " created_at, updated_at) VALUES ('Listing', 'Just listed', '1 Main St', 'City :city', '10001',"
    " :n, 'House', 'For sale', now(), now());",
    20: "SELECT id, title, price FROM listings WHERE city = 'City :city'"
    " ORDER BY created_at DESC LIMIT 20;",
}
"""Weight to statement; row ``n`` and city are picked at random for each transaction."""


class NoTraffic(Exception):
    """No transaction was due in all the time; the message is what pgbench said."""


@dataclass(frozen=True)
class Latencies:
    """Of the transactions that were due in a span of time; milliseconds."""

    transactions: int
    errors: int
    p50: float
    p95: float
    p99: float
    longest: float

    def as_dict(self) -> dict[str, float | int]:
        return {
            "app_p50_ms": self.p50,
            "app_p95_ms": self.p95,
            "app_p99_ms": self.p99,
            "app_max_ms": self.longest,
            "app_errors": self.errors,
            "app_transactions": self.transactions,
        }


@dataclass
class Traffic:
    """Traffic under way; afterwards, what was seen."""

    directory: Path
    process: subprocess.Popen[bytes]
    errors: int = 0
    seen: list[tuple[float, float]] = field(default_factory=list)
    """Of each transaction: when it was due, and how long after that it had ended; seconds."""

    def stop(self, *, drain: float) -> None:
        """Let what is due catch up for at most that long, then end."""
        time.sleep(drain)
        # What pgbench does when the time given to it is up: it ends and writes out its log.
        self.process.send_signal(signal.SIGALRM)
        self.process.wait(60)
        self._read()

    def _read(self) -> None:
        for log in self.directory.glob("log.*"):
            for line in log.read_text().splitlines():
                _client, _number, took, _script, second, micros, *_lag = line.split()
                if took == "failed":
                    self.errors += 1
                    continue
                seconds = int(took) / 1e6
                self.seen.append((int(second) + int(micros) / 1e6 - seconds, seconds))
        output = (self.directory / "output").read_text(errors="replace")
        self.errors += sum("aborted" in line for line in output.splitlines())

    def slowest_due(self, started: float, ended: float) -> float:
        """When the slowest transaction of a span of time was due."""
        return max((s, due) for due, s in self.seen if started <= due <= ended)[1]

    def between(self, started: float, ended: float) -> Latencies:
        took = sorted(seconds * 1000 for due, seconds in self.seen if started <= due <= ended)

        if not took:
            raise NoTraffic((self.directory / "output").read_text(errors="replace"))

        def percentile(share: float) -> float:
            return took[max(0, math.ceil(share * len(took)) - 1)]

        return Latencies(
            len(took),
            self.errors,
            percentile(0.50),
            percentile(0.95),
            percentile(0.99),
            percentile(1.0),
        )


def scripts_of_listings(key: str) -> dict[int, str]:
    """Weight to pgbench script, for listings with such a key."""
    return {
        weight: "\\set n random(1, :rows)\n\\set city random(0, 4999)\n"
        f"{statement.format(key=KEYS[key])}\n"
        for weight, statement in SCRIPTS.items()
    }


@contextmanager
def traffic(
    database: Database, scripts: Mapping[int, str], rows: int, *, warm_up: float
) -> Iterator[Traffic]:
    """Traffic on a database, that has gone on for so many seconds."""
    (database.home / "traffic").mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=f"{database.name}-", dir=database.home / "traffic"))
    directory.chmod(0o755)
    command = [
        *(str(embedded.program("pgbench")), "--no-vacuum"),
        *("--rate", str(RATE), "--client", str(CLIENTS), "--time", str(LONGEST_SECONDS)),
        *("--define", f"rows={rows}", "--log", "--log-prefix", str(directory / "log")),
    ]
    for weight, text in scripts.items():
        script = directory / f"{weight}.sql"
        script.write_text(text)
        command += ["--file", f"{script}@{weight}"]
    with (directory / "output").open("wb") as output:
        process = processes.spawn(
            [*command, database.url],
            home=database.home,
            environ={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            output=output,
        )
    try:
        _await_clients(database)
        time.sleep(warm_up)
        yield Traffic(directory, process)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@contextmanager
def busy_core(database: Database) -> Iterator[None]:
    """A process that keeps one core busy."""
    process = processes.spawn(
        [sys.executable, "-c", "while True: pass"], home=database.home, environ={}, output=None
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _await_clients(database: Database) -> None:
    deadline = time.monotonic() + START_SECONDS
    with database.connect() as connection:
        while time.monotonic() < deadline:
            clients = connection.execute(
                "SELECT FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'pgbench'"
            )
            if clients.rowcount >= CLIENTS:
                return
            time.sleep(0.05)
