"""Says in plain words what the YAML parser finds wrong, and what to do about it."""

from __future__ import annotations

from ruamel.yaml.error import MarkedYAMLError

_OPENED = {  # how the parser calls what it was in, and how people do
    "flow mapping": "the brace {",
    "flow sequence": "the bracket [",
    "quoted scalar": "the text in quotes",
    "block mapping": "the mapping",
    "block collection": "the list",
    "block sequence": "the list",
}
_ONE_COLUMN = "all keys of a mapping, and all items of a list, begin in the same column"
_TOO_MANY = ("a bracket or brace too many", "take it out, or put the text that holds it in quotes")
_MEANT = {  # parts of the parser's messages
    "'\\t'": ("a tab stands where only blanks may", "indent with blanks"),
    "mapping values are not allowed": (
        "a colon stands where no key may",
        "give each key a line of its own, and put texts that hold a colon in quotes",
    ),
    "could not find expected ':'": ("a key has no colon", "write key: value, and put texts of several lines in quotes"),
    "expected '<document start>'": ("something follows the end of the suite", "look for a bracket too many before it"),
    "expected the node content": ("a value is missing", "write a value, or leave the comma or colon out"),
    "sequence entries are not allowed": (
        "an item of a list stands where none may",
        "begin lists on a line of their own",
    ),
    "unknown escape character": (
        "a backslash before a sign that needs none",
        "use single quotes, or write \\\\",
    ),
    "alphabetic or numeric character": ("no name follows & or *", "put texts that begin so in quotes"),
    "chomping or indentation": ("a text follows | or > on the same line", "put texts that begin so in quotes"),
    "found ']'": _TOO_MANY,
    "found '}'": _TOO_MANY,
}


def in_words(error: MarkedYAMLError) -> tuple[str, str]:
    """Return what is wrong with a text, and what to do about it, where the parser's message is one of the usual ones.

    Args:
        error: As ruamel.yaml raises it: what it was reading from where on, and what it met there.
    """
    problem = str(error.problem or error.context or "").partition("\n")[0]
    within = next((words for name, words in _OPENED.items() if name in str(error.context or "")), "")
    begun = f"{within} of line {error.context_mark.line + 1}" if within and error.context_mark is not None else ""
    if begun and ("end of stream" in problem or "stream end" in problem):
        return f"{begun} is not closed", "close it"
    for part, (what, hint) in _MEANT.items():
        if part in problem:
            return what, hint
    if begun and "<block end>" in problem:
        return f"this is no part of {begun}", _ONE_COLUMN
    if begun and problem.startswith("expected ','"):
        return f"a comma is missing in {begun}, or it is not closed", "put texts that hold brackets or commas in quotes"
    if "cannot start any token" in problem:
        return problem.replace("found character ", "").replace("that cannot start any token", "cannot begin a value"), (
            "put the value in quotes"
        )
    return problem, ""
