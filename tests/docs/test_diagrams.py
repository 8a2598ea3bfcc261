"""The diagrams of the documents: whole, readable, self-contained, and true to the code."""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from config.home import ROOT
from properties.rollout import PLAN
from rollout.journal.transitions import RUNS
from rollout.models import RunState
from rollout.plan.actions import Statement
from rollout.plan.plan import ROLES
from tests.support import documents

SVG = "{http://www.w3.org/2000/svg}"
DIAGRAMS = sorted((ROOT / "docs/images").glob("*.svg"))
each_diagram = pytest.mark.parametrize("diagram", DIAGRAMS, ids=lambda path: path.stem)


def root_of(diagram: Path) -> ElementTree.Element:
    return ElementTree.parse(diagram).getroot()  # noqa: S314 it is a file of the repository


def elements(name: str, tag: str, key: str) -> Iterator[ElementTree.Element]:
    """The elements of a diagram that have a key of the code."""
    root = root_of(ROOT / f"docs/images/{name}.svg")
    return (element for element in root.iter(SVG + tag) if f"data-{key}" in element.attrib)


def words(element: ElementTree.Element) -> list[str]:
    return ["".join(text.itertext()) for text in element.iter(f"{SVG}text")]


@each_diagram
def test_a_diagram_is_whole_and_tells_a_screen_reader_what_it_shows(diagram: Path) -> None:
    root = root_of(diagram)
    assert (root.get("role"), root.get("aria-labelledby")) == ("img", "title desc")
    for name in ("title", "desc"):
        assert (root.findtext(f"{SVG}{name}[@id='{name}']") or "").strip()


@each_diagram
def test_a_diagram_asks_for_nothing_outside_itself(diagram: Path) -> None:
    text = diagram.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "", 1)
    assert re.findall(r"//|@import|href|\bsrc|<script|<image|<foreignObject|\son\w+=", text) == []
    assert set(re.findall(r"url\([^)]*\)", text)) <= {"url(#head)"}


@each_diagram
def test_a_diagram_has_the_colors_of_the_console_light_and_dark(diagram: Path) -> None:
    css = (ROOT / "static/rollout/rollout.css").read_text()
    lights, darks = zip(*re.findall(r"light-dark\((#\w{6}), (#\w{6})\)", css), strict=True)
    light, dark = diagram.read_text().split("@media (prefers-color-scheme: dark)")
    assert set(re.findall(r"#[0-9a-f]{6}", light)) <= {*lights}
    assert set(re.findall(r"#[0-9a-f]{6}", dark)) <= {*darks}


def test_the_diagrams_share_one_style() -> None:
    styles = {path.read_text().split("<style>")[1].split("</style>")[0] for path in DIAGRAMS}
    assert len(styles) == 1


@each_diagram
def test_a_diagram_stands_in_a_document_with_a_text_in_its_place(diagram: Path) -> None:
    shown = re.compile(rf"!\[[^\]]{{20,}}\]\([\w/]*images/{diagram.name}\)")
    assert any(shown.search(document.text) for document in documents.documents())


def test_the_diagram_of_a_run_has_its_states_and_every_transition_and_no_other() -> None:
    shown = {
        group.attrib["data-state"]: words(group) for group in elements("run-states", "g", "state")
    }
    assert shown == {state.value: [state.label] for state in RunState}
    arrows = {
        (before, arrow.attrib["data-to"])
        for arrow in elements("run-states", "path", "from")
        for before in arrow.attrib["data-from"].split()
    }
    assert arrows == {(str(before), str(to)) for before, after in RUNS.items() for to in after}


def test_the_diagram_of_the_phases_has_their_names_and_the_modes_after_each() -> None:
    modes = "legacy", "legacy"
    expected = []
    for role, phase in zip(ROLES, PLAN.phases, strict=True):
        for step in phase.steps:
            for action in step.forward(PLAN):
                if isinstance(action, Statement):
                    switch = re.search(
                        r"SET read_mode = '(\w+)', write_mode = '(\w+)'", action.sql.as_string()
                    )
                    modes = (switch[1], switch[2]) if switch else modes
        expected.append((role, *modes))
    groups = [*elements("phases", "g", "phase")]
    assert [
        (group.attrib["data-phase"], group.attrib["data-read"], group.attrib["data-write"])
        for group in groups
    ] == expected
    for number, group in enumerate(groups):
        assert words(group)[:2] == [str(number), ROLES[number].capitalize()]


def test_the_diagram_of_the_processes_has_those_that_the_readme_says_to_start() -> None:
    readme = (ROOT / "README.md").read_text()
    table = readme.split("| process | command |")[1].split("\n\n")[0]
    shown = {
        group.attrib["data-process"]: words(group)[0]
        for group in elements("processes", "g", "process")
    }
    assert {*shown} == set(re.findall(r"^\| (\w+) \|", table, re.M))
    assert all(name == process.capitalize() for process, name in shown.items())
