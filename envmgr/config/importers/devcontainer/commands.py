"""Life-cycle commands of devcontainer.json as hooks."""

from __future__ import annotations

from envmgr.config.importers import phrases
from envmgr.config.importers.asking import is_nothing, kind, word, wrong
from envmgr.config.importers.devcontainer.dev import Dev
from envmgr.config.importers.drafting import Draft, Value
from envmgr.config.nodes import Items, Leaf, Node, Table

_ON_CREATE = ("onCreateCommand", "updateContentCommand", "postCreateCommand")
_HOOKS = {
    **dict.fromkeys((*_ON_CREATE, "postStartCommand"), "on_start"),
    "postAttachCommand": "on_attach",
}
KEYS = ("initializeCommand", *_HOOKS)


def take(dev: Dev) -> None:
    """On the host before everything; inside, when the container runs and before the assistant starts, or somebody attaches."""
    for command, _ in _commands(dev, "initializeCommand"):
        dev.request.out.below("workspace", dev.said.mark).add("setup", [command], dev.said.mark)
    for key, hook in _HOOKS.items():
        found = _commands(dev, key)
        for command, node in found:
            task = Draft(node.mark)
            task.put("command", command, node.mark)
            task.put("inside", dev.slug, node.mark)
            dev.request.out.below("hooks", node.mark).add(hook, [task.table()], node.mark)
        if found and key in _ON_CREATE:
            says = "runs inside at every start of the agent, since the container is a new one each time"
            dev.request.report.changed(dev.said.keys[key], key, says)


def _commands(dev: Dev, key: str) -> list[tuple[Value, Node]]:
    node = dev.said.get(key)
    if node is None or is_nothing(node):
        return []
    if not isinstance(node, Table):
        return [(_command(dev, node, key), node)]
    if len(node.items) > 1:
        dev.request.report.changed(
            dev.said.keys[key], key, "its commands run one after the other, not side by side"
        )
    return [
        (_command(dev, item, f"{key}.{name}"), item)
        for name, item in node.items.items()
        if not is_nothing(item)
    ]


def _command(dev: Dev, node: Node, key: str) -> Value:
    if isinstance(node, Items) and node.items:
        return [dev.text(item, key) for item in node.items]
    if isinstance(node, Leaf) and isinstance(node.value, str) and node.text.strip():
        return phrases.shell(dev.variables.parts(word(node, key), key))
    raise wrong(node.mark, f"{key} must be a command: a text or a list, not {kind(node)}")
