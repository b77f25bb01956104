from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest

from tests.support.model import ScriptedModel, scripted_model
from tests.support.requirements import proves

SCHEMA = {
    "Write": {"properties": {"file_path": {"type": "string"}, "content": {"type": "string"}}},
    "Bash": {
        "properties": {"command": {"type": "string"}, "description": {"type": "string"}},
        "required": ["command", "description"],
    },
}
CWD = "Working directory: /repo"


@pytest.fixture
def model(tmp_path: Path) -> Iterator[ScriptedModel]:
    with scripted_model(tmp_path, delay_s=0) as running:
        yield running


# Any: it is JSON.
def ask(model: ScriptedModel, path: str, body: Any) -> tuple[int, str]:
    data = json.dumps(body).encode()
    request = urllib.request.Request(model.url + path, data=data, headers={"x-api-key": "sk-secret-123"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def whole(model: ScriptedModel, path: str, body: Any) -> Any:
    return json.loads(ask(model, path, body)[1])


def events(model: ScriptedModel, path: str, body: Any) -> list[Any]:
    lines = ask(model, path, body)[1].splitlines()
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [json.loads(line) for line in data if line != "[DONE]"]


def anthropic(prompt: str, **more: Any) -> Any:
    tools = [{"name": name, "input_schema": schema} for name, schema in SCHEMA.items()]
    return {
        "model": "m",
        "system": CWD,
        "tools": tools,
        "messages": [{"role": "user", "content": prompt}],
        **more,
    }


def chat(prompt: str, **more: Any) -> Any:
    tools = [{"type": "function", "function": {"name": n, "parameters": s}} for n, s in SCHEMA.items()]
    messages = [{"role": "system", "content": CWD}, {"role": "user", "content": prompt}]
    return {"model": "m", "tools": tools, "messages": messages, **more}


def responses(prompt: str, **more: Any) -> Any:
    tools = [{"type": "function", "name": name, "parameters": schema} for name, schema in SCHEMA.items()]
    return {"model": "m", "instructions": CWD, "tools": tools, "input": prompt, **more}


def gemini(prompt: str, **more: Any) -> Any:
    tools = [{"functionDeclarations": [{"name": n, "parameters": s} for n, s in SCHEMA.items()]}]
    contents = [{"role": "user", "parts": [{"text": f"{CWD}\n{prompt}"}]}]
    return {"tools": tools, "contents": contents, **more}


GEMINI = "/v1beta/models/g"
WRITE = {"file_path": "/repo/hello.py", "content": "print('hello from agent')\n"}


@proves("ASSIST-030")
def test_each_dialect_calls_the_tool_that_the_cli_offers(model: ScriptedModel) -> None:
    a = whole(model, "/v1/messages", anthropic("SCN=edit"))["content"][0]
    c = whole(model, "/v1/chat/completions", chat("SCN=edit"))["choices"][0]["message"]["tool_calls"][0][
        "function"
    ]
    r = whole(model, "/v1/responses", responses("SCN=edit"))["output"][0]
    g = whole(model, f"{GEMINI}:generateContent", gemini("SCN=edit"))["candidates"][0]["content"]["parts"][0]

    assert (a["name"], a["input"]) == ("Write", WRITE)
    assert (c["name"], json.loads(c["arguments"])) == ("Write", WRITE)
    assert (r["name"], json.loads(r["arguments"])) == ("Write", WRITE)
    assert (g["functionCall"]["name"], g["functionCall"]["args"]) == ("Write", WRITE)


@proves("ASSIST-030")
def test_anthropic_streams_a_tool_call_in_pieces(model: ScriptedModel) -> None:
    got = events(model, "/v1/messages", anthropic("SCN=touch", stream=True))

    pieces = [e["delta"]["partial_json"] for e in got if e.get("delta", {}).get("type") == "input_json_delta"]
    assert [got[0]["type"], got[-1]["type"]] == ["message_start", "message_stop"]
    assert len(pieces) > 1
    assert json.loads("".join(pieces)) == {
        "command": "touch made-by-shell.txt",
        "description": "scripted step",
    }
    assert got[-2]["delta"]["stop_reason"] == "tool_use"


@proves("ASSIST-030")
def test_chat_streams_text_and_gives_usage_when_asked(model: ScriptedModel) -> None:
    plain = events(model, "/v1/chat/completions", chat("hi", stream=True))
    metered = events(
        model, "/v1/chat/completions", chat("hi", stream=True, stream_options={"include_usage": True})
    )

    assert "".join(e["choices"][0]["delta"].get("content", "") for e in plain) == "ok"
    assert plain[-1]["choices"][0]["finish_reason"] == "stop"
    assert metered[-1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 800}


@proves("ASSIST-030")
def test_responses_streams_numbered_events_around_one_item(model: ScriptedModel) -> None:
    got = events(model, "/v1/responses", responses("SCN=hello", stream=True))

    assert [event["sequence_number"] for event in got] == list(range(len(got)))
    assert [got[0]["type"], got[-1]["type"]] == ["response.created", "response.completed"]
    assert got[-1]["response"]["output"][0]["content"][0]["text"] == "Hello from the scripted model."


@proves("ASSIST-030")
def test_responses_calls_a_grouped_tool_by_namespace_and_name(model: ScriptedModel) -> None:
    group = {"type": "namespace", "name": "mcp__lab__", "tools": [{"name": "lab_echo"}]}

    item = whole(model, "/v1/responses", responses("SCN=mcp", tools=[group]))["output"][0]

    assert (item["namespace"], item["name"]) == ("mcp__lab__", "lab_echo")


@proves("ASSIST-030")
def test_gemini_streams_and_satisfies_a_wanted_schema(model: ScriptedModel) -> None:
    schema = {"type": "OBJECT", "properties": {"model": {"type": "STRING", "enum": ["flash", "pro"]}}}
    got = events(model, f"{GEMINI}:streamGenerateContent?alt=sse", gemini("SCN=hello"))
    side = whole(
        model, f"{GEMINI}:generateContent", gemini("route", generationConfig={"responseSchema": schema})
    )

    said = "".join(part["text"] for e in got for part in e["candidates"][0]["content"]["parts"])
    assert said == "Hello from the scripted model."
    assert [e["candidates"][0].get("finishReason") for e in got][-2:] == [None, "STOP"]
    assert json.loads(side["candidates"][0]["content"]["parts"][0]["text"]) == {"model": "flash"}


@proves("ASSIST-030")
def test_a_cli_without_file_tools_writes_through_its_shell(model: ScriptedModel) -> None:
    shell = [
        {"type": "function", "name": "exec_command", "parameters": {"properties": {"cmd": {"type": "array"}}}}
    ]

    item = whole(model, "/v1/responses", responses("SCN=edit", tools=shell))["output"][0]

    assert json.loads(item["arguments"])["cmd"][2] == "cat > hello.py <<'EOF'\nprint('hello from agent')\nEOF"


def test_the_tool_results_after_the_prompt_choose_the_step(model: ScriptedModel) -> None:
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "done"}]}
    body = anthropic("SCN=edit")

    first = whole(model, "/v1/messages", body)
    second = whole(model, "/v1/messages", {**body, "messages": [*body["messages"], result]})
    anew = whole(model, "/v1/messages", {**body, "messages": [*body["messages"], result, *body["messages"]]})

    assert [m["stop_reason"] for m in (first, second, anew)] == ["tool_use", "end_turn", "tool_use"]


