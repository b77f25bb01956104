"""What `help` tells, by topic: for agents first, so each fits into a few hundred words of context."""

from __future__ import annotations

from collections.abc import Mapping

TOPICS: Mapping[str, tuple[str, str]] = {
    "start": (
        "The habits that keep agents out of each other's way.",
        """1. `register_session` when you begin; `read_handoff` tells what the last one left.
2. `acquire_lock` before you edit what others may edit; `release_lock` after.
3. `get_work` gives you a task; `complete_work` or `fail_work` ends it.
4. `recall` before you dig; `remember` what the code does not tell.
5. `write_handoff` when you stop in the middle.
A refusal is an answer: `ok` is false, `reason` says why, and the rest says who and until when.""",
    ),
    "locks": (
        "Who may change what, for a while.",
        """A target is a path, a folder, a pattern (`src/*.py`, `src/**`) or a key: `api:GET /users/{id}`, `db:users`,
`event:order.paid`, `flag:checkout`, `env:NAME`, `contract:path`, `feature:id`. Overlapping targets exclude each other.
`acquire_lock` takes several targets at once, all or none. Mode `write` excludes everybody, `read` only writers, `intent` nobody.
With `wait_s` you wait your turn. Any call you make renews your locks; what you forget ends by itself.
A lock has a token; who acts with an old one is refused. `why_lock` tells who is in the way, `check_locks` who has what.""",
    ),
    "queue": (
        "Tasks that agents take, each by one agent at a time.",
        """`submit_work` adds a task; `depends_on` names tasks that must be done before. `get_work` claims the best one that is ready
and that you are able to do; its answer has a `lease_token`. Call `heartbeat_task` on long work, then `complete_work` or
`fail_work` with the token. A lease that runs out gives the task to another agent, and the old token is refused.
`why_task` tells why a task does not start; `list_tasks` shows all.""",
    ),
    "handoffs": (
        "What you leave for the agent that goes on.",
        """`write_handoff` with a summary, what is done, what is in progress, decisions, next steps and files. Branch, head, locks and what is
not committed are noted by envmgr. One is written for you when you are stopped or crash. `read_handoff` gives the newest.""",
    ),
    "sessions": (
        "Who is here and what they do.",
        """`register_session` says what you can do and what you work on; `heartbeat` that you are alive, and answers with warnings.
`discover_agents` shows the others. Of who is gone, locks are freed and tasks go back to the queue.""",
    ),
    "memory": (
        "What agents learned, for all agents of a repository.",
        """`remember` what happened, what came of it and the lesson; tags and files make it easy to find. The same thing said twice is kept
once. `recall` finds by words, tags and files, and answers with text that fits into `token_budget`. Secrets are taken out.""",
    ),
    "changes": (
        "What other agents changed lately.",
        """Each agent works in a tree of its own, so what you see is not all there is. `recent_changes` shows what others wrote.
You are told once when somebody changes what you hold.""",
    ),
    "audit": (
        "Who did what: every call, chained so that no row can be changed or lost unseen.",
        """`query_audit` filters by agent, operation, target and time. People verify the chain with `envmgr audit --verify`.""",
    ),
}
