"""``python -m tests.campaigns``: runs a campaign and prints its figures."""

from __future__ import annotations

import argparse
import sys

from . import fuzz, kills, tamper
from .known import page

CAMPAIGNS = {
    "fuzz": (fuzz.run, "random calls of every op against the built-in"),
    "kills": (kills.run, "training runs that are killed and continued"),
    "tamper": (tamper.run, "folders of runs that are damaged and continued"),
}


def main(words: list[str] | None = None) -> int:
    """Runs the campaign that the words name; returns 1 if it found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description=__doc__)
    parsers = parser.add_subparsers(dest="campaign", required=True)
    for name, (_, about) in CAMPAIGNS.items():
        each = parsers.add_parser(name, help=about, description=about)
        each.add_argument("--cases", type=int, default=300, help="how many cases (%(default)s)")
        each.add_argument("--seed", type=int, default=0, help="of the random cases (%(default)s)")
        each.add_argument("--first", type=int, default=0, help="number of the first case (%(default)s)")
    parsers.add_parser("faults", help="prints docs/builtin_faults.md")
    given = parser.parse_args(words)
    if given.campaign == "faults":
        print(page(), end="")
        return 0
    if given.cases < 1 or given.first < 0:
        parser.error(
            f"expected --cases of at least 1 and --first of at least 0, got {given.cases} and {given.first}"
        )
    return CAMPAIGNS[given.campaign][0](given.cases, given.seed, given.first) > 0


if __name__ == "__main__":
    sys.exit(main())
