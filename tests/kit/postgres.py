"""A PostgreSQL server for tests: the one named by RNNSWEEP_TEST_POSTGRES, one that listens on loopback, or our own.

`postgres_server` and `postgres_url` are fixtures; import them in a conftest.py. Where no server can be had the tests
are skipped with the reason, but with CI=true they fail: there the server is part of the promise. psycopg is imported by
those who ask for a server only: the other tests run where it is not installed.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest


def answers(url: str) -> bool:
    """Whether a server at `url` lets us make databases."""
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=3) as connection:
            query = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
            row = connection.execute(query).fetchone()
    except psycopg.Error:
        return False
    return bool(row and row[0])


def listening() -> str | None:
    """URL of a server on loopback that trusts us, or None."""
    for user in dict.fromkeys(("postgres", "root", getpass.getuser())):
        url = f"postgresql://{user}@127.0.0.1:5432/postgres"
        if answers(url):
            return url
    return None


def programs() -> Path | None:
    """Folder with `initdb` and `postgres`, or None."""
    folders = [Path(found).parent for found in (shutil.which("initdb"),) if found]
    if shutil.which("pg_config"):
        asked = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=False)
        folders.append(Path(asked.stdout.strip()))
    folders.extend(sorted(Path("/usr/lib").glob("postgresql/*/bin"), reverse=True))  # where Debian keeps them
    return next((f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()), None)


class PrivateServer:
    """A server of our own in a temporary folder, on a free loopback port."""

    def __init__(self, bindir: Path) -> None:
        # PostgreSQL refuses to run as root; distributions bring a user for it
        self._user = "postgres" if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="rnnsweep-postgres-"))
        if self._user:
            shutil.chown(self._folder, self._user)
        data = self._folder / "data"
        self._run([bindir / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync"])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [bindir / "postgres", "-D", data, "-k", self._folder, "-h", "127.0.0.1", "-p", str(port)]
        self._log = (self._folder / "log").open("wb")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, user=self._user, cwd=self._folder)
        self.url = f"postgresql://postgres@127.0.0.1:{port}/postgres"

    def _run(self, command: list[str | Path]) -> None:
        subprocess.run(command, check=True, capture_output=True, user=self._user, cwd=self._folder)

    def wait(self, seconds: float = 30.0) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._process.poll() is None:
            if answers(self.url):
                return True
            time.sleep(0.1)
        return False

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()
        shutil.rmtree(self._folder)


def unavailable(reason: str) -> None:
    """Skip, or fail where CI promises a server."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"PostgreSQL: {reason}")
    pytest.skip(f"PostgreSQL: {reason}")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a database in which databases can be made."""
    try:
        import psycopg  # noqa: F401 - asked for here, where the reason can be told
    except ImportError:
        unavailable("psycopg is not installed: the extra rnnsweep[postgres] has it")
    named = os.environ.get("RNNSWEEP_TEST_POSTGRES")
    found = named or listening()
    if found:
        if not answers(found):
            unavailable("the server of RNNSWEEP_TEST_POSTGRES does not answer or does not let us make databases")
        yield found
        return
    bindir = programs()
    if bindir is None:
        unavailable("none on 127.0.0.1:5432 that trusts us, no RNNSWEEP_TEST_POSTGRES, and no initdb to start one")
        return
    server = PrivateServer(bindir)
    try:
        if not server.wait():
            unavailable("our own server did not start")
        yield server.url
    finally:
        server.stop()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of an empty database that this test alone uses."""
    import psycopg

    name = f"rnnsweep_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            base, _, options = postgres_server.partition("?")
            yield f"{base.rpartition('/')[0]}/{name}{'?' + options if options else ''}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
