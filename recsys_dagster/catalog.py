"""The catalog: one recommender over one set of items and users, described by one YAML file."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from recsys_dagster.errors import UserError, did_you_mean

NAME = r"[a-z][a-z0-9_]{0,39}"
"""A catalog's name: it is also part of an asset key, a file and a folder."""
DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


class Settings(BaseModel):
    """A part of the YAML: unknown keys are errors, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _keys(*names: str) -> AfterValidator:
    """Lets only these names of ours be mapped to columns of the source."""

    def check(columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            if name not in names:
                raise ValueError(f"{name!r} is not one of ours.{did_you_mean(name, names)}")
        return columns

    return AfterValidator(check)


class InteractionsSettings(Settings):
    """Where interactions come from and what they mean."""

    source: str = Field(
        description="a CSV, TSV, Parquet or JSON lines file, relative to this YAML file; or "
        "`python:module:function`, a function that returns a pandas frame"
    )
    columns: Annotated[dict[str, str], _keys("user_id", "item_id", "weight", "timestamp")] = Field(
        default_factory=dict,
        description="the source's name of a column, where it is not a known one",
    )
    positive: str | None = Field(
        default=None,
        description='what models learn from, for example "rating >= 4"; every accepted row '
        "where it is left out",
    )
    repeats: Literal["sum", "last", "max"] = Field(
        default="sum", description="the weight of a repeated (user, item)"
    )

    @field_validator("positive")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            parse_condition(value)
        return value


class ItemsSettings(Settings):
    """Where items come from and which text stands for one."""

    source: str = Field(description="as for interactions")
    columns: Annotated[dict[str, str], _keys("item_id", "title")] = Field(
        default_factory=dict, description="the source's name of a column"
    )
    text: str | tuple[str, ...] = Field(
        description='a column, columns joined by ". ", or a template: "{title}. {description}"'
    )


class UsersSettings(Settings):
    """How a user becomes a vector, and where profile texts come from."""

    source: str | None = Field(default=None, description="a table of users, if there is one")
    columns: Annotated[dict[str, str], _keys("user_id")] = Field(
        default_factory=dict, description="the source's name of a column"
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
    text_share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="share of the profile text in a blend"
    )


class EncoderSettings(Settings):
    """What turns a text into a vector."""

    model: str = Field(
        default=DEFAULT_ENCODER,
        description="a SentenceTransformer folder, `package:NAME` for weights inside an "
        "installed package, a hub id, or `tfidf`",
    )
    max_length: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="tokens kept of a text; the model's own limit where left out"
    )
    dimension: Annotated[int, Field(gt=0)] = Field(
        default=256, description="length of a tfidf vector; other encoders bring their own"
    )


class ModelSettings(Settings):
    """Knobs of the learned strategies; formulas in ARCHITECTURE.md."""

    ease_regularisation: Annotated[float, Field(gt=0)] = Field(
        default=500.0, description="λ of EASE"
    )
    hybrid_regularisation: Annotated[float, Field(gt=0)] = Field(
        default=500.0, description="λ = λ_X + λ_E of L3AE"
    )
    semantic_weight: Annotated[float, Field(ge=0)] = Field(
        default=200.0, description="λ_E of L3AE: pull towards the text-based weights"
    )
    semantic_regularisation: Annotated[float, Field(gt=0)] = Field(
        default=5.0, description="λ_F of L3AE"
    )
    cold_boost: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="factor on the scores of items without interactions"
    )


class Catalog(Settings):
    """One catalog as its YAML file describes it."""

    name: Annotated[str, Field(pattern=f"^{NAME}$")] = Field(
        description="prefix of its assets and name of its warehouse: a-z, 0-9 and _"
    )
    description: str = Field(default="", description="one line for people")
    interactions: InteractionsSettings
    items: ItemsSettings
    users: UsersSettings = UsersSettings()
    encoder: EncoderSettings = EncoderSettings()
    similarity: Literal["cosine", "euclidean", "dot"] = Field(
        default="cosine", description="euclidean is 1 / (1 + distance)"
    )
    centre: bool = Field(default=True, description="subtract the mean item vector before a cosine")
    matrix_width: Annotated[int, Field(gt=0)] = Field(
        default=100, description="unseen items a user keeps in the similarity matrix"
    )
    neighbours: Annotated[int, Field(gt=0)] = Field(
        default=50, description="neighbours an item keeps"
    )
    strategy: Literal["popular", "content", "similar_items", "ease", "hybrid"] = Field(
        default="hybrid", description="what makes the lists"
    )
    models: ModelSettings = ModelSettings()
    recommendations: Annotated[int, Field(gt=0)] = Field(default=20, description="rows a user gets")
    folder: Path = Field(default=Path(), exclude=True, description="where the YAML file lies")

    @field_validator("encoder", mode="before")
    @classmethod
    def _encoder_by_name(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value


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


def catalogs_folder() -> Path:
    """The folder of the catalog files: `$RECSYS_CATALOGS`, or `catalogs` below the current one."""
    return Path(os.environ.get("RECSYS_CATALOGS", "catalogs")).resolve()


def read_catalog(file: Path) -> Catalog:
    """Read one YAML file.

    Raises:
        UserError: everything wrong with the file, one line a fault, nearest right names included.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file}: there is no such file.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: this is not YAML in UTF-8: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: expected a mapping with name, interactions and items.")
    try:
        return Catalog.model_validate({**content, "folder": file.parent.resolve()})
    except ValidationError as error:
        faults = "\n".join(f"  {_fault(dict(fault))}" for fault in error.errors())
        raise UserError(f"{file}:\n{faults}") from None


