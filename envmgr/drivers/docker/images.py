"""Images: find, pull, build, remove."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

import anyio

from envmgr.aio import blocking
from envmgr.drivers.docker import reading, stream, trouble
from envmgr.drivers.docker.calls import Calls, Client
from envmgr.drivers.docker.containers import label_filter
from envmgr.errors import ConfigError, Unavailable
from envmgr.model.container import BuildSpec, PullPolicy
from envmgr.model.observe import Absent, Present, Seen
from envmgr.protocols.engine import Found, Labels, Progress

# Pulls and builds may take long, but not in silence.
_SILENCE_S = 300.0
_HEAD_S = 120.0
_SHOWN_LINES = 20
_PIECE_BYTES = 1024 * 1024


class Images:
    """See `Engine`."""

    _calls: Calls

    async def image(
        self, reference: str, *, pull: PullPolicy, platform: str = "", tell: Progress | None = None
    ) -> str:
        """See `Engine.image`. A pull ends when it is cancelled, or silent for five minutes."""
        if pull is not PullPolicy.ALWAYS and (found := await self._image_id(reference)):
            return found
        if pull is PullPolicy.NEVER:
            raise ConfigError(
                f"there is no image {reference}, and it is not to be pulled",
                hint="Build or load it, or set `pull: missing`.",
            )
        await self._pull(reference, platform, tell or _nobody)
        if found := await self._image_id(reference):
            return found
        raise Unavailable(f"the image {reference} was pulled and is not there", hint="Try again.")

    async def build(
        self, tag: str, build: BuildSpec, *, root: Path, labels: Labels, tell: Progress | None = None
    ) -> str:
        """See `Engine.build`. The context is packed as `.dockerignore` says; cancelling ends the build."""
        context: IO[bytes] = await blocking.act("file", _packed, root / build.context, build.dockerfile)
        query: dict[str, Any] = {
            "t": tag,
            "target": build.target,
            "dockerfile": build.dockerfile,
            "buildargs": json.dumps(dict(build.args)),
            "labels": json.dumps(dict(labels)),
            "rm": 1,
            "forcerm": 1,
        }
        headers = {
            "Content-Type": "application/x-tar",
            **await self._calls.act(_all_logins, what="reading logins"),
        }
        with context:
            size = await blocking.act("file", context.seek, 0, 2)
            await blocking.act("file", context.seek, 0)
            await self._build(f"/build?{urlencode(query)}", headers, context, size, tell or _nobody)
        if found := await self._image_id(tag):
            return found
        raise Unavailable(f"the image {tag} was built and is not there", hint="Try again.")

    async def images(self, labels: Labels) -> Seen[Sequence[Found]]:
        """See `Engine.images`."""
        wanted = {"label": label_filter(labels)}
        return await self._calls.seen(
            lambda client: [one for row in client.images(filters=wanted) for one in reading.images(row)],
            what="listing images",
        )

    async def remove_image(self, reference: str) -> None:
        """See `Engine.remove_image`."""
        what = f"removing image {reference}"
        await self._calls.act(lambda client: _remove(client, reference), what=what)

    async def _image_id(self, reference: str) -> str:
        what = f"looking for image {reference}"
        match await self._calls.seen(lambda client: client.inspect_image(reference)["Id"], what=what):
            case Present(found):
                return str(found)
            case Absent():
                return ""
            case unknown:
                raise trouble.unseen(unknown.reason)

    async def _pull(self, reference: str, platform: str, tell: Progress) -> None:
        name, tag, headers = await self._calls.act(
            lambda client: _login(client, reference), what="reading logins"
        )
        query = urlencode({"fromImage": name, "tag": tag, "platform": platform})
        what, said = f"pulling {reference}", _Progress(tell)
        try:
            async with stream.ask(
                self._calls, "POST", f"/images/create?{query}", what=what, headers=headers, patience_s=_HEAD_S
            ) as answer:
                async for document in _documents(answer, what=what):
                    if problem := document.get("error"):
                        raise trouble.pull_refusal(reference, problem)
                    said.pull(document)
        except stream.Refused as refused:
            raise trouble.pull_refusal(reference, refused.words) from refused

    async def _build(
        self, path: str, headers: Mapping[str, str], context: IO[bytes], size: int, tell: Progress
    ) -> None:
        what, last = "building", deque[str](maxlen=_SHOWN_LINES)
        try:
            async with stream.ask(
                self._calls,
                "POST",
                path,
                what=what,
                headers=headers,
                patience_s=_HEAD_S,
                body=_pieces(context),
                length=size,
            ) as answer:
                async for document in _documents(answer, what=what):
                    for line in str(document.get("stream", "")).splitlines():
                        if line.strip():
                            last.append(line)
                            tell(line)
                    if problem := document.get("error"):
                        raise _build_failed(str(problem), last)
        except stream.Refused as refused:
            raise _build_failed(refused.words, last) from refused


class _Progress:
    """Turns the hundreds of documents of a pull into a line per layer and state."""

    def __init__(self, tell: Progress) -> None:
        self._tell = tell
        self._known: dict[str, str] = {}

    def pull(self, document: Mapping[str, Any]) -> None:
        layer, status = str(document.get("id", "")), str(document.get("status", ""))
        if status and self._known.get(layer) != status:
            self._known[layer] = status
            self._tell(f"{layer}: {status}" if layer else status)


async def _documents(answer: stream.Answer, *, what: str) -> AsyncIterator[dict[str, Any]]:
    """JSON documents, one a line. Raises Unobservable when nothing came for too long."""
    rest, chunks = b"", answer.chunks()
    while True:
        with anyio.move_on_after(_SILENCE_S) as in_time:
            chunk = await anext(chunks, None)
        if in_time.cancelled_caught:
            raise trouble.silent(None, what, _SILENCE_S)
        if chunk is None:
            break
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield json.loads(line)
    if rest.strip():
        yield json.loads(rest)


async def _pieces(file: IO[bytes]) -> AsyncGenerator[bytes, None]:
    while piece := await blocking.act("file", file.read, _PIECE_BYTES):
        yield piece


def _nobody(_line: str) -> None:
    return


def _build_failed(problem: str, last: deque[str]) -> ConfigError:
    return ConfigError(
        f"the image could not be built: {trouble.plain(problem)}",
        hint="The end of the build's output is in the details." if last else "Check the Dockerfile.",
        details={"output": list(last)},
    )


def _login(client: Client, reference: str) -> tuple[str, str, dict[str, str]]:
    """Name and tag (or digest) of a reference, and the header with what `docker login` left for its registry."""
    from docker import auth, utils

    name, tag = utils.parse_repository_tag(reference)
    registry, _ = auth.resolve_repository_name(name)
    login = auth.get_config_header(client, registry)
    return name, tag or "latest", {"X-Registry-Auth": _text(login)} if login else {}


def _all_logins(client: Client) -> dict[str, str]:
    from docker import auth

    known = auth.load_config().get_all_credentials()
    return {"X-Registry-Config": _text(auth.encode_header(known))} if known else {}


def _text(header: str | bytes) -> str:
    return header.decode("ascii") if isinstance(header, bytes) else header


def _packed(folder: Path, dockerfile: str) -> IO[bytes]:
    """A temporary tar of the build's context."""
    from docker.utils import build

    if not (folder / dockerfile).is_file():
        raise ConfigError(
            f"there is no {dockerfile} in {folder.name or folder}",
            hint="Check `context` and `dockerfile` of the build.",
        )
    ignored = folder / ".dockerignore"
    exclude = ignored.read_text(encoding="utf-8").splitlines() if ignored.exists() else []
    lines = [line.strip() for line in exclude]
    packed: IO[bytes] = build.tar(
        str(folder),
        exclude=[line for line in lines if line and not line.startswith("#")],
        dockerfile=(dockerfile, None),
    )
    return packed


def _remove(client: Client, reference: str) -> None:
    import docker.errors

    try:
        client.remove_image(reference)
    except docker.errors.APIError as error:
        if error.status_code not in (404, 409):
            raise
