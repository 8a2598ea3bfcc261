"""A phase, either way, as a script for psql: to be reviewed, and the last resort.

The script needs nothing but psql, the rollout's role and a direct connection. It asks the catalog
before each statement, so it continues wherever the phase, the console or an earlier run of itself
has stopped, and may be run any number of times. It refuses the wrong order of phases.
"""

from collections.abc import Iterator

from psycopg import sql

from rollout.plan import facts, psql_blocks
from rollout.plan.actions import (
    EVERY_SERVER,
    Action,
    Audit,
    CompareSchema,
    Compute,
    Fill,
    Probe,
    Statement,
)
from rollout.plan.copies import Copy
from rollout.plan.csv_tasks import CsvTask
from rollout.plan.kept_rights import FORGET_RIGHTS_OF_GONE_ROLES
from rollout.plan.plan import CONTRACT, PREPARE, ROLES, Plan, Step
from rollout.plan.proofs import Proof
from rollout.plan.psql_procedures import SETUP
from rollout.plan.session_settings import ANNOUNCE, BY_KEY

_RELATION = sql.Identifier("the batch's relation")
MAX_ATTEMPTS = 30


def forward_script(plan: Plan, number: int) -> str:
    """The script that runs a phase, except for what SQL cannot do."""
    order = "Only phase 0 precedes this phase."
    if number > 1:
        before = "Phase 1 is" if number == 2 else f"Phases 1 to {number - 1} are"
        order = f"{before} done, in this order."
    lines = _top(plan, number, (psql_blocks.FORWARD_HEAD, psql_blocks.FORWARD_END), order)
    if number != PREPARE:
        lines.append(psql_blocks.REFUSE_WITHOUT_SCHEMA.rstrip("\n"))
    lines += _newer(plan, number, f"Phase {number} must run before it.")
    lines += [*_after_the_earlier(plan, number, forward=True), "\\endif", ""]
    for step in plan.phases[number].steps:
        level = [f"-- This step is {step.level}."] if step.level else []
        lines += _script(step, plan.forward(step).actions, "nothing to do", *level)
    return "\n".join(
        [*lines, "", _echo(f"Phase {number} is done, except for what SQL cannot do."), ""]
    )


def rollback_script(plan: Plan, number: int) -> str:
    """The complete script that rolls a phase back, for ``psql -f``."""
    order = "This is the latest phase."
    if number < len(plan.phases) - 1:
        order = (
            f"Phases {number + 1} to 4 are rolled back or never started. Roll back the latest "
            "first."
        )
    lines = _top(plan, number, (psql_blocks.ROLLBACK_HEAD, psql_blocks.ROLLBACK_END), order)
    lines += _newer(plan, number, "Roll it back first, with its own script.")
    lines += [*_after_the_earlier(plan, number, forward=False), "\\endif", ""]
    if number == CONTRACT:
        lines += [_echo("Rights of roles that are gone"), _statement(FORGET_RIGHTS_OF_GONE_ROLES)]
    for step in reversed(plan.phases[number].steps):
        actions = plan.backward(step).actions
        begun: list[str] = []
        if any(isinstance(action, Fill) and action.source for action in actions):
            fact = sql.SQL(" OR ").join(_done_of(plan.forward(step).actions))
            begun = [f"SELECT {_sure(fact)} AS begun \\gset"]
        lines += _script(step, actions, "nothing to undo", *begun)
    recognise = f"manage.py rollout recognise {plan.name} {number}"
    return "\n".join([*lines, _echo(f"Phase {number} rolled back. Next: {recognise}"), ""])


def _top(plan: Plan, number: int, head: tuple[str, str], order: str) -> list[str]:
    text = "".join((head[0], psql_blocks.HOW_TO_RUN, head[1], SETUP)).format(
        number=number,
        role=ROLES[number],
        name=plan.name,
        digest=plan.digest,
        of_phase=plan.digest_of(number),
        order=order,
        attempts=MAX_ATTEMPTS,
        relation=sql.Literal(_RELATION.as_string()).as_string(),
        announced=ANNOUNCE.as_string().removeprefix("SELECT "),
        by_key=BY_KEY.as_string().removeprefix("SELECT "),
    )
    return [text.rstrip("\n")]


def _newer(plan: Plan, number: int, advice: str) -> Iterator[str]:
    """Refuses while a newer phase has begun."""
    for later in range(number + 1, len(plan.phases)):
        begun = _begun(plan, later)
        if begun is not None:
            yield psql_blocks.REFUSE_IF_NEWER_BEGAN.format(
                begun=_sure(begun), number=later, advice=advice
            ).rstrip("\n")


