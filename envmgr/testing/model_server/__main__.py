"""Run the scripted model API: `python -m envmgr.testing.model_server --port 0 --log FILE --ready-file FILE`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from pathlib import Path

from aiohttp import web

from envmgr.testing.model_server.server import ModelServer


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m envmgr.testing.model_server")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--log", type=Path, required=True, help="gets one JSON line per request")
    parser.add_argument("--ready-file", type=Path, help="gets the base URL once requests are served")
    parser.add_argument("--delay", type=float, default=0.01, help="seconds after each streamed event")
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> None:
    runner = web.AppRunner(
        ModelServer(arguments.log, delay_s=arguments.delay).app(), access_log=None, shutdown_timeout=1
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", arguments.port).start()
        host, port = runner.addresses[0][:2]
        _announce(f"http://{host}:{port}", arguments.ready_file)
        await _told_to_end()
    finally:
        await runner.cleanup()


def _announce(url: str, ready_file: Path | None) -> None:
    if ready_file is None:
        print(url, flush=True)  # noqa: T201 - it is a command of its own
        return
    # Renamed into place, so that whoever waits for the file finds it whole.
    partial = ready_file.with_name(ready_file.name + ".new")
    partial.write_text(url, encoding="utf-8")
    partial.replace(ready_file)


async def _told_to_end() -> None:
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(_arguments()))
