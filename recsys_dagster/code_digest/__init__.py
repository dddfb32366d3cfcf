"""What of the package's code a function executes, as a fingerprint.

Names are followed: from a function to the functions, classes and constants that it names, in
whatever module of the package, and on from there. What they say is digested as it is executed,
without docstrings, comments, annotations and places in the file. In doubt more is covered and not
less: a name counts where only a local variable is called so, a method of a class that is reached
where anything reached asks for an attribute of its name, a module whole where it is used as a
value. What other packages do is not covered.

`modules.py` parses modules and finds where names come from, `statements.py` reads what a statement
executes and names, `units.py` makes of it what is covered whole or not at all, `following.py` goes
from one to the next.
"""

from recsys_dagster.code_digest.following import code_digest
from recsys_dagster.code_digest.modules import WHOLE, names_of

__all__ = ["WHOLE", "code_digest", "names_of"]
