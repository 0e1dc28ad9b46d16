"""The command line: `python -m grading COMMAND`."""

import argparse
import os
import signal
import sys

from grading import UsageError, command, gradescope, publish, release
from grading.classroom import command as classroom
from grading.report import clean


def main(argv: list[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code: 0 for success, 1 if the command found something wrong with its input, 2 if it
        could not start. `grade` has more codes; see `grading.results`.
    """
    parser = argparse.ArgumentParser(prog="python -m grading", description="The autograder.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    release.add_command(commands)
    publish.add_command(commands)
    command.add_command(commands)
    classroom.add_command(commands)
    gradescope.add_command(commands)
    words = sys.argv[1:] if argv is None else argv
    # A submission may be called --no-sandbox: the name of an existing file is never an option.
    arguments = parser.parse_args(
        [f"./{w}" if w[:1] == "-" and os.path.lexists(w) else w for w in words]
    )
    try:
        return arguments.run(arguments)
    except UsageError as error:
        print(f"{parser.prog}: error: {clean(str(error))}", file=sys.stderr)
        return 2


def _end(number: int, _: object) -> None:
    """Ends as Ctrl-C would, so that nothing stays behind."""
    sys.exit(128 + number)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores one of them
            signal.signal(number, _end)
    sys.exit(main())