def _fault(fault: dict[str, Any]) -> str:
    path = [str(part) for part in fault["loc"]]
    where = ".".join(path)
    if fault["type"] == "extra_forbidden":
        known = _known_keys(path[:-1])
        return f"{where}: unknown key.{did_you_mean(path[-1], known)}"
    return f"{where}: {fault['msg']} (found {fault['input']!r:.80})"


def _known_keys(path: list[str]) -> list[str]:
    settings: Any = Catalog
    for part in path:
        settings = settings.model_fields[part].annotation
    return [name for name in settings.model_fields if name != "folder"]


class Catalogs(Mapping[str, Catalog]):
    """The catalogs of one code location, by name; the resource `catalogs` of every asset."""

    def __init__(self, catalogs: Mapping[str, Catalog]) -> None:
        self._catalogs = dict(catalogs)

    @classmethod
    def read(cls, folder: Path) -> "Catalogs":
        """Read every `*.yaml` of a folder.

        Raises:
            UserError: no such folder, no file in it, a faulty file, or one name in two files.
        """
        if not folder.is_dir():
            raise UserError(
                f"{folder}: there is no such folder of catalogs. Make it and put a YAML file in "
                "it, or name another one with RECSYS_CATALOGS."
            )
        files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
        if not files:
            raise UserError(f"{folder}: no catalog here: expected at least one *.yaml file.")
        catalogs: dict[str, Catalog] = {}
        origin: dict[str, Path] = {}
        for file in files:
            catalog = read_catalog(file)
            if catalog.name in catalogs:
                raise UserError(
                    f"{file}: the name {catalog.name!r} is taken by {origin[catalog.name]}; "
                    "every catalog needs a name of its own."
                )
            catalogs[catalog.name] = catalog
            origin[catalog.name] = file
        return cls(catalogs)

    def __getitem__(self, name: str) -> Catalog:
        if name not in self._catalogs:
            raise UserError(f"There is no catalog {name!r}.{did_you_mean(name, self._catalogs)}")
        return self._catalogs[name]

    def __contains__(self, name: object) -> bool:
        return name in self._catalogs

    def __iter__(self) -> Iterator[str]:
        return iter(self._catalogs)

    def __len__(self) -> int:
        return len(self._catalogs)
