"""Every table of a catalog in flow order: its columns, their DuckDB types, what they mean.

One vocabulary from here to the published files. Timestamps are UTC without a zone, ids are text.
"""

from dataclasses import dataclass

EMBEDDING = "FLOAT[d]"


@dataclass(frozen=True)
class Column:
    """A column: its name, its DuckDB type (`FLOAT[d]` takes d from the data), its meaning.

    Where it is `nullable` a row may say nothing; everywhere else a null is a fault.
    """

    name: str
    type: str
    description: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """A table: one row a `key`.

    `open` tables also keep the source's own columns; those `on_request` are made when somebody asks
    for them, and by no refresh. Only those that `may_be_empty` may have no row at all.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    open: bool = False
    on_request: bool = False
    may_be_empty: bool = False

    @property
    def column_names(self) -> list[str]:
        """The declared column names, in order."""
        return [column.name for column in self.columns]


USER_ID = Column("user_id", "VARCHAR", "the user")
ITEM_ID = Column("item_id", "VARCHAR", "the item")
SOURCE_ROW = Column("source_row", "BIGINT", "row of the file or source, the first data row being 1")
SOURCE = (
    Column(
        "source_file",
        "VARCHAR",
        "the file; null where the source is not made of files",
        nullable=True,
    ),
    SOURCE_ROW,
    Column(
        "source_error",
        "VARCHAR",
        "why the row could not be read; null where it could",
        nullable=True,
    ),
)
"""What every raw table adds to the columns of its source."""
SOURCE_NAMES = tuple(column.name for column in SOURCE)
SOURCE_KEY = ("source_file", "source_row")
RANK = Column("rank", "INTEGER", "1 is the best")
REJECTION = (
    SOURCE[0],
    SOURCE_ROW,
    Column("reason", "VARCHAR", "why the row was rejected"),
    Column("by_setting", "BOOLEAN", "left out by a setting of the catalog, not for a fault"),
)

RAW_INTERACTIONS = Table("raw_interactions", SOURCE_KEY, SOURCE, open=True, may_be_empty=True)
RAW_ITEMS = Table("raw_items", SOURCE_KEY, SOURCE, open=True, may_be_empty=True)
RAW_USERS = Table("raw_users", SOURCE_KEY, SOURCE, open=True, may_be_empty=True)

INTERACTIONS = Table(
    "interactions",
    ("user_id", "item_id"),
    (
        USER_ID,
        ITEM_ID,
        Column("weight", "DOUBLE", "strength of the interaction, repeats merged"),
        Column("positive", "BOOLEAN", "whether models learn from it; it counts as seen anyway"),
        Column(
            "first_timestamp", "TIMESTAMP", "first time, UTC; null where unknown", nullable=True
        ),
        Column("last_timestamp", "TIMESTAMP", "last time, UTC; null where unknown", nullable=True),
        Column(
            "last_position", "DOUBLE", "largest position; null where there is none", nullable=True
        ),
        Column("interaction_count", "BIGINT", "accepted source rows merged into this one"),
        Column("left_out", "BOOLEAN", "not learned from: its user or item is below a minimum"),
    ),
)
REJECTED_INTERACTIONS = Table(
    "rejected_interactions",
    SOURCE_KEY,
    (
        *REJECTION,
        Column("user_id", "VARCHAR", "as found", nullable=True),
        Column("item_id", "VARCHAR", "as found", nullable=True),
        Column("weight", "VARCHAR", "as found", nullable=True),
        Column("timestamp", "VARCHAR", "as found", nullable=True),
        Column("event", "VARCHAR", "as found", nullable=True),
    ),
    may_be_empty=True,
)
ITEMS = Table(
    "items",
    ("item_id",),
    (
        ITEM_ID,
        Column("title", "VARCHAR", "what a person reads, never blank"),
        Column(
            "title_source",
            "VARCHAR",
            "what it is made of: title, or the first words of the text, or item_id",
        ),
        Column("category", "VARCHAR", "null where the source has none", nullable=True),
        Column("available", "BOOLEAN", "whether it may be recommended; true where nothing is said"),
        Column(
            "created_at",
            "TIMESTAMP",
            "since when there is the item, UTC; null where unknown",
            nullable=True,
        ),
    ),
    open=True,
)
REJECTED_ITEMS = Table(
    "rejected_items",
    SOURCE_KEY,
    (
        *REJECTION,
        Column("item_id", "VARCHAR", "as found", nullable=True),
        Column("title", "VARCHAR", "as found", nullable=True),
    ),
    may_be_empty=True,
)
USERS = Table(
    "users",
    ("user_id",),
    (
        USER_ID,
        Column("item_count", "BIGINT", "distinct items the user interacted with"),
        Column("positive_count", "BIGINT", "how many of them are positive"),
        Column("first_timestamp", "TIMESTAMP", "first interaction, UTC", nullable=True),
        Column("last_timestamp", "TIMESTAMP", "last interaction, UTC", nullable=True),
    ),
    open=True,
)
HISTORIES = Table(
    "histories",
    ("user_id",),
    (
        USER_ID,
        Column("item_ids", "VARCHAR[]", "every item of the user, the oldest first"),
        Column("positives", "BOOLEAN[]", "of each: whether it is positive"),
        Column("left_out", "BOOLEAN[]", "of each: seen, but not learned from, by a minimum"),
        Column("weights", "FLOAT[]", "of each: its weight, decayed by its age"),
        Column("recencies", "FLOAT[]", "of positives: 1 / (1 + the user's later positives)"),
        Column("first_timestamps", "TIMESTAMP[]", "of each: its first time, UTC"),
        Column("last_timestamps", "TIMESTAMP[]", "of each: its last time, UTC"),
    ),
)
TEXT_COLUMNS = (
    Column("text", "VARCHAR", "the cleaned text that is encoded"),
    Column("text_hash", "VARCHAR", "SHA-256 of the text, hexadecimal"),
)
ITEM_TEXTS = Table(
    "item_texts",
    ("item_id",),
    (
        ITEM_ID,
        *TEXT_COLUMNS,
        Column("is_fallback", "BOOLEAN", "nothing was left of the text: title or id stand in"),
    ),
)
USER_TEXTS = Table("user_texts", ("user_id",), (USER_ID, *TEXT_COLUMNS), may_be_empty=True)
ITEM_EMBEDDINGS = Table(
    "item_embeddings",
    ("item_id",),
    (ITEM_ID, Column("embedding", EMBEDDING, "the encoder's vector of the item's text")),
)
USER_EMBEDDINGS = Table(
    "user_embeddings",
    ("user_id",),
    (
        USER_ID,
        Column("embedding", EMBEDDING, "the user's vector in the space of the items"),
        Column("vector_source", "VARCHAR", "history, text or blend"),
        Column("seen_count", "BIGINT", "items of the catalogue that the user has seen"),
    ),
    may_be_empty=True,
)
SIMILARITY_MATRIX = Table(
    "similarity_matrix",
    ("user_id", "item_id"),
    (USER_ID, ITEM_ID, Column("similarity", "FLOAT", "user to item, higher is nearer"), RANK),
    may_be_empty=True,
)
ITEM_NEIGHBOURS = Table(
    "item_neighbours",
    ("item_id", "neighbour_item_id"),
    (
        ITEM_ID,
        Column("neighbour_item_id", "VARCHAR", "another item"),
        Column("similarity", "FLOAT", "item to item, higher is nearer"),
        RANK,
    ),
    may_be_empty=True,
)
ITEM_MAP = Table(
    "item_map",
    ("item_id",),
    (
        ITEM_ID,
        Column("x", "DOUBLE", "on the first principal axis of the vectors, from -1 to 1"),
        Column("y", "DOUBLE", "on the second, in the same scale"),
    ),
)
MODEL = Table(
    "model",
    ("fingerprint",),
    (
        Column("fingerprint", "VARCHAR", "what the fit is known by, and its folder named"),
        Column("strategy", "VARCHAR", "whose model it is"),
        Column("settings", "VARCHAR", "JSON: the settings of the strategy"),
        Column("tuned", "VARCHAR", "JSON: those of them that a search found"),
        Column("newest", "TIMESTAMP", "the newest interaction learned from, UTC", nullable=True),
        Column("users", "BIGINT", "users it is fitted for"),
        Column("items", "BIGINT", "items it scores"),
        Column("positives", "BIGINT", "positive pairs learned from"),
        Column("bytes", "BIGINT", "of its arrays"),
        Column("code_version", "VARCHAR", "of the code and settings that made it"),
        Column("seconds", "DOUBLE", "of the fit"),
        Column("peak_memory_bytes", "BIGINT", "the largest memory of the process until then"),
        Column("run_id", "VARCHAR", "the Dagster run that fitted it"),
        Column("made_at", "TIMESTAMP", "when, UTC"),
    ),
)
POPULAR_ITEMS = Table(
    "popular_items",
    ("item_id",),
    (
        ITEM_ID,
        Column("title", "VARCHAR", "as in items"),
        Column("category", "VARCHAR", "as in items", nullable=True),
        Column("score", "DOUBLE", "share of the users who like the item"),
        Column("rank", "INTEGER", "1 is the most popular; null: not to recommend", nullable=True),
        Column(
            "age_days",
            "DOUBLE",
            "from its making to the newest interaction; null where unknown",
            nullable=True,
        ),
    ),
    may_be_empty=True,
)
RECOMMENDATIONS = Table(
    "recommendations",
    ("user_id", "item_id"),
    (
        USER_ID,
        ITEM_ID,
        Column("score", "DOUBLE", "the strategy's score; comparable within user and strategy"),
        Column("rank", "INTEGER", "1 is the best, by score and by the catalog's rules of order"),
        Column("strategy", "VARCHAR", "what put the row there; popular rows fill short lists"),
        Column(
            "because",
            'STRUCT(item_id VARCHAR, "share" DOUBLE)[]',
            "the history items that contributed most, with their shares of the score",
        ),
        Column("run_id", "VARCHAR", "the Dagster run that made the row"),
        Column("made_at", "TIMESTAMP", "when it was made, UTC"),
    ),
    may_be_empty=True,
)

EVALUATION_SPLIT = Table(
    "evaluation_split",
    ("user_id", "item_id"),
    (
        USER_ID,
        ITEM_ID,
        Column("split", "VARCHAR", "what it is split by: time, last, random or column"),
        Column(
            "part",
            "VARCHAR",
            "train, valid or test; null: of no part in the measurement",
            nullable=True,
        ),
        Column("weight", "DOUBLE", "as in interactions"),
        Column("positive", "BOOLEAN", "of train: whether it was positive by what was known then"),
        Column("left_out", "BOOLEAN", "of train: seen, but not learned from"),
        Column("first_timestamp", "TIMESTAMP", "first time, UTC", nullable=True),
        Column(
            "last_timestamp",
            "TIMESTAMP",
            "of train: last time that was known then, UTC",
            nullable=True,
        ),
        Column("last_position", "DOUBLE", "as in interactions", nullable=True),
    ),
    may_be_empty=True,
)
TUNING = Table(
    "tuning",
    ("strategy", "trial"),
    (
        Column("strategy", "VARCHAR", "what settings were searched for"),
        Column("trial", "INTEGER", "1 is the catalog's own settings"),
        Column("settings", "VARCHAR", "JSON: what differs from the catalog's own settings"),
        Column("metric", "VARCHAR", "what was judged by, such as ndcg@20, on validation"),
        Column("users", "BIGINT", "validation users who count"),
        Column("value", "DOUBLE", "mean over users"),
        Column("gain", "DOUBLE", "difference to trial 1"),
        Column("gain_error", "DOUBLE", "its standard error, user by user", nullable=True),
        Column("chosen", "BOOLEAN", "used from then on; ahead by more than its standard error"),
        Column("seconds", "DOUBLE", "of fitting and ranking"),
    ),
    on_request=True,
    may_be_empty=True,
)
EVALUATION = Table(
    "evaluation",
    ("strategy", "slice", "metric"),
    (
        Column("strategy", "VARCHAR", "what was measured"),
        Column("model", "VARCHAR", "the fingerprint of its fit on train"),
        Column("slice", "VARCHAR", "all, or the part of users or items that counts"),
        Column("metric", "VARCHAR", "such as recall@20"),
        Column("users", "BIGINT", "users who count"),
        Column(
            "value",
            "DOUBLE",
            "mean over users, null where none counts; of the whole catalogue for coverage and gini",
            nullable=True,
        ),
        Column(
            "low",
            "DOUBLE",
            "lower end of the 95 % interval, by paired bootstrap over users",
            nullable=True,
        ),
        Column("high", "DOUBLE", "its upper end", nullable=True),
        Column("to_popular", "DOUBLE", "difference to popular, user by user", nullable=True),
        Column("to_popular_low", "DOUBLE", "lower end of its interval", nullable=True),
        Column("to_popular_high", "DOUBLE", "upper end of its interval", nullable=True),
        Column(
            "to_popular_p_holm",
            "DOUBLE",
            "p, corrected for all strategies of the metric",
            nullable=True,
        ),
        Column("to_champion", "DOUBLE", "difference to the catalog's own strategy", nullable=True),
        Column("to_champion_low", "DOUBLE", "lower end of its interval", nullable=True),
        Column("to_champion_high", "DOUBLE", "upper end of its interval", nullable=True),
        Column(
            "to_champion_p_holm",
            "DOUBLE",
            "p, corrected for all strategies of the metric",
            nullable=True,
        ),
    ),
    may_be_empty=True,
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        RAW_INTERACTIONS,
        RAW_ITEMS,
        RAW_USERS,
        INTERACTIONS,
        REJECTED_INTERACTIONS,
        ITEMS,
        REJECTED_ITEMS,
        USERS,
        HISTORIES,
        ITEM_TEXTS,
        USER_TEXTS,
        ITEM_EMBEDDINGS,
        USER_EMBEDDINGS,
        SIMILARITY_MATRIX,
        ITEM_NEIGHBOURS,
        ITEM_MAP,
        MODEL,
        POPULAR_ITEMS,
        RECOMMENDATIONS,
        EVALUATION_SPLIT,
        TUNING,
        EVALUATION,
    )
}
