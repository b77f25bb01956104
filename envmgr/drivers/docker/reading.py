"""The engine's documents as our values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from envmgr.protocols.engine import Container, EngineFacts, Found

_ENDED = re.compile(r"Exited \((\d+)\)")

Document = Mapping[str, Any]
"""JSON of the engine."""


def container(document: Document) -> Container:
    """From `GET /containers/ID/json`."""
    state, config = document["State"], document["Config"]
    network = document.get("NetworkSettings") or {}
    started, status = moment(state.get("StartedAt", "")), state["Status"]
    has_ended = status in ("exited", "dead") and started > 0
    return Container(
        id=document["Id"],
        name=document["Name"].removeprefix("/"),
        image=config["Image"],
        labels=config.get("Labels") or {},
        state=status,
        pid=state.get("Pid") or 0,
        exit_code=state.get("ExitCode") if has_ended else None,
        out_of_memory=bool(state.get("OOMKilled")),
        error=state.get("Error") or "",
        created_at=moment(document.get("Created", "")),
        started_at=started,
        # The engine notes a start after the fact; a short life can end before it.
        ended_at=max(started, moment(state.get("FinishedAt", ""))) if has_ended else None,
        health=_health(state),
        addresses=_addresses(network),
        published=_published(network),
        sources=mounted(document),
    )


def sketch(row: Document) -> Container:
    """From a row of `GET /containers/json`: what is known of a container that cannot be inspected."""
    ended = _ENDED.match(row.get("Status") or "")
    network = row.get("NetworkSettings") or {}
    return Container(
        id=row["Id"],
        name=next(iter(row.get("Names") or ()), "").removeprefix("/"),
        image=row["Image"],
        labels=row.get("Labels") or {},
        state=row["State"],
        created_at=float(row.get("Created") or 0.0),
        exit_code=int(ended[1]) if ended else None,
        addresses=_addresses(network),
        published={
            (port["PrivatePort"], port["Type"]): port["PublicPort"]
            for port in row.get("Ports") or ()
            if port.get("PublicPort")
        },
        sources=mounted(row),
        is_sketch=True,
    )


def found(document: Document) -> Found:
    """A network or a volume."""
    created = document.get("CreatedAt") or document.get("Created") or ""
    return Found(name=document["Name"], labels=document.get("Labels") or {}, created_at=created)


def images(row: Document) -> list[Found]:
    """From a row of `GET /images/json`, see `Engine.images`."""
    tags = [tag for tag in row.get("RepoTags") or () if tag != "<none>:<none>"]
    at, labels = datetime.fromtimestamp(row.get("Created") or 0, tz=UTC).isoformat(), row.get("Labels") or {}
    return [Found(name=name, labels=labels, created_at=at) for name in tags or [row["Id"]]]


def facts(version: Document, about: Document) -> EngineFacts:
    """From `GET /version` and `GET /info`."""
    return EngineFacts(
        version=version.get("Version", ""),
        api=version.get("ApiVersion", ""),
        cgroup=about.get("CgroupVersion", "") or "1",
        storage=about.get("Driver", ""),
    )


def moment(text: str) -> float:
    """Unix time of an RFC 3339 moment with up to nine digits, rounded down to microseconds; 0.0 for never (year 1)."""
    if not text or text.startswith("0001-"):
        return 0.0
    # fromisoformat takes six digits of a second; the engine leaves trailing zeros out.
    head, dot, rest = text.partition(".")
    if dot:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        text = f"{head}.{rest[: min(digits, 6)]:0<6}{rest[digits:]}"
    return datetime.fromisoformat(text).timestamp()


def mounted(document: Document) -> tuple[str, ...]:
    """Host paths and volume names of a container, from an inspection or from a line of the list."""
    return tuple(
        source
        for mount in document.get("Mounts") or ()
        if (source := mount.get("Name") or mount.get("Source"))
    )


def _health(state: Document) -> str:
    health = (state.get("Health") or {}).get("Status", "")
    return "" if health == "none" else health


def _addresses(network: Document) -> dict[str, str]:
    ends = network.get("Networks") or {}
    return {name: end["IPAddress"] for name, end in ends.items() if end and end.get("IPAddress")}


def _published(network: Document) -> dict[tuple[int, str], int]:
    published: dict[tuple[int, str], int] = {}
    for inside, outside in (network.get("Ports") or {}).items():
        number, _, protocol = inside.partition("/")
        if outside:
            published[int(number), protocol] = int(outside[0]["HostPort"])
    return published
