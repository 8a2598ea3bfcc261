"""The SQL of the triggers that keep the legacy columns and the new ones in step.

Three stages, one pair of triggers and one function per table:

``forward``  legacy text is right; the new columns follow it, and any write heals an unfilled row.
             A foreign key that is written without its text takes the text with it.
``reverse``  the new columns are right and the legacy text follows; a writer that still knows only
             the legacy text is understood. A text that already means its row keeps its spelling.
``frozen``   as reverse, but legacy text written alone is refused, and text written with its row is
             what that row is written as: what is written after the archive needs no place in it.

The ``WHEN`` of a trigger is evaluated without calling the function, so that an update which has
nothing to translate pays almost nothing. The engine's own passes announce themselves: what they
write is never translated, since they bring every value that they mean to write.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from rollout.plan import extraction_triggers, facts
from rollout.plan.actions import Lock, LockMode, Statement
from rollout.plan.catalog import Catalog, Part, trigger_text
from rollout.plan.conflicting_writes import forgotten
from rollout.plan.conversion_lines import Stage
from rollout.plan.conversions import Conversion
from rollout.plan.dual_write_functions import TriggerFunction
from rollout.plan.mapping import text_of_row
from rollout.plan.names import code, identifier, in_target
from rollout.plan.refusals import drop_refusal, refusal_definition, refusal_name
from rollout.plan.resolvers import owned_function, resolver_definition, resolver_name
from rollout.plan.session_settings import IS_APPLICATION, OF_EXPRESSIONS, OF_GUARDED_EXPRESSIONS
from rollout.plan.translations import Lookup
from rollout.plan.value_decisions import decided_definition, decided_name, drop_decided


@dataclass(frozen=True)
class DualWriteTriggers(TriggerFunction):
    """The triggers of one table for the translations of one plan, and their function."""

    @property
    def function(self) -> str:
        return identifier(self.plan, self.table.label, "dual_write")

    @property
    def insert_trigger(self) -> str:
        return identifier("rollout", self.plan, "insert")

    @property
    def update_trigger(self) -> str:
        return identifier("rollout", self.plan, "update")

    def put_into(self, catalog: Catalog, stage: Stage) -> None:
        """Add the triggers in a stage to the expected catalog."""
        for name in (self.insert_trigger, self.update_trigger):
            catalog.put(self.table.label, Part("trigger", name), trigger_text(stage))
        for extract in self.extracts:
            extraction_triggers.put_triggers_into(catalog, extract, self.plan)

    def take_from(self, catalog: Catalog) -> None:
        for name in (self.insert_trigger, self.update_trigger):
            catalog.take(self.table.label, Part("trigger", name))
        for extract in self.extracts:
            extraction_triggers.take_triggers_from(catalog, extract, self.plan)

    @property
    def functions(self) -> list[str]:
        """The names of the functions that come and go with the triggers."""
        return [
            self.function,
            *(self.to_legacy(lookup) for lookup in self.lookups),
            *(refusal_name(conversion, self.plan) for conversion in self.conversions),
            *(decided_name(conversion, self.plan) for conversion in self._decidable),
            *(name for extract in self.extracts for name in extraction_triggers.functions(extract)),
        ]

    @property
    def _decidable(self) -> list[Conversion]:
        return [t for t in self.conversions if t.asks_people]

    def install(self, stage: Stage, *, between: Sequence[sql.Composable] = ()) -> Statement:
        """One transaction that puts functions and triggers of a stage in place of any other's.

        ``between`` are statements that lock the table: the functions are made before them.
        """
        functions, triggers = self._functions(stage), self._triggers(stage)
        definition = sql.SQL(";\n").join([*functions, *triggers])
        comment = f"{stage} {hashlib.sha256(definition.as_string().encode()).hexdigest()[:16]}"
        says = sql.SQL("COMMENT ON FUNCTION {} () IS {}").format(
            in_target(self.function), sql.Literal(comment)
        )
        return Statement(
            sql=sql.SQL(";\n").join([*functions, *between, *triggers, says]),
            done=facts.all_of(
                facts.function_has_comment(self.function, comment),
                facts.trigger_fires(self.table, self.insert_trigger),
                facts.trigger_fires(self.table, self.update_trigger),
            ),
            locks=self._locks(LockMode.SHARE_ROW_EXCLUSIVE),
        )

    def _locks(self, mode: LockMode) -> tuple[Lock, ...]:
        return (Lock(mode, self.table.label), *extraction_triggers.locks(self.extracts, mode))

    def remove(self) -> Statement:
        """One transaction that takes triggers and functions away."""
        functions = [in_target(self.function)]
        drops = [
            sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(
                sql.Identifier(name), self.table.identifier
            )
            for name in (self.insert_trigger, self.update_trigger)
        ]
        drops.append(sql.SQL("DROP FUNCTION IF EXISTS {} ()").format(functions[0]))
        drops += [
            sql.SQL("DROP FUNCTION IF EXISTS {} ({}, text)").format(
                in_target(self.to_legacy(lookup)), code(lookup.key_type)
            )
            for lookup in self.lookups
        ]
        drops += [drop_refusal(conversion, self.plan) for conversion in self.conversions]
        drops += [drop_decided(conversion, self.plan) for conversion in self._decidable]
        for extract in self.extracts:
            drops += extraction_triggers.remove(extract, self.plan)
        drops.append(forgotten(self.plan, self.table))
        return Statement(
            sql=sql.SQL(";\n").join(drops),
            done=facts.all_of(*(facts.no(facts.function_exists(name)) for name in self.functions)),
            locks=self._locks(LockMode.ACCESS_EXCLUSIVE),
        )

    def _functions(self, stage: Stage) -> list[sql.Composable]:
        # The resolver is there already; so it becomes what the plan says now.
        functions: list[sql.Composable] = [
            resolver_definition(lookup, self.plan) for lookup in self.lookups
        ]
        functions += [self._to_legacy_definition(lookup) for lookup in self.lookups]
        functions += [refusal_definition(t, self.plan) for t in self.conversions]
        functions += [decided_definition(t, self.plan) for t in self._decidable]
        for extract in self.extracts:
            functions += extraction_triggers.install(extract, self.plan)
        functions.append(
            owned_function(
                self.function,
                arguments="",
                returns="trigger",
                schema=self.table.schema,
                body=self.lines(stage),
                settings=OF_GUARDED_EXPRESSIONS
                if any(t.ways_back or t.is_closed for t in self.conversions)
                else OF_EXPRESSIONS,
            )
        )
        return functions

    def _triggers(self, stage: Stage) -> list[sql.Composable]:
        triggers = [
            sql.SQL(
                "CREATE OR REPLACE TRIGGER {} BEFORE {} ON {} FOR EACH ROW\n  WHEN ({})\n"
                "  EXECUTE FUNCTION {} ()"
            ).format(
                sql.Identifier(name),
                code(event),
                self.table.identifier,
                when,
                in_target(self.function),
            )
            for name, event, when in (
                (self.insert_trigger, "INSERT", IS_APPLICATION),
                (
                    self.update_trigger,
                    "UPDATE",
                    # In this order: an update that changes neither side asks for no setting.
                    sql.SQL("({}) AND {}").format(self.update_condition(stage), IS_APPLICATION),
                ),
            )
        ]
        return [*triggers, self._fire_for_subscriptions()]

    def _fire_for_subscriptions(self) -> sql.Composable:
        """Rows that a subscription brings go around triggers that do not fire always."""
        always = sql.SQL("BEGIN IF {fed} THEN ALTER TABLE {table} {enable}; END IF; END").format(
            fed=facts.is_fed(self.table),
            table=self.table.identifier,
            enable=sql.SQL(", ").join(
                sql.SQL("ENABLE ALWAYS TRIGGER {}").format(sql.Identifier(name))
                for name in (self.insert_trigger, self.update_trigger)
            ),
        )
        return sql.SQL("DO {}").format(sql.Literal(always.as_string()))

    def _to_legacy_definition(self, lookup: Lookup) -> sql.Composable:
        """The text of a lookup row: the one that is given, where that means the row already."""
        fill = {
            "to_new": in_target(resolver_name(lookup, self.plan)),
            "lookup": lookup.lookup_sql,
            "text": text_of_row(lookup, self.plan, "l"),
            "no_text": lookup.no_text,
            # A text that nobody gave means the row of blanks: where it must be one, it is empty.
            "given": code("given" if lookup.of_legacy.null else "coalesce(given, '')"),
            "no_row": sql.Literal(
                f"{self.table.label}.{lookup.column} was written as a row that is not there. "
                f"Write the id of a row of {lookup.lookup_label}, not "
            ),
        }
        lines = (
            "  IF wanted IS NULL THEN RETURN {no_text}; END IF;",
            "  SELECT {text} INTO usual FROM {lookup} AS l WHERE l.id = wanted;",
            "  IF NOT FOUND THEN",
            "    RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',",
            "      MESSAGE = {no_row} || wanted;",
            "  END IF;",
            # Another spelling of what means the row may be one that nobody has written yet.
            "  IF {to_new} (given, false) = wanted THEN RETURN {given}; END IF;",
            "  RETURN usual;",
        )
        return owned_function(
            self.to_legacy(lookup),
            arguments=f"wanted {lookup.key_type}, given text",
            returns="text",
            schema=self.table.schema,
            declare="usual text;",
            body=[code(line).format(**fill) for line in lines],
        )
