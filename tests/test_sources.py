"""What `make lint` holds beside types and imports: short files, and names that say something."""

import sys
from pathlib import Path

import pytest

from config.home import ROOT
from tests.support.processes import completed

CHECK = (sys.executable, ROOT / ".ci" / "check_sources.py")


@pytest.mark.slow
def test_every_source_is_short_and_its_names_say_what_they_hold() -> None:
    folders = (ROOT / name for name in (".ci", "bench", "config", "properties", "rollout", "tests"))
    done = completed([*CHECK, *folders])
    assert done.returncode == 0, done.stdout


def test_long_files_and_empty_names_are_named_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "names.py").write_text(
        "class Row:\n    found: int\n\n\ndef rows(said, *, of=None):\n    for one in said:\n"
        "        yield [each for each in one], (found := of)\n"
        "    of.told = 1\n\n\ndef _found(): pass\n"
        "def test_it_works(): pass\ndef test_a_row_works(): pass\n"
    )
    (tmp_path / "long.py").write_text("x = 1\n" * 401)
    done = completed([*CHECK, tmp_path])
    assert done.returncode == 1
    assert set(done.stdout.replace(f"{tmp_path}/", "").splitlines()) == {
        "long.py: 401 lines; split it by subject into files of at most 400.",
        "names.py:5: name 'said' for what it holds.",
        "names.py:6: name 'one' for what it holds.",
        "names.py:7: name 'each' for what it holds.",
        "names.py:7: name 'found' for what it holds.",
        "names.py:8: name 'told' for what it holds.",
        "names.py:11: name '_found' for what it holds.",
        "names.py:12: begin the test's name with its subject.",
    }
