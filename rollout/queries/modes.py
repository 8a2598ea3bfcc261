"""The read and write modes in force in an environment."""

from rollout import journal
from rollout.journal.environments import configured, target_of
from rollout.modes import Modes, modes_in, modes_now


def modes_of(plan: str, environment: str) -> Modes:
    """What the application reads and writes in an environment. Raises TargetAway, Error.

    Beside the journal it is asked through Django, as by the application; elsewhere by a connection
    that gives up soon.
    """
    if configured().get(environment) == journal.alias():
        return modes_now(plan, using=journal.alias())
    with target_of(environment).connect_briefly() as connection:
        return modes_in(connection, plan)
