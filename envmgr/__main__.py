"""`envmgr`, `python -m envmgr`: the quick way first, then the whole command line."""

import sys


def main() -> None:
    """Run the command line and exit with its status."""
    from envmgr.interfaces.cli.fast import run

    status = run(sys.argv[1:])
    if status is None:
        # The whole command line costs some 30 ms of imports; what `run` answered never pays for them.
        from envmgr.interfaces.cli.main import main as whole

        status = whole(sys.argv[1:])
    sys.exit(status)


if __name__ == "__main__":
    main()