@pytest.mark.parametrize(("name", "status"), [("e402", 402), ("e429", 429), ("e529", 529)])
def test_a_fault_has_its_status_and_the_dialects_error(model: ScriptedModel, name: str, status: int) -> None:
    code, text = ask(model, "/s/any-session/v1/messages", anthropic(f"SCN={name}", stream=True))

    assert code == status
    assert json.loads(text)["type"] == "error"


def test_a_cut_answer_ends_in_the_middle(model: ScriptedModel) -> None:
    with pytest.raises(IncompleteRead) as caught:
        ask(model, "/v1/messages", anthropic("SCN=cut", stream=True))

    assert b"half" in caught.value.partial
    assert b"message_stop" not in caught.value.partial


def test_a_slow_answer_arrives_word_by_word(model: ScriptedModel) -> None:
    data = json.dumps(anthropic("SCN=slow", stream=True)).encode()
    with urllib.request.urlopen(
        urllib.request.Request(f"{model.url}/v1/messages", data=data), timeout=5
    ) as answer:
        first, began = answer.readline(), time.monotonic()
        while b"tick0" not in answer.readline():
            pass

        assert first == b"event: message_start\n"
        assert time.monotonic() - began > 0.4


def test_every_request_is_logged_without_its_secrets(model: ScriptedModel) -> None:
    ask(model, "/s/agent-1/v1/messages", anthropic("SCN=hello"))

    [entry] = model.requests()
    assert (entry["path"], entry["action"]["type"]) == ("/s/agent-1/v1/messages", "Say")
    assert entry["body"]["messages"][0]["content"] == "SCN=hello"
    assert "sk-secret-123" not in json.dumps(entry)
