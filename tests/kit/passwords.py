"""A role of a real PostgreSQL with a password that no careless parser survives, and a search for it in files."""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import psycopg
import pytest
from psycopg import sql

PASSWORD = "p/w@?x y"
PICTURES = re.compile(rb"[A-Za-z0-9+/]{2000,}=*")
"""Pictures and scripts that a page carries: in megabytes of base64 any four letters stand somewhere by chance."""


@pytest.fixture
def role_url(postgres_server: str) -> Iterator[str]:
    """URL, with the password, of an empty database of that role."""
    name = f"rnnsweep_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(PASSWORD))
        )
        connection.execute(f"CREATE DATABASE {name} OWNER {name}")
        try:
            where = postgres_server.partition("?")[0].rpartition("/")[0].rpartition("@")[2]
            yield f"postgresql://{name}:{quote(PASSWORD, safe='')}@{where}/{name}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            connection.execute(f"DROP ROLE {name}")


def encodings(password: str) -> list[bytes]:
    """The password as text, in URLs, JSON, base64 and two-byte characters; and what is left of it where it is cut."""
    raw = password.encode()
    texts = [password, quote(password), quote(password, safe=""), quote_plus(password), json.dumps(password)[1:-1]]
    cut = [part for text in texts for part in (text[:4], text[-4:])]
    # base64 without its last group, which depends on what follows
    return [*(text.encode() for text in (*texts, *cut)), base64.b64encode(raw)[:-4], password.encode("utf-16-le")]


def places_with(password: str, *folders: Path) -> list[Path]:
    """Files below the folders that hold the password in any encoding."""
    words = encodings(password)
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]
    return [file for file in files if any(word in PICTURES.sub(b"", file.read_bytes()) for word in words)]
