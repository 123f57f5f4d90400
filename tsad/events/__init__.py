"""Categorical events: who did what where, and which combinations are odd.

`EventVocabulary` turns columns of words into an `EventBatch` of whole numbers; an `EventDetector` from `registry`
learns which combinations are usual; `EventCalibration` turns its scores into p-values.
"""
