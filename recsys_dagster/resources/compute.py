"""Where blocks of work are done: in the run's own process, or on Ray."""

import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Self
from urllib.parse import urlsplit

import dagster as dg
from pydantic import Field, field_validator

from recsys_dagster.compute.blocks import Block, LocalCompute, Result, Shared
from recsys_dagster.compute.on_ray import MISSING, Actors, RayCompute
from recsys_dagster.errors import UserError
from recsys_dagster.resources.embedding_store import Encoder
from recsys_dagster.resources.encoder import SentenceEncoder
from recsys_dagster.resources.encoder_static import StaticEncoder
from recsys_dagster.resources.machine import available_bytes, memory_limit, usable_cores
from recsys_dagster.resources.ray_encoder import RayEncoder

COMPUTE = "RECSYS_COMPUTE"
LOCALLY, ON_RAY, RAY_ADDRESS = "local", "ray", "ray://"
OBJECT_STORE_SHARE = 0.3
"""Of the memory that a process of ours may take: what blocks share lies there."""
BYTES_OF_THREAD = 2**30
"""That must be free for each that does blocks here: several times what the largest take."""


class ComputeResource(dg.ConfigurableResource):
    """Where blocks of work are done, by all assets of a run."""

    where: str = Field(
        default=LOCALLY,
        description="local: in the run's own process. ray: on the cluster that RAY_ADDRESS names, "
        "else on a Ray that is started on this machine. ray://HOST:PORT: on that cluster",
    )
    cpus_per_block: float = Field(
        default=1.0,
        gt=0,
        description="CPUs that Ray gives to a worker that does blocks; the more, the fewer workers "
        "a node has, of which each may hold weights between items, half a GiB at most",
    )
    encoders: int | None = Field(
        default=None,
        gt=0,
        description="encoders at a time; as many as have room when the first text is encoded where "
        "left out: to be said where a cluster grows with its work",
    )
    cpus_per_encoder: float | None = Field(
        default=None,
        gt=0,
        description="CPUs that Ray gives to an encoder; all of the smallest node where left out",
    )
    gpus_per_encoder: float | None = Field(
        default=None,
        ge=0,
        description="GPUs that Ray gives to an encoder, .5 for two on each; one where left out "
        "and there are any",
    )

    @field_validator("where")
    @classmethod
    def _known(cls, where: str) -> str:
        if where in (LOCALLY, ON_RAY) or _is_address(where):
            return where
        raise ValueError(f"{where!r} is neither {LOCALLY} nor {ON_RAY} nor {RAY_ADDRESS}HOST:PORT")

    @classmethod
    def of_environment(cls) -> Self:
        """What `RECSYS_COMPUTE` says; local where it says nothing.

        Raises:
            UserError: it says something unknown, or Ray is not installed.
        """
        where = os.environ.get(COMPUTE, "").strip() or LOCALLY
        try:
            found = cls(where=where)
        except ValueError:
            raise UserError(
                f"{COMPUTE} is {where!r}: expected {LOCALLY}, {ON_RAY} or {RAY_ADDRESS}HOST:PORT"
            ) from None
        if where != LOCALLY and importlib.util.find_spec("ray") is None:
            raise UserError(MISSING)
        return found

    @property
    def in_words(self) -> str:
        """Where blocks are done, for metadata; nothing is started to say it."""
        return LOCALLY if self.where == LOCALLY else self._ray.place

    def map(
        self,
        function: Callable[[Shared, Block], Result],
        shared: Shared,
        blocks: Iterable[Block],
        what: str,
    ) -> Iterator[Result]:
        """See `Compute`."""
        executor = LocalCompute(free_threads()) if self.where == LOCALLY else self._ray
        return executor.map(function, shared, blocks, what)

    def encoder(self, encoder: SentenceEncoder | StaticEncoder) -> Encoder:
        """The encoder, encoding where blocks are done; a static model is quicker where it is."""
        if self.where == LOCALLY or isinstance(encoder, StaticEncoder):
            return encoder
        actors = Actors(self.encoders, self.cpus_per_encoder, self.gpus_per_encoder)
        return RayEncoder(encoder, self._ray, actors)

    @cached_property
    def _ray(self) -> RayCompute:
        limit = memory_limit()
        return RayCompute(
            None if self.where == ON_RAY else self.where,
            self.cpus_per_block,
            usable_cores(),
            None if limit is None else int(OBJECT_STORE_SHARE * limit),
            dg.get_dagster_logger().info,
        )


def _is_address(where: str) -> bool:
    """Whether it is ray://HOST or ray://HOST:PORT, and could be one."""
    try:
        found = urlsplit(where)
        return where.startswith(RAY_ADDRESS) and bool(found.hostname) and found.port != 0
    except ValueError:
        return False


def free_threads() -> int:
    """How many do blocks in this process: one a core, where memory lasts."""
    free = available_bytes()
    of_memory = usable_cores() if free is None else free // BYTES_OF_THREAD
    return max(1, min(usable_cores(), of_memory))
