"""The environments of the project: a name for each database that plans run in.

Some the project names in ``ROLLOUT["ENVIRONMENTS"]``. Others are made from snapshots while it runs:
the journal knows those, and each process learns their database's alias when it first needs it.
"""

import copy
from typing import Any

from django.db import connections
from django.db.models import QuerySet

from rollout.conf import setting
from rollout.engine.target import CONNECTION_OPTIONS, Target
from rollout.journal.moments import in_words
from rollout.journal.rehearsal_servers import Server, ServerAway, server_of
from rollout.models import Environment, EnvironmentState, Rollout
from rollout.plan.errors import RolloutError

DEFAULT = "production"


class UnknownEnvironment(RolloutError, LookupError):
    """There is no environment of that name; ``gone`` is why it is there no more, if it was."""

    def __init__(self, message: str, *, gone: str = "") -> None:
        super().__init__(message)
        self.gone = gone


def configured() -> dict[str, str]:
    """The environments that the project names: name to Django database alias.

    In ``ROLLOUT["ENVIRONMENTS"]`` one is an alias, or {"DATABASE": alias, "AUDIT_DATABASE": alias
    of a replica that audits read, "PROTECTED": whether an application's data is there}.
    """
    return {
        name: value if isinstance(value, str) else value["DATABASE"]
        for name, value in _configured().items()
    }


def is_protected(environment: str) -> bool:
    """Whether approvals, soak, windows and guardrails are asked for there.

    As ``PROTECTED`` says; without it, production alone. What was made from a snapshot never is.
    """
    named = _configured().get(environment)
    if isinstance(named, dict) and "PROTECTED" in named:
        return bool(named["PROTECTED"])
    return environment == DEFAULT


def protected() -> list[str]:
    """The environments that the project names and that are protected."""
    return [name for name in configured() if is_protected(name)]


def _configured() -> dict[str, str | dict[str, Any]]:
    return setting("ENVIRONMENTS", {DEFAULT: "default"})


def made_by_plan() -> dict[str, list[str]]:
    """The environments made for each plan that are there now, but for those of rehearsals."""
    names: dict[str, list[str]] = {}
    made = _there().filter(purpose=Environment.Purpose.STAGING)
    for plan, name in made.values_list("plan", "name"):
        names.setdefault(plan, []).append(name)
    return names


def environments_of(plan: str) -> list[str]:
    """The names of the environments in which a plan may run."""
    return list(homes_of(plan))


def homes_of(plan: str) -> dict[str, str]:
    """The same, and for each the environment whose roles count in it, as in ``homes``."""
    made = _there().filter(plan=plan, purpose=Environment.Purpose.STAGING)
    return {name: name for name in configured()} | dict(made.values_list("name", "beside"))


def is_known(plan: str, environment: str) -> bool:
    """Whether a plan may run there, as people choose it: not in the database of a rehearsal."""
    return environment in configured() or environment in environments_of(plan)


def must_know(plan: str, environment: str) -> None:
    """Raises UnknownEnvironment unless a plan may run there."""
    alias_of(environment)
    if environment not in configured() and not _there().filter(name=environment, plan=plan):
        raise UnknownEnvironment(
            f"Environment '{environment}' belongs to another plan. "
            f"Environments of {plan}: {', '.join(environments_of(plan))}."
        )


def homes() -> dict[str, str]:
    """Every environment that is there, and the one whose roles count in it.

    What was made from a snapshot holds the rows of where that comes from: its roles count.
    """
    named = configured()
    return {name: name for name in named} | dict(_there().values_list("name", "beside"))


def home_of(environment: str) -> str:
    """The environment whose roles count in one, even if that is gone."""
    if environment in configured():
        return environment
    made = Environment.objects.filter(name=environment).values_list("beside", flat=True)
    return made.first() or environment


def names_there() -> set[str]:
    """The names of all environments that are there. The journal remembers others too."""
    return set(homes())


