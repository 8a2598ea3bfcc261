"""How much memory the queue's workers take at most."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from config import processes

EVERY_SECONDS = 0.5


class Memory:
    """The most that one process took; bytes of its own, without what it shares."""

    most = 0

    def look(self, home: Path) -> None:
        for process in processes.marked(home):
            try:
                if "qcluster" in process.cmdline():
                    self.most = max(self.most, process.memory_full_info().uss)
            except psutil.Error:
                # It has ended meanwhile.
                continue


@contextmanager
def watched(home: Path) -> Iterator[Memory]:
    """Looks at the workers in ``home`` until the block ends."""
    memory, ended = Memory(), threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY_SECONDS):
            memory.look(home)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield memory
    finally:
        ended.set()
        thread.join()
