"""`python -m envmgr.interfaces.mcp [--tools compact|all]`: what `envmgr mcp` becomes."""

import os
import sys

from envmgr.errors import EnvmgrError
from envmgr.interfaces.mcp.catalogue import Choice, choice_of

TOOLS = "ENVMGR_MCP_TOOLS"


def _main(argv: list[str]) -> int:
    word = os.environ.get(TOOLS, "") or Choice.COMPACT
    if argv[:1] == ["--tools"]:
        word = "".join(argv[1:2])
    try:
        choice = choice_of(word)
        from envmgr.interfaces.mcp.stdio import main  # most of a second: after what can go wrong at once

        return main(choice)
    except EnvmgrError as error:
        sys.stderr.write(f"error: {error.message}\nhint:  {error.hint}\n")
        return error.exit
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
