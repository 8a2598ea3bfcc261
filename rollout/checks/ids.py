"""The ids of all system checks: one for each condition, to be silenced and searched for alone.

An id that was released keeps its meaning.
"""

from enum import StrEnum, unique


@unique
class CheckId(StrEnum):
    """One member for each condition: id, meaning. E is an error, W a warning."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> "CheckId":
        check = str.__new__(cls, value)
        check._value_ = value
        check.meaning = meaning
        return check

    # Plans.
    NO_ROLLBACK = "rollout.E001", "A step defines no rollback."
    TRANSLATION_READS_NO_COLUMN = (
        "rollout.E002",
        "A translation reads a column that its table does not declare.",
    )
    PLAN_NAME_TWICE = "rollout.E003", "Several plans have one name."
    UNSAFE_STEP = "rollout.E004", "A step is in a phase in which it is not safe."
    NO_PRIMARY_KEY = "rollout.E005", "A table has no primary key."
    TABLE_OF_NO_PLAN = (
        "rollout.E006",
        "A step or a translation is of a table that is not in `Plan.tables`.",
    )
    TRANSLATION_OF_NO_PLAN = (
        "rollout.E007",
        "A step names a translation that is not in `Plan.translations`.",
    )
    NO_ROW_FOR_BLANKS = "rollout.E008", "A required lookup has no row for blank texts."
    LEGACY_TYPE = "rollout.E009", "The legacy column of a lookup has a type that is no text."
    NO_FUNCTION = "rollout.E010", "The function of a computed column or a task cannot be imported."
    WRONG_RULE = "rollout.E011", "A guardrail cannot be evaluated."
    STEP_ID_TWICE = "rollout.E012", "Steps of a phase have one id."
    COLUMN_FILLED_TWICE = "rollout.E013", "Several translations fill one column."
    RULE_ID_TWICE = "rollout.E014", "Guardrails have one id."
    STEP_NEEDS_NO_COLUMN = "rollout.E015", "A step uses a column that does not exist in its phase."
    ROW_FOR_BLANKS_TOO_LONG = (
        "rollout.E016",
        "The name of the row for blank texts does not fit the legacy column.",
    )
    UNKNOWN_WITHOUT_VALUE = "rollout.E020", "A required lookup leaves unknown values without a row."
    WRONG_SYNONYM = (
        "rollout.E021",
        "A synonym of a lookup is blank, too long, ambiguous, or leads to another synonym.",
    )
    NEW_COLUMN_IS_DECLARED = "rollout.E030", "A step would add a column that its table has already."
    COLUMN_ADDED_TWICE = "rollout.E031", "Several steps add one column."
    LOOKUP_TABLE_IS_DECLARED = "rollout.E032", "A lookup table is one of the plan's own tables."
    LOOKUP_TABLE_NOT_MADE = "rollout.E033", "No step creates the table of a lookup."
    REQUIRED_ALREADY = (
        "rollout.E034",
        "A step requires values in a column that is NOT NULL already.",
    )
    NO_LEGACY_TEXT = (
        "rollout.E035",
        "A step is about legacy columns, but none of its table is dropped.",
    )
    DROPPED_WITHOUT_ARCHIVE = (
        "rollout.E036",
        "Legacy columns are dropped that no earlier step archives.",
    )
    NOT_UNIQUE_MEANWHILE = (
        "rollout.E037",
        "A unique index is dropped without a successor before the cutover.",
    )
    DROPPED_UNFROZEN = (
        "rollout.E038",
        "Legacy columns are dropped that were not frozen before they were archived.",
    )
    BUILT_ON_LEGACY = "rollout.E057", "A step builds on a legacy column that the plan drops."
    DROPPED_WHOLE = "rollout.E068", "A table that the plan changes would be dropped or renamed."
    UNIQUE_OF_PARTITIONS = "rollout.E058", "A partitioned table would get a UNIQUE constraint."
    FILLED_FOR_GOOD = (
        "rollout.E059",
        "A default would be filled into rows of a column that the plan does not add.",
    )
    WRONG_LOOKUP_ROW = "rollout.E018", "A row of a lookup has an impossible id, name or column."
    WRONG_LOOKUP_COLUMN = (
        "rollout.E019",
        "A further column of a lookup table has a reserved name or is NOT NULL.",
    )
    NO_WAY_BACK = (
        "rollout.E028",
        "A derived column can be written after the cutover, and no legacy column follows.",
    )
    WRONG_WAY_BACK = "rollout.E029", "`back` of a derived column is invalid."
    WRONG_CONVERSION = (
        "rollout.E022",
        "A conversion leaves out a column, names one that does not exist, or could not be undone.",
    )
    UNREADABLE_EXPRESSION = (
        "rollout.E073",
        "An expression has an open brace, braces without a column, or a name that none can have.",
    )
    WRONG_EXTRACTION = (
        "rollout.E023",
        "An extraction has no key, shares a column, or its table is missing or taken.",
    )
    WRONG_VOCABULARY = (
        "rollout.E074",
        "A vocabulary has no values, ambiguous ones, or nothing that keeps the column to them.",
    )
    WRONG_CSV_FILE = (
        "rollout.E075",
        "A CSV file has no columns, one that cannot be named, or another step's id.",
    )
    WRONG_SQL_FILE = (
        "rollout.E050",
        "An SQL file has no rollback, no check, or a header that cannot be read.",
    )
    UNUSED_SQL_FILE = "rollout.E051", "An SQL file belongs to no phase."
    ITEM_ID_TWICE = "rollout.E052", "Items of the checklist have one id."
    WRONG_WINDOW = "rollout.E053", "A maintenance window never opens, or its time zone is unknown."
    NO_CHECKLIST = "rollout.E054", "A phase requires a checklist, and the plan has none."
    NO_TRAFFIC = "rollout.E055", "The traffic of rehearsals cannot be imported."
    NO_MAPPING_TO_REVIEW = (
        "rollout.E056",
        "A phase requires a reviewed mapping, and there is none before it.",
    )

    # Settings of ROLLOUT.
    WRONG_NETWORK = "rollout.E040", "`METRICS` names a network that is none."
    WRONG_WEBHOOK = "rollout.E041", "A webhook has an address or events that cannot be used."
    WEBHOOK_UNSIGNED = "rollout.W042", "A webhook has no secret, so its receiver cannot verify it."
    WRONG_REHEARSAL_SERVER = "rollout.E043", "`REHEARSE_ON` names no server."
    REHEARSAL_SERVER_OF_OTHER_KIND = (
        "rollout.E044",
        "`REHEARSE_ON` names a database that is not PostgreSQL.",
    )
    NO_STORAGE_OF_SNAPSHOTS = "rollout.E045", "`SNAPSHOTS` names no storage, or an unknown one."
    WRONG_PROTECTED = "rollout.E046", "`PROTECTED` of an environment is neither true nor false."
    UNKNOWN_SETTING = "rollout.W047", "`ROLLOUT` has a key that nothing reads."

    # The project.
    JOURNAL_OF_OTHER_KIND = "rollout.E060", "The journal's database is not PostgreSQL."
    ENVIRONMENT_WITHOUT_DATABASE = (
        "rollout.E061",
        "An environment names a database that is not in `DATABASES`.",
    )
    MISSING_MIDDLEWARE = (
        "rollout.W062",
        "The console needs a middleware that the project does not have.",
    )
    NO_BROKER = "rollout.E063", "`Q_CLUSTER` has no broker."
    UNSAFE_QUEUE = "rollout.W064", "`Q_CLUSTER` lets the queue repeat or lose tasks."
    USERS_ELSEWHERE = "rollout.E065", "Users and journal are in different databases."
    ENVIRONMENT_OF_OTHER_KIND = "rollout.E066", "The database of an environment is not PostgreSQL."
    MISSING_CONTEXT_PROCESSOR = (
        "rollout.W067",
        "The console needs a context processor that the project does not have.",
    )
    MIGRATION_BREAKS_PLAN = (
        "rollout.E070",
        "A migration that is not applied would break a plan that is running.",
    )
    MIGRATION_MEETS_PLAN = (
        "rollout.W071",
        "A migration that is not applied changes a table of a plan that is running.",
    )
    FIELD_OF_DROPPED_COLUMN = (
        "rollout.W072",
        "A model has a field whose column phase 4 of a plan drops, and phase 3 is done.",
    )
