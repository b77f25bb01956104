"""`envmgr`, `python -m envmgr`: the quick way first, then the whole command line."""

import sys


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        sys.exit(_run(sys.argv[1:]))
    except KeyboardInterrupt:  # during the imports
        sys.exit(130)


def _run(argv: list[str]) -> int:
    from envmgr.interfaces.cli.fast import run

    status = run(argv)
    if status is None:
        # The whole command line costs some 30 ms of imports; what `run` answered never pays for them.
        from envmgr.interfaces.cli.main import main as whole

        status = whole(argv)
    return status


if __name__ == "__main__":
    main()
