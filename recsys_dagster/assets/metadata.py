"""What people see of an asset in the Dagster UI: previews and plots. Never a user id.

The UI shows numbers, text and tables wherever it shows metadata. Markdown of 1,000 characters or
more, as every picture is, it shows only after a click; in checks and logs any Markdown. So what
people look for is a short text or a table, and comes first: an asset's entries stay in the order
given, of which the log of a run shows the first few lines. Those of a check are ordered by name.
Entries are as wide as the longest word of any: a hash or a line of JSON pushes all off the page.
"""

import base64
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa

from recsys_dagster.catalog.settings import Catalog

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, ACCENT, MUTED = "#1f2937", "#4f43dd", "#9ca3af"
PLOT_BINS, LINE_BINS = 40, 12
PLOTTED = 3_000
GROUP_COLOURS = ("C0", "C1", "C2", "C3", "C4", "C5", "C6", "C8")
"""Of a picture of groups; C7 is grey."""
BLOCKS = "▁▂▃▄▅▆▇█"
CELL_LENGTH, TITLE_LENGTH, GROUP_LENGTH = 100, 48, 24
FINGERPRINT_LENGTH = 12
"""Characters that are shown beside lists; the table of vectors has it whole."""
LIST_ROWS, REASONS, REASON_ROWS = 5, 2, 5
PERSONAL = ("user_id",)
STAGE = "recsys/stage"
"""Tag of an asset: where in the flow it is, the same in every catalog."""
ENCODER, FINGERPRINT = "encoder", "encoder_fingerprint"
"""What is kept with a table of vectors, and shown of everything that rests on it."""
COLUMN_LINEAGE = "dagster/column_lineage"
DECIDE_LISTS = {
    "encoder": True,
    "users": {"vectors", "text_share", "half_life_days", "half_life_positions"},
    "similarity": True,
    "centre": True,
    "matrix_width": True,
    "neighbours": True,
    "max_exact_pairs": True,
    "strategy": True,
    "models": True,
    "list_length": True,
    "rules": {
        "categories",
        "without_categories",
        "max_per_category",
        "diversity",
        "freshness_boost",
        "freshness_half_life_days",
    },
}
"""Settings of the YAML that decide vectors and lists: none of them names a source or a file."""


def column_lineage(
    catalog: str, origins: Mapping[str, Iterable[str]]
) -> dict[str, dg.MetadataValue]:
    """What each column is made of, as the UI draws it.

    Args:
        catalog: whose tables they are.
        origins: column → `table.column` of each one it is made of.
    """
    return {
        COLUMN_LINEAGE: dg.MetadataValue.column_lineage(
            dg.TableColumnLineage(
                {
                    column: [
                        dg.TableColumnDep(dg.AssetKey([catalog, table]), name)
                        for table, _, name in (origin.partition(".") for origin in made_of)
                    ]
                    for column, made_of in origins.items()
                }
            )
        )
    }


def rests_on(catalog: Catalog, vectors: Mapping[str, str]) -> dict[str, dg.MetadataValue]:
    """What lists were made by: the encoder of the vectors, a link to them, and the settings.

    Args:
        catalog: whose lists.
        vectors: what is kept with the table `item_embeddings`.
    """
    return {
        "item_embeddings": dg.MetadataValue.asset(dg.AssetKey([catalog.name, "item_embeddings"])),
        ENCODER: dg.MetadataValue.text(vectors.get(ENCODER, "")),
        FINGERPRINT: dg.MetadataValue.text(vectors.get(FINGERPRINT, "")[:FINGERPRINT_LENGTH]),
        "settings": dg.MetadataValue.json(
            catalog.model_dump(mode="json", include=DECIDE_LISTS, exclude={"encoder": {"model"}})
        ),
    }


