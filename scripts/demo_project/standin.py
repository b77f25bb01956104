"""A stand-in for a coding agent: takes prompts in its terminal and edits the page. There is no model in it.

Envmgr runs any program as an agent; with `kind: claude_code` in the template this would be Claude Code.
"""

import re
import sys
from pathlib import Path

PAGE = Path("index.html")


def work(prompt: str) -> str:
    """Carry out the one thing it knows; returns what to say."""
    wanted = re.fullmatch(r"change the headline to (.+)", prompt)
    if not wanted:
        return "I am only a stand-in. Try: change the headline to ..."
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(r"<h1>.*</h1>", f"<h1>{wanted[1]}</h1>", text), encoding="utf-8")
    return f"{PAGE}: the headline is {wanted[1]!r} now"


print("A stand-in for a coding agent. Say: change the headline to ...")
for line in sys.stdin:
    print(work(line.strip()))
