"""Well-known images: where they listen, and how programs on the host find them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

Env = Mapping[str, str]
"""The service's own variables, as text of a template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A program that is often run in a container.

    Attributes:
        port: Where it listens inside.
        name: Name for that port.
        variable: What programs usually call the address of the only one of its sort.
        address: Makes the address from the service's variables; `{at}` stands for host and port.
    """

    port: int
    name: str
    variable: str
    address: Callable[[Env], str]


def _user(user: str, password: str) -> str:
    """`user:password@` for an address. What is not a reference is encoded."""
    if not user and not password:
        return ""
    return f"{_safe(user)}{':' if password else ''}{_safe(password)}@"


def _safe(text: str) -> str:
    return text if "${" in text else quote(text.replace("$$", "$"), safe="")


def _postgres(env: Env) -> str:
    user = env.get("POSTGRES_USER") or env.get("POSTGRESQL_USERNAME") or "postgres"
    password = env.get("POSTGRES_PASSWORD") or env.get("POSTGRESQL_PASSWORD") or ""
    database = env.get("POSTGRES_DB") or env.get("POSTGRESQL_DATABASE") or user
    return f"postgres://{_user(user, password)}{{at}}/{_safe(database)}"


def _mysql(env: Env) -> str:
    def first(*ends: str) -> str:
        names = (f"{brand}_{end}" for end in ends for brand in ("MYSQL", "MARIADB"))
        return next((env[name] for name in names if env.get(name)), "")

    user = first("USER") or "root"
    password = first("PASSWORD") if user != "root" else first("ROOT_PASSWORD", "PASSWORD")
    return f"mysql://{_user(user, password)}{{at}}/{_safe(first('DATABASE'))}"


def _mongo(env: Env) -> str:
    login = _user(env.get("MONGO_INITDB_ROOT_USERNAME", ""), env.get("MONGO_INITDB_ROOT_PASSWORD", ""))
    database = _safe(env.get("MONGO_INITDB_DATABASE", ""))
    return f"mongodb://{login}{{at}}/{database}{'?authSource=admin' if login else ''}"


def _rabbit(env: Env) -> str:
    login = _user(env.get("RABBITMQ_DEFAULT_USER") or "guest", env.get("RABBITMQ_DEFAULT_PASS") or "guest")
    vhost = env.get("RABBITMQ_DEFAULT_VHOST", "")
    return f"amqp://{login}{{at}}/{_safe(vhost.removeprefix('/'))}"


def _redis(env: Env) -> str:
    return f"redis://{_user('', env.get('REDIS_PASSWORD', ''))}{{at}}/0"


def _plain(scheme: str) -> Callable[[Env], str]:
    return lambda env: f"{scheme}{{at}}"


_POSTGRES = Known(port=5432, name="sql", variable="DATABASE_URL", address=_postgres)
_MYSQL = Known(port=3306, name="sql", variable="DATABASE_URL", address=_mysql)
_REDIS = Known(port=6379, name="redis", variable="REDIS_URL", address=_redis)
_SEARCH = Known(port=9200, name="http", variable="ELASTICSEARCH_URL", address=_plain("http://"))
_MAIL = Known(port=1025, name="smtp", variable="SMTP_URL", address=_plain("smtp://"))
_IMAGES = (
    (r"postgres|postgresql|postgis|timescaledb(-ha)?|pgvector|alloydbomni", _POSTGRES),
    (r"mysql(-server)?|mariadb|percona(-server)?", _MYSQL),
    (r"redis|redis-stack(-server)?|valkey|keydb|dragonfly", _REDIS),
    (
        r"mongo|mongodb|mongodb-community-server",
        Known(port=27017, name="mongo", variable="MONGODB_URL", address=_mongo),
    ),
    (r"rabbitmq", Known(port=5672, name="amqp", variable="AMQP_URL", address=_rabbit)),
    (r"minio", Known(port=9000, name="s3", variable="S3_ENDPOINT", address=_plain("http://"))),
    (r"elasticsearch|opensearch", _SEARCH),
    (r"nats", Known(port=4222, name="nats", variable="NATS_URL", address=_plain("nats://"))),
    (r"memcached", Known(port=11211, name="memcached", variable="MEMCACHED_SERVERS", address=_plain(""))),
    (r"mailhog|mailpit|mailcatcher", _MAIL),
    (
        r"meilisearch",
        Known(port=7700, name="http", variable="MEILISEARCH_URL", address=_plain("http://")),
    ),
)


def known(image: str) -> Known | None:
    """What an image reference stands for, judged by its last part without tag and digest."""
    name = re.sub(r"[:@].*", "", image.rpartition("/")[2])
    return next((found for pattern, found in _IMAGES if re.fullmatch(pattern, name)), None)
