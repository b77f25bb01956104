"""What each face does not offer, with the reason. Everything else of the registry is offered by all of them."""

from __future__ import annotations

FROM_CLI = {
    "agent.report": "hooks of assistants report through a program of their own",
    "daemon.info": "`daemon status` shows it, also when no daemon runs",
    "daemon.shutdown": "`daemon stop` asks for it and waits for the end",
    "events.add": "programs note what they saw; a person tells an agent with `send`",
    "task.batch": "`task add --file` reads the file and asks for it",
}
FROM_HTTP = {
    "daemon.start": "who can ask over HTTP has a daemon already",
    "daemon.stop": "it waits for the end of the daemon that would answer; `daemon.shutdown` asks for it",
}
FROM_MCP = {
    **FROM_HTTP,
    "agent.attach": "a tool call has no terminal",
    "agent.report": "hooks of assistants report through a program of their own",
    "daemon.shutdown": "other agents work with the daemon; a person ends it with `daemon stop`",
    "down": "other agents work with the daemon; a person ends it",
}
