"""Ports of devcontainer.json."""

from __future__ import annotations

import re

from envmgr.config.importers import ports as numbers
from envmgr.config.importers.asking import listed, table, word, wrong
from envmgr.config.importers.devcontainer.dev import Dev
from envmgr.config.importers.drafting import Draft
from envmgr.config.nodes import Leaf, Node, Table


def take(dev: Dev) -> None:
    """`forwardPorts` and `appPort`, named by `portsAttributes`."""
    attributes = table(dev.said.get("portsAttributes"), "portsAttributes") or Table(dev.said.mark, {}, {})
    for node in listed(dev.said.get("forwardPorts"), "forwardPorts"):
        leaf = word(node, "forwardPorts")
        service, _, number = leaf.text.rpartition(":")
        for port in numbers.ranged(
            number, "", mark=leaf.mark, what="forwardPorts", wanted=_label(attributes, leaf.text)
        ):
            _put(dev, service, port, leaf, _attributes(attributes, leaf.text))
    app = dev.said.get("appPort")
    for node in (app,) if isinstance(app, Leaf) else listed(app, "appPort"):
        leaf = word(node, "appPort")
        for port in numbers.parse(leaf.text, leaf.mark, "appPort"):
            _put(dev, "", port, leaf, _attributes(attributes, str(port.inside)))


def _attributes(attributes: Table, key: str) -> Table | None:
    return table(attributes.get(key), f"portsAttributes.{key}")


def _label(attributes: Table, key: str) -> str:
    found = _attributes(attributes, key)
    label = found.get("label") if found else None
    text = label.text if isinstance(label, Leaf) else ""
    return text if re.search("[A-Za-z]", text) else ""


def _put(dev: Dev, service: str, port: numbers.Published, leaf: Leaf, more: Table | None) -> None:
    slug = dev.slug if service in ("", "localhost", "127.0.0.1") else service
    services = dev.request.out.below("services")
    if slug not in services:
        raise wrong(leaf.mark, f"forwardPorts: there is no service {service!r}")
    out = services.below(slug).below("ports", leaf.mark)
    taken = {name: out.get(name) for name in out.names()}
    if any(isinstance(one, Draft) and one.get("container") == port.inside for one in taken.values()):
        return
    name = numbers.name_for(port, set(taken))
    draft = out.below(name, leaf.mark)
    draft.put("container", port.inside, leaf.mark)
    if _says(more, "requireLocalPort", "true"):
        draft.put("prefer", port.inside, leaf.mark)
        draft.put("fixed", value=True, mark=leaf.mark)
    if _says(more, "onAutoForward", "openBrowser") or _says(more, "onAutoForward", "openBrowserOnce"):
        draft.put("open", value=True, mark=leaf.mark)
    says = f"{port.inside} is reached at a leased port, ${{ports.{name}}}; inside it must listen on all addresses"
    dev.request.report.changed(leaf.mark, "forwardPorts", says)
    if name in ("http", "https"):
        variable = f"{slug.upper().replace('-', '_')}_URL"
        services.below(slug).below("exports", leaf.mark).put(
            variable, f"{name}://${{host}}:${{ports.{name}}}"
        )


def _says(more: Table | None, key: str, value: str) -> bool:
    found: Node | None = more.get(key) if more else None
    return isinstance(found, Leaf) and found.text == value
