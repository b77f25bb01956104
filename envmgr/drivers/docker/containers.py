"""Containers: run, look, signal, stop, remove."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from urllib.parse import quote

import anyio

from envmgr.drivers.docker import bodies, reading, stream, trouble
from envmgr.drivers.docker.calls import ENDING, Client
from envmgr.drivers.docker.pausing import Pausing
from envmgr.drivers.docker.trouble import unless
from envmgr.errors import ConfigError, Conflict, NotFound, Unobservable
from envmgr.model.observe import Absent, Present, Seen, Unknown
from envmgr.protocols.engine import Container, ContainerLaunch, Labels

_KILL_S = 20.0
_NAMED_S, _PAUSE_S = 20.0, 0.05
_INSPECT_S = 2.0


class Containers(Pausing):
    """See `Engine`."""

    async def run(
        self, launch: ContainerLaunch, *, before_start: Callable[[], Awaitable[None]] | None = None
    ) -> Container:
        """See `Engine.run`."""
        what = f"starting container {launch.name}"
        try:
            if before_start is None:
                return await self._calls.act(lambda client: _run(client, launch), what=what)
            identity = await self._calls.act(lambda client: _create(client, launch), what=what)
            try:
                await before_start()
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await self._calls.act(lambda client: _remove(client, identity), what=what)
                raise
            return await self._calls.act(lambda client: _begin(client, identity, launch), what=what)
        except NotFound as error:  # what it needs is not there: its image, or a network
            raise ConfigError(error.message, hint="Make it before the container.") from error

    async def start(self, container: str) -> Container:
        """See `Engine.start`."""
        return await self._calls.act(
            lambda client: _start(client, container), what=f"starting container {container}"
        )

    async def inspect(self, container: str) -> Seen[Container]:
        """See `Engine.inspect`."""
        return await self._calls.seen(
            lambda client: _inspect(client, container), what=f"looking at {container}"
        )

    async def containers(self, labels: Labels) -> Seen[Sequence[Container]]:
        """See `Engine.containers`."""
        filters = {"label": label_filter(labels)}
        match await self._calls.seen(
            lambda client: client.containers(all=True, filters=filters), what="listing containers"
        ):
            case Present(rows):
                return Present(await self._inspected(rows))
            case nothing:
                return nothing

    async def mounting(self, source: str) -> Seen[Sequence[Container]]:
        """See `Engine.mounting`."""

        def ask(client: Client) -> list[reading.Document]:
            # The engine's own filter knows volumes, but no folders below a path.
            return [each for each in client.containers(all=True) if _uses(reading.mounted(each), source)]

        match await self._calls.seen(ask, what="listing containers"):
            case Present(rows):
                return Present(await self._inspected(rows))
            case nothing:
                return nothing

    async def _inspected(self, rows: Sequence[reading.Document]) -> Sequence[Container]:
        """In full, side by side: an engine may hang on one container and be well otherwise."""
        found: dict[str, Container] = {}

        async def one(row: reading.Document) -> None:
            name = row["Id"]
            match await self._calls.seen(
                lambda client: _inspect(client, name), what=f"looking at {name}", deadline_s=_INSPECT_S
            ):
                case Present(container):
                    found[name] = container
                case Absent():
                    pass
                case Unknown():
                    found[name] = reading.sketch(row)

        async with anyio.create_task_group() as group:
            for row in rows:
                group.start_soon(one, row)
        return [found[row["Id"]] for row in rows if row["Id"] in found]

    async def signal(self, container: str, signal: str) -> None:
        """See `Engine.signal`."""
        await self._calls.act(
            lambda client: _signal(client, container, signal), what=f"signalling {container}", lane=ENDING
        )

    async def stop(self, container: str, *, signal: str, grace_s: float) -> None:
        """See `Engine.stop`. Does not hold a thread while it waits."""
        await self.signal(container, signal)
        await self.unpause(container)  # a frozen process hears no signal
        if await self._has_ended(container, within_s=grace_s):
            return
        await self.signal(container, "SIGKILL")
        if not await self._has_ended(container, within_s=_KILL_S):
            raise Unobservable(
                f"container {container} has been killed and did not end within {_KILL_S:g} s",
                hint="Look at it with `docker ps`; a process in the kernel's hands cannot be killed.",
            )

    async def remove(self, container: str) -> None:
        """See `Engine.remove`."""

        def drop(client: Client) -> None:
            _remove(client, container)

        await self._calls.act(drop, what=f"removing container {container}", lane=ENDING)
        await self._calls.gone(
            lambda client: client.inspect_container(container),
            what=f"removing container {container}",
            again=drop,
        )

    async def _has_ended(self, container: str, *, within_s: float) -> bool:
        """Wait for its end, not by asking again and again; what counts is a look afterwards."""
        with anyio.move_on_after(within_s):
            await self._wait(container)
            while True:
                if not await self._is_alive(container):
                    return True
                await anyio.sleep(_PAUSE_S)  # an answer to the wait that was none, such as a 404
        return not await self._is_alive(container)

    async def _is_alive(self, container: str) -> bool:
        match await self._calls.seen(
            lambda client: _inspect(client, container), what=f"looking at {container}"
        ):
            case Present(found):
                return found.is_alive
            case Absent():
                return False
            case unknown:
                raise Unobservable(unknown.reason, hint="Run `envmgr doctor`.")

    async def _wait(self, container: str) -> None:
        path = f"/containers/{quote(container)}/wait?condition=not-running"
        try:
            # The engine sends its headers at once, the body at the end.
            async with stream.ask(self._calls, "POST", path, what=f"waiting for {container}") as answer:
                await answer.text()
        except stream.Refused as refused:
            if refused.status != 404:
                raise trouble.refusal(refused.status, refused.words, what="waiting") from refused


def label_filter(labels: Labels) -> list[str]:
    """Labels as the engine's lists filter by them; an empty value matches any."""
    return [f"{name}={value}" if value else name for name, value in labels.items()]


