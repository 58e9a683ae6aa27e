"""Fixtures that every test may ask for."""

from tests.kit.shapes import check_shapes

check_shapes()  # before the first import of a module with shapes

from tests.kit.postgres import postgres_server, postgres_url  # noqa: E402

__all__ = ["postgres_server", "postgres_url"]
