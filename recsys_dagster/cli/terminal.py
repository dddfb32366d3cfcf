"""Where commands print, and how text from data gets there unharmed."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

console = Console()
error_console = Console(stderr=True, highlight=False)


def plain(text: str) -> str:
    """Text from data, with nothing in it read as markup."""
    return escape(text)


def titled(title: str) -> Table:
    """An empty table with a title."""
    return Table(title=plain(title), title_justify="left", title_style="bold")
