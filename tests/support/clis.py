"""The real CLIs of assistants, as scripts/test installs them, pointed at the scripted model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.claude import API_KEY, claude_path
from tests.support.requirements import ROOT

KINDS = ("claude_code", "codex", "gemini", "opencode")

_CACHE = ROOT / ".cache"
_PACKAGES = {"codex": "@openai/codex/bin/codex.js", "gemini": "@google/gemini-cli/bundle/gemini.js"}


def command(kind: str) -> Sequence[str]:
    """How the CLI is called. Those that are scripts get the node that came with them."""
    if kind == "claude_code":
        return (claude_path(),)
    folder = _CACHE / kind / "node_modules"
    if kind == "opencode":
        return (_there(folder / ".bin" / kind),)
    node = _CACHE / "node" / "node_modules" / ".bin" / "node"
    return (_there(node), _there(folder / _PACKAGES[kind]))


def _there(path: Path) -> str:
    assert os.access(str(path), os.R_OK), f"{path} is missing: run scripts/test, which installs it"
    return str(path)


def furnish(home: Path) -> None:
    """What would be downloaded into a new home."""
    (home / ".config").mkdir(parents=True)
    (home / ".config" / "opencode").symlink_to(_there(_CACHE / "opencode-config"))


def template(kind: str, url: str, **agent: object) -> str:
    """A template `coder` that runs it against the model at `url`."""
    env, args = _ways[kind](url)
    document = {
        "envmgr": 1,
        "name": "coder",
        "agent": {"kind": kind, "command": list(command(kind)), "env": env, "args": args, **agent},
    }
    return json.dumps(document)


def _claude(url: str) -> tuple[Mapping[str, str], Sequence[str]]:
    return {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": API_KEY}, ()


def _codex(url: str) -> tuple[Mapping[str, str], Sequence[str]]:
    provider = f'{{name="scripted",base_url="{url}/v1",env_key="MODEL_KEY",wire_api="responses"}}'
    settings = ('model_provider="scripted"', 'model="gpt-5"', f"model_providers.scripted={provider}")
    return {"MODEL_KEY": API_KEY}, [word for setting in settings for word in ("-c", setting)]


def _gemini(url: str) -> tuple[Mapping[str, str], Sequence[str]]:
    return {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": API_KEY}, ()


def _opencode(url: str) -> tuple[Mapping[str, str], Sequence[str]]:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "scripted",
        "models": {"scripted-1": {"limit": {"context": 128_000, "output": 8_000}}},
        "options": {"baseURL": f"{url}/v1", "apiKey": API_KEY},
    }
    config = {
        "model": "scripted/scripted-1",
        "small_model": "scripted/scripted-1",
        "enabled_providers": ["scripted"],
        "provider": {"scripted": provider},
        "share": "disabled",
    }
    quiet = {"OPENCODE_DISABLE_MODELS_FETCH": "1"}
    return {**quiet, "OPENCODE_CONFIG_CONTENT": json.dumps(config)}, ()


_ways = {"claude_code": _claude, "codex": _codex, "gemini": _gemini, "opencode": _opencode}
