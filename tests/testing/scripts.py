"""Runs the scripts that `explain` prints, with their places filled in."""

from __future__ import annotations

import contextlib
import io
import re
import warnings

FINDING = re.compile(r"^  \d+\. (?P<quantity>.*): (?P<verdict>differs|raises)$")


def scripts(said):
    """Quantity, verdict and script of each finding in an explanation."""
    found, inside = [], False
    for line in said.splitlines():
        if match := FINDING.match(line):
            found.append([match["quantity"], match["verdict"], ""])
        elif inside and line.startswith(" " * 9):
            found[-1][2] += line[9:] + "\n"
        inside = line.strip() == "to see it again:" or inside and line.startswith(" " * 9)
    return found


def run(script, **given):
    """Runs a script with these functions at its places; returns what it prints, or the error that it ends with."""
    for name in given:
        script = re.sub(rf"^{name} = \.\.\.  # .*$", f"{name} = given[{name!r}]", script, flags=re.M)
    assert " = ..." not in script, script
    printed = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
        warnings.simplefilter("ignore")
        try:
            exec(compile(script, "script", "exec"), {"given": given})
        except Exception as error:  # what the script shows
            return f"{type(error).__name__}: {error}"
    return printed.getvalue()


def expect_all_to_show_again(said, **given):
    """Holds every script of an explanation to what it is printed for."""
    found = scripts(said)
    assert found, said
    for quantity, verdict, script in found:
        shown = run(script, **given)
        if "print(" in script:
            assert re.search(rf"^{re.escape(quantity)} +{verdict}\b", shown, re.M), f"{script}\n{shown}"
        else:
            assert re.match(r"AssertionError|\w+Error" if verdict == "raises" else "AssertionError", shown), (
                f"{script}\n{shown}"
            )
