"""One style for every picture. Figures are objects: no pyplot, no global state."""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

DPI = 150
TITLE, TEXT, SMALL = 13, 10, 8.5
CLEAN, ATTACKED, ADDED, MUTED = "#20639b", "#d1495b", "#6a4c93", "#5f6b7a"
SPECTRUM = "magma"


def new_figure(width: float, height: float, title: str) -> Figure:
    """An empty figure of so many inches with its title."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=TITLE, fontweight="bold")
    return figure


def grid(figure: Figure, rows: int, columns: int) -> npt.NDArray[np.object_]:
    """Axes (rows, columns) without ticks or frames."""
    axes = np.asarray(figure.subplots(rows, columns, squeeze=False))
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set_visible(False)
    return axes


def show_image(ax: Axes, image: Tensor, caption: str = "", color: str = "black") -> None:
    """An RGB image (3, H, W) in [0, 1] with a caption below."""
    ax.imshow(image.permute(1, 2, 0).cpu().numpy(), interpolation="nearest")
    ax.set_xlabel(caption, fontsize=SMALL, color=color)


def plain(ax: Axes, x: str, y: str) -> None:
    """Labels and a light grid for a plot."""
    ax.set_xlabel(x, fontsize=TEXT)
    ax.set_ylabel(y, fontsize=TEXT)
    ax.tick_params(labelsize=SMALL)
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def spectra_table(
    figure: Figure, columns: Sequence[tuple[str, Tensor]], rows: Sequence[str], shared: int, label: str
) -> None:
    """Spectra as pictures: each column (title, (rows, H, W)); the first ``shared`` columns have one colour scale."""
    axes = grid(figure, len(rows), len(columns))
    # The layout engine does not see the labels of axes that share a colour bar.
    figure.get_layout_engine().set(rect=(0.025, 0, 0.975, 1))  # type: ignore[union-attr, call-arg]
    groups = [range(shared), *([i] for i in range(shared, len(columns)))]
    for group in groups:
        values = [columns[i][1].float().cpu() for i in group]
        low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
        for i, value in zip(group, values, strict=True):
            for r, row in enumerate(rows):
                picture = axes[r, i].imshow(value[r].numpy(), cmap=SPECTRUM, vmin=low, vmax=high)
                if i == 0:
                    axes[r, i].set_ylabel(row, fontsize=TEXT)
            axes[0, i].set_title(columns[i][0], fontsize=TEXT)
        bar = figure.colorbar(picture, ax=axes[:, list(group)].ravel().tolist(), shrink=0.85, pad=0.02, aspect=30)
        bar.ax.tick_params(labelsize=SMALL)
        bar.set_label(label, fontsize=SMALL)


def png_bytes(figure: Figure) -> bytes:
    """A figure as a PNG file; one made again gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
