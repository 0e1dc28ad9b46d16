"""The command line: `python -m grading COMMAND`."""

import argparse
import sys

from grading import UsageError, alone, release


def main(argv: list[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code: 0 when all is well, 1 when the command found something wrong with what it
        was given, 2 when it could not start.
    """
    parser = argparse.ArgumentParser(prog="python -m grading", description="The autograder.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    release.add_command(commands)
    alone.add_command(commands)
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments)
    except UsageError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
