"""As whom the embedded PostgreSQL runs.

PostgreSQL refuses to run as root. As an ordinary user it runs as that user; started by root it
runs as a system user of its own, which must then be able to reach the program and the data.
"""

import logging
import os
import pwd
import stat
import struct
import subprocess
from pathlib import Path
from typing import TypedDict

NAME = "embedded_postgres"

logger = logging.getLogger(__name__)

# An access list as Linux keeps it in an extended attribute: a version, then entries.
_ACL = "system.posix_acl_access"
_VERSION = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_OWNER, _USER, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NOBODY = 0xFFFFFFFF
_PASS = 0o1


class RunAs(TypedDict, total=False):
    """Arguments for `subprocess.run`; empty when the server runs as the user who starts it."""

    user: int
    group: int
    extra_groups: list[int]


class Unreachable(Exception):
    """PostgreSQL does not run as root, and its system user cannot get into a directory."""


def account() -> pwd.struct_passwd | None:
    """The server's own account when root starts it (made if it is missing), else None."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(NAME)
    except KeyError:
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", NAME],
            check=True,
            capture_output=True,
        )
        return pwd.getpwnam(NAME)


def run_as() -> RunAs:
    user = account()
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def own(directory: Path) -> None:
    """Makes the directory, private to the server, in a place that the server can reach."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if user := account():
        os.chown(directory, user.pw_uid, user.pw_gid)
        make_reachable(directory)


def make_readable(directory: Path) -> None:
    """Lets the server read and run what is below the directory, installed as it may be."""
    if account() is None or not directory.exists():
        return
    make_reachable(directory)
    if directory.stat().st_mode & 0o005 == 0o005:
        return
    for path in (directory, *directory.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | 0o444 | (0o111 if mode & stat.S_IXUSR else 0))


def make_reachable(path: Path) -> None:
    """Lets the server's account pass through the directories above `path`, and nobody else.

    Raises Unreachable where the file system keeps no access lists.
    """
    user = account()
    if user is None:
        return
    for directory in path.resolve().parents:
        if directory.stat().st_mode & stat.S_IXOTH:
            continue
        try:
            _let_pass(directory, user.pw_uid)
        except OSError as error:
            mode = stat.S_IMODE(directory.stat().st_mode)
            raise Unreachable(
                f"PostgreSQL cannot run as root, and its system user {NAME} cannot enter "
                f"{directory} (mode {mode:o}). Put the clone and ROLLOUT_HOME elsewhere "
                f"(/srv, /opt), or allow it with: chmod o+x {directory}, or start as an "
                "ordinary user, or name a PostgreSQL of yours in DATABASE_URL"
            ) from error


def _let_pass(directory: Path, uid: int) -> None:
    try:
        raw = os.getxattr(directory, _ACL)
        entries = {
            (tag, who): rights for tag, rights, who in _ENTRY.iter_unpack(raw[_VERSION.size :])
        }
    except OSError:  # no list so far: the mode says it all
        mode = directory.stat().st_mode
        entries = {
            (_OWNER, _NOBODY): mode >> 6 & 7,
            (_GROUP, _NOBODY): mode >> 3 & 7,
            (_MASK, _NOBODY): mode >> 3 & 7,
            (_OTHER, _NOBODY): mode & 7,
        }
    # A later chmod narrows the mask, and with it what the entry is worth.
    if entries.get((_USER, uid), 0) & entries.get((_MASK, _NOBODY), 0) & _PASS:
        return
    entries[_USER, uid] = entries.get((_USER, uid), 0) | _PASS
    entries[_MASK, _NOBODY] = entries.get((_MASK, _NOBODY), entries[_GROUP, _NOBODY]) | _PASS
    packed = (_ENTRY.pack(tag, rights, who) for (tag, who), rights in sorted(entries.items()))
    os.setxattr(directory, _ACL, _VERSION.pack(2) + b"".join(packed))
    logger.warning("Let the system user %s pass through %s (it cannot list it).", NAME, directory)
