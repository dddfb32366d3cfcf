"""Items by what people call them; a history may have some that the catalogue lacks."""

from recsys_dagster.serving.opened import OpenSnapshot


def title_of(snapshot: OpenSnapshot, item_id: str) -> str | None:
    """The title of an item; None where the catalogue has no such item."""
    return snapshot.find_item(item_id)[1] if snapshot.has_item(item_id) else None


def category_of(snapshot: OpenSnapshot, item_id: str) -> str:
    """The category of an item; empty where it has none, or there is no such item."""
    return snapshot.category_of(item_id) if snapshot.has_item(item_id) else ""
