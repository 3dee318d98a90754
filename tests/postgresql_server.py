"""A real PostgreSQL server for tests: on the loopback address, in a temporary folder, with a password."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

USER, PASSWORD = "ann", "se/s@me:1"


def programs() -> Path | None:
    """Return the folder of ``initdb`` and ``postgres``, or None where they are not installed."""
    found = shutil.which("initdb")
    installed = [Path(found).resolve()] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


class PostgreSQL:
    """A cluster that can be stopped and started again. As root it runs as ``postgres``, which must not be root.

    Args:
        folder: Empty, and reachable for that user.
        programs: See :func:`programs`.
    """

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self._programs = folder, programs
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None
        self._who = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        initdb = [programs / "initdb", "-D", folder / "data", "-U", USER, "--pwfile", folder / "password"]
        options = ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run([*initdb, *options], check=True, stdout=subprocess.DEVNULL, cwd=folder, **self._who)

    def start(self) -> None:
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.folder), "-c", "fsync=off"]
        command = [str(self._programs / "postgres"), "-D", str(self.folder / "data"), *options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **self._who)
        deadline = time.monotonic() + 60
        ready = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        """End at once, as in a crash; what was committed is there at the next start."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(60)
            self._process = None

    def uri(self, database: str, user: str = USER, password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def make(self, database: str, template: str = "template0") -> str:
        """Make a database, a copy of another that nobody uses any longer, and return its address."""
        import psycopg

        with psycopg.connect(self.uri("postgres"), autocommit=True) as link:
            link.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (template,))
            link.execute(f"CREATE DATABASE {database} TEMPLATE {template}")
        return self.uri(database)
