"""The catalog: one recommender over one set of items and users, as its YAML file describes it.

`catalogs.py` reads the files; the reference in the README is made from the descriptions here.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    create_model,
    field_validator,
    model_validator,
)

from recsys_dagster.catalog.base import Settings
from recsys_dagster.catalog.names import NAME, TAKEN
from recsys_dagster.catalog.operations import (
    AlertSettings,
    CheckSettings,
    EvaluationSettings,
    KeepSettings,
    LiveSettings,
    RefreshSettings,
)
from recsys_dagster.catalog.rules import RuleSettings
from recsys_dagster.catalog.source import Source, expand_variables, known_keys
from recsys_dagster.errors import did_you_mean
from recsys_dagster.steps.models import STRATEGIES
from recsys_dagster.steps.models.base import MAX_EXACT_PAIRS, MAX_ROWS

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


class InteractionsSettings(Settings):
    """Where interactions come from and what they mean."""

    source: Source = Field(
        description="where the rows are: a path, `python:module:function`, or a mapping (below)"
    )
    columns: Annotated[
        dict[str, str],
        known_keys("user_id", "item_id", "weight", "timestamp", "position", "event"),
    ] = Field(
        default_factory=dict,
        description="our name → the source's, where it is not a known one, for user_id, item_id, "
        "weight, timestamp, position (order within a user, where there is no time) and event",
    )
    timestamp_format: str | None = Field(
        default=None,
        description='of texts that are not ISO 8601, as in Python: "%d/%m/%Y %H:%M"',
    )
    decimal: Literal[".", ","] | None = Field(
        default=None,
        description="of numbers written for people, such as `1.234,5`: its sign before the "
        "decimals; the other one, a space or an apostrophe may group thousands. Where left out, "
        "numbers are plain, such as 1234.5",
    )
    events: dict[str, Annotated[float, Field(ge=0, le=1e12)]] | None = Field(
        default=None,
        description="the weight of each event, `{view: 1, purchase: 5}`, times the weight column "
        "where there is one; rows of other events are left out",
    )
    returns: bool = Field(
        default=False,
        description="negative weights take back earlier ones; a pair with nothing left counts as "
        "seen. Without it they are rejected",
    )
    positive: str | None = Field(
        default=None,
        description='what models learn from, for example "rating >= 4"; the others only count as '
        "seen. Every accepted row where it is left out",
    )
    repeats: Literal["sum", "last", "max"] = Field(
        default="sum", description="the weight of a repeated (user, item)"
    )
    weight_scale: Literal["linear", "log"] = Field(
        default="linear", description="log takes log(1 + weight): for quantities that vary widely"
    )
    minimum_per_user: Annotated[int, Field(ge=1)] = Field(
        default=1, description="models learn only from users with so many positive items"
    )
    minimum_per_item: Annotated[int, Field(ge=1)] = Field(
        default=1, description="and from items with so many users; rarer ones count as new"
    )

    @field_validator("timestamp_format")
    @classmethod
    def _has_directives(cls, value: str | None) -> str | None:
        if value is None:
            return value
        expected = "expected directives as in Python, such as %d/%m/%Y %H:%M"
        if "%" not in value:
            raise ValueError(f"{expected}; found none")
        try:
            datetime.strptime("", value)
        except ValueError as error:
            if "directive" in str(error) or "stray" in str(error):
                raise ValueError(f"{expected}: {error}") from None
        return value

    @field_validator("positive")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            parse_condition(value)
        return value

    @model_validator(mode="after")
    def _returns_are_summed(self) -> Self:
        if self.returns and self.repeats != "sum":
            raise ValueError(f"returns needs repeats: sum; found repeats: {self.repeats}")
        return self


class ItemsSettings(Settings):
    """Where items come from and which text stands for one."""

    source: Source = Field(description="as for interactions")
    columns: Annotated[
        dict[str, str],
        known_keys("item_id", "title", "category", "available", "created_at"),
    ] = Field(
        default_factory=dict,
        description="our name → the source's, for item_id, title, category, available (yes or no, "
        "or a stock count: an item that is not available is never recommended) and created_at "
        "(ISO 8601 or Unix time)",
    )
    text: str | tuple[str, ...] = Field(
        description='a column, columns joined by ". ", or a template such as '
        '`"{title} ({year}). {genres}"`; missing parts vanish with their brackets'
    )


class UsersSettings(Settings):
    """How a user becomes a vector, and where profile texts come from."""

    source: Source | None = Field(default=None, description="a table of users, if there is one")
    columns: Annotated[dict[str, str], known_keys("user_id")] = Field(
        default_factory=dict, description="our name → the source's, for user_id"
    )
    text: str | tuple[str, ...] | None = Field(default=None, description="as for items")
    vectors: Literal["history", "text", "blend"] = Field(
        default="history",
        description="history: weighted, recency-decayed mean of the positives' item vectors; "
        "text: the encoded profile; blend: both",
    )
    half_life_days: Annotated[float, Field(gt=0)] = Field(
        default=180.0,
        description="an interaction this long before the user's last one counts half",
    )
    half_life_positions: Annotated[float, Field(gt=0)] = Field(
        default=50.0, description="the same in steps, where interactions have no time"
    )
    text_share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="share of the profile text in a blend"
    )


EncoderPreset = Literal["exact", "fast", "tiny"]
FAST_TOKENS = 48
"""That `fast` keeps of a text. Of lists by text alone 32 cost 7 to 9 % of NDCG@20 and 48 some 2 %;
lists that know behaviour too lose next to nothing with either."""


class EncoderSettings(Settings):
    """What turns a text into a vector."""

    model: str = Field(
        default=DEFAULT_ENCODER,
        description="a SentenceTransformer folder, `package:NAME` for weights inside an "
        "installed package, a hub id, or `tfidf`; `${NAME}` stands for an environment variable",
    )
    preset: EncoderPreset = Field(
        default="exact",
        description="exact: the model; fast: the model, on the first "
        f"{FAST_TOKENS} tokens of a text; tiny: the mean of a vector a token, which are made "
        "once of the model",
    )
    max_length: Annotated[int, Field(gt=0, le=1_000_000)] | None = Field(
        default=None, description="tokens kept of a text; the model's own limit where left out"
    )
    dimension: Annotated[int, Field(gt=0, le=10_000)] = Field(
        default=256, description="length of a tfidf vector; other encoders bring their own"
    )

    @model_validator(mode="after")
    def _tfidf_has_no_presets(self) -> "EncoderSettings":
        if self.model == "tfidf" and self.preset != "exact":
            raise ValueError(
                f"preset {self.preset}: tfidf has none. Leave it out, or name another model"
            )
        return self


def _encoder_by_name(value: Any) -> Any:
    return {"model": value} if isinstance(value, str) else value


Encoder = Annotated[
    EncoderSettings,
    BeforeValidator(_encoder_by_name, json_schema_input_type=str | EncoderSettings),
]


class _ModelSettings(Settings):
    """Settings of the strategies; formulas in ARCHITECTURE.md."""

    tuned: bool = Field(
        default=True,
        description="use what `recsys tune` found; a setting that is named here keeps its value",
    )


_OF_STRATEGIES: Any = {
    name: (strategy.settings, Field(default_factory=strategy.settings))
    for name, strategy in STRATEGIES.items()
    if strategy.settings.model_fields
}
ModelSettings: Any = create_model(
    "ModelSettings", __base__=_ModelSettings, __doc__=_ModelSettings.__doc__, **_OF_STRATEGIES
)
"""What the strategies say of themselves, put together."""
STRATEGY_NAMES = tuple(STRATEGIES)


class Catalog(Settings):
    """One catalog as its YAML file describes it."""

    name: Annotated[str, Field(pattern=f"^{NAME}$")] = Field(
        description="prefix of its assets and name of its warehouse: a-z, 0-9 and _"
    )
    description: str = Field(default="", description="one line for people")
    interactions: InteractionsSettings = Field(description="who did what with which item")
    items: ItemsSettings = Field(description="what can be recommended")
    users: UsersSettings = Field(
        default_factory=UsersSettings, description="how users become vectors"
    )
    encoder: Encoder = Field(
        default_factory=EncoderSettings, description="what turns texts into vectors"
    )
    similarity: Literal["cosine", "euclidean", "dot"] = Field(
        default="cosine", description="euclidean is 1 / (1 + distance)"
    )
    centre: bool = Field(default=True, description="subtract the mean item vector before a cosine")
    matrix_width: Annotated[int, Field(gt=0, le=MAX_ROWS)] = Field(
        default=100, description="unseen items a user keeps in the similarity matrix"
    )
    neighbours: Annotated[int, Field(gt=0, le=MAX_ROWS)] = Field(
        default=50, description="neighbours an item keeps"
    )
    max_exact_pairs: Annotated[float, Field(ge=0)] | None = Field(
        default=MAX_EXACT_PAIRS,
        description="pairs of vectors up to which the nearest are found by comparing all; of more "
        "an index is asked that finds 99 % of them; `null` compares all, however many",
    )
    strategy: Literal[STRATEGY_NAMES] = Field(  # ty: ignore[invalid-type-form]
        default="hybrid", description="what makes the lists"
    )
    models: ModelSettings = Field(
        default_factory=ModelSettings, description="settings of the strategies"
    )
    list_length: Annotated[int, Field(gt=0, le=MAX_ROWS)] = Field(
        default=20, description="rows a user gets"
    )
    rules: RuleSettings = Field(
        default_factory=RuleSettings, description="what lists may hold, and in which order"
    )
    refresh: RefreshSettings = Field(
        default_factory=RefreshSettings, description="when the catalog is run"
    )
    checks: CheckSettings = Field(
        default_factory=CheckSettings, description="what the gate expects"
    )
    evaluation: EvaluationSettings = Field(
        default_factory=EvaluationSettings, description="how strategies are measured"
    )
    live: LiveSettings = Field(
        default_factory=LiveSettings,
        description="where interactions go that `recsys serve` is told of",
    )
    alert: AlertSettings = Field(
        default_factory=AlertSettings, description="who is told that a run failed"
    )
    keep: KeepSettings = Field(
        default_factory=KeepSettings, description="how much of the past is kept"
    )
    folder: Path = Field(default=Path(), exclude=True, description="where the YAML file lies")

    @field_validator("name")
    @classmethod
    def _not_taken(cls, value: str) -> str:
        if value in TAKEN:
            raise ValueError(f"another name is needed: {TAKEN[value]}")
        return value

    @field_validator("evaluation")
    @classmethod
    def _strategies_known(cls, value: EvaluationSettings) -> EvaluationSettings:
        for name in value.strategies:
            if name not in STRATEGIES:
                raise ValueError(f"{name!r} is no strategy.{did_you_mean(name, STRATEGY_NAMES)}")
        return value

    @model_validator(mode="after")
    def _can_be_read_beside_its_source(self) -> Self:
        source = self.interactions.source
        is_read_whole = source.path or source.tables or source.function or source.is_asset_value
        if self.live.folder is not None and not is_read_whole:
            raise ValueError(
                "live.folder: rows cannot be put beside those of a query or database: let your own "
                "database take them, or read it through a function"
            )
        return self

    @property
    def live_folder(self) -> Path | None:
        """Where interactions land that a server is told of; None where nothing is said.

        Raises:
            UserError: it names an environment variable that is not set.
        """
        if self.live.folder is None:
            return None
        return self.folder / Path(expand_variables(self.live.folder)).expanduser()

    @model_validator(mode="after")
    def _not_made_of_itself(self) -> Self:
        for source in (self.interactions.source, self.items.source, self.users.source):
            if source is not None and source.asset and source.asset.startswith(f"{self.name}/"):
                raise ValueError(
                    f"the source {source.asset} is an asset of this catalog, made from its sources"
                )
        return self


CONDITION = re.compile(r"^\s*(\w+)\s*(>=|<=|==|!=|>|<)\s*(-?\d+(?:\.\d+)?)\s*$")


def parse_condition(condition: str) -> tuple[str, str, float]:
    """Split a condition such as "rating >= 4" into column, comparison and number.

    Raises:
        ValueError: the text is not of that form.
    """
    match = CONDITION.match(condition)
    if match is None:
        raise ValueError(
            f"{condition!r} is not a condition: expected a column, one of >= <= == != > < "
            'and a number, for example "rating >= 4"'
        )
    column, comparison, number = match.groups()
    return column, comparison, float(number)
