"""Blocks of corpus batches in order, made ahead by worker processes where one process would be too slow."""

import multiprocessing
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from tsad.foundation.corpus import CorpusBatch, CorpusSettings, corpus_batch

__all__ = ["BLOCK", "corpus_blocks"]

BLOCK = 32
"""Corpus batches that are held and shuffled together."""
_AHEAD = 2
"""Blocks that are made ahead."""
Recorded = Sequence[npt.NDArray[np.float64]]

_made_from: tuple[CorpusSettings, int, Recorded]


def corpus_blocks(
    settings: CorpusSettings, seed: int, blocks: range, recorded: Recorded = (), workers: int = 0
) -> Generator[list[CorpusBatch]]:
    """Blocks of 32 batches, one after the other; the same whoever makes them.

    Parameters
    ----------
    settings, seed, recorded
        As `corpus_batch` takes them.
    blocks
        Which.
    workers
        Processes that make batches ahead; none makes them here, when they are asked for.
    """
    numbers = range(blocks.start * BLOCK, blocks.stop * BLOCK)
    if not workers:
        for block in blocks:
            yield [corpus_batch(settings, seed, block * BLOCK + i, recorded) for i in range(BLOCK)]
        return
    # Forked processes would share torch's threads and the GPU's context, which neither survives.
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(settings, seed, recorded)
    )
    waiting: deque[Future[CorpusBatch]] = deque()
    try:
        following = iter(numbers)
        for _ in blocks:
            while len(waiting) < _AHEAD * BLOCK and (number := next(following, None)) is not None:
                waiting.append(pool.submit(_make, number))
            yield [waiting.popleft().result() for _ in range(BLOCK)]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(settings: CorpusSettings, seed: int, recorded: Recorded) -> None:
    """Keep in this process what all its batches are made from."""
    global _made_from  # noqa: PLW0603 - a worker is told once, not with every batch
    _made_from = (settings, seed, recorded)
    threadpool_limits(1)


def _make(number: int) -> CorpusBatch:
    settings, seed, recorded = _made_from
    return corpus_batch(settings, seed, number, recorded)
