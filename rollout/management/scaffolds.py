"""The shell's verb that writes a first plan for a live table."""

from datetime import date
from pathlib import Path

from django.apps import apps

from rollout.engine.introspections import TableNotFound, introspect
from rollout.journal.environments import target_of
from rollout.management.verbs import DONE, AddVerb, Output
from rollout.plan import plans
from rollout.queries.scaffold_parts import CannotScaffold, Scaffold
from rollout.queries.scaffolds import scaffold


def add_verbs(add: AddVerb) -> None:
    own = add(
        "scaffold",
        write_plan,
        "Generate a plan from a live table, into the app's rollout.py.",
        example="scaffold shop shop_order state",
        plan="",
    )
    own.add_argument("app", help="label of the app that gets the plan")
    own.add_argument("table", help="the table, schema.table, or a model of the app")
    own.add_argument("columns", nargs="+", metavar="column", help="columns to migrate")
    own.add_argument(
        "--print",
        action="store_true",
        dest="printed",
        help="print the plan instead of writing the file",
    )


def write_plan(
    out: Output, env: str, app: str, table: str, columns: list[str], printed: bool
) -> int:
    """Write a first plan into an app's ``rollout.py``, if there is none yet."""
    try:
        config = apps.get_app_config(app)
    except LookupError as error:
        return out.complain(f"{error} Use the label of an app in INSTALLED_APPS.")
    path = Path(config.path) / "rollout.py"
    if path.exists() and not printed:
        return out.complain(
            f"{path} already exists. Print the plan with --print and add it by hand."
        )
    try:
        with target_of(env).connect() as connection:
            live = introspect(connection, _table_of(app, table), columns)
        made = scaffold(live, tuple(columns), today=date.today())
    except (TableNotFound, CannotScaffold) as problem:
        return out.complain(str(problem))
    if any(plan.name == made.plan for plan in plans):
        return out.complain(
            f"Plan '{made.plan}' already exists. Choose another table, or rename that plan."
        )
    if printed:
        out.data.write(made.source)
        return DONE
    try:
        # A file that another process wrote first stays.
        with path.open("x", encoding="utf-8") as file:
            file.write(made.source)
    except FileExistsError:
        return out.complain(
            f"{path} already exists. Print the plan with --print and add it by hand."
        )
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
            f"Wrote {path} with the plan '{made.plan}'.",
            *notes,
            "",
            "Next:",
            "  1. Read it. Its comments describe the table's data.",
            "  2. manage.py check",
            f"  3. manage.py rollout sql {made.plan} 1     (then 2, 3, 4: the SQL of each phase)",
            "  4. Make the application read and write the schema that "
            f'current_modes("{made.plan}") returns.',
            f"  5. manage.py rollout start {made.plan} 0 --wait, or start phase 0 in the console.",
        ]
    )
