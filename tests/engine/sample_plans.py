"""A plan over a sample, and plans that differ from it."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rollout import plan as r

if TYPE_CHECKING:
    from tests.engine.samples import Sample


def plan_over(sample: "Sample") -> r.Plan:
    """A plan of all five phases over a sample's table."""
    table, kind, state = sample.table, sample.kind, sample.state
    translations = (kind, state, sample.is_open, sample.opened_at)

    def words(step: str) -> dict[str, Any]:
        return {"id": step, "description": step.replace("-", " ").capitalize()}

    drop_index = r.DropIndex(
        **words("drop-index"),
        table=table,
        name=sample.column("legacy_idx"),
        columns=(kind.legacy, state.legacy),
    )
    index = r.CreateIndex(
        **words("index"), table=table, name=sample.column("kind_idx"), columns=(kind.column,)
    )
    # PostgreSQL gives partitions no such constraint without a long lock.
    unique = (
        ()
        if table.partitioned
        else (
            r.AddUnique(
                **words("unique"), table=table, columns=(*table.key, sample.column("made_at"))
            ),
        )
    )
    return r.Plan(
        name=f"sample-{sample.name}",
        title="A sample",
        description="The free texts of a small table become foreign keys.",
        tables=(table,),
        translations=translations,
        phases=(
            r.Phase(steps=(r.CompareSchemaStep(**words("compare")),)),
            r.Phase(
                steps=(
                    r.CreateLookupTable(**words("create-kinds"), lookup=kind),
                    r.CreateLookupTable(**words("create-states"), lookup=state),
                    r.AddColumns(
                        **words("add-columns"),
                        table=table,
                        of=translations,
                        columns={"note": r.Column("text")},
                    ),
                )
            ),
            r.Phase(
                steps=(
                    r.MapLegacyValues(**words("map-values"), table=table),
                    r.StartDualWrite(**words("dual-write"), table=table),
                    r.WriteBoth(**words("write-both")),
                    r.Backfill(**words("backfill"), table=table),
                    r.FullAudit(**words("audit")),
                )
            ),
            r.Phase(
                steps=(
                    r.AddForeignKey(**words("kind-key"), lookup=kind),
                    r.AddForeignKey(**words("state-key"), lookup=state),
                    r.RequireValues(
                        **words("require"),
                        table=table,
                        columns=(kind.column, sample.is_open.column),
                    ),
                    r.AddCheck(
                        **words("check"),
                        table=table,
                        name=sample.column("check"),
                        condition=f"{{{sample.column('made_at')}}} >= '2000-01-01'"
                        " AND '{{}} 100 % %s' <> ''",
                    ),
                    *unique,
                    r.SetDefault(
                        **words("default"),
                        table=table,
                        column="note",
                        default="'100 % as it''s said'::text",
                        fill=False,
                    ),
                    r.CutOver(**words("cut-over"), table=table),
                    r.FullAudit(**words("audit")),
                )
            ),
            r.Phase(
                steps=(
                    r.FreezeLegacy(**words("freeze"), table=table),
                    r.ArchiveLegacy(**words("archive"), table=table),
                    drop_index,
                    r.DropLegacy(**words("drop"), table=table),
                    index,
                    r.UseFeature(**words("use-feature"), feature="counts"),
                )
            ),
        ),
    )


def with_step(plan: r.Plan, number: int, step: r.Step) -> r.Plan:
    """The plan with one more step at the end of a phase."""
    phases = list(plan.phases)
    phases[number] = replace(phases[number], steps=(*phases[number].steps, step))
    return with_phases(plan, phases)


def before_drop(plan: r.Plan, step: r.Step) -> r.Plan:
    """The plan with one more step right before the legacy columns are dropped."""
    *phases, contract = plan.phases
    number = [isinstance(other, r.DropLegacy) for other in contract.steps].index(True)
    steps = (*contract.steps[:number], step, *contract.steps[number:])
    return with_phases(plan, (*phases, replace(contract, steps=steps)))


def with_phases(plan: r.Plan, phases: Iterable[r.Phase]) -> r.Plan:
    """The plan with five other phases."""
    prepare, expand, backfill, enforce, contract = phases
    return replace(plan, phases=(prepare, expand, backfill, enforce, contract))
