"""Writes the plan that makes an integer that numbers a live table's rows a bigint."""

from datetime import date

from django.template.loader import render_to_string

from rollout.engine.introspections import TableInfo
from rollout.queries.scaffold_parts import CannotScaffold, Scaffold
from rollout.queries.scaffold_texts import constant_of, free, slug, wrapped


def wide_key_scaffold(live: TableInfo, today: date) -> Scaffold:
    """A plan of a WidenKey, with each column that refers to it. Raises CannotScaffold."""
    key = live.narrow
    if live.is_partitioned_by:
        raise CannotScaffold(
            f"{live.table.label} is partitioned by {key}, so that {key} cannot become wide."
        )
    constants, taken = {live.table: "TABLE"}, {"TABLE", "KEY", "PLAN", "r"}
    for table, _ in live.referrers:
        if table not in constants:
            constants[table] = free(constant_of(table.name), taken)
    for table in constants:
        if not table.key:
            raise CannotScaffold(
                f"{table.label} has no primary key, which identifies rows. Add one first."
            )
    used = " ".join(k.sentences for k in live.integer_keys if k.column == key)
    number = len(live.referrers)
    refer = "column refers" if number == 1 else "columns refer"
    note = f"{used} {number:,} {refer} to it by a foreign key.".strip()
    title = f"{live.table.label}: wide {key}"
    name = slug(f"{live.table.name}-wide-{key}")
    source = render_to_string(
        "rollout/scaffold_wide_key.py-tpl",
        {
            "today": today.isoformat(),
            "comments": wrapped(note),
            "tables": [(constant, table) for table, constant in constants.items()],
            "key": key,
            "references": [(constants[table], column) for table, column in live.referrers],
            "plan": name,
            "title": title,
            "heading": title.replace("\\", "").replace('"', ""),
            "description": f"{key} of {live.table.label} becomes bigint.",
        },
    )
    return Scaffold(name, source, (note,))
