"""Small labelled series for hypothesis."""

import numpy as np
from hypothesis import strategies as st


@st.composite
def labelled_scores(draw, max_size=24, *, both=False, levels=6):
    """Labels with at least one anomaly (and one normal step if `both`), scores from few levels so that ties occur."""
    size = draw(st.integers(2, max_size))
    labels = draw(
        st.lists(st.integers(0, 1), min_size=size, max_size=size).filter(lambda y: any(y) and (not both or not all(y)))
    )
    scores = draw(st.lists(st.integers(0, levels), min_size=size, max_size=size))
    return np.array(labels), np.array(scores, dtype=float)