def why_gone(environment: str) -> str:
    """Why an environment of the journal is gone; empty if it is there, or never was."""
    alias = configured().get(environment)
    if alias is not None and alias not in connections.databases:
        return (
            f"The environment {environment} has the database alias '{alias}', which is not in "
            "DATABASES. Correct one of the two settings."
        )
    if alias is not None:
        return ""
    if there := _there().filter(name=environment).first():
        try:
            _alias_beside(there)
        except UnknownEnvironment as error:
            return str(error)
        return ""
    made = Environment.objects.filter(name=environment).order_by("-id").first()
    if made is not None and made.state == EnvironmentState.GONE:
        day = f" on {in_words(made.gone_at)}" if made.gone_at else ""
        return f"The database of {environment} was dropped{day}. Its history remains."
    if made is not None:
        return f"The database of {environment} is being created. Wait until it is ready."
    if Rollout.objects.filter(environment=environment).exists():
        return (
            f'The environment {environment} is no longer in ROLLOUT["ENVIRONMENTS"]. Add it there '
            "again to continue. Its history remains."
        )
    return ""


def alias_of(environment: str) -> str:
    """The Django alias of an environment's database. Raises UnknownEnvironment."""
    alias = configured().get(environment)
    if alias in connections.databases:
        return alias
    made = _there().filter(name=environment).first()
    if made is not None:
        return alias_of_made(made)
    known = ", ".join(sorted(names_there()))
    gone = why_gone(environment)
    raise UnknownEnvironment(
        f"{gone or f'Unknown environment {environment!r}.'} Available: {known}.",
        gone=gone,
    )


def alias_of_made(made: Environment) -> str:
    """The Django alias of a made environment's database; made known to this process."""
    alias = made.database
    if alias not in connections.databases:
        beside = connections.databases[_alias_beside(made)]
        # The same server, role and options; and no connection that outlives a request, as the
        # database may be dropped at any time.
        connections.databases[alias] = {
            **copy.deepcopy(beside),
            "NAME": made.database,
            "CONN_MAX_AGE": 0,
            "ATOMIC_REQUESTS": False,
        }
    return alias


def _alias_beside(made: Environment) -> str:
    """The alias of a database on the server of a made environment. Raises UnknownEnvironment."""
    if not made.server:
        return alias_of(made.beside)
    try:
        return server_of(made.server).alias
    except ServerAway as error:
        raise UnknownEnvironment(str(error)) from error


def target_beside(made: Environment) -> Target:
    """A database on the server of a made environment. Raises UnknownEnvironment."""
    return target_of_alias(_alias_beside(made))


def target_of_server(server: Server) -> Target:
    """The database by which the server for rehearsals is reached."""
    return target_of_alias(server.alias)


def target_of(environment: str) -> Target:
    """The database of an environment, as the engine sees it.

    If the environment is gone, connecting raises TargetGone with the reason.
    """
    try:
        return target_of_alias(alias_of(environment))
    except UnknownEnvironment as error:
        return Target({}, gone=error.gone or why_gone(environment) or str(error))


def target_of_made(made: Environment) -> Target:
    """The database of a made environment, also while it is being made."""
    return target_of_alias(alias_of_made(made))


def audit_target_of(environment: str) -> tuple[Target, str]:
    """The database that audits of an environment read, and its alias."""
    named = _configured().get(environment)
    if isinstance(named, dict) and "AUDIT_DATABASE" in named:
        return target_of_alias(named["AUDIT_DATABASE"]), named["AUDIT_DATABASE"]
    target = target_of(environment)
    # That of a made environment is its database's name.
    alias = configured().get(environment) or str(target.parameters.get("dbname", environment))
    return target, alias


def _there() -> QuerySet[Environment]:
    return Environment.objects.filter(state=EnvironmentState.READY).order_by("name")


def target_of_alias(alias: str) -> Target:
    """A database of ``DATABASES``, as the engine sees it."""
    settings_of = connections[alias].settings_dict
    options: dict[str, Any] = settings_of.get("OPTIONS", {})
    parameters = {
        # Certificates, a service, a timeout; not what is Django's own affair, as a pool.
        **{name: value for name, value in options.items() if name in CONNECTION_OPTIONS},
        "dbname": settings_of["NAME"],
        "user": settings_of["USER"],
        "password": settings_of["PASSWORD"],
        "host": settings_of["HOST"],
        "port": str(settings_of["PORT"] or ""),
    }
    if role := options.get("assume_role"):
        given = str(parameters.get("options", ""))
        parameters["options"] = f"{given} -c role={role}".strip()
    return Target({name: value for name, value in parameters.items() if value})
