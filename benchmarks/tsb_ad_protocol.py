"""Are our files, our metric and our protocol those of TSB-AD?

Its own Sub-PCA and PCA, from their definition, against the published value of every file that is there.

Both are the classical score of M.-L. Shyu et al., "A Novel Anomaly Detection Scheme Based on Principal Component
Classifier", ICDM workshops 2003, as PyOD computes it: windows of the whole file as points (single rows for PCA),
columns standardised, distances to the unit vectors of the components, each divided by the share of variance that the
component explains.
They are yardsticks for the protocol, not detectors of this project: its ``sub-pca`` is another algorithm.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from rich.console import Console
from rich.table import Table

from evaluation.datasets.location import data_directory
from evaluation.datasets.registry import load_dataset
from evaluation.metrics.vus import autocorrelation_period, vus_pr
from evaluation.published.read import read_published

WINDOW_OF_PCA = 1
EXPLAINED_BY_PCA = 0.25
TOLERANCE = 0.05


def principal_component_classifier(values: np.ndarray, window: int, explained: float | None) -> np.ndarray:
    """Score of every row: that of the window around it, the ends repeated.

    Parameters
    ----------
    values
        float64[t, c].
    window
        Rows of a window.
    explained
        Share of variance that the components used hold; None uses all.
    """
    windows = sliding_window_view(values, window, axis=0).reshape(len(values) - window + 1, -1)
    deviation = windows.std(axis=0)
    x = (windows - windows.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    # The smaller of the two Gram matrices has the same eigenvalues.
    if x.shape[0] < x.shape[1]:
        eigenvalues, left = np.linalg.eigh(x @ x.T)
        keep = eigenvalues > 1e-12 * eigenvalues[-1]
        eigenvalues, components = eigenvalues[keep], (x.T @ left[:, keep] / np.sqrt(eigenvalues[keep])).T
    else:
        eigenvalues, vectors = np.linalg.eigh(x.T @ x)
        components = vectors.T
    share = np.maximum(eigenvalues[::-1], 1e-300) / eigenvalues.sum()
    components = components[::-1]
    count = len(share) if explained is None else int(np.searchsorted(np.cumsum(share), explained)) + 1
    squares = (x**2).sum(axis=1)[:, None] - 2 * x @ components[:count].T + 1
    scores = (np.sqrt(np.maximum(squares, 0)) / share[:count]).sum(axis=1)
    front = -(-(window - 1) // 2)
    return np.concatenate([np.full(front, scores[0]), scores, np.full(len(values) - front - len(scores), scores[-1])])


def main() -> None:
    """Score every file, and print how far the values are from the published ones."""
    published = read_published(data_directory() / "tsb-ad" / "published_results")
    values = {(row["suite"], row["file"], row["detector"]): row["value"] for row in published.iter_rows(named=True)
              if row["metric"] == "vus_pr"}  # fmt: skip
    table = Table("suite", "algorithm", "source", "files", "ours", "published", "mean |difference|", "within 0.05")
    worst = Table("file", "ours", "published")
    for suite, algorithm, sources in (("U", "Sub-PCA", ("MSL", "SMAP", "NAB")), ("M", "PCA", ("MSL", "SMAP", "SMD"))):
        series = load_dataset(f"TSB-AD-{suite}")
        for source in sources:
            pairs = []
            for one in series:
                theirs = values.get((suite, one.name, algorithm))
                if theirs is None or one.name.split("_")[1] != source:
                    continue
                rows = one.values.astype(np.float64)
                period = autocorrelation_period(rows[:, 0])
                window, explained = (period, None) if suite == "U" else (WINDOW_OF_PCA, EXPLAINED_BY_PCA)
                ours = vus_pr(one.labels, principal_component_classifier(rows, window, explained), window=period)
                pairs.append((ours, theirs))
                if abs(ours - theirs) > TOLERANCE:
                    worst.add_row(one.name, f"{ours:.3f}", f"{theirs:.3f}")
            ours, theirs = np.array(pairs).T
            table.add_row(
                suite, algorithm, source, str(len(pairs)), f"{ours.mean():.3f}", f"{theirs.mean():.3f}",
                f"{np.abs(ours - theirs).mean():.3f}", f"{np.sum(np.abs(ours - theirs) <= TOLERANCE)}",
            )  # fmt: skip
    console = Console(width=120)
    console.print(table)
    console.print(worst)


if __name__ == "__main__":
    main()
