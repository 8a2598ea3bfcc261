"""What is written for people is so: links lead somewhere, commands parse, names exist."""

import ast
import json
import os
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from inspect import isabstract
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.urls import URLPattern, URLResolver

from config import reference, reference_parts
from config.doc_versions import list_versions
from config.home import ROOT
from properties import images
from rollout import permissions
from rollout import plan as language
from rollout.console import documents as carried
from rollout.console import urls
from rollout.console.views import preflights
from rollout.engine import ddl, health, pace, replica
from rollout.engine.audit import categories
from rollout.engine.rehearsal import locks
from rollout.gates import cached_queries
from rollout.journal import heartbeats, runbook
from rollout.management.commands.rollout import Command
from rollout.notifications import deliveries, webhooks
from rollout.plan import gates as plan_gates
from rollout.plan.gates import Approved
from rollout.plan.registry import plans
from rollout.runner import approvals, waivers
from rollout.watchdog import duties, queue_beat, scheduled_starts
from rollout.worker import backfills, leases, snapshots
from tests.support import documents
from tests.support.documents import Document
from tests.support.processes import completed

DOCUMENTS = documents.documents()
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=str)


@each_document
def test_a_link_leads_to_a_file_and_a_heading_that_are_there(document: Document) -> None:
    for link in document.links:
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (document.path.parent / name) if name else document.path
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in documents.document_at(target).anchors, link


@each_document
def test_a_command_line_is_one_that_its_parser_takes(document: Document) -> None:
    for words in document.command_lines():
        documents.assert_can_be_run(words)


@each_document
def test_names_in_sentences_exist(document: Document) -> None:
    examples = "".join(document.examples("python"))
    wrong = {code: documents.unknown_names(code, examples) for code in document.code}
    assert {code: reason for code, reason in wrong.items() if reason} == {}


@each_document
def test_a_python_example_compiles_and_a_plan_in_it_is_one(
    document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "_plans", [])
    namespace: dict[str, Any] = {"r": language}
    # One that has a name besides its language is run by a test of its own.
    plans_of = document.examples("python", named=False)
    for example in document.examples("python"):
        tree = ast.parse(example)
        if example in plans_of and re.search(r"\br\.[A-Z]", example):
            exec(compile(tree, str(document), "exec"), namespace)  # noqa: S102


@each_document
def test_quoted_texts_are_on_a_page_or_in_a_message(document: Document) -> None:
    screen = documents.screen()
    missing = {text: documents.not_on(screen, text) for text in document.quotes}
    assert {text: parts for text, parts in missing.items() if parts} == {}


def test_the_console_has_every_chapter_and_word_of_the_page_glossary() -> None:
    page = (ROOT / "docs/glossary.md").read_text()
    chapters = carried.chapters()
    assert [chapter.title for chapter in chapters] == re.findall(r"^## (.+)$", page, re.M)
    # Every line of a table but its two heads is a word with its meaning, as plain text.
    rows = [line for line in page.splitlines() if line.startswith("|")]
    terms = [term for chapter in chapters for term in chapter.terms]
    assert [f"| **{term.word}** | {term.meaning} |" for term in terms] == [
        row for row in rows if row not in ("| word | meaning |", "|---|---|")
    ]
    assert not re.search(r"[`\[\]<>*]", "".join(term.meaning for term in terms))


def test_the_variables_of_the_demo_pass_through_make() -> None:
    table = (ROOT / "README.md").read_text().split("| variable |")[1].split("\n\n")[0]
    variables = re.findall(r"^\| `(\w+)` \|", table, re.M)
    assert {"PORT", "ROWS", "DATABASE_URL"} <= set(variables)
    given = {name: f"the {name}" for name in variables}
    show = "show:\n\t@env"
    done = completed(
        ["make", "--silent", f"--eval={show}", "show"],
        env=given | {"PATH": os.environ["PATH"]},
        check=True,
    )
    assert {f"{name}={value}" for name, value in given.items()} <= set(done.stdout.splitlines())


EDITED_AT = "https://code.example/rollout/edit/main/docs/"


