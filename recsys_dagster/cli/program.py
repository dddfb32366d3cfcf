"""How this program is called here, for commands that are printed to be typed."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

NAME = "recsys"
NAMED = re.compile(rf"\b{NAME}(?= (?:run|publish|recommend|tune|serve|key|plan)\b)")
"""The program in a message, before a command that the library names."""


def program() -> str:
    """`recsys` where that starts this program, else the path of the script that is running.

    The path is the shorter of the absolute one and the one from the current folder.
    """
    script = Path(sys.argv[0])
    if script.stem != NAME or not script.is_file():  # started in another way
        return NAME
    found = shutil.which(NAME)
    if found and script.samefile(found):
        return NAME
    absolute = str(script.absolute())
    relative = os.path.relpath(absolute)
    if os.sep not in relative:
        relative = f".{os.sep}{relative}"  # a bare name is looked for on the PATH alone
    return shlex.quote(min(relative, absolute, key=len))


def as_typed(message: str) -> str:
    """A message of the library, with the commands in it as they can be typed here."""
    called = program()
    return NAMED.sub(lambda _: called, message)
