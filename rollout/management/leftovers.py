"""The shell's verb that finds what the project's source still needs of the legacy schema."""

from pathlib import Path

from rollout.journal.environments import alias_of
from rollout.logs.texts import counted
from rollout.management.verbs import AddVerb, Output
from rollout.plan import plans
from rollout.queries.leftovers import leftovers_of


def add_verbs(add: AddVerb) -> None:
    sub = add(
        "leftovers",
        leftovers,
        "Find code and templates that still ask for modes or use the columns that phase 4 drops.",
        example="leftovers order-states",
        no="something is left",
        as_json=True,
    )
    sub.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="directories or files to search (default: the project's apps, settings and templates)",
    )


def leftovers(out: Output, plan: str, env: str, paths: list[str], as_json: bool) -> int:
    missing = [path for path in paths if not Path(path).exists()]
    if missing:
        return out.complain(f"Path not found: {', '.join(missing)}. Correct the path.")
    left = leftovers_of(plans.get(plan), alias_of(env), [Path(path) for path in paths])
    if as_json:
        lines = [
            {"path": str(line.path), "line": line.line, "kind": line.kind, "text": line.text}
            for line in left.lines
        ]
        data = {"plan": plan, "searched": [str(root) for root in left.roots], "files": left.read}
        return out.say_json({**data, "leftovers": lines}, good=not lines)
    for line in left.lines:
        out.say(f"{line.path}:{line.line}: {line.label.lower()}: {line.text}")
    searched = ", ".join(map(str, left.roots)) or "no directory"
    if not left.read:
        return out.complain(f"No source found in {searched}. Name the application's directory.")
    read = f"{counted(left.read, 'file')} read in {searched}."
    if left.lines:
        place = f", all in {left.place}" if left.place and len(left.files) > 1 else ""
        return out.say(f"{counted(len(left.files), 'file')} to clean up{place}; {read}", good=False)
    return out.say(f"Nothing is left; {read}")