def owned(labels: Mapping[str, str], found: Mapping[str, str]) -> bool:
    """Whether what was found carries all of our labels; an image may add some."""
    return all(found.get(name) == value for name, value in labels.items())


def _run(client: Client, launch: ContainerLaunch) -> Container:
    return _begin(client, _create(client, launch), launch)


def _begin(client: Client, identity: str, launch: ContainerLaunch) -> Container:
    import docker.errors

    try:
        for network in list(launch.networks)[1:]:
            attach(client, identity, network, launch.networks[network])
        return _start(client, identity)
    except docker.errors.APIError:
        # What was refused must not lie in the way of a try with another port.
        with suppress(docker.errors.APIError):
            _remove(client, identity)
        raise


def attach(client: Client, container: str, network: str, aliases: Sequence[str]) -> None:
    """Connect it, unless it is connected."""
    import docker.errors

    try:
        client.connect_container_to_network(container, network, aliases=list(aliases))
    except docker.errors.APIError as error:
        if "already exists in network" not in (error.explanation or ""):  # an earlier call got that far
            raise


def _create(client: Client, launch: ContainerLaunch) -> str:
    """Id of a container that is as `launch` wants it: a new one, or one that an earlier call made."""
    import docker.errors

    body, platform = bodies.container(launch), launch.platform or None
    give_up_at = time.monotonic() + _NAMED_S
    while time.monotonic() < give_up_at:
        try:
            return str(client.create_container_from_config(body, launch.name, platform)["Id"])
        except docker.errors.APIError as error:
            if error.status_code != 409:
                raise
        with suppress(docker.errors.NotFound):
            existing = client.inspect_container(launch.name)
            if _is_as_wanted(existing, launch):
                return str(existing["Id"])
            _remove(client, existing["Id"])
        # The name is taken before the container can be seen: by an earlier call of ours that is still being carried out.
        time.sleep(_PAUSE_S)
    raise Conflict(
        f"somebody keeps creating a container {launch.name}", hint="Look at it with `docker ps -a`."
    )


def _is_as_wanted(existing: reading.Document, launch: ContainerLaunch) -> bool:
    """Whether it can be used. False: it is ours and has ended, so it may be made anew.

    Raises:
        Conflict: It is not ours, or runs otherwise.
    """
    config, state = existing["Config"], existing["State"]
    if not owned(launch.labels, config.get("Labels") or {}):
        raise Conflict(
            f"there is a container {launch.name} of somebody else",
            hint=f"Look at it with `docker inspect {launch.name}`, and remove it if nobody needs it.",
        )
    ports = existing["HostConfig"].get("PortBindings") or {}
    if ports == bodies.bindings(launch.publish) and config["Image"] == launch.image:
        return True
    if state["Running"]:
        raise Conflict(
            f"container {launch.name} runs with another configuration",
            hint="Stop it first; then it is made anew.",
        )
    return False


def _start(client: Client, container: str) -> Container:
    client.start(container)  # one that runs is left alone
    return _inspect(client, container)


def _inspect(client: Client, container: str) -> Container:
    return reading.container(client.inspect_container(container))


def _signal(client: Client, container: str, signal: str) -> None:
    with suppress_absence():
        unless(partial(client.kill, signal=signal), container, is_fine="is not running")


def _remove(client: Client, container: str) -> None:
    with suppress_absence():
        # A removal that is under way is waited for by the look afterwards.
        unless(partial(client.remove_container, v=True, force=True), container, is_fine="already in progress")


def suppress_absence() -> AbstractContextManager[None]:
    """Let the engine's "no such thing" pass. Only where the SDK is loaded: in a call's thread."""
    import docker.errors

    return suppress(docker.errors.NotFound)


def _uses(sources: Sequence[str], source: str) -> bool:
    """Whether one of them is it or below it, also through symbolic links."""
    below = source.rstrip("/") + "/"
    known = {*sources, *(os.path.realpath(each) for each in sources if each.startswith("/"))}
    return any(each == source or each.startswith(below) for each in known)
