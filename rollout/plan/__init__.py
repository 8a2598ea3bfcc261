"""The language a rollout is written in. Pure: it knows no connection and no journal."""

from rollout.plan.archives import ArchiveLegacy
from rollout.plan.checklist import (
    BackfillRehearsed,
    EnvironmentIntrospected,
    FlowsTested,
    Item,
    StepsDescribed,
    TypesMatch,
)
from rollout.plan.constraints import AddCheck, AddUnique
from rollout.plan.conversions import Convert, Derived
from rollout.plan.csv_tasks import RunCsvTask
from rollout.plan.cutovers import CutOver
from rollout.plan.defaults import SetDefault
from rollout.plan.dropped_tables import DropTable
from rollout.plan.extracted_tables import CreateExtractedTable
from rollout.plan.extractions import Extract
from rollout.plan.foreign_keys import AddForeignKey
from rollout.plan.gates import (
    Approved,
    AuditClean,
    BackfillComplete,
    ChecklistComplete,
    Gate,
    InBounds,
    MaintenanceWindow,
    MappingReviewed,
    NoDrift,
    NoLegacyReaders,
    ProbesPassed,
    RehearsalPassed,
    SnapshotVerified,
    Soak,
)
from rollout.plan.guardrails import STANDARD, Guardrail
from rollout.plan.indexes import CreateIndex, CreateMaterializedView, DropIndex
from rollout.plan.legacy_views import LegacyView
from rollout.plan.names import normal_form
from rollout.plan.plan import Phase, Plan, Step
from rollout.plan.registry import plans
from rollout.plan.removals import DropLegacy, FreezeLegacy, StopDualWrite, UseFeature
from rollout.plan.renamed_tables import DropOldName, RenameTable
from rollout.plan.schema import AddColumns, CreateLookupTable, RequireValues
from rollout.plan.sql_files import SqlFile, SqlFiles
from rollout.plan.table import Column, Table
from rollout.plan.tasks import RunTask
from rollout.plan.transition import (
    Backfill,
    FullAudit,
    MapLegacyValues,
    StartDualWrite,
    WriteBoth,
)
from rollout.plan.translations import Computed, Lookup
from rollout.plan.trials import CompareSchemaStep, ProbeFlow
from rollout.plan.vocabularies import CreateEnum, ToCheck, ToEnum
from rollout.plan.wide_keys import WidenKey

register = plans.register

__all__ = [
    "STANDARD",
    "AddCheck",
    "AddColumns",
    "AddForeignKey",
    "AddUnique",
    "Approved",
    "ArchiveLegacy",
    "AuditClean",
    "Backfill",
    "BackfillComplete",
    "BackfillRehearsed",
    "ChecklistComplete",
    "Column",
    "CompareSchemaStep",
    "Computed",
    "Convert",
    "CreateEnum",
    "CreateExtractedTable",
    "CreateIndex",
    "CreateLookupTable",
    "CreateMaterializedView",
    "CutOver",
    "Derived",
    "DropIndex",
    "DropLegacy",
    "DropOldName",
    "DropTable",
    "EnvironmentIntrospected",
    "Extract",
    "FlowsTested",
    "FreezeLegacy",
    "FullAudit",
    "Gate",
    "Guardrail",
    "InBounds",
    "Item",
    "LegacyView",
    "Lookup",
    "MaintenanceWindow",
    "MapLegacyValues",
    "MappingReviewed",
    "NoDrift",
    "NoLegacyReaders",
    "Phase",
    "Plan",
    "ProbeFlow",
    "ProbesPassed",
    "RehearsalPassed",
    "RenameTable",
    "RequireValues",
    "RunCsvTask",
    "RunTask",
    "SetDefault",
    "SnapshotVerified",
    "Soak",
    "SqlFile",
    "SqlFiles",
    "StartDualWrite",
    "Step",
    "StepsDescribed",
    "StopDualWrite",
    "Table",
    "ToCheck",
    "ToEnum",
    "TypesMatch",
    "UseFeature",
    "WidenKey",
    "WriteBoth",
    "normal_form",
    "plans",
    "register",
]
