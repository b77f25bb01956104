"""What the engine says when it refuses, as our errors. The only place that reads its texts."""

from __future__ import annotations

import re
from collections.abc import Callable

from envmgr.drivers.docker.address import Address
from envmgr.errors import ConfigError, Conflict, EnvmgrError, NotFound, PortTaken, Unavailable, Unobservable

_HINT = "Start Docker, then try again; `envmgr doctor` shows what answers."

# "Bind for 127.0.0.1:80 failed: port is already allocated" and "listen tcp4 127.0.0.1:80: bind: address already in use".
_PORT_TAKEN = re.compile(
    r"(?:\.\d{1,3}|\]|::):(\d{1,5})\b.*(port is already allocated|address already in use)", re.DOTALL
)
_RUNTIME = re.compile(
    r"^.*(?:unable to start container process|error during container init|runc create failed): ", re.DOTALL
)
_MISUSE = re.compile(
    r"OCI runtime|unable to find user|no matching entries|invalid mount|Cannot mkdir|error while creating mount source"
    r"|error mounting|not a directory|unknown capability|invalid (?:IP|hostname|reference)"
)
_BUSY = re.compile(
    r"no space left on device|too many open files|cannot allocate memory|resource temporarily unavailable",
    re.IGNORECASE,
)
_NO_SUCH_IMAGE = re.compile(
    r"pull access denied|manifest unknown|manifest for .* not found|not found: manifest|no matching manifest|No such image"
    r"|repository .* not found|requested access to the resource is denied|unauthorized|invalid reference format",
    re.IGNORECASE,
)
_NO_SUBNET = ("non-overlapping", "fully subnetted")


def down(at: Address | None, reason: object = "") -> Unavailable:
    """Nobody serves the engine's address."""
    return Unavailable(
        f"{_engine(at)} does not answer", hint=_HINT, details={"reason": str(reason)} if reason else None
    )


def unseen(reason: str) -> Unavailable:
    """A look that had to succeed did not; `reason` is what it said."""
    return Unavailable(reason, hint=_HINT)


def silent(at: Address | None, what: str, after_s: float) -> Unobservable:
    """It took the call and did not answer in time: what was asked may still happen."""
    return Unobservable(
        f"{_engine(at)} does not answer: {what} took longer than {after_s:g} s",
        hint="Run `envmgr doctor`; is the engine overloaded?",
    )


def broken(at: Address | None, what: str) -> Unobservable:
    """The connection ended before the answer did."""
    return Unobservable(f"the connection to {_engine(at)} broke during {what}", hint=_HINT)


def _engine(at: Address | None) -> str:
    """Which one: somebody may look at another than the daemon."""
    return f"the container engine at {at.described}" if at else "the container engine"


def refusal(status: int, words: str, *, what: str) -> EnvmgrError:
    """The error for an answer that is none of success.

    Args:
        status: HTTP status; 0 when the refusal came inside of a stream.
        words: What the engine said.
        what: What it was asked, such as "starting container web".
    """
    said = plain(words)
    taken = _PORT_TAKEN.search(words)
    if taken:
        return PortTaken.by("another program or container", port=int(taken.group(1)))
    if _BUSY.search(words):
        return Unavailable(f"{what} failed: {said}", hint="Make room on this host, then try again.")
    if status == 404:
        return NotFound(f"{what} failed: {said}", hint="It may be gone; look again.")
    if _NO_SUCH_IMAGE.search(words):
        return ConfigError(f"{what} failed: {said}", hint="Check the image's name, and that you may pull it.")
    if status == 409 or (status == 403 and "active endpoints" in words):
        return Conflict(f"{what} failed: {said}", hint="Look at it with `docker ps -a`.")
    if status in (400, 403) or _MISUSE.search(words):
        return ConfigError(f"{what} failed: {said}", hint="Correct the service in the template.")
    return Unavailable(f"{what} failed: {said}", hint="The engine's own log tells more.")


def pull_refusal(reference: str, words: str) -> EnvmgrError:
    """The error for a pull that ended badly: nothing under that name, or nobody to ask."""
    if _NO_SUCH_IMAGE.search(words):
        return ConfigError(
            f"the image {reference} cannot be pulled: {plain(words)}",
            hint="Check its name; `docker login` if it is private.",
        )
    if _BUSY.search(words):
        return Unavailable(
            f"pulling {reference} failed: {plain(words)}", hint="Make room on this host, then try again."
        )
    return Unavailable(
        f"the registry of {reference} cannot be reached: {plain(words)}",
        hint="Check the network, or put the image there with `docker load` and set `pull: never`.",
    )


def is_out_of_subnets(error: EnvmgrError) -> bool:
    """Whether a network was refused because the engine's address pools are used up."""
    return any(words in error.message for words in _NO_SUBNET)


def is_counting(error: EnvmgrError) -> bool:
    """Whether the engine refused to count because it is counting for somebody else."""
    return "disk usage operation is already running" in error.message


def is_overlap(error: EnvmgrError) -> bool:
    """Whether a network was refused because its subnet is in use."""
    return "overlaps" in error.message


def plain(words: str) -> str:
    """The engine's words without the layers of its runtime in front."""
    return _RUNTIME.sub("", words.strip()).removesuffix(": unknown")


def unless(do: Callable[[str], object], container: str, *, is_fine: str) -> None:
    """Do it; a refusal with these words means that there is nothing to do."""
    import docker.errors

    try:
        do(container)
    except docker.errors.APIError as error:
        if is_fine not in (error.explanation or ""):
            raise
