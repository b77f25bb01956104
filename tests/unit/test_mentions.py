"""What a hook says of the main checkout."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from envmgr.core.mentions import names_folder, written_path
from envmgr.model.observed import Evidence, Write, WriteKind
from envmgr.services.mentions import Mentions
from tests.support.requirements import proves

_MAIN, _TREE = "/home/ada/shop", "/home/ada/shop/.trees/fox-1"


def _call(tool: str, **given: object) -> dict[str, object]:
    return {"tool_name": tool, "tool_input": given}


@proves("CHANGES-005")
@pytest.mark.parametrize(
    ("payload", "path"),
    [
        (_call("Write", file_path=f"{_MAIN}/src/a.py", content="x"), "src/a.py"),
        (_call("NotebookEdit", notebook_path=f"{_MAIN}/n.ipynb"), "n.ipynb"),
        (_call("write_file", file_path=f"{_MAIN}/a b.py"), "a b.py"),
        (_call("Read", file_path=f"{_MAIN}/src/a.py"), ""),
        (_call("Write", file_path="src/a.py"), ""),
        (_call("Write", file_path=_MAIN), ""),
        (_call("Write", file_path=f"{_MAIN}2/a.py"), ""),
        (_call("Write", file_path=f"{_MAIN}/../x"), ""),
        (_call("Write", file_path=7), ""),
        (
            {"tool_name": "Write", "tool_input": f'{{"file_path": "{_MAIN}/\\u00e9.py", "content": "xx'},
            "é.py",
        ),
        ({"tool_name": "Write", "tool_input": '{"file_path": "cut'}, ""),
        ({"tool_name": ["Write"]}, ""),
        ({"tool_name": "Write"}, ""),
        ({}, ""),
    ],
)
def test_a_file_that_a_tool_is_to_write_is_found(payload: Mapping[str, object], path: str) -> None:
    assert written_path(payload, _MAIN) == path


@proves("CHANGES-005")
@pytest.mark.parametrize(
    ("payload", "names"),
    [
        (_call("Bash", command=f"cd {_MAIN} && make"), True),
        (_call("shell", command=["sh", "-c", f"echo >{_MAIN}/x"]), True),
        (_call("Bash", command=f"cat {_TREE}/x; ls"), False),
        (_call("Bash", command=f"cp {_TREE}/x {_MAIN}/x"), True),
        (_call("Bash", command=f"ls {_MAIN}-old"), False),
        (_call("Write", content=f"{_MAIN}/x"), False),
        ({"tool_name": "Bash", "tool_input": f'{{"command": "ls {_MAIN}"'}, True),
        ({"tool_name": "Bash"}, False),
    ],
)
def test_a_command_that_names_the_checkout_is_found(payload: Mapping[str, object], *, names: bool) -> None:
    assert names_folder(payload, _MAIN, but=_TREE) is names


@proves("CHANGES-005")
def test_who_wrote_is_who_said_so_last_or_the_only_one_who_was_there() -> None:
    now = [1000.0]
    heard = Mentions(lambda: now[0])

    def hear(agent: str, payload: Mapping[str, object]) -> None:
        heard.hear(agent, json.loads(json.dumps(payload)), repo=_MAIN, worktree=_TREE)

    def who(path: str, at: float) -> tuple[str, Evidence] | None:
        return heard.who(_MAIN, Write(path=path, kind=WriteKind.MODIFIED, at=at))

    hear("a1", _call("Write", file_path=f"{_MAIN}/a.py"))
    hear("a2", _call("Bash", command=f"make -C {_MAIN}"))
    hear("a3", _call("Write", file_path=f"{_TREE}/a.py"))

    assert who("a.py", 1001.0) == ("a1", Evidence.TOOL)
    assert who("b.py", 1300.0) == ("a2", Evidence.COMMAND)
    assert who("a.py", 1100.0) == ("a2", Evidence.COMMAND)
    assert who("b.py", 9999.0) is None
    hear("a1", _call("Bash", command=f"make -C {_MAIN}"))
    assert who("b.py", 1001.0) is None, "either may have been it"
