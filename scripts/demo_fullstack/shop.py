"""The shop's database and cache, found by the variables that envmgr exports."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pg8000.native
import redis


@contextmanager
def database() -> Iterator[pg8000.native.Connection]:
    """A connection to DATABASE_URL, closed at the end."""
    url = urlsplit(os.environ["DATABASE_URL"])
    connection = pg8000.native.Connection(
        url.username or "",
        password=url.password,
        host=url.hostname or "127.0.0.1",
        port=url.port or 5432,
        database=url.path.lstrip("/"),
    )
    try:
        yield connection
    finally:
        connection.close()


def cache() -> "redis.Redis":
    """The cache at REDIS_URL."""
    return redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
