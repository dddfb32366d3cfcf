"""Where rows come from, as a catalog file says it."""

import codecs
import os
import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from recsys_dagster.catalog.base import Settings
from recsys_dagster.errors import UserError, did_you_mean
from recsys_dagster.sql import objection, without_end

VARIABLE = re.compile(r"\$\{(\w+)\}")
QUOTED_LINE = re.compile(r"\s*\nLINE \d+: .*", re.DOTALL)
SHORT = 4
PYTHON_NAME = r"[^\W\d]\w*"
MODULE_AND_FUNCTION = re.compile(
    rf"{PYTHON_NAME}(\.{PYTHON_NAME})*:{PYTHON_NAME}(\.{PYTHON_NAME})*"
)


def known_keys(*names: str) -> AfterValidator:
    """Lets only these names of ours be mapped to columns of the source."""

    def check(columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            if name not in names:
                raise ValueError(f"{name!r} is not one of ours.{did_you_mean(name, names)}")
        return columns

    return AfterValidator(check)


Filled = Annotated[str, Field(min_length=1)]


def _known_encoding(name: str) -> str:
    try:
        "".encode(name)  # also looks whether it is an encoding of texts, which `hex` is not
    except LookupError:
        raise ValueError(
            f"there is no encoding {name!r}; known are utf-8, utf-16, latin-1, cp1252, gb18030, "
            "shift_jis and the others that Python knows"
        ) from None
    return codecs.lookup(name).name


def _module_and_function(name: str) -> str:
    if not MODULE_AND_FUNCTION.fullmatch(name):
        raise ValueError(
            "expected module:function, names of Python joined by dots, such as shop.tables:orders"
        )
    return name


def _variable_alone(written: str) -> str:
    # What is written may be a connection with a password: it is not repeated.
    if not VARIABLE.fullmatch(written):
        raise ValueError(
            "expected the name of an environment variable that holds the connection, such as "
            "${SHOP_DSN}: a password stands in no catalog"
        )
    return written


Delimiter = Annotated[str, Field(min_length=1, max_length=4)]
Encoding = Annotated[str, AfterValidator(_known_encoding)]
Names = Annotated[tuple[Filled, ...], Field(min_length=1)]


class FileSettings(Settings):
    """Files that a query has a name for."""

    path: Filled = Field(description="as of a source")
    delimiter: Delimiter | None = Field(default=None, description="as of a source")
    encoding: Encoding = Field(default="utf-8", description="as of a source")
    names: Names | None = Field(default=None, description="as of a source")


def _file_by_name(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


FileSource = Annotated[
    FileSettings, BeforeValidator(_file_by_name, json_schema_input_type=str | FileSettings)
]


class SourceSettings(Settings):
    """Where rows come from: exactly one of path, function, table, sql, or an asset alone.

    `${NAME}` in path, database, postgres and sql stands for an environment variable; relative
    paths start at the YAML file.
    """

    path: Filled | None = Field(
        default=None,
        description="a file, a folder or a pattern such as `orders/*.parquet`: Parquet, CSV, TSV "
        "or JSON lines, the text formats also as .gz; only new and changed files are read again. "
        "On object storage too: `s3://bucket/orders/*.parquet`, `gs://…`, `az://container/…`, by "
        "the extras s3, gcs and azure; credentials come from the environment alone",
    )
    delimiter: Delimiter | None = Field(
        default=None,
        description="of a text file, such as `::`; the one of , ; | and tab that its first line "
        "has most, where left out",
    )
    encoding: Encoding = Field(
        default="utf-8",
        description="of a text file, by a name that Python knows, such as cp1252 or gb18030; a "
        "byte order mark of UTF-16 is recognised in any case",
    )
    names: Names | None = Field(
        default=None,
        description="of the columns of a text file whose first line is a row already",
    )
    function: Annotated[str, AfterValidator(_module_and_function)] | None = Field(
        default=None,
        description="`module:function`, which returns a pandas frame, an Arrow table, or anything "
        "else that Arrow reads, such as a Polars frame or a list of dicts",
    )
    database: Filled | None = Field(default=None, description="a DuckDB or SQLite file")
    postgres: Annotated[str, AfterValidator(_variable_alone)] | None = Field(
        default=None,
        description="a PostgreSQL database, by the environment variable that holds the connection: "
        "`${SHOP_DSN}`; the extra postgres reads it, in a transaction that can only read",
    )
    table: Filled | None = Field(
        default=None,
        description="a table or view of the database, with its schema in front where that is not "
        "main (of PostgreSQL the first of its search path): `mart.orders`",
    )
    sql: Filled | None = Field(
        default=None,
        description="a query that DuckDB runs, or the database if one is given: one statement, "
        "which only reads",
    )
    tables: dict[Filled, FileSource] = Field(
        default_factory=dict,
        description="of a query without a database: the names it has for files, `{orders: "
        "orders.csv, lines: {path: lines.csv, encoding: cp1252}}`. These are read as a `path` is, "
        "with source_file, source_row and source_error in front; a query that hands these three on "
        "hands on which rows could not be read",
    )
    watermark: Filled | None = Field(
        default=None,
        description="a column that only grows, of a table or query: only rows from its last value "
        "on are fetched; without it everything is, and compared by a fingerprint",
    )
    asset: Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)*$")] | None = Field(
        default=None,
        description="the key, parts joined by `/`, of the Dagster asset that makes the data; with "
        "path, table or sql it says where the rows lie, alone they come through `io_manager`",
    )
    io_manager: str | None = Field(
        default=None,
        description="the resource that loads the asset's value; `io_manager` where left out",
    )

    @field_validator("sql")
    @classmethod
    def _only_reads(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return value
        # A database may be SQLite's, whose dialect DuckDB cannot parse; a variable may be anything.
        is_duckdb = info.data.get("database") is None and info.data.get("postgres") is None
        known = is_duckdb and VARIABLE.search(value) is None
        fault = objection(without_end(value), duckdb_only=known)
        if fault is not None:
            raise ValueError(fault)
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        origins = [
            name for name in ("path", "function", "table", "sql") if getattr(self, name) is not None
        ]
        if len(origins) > 1 or not (origins or self.asset):
            found = " and ".join(origins) or "none of them"
            raise ValueError(
                "expected exactly one of path, function, table (with database or postgres), sql "
                "and asset; "
                f"found {found}"
            )
        needs = {
            "table": (self.table, "database or postgres", self.database or self.postgres),
            "database": (self.database, "table or sql", self.table or self.sql),
            "postgres": (self.postgres, "table or sql", self.table or self.sql),
            "watermark": (self.watermark, "table or sql", self.table or self.sql),
            "delimiter": (self.delimiter, "path", self.path),
            "names": (self.names, "path", self.path),
            "tables": (self.tables or None, "sql", self.sql),
            "io_manager": (self.io_manager, "asset, and nothing else", not origins),
        }
        for name, (value, needed, present) in needs.items():
            if value is not None and not present:
                raise ValueError(f"{name} needs {needed}")
        if self.database and self.postgres:
            raise ValueError("expected database or postgres; found both")
        if self.tables and (self.database or self.postgres or self.watermark):
            raise ValueError("tables are of a query without database and watermark")
        return self

    @property
    def described(self) -> str:
        """One line for people: where the rows come from."""
        if self.table is not None:
            return f"{self.database or self.postgres}, table {self.table}"
        if self.tables:
            return f"a query over {' and '.join(file.path for file in self.tables.values())}"
        if self.sql is not None:
            return " ".join(self.sql.split())
        if self.function is not None:
            return f"python:{self.function}"
        return self.path or f"asset {self.asset}"

    def without_variables(self, message: str) -> str:
        """A message without what the environment variables of this source hold."""
        paths = (file.path for file in self.tables.values())
        return without_variables(message, self.path, self.database, self.postgres, self.sql, *paths)

    @property
    def is_asset_value(self) -> bool:
        """Whether the rows are the value of an asset, handed over by Dagster."""
        return self.path is self.function is self.table is self.sql is None


def _source_by_name(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value.startswith("python:"):
        return {"function": value.removeprefix("python:")}
    return {"path": value}


Source = Annotated[
    SourceSettings, BeforeValidator(_source_by_name, json_schema_input_type=str | SourceSettings)
]


def without_variables(message: str, *texts: str | None) -> str:
    """A message with `${NAME}` in the place of what variables hold, which may be secret.

    Args:
        message: for people.
        texts: what `expand_variables` was given.
    """
    names = {name for text in texts for name in VARIABLE.findall(text or "")}
    held = {os.environ[name]: name for name in names if os.environ.get(name, "").strip()}
    if not held:
        return message
    # DuckDB cuts the line that it quotes, and might a value.
    message = QUOTED_LINE.sub("", message)
    held |= {str(Path(value)): name for value, name in held.items()}
    for value in sorted(held, key=len, reverse=True):
        # A short one, such as a number of days, is no secret and part of many words.
        here = re.escape(value) if len(value) >= SHORT else rf"(?<!\w){re.escape(value)}(?!\w)"
        message = re.sub(here, lambda _, value=value: f"${{{held[value]}}}", message, flags=re.I)
    return message


def expand_variables(text: str) -> str:
    """Put environment variables in the place of `${NAME}`.

    Raises:
        UserError: a variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise UserError(
                f"{text}: the environment variable {name} is not set."
                f"{did_you_mean(name, [known for known in os.environ if name[:3] == known[:3]])}"
            )
        return os.environ[name]

    return VARIABLE.sub(value, text)
