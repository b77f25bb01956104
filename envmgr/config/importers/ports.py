"""Ports of containers, under names that say what is spoken there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from envmgr.config.importers.asking import wrong
from envmgr.config.importers.naming import slug
from envmgr.config.problems import Mark

_MOST = 256
_WELL_KNOWN = {
    "http": (80, 3000, 3001, 4000, 4200, 4321, 5000, 5173, 5601, 7474, 7700, 8000, 8001, 8025, 8080, 8081)
    + (8082, 8086, 8108, 8123, 8200, 8500, 8529, 8888, 9090, 9200, 4566, 5984, 6333, 15672),
    "https": (443, 8443),
    "sql": (1433, 1521, 3306, 5432, 26257),
    "redis": (6379,),
    "mongo": (27017,),
    "amqp": (5672,),
    "smtp": (25, 465, 587, 1025, 2525),
    "memcached": (11211,),
    "kafka": (9092, 9094, 29092),
    "nats": (4222,),
    "cql": (9042,),
    "bolt": (7687,),
    "mqtt": (1883,),
    "grpc": (50051,),
    "otlp": (4317,),
    "ldap": (389,),
    "dns": (53,),
    "ssh": (22,),
    "debug": (5678, 9229),
    "zookeeper": (2181,),
}
_NAMES = {port: name for name, ports in _WELL_KNOWN.items() for port in ports}
_PUBLISHED = re.compile(
    r"(?:(?:\[[0-9a-fA-F:.]+\]|[0-9]+(?:\.[0-9]+){3}|localhost|):(?=[0-9-]*:))?"  # address of the host
    r"(?:(?P<host>[0-9]+(?:-[0-9]+)?)?:)?"
    r"(?P<inside>[0-9]+(?:-[0-9]+)?)(?:/(?P<protocol>[a-z]+))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A port of a container that can be reached from outside of it.

    Attributes:
        host: Number it had on the host; 0 if any would do.
        wanted: Name or protocol the file gives it.
    """

    inside: int
    host: int = 0
    protocol: str = "tcp"
    wanted: str = ""


def parse(text: str, mark: Mark, what: str) -> list[Published]:
    """The short form `[[ADDRESS:]HOST:]INSIDE[/PROTOCOL]`, each number or a range of them.

    Raises:
        ConfigError: It is none.
    """
    found = _PUBLISHED.fullmatch(text.strip())
    if found is None or (found["protocol"] or "tcp") not in ("tcp", "udp"):
        raise wrong(mark, f"{what}: {text!r} is not a port such as 8080:80 or 53:53/udp")
    return ranged(
        found["inside"], found["host"] or "", mark=mark, what=what, protocol=found["protocol"] or "tcp"
    )


def ranged(
    inside: str, host: str, *, mark: Mark, what: str, protocol: str = "tcp", wanted: str = ""
) -> list[Published]:
    """Ports from two numbers or ranges as text; a range of the host for one port means any of them."""
    insides, hosts = _span(inside, mark, what), _span(host, mark, what) if host else []
    if len(hosts) > 1 and len(insides) > 1 and len(hosts) != len(insides):
        raise wrong(mark, f"{what}: {host}:{inside} are ranges of different lengths")
    if len(insides) > _MOST:
        raise wrong(mark, f"{what}: {len(insides)} ports at once; at most {_MOST} can be taken over")
    matching = hosts if len(hosts) == len(insides) else [0] * len(insides)
    return [
        Published(inside=port, host=number, protocol=protocol, wanted=wanted)
        for port, number in zip(insides, matching, strict=True)
    ]


def _span(text: str, mark: Mark, what: str) -> list[int]:
    first, _, last = text.partition("-")
    if not all(re.fullmatch(r"[0-9]{1,5}", part) for part in (first, last or first)):
        raise wrong(mark, f"{what}: {text!r} is not a port number (1 to 65535)")
    low, high = int(first), int(last or first)
    if not 1 <= low <= high <= 65535:
        raise wrong(mark, f"{what}: {text!r} is not a port number or a range of them (1 to 65535)")
    return list(range(low, high + 1))


def name_for(port: Published, taken: set[str]) -> str:
    """A name that is free: what the file says, else what is usually spoken there, else `p8080`; adds it to `taken`."""
    wanted = slug(port.wanted, "") if port.wanted else _NAMES.get(port.inside, "")
    plain = f"p{port.inside}"
    udp = f"{wanted or plain}-udp"
    choices = [wanted, plain] if port.protocol == "tcp" else [wanted, udp, f"{plain}-udp"]
    name = next(
        choice for choice in (*choices, f"{plain}-{port.protocol}-2") if choice and choice not in taken
    )
    taken.add(name)
    return name
