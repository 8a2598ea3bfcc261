"""Where the tests of a module of `rollout/` are: at its place in this tree, or where this says."""

# Tests of more than a module, by what they go through.
WHOLE_WAYS = {
    "console/test_hostile_texts.py": "texts of the data on every page and in every download",
    "console/test_queries.py": "every page, with much and with little in the journal",
    "console/test_templates.py": "every template and every page",
    "console/test_zones.py": "every page that names a moment",
    "engine/test_every_phase.py": "whole plans forward and back, without a journal",
    "engine/test_rollback.py": "every phase's rollback after whatever people decide and write",
    "test_chaos.py": "one backfill in which everything goes wrong at once",
    "test_clocks.py": "whatever goes by a clock, on a machine whose clock is wrong",
    "test_clocks_jumps.py": "the same where the database's clock jumps",
    "test_crashes.py": "real workers that die in a backfill",
    "test_crashes_conversions.py": "the same in each action of a conversion",
    "test_crashes_csv_files.py": "the same over an uploaded CSV file",
    "test_crashes_extractions.py": "the same in each action of an extraction",
    "test_crashes_keys.py": "the same in steps of each kind of a widened key",
    "test_database_roles.py": "whole plans with the rights that docs/deploy.md lists",
    "test_end_to_end.py": "the property plan in a browser, beside an application",
    "test_faults.py": "what dies in the last phase, its rollback and a restore",
    "test_groups.py": "the tests themselves: their groups and fixtures",
    "test_hosts.py": "two machines, of which one is cut off",
    "test_imports.py": "the order of imports",
    "test_sources.py": "what holds for every source, this page among it",
    "test_stopping.py": "every kind of process, ended by a signal",
    "test_supply_chain.py": "what is installed",
    "test_wheel.py": "the built wheel in another project",
    "test_words.py": "every text that people read",
}

# A module with more lines has a test file of its name, or a line below.
MAX_LINES = 100
# Tables and their relations: what writes and reads them is tested where it does.
WITHOUT_TESTS = {"models"}
# The test file of a module that has none of its name. Once it gets one, its line goes.
MAX_LINES_HERE = 25
TESTED_BY = {
    "console/guardrails.py": "console/test_vitals.py",
    "console/urls.py": "console/http/test_access.py",
    "console/views/styles.py": "console/test_guides.py",
    "engine/introspections.py": "queries/test_scaffolds.py",
    "engine/value_previews.py": "console/views/test_value_decisions.py",
    "engine/audit/states.py": "engine/selftest/test_defects.py",
    "engine/rehearsal/fingerprints.py": "worker/test_rehearsals.py",
    "engine/selftest/writers.py": "engine/selftest/test_defects.py",
    "engine/snapshot/archive.py": "engine/snapshot/test_restore.py",
    "management/rehearsals.py": "management/test_verbs_waiting.py",
    "plan/archived_values.py": "engine/test_rollback.py",
    "plan/csv_tasks.py": "engine/test_csv_files.py",
    "plan/facts.py": "engine/test_ddl_steps.py",
    "plan/gates.py": "gates/test_runs.py",
    "plan/mapping.py": "engine/mapping/test_transactions.py",
    "plan/psql_blocks.py": "plan/test_psql_scripts.py",
    "plan/psql_procedures.py": "plan/test_psql_scripts.py",
    "plan/switch.py": "test_modes.py",
    "plan/transition.py": "plan/test_actions.py",
    "queries/migration_effects.py": "queries/test_migrations.py",
    "queries/scaffold_parts.py": "queries/test_scaffolds.py",
    "runner/csv_files.py": "console/views/test_csv_files.py",
    "runner/value_decisions.py": "management/test_value_decisions.py",
    "templatetags/rollout_tags.py": "console/test_templates.py",
    "worker/observer_process.py": "worker/test_rehearsal_observers.py",
}
