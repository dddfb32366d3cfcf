"""Settings of a catalog's running: when, what the gate expects, who is told, what is kept."""

from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import Field, field_validator

from recsys_dagster.catalog.base import Settings
from recsys_dagster.catalog.cron import require_cron
from recsys_dagster.errors import did_you_mean

MAX_DAYS = 36_500

Share = Annotated[float, Field(ge=0, le=1)]


class RefreshSettings(Settings):
    """When the catalog is run by itself."""

    schedule: str | None = Field(
        default=None, description='five fields of cron, for example "0 3 * * *", or `@daily`'
    )
    timezone: str = Field(default="UTC", description="of the schedule, such as Europe/Berlin")
    watch: bool = Field(
        default=True,
        description="run when the content of a source or of a file of rules changes; a python "
        "function is not watched",
    )
    automation: Literal["conditions"] | None = Field(
        default=None,
        description="`conditions`: Dagster looks at every stage and makes those whose settings or "
        "inputs changed and passed their blocking checks; else every run goes through all stages",
    )
    every_seconds: Annotated[int, Field(ge=5, le=31 * 86_400)] = Field(
        default=15, description="how often the sources are looked at"
    )
    settle_seconds: Annotated[int, Field(ge=0, le=86_400)] = Field(
        default=5, description="a file is taken when nobody has written to it for so long"
    )
    fresh_within_hours: Annotated[float, Field(gt=0, le=MAX_DAYS * 24)] | None = Field(
        default=None, description="Dagster warns when the last snapshot is older than this"
    )

    @field_validator("schedule")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        if value is not None:
            require_cron(value)
        return value

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        zones = available_timezones()
        if value not in zones:
            raise ValueError(f"there is no such time zone.{did_you_mean(value, sorted(zones))}")
        return value


class CheckSettings(Settings):
    """What the gate expects. `least` and `most` that block a snapshot say so."""

    accepted_share: Share = Field(
        default=0.5, description="least share of rows that are accepted; blocks"
    )
    known_share: Share = Field(
        default=0.95,
        description="least share of interactions with items of the catalogue; blocks when it is 0",
    )
    row_fall: Share = Field(
        default=0.5, description="most that a table may shrink against the last snapshot; blocks"
    )
    text_share: Share = Field(
        default=0.5, description="least share of items with a text of their own; warns"
    )
    mean_cosine: Share = Field(
        default=0.98, description="above it vectors tell nothing apart; blocks"
    )
    coverage: Share = Field(
        default=0.01, description="least share of the catalogue that is in some list; warns"
    )
    concentration: Share = Field(
        default=0.99,
        description="most inequality (Gini) of how often items are recommended; warns",
    )
    changed_lists: Share = Field(
        default=0.95,
        description="most users whose list has another first item than in the last snapshot; warns",
    )


class EvaluationSettings(Settings):
    """How strategies are measured."""

    split: Literal["time", "last", "random", "column"] | None = Field(
        default=None,
        description="what is held back: the newest interactions, each user's last, a share by "
        "chance, or as a column says. Where left out: time if nine in ten have a timestamp, else "
        "last if so many have a position, else random",
    )
    column: str = Field(
        default="split",
        description="of the interactions' source, with train, valid or test, for `split: column`",
    )
    mask: Literal["train", "train+valid"] = Field(
        default="train+valid", description="what lists must not contain when they are measured"
    )
    user_texts: bool = Field(
        default=False,
        description="let measured strategies know the texts of users: only where nobody wrote "
        "them from what users did, or they tell what was held back",
    )
    k: tuple[Annotated[int, Field(ge=1, le=1_000)], ...] = Field(
        default=(10, 20), min_length=1, max_length=20, description="places of a list that count"
    )
    strategies: tuple[str, ...] = Field(
        default=("content", "similar_items", "ease"),
        description="what the catalog's own strategy is compared with, beside popular",
    )
    max_users: Annotated[int, Field(gt=0)] = Field(
        default=20_000,
        description="users who are asked; where more have something held back, so many of them, "
        "drawn by chance and always the same",
    )
    on_refresh: bool = Field(
        default=True, description="measure at every refresh; else only in evaluate_<catalog>"
    )


class AlertSettings(Settings):
    """Who is told that a run failed.

    Both get JSON: catalog, job, run_id, url, message (for people, several lines), checks (the
    failed ones, each with asset, check, description) and rejected (where the accepted share
    failed: by table the most frequent reasons, each with reason and rows).
    """

    command: tuple[str, ...] | None = Field(
        default=None, description="a program and its arguments, which reads JSON from its input"
    )
    webhook: str | None = Field(
        default=None, description="an address that JSON is posted to, such as `${ALERT_WEBHOOK}`"
    )
    ui: str = Field(
        default="http://127.0.0.1:3000",
        description="where people find the Dagster UI; a message has the run's page there",
    )


class LiveSettings(Settings):
    """Where interactions go that `recsys serve` is told of."""

    folder: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="where they land, as JSON lines in the source's own columns, and are read "
        "beside the source; the source's own folder where it is one",
    )
    file_seconds: Annotated[float, Field(ge=1, le=86_400)] = Field(
        default=60, description="a file grows so long, unseen, before a refresh can read it"
    )


class KeepSettings(Settings):
    """How much of the past is kept; the job `clean_up` removes the rest once a day."""

    snapshots: Annotated[int, Field(ge=1)] = Field(
        default=10, description="snapshots, the current one included"
    )
    run_days: Annotated[float, Field(gt=0, le=MAX_DAYS)] = Field(
        default=30, description="days that finished runs and their logs stay"
    )
    encoder_days: Annotated[float, Field(gt=0, le=MAX_DAYS)] = Field(
        default=30, description="days that vectors of texts or encoders out of use stay"
    )
