"""Ports, networks and names of a compose service."""

from __future__ import annotations

import re
from collections.abc import Sequence

from envmgr.config.importers import ports as numbers
from envmgr.config.importers.asking import is_nothing, listed, table, words, wrong
from envmgr.config.importers.compose.here import Here
from envmgr.config.importers.drafting import Draft
from envmgr.config.nodes import Leaf, Node, Table, text_leaf
from envmgr.config.problems import Mark

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_ON_HOST = re.compile(r"(?:localhost|127\.0\.0\.1|host\.docker\.internal):([0-9]{1,5})(?![0-9])")
_LONG_PORT = ("name", "mode", "host_ip", "target", "published", "protocol", "app_protocol")


def ports(here: Here, node: Node) -> None:
    """`ports`: each becomes a port of the agent's own under a name."""
    taken = set(here.ports.values())
    out = here.out.below("ports", here.said.keys["ports"])
    for entry in listed(node, here.key("ports")):
        for port in _published(here, entry):
            if (port.protocol == "tcp" and port.inside in here.ports) or _has(out, port):
                continue
            name = numbers.name_for(port, taken)
            publish(here, port, name, entry.mark)
            if port.host:
                here.published[port.host] = name
                here.changed(
                    entry.mark,
                    "ports",
                    f"{port.host} on this machine becomes a leased port: ${{ports.{name}}}",
                )
    if not out:
        here.out.drop("ports")


def _has(out: Draft, port: numbers.Published) -> bool:
    return any(
        isinstance(found, Draft)
        and found.get("container") == port.inside
        and (found.get("protocol") or "tcp") == port.protocol
        for found in (out.get(name) for name in out.names())
    )


def _published(here: Here, entry: Node) -> list[numbers.Published]:
    what = here.key("ports")
    if not isinstance(entry, Table):
        return numbers.parse(here.now(entry, "ports"), entry.mark, what)
    for key in entry.items:
        if key not in _LONG_PORT and not key.startswith("x-"):
            here.unsupported(entry.keys[key], f"ports.{key}", "has no meaning here")

    def said(name: str) -> str:
        found = entry.get(name)
        return "" if found is None or is_nothing(found) else here.now(found, f"ports.{name}")

    if not said("target"):
        raise wrong(entry.mark, f"{what} needs 'target'")
    protocol = said("protocol") or "tcp"
    if protocol not in ("tcp", "udp"):
        raise wrong(entry.mark, f"{what}: protocol {protocol!r} is not tcp or udp")
    wanted = said("name") or said("app_protocol")
    return numbers.ranged(
        said("target"), said("published"), mark=entry.mark, what=what, protocol=protocol, wanted=wanted
    )


def publish(here: Here, port: numbers.Published, name: str, mark: Mark) -> None:
    """Add a named port."""
    draft = here.out.below("ports", mark).below(name, mark)
    draft.put("container", port.inside, mark)
    if port.protocol == "udp":
        draft.put("protocol", "udp", mark)
    else:
        here.ports[port.inside] = name


def expose(here: Here, node: Node) -> None:
    """`expose`: containers reach each other on every port anyway."""
    for leaf in words(node, here.key("expose")):
        numbers.parse(here.now(leaf, "expose"), leaf.mark, here.key("expose"))


def alias(here: Here, name: str, mark: Mark, *, network: str = "") -> None:
    """A further name, where it can be one; the service's own name needs no alias."""
    if name == here.slug:
        return
    if not _HOST.fullmatch(name):
        here.dropped(mark, "networks", f"alias {name!r} is not a host name")
        return
    out = here.out.below("networks", mark).below(network, mark) if network else here.out
    found = out.get("aliases") or ()
    assert isinstance(found, list | tuple)
    if name not in [item.text for item in found if isinstance(item, Leaf)]:
        out.add("aliases", [text_leaf(mark, name)], mark)


