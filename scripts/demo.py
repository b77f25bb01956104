"""Show envmgr at work: two agents from one template in a small project of its own.

demo.py [--template web|fullstack] [--once]

Without --once the agents stay, and it says how to attach and how to stop. With it everything is stopped and removed, leaks are
looked for, and one JSON line comes last. `fullstack` needs a container engine and the images of scripts/images.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from envmgr.testing.audit import audit

PROJECTS = {"web": "demo_project", "fullstack": "demo_fullstack"}
ORDERS = "SELECT what FROM orders"
PAGE_S = 10.0
LEAKS_S = 5.0
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoFailed(Exception):
    """A step did not do what it shows; the message says which."""


class Demo:
    """A project, a state directory and two agents in one temporary folder."""

    def __init__(self, template: str) -> None:
        self.template = template
        # Not TMPDIR, which may be long: the path of a Unix socket ends at 104 bytes (unix(7)).
        self.folder = Path(tempfile.mkdtemp(prefix="envmgr-demo-", dir="/tmp")).resolve()
        self.project = self.folder / "shop"
        self.state = self.folder / "state"
        foreign = ("ENVMGR_", "GIT_", "TMUX", "XDG_CONFIG_HOME")
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        # The person's own settings and templates are left out, so that the demo is the same everywhere.
        self.env |= {"ENVMGR_STATE_DIR": str(self.state), "XDG_CONFIG_HOME": str(self.folder / "config")}
        self.summary: dict[str, Any] = {"ok": False, "agents": 0, "urls": [], "leaks": []}
        self.is_interrupted = False

    def interrupt(self, signum: int, frame: object) -> None:
        """Handle a signal; remembered too, for an exception that is raised inside a destructor goes nowhere."""
        self.is_interrupted = True
        raise KeyboardInterrupt

    def run(self) -> None:
        """Everything up to two agents at work."""
        self._make_project()
        began_at = time.monotonic()
        more = PARAMS.get(self.template, ())
        self.show("spawn", "--template", self.template, "--count", "2", *more)
        self.summary["spawn_s"] = round(time.monotonic() - began_at, 2)
        self.show("ls")
        self.summary["agents"] = len(self.agents())
        SHOWS[self.template](self)

    def _make_project(self) -> None:
        template = f".envmgr/templates/{self.template}.yaml"
        say(f"A small project in {self.project}, with a template in {template}")
        source = Path(__file__).with_name(PROJECTS[self.template])
        shutil.copytree(source, self.project, ignore=shutil.ignore_patterns("__pycache__"))
        self.git("init", "-q", "-b", "main")
        self.git("add", "-A")
        self.git(
            "-c", "user.name=Demo", "-c", "user.email=demo@example.invalid", "commit", "-qm", "Little shop"
        )

    def headlines(self, urls: list[str], wanted: list[str]) -> None:
        """Show what the pages say, and insist on it."""
        seen = [headline(url) for url in urls]
        for url, text in zip(urls, seen, strict=True):
            print(f"{url}  {text}")
        expect(seen == wanted, f"the pages say {seen}, not {wanted}")

    def farewell(self) -> None:
        """How to go on, with everything that must be typed."""
        names = [agent["name"] for agent in self.agents()]
        say("They go on working. To join them, in this or another terminal")
        print(f"export ENVMGR_STATE_DIR={self.state} PATH={Path(sys.executable).parent}:$PATH")
        print(f"cd {self.project}")
        print(f"envmgr attach {names[0]}          # its terminal; C-] or F10 leaves it")
        print(f"envmgr attach {names[1]} -w services")
        print(f"envmgr why {names[0]}")
        if shutil.which("claude"):
            print('envmgr spawn --template claude --prompt "Make the page friendlier"   # a real agent')
        else:
            say(
                "With Claude Code installed, `envmgr spawn --template claude --prompt ...` starts a real agent"
            )
        say("To stop and remove all of it")
        stop = shlex.join([sys.executable, "-m", "envmgr", "down", "--agents"])
        print(f"ENVMGR_STATE_DIR={self.state} {stop} && rm -rf {self.folder}")

    def take_down(self) -> None:
        """Stop and remove both, as a person would; the worktrees hold work, so each is named."""
        say("Stop and remove; a worktree with uncommitted work goes only when it is named")
        began_at = time.monotonic()
        self.show("stop", "--all")
        self.summary["stop_s"] = round(time.monotonic() - began_at, 2)
        for agent in self.agents():
            self.show("rm", agent["name"], "--yes", "--discard", agent["name"])
        self.show("down")

    def clean_up(self) -> None:
        """Whatever happened: end what runs, look for leaks, delete the folder."""
        if self.state.exists() and not self.summary["ok"]:
            self._end_everything()
        repositories = [self.project] if (self.project / ".git").exists() else []
        deadline = time.monotonic() + LEAKS_S
        # Worktrees stay by design when agents are only stopped; here they go with the folder, unless all went well.
        is_whole = self.summary["ok"]
        while leaks := [
            f for f in audit(self.folder, repositories=repositories) if is_whole or f.kind != "worktree"
        ]:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        self.summary["leaks"] = [f"{leak.kind}: {leak.what}" for leak in leaks]
        self.summary["ok"] = self.summary["ok"] and not leaks
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_everything(self) -> None:
        """Removed, not only stopped, for volumes stay with a stopped agent; each step also when another fails."""
        self._quietly("stop", "--all")
        with suppress(DemoFailed, ValueError, KeyError):
            for agent in self.agents():
                self._quietly("rm", agent["name"], "--yes", "--no-volumes", "--discard", agent["name"])
        self._quietly("down", "--agents")

    def _quietly(self, *words: str) -> None:
        subprocess.run(self.command(*words), env=self.env, capture_output=True, check=False)

    def show(self, *words: str) -> None:
        """Print a command, then run it for everybody to see."""
        if self.is_interrupted:
            raise KeyboardInterrupt
        print(f"$ envmgr {shlex.join(words)}", flush=True)
        status = subprocess.run(self.command(*words), cwd=self.project, env=self.env, check=False).returncode
        expect(status == 0, f"`envmgr {shlex.join(words)}` ended with status {status}")

    def agents(self) -> list[dict[str, Any]]:
        """What `envmgr ls --json` tells, by name."""
        done = subprocess.run(
            self.command("ls", "--json"), cwd=self.project, env=self.env, capture_output=True, check=False
        )
        expect(done.returncode == 0, f"`envmgr ls --json`: {done.stdout.decode()}")
        return sorted(json.loads(done.stdout)["agents"], key=lambda agent: str(agent["name"]))

    def command(self, *words: str) -> list[str]:
        """The envmgr of this checkout, whatever PATH says."""
        return [sys.executable, "-m", "envmgr", *words]

    def git(self, *words: str) -> None:
        """Run git in the project."""
        done = subprocess.run(
            ["git", *words], cwd=self.project, env=self.env, capture_output=True, text=True, check=False
        )
        expect(done.returncode == 0, f"git {words[0]}: {done.stderr}")


def say(text: str) -> None:
    """A line between commands."""
    print(f"\n# {text}", flush=True)


def expect(is_so: bool, otherwise: str) -> None:  # noqa: FBT001 - reads like an assertion
    """Raise DemoFailed unless it is so."""
    if not is_so:
        raise DemoFailed(otherwise)


def until(is_so: Callable[[], bool], otherwise: str, within_s: float) -> None:
    """Wait for it, or raise DemoFailed."""
    deadline = time.monotonic() + within_s
    while not is_so():
        expect(time.monotonic() < deadline, otherwise)
        time.sleep(0.05)


def headline(url: str) -> str:
    """What the page at the address says."""
    # No proxy: it is this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as answer:
        found = re.search("<h1>(.*)</h1>", answer.read().decode())
    return found[1] if found else ""


def show_web(demo: Demo) -> None:
    """Two pages from two worktrees, and a prompt."""
    first, second = agents = demo.agents()
    urls = demo.summary["urls"] = [agent["services"][0]["urls"][0] for agent in agents]
    say("Both answer, each on its own port")
    expect(len(set(urls)) == 2, f"the agents share an address: {urls}")
    demo.headlines(urls, ["Little shop", "Little shop"])
    page = Path(second["worktree"]) / "index.html"
    say(f"Each from its own worktree: an edit in {page.parent} shows on the second page only")
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("<h1>Little", "<h1>Lovely little"), encoding="utf-8")
    demo.headlines(urls, ["Little shop", "Lovely little shop"])
    say("A prompt for the first agent; this one is a stand-in program, not a model")
    demo.show("send", first["name"], "change the headline to Spring sale")
    until(lambda: headline(urls[0]) == "Spring sale", "the prompt changed nothing", PAGE_S)
    demo.headlines(urls, ["Spring sale", "Lovely little shop"])
    say("What it did")
    demo.show("logs", first["name"], "agent")
    demo.show("exec", first["name"], "git", "--no-pager", "diff", "-U0", "index.html")


def show_fullstack(demo: Demo) -> None:
    """Each agent has a database and a cache of its own, and different data in them."""
    agents = demo.agents()
    urls = demo.summary["urls"] = [_address(agent, "front") for agent in agents]
    expect(len(set(urls)) == 2, f"the agents share an address: {urls}")
    say("What one of them runs")
    demo.show("show", agents[0]["name"])
    say("An order in each shop goes through front end and API into the agent's own PostgreSQL")
    for url, order in zip(urls, ("green+tea", "black+coffee"), strict=True):
        headline(f"{url}?order={order}")
    demo.headlines(urls, ["green tea", "black coffee"])
    say("The databases in their containers, asked directly")
    for agent, wanted in zip(agents, ("green tea", "black coffee"), strict=True):
        said = _in_database(demo, agent["name"])
        print(f"{agent['name']}  {ORDERS}  {said}")
        expect(said == wanted, f"the database of {agent['name']} says {said!r}, not {wanted!r}")


def _in_database(demo: Demo, agent: str) -> str:
    words = ("exec", agent, "--service", "postgres", "--", "psql", "-U", "shop", "-d", "shop", "-tAc", ORDERS)
    done = subprocess.run(
        demo.command(*words), cwd=demo.project, env=demo.env, capture_output=True, check=False
    )
    expect(done.returncode == 0, f"psql: {done.stderr.decode()}")
    return done.stdout.decode().strip()


def _address(agent: dict[str, Any], service: str) -> str:
    return str(next(s for s in agent["services"] if s["name"] == service)["urls"][0])


SHOWS: dict[str, Callable[[Demo], None]] = {"web": show_web, "fullstack": show_fullstack}
PARAMS = {
    # No registry is needed: the images are the ones that scripts/images made.
    "fullstack": (
        *("--param", "postgres=envmgr-test/postgres", "--param", "redis=envmgr-test/redis"),
        *("--param", f"python={sys.executable}"),
    )
}


def main(words: list[str]) -> int:
    """Exit status: 0 shown, 1 failed, 2 usage, 130 interrupted."""
    asked = _asked(words)
    if asked is None:
        print(__doc__, file=sys.stderr)
        return 2
    template, is_once = asked
    demo, status = Demo(template), 1
    for ending in ENDINGS:
        signal.signal(ending, demo.interrupt)
    try:
        demo.run()
        if not is_once:
            demo.farewell()
            return 0
        demo.take_down()
        demo.summary["ok"] = True
    except (DemoFailed, OSError, KeyError, ValueError) as error:
        demo.summary["why"] = str(error) or repr(error)
    except KeyboardInterrupt:
        demo.summary["why"], status = "interrupted", 130
    for ending in ENDINGS:
        signal.signal(ending, signal.SIG_IGN)  # cleaning up takes a second, and is not to be cut short
    demo.clean_up()
    if "why" in demo.summary:
        print(f"error: {demo.summary['why']}; everything was stopped and removed", file=sys.stderr)
    if is_once:
        print(json.dumps(demo.summary), flush=True)
    return 0 if demo.summary["ok"] else status


def _asked(words: list[str]) -> tuple[str, bool] | None:
    """(template, once); None for anything else."""
    left = [word for word in words if word != "--once"]
    match left:
        case []:
            return "web", "--once" in words
        case ["--template", template] if template in SHOWS:
            return template, "--once" in words
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
