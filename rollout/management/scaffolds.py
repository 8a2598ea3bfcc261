"""The shell's verb that writes a first plan for a live table."""

from datetime import date
from pathlib import Path

from django.apps import apps

from rollout.engine.introspections import TableNotFound, introspect
from rollout.journal.environments import target_of
from rollout.management.verbs import DONE, AddVerb, Output
from rollout.plan import plans
from rollout.queries.scaffolds import CannotScaffold, Scaffold, scaffold


def add_verbs(add: AddVerb) -> None:
    own = add(
        "scaffold", write_plan, "Look at a live table and write a first plan for it.", plan=""
    )
    own.add_argument("app", help="the app that gets the plan, by its label")
    own.add_argument("table", help="the table, or schema.table, or a model of the app")
    own.add_argument("columns", nargs="+", metavar="column", help="what is to change its shape")
    own.add_argument("--print", action="store_true", dest="printed", help="write no file")


def write_plan(
    out: Output, env: str, app: str, table: str, columns: list[str], printed: bool
) -> int:
    """Write a first plan into an app's ``rollout.py``, where there is none yet."""
    try:
        config = apps.get_app_config(app)
    except LookupError as error:
        return out.complain(f"{error} Apps are named in INSTALLED_APPS.")
    path = Path(config.path) / "rollout.py"
    if path.exists() and not printed:
        return out.complain(
            f"{path} is there already. Print a plan instead, and add it by hand: --print"
        )
    try:
        with target_of(env).connect() as connection:
            looked = introspect(connection, _table_of(app, table), columns)
        made = scaffold(looked, tuple(columns), today=date.today())
    except (TableNotFound, CannotScaffold) as problem:
        return out.complain(str(problem))
    if any(plan.name == made.plan for plan in plans):
        return out.complain(f"There is a plan '{made.plan}' already.")
    if printed:
        out.data.write(made.source)
        return DONE
    try:
        # Whoever came first keeps what is theirs.
        with path.open("x", encoding="utf-8") as file:
            file.write(made.source)
    except FileExistsError:
        return out.complain(f"{path} is there already.")
    out.data.write(_next(path, made))
    return DONE


def _table_of(app: str, name: str) -> str:
    """The table of a model of the app, where that is what is named."""
    model = apps.all_models[app].get(name.removeprefix(f"{app}.").lower())
    return model._meta.db_table if model else name


def _next(path: Path, made: Scaffold) -> str:
    notes = [f"  Note: {note}" for note in made.notes]
    return "\n".join(
        [
            f"Wrote {path}, the plan '{made.plan}'.",
            *notes,
            "",
            "Next:",
            "  1. Read it. Its comments say what was found in the table.",
            "  2. manage.py check",
            f"  3. manage.py rollout sql {made.plan} 1     (then 2, 3, 4: what each would run)",
            f'  4. Let the application ask current_modes("{made.plan}") which shape it reads and'
            " writes.",
            f"  5. manage.py rollout start {made.plan} 0 --wait, or press it in the console.",
        ]
    )
