"""The shell's verb that writes Django migrations for the phases of a plan."""

from pathlib import Path

from rollout.journal.environments import alias_of
from rollout.journal.rollouts import no_phase
from rollout.management.verbs import DONE, NO, AddVerb, Output
from rollout.plan import plans
from rollout.queries.plan_migrations import CannotMigrate, migrations_of


def add_verbs(add: AddVerb) -> None:
    sub = add(
        "makemigrations",
        make_migrations,
        "Write the Django migration of a phase, once the models have changed.",
        example="makemigrations order-states",
        no="the models have the columns of no phase",
    )
    sub.add_argument(
        "--phase", type=int, help="the phase (default: the first one whose columns the models have)"
    )
    sub.add_argument(
        "--dry-run", action="store_true", help="print the migration instead of writing the file"
    )


def make_migrations(out: Output, plan: str, env: str, phase: int | None, dry_run: bool) -> int:
    if phase is not None and phase not in range(1, 5):
        return out.complain(no_phase(phase))
    try:
        made = migrations_of(plans.get(plan), phase, alias_of(env))
    except CannotMigrate as problem:
        out.complain(str(problem))
        return NO
    if not made:
        return out.say("No changes detected: the project's migrations have this phase already.")
    for migration in made:
        if dry_run:
            out.data.write(migration.source)
            continue
        path = Path(migration.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(migration.source, encoding="utf-8")
        out.say(f"Wrote {path}.")
    return DONE
