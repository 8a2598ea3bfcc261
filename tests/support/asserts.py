"""What pytest makes of asserts, made once for all workers of a run."""

import os
from multiprocessing import get_context
from pathlib import Path

import pytest
from _pytest.assertion import rewrite

from config.home import ROOT


def rewrite_asserts(config: pytest.Config) -> None:
    """Rewrite those of tests that have changed, with all cores, and keep the outcome.

    Each worker would do it for itself: in a fresh copy, half of what they need to begin.
    """
    tests = ROOT / "tests"
    paths = [*tests.rglob("test_*.py"), *tests.rglob("conftest.py")]
    if changed := [path for path in paths if not _is_kept(path)]:
        # Forked: they have the configuration, which cannot be sent.
        fork = get_context("fork")
        shares = [changed[n :: os.cpu_count() or 1] for n in range(os.cpu_count() or 1)]
        processes = [fork.Process(target=_rewrite, args=(config, share)) for share in shares]
        for process in processes:
            process.start()
        for process in processes:
            process.join()


def _rewrite(config: pytest.Config, paths: list[Path]) -> None:
    for path in paths:
        stat, code = rewrite._rewrite_test(path, config)
        _kept(path).parent.mkdir(exist_ok=True)
        rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, stat, _kept(path))


def _kept(path: Path) -> Path:
    return rewrite.get_cache_dir(path) / f"{path.stem}{rewrite.PYC_TAIL}"


def _is_kept(path: Path) -> bool:
    kept = _kept(path)
    return kept.exists() and kept.stat().st_mtime >= path.stat().st_mtime