def _after_the_earlier(plan: Plan, number: int, *, forward: bool) -> Iterator[str]:
    """Refuses to run a phase before its predecessor is done; without that nothing is to undo."""
    earlier = [n for n in range(number) if (_in_place(plan, n)) is not None]
    if not earlier:
        return
    before = earlier[-1]
    in_place, begun = _in_place(plan, before), _begun(plan, number)
    assert in_place is not None
    refusal = f"Phase {before} is not done. Run its script first."
    nothing = f"  already so: phase {before} is not in place, so nothing of phase {number} is"
    yield psql_blocks.REFUSE_OUT_OF_ORDER.format(
        begun="false" if begun is None else _sure(begun),
        in_place=_sure(in_place),
        filled="".join(_filled(plan, before)) if forward else "",
        otherwise=f"CALL pg_temp.refuse('{refusal}');" if forward else f"{_echo(nothing)}\n\\q",
    ).rstrip("\n")


def _filled(plan: Plan, number: int) -> Iterator[str]:
    """Refuses while a phase has left rows to be filled in."""
    for step in plan.phases[number].steps:
        for action in plan.forward(step).actions:
            if isinstance(action, Fill):
                message = (
                    f" rows of {action.table.label} are not backfilled yet. Finish phase {number}"
                    " first."
                )
                yield psql_blocks.REFUSE_IF_UNFILLED.format(
                    query=action.guarded.unfilled(facts.TRUE).as_string(),
                    message=sql.Literal(message).as_string(),
                )


def _begun(plan: Plan, number: int) -> sql.Composable | None:
    """SQL: the first step of a phase that changes the schema is in place, or part of it.

    While a table that values are restored from is there, its phase is not rolled back.
    """
    signs: list[sql.Composable] = [
        facts.relation_exists(action.source)
        for step in plan.phases[number].steps
        for action in plan.backward(step).actions
        if isinstance(action, Fill) and action.source is not None
    ]
    for step in plan.phases[number].steps:
        done = _done_of(plan.forward(step).actions)
        undone = _done_of(plan.backward(step).actions)
        if done and undone:
            first = sql.SQL("(({}) AND NOT {})").format(
                sql.SQL(" OR ").join(done), facts.all_of(*undone)
            )
            return sql.SQL("({})").format(sql.SQL(" OR ").join([first, *signs]))
    return None


def _in_place(plan: Plan, number: int) -> sql.Composable | None:
    """SQL: every statement of a phase is applied that can be asked; None where none can."""
    facts_in_place = [
        action.done
        if action.servers == EVERY_SERVER
        else sql.SQL("(NOT ({}) OR {})").format(_fits(action), action.done)
        for step in plan.phases[number].steps
        for action in plan.forward(step).actions
        if isinstance(action, Statement) and action.done is not None
    ]
    return facts.all_of(*facts_in_place) if facts_in_place else None


def _fits(statement: Statement) -> sql.Composable:
    first, end = statement.servers
    major = sql.SQL("current_setting('server_version_num')::integer / 10000")
    return sql.SQL("{major} >= {first} AND {major} < {end}").format(
        major=major, first=sql.Literal(first), end=sql.Literal(end)
    )


def _sure(fact: sql.Composable) -> str:
    """A boolean that is never null, as ``\\\\if`` needs it."""
    return f"coalesce({fact.as_string()}, false)"


def _done_of(actions: tuple[object, ...]) -> list[sql.Composable]:
    return [a.done for a in actions if isinstance(a, Statement) and a.done is not None]


def _script(step: Step, actions: tuple[Action, ...], nothing: str, *before: str) -> list[str]:
    lines = ["", f"-- {step.id}", _echo(step.description)]
    if not actions:
        return [*lines, _echo(f"  {nothing}")]
    return [*lines, *before, *map(_action, actions)]


def _echo(text: str) -> str:
    return "\\echo '" + text.replace("\\", "").replace("'", "''").replace("\n", " ") + "'"


def _action(action: Action) -> str:
    match action:
        case Statement():
            return _statement(action)
        case Fill():
            return _fill(action)
        case Compute():
            return _compute(action)
        case Copy():
            return _copy(action)
        case Proof():
            return _proof(action)
        case Audit():
            return _echo("  left to the console: full audit")
        case Probe():
            return _echo(f"  left to the console: smoke test {action.flow}")
        case CompareSchema():
            return _echo("  left to the console: comparison of the schema with the plan")


