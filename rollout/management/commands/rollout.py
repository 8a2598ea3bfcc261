"""The console's verbs for a shell and for CI."""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from contextlib import nullcontext
from typing import Any

import psycopg
from django.core.management.base import BaseCommand
from django.db import DatabaseError

from rollout import runner
from rollout.journal.environments import UnknownEnvironment
from rollout.management import (
    approvals,
    audits,
    blockers,
    csv_files,
    leftovers,
    mappings,
    migrations,
    people,
    plans,
    processes,
    rehearsals,
    repairs,
    runs,
    scaffolds,
    schema,
    selftests,
    snapshots,
    value_decisions,
)
from rollout.management.outputs import (
    Escaped,
    Exact,
    reader_may_leave,
    unreadable,
    without_logs,
)
from rollout.management.verbs import DONE, NO, Output, Verb, adding, carry_out
from rollout.plan.registry import UnknownPlan

# Options that name files.
PATHS = ("write", "check", "apply", "upload", "paths")
# In the order of the help.
_MODULES = (
    *(plans, runs, csv_files, audits, repairs, mappings, value_decisions),
    *(blockers, selftests, approvals),
    *(snapshots, rehearsals, schema, migrations, leftovers, people, scaffolds, processes),
)


class Command(BaseCommand):
    help = "Start, watch, and roll back rollouts."
    requires_system_checks = ["rollout"]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = (
            "Exit status: 0 success; 1 negative result (mismatches, drift, a broken log, a failed "
            "gate); 2 usage or runtime error; 3 warnings only (preflight, readiness).\n"
            "VERB --log shows log lines too; without it, only warnings and errors."
        )
        add = adding(parser.add_subparsers(dest="verb", required=True, metavar="VERB"))
        for module in _MODULES:
            module.add_verbs(add)

    def handle(self, *, run: Verb, log: bool, **options: Any) -> None:
        out = Output(Escaped(self.stdout), Exact(self.stdout), Escaped(self.stderr))
        if problem := unreadable(options, paths=PATHS):
            sys.exit(out.complain(problem))
        status = DONE
        try:
            with reader_may_leave(), nullcontext() if log else without_logs():
                status = carry_out(run, out, options)
        except (UnknownPlan, UnknownEnvironment, DatabaseError, psycopg.Error) as error:
            status = out.complain(f"{error}".strip())
        except runner.Refused as refusal:
            out.complain(str(refusal))
            status = NO
        sys.exit(status)
