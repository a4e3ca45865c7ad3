"""Finds in a Java program what its file and its main class must be called."""

import re

# No alternative can fail after much text, so that the time is linear whatever the text is.
_TOKEN = re.compile(
    r"""
    //[^\n]* | /\*.*?(?:\*/|\Z)
    | \"{3}(?:\\.|[^\\])*?(?:\"{3}|\Z) | "(?:\\.|[^"\\\n])*"? | '(?:\\.|[^'\\\n])*'?
    | (?P<open>\{) | (?P<close>\}) | (?P<end>;)
    | \bpackage\s+(?P<package>\w+(?:\.\w+)*)
    | \b(?P<public>public)\b
    | \b(?:class|interface|enum|record)\s+(?P<type>\w+)
    | \bvoid\s+(?P<main>main)\b
    """,
    re.DOTALL | re.VERBOSE,
)


def names(program: str) -> dict[str, str]:
    """Returns ``unit``, what its file must be called, and ``main``, the class to start.

    The unit is called as its public top-level type; the class to start is the first top-level
    type with a ``main``. Each is ``Main`` where the program has none.
    """
    depth = 0
    public = False
    package = unit = main = current = ""
    for token in _TOKEN.finditer(program):
        if token["open"]:
            depth += 1
        elif token["close"]:
            depth -= 1
        elif token["package"]:
            package = token["package"] + "."
        elif token["public"]:
            public = True
        elif token["type"] and depth == 0:
            current = token["type"]
            if public:
                unit = current
        elif token["main"] and depth == 1:
            main = main or current
        if token["open"] or token["close"] or token["end"]:
            public = False
    unit = unit or "Main"
    return {"unit": unit, "main": package + (main or unit)}
