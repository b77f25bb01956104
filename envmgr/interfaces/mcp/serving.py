"""The MCP server itself: the official SDK's low-level one, because our schemas come from the registry, not from signatures."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError

from envmgr.errors import EnvmgrError, NotFound, UsageError
from envmgr.interfaces.mcp import catalogue, prompts
from envmgr.interfaces.mcp.backend import Backend
from envmgr.interfaces.mcp.catalogue import RESOURCES, Choice, Resource, Tool
from envmgr.interfaces.mcp.messages import plainly

log = logging.getLogger(__name__)

# Any throughout: JSON documents.
Context = ServerRequestContext[Any]
Paged = types.PaginatedRequestParams | None
PROBLEM = "envmgr/problem"
"""Key in `_meta` of a failed call. Not in the structured content: clients check that against the schema of results."""

INSTRUCTIONS = (
    "envmgr coordinates the agents that work on this repository. Take a lock before you edit what others may edit, "
    "give it back after; take work with get_work and end it with complete_work or fail_work; leave a handoff when you stop. "
    "`help` tells more."
)


def server(
    backend: Backend,
    *,
    version: str,
    choice: Callable[[Context], Choice],
    tell: Callable[[], None] = lambda: None,
) -> Server[Any]:
    """A server that keeps nothing between calls.

    Args:
        choice: Tells how many tools the caller is shown.
        tell: Called when somebody wants to see them.
    """

    async def list_tools(ctx: Context, params: Paged) -> types.ListToolsResult:
        wanted = choice(ctx)
        shown = catalogue.chosen(wanted).values()
        tell()
        is_brief = wanted is Choice.COMPACT
        return types.ListToolsResult(
            tools=[listed(tool, supplies=backend.supplies, is_brief=is_brief) for tool in shown]
        )

    async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            tool = catalogue.find(params.name, choice(ctx))
        except UsageError as error:
            raise MCPError(types.INVALID_PARAMS, f"{error.message}. {error.hint}") from error
        return await _call(backend, tool, params.arguments or {}, ctx)

    async def list_resources(ctx: Context, params: Paged) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[_resource(found) for found in _resources().values()])

    async def read(ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        resource = _resources().get(str(params.uri))
        if resource is None:
            known = ", ".join(_resources())
            raise MCPError(
                types.INVALID_PARAMS, f"no resource is called {str(params.uri)[:100]!r}. There are: {known}."
            )
        return await _read(backend, resource, ctx)

    async def list_prompts(ctx: Context, params: Paged) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=[_prompt(prompt) for prompt in prompts.PROMPTS.values()])

    async def prompt(ctx: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        try:
            text = prompts.render(params.name, params.arguments or {})
        except EnvmgrError as error:
            raise MCPError(types.INVALID_PARAMS, f"{error.message}. {error.hint}") from error
        said = types.PromptMessage(role="user", content=types.TextContent(text=text))
        return types.GetPromptResult(description=prompts.PROMPTS[params.name].description, messages=[said])

    made: Server[Any] = Server(
        "envmgr", version=version, title="envmgr", instructions=INSTRUCTIONS,
        on_list_tools=list_tools, on_call_tool=call_tool,
        on_list_resources=list_resources, on_read_resource=read,
        on_list_prompts=list_prompts, on_get_prompt=prompt,
    )  # fmt: skip
    made.middleware.append(plainly)
    return made


async def _call(
    backend: Backend, tool: Tool, arguments: Mapping[str, Any], ctx: Context
) -> types.CallToolResult:
    async def progress(count: int, newest: str) -> None:
        await ctx.session.report_progress(count, message=newest)

    try:
        outcome = await backend.call(tool, arguments, progress=progress, request=ctx.request)
    except EnvmgrError as error:
        return _failed(_by_tool(error, tool))
    except Exception as error:  # the boundary of a call: answered as internal, logged in full
        log.exception("tool failed", extra={"tool": tool.name})
        return _failed(
            EnvmgrError(f"internal error: {type(error).__name__}", hint="See `envmgr daemon logs`.")
        )
    return types.CallToolResult(
        content=[types.TextContent(text=f"{outcome.said}\n{_short(outcome.result)}")],
        structured_content=dict(outcome.result),
    )


def _by_tool(error: EnvmgrError, tool: Tool) -> EnvmgrError:
    """Callers know the tool; what is not reached by MCP alone names the operation."""
    if "." in tool.operation:
        name = re.compile(rf"(?<![\w.]){re.escape(tool.operation)}(?![\w.]*\w)")
        error.message, error.hint = name.sub(tool.name, error.message), name.sub(tool.name, error.hint)
    return error


def _failed(error: EnvmgrError) -> types.CallToolResult:
    problem = error.problem()
    end = "" if error.message.endswith(("?", ".", "!")) else "."
    text = f"{error.message}{end} {error.hint}".rstrip() + "\n" + _short(problem)
    return types.CallToolResult(
        content=[types.TextContent(text=text)], is_error=True, _meta={PROBLEM: problem}
    )


def _short(document: Mapping[str, Any]) -> str:
    """As JSON for assistants that show their model the text alone; what is empty is left out."""
    return json.dumps(_filled(document), separators=(",", ":"), ensure_ascii=False)


def _filled(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _filled(value) for key, value in node.items() if value not in (None, "", [], {})}
    return [_filled(value) for value in node] if isinstance(node, list) else node


async def _read(backend: Backend, resource: Resource, ctx: Context) -> types.ReadResourceResult:
    async def progress(count: int, newest: str) -> None:
        """Nobody asked."""

    tool = catalogue.everything()[resource.tool]
    try:
        outcome = await backend.call(tool, resource.arguments, progress=progress, request=ctx.request)
    except EnvmgrError as error:
        code = types.INVALID_PARAMS if isinstance(error, NotFound | UsageError) else types.INTERNAL_ERROR
        raise MCPError(code, f"{error.message}. {error.hint}", error.problem()) from error
    text = json.dumps(outcome.result, ensure_ascii=False)
    content = types.TextResourceContents(uri=resource.uri, mime_type="application/json", text=text)
    return types.ReadResourceResult(contents=[content])


def _resources() -> dict[str, Resource]:
    return {found.uri: found for found in RESOURCES if found.tool in catalogue.everything()}


def listed(tool: Tool, *, supplies: bool, is_brief: bool) -> types.Tool:
    """Agents keep what they are shown in mind all day, so that each word of it costs."""
    known = tool.input["properties"]
    shown = {name: known[name] for name in known if not (supplies and name in tool.supplied)}
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema={**tool.input, "properties": shown},
        output_schema=dict(catalogue.outline(tool.output) if is_brief else tool.output),
        annotations=types.ToolAnnotations(
            read_only_hint=tool.touch == "read",
            destructive_hint=tool.touch == "destroy" if tool.touch != "read" else None,
            open_world_hint=False,
        ),
    )


def _resource(resource: Resource) -> types.Resource:
    return types.Resource(
        uri=resource.uri, name=resource.name, description=resource.description, mime_type="application/json"
    )


def _prompt(prompt: prompts.Prompt) -> types.Prompt:
    return types.Prompt(
        name=prompt.name,
        description=prompt.description,
        arguments=[
            types.PromptArgument(name=name, description=text, required=name in prompt.required)
            for name, text in prompt.arguments.items()
        ],
    )
