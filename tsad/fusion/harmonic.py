"""Several detectors, one verdict: p-values are combined first, and the combination is calibrated again."""

import numpy as np
import numpy.typing as npt

__all__ = ["PRIOR_CLUSTERS", "harmonic_score"]

PRIOR_CLUSTERS = 16.0
"""What the calibration of a harmonic score knows beforehand of its excess; see `EpisodeCalibrator.prior_clusters`.

That a tail was fitted to few rows is in the p-values already: they are predictive. To doubt their combination as much
again made two detectors blind after a short training part. docs/calibration.md has what other weights do.
"""


def harmonic_score(p_values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Negative logarithm of the harmonic mean of p-values.

    It keeps what a single detector sees (unlike Fisher's sum, which dilutes it) and what several see together. Its
    size under dependence is left to the calibration that follows.

    Source: D. J. Wilson, "The harmonic mean p-value for combining dependent tests", PNAS 116 (2019).

    Parameters
    ----------
    p_values
        float64[d, m], one row a detector; NaN where a detector cannot say.

    Returns
    -------
    float64[m]
        Higher is odder; NaN where no detector can say.

    Examples
    --------
    >>> round(float(np.exp(-harmonic_score(np.array([[0.5], [0.02], [0.3], [0.001]])))[0]), 8)
    0.00379027
    """
    known = ~np.isnan(p_values)
    inverse = np.zeros(p_values.shape[1])
    for row, there in zip(p_values, known, strict=True):  # summed in a fixed order
        inverse += np.where(there, 1.0 / np.where(there, row, 1.0), 0.0)
    count = known.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(count > 0, np.log(inverse / count), np.nan))
