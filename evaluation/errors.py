"""The errors and warnings of metrics, data sets and backtests.

EvaluationError
├── InvalidInputError         labels, scores or a setting of a metric are wrong (also a ValueError)
├── UndefinedMetricError      the metric has no value for these labels and `on_undefined="raise"` (also a ValueError)
├── PublishedResultsError     tables of published results cannot be used (also a ValueError)
└── DatasetError              a data set cannot be used
    ├── DatasetNotFoundError  it is not where it was looked for (also a FileNotFoundError)
    ├── DatasetFormatError    it is there, but its content breaks a rule (also a ValueError)
    └── EventDatasetError     it holds events, and a numeric series was asked for (also a TypeError)

MetricWarning (a UserWarning)
├── UndefinedMetricWarning    the metric has no value for these labels; NaN was returned
└── FewDistinctScoresWarning  so many scores are tied that the metric flatters the detector
"""

__all__ = [
    "DatasetError",
    "DatasetFormatError",
    "DatasetNotFoundError",
    "EvaluationError",
    "EventDatasetError",
    "FewDistinctScoresWarning",
    "InvalidInputError",
    "MetricWarning",
    "PublishedResultsError",
    "UndefinedMetricError",
    "UndefinedMetricWarning",
]


class EvaluationError(Exception):
    """Base of every error that `evaluation` raises on purpose."""


class InvalidInputError(EvaluationError, ValueError):
    """Labels, scores, predictions or a setting handed to a metric are wrong."""


class UndefinedMetricError(EvaluationError, ValueError):
    """A metric has no value for these labels, and the caller asked for an error in that case."""


class DatasetError(EvaluationError):
    """A data set cannot be used."""


class DatasetNotFoundError(DatasetError, FileNotFoundError):
    """A data set or series is not there. The message says where it was looked for and how to get it."""


class DatasetFormatError(DatasetError, ValueError):
    """A data set is there, but its content breaks a rule. The message names file, column and row."""


class EventDatasetError(DatasetError, TypeError):
    """A data set of events was asked for as numeric series. The message says which call loads it."""


class MetricWarning(UserWarning):
    """Base of every warning that a metric gives."""


class UndefinedMetricWarning(MetricWarning):
    """A metric has no value for these labels or predictions; NaN (or the stated value) was returned."""


class FewDistinctScoresWarning(MetricWarning):
    """Most scores are tied, and the metric interpolates between them in the detector's favour."""


class PublishedResultsError(EvaluationError, ValueError):
    """Published results are missing, or a table of them breaks a rule. The message names file and column."""
