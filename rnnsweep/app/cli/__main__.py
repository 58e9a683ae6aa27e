"""Where the `rnnsweep` script and `python -m rnnsweep.app.cli` begin: before anything that takes time is imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; Ctrl-C has its one line from the first moment on."""
    try:
        from rnnsweep.app.cli import main as command_line  # a third of a second

        command_line.main()
    except KeyboardInterrupt as error:
        from rnnsweep.app.cli.interruption import farewell

        text, code = farewell(next(iter(sys.argv[1:]), None), error)
        print(text, file=sys.stderr)
        raise SystemExit(code) from None


if __name__ == "__main__":
    main()
