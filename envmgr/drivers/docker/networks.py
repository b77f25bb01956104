"""Networks and named volumes that carry our labels."""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Collection, Iterator, Sequence
from functools import partial

import anyio

from envmgr.drivers.docker import reading, trouble
from envmgr.drivers.docker.calls import Calls, Client
from envmgr.drivers.docker.containers import attach, label_filter, owned, suppress_absence
from envmgr.errors import Conflict, EnvmgrError
from envmgr.model.observe import Absent, Present, Seen
from envmgr.protocols.engine import Found, Labels

# The engine's own pools hold some thirty networks. After that each of ours takes 62 addresses of this range.
_RANGE = ipaddress.ip_network("10.213.0.0/16")
_PREFIX = 26
_COUNTING_S = 0.1
_TRIES = 64


class Networks:
    """See `Engine`."""

    _calls: Calls

    async def ensure_network(self, name: str, labels: Labels) -> None:
        """See `Engine.ensure_network`."""
        what = f"creating network {name}"
        try:
            await self._calls.act(lambda client: _create_network(client, name, labels), what=what)
        except EnvmgrError as error:
            if not trouble.is_out_of_subnets(error):
                raise
            await self._ensure_in_range(name, labels)

    async def networks(self, labels: Labels) -> Seen[Sequence[Found]]:
        """See `Engine.networks`."""
        wanted = {"label": label_filter(labels)}
        return await self._calls.seen(
            lambda client: [reading.found(each) for each in client.networks(filters=wanted)],
            what="listing networks",
        )

    async def connect_network(self, network: str, container: str, *, aliases: Sequence[str]) -> None:
        """See `Engine.connect_network`."""
        await self._calls.act(
            lambda client: attach(client, container, network, aliases),
            what=f"connecting {container} to network {network}",
        )

    async def disconnect_network(self, network: str, container: str) -> None:
        """See `Engine.disconnect_network`."""
        await self._calls.act(
            lambda client: _detach(client, container, network),
            what=f"disconnecting {container} from network {network}",
        )

    async def remove_network(self, name: str) -> None:
        """See `Engine.remove_network`."""

        def drop(client: Client) -> None:
            with suppress_absence():
                client.remove_network(name)

        what = f"removing network {name}"
        await self._calls.act(drop, what=what)
        await self._calls.gone(lambda client: client.inspect_network(name), what=what, again=drop)

    async def _ensure_in_range(self, name: str, labels: Labels) -> None:
        what = f"creating network {name}"
        for subnet in _subnets(name):
            create = partial(_create_network, name=name, labels=labels, subnet=subnet)
            try:
                await self._calls.act(create, what=what)
            except EnvmgrError as error:
                if not trouble.is_overlap(error):
                    raise
                continue
            return
        raise Conflict(
            "the engine has no addresses left for another network",
            hint="Remove networks that nobody uses (`docker network prune`), or widen its default-address-pools.",
        )


class Volumes:
    """See `Engine`."""

    _calls: Calls

    async def ensure_volume(self, name: str, labels: Labels) -> bool:
        """See `Engine.ensure_volume`."""

        def do(client: Client) -> bool:
            existing = _volume_or_none(client, name)
            if existing is None:
                client.create_volume(name, labels=dict(labels))
                return True
            _check_owner("volume", name, labels, existing)
            return False

        return await self._calls.act(do, what=f"creating volume {name}")

    async def volumes(self, labels: Labels) -> Seen[Sequence[Found]]:
        """See `Engine.volumes`."""
        wanted = {"label": label_filter(labels)}
        return await self._calls.seen(
            lambda client: [reading.found(each) for each in client.volumes(filters=wanted)["Volumes"] or ()],
            what="listing volumes",
        )

    async def remove_volume(self, name: str) -> None:
        """See `Engine.remove_volume`."""

        def drop(client: Client) -> None:
            with suppress_absence():
                client.remove_volume(name)

        what = f"removing volume {name}"
        await self._calls.act(drop, what=what)
        await self._calls.gone(lambda client: client.inspect_volume(name), what=what, again=drop)

    async def volume_bytes(self, volumes: Collection[str]) -> int:
        """See `Engine.volume_bytes`. The engine counts all its volumes, file by file, so this has the patience of a change."""
        what = "counting volumes"
        with anyio.move_on_after(self._calls.change_s):
            while True:
                try:
                    counted = await self._calls.act(lambda client: client.df()["Volumes"] or (), what=what)
                except EnvmgrError as error:
                    if not trouble.is_counting(error):
                        raise
                    await anyio.sleep(_COUNTING_S)
                    continue
                return sum(max(0, each["UsageData"]["Size"]) for each in counted if each["Name"] in volumes)
        raise trouble.silent(self._calls.address, what, self._calls.change_s)

    async def _volume_labels(self, name: str) -> Labels:
        match await self._calls.seen(
            lambda client: client.inspect_volume(name), what=f"looking at volume {name}"
        ):
            case Present(volume):
                return dict(volume.get("Labels") or {})
            case Absent():
                raise trouble.refusal(404, f"no such volume: {name}", what="looking at it")
            case unknown:
                raise trouble.unseen(unknown.reason)


def _create_network(client: Client, name: str, labels: Labels, *, subnet: str = "") -> None:
    import docker.errors

    ipam = {"Config": [{"Subnet": subnet}]} if subnet else None

    try:
        # Names of networks are not unique on older engines unless that is asked for.
        client.create_network(name, driver="bridge", labels=dict(labels), ipam=ipam, check_duplicate=True)
    except docker.errors.APIError as error:
        if error.status_code != 409:
            raise
        _check_owner("network", name, labels, client.inspect_network(name))


def _detach(client: Client, container: str, network: str) -> None:
    import docker.errors

    try:
        client.disconnect_container_from_network(container, network, force=True)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if "is not connected to" not in (error.explanation or ""):
            raise


def _volume_or_none(client: Client, name: str) -> reading.Document | None:
    import docker.errors

    try:
        volume: reading.Document = client.inspect_volume(name)
    except docker.errors.NotFound:
        return None
    return volume


def _check_owner(kind: str, name: str, labels: Labels, existing: reading.Document) -> None:
    if not owned(labels, existing.get("Labels") or {}):
        raise Conflict(
            f"there is a {kind} {name} of somebody else",
            hint=f"Look at it with `docker {kind} inspect {name}`, and remove it if nobody needs it.",
        )


def _subnets(name: str) -> Iterator[str]:
    """Some subnets of the range, beginning at a place of the name's own, so that many at once rarely meet."""
    size = 2 ** (32 - _PREFIX)
    count = _RANGE.num_addresses // size
    first = zlib.crc32(name.encode()) % count
    for step in range(_TRIES):
        address = _RANGE.network_address + ((first + step * 7) % count) * size
        yield f"{address}/{_PREFIX}"