def _statement(statement: Statement) -> str:
    if statement.servers != EVERY_SERVER:
        return psql_blocks.ON_MATCHING_SERVERS.format(
            fits=_fits(statement).as_string(), text=_on_any(statement)
        )
    return _on_any(statement)


def _on_any(statement: Statement) -> str:
    if not statement.generates and not statement.long:
        question = "NULL" if statement.done is None else _quoted(statement.done.as_string())
        return f"CALL pg_temp.patiently(\n{_quoted(statement.text)},\n{question});"
    if statement.generates:
        # The statements that the target makes of its partitions, each run by psql.
        text = (psql_blocks.GENERATED_LONG if statement.long else psql_blocks.GENERATED).format(
            query=statement.text
        )
    else:
        # As one message to the server: several statements are one transaction then.
        text = psql_blocks.OUTSIDE_TRANSACTION.format(statement=_quoted(statement.text))
    if statement.done is None:
        return text
    return psql_blocks.UNLESS_DONE.format(done=_sure(statement.done), text=text)


_BATCH = sql.SQL("t.ctid >= $1 AND t.ctid < $2")


def _fill(fill: Fill) -> str:
    fill = fill.guarded
    statement = fill.update(_BATCH, relation=_RELATION)
    arguments = [_quoted(fill.unfilled(sql.SQL("true")).as_string())]
    if fill.keeps:
        statement = sql.SQL(
            "WITH written AS ({} RETURNING {} AS key, {} AS kept) SELECT count(*),"
            " array_agg(array_to_string(key, ' ')) FILTER (WHERE NOT kept) FROM written"
        ).format(statement, fill.table.key_texts("t"), fill.is_kept)
        arguments.append("keeping => true")
    table = sql.Literal(fill.table.identifier.as_string()).as_string()
    arguments = [table, _quoted(statement.as_string()), *arguments]
    listed = ",\n".join(arguments)
    call = f"CALL pg_temp.in_batches({listed});\n"
    if fill.source is None:
        return call.rstrip("\n")
    return _from_source(fill.source, call)


def _copy(copy: Copy) -> str:
    table, statement, unfinished = (
        sql.Literal(copy.table.identifier.as_string()).as_string(),
        _quoted(copy.insert(copy.read(_BATCH, relation=_RELATION)).as_string()),
        _quoted(copy.unfinished.as_string()),
    )
    call = f"CALL pg_temp.in_batches({table},\n{statement},\n{unfinished}, always => true);"
    return psql_blocks.IF_NOT.format(done=_sure(copy.done), text=call)


def _from_source(source: sql.Identifier, call: str) -> str:
    """What reads a table of the engine's own, while that is there."""
    there = facts.relation_exists(source)
    return psql_blocks.IF_SOURCE_EXISTS.format(there=there.as_string(), fill=call)


def _proof(proof: Proof) -> str:
    recorded = "NULL" if proof.recorded is None else proof.recorded.as_string()
    table = sql.Literal(proof.table.identifier.as_string()).as_string()
    source = "NULL" if proof.source is None else sql.Literal(proof.source.as_string()).as_string()
    question = _quoted(proof.guarded.compared(_BATCH, relation=_RELATION).as_string())
    call = f"CALL pg_temp.prove({table},\n{question},\n{recorded}, {source});\n"
    if proof.done is not None:
        return psql_blocks.IF_NOT.format(done=_sure(proof.done), text=call.rstrip("\n"))
    return call.rstrip("\n") if proof.source is None else _from_source(proof.source, call)


def _compute(compute: Compute) -> str:
    """How many rows are left for Python to compute."""
    text = "\n".join(
        [
            _echo(f"  {compute.table.label}: {', '.join(compute.columns)} by {compute.function}"),
            psql_blocks.COUNT_UNCOMPUTED.format(unfilled=compute.unfilled(facts.TRUE).as_string()),
        ]
    )
    if isinstance(compute, CsvTask):
        return psql_blocks.IF_NOT.format(done=_sure(facts.no(compute.file.is_there)), text=text)
    return text


def _quoted(text: str) -> str:
    """The text between dollar signs, so that people can read it, and psql replaces nothing."""
    tag = "$sql$"
    number = 0
    while tag in text:
        number += 1
        tag = f"$sql{number}$"
    return f"{tag}\n{text}\n{tag}"
