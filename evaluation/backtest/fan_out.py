"""Cells spread over processes, threads or machines by joblib."""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, get_args

from joblib import Parallel, delayed, parallel_config

from evaluation.backtest.cell import Cell, CellResult, one_thread, run_cell
from evaluation.datasets.schema import LabelledSeries
from evaluation.errors import EvaluationError, InvalidInputError, MetricWarning

__all__ = ["BACKENDS", "Backend", "check_backend", "run_cells"]

Backend = Literal["loky", "threading", "ray", "dask"]
BACKENDS: tuple[str, ...] = get_args(Backend)

_EXTRAS = {"ray": "ray.util.joblib", "dask": "distributed"}
# Backends that hand results over one by one; the others get pieces, so that finished cells are kept.
_STREAMING = ("loky", "threading")


def check_backend(backend: str) -> None:
    """Make sure that a backend can be used.

    Raises
    ------
    InvalidInputError
        There is none of this name, or its package is not installed.
    """
    if backend not in BACKENDS:
        raise InvalidInputError(f"backend is {backend!r}; choose one of {', '.join(BACKENDS)}")
    module = _EXTRAS.get(backend)
    if module is not None and find_spec(module.partition(".")[0]) is None:
        raise InvalidInputError(f"backend {backend} is not installed: pip install 'tsad-service[{backend}]'")


def run_cells(
    tasks: Sequence[tuple[Cell, LabelledSeries]], *, jobs: int = 1, backend: Backend = "loky"
) -> Iterator[tuple[int, CellResult]]:
    """Run cells and hand over each result as soon as it is there.

    Results do not depend on `jobs` and `backend`: a cell knows nothing of the others, and numerical libraries keep to
    one thread in it.

    Parameters
    ----------
    tasks
        Cells with their series.
    jobs
        How many at a time.
    backend
        ``loky`` (processes here), ``threading``, ``ray`` or ``dask`` (many machines).

    Yields
    ------
    tuple of int and CellResult
        The number of the task, and what it gave.

    Raises
    ------
    InvalidInputError
        The backend cannot be used.
    EvaluationError
        A worker process died; what it had finished was handed over.
    """
    check_backend(backend)
    if not tasks:
        return
    try:
        yield from _results(tasks, jobs, backend)
    except BrokenProcessPool as error:
        raise EvaluationError(
            f"a worker process died, most likely for lack of memory ({str(error).splitlines()[0]}); finished cells are "
            f"kept in --out, so run again with fewer --jobs",
        ) from error


def _results(
    tasks: Sequence[tuple[Cell, LabelledSeries]], jobs: int, backend: Backend
) -> Iterator[tuple[int, CellResult]]:
    with _cluster(backend, jobs), one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)
        with parallel_config(backend=backend, n_jobs=jobs):
            if backend in _STREAMING:
                # Arrays are copied, not mapped: kernels are compiled for writable ones.
                yield from Parallel(return_as="generator_unordered", max_nbytes=None)(_calls(tasks, 0))
                return
            piece = 4 * max(jobs, 1)
            for start in range(0, len(tasks), piece):
                yield from Parallel()(_calls(tasks[start : start + piece], start))


def _calls(tasks: Sequence[tuple[Cell, LabelledSeries]], first: int) -> Iterator[Any]:
    return (delayed(_numbered)(first + number, cell, series) for number, (cell, series) in enumerate(tasks))


def _numbered(number: int, cell: Cell, series: LabelledSeries) -> tuple[int, CellResult]:
    return number, run_cell(cell, series)


@contextmanager
def _cluster(backend: Backend, jobs: int) -> Iterator[None]:
    """Have the cluster that a backend needs; an address in RAY_ADDRESS or DASK_SCHEDULER_ADDRESS is joined."""
    if backend == "ray":
        import_module("ray.util.joblib").register_ray()
        yield
    elif backend == "dask":
        distributed = import_module("distributed")
        address = import_module("dask").config.get("scheduler-address", None)
        client = distributed.Client(address) if address else distributed.Client(n_workers=jobs, threads_per_worker=1)
        with client:
            yield
    else:
        yield
