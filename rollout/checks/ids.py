"""The ids of all system checks: one for each condition, to be silenced and searched for alone.

An id that was released keeps its meaning.
"""

from enum import StrEnum, unique


@unique
class CheckId(StrEnum):
    """E is an error, W a warning."""

    # Plans.
    NO_ROLLBACK = "rollout.E001"
    TRANSLATION_READS_NO_COLUMN = "rollout.E002"
    PLAN_NAME_TWICE = "rollout.E003"
    UNSAFE_STEP = "rollout.E004"
    NO_PRIMARY_KEY = "rollout.E005"
    TABLE_OF_NO_PLAN = "rollout.E006"
    TRANSLATION_OF_NO_PLAN = "rollout.E007"
    NO_ROW_FOR_BLANKS = "rollout.E008"
    LEGACY_TYPE = "rollout.E009"
    NO_FUNCTION = "rollout.E010"
    WRONG_RULE = "rollout.E011"
    STEP_ID_TWICE = "rollout.E012"
    COLUMN_FILLED_TWICE = "rollout.E013"
    RULE_ID_TWICE = "rollout.E014"
    STEP_NEEDS_NO_COLUMN = "rollout.E015"
    ROW_FOR_BLANKS_TOO_LONG = "rollout.E016"
    UNKNOWN_WITHOUT_VALUE = "rollout.E020"
    WRONG_SYNONYM = "rollout.E021"
    NEW_COLUMN_IS_DECLARED = "rollout.E030"
    COLUMN_ADDED_TWICE = "rollout.E031"
    LOOKUP_TABLE_IS_DECLARED = "rollout.E032"
    LOOKUP_TABLE_NOT_MADE = "rollout.E033"
    REQUIRED_ALREADY = "rollout.E034"
    NO_LEGACY_TEXT = "rollout.E035"
    DROPPED_WITHOUT_ARCHIVE = "rollout.E036"
    NOT_UNIQUE_MEANWHILE = "rollout.E037"
    DROPPED_UNFROZEN = "rollout.E038"
    WRONG_LOOKUP_ROW = "rollout.E018"
    WRONG_LOOKUP_COLUMN = "rollout.E019"
    NO_WAY_BACK = "rollout.E028"
    WRONG_WAY_BACK = "rollout.E029"
    WRONG_SQL_FILE = "rollout.E050"
    UNUSED_SQL_FILE = "rollout.E051"
    ITEM_ID_TWICE = "rollout.E052"
    WRONG_WINDOW = "rollout.E053"
    NO_CHECKLIST = "rollout.E054"
    NO_TRAFFIC = "rollout.E055"
    NO_MAPPING_TO_REVIEW = "rollout.E056"

    # Settings of ROLLOUT.
    WRONG_NETWORK = "rollout.E040"
    WRONG_WEBHOOK = "rollout.E041"
    WEBHOOK_UNSIGNED = "rollout.W042"
    WRONG_REHEARSAL_SERVER = "rollout.E043"
    REHEARSAL_SERVER_OF_OTHER_KIND = "rollout.E044"
    NO_STORAGE_OF_SNAPSHOTS = "rollout.E045"
    WRONG_PROTECTED = "rollout.E046"

    # The project.
    JOURNAL_OF_OTHER_KIND = "rollout.E060"
    ENVIRONMENT_WITHOUT_DATABASE = "rollout.E061"
    MISSING_MIDDLEWARE = "rollout.W062"
    NO_BROKER = "rollout.E063"
    UNSAFE_QUEUE = "rollout.W064"
    USERS_ELSEWHERE = "rollout.E065"
    ENVIRONMENT_OF_OTHER_KIND = "rollout.E066"
    MISSING_CONTEXT_PROCESSOR = "rollout.W067"
    MIGRATION_BREAKS_PLAN = "rollout.E070"
    MIGRATION_MEETS_PLAN = "rollout.W071"
