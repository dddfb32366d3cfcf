"""Exporting the dense similarity matrix of a small catalog."""

from pathlib import Path

import pandas as pd

from recsys_dagster.catalog.settings import Catalog
from recsys_dagster.errors import UserError
from recsys_dagster.home import warehouse_folder
from recsys_dagster.resources.embedding_store import vectors_from_arrow
from recsys_dagster.resources.warehouse import Warehouse
from recsys_dagster.steps.similarity.every_pair import pairwise
from recsys_dagster.steps.similarity.space import Space
from recsys_dagster.writing import whole_file

MAX_CELLS = 50_000_000
"""200 MB of float32; larger matrices are what the similarity_matrix table is for."""


def export_dense_matrix(catalog: Catalog, out: Path) -> tuple[int, int]:
    """Write every user-item similarity: a column user_id, then a column an item.

    Returns:
        the numbers of users and items.

    Raises:
        UserError: nothing was materialised, the matrix is too large, or the file's ending is
            unknown, its folder missing, or it could not be written.
    """
    writers = {".parquet": pd.DataFrame.to_parquet, ".csv": pd.DataFrame.to_csv}
    if out.suffix not in writers:
        raise UserError(f"{out}: expected a file ending in {' or '.join(writers)}.")
    if not out.parent.is_dir():
        raise UserError(f"{out}: the folder {out.parent} does not exist.")
    warehouse = Warehouse(folder=str(warehouse_folder()))
    users = warehouse.read(catalog.name, "user_embeddings")
    items = warehouse.read(catalog.name, "item_embeddings")
    cells = users.num_rows * items.num_rows
    if cells > MAX_CELLS:
        raise UserError(
            f"{catalog.name}: {users.num_rows:,} users × {items.num_rows:,} items are {cells:,} "
            f"cells, more than the {MAX_CELLS:,} a dense file may have. The table "
            "similarity_matrix holds the nearest items of every user."
        )
    item_vectors = vectors_from_arrow(items["embedding"])
    space = Space.of(item_vectors, catalog.similarity, catalog.centre)
    matrix = pairwise(
        space.project(vectors_from_arrow(users["embedding"])),
        space.project(item_vectors),
        catalog.similarity,
    )
    frame = pd.DataFrame(matrix, columns=items["item_id"].to_pylist())
    frame.insert(0, "user_id", users["user_id"].to_pylist(), allow_duplicates=True)
    with whole_file(out) as hidden:
        writers[out.suffix](frame, hidden, index=False)
    return len(frame), items.num_rows