def preview(table: pd.DataFrame, rows: int = 8) -> dg.TableMetadataValue:
    """The first rows, without user ids: the UI shows tables everywhere without a click."""
    shown = table.drop(columns=[name for name in PERSONAL if name in table]).head(rows)
    types = {str(name): str(dtype) for name, dtype in shown.dtypes.items()}
    return dg.MetadataValue.table(
        [
            dg.TableRecord(dict(zip(types, map(_cell, row), strict=True)))
            for row in shown.itertuples(index=False, name=None)
        ],
        dg.TableSchema([dg.TableColumn(name, dtype) for name, dtype in types.items()]),
    )


def preview_as_html(shown: dg.TableMetadataValue) -> str:
    """What `preview` made, for a page."""

    def row(cells: Iterable[Any], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    head = row((column.name for column in shown.schema.columns), "th")
    return f"<table>{head}{''.join(row(one.data.values(), 'td') for one in shown.records)}</table>"


def _cell(value: Any) -> str:
    # Text also of numbers: a browser rounds large integers, and JSON has no NaN.
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    return _shortened(f"{value:.4g}" if isinstance(value, float) else str(value), CELL_LENGTH)


def _shortened(text: str, length: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def first_list(recommendations: pa.Table, items: pd.DataFrame) -> dg.TableMetadataValue:
    """The head of one user's list: titles, and of which items of the history they are because.

    Args:
        recommendations: columns user_id, item_id, rank and because, each user's rows together and
            in the order of their ranks.
        items: columns item_id and title.
    """
    titles = items.set_index("item_id")["title"]
    head = recommendations.select(["user_id", "item_id", "rank", "because"]).slice(0, LIST_ROWS)
    rows = [row for row in head.to_pylist() if row["user_id"] == head["user_id"][0].as_py()]

    def title(item_id: str) -> str:
        return _shortened(str(titles.get(item_id, item_id)), TITLE_LENGTH)

    shown = [
        {
            "#": row["rank"],
            "title": title(row["item_id"]),
            "because of": ", ".join(
                f"{title(reason['item_id'])} {reason['share']:.0%}"
                for reason in row["because"][:REASONS]
            ),
        }
        for row in rows
    ]
    return preview(pd.DataFrame(shown, columns=["#", "title", "because of"]), LIST_ROWS)


def rejected_because(rejected: pd.DataFrame) -> dict[str, dg.MetadataValue]:
    """The most frequent reasons why rows were rejected and the count of each; empty where none was.

    Args:
        rejected: column reason.
    """
    counts = rejected["reason"].value_counts()
    shown = pd.DataFrame({"rows": counts.to_numpy(), "reason": counts.index})
    return {"rejected_because": preview(shown, REASON_ROWS)} if len(shown) else {}


def counted(counts: Mapping[str, float]) -> str:
    """How much there is of each name in one line, the largest first."""
    ordered = sorted(counts.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{count:,.0f} {name}" for name, count in ordered if count) or "nothing"


def distribution(values: np.ndarray | pd.Series, *, log: bool = False) -> str:
    """How often which value occurs, in one line: from the least to the largest, and the median.

    Args:
        values: one dimension; what is not finite is left out.
        log: space bins by powers of ten, and leave out what is not positive.
    """
    numbers = _drawn(values, log)
    if not len(numbers):
        return "no values"
    counts, _ = np.histogram(numbers, bins=_bins(numbers, LINE_BINS, log))
    # What occurs at all stands out from what does not.
    heights = np.where(counts, np.ceil(counts / counts.max() * (len(BLOCKS) - 1)), 0).astype(int)
    blocks = "".join(BLOCKS[height] for height in heights)
    least, most, median = map(_number, (numbers.min(), numbers.max(), np.median(numbers)))
    return f"{least} {blocks} {most}{' (log)' if log else ''}, median {median}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def _drawn(values: np.ndarray | pd.Series, log: bool) -> np.ndarray:
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    return numbers[numbers > 0] if log else numbers


def _bins(numbers: np.ndarray, bins: int, log: bool) -> int | list[float]:
    if not log or not len(numbers):
        return bins
    least, most = numbers.min(), max(numbers.max(), numbers.min() * 1.01)
    edges = np.geomspace(least, most, bins + 1)
    edges[[0, -1]] = least, most  # rounded, the ends would leave values out
    return edges.tolist()


def histogram(
    values: np.ndarray | pd.Series, title: str, x_label: str, y_label: str, *, log: bool = False
) -> dg.MarkdownMetadataValue:
    """How often which value occurs; `log` spaces bins and axis by powers of ten."""
    figure, axes = _canvas(title, x_label, y_label)
    numbers = _drawn(values, log)
    if log and len(numbers):
        axes.set_xscale("log")
    axes.hist(numbers, bins=_bins(numbers, PLOT_BINS, log), color=ACCENT)
    return _picture(figure, title)


def bars(counts: Mapping[str, float], title: str, x_label: str) -> dg.MarkdownMetadataValue:
    """One horizontal bar a name, in the order given."""
    figure, axes = _canvas(title, x_label, "")
    names = list(counts)[::-1]
    drawn = axes.barh(names, [counts[name] for name in names], color=ACCENT)
    axes.bar_label(drawn, fmt="{:,.0f}", padding=3, color=INK, fontsize=8)
    axes.margins(x=0.15)
    return _picture(figure, title)


def curve(y: np.ndarray, title: str, x_label: str, y_label: str) -> dg.MarkdownMetadataValue:
    """A line over 1, 2, …, len(y)."""
    figure, axes = _canvas(title, x_label, y_label)
    axes.plot(np.arange(1, len(y) + 1), y, color=ACCENT, linewidth=2)
    axes.set_ylim(bottom=0)
    return _picture(figure, title)


def learning_curve(curve: np.ndarray) -> dg.MarkdownMetadataValue:
    """How a training went.

    Args:
        curve: float64 (validations × 3): batches, loss and NDCG@20 of what was hidden.
    """
    figure, axes = _canvas("loss, and NDCG@20 of what is hidden (thick)", "batches", "loss")
    axes.plot(curve[:, 0], curve[:, 1], color=MUTED)
    if np.isfinite(curve[:, 2]).any():
        ndcg = axes.twinx()
        ndcg.plot(curve[:, 0], curve[:, 2], color=ACCENT, linewidth=2, marker="o", markersize=3)
        ndcg.axvline(curve[np.nanargmax(curve[:, 2]), 0], color=ACCENT, linewidth=0.5)
        ndcg.set_ylabel("NDCG@20", fontsize=8, color=ACCENT)
        ndcg.tick_params(labelsize=8, colors=ACCENT)
        ndcg.spines[["top", "right"]].set_visible(False)
    return _picture(figure, "learning curve")


def named_curves(
    lines: Mapping[str, Sequence[float] | np.ndarray], title: str, x_label: str, y_label: str
) -> dg.MarkdownMetadataValue:
    """A line a name over 1, 2, …; NaN is a gap."""
    figure, axes = _canvas(title, x_label, y_label)
    for name, y in lines.items():
        axes.plot(np.arange(1, len(y) + 1), y, marker="o", markersize=3, label=name)
    axes.legend(fontsize=7, frameon=False)
    axes.locator_params(axis="x", integer=True)
    return _picture(figure, title)


def plane(
    points: np.ndarray, colours: Sequence[float], title: str, colour_label: str
) -> dg.MarkdownMetadataValue:
    """Vectors on their two principal axes, coloured by a value.

    Args:
        points: float (n × d).
        colours: n values.
        title: of the picture.
        colour_label: what the colours say.
    """
    from sklearn.decomposition import PCA

    figure, axes = _canvas(title, "", "")
    flat = PCA(n_components=2, random_state=0).fit_transform(points) if len(points) > 2 else points
    drawn = axes.scatter(flat[:, 0], flat[:, 1], c=colours, s=5, cmap="viridis", linewidths=0)
    bar = figure.colorbar(drawn, ax=axes)
    bar.set_label(colour_label, fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7)
    axes.set_axis_off()
    return _picture(figure, title)


def grouped_points(
    points: np.ndarray, groups: Sequence[str | None], title: str
) -> dg.MarkdownMetadataValue:
    """Points on a plane, in colours by group: the largest have one each, all others are grey.

    Args:
        points: float (n × 2).
        groups: n names; None is of no group.
        title: of the picture.
    """
    figure, axes = _canvas(title, "", "")
    axes.set_axis_off()
    axes.set_aspect("equal", "datalim")
    named = pd.Series(groups, dtype="str")
    largest = named.value_counts().index[: len(GROUP_COLOURS)]
    axes.scatter(*points[~named.isin(largest).to_numpy()].T, c=MUTED, s=5, linewidths=0)
    drawn = [
        axes.scatter(*points[(named == name).to_numpy()].T, c=colour, s=5, linewidths=0)
        for name, colour in zip(largest, GROUP_COLOURS, strict=False)
    ]
    # A dollar sign would begin a formula.
    names = [_shortened(name, GROUP_LENGTH).replace("$", r"\$") for name in largest]
    figure.legend(
        drawn, names, loc="outside right center", fontsize=7, frameon=False, markerscale=2
    )
    return _picture(figure, title)


def sampled(n: int) -> np.ndarray:
    """The places of as many of n as a picture of points shows, drawn by chance, in their order."""
    return np.sort(np.random.default_rng(0).permutation(n)[:PLOTTED])


def intervals(
    figures: Mapping[str, tuple[float, float, float]], title: str, x_label: str
) -> dg.MarkdownMetadataValue:
    """A point a name with its interval, in the order given.

    Args:
        figures: value, low and high of each name.
        title: of the picture.
        x_label: what the values are.
    """
    figure, axes = _canvas(title, x_label, "")
    names = list(figures)[::-1]
    value, low, high = np.array([figures[name] for name in names], dtype=np.float64).T
    axes.errorbar(value, names, xerr=(value - low, high - value), fmt="o", color=ACCENT, capsize=3)
    axes.set_xlim(left=0)
    axes.margins(y=0.15)
    return _picture(figure, title)


def named_points(
    points: Mapping[str, tuple[float, float]], title: str, x_label: str, y_label: str
) -> dg.MarkdownMetadataValue:
    """A point a name on a plane, with its name beside it."""
    figure, axes = _canvas(title, x_label, y_label)
    for name, (x, y) in points.items():
        axes.scatter([x], [y], color=ACCENT)
        axes.annotate(name, (x, y), xytext=(5, 3), textcoords="offset points", fontsize=8)
    axes.margins(0.2)
    return _picture(figure, title)


def grouped_bars(
    groups: Mapping[str, Mapping[str, float]], title: str, y_label: str
) -> dg.MarkdownMetadataValue:
    """Bars side by side: a group a name, in each a bar of every inner name."""
    figure, axes = _canvas(title, "", y_label)
    names = list(next(iter(groups.values()), {}))
    width = 0.8 / max(1, len(names))
    for place, name in enumerate(names):
        heights = [group[name] for group in groups.values()]
        axes.bar(np.arange(len(groups)) + place * width, heights, width, label=name)
    axes.set_xticks(np.arange(len(groups)) + 0.4 - width / 2, list(groups))
    axes.legend(fontsize=7, frameon=False)
    return _picture(figure, title)


def _canvas(title: str, x_label: str, y_label: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 2.8), dpi=90, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(x_label, fontsize=8, color=INK)
    axes.set_ylabel(y_label, fontsize=8, color=INK)
    axes.tick_params(labelsize=8, colors=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    return figure, axes


def _picture(figure: "Figure", title: str) -> dg.MarkdownMetadataValue:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # Names in a script that the font does not have are boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(stream, format="png")
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{data})")