@pytest.fixture(scope="module")
def built_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="the documents' builder is not here")
    target = tmp_path_factory.mktemp("site")
    done = completed(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", target],
        env={**os.environ, "DOCS_EDIT_URL": EDITED_AT},
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.slow
def test_the_documents_build_without_a_warning_and_ask_no_other_host_for_anything(
    built_site: Path,
) -> None:
    pages = sorted(built_site.glob("*.html"))
    assert {page.stem for page in pages} >= {path.stem for path in (ROOT / "docs").glob("*.md")}
    for page in pages:
        html = page.read_text()
        asked = re.findall(r'<(?:script|img|iframe)[^>]+src="([^"]+)"', html)
        asked += re.findall(r'<link[^>]+href="([^"]+)"', html)
        assert [address for address in asked if "//" in address] == []
    assert f"{EDITED_AT}runbook.md" in (built_site / "runbook.html").read_text()


def test_the_documents_of_each_version_are_listed_newest_first(tmp_path: Path) -> None:
    for version in ("0.9.0", "0.10.0", "0.2.1"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "index.html").touch()
    list_versions(tmp_path)
    listed = json.loads((tmp_path / "versions.json").read_text())
    assert [entry["version"] for entry in listed] == ["0.10.0", "0.9.0", "0.2.1"]
    assert "url=0.10.0/index.html" in (tmp_path / "index.html").read_text()


def routes(patterns: list[URLPattern | URLResolver], before: str = "") -> Iterator[str]:
    for pattern in patterns:
        route = before + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route


CONSOLE = Document(ROOT / "docs/console.md")
IMAGES = ROOT / "docs/images"


def test_the_guide_to_the_console_names_every_address_and_no_other() -> None:
    there = set(routes(urls.urlpatterns)) - {""}
    named = {
        code
        for code in CONSOLE.code
        if re.fullmatch(r"[\w{}/.-]+(/|\.csv|\.jsonl?|\.sql|\.ts)", code)
    }
    assert named - {"/rollout/"} == there


# A picture is at most so large, and all of them together.
MOST_BYTES, MOST_BYTES_TOGETHER = 100_000, 2_000_000
WITHOUT_PICTURE = {
    *("Find", "Every list", "The header of a rollout", "Logging in", "Who may do what"),
    *("Light, dark, and the reader's time", "A guide through the first rollout", "Parts"),
}


def test_every_main_page_has_its_picture_in_both_schemes() -> None:
    sections = re.split(r"^## (.+)\n", CONSOLE.text, flags=re.M)[1:]
    pictured = {
        heading: set(re.findall(r'"images/(\w+)-(dark|light)\.png"', text))
        for heading, text in zip(sections[::2], sections[1::2], strict=True)
    }
    for heading, pictures in pictured.items():
        schemes = sorted(scheme for _, scheme in pictures)
        assert schemes == ([] if heading in WITHOUT_PICTURE else ["dark", "light"]), heading
    taken = {tuple(path.stem.rsplit("-", 1)): path for path in IMAGES.glob("*.png")}
    assert set().union(*pictured.values()) == set(taken), "run: make pictures"
    sizes = [path.stat().st_size for path in taken.values()]
    assert max(sizes) <= MOST_BYTES
    assert sum(sizes) <= MOST_BYTES_TOGETHER


def test_the_guide_to_the_console_says_who_may_do_what() -> None:
    rows = re.findall(r"^\| `(\w+)` \|([^|]+)\|([^|]+)\|([^|]+)\|", CONSOLE.text, re.M)
    rights = {code: [cell.strip() == "yes" for cell in cells] for code, *cells in rows}
    assert rights == {
        code: [code in permissions.PERMISSIONS[role] for role in ("viewer", "engineer", "lead")]
        for code in documents.permissions()
    }


def test_there_is_a_how_to_for_every_kind_of_step() -> None:
    kinds = {
        name
        for name in language.__all__
        if isinstance(kind := getattr(language, name), type)
        and issubclass(kind, language.Step)
        and not isabstract(kind)
    }
    headings = re.findall(r"^### (\w+)$", (ROOT / "docs/steps.md").read_text(), re.M)
    assert {*headings} == kinds - {"SqlFile"} | {"SqlFiles"}


def test_generated_parts_of_pages_are_as_the_code_has_them() -> None:
    stale = [document for document in DOCUMENTS if reference.made(document.text) != document.text]
    assert not stale, "run: make reference"


def test_every_part_that_is_made_from_the_code_stands_on_one_page() -> None:
    parts = [name for document in DOCUMENTS for _, name, _ in reference.PART.findall(document.text)]
    assert sorted(parts) == sorted(reference_parts.PARTS)


def test_the_first_plan_is_called_as_the_scaffold_names_it() -> None:
    page = text_of("first-plan")
    command = re.search(r"^manage.py rollout scaffold \w+ (.+)$", page, re.M)
    assert command
    name = re.sub(r"[^a-z0-9]+", "-", command[1])
    assert f"manage.py rollout readiness {name}\n" in page


def test_the_example_of_each_verb_is_of_that_verb() -> None:
    for name, verb in documents.verbs_of(Command()).items():
        assert (verb.epilog or "").startswith(f"Example: manage.py rollout {name}"), name


def spelled(number: float) -> str:
    """A number as a sentence has it."""
    words = {3: "three", 5: "five", 8: "eight", 10: "ten"}
    return words.get(int(number), f"{number:g}")


def minutes(time: timedelta) -> str:
    return f"{time.total_seconds() / 60:g} minutes"


FIGURES = {
    "README.md": [f"which aims at {pace.TARGET_MS} ms"],
    "docs/audits.md": [
        f"({categories.MAX_STORED_MISMATCHES:,} at most)",
        f"for up to {waivers.LONGEST_WAIVER.days} days",
    ],
    "docs/console.md": [f"longer than {spelled(preflights.MAX_RERUN_SECONDS)} seconds is given up"],
    "docs/gates.md": [
        f"({spelled(Approved().valid_for.days)} days, unless the plan says otherwise)",
        f"lasts {spelled(approvals.OVERRIDE_LASTS.total_seconds() / 3600)} hours",
        f"{spelled(scheduled_starts.MAX_DELAY.total_seconds() / 60)} minutes late is refused",
    ],
    "docs/monitoring.md": [
        f"statistics every {spelled(duties.STATISTICS_EVERY.total_seconds())} seconds"
    ],
    "docs/notifications.md": [
        f"{webhooks.TIMEOUT_SECONDS:g} seconds for each",
        f"after {deliveries.FIRST_PAUSE.seconds} s, {3 * deliveries.FIRST_PAUSE.seconds} s,"
        f" {9 * deliveries.FIRST_PAUSE.seconds} s, and then every"
        f" {minutes(deliveries.MAX_PAUSE)}, {deliveries.MAX_ATTEMPTS} times in all",
    ],
    "docs/own-gates.md": [f"an answer for {spelled(cached_queries.TTL_SECONDS)} seconds"],
    "docs/replica.md": [
        f"at most {replica.MAX_WAIT_SECONDS:g} seconds; otherwise it is inconclusive",
        f"more than {health.MAX_LAG_SECONDS} seconds behind throttles",
    ],
    "docs/rehearsals.md": ["into `pg_locks` every few milliseconds"]
    if locks.POLL_SECONDS < 0.01
    else [],
    "docs/runbook.md": [
        f"The lease of its run ends after {leases.LEASE_SECONDS} seconds",
        f"take over {heartbeats.SILENCE.seconds} seconds after the leader",
        f"through the queue every {queue_beat.BEAT_EVERY_SECONDS:g} seconds",
        f"After {ddl.MAX_ATTEMPTS} attempts the run fails",
        f"waits {ddl.FIRST_LOCK_TIMEOUT_SECONDS} to {ddl.MAX_LOCK_TIMEOUT_SECONDS:g} seconds",
        f"open for more than {health.MAX_TRANSACTION_SECONDS} seconds",
        f"a replica more than {health.MAX_LAG_SECONDS} seconds behind",
        f"More than 1 % of the table, and more than {backfills.MIN_POISON_ROWS} rows",
    ],
    "docs/security.md": [
        f"{settings.AXES_FAILURE_LIMIT}, for {minutes(settings.AXES_COOLOFF_TIME)}",
        f"after {settings.ROLLOUT['SESSIONS']['IDLE_MINUTES']} minutes | `SESSION_IDLE_MINUTES`",
        f"after {settings.ROLLOUT['SESSIONS']['HOURS']} hours | `SESSION_HOURS`",
        f"after {settings.ROLLOUT['SESSIONS']['CONFIRM_MINUTES']} minutes | "
        "`SESSION_CONFIRM_MINUTES`",
        f"more than {settings.MAX_REQUEST_BYTES // 2**20} MB is refused",
        f"at most {images.MAX_BYTES // 2**20} MB and {images.MAX_PIXELS // 10**6} million pixels",
    ],
    "docs/snapshots.md": [
        f"after {spelled(snapshots.SnapshotJob.max_attempts)} the snapshot counts as failed",
    ],
}
"""Sentences with a number that the code sets."""


@pytest.mark.parametrize(
    ("name", "sentence"), [(name, figure) for name, all_ in FIGURES.items() for figure in all_]
)
def test_a_number_in_a_sentence_is_the_one_in_the_code(name: str, sentence: str) -> None:
    assert sentence in " ".join((ROOT / name).read_text().split())


def test_the_readme_states_the_costs_that_the_page_of_the_backfill_measured() -> None:
    row = re.search(r"^\| this engine, .*$", text_of("backfill"), re.M)
    assert row
    rate, wal, growth = re.findall(r"[\d.,]+", row[0].split(" | ", 1)[1])[:3]
    readme = " ".join((ROOT / "README.md").read_text().split())
    # The table there has two million rows.
    assert (
        f"{round(int(rate.replace(',', '')), -3):,} rows a second and {float(wal) / 2:g} GB of WAL"
        f" for a million rows, after which the table was {float(growth) * 100 - 100:.0f} % larger"
    ) in readme


def test_the_triage_of_the_runbook_leads_to_every_entry() -> None:
    page = Document(ROOT / "docs/runbook.md")
    table = [
        line for line in page.text.splitlines() if re.match(r"\| .* \| (now|today|nothing) ", line)
    ]
    linked = set(re.findall(r"\(#([\w-]+)\)", "".join(table)))
    assert linked == page.anchors - {"runbook", "triage-in-60-seconds"}


def test_the_runbook_has_each_entry_that_errors_lead_to_and_no_other() -> None:
    headings = re.findall(r"^## (.+)$", text_of("runbook"), re.M)
    entries = {runbook.Entry(documents.anchor(heading)): heading for heading in headings[1:]}
    assert {entry: heading.replace("`", "") for entry, heading in entries.items()} == {
        entry: entry.heading for entry in runbook.Entry
    }


def test_each_entry_of_the_runbook_has_the_severity_of_the_triage_and_a_way_back() -> None:
    text = text_of("runbook")
    acts = {
        anchor: act
        for act, links in re.findall(r"^\| .* \| (now|today|nothing) \| (.*) \|$", text, re.M)
        for anchor in re.findall(r"\(#([\w-]+)\)", links)
    }
    for entry in text.split("\n## ")[2:]:
        heading, _, body = entry.partition("\n")
        severity = re.search(r"^\*\*Severity\*\* \*(\w+)\*", body, re.M)
        assert severity, heading
        assert severity[1] == acts[documents.anchor(heading)], heading
        for part in ("You see", "Why", "Do", "Be sure", "Way back"):
            assert f"\n**{part}**" in body, (heading, part)


def test_every_gate_has_an_entry_of_the_runbook_or_says_itself_what_it_waits_for() -> None:
    kinds = [kind for kind in vars(plan_gates).values() if isinstance(kind, type)]
    names = {k.name for k in kinds if issubclass(k, plan_gates.Gate) and k is not plan_gates.Gate}
    assert runbook.GATES.keys() | runbook.GATES_WITHOUT == names
    assert not runbook.GATES.keys() & runbook.GATES_WITHOUT


def test_templates_name_entries_that_the_runbook_has() -> None:
    templates = "".join(path.read_text() for path in (ROOT / "templates").rglob("*.html"))
    named = re.findall(r'{% runbook "([\w-]+)" %}', templates)
    assert named
    assert set(named) <= set(runbook.Entry)


def test_nobody_is_told_to_install_what_no_index_has() -> None:
    unreleased = "not yet released" in (ROOT / "CHANGELOG.md").read_text()
    instructions = [
        document for document in DOCUMENTS if "pip install rollout-console" in document.text
    ]
    assert not (unreleased and instructions), instructions


def text_of(page: str) -> str:
    return (ROOT / f"docs/{page}.md").read_text()
