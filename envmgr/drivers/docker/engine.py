"""The container engine behind the Docker Engine API."""

from __future__ import annotations

from envmgr.drivers.docker import reading
from envmgr.drivers.docker.address import SYSTEM_SOCKET
from envmgr.drivers.docker.archives import Archives
from envmgr.drivers.docker.calls import Calls, Client
from envmgr.drivers.docker.commands import Commands
from envmgr.drivers.docker.images import Images
from envmgr.drivers.docker.networks import Networks
from envmgr.drivers.docker.output import Output
from envmgr.drivers.docker.pausing import Gate
from envmgr.model.ids import InstanceId
from envmgr.model.observe import Absent, Seen
from envmgr.protocols.engine import EngineAddress, EngineFacts


class DockerEngine(Archives, Commands, Images, Networks, Output):
    """The engine of this host (docs/adr/0024). Nothing is contacted, and nothing imported, before the first call.

    Args:
        instance: Whose containers `changes` tells about.
        host: `unix://PATH` or `tcp://HOST:PORT`; empty for DOCKER_HOST, else the usual sockets. With another kind of
            address all calls raise ConfigError.
        deadline_s: Seconds until a look gives up; what changes something may take six times as long.
    """

    def __init__(
        self,
        *,
        instance: InstanceId,
        host: str = "",
        deadline_s: float = 10.0,
        system_socket: str = SYSTEM_SOCKET,
    ) -> None:
        """`system_socket` is looked for when neither `host` nor DOCKER_HOST says where the engine is."""
        self._instance = instance
        self._calls = Calls(host, deadline_s=deadline_s, system_socket=system_socket)
        self._gate = Gate()

    async def look(self) -> Seen[EngineFacts]:
        """See `Engine.look`."""

        def ask(client: Client) -> EngineFacts:
            return reading.facts(client.version(), client.info())

        if not await self._calls.is_expected():
            return Absent()
        return await self._calls.seen(ask, what="asking for its version")

    async def knock(self) -> Seen[None]:
        """See `Engine.knock`."""
        return await self._calls.knock()

    async def whereabouts(self) -> EngineAddress | None:
        """See `Engine.whereabouts`."""
        address = await self._calls.find()
        return (
            EngineAddress(url=address.url, source=address.source, variables=address.variables())
            if address
            else None
        )

    def close(self) -> None:
        """Close idle connections; later calls open new ones."""
        self._calls.close()
