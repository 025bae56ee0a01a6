"""``python -m obd``: every capability without the app.

Progress goes to stderr; with ``--json`` exactly one JSON object goes to stdout.  Exit status: 0 success, 2 usage or
input error (one line on stderr), 130 interrupted.
"""

from __future__ import annotations

import json
import logging

from obd.cli.commands import in_words
from obd.cli.console import Interrupt, say
from obd.cli.parser import build_parser
from obd.errors import Cancelled, ObdError


def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    stop = Interrupt()
    try:
        output = arguments.function(arguments, stop)
    except ObdError as error:
        say(f"python -m obd {arguments.command}: {error}")
        return 2
    except (Cancelled, KeyboardInterrupt):
        again = "; python -m obd resume RUN_DIR continues the run" if arguments.command in ("distill", "resume") else ""
        say(f"Interrupted{again}.")
        return 130
    if arguments.json:
        print(json.dumps(output, allow_nan=False))
    elif arguments.command != "datasets":
        for name, value in in_words(output).items():
            print(f"{name}: {value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
