"""Settings of business rules: which items lists may hold, and how lists are put in order."""

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from recsys_dagster.catalog.base import Settings
from recsys_dagster.catalog.source import Filled


def _numbers_as_text(value: Any) -> Any:
    """Ids and categories are text; YAML reads 318 as a number."""
    return tuple(map(_as_text, value)) if isinstance(value, list | tuple) else value


def _as_text(name: Any) -> str:
    if isinstance(name, str):
        return name
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name)
    raise ValueError(f"YAML reads one of these names as {name}: write it in quotes")


def _file_or_ids(value: Any) -> Any:
    if value is not None and not isinstance(value, str | list | tuple):
        raise ValueError("expected a list of item_ids, or the path of a text file with one a line")
    return _numbers_as_text(value)


Names = Annotated[
    tuple[Filled, ...],
    BeforeValidator(_numbers_as_text, json_schema_input_type=list[str | int]),
]
ItemIds = Annotated[
    Filled | tuple[Filled, ...] | None,
    BeforeValidator(_file_or_ids, json_schema_input_type=str | list[str | int] | None),
]


class RuleSettings(Settings):
    """Business rules, each off where it is left out."""

    allow: ItemIds = Field(
        default=None,
        description="only these items may be recommended: item_ids, or the path of a text file "
        "with one a line",
    )
    deny: ItemIds = Field(default=None, description="these items never, given in the same way")
    categories: Annotated[Names, Field(min_length=1)] | None = Field(
        default=None, description="only items of these categories"
    )
    without_categories: Annotated[Names, Field(min_length=1)] | None = Field(
        default=None, description="never items of these categories"
    )
    max_per_category: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="most rows of a list from one category; items without one are not counted",
    )
    diversity: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="0 to below 1: how much the next row of a list is to differ in its text from "
        "those above it, by Maximal Marginal Relevance; 0 is off",
    )
    freshness_boost: Annotated[float, Field(ge=0, le=1e6)] = Field(
        default=0.0,
        description="what a brand-new item is lifted by, where the best score of a user counts 1 "
        "and the least of the pool 0; 0 is off",
    )
    freshness_half_life_days: Annotated[float, Field(gt=0)] = Field(
        default=30.0,
        description="the lift halves in so many days of an item's age: from created_at, or its "
        "first interaction, to the newest interaction of all",
    )

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        both = set(self.categories or ()) & set(self.without_categories or ())
        if both:
            named = ", ".join(map(repr, sorted(both)))
            raise ValueError(f"{named}: both in categories and in without_categories")
        return self

    @property
    def files(self) -> dict[str, str]:
        """The paths of text files as the YAML has them, by key."""
        lists = {"allow": self.allow, "deny": self.deny}
        return {key: value for key, value in lists.items() if isinstance(value, str)}

    @property
    def narrow(self) -> bool:
        """Whether some items of the catalogue may not be recommended."""
        named = (self.allow, self.deny, self.categories, self.without_categories)
        return any(rule is not None for rule in named)

    @property
    def reorder(self) -> bool:
        """Whether lists follow anything but the strategy's scores."""
        return self.max_per_category is not None or self.diversity > 0 or self.freshness_boost > 0
