"""What every part of a catalog's YAML is, that of a strategy too."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A part of the YAML: unknown keys are errors, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