def container_name(here: Here, node: Node) -> None:
    """`container_name`: two agents cannot have a container of one name."""
    name = here.now(node, "container_name")
    here.changed(
        node.mark, "container_name", f"{name} is a name for other containers only, on the agent's networks"
    )
    alias(here, name, node.mark)


def hostname(here: Here, node: Node) -> None:
    """`hostname`."""
    said = here.now(node, "hostname")
    if _HOST.fullmatch(said):
        here.out.put("hostname", here.text(node, "hostname", is_late=False), node.mark)
    else:
        here.dropped(node.mark, "hostname", f"{said!r} is not a host name")


def networks(here: Here, node: Node) -> None:
    """`networks`, with the names it has on each."""
    said = table(node, here.key("networks"))
    for name, more in said.items.items() if said else ():
        assert said is not None
        mark = said.keys[name]
        ours = here.whole.networks.get(name)
        if ours is None:
            raise wrong(
                mark,
                f"{here.key('networks')}: network {name!r} is not declared",
                "Add it under 'networks' of the file.",
            )
        here.out.below("networks", here.said.keys["networks"]).below(ours, mark)
        long = table(more, here.key("networks", name))
        for key in long.items if long else ():
            assert long is not None
            if key == "aliases":
                for leaf in words(long.items[key], here.key("networks", name, key)):
                    alias(here, here.now(leaf, f"networks.{name}.aliases"), leaf.mark, network=ours)
            elif not key.startswith("x-"):
                here.dropped(long.keys[key], f"networks.{name}.{key}", "addresses differ for each agent")


def network_mode(here: Here, node: Node) -> None:
    """`network_mode`: none of them leaves agents apart from each other."""
    said = here.now(node, "network_mode")
    if said == "host":
        says = "it gets the agent's network and leased ports instead; what it listens on needs 'ports'"
        here.dropped(node.mark, "network_mode", says)
    elif said in ("bridge", "default"):
        here.changed(node.mark, "network_mode", "it is on the agent's own network instead")
    else:
        here.unsupported(node.mark, "network_mode", f"{said!r}: it is on the agent's own network instead")
    here.out.drop("networks")


def links(here: Here, node: Node) -> None:
    """`links` with another name: that name then holds for everybody."""
    for leaf in words(node, here.key("links")):
        other, _, name = here.now(leaf, "links").partition(":")
        if here.whole.services.get(other) is None:
            raise wrong(leaf.mark, f"{here.key('links')}: there is no service {other!r}")
        if name and name != other:
            here.changed(leaf.mark, "links", f"{name} is a name of {other} for all containers")
            here.whole.links.setdefault(other, []).append((name, leaf.mark))


def linked(here: Here) -> list[tuple[str, Mark]]:
    """Services it has to wait for because it links to them."""
    node = here.said.get("links")
    return [(here.now(leaf, "links").partition(":")[0], leaf.mark) for leaf in words(node, here.key("links"))]


def original_name(here: Here) -> None:
    """Under its own name from the file the others find it even when that is no slug."""
    if here.slug != here.name:
        mark = here.said.mark
        here.changed(mark, "name", f"it is called {here.slug} here; containers also find it as {here.name}")
        alias(here, here.name, mark)


def report_host_ports(services: Sequence[Here]) -> None:
    """Values that say a number of this machine, such as addresses for browsers, can no longer be right."""
    owners = {number: (here, name) for here in services for number, name in here.published.items()}
    for here in services:
        said = table(here.said.get("environment"), here.key("environment"))
        for variable, node in said.items.items() if said else ():
            if is_nothing(node):
                continue
            for found in _ON_HOST.finditer(here.now(node, f"environment.{variable}")):
                if int(found[1]) in owners:
                    owner, name = owners[int(found[1])]
                    says = f"{found[0]} was {owner.slug} on this machine; that is ${{services.{owner.slug}.ports.{name}}} now"
                    says += ", which only programs on the host are given; inside of containers it is the port inside"
                    here.unsupported(node.mark, f"environment.{variable}", says)
