"""The TypeScript client, type-checked and run by the real tools against a real daemon."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.support.api import api
from tests.support.requirements import ROOT, proves

_NODE = ROOT / ".cache/node/node_modules/.bin/node"
_TSC = ROOT / ".cache/tsc/node_modules/.bin/tsc"
_CLIENT = ROOT / "envmgr/clients/envmgr.ts"
_PROGRAM = ROOT / "tests/fixtures/client.ts"
_STRICT = [
    *("--strict", "--noUncheckedIndexedAccess", "--noUnusedLocals", "--exactOptionalPropertyTypes"),
    *("--erasableSyntaxOnly", "--allowImportingTsExtensions", "--noEmit"),
    *("--target", "es2023", "--module", "esnext", "--moduleResolution", "bundler"),
    *("--lib", "es2023,dom,dom.iterable,dom.asynciterable", "--types", ""),
]
# The program's own use of node; the client needs nothing but what browsers have, too.
_NODES_OWN = "declare const process: { argv: string[]; exit(status: number): never };\n"


def run(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    for program in (_NODE, _TSC):
        assert os.access(program, os.X_OK), f"{program} is missing: run scripts/test, which installs it"
    path = f"{_NODE.parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [str(word) for word in argv],
        env={**os.environ, "PATH": path, "NODE_NO_WARNINGS": "1"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@proves("HTTP-010")
def test_the_client_and_a_program_that_uses_it_pass_the_type_checker(tmp_path: Path) -> None:
    own = tmp_path / "node.d.ts"
    own.write_text(_NODES_OWN, encoding="utf-8")

    checked = run(_TSC, *_STRICT, _CLIENT, _PROGRAM, own)

    assert (checked.returncode, checked.stdout) == (0, "")


@proves("HTTP-010")
def test_a_mistyped_call_does_not_pass_the_type_checker(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.ts"
    wrong.write_text(
        f'import {{ Client }} from "{_CLIENT}";\n'
        'await new Client({ url: "", key: "" }).acquire_lock({ targets: 7 });\n',
        encoding="utf-8",
    )

    checked = run(_TSC, *_STRICT, wrong)

    assert "Type 'number' is not assignable to type 'string[]'" in checked.stdout


@proves("HTTP-010")
def test_the_client_calls_streams_fails_and_gives_up_as_it_says() -> None:
    with api() as served:
        ran = run(_NODE, _PROGRAM, served.url, served.key("ts"), served.here.repo, served.key("other"))

    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {
        "lock": True,
        "task": True,
        "failure": {"status": 404, "code": "not_found"},
        "first": "number",
        "left": 0,
        "away": "unavailable",
    }
