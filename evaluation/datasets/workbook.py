"""Reading Excel workbooks, with the optional package fastexcel."""

from pathlib import Path
from typing import Any

import polars as pl

from evaluation.errors import DatasetError, DatasetFormatError

__all__ = ["read_sheet"]


def read_sheet(path: Path, *, skip_rows: int = 0, n_rows: int | None = None, as_text: bool = False) -> pl.DataFrame:
    """Read the first sheet of a workbook, without taking any row for a header.

    Parameters
    ----------
    path : Path
        The `.xlsx` file.
    skip_rows : int
        Rows to leave out at the top.
    n_rows : int or None
        How many rows to read.
    as_text : bool
        Whether every cell is read as text; otherwise a column that holds only numbers is read as numbers, whatever row
        they begin in.

    Returns
    -------
    polars.DataFrame
        Its columns have no names that mean anything.

    Raises
    ------
    DatasetError
        The package is not installed.
    DatasetFormatError
        The file is no workbook, or is cut short.
    """
    try:
        import fastexcel  # noqa: PLC0415 - an optional package: only workbooks need it
    except ImportError as error:
        raise DatasetError(
            f"{path}: reading Excel files needs the extra xlsx: pip install 'tsad-service[xlsx]'. "
            f"Or save the sheet as CSV beside it"
        ) from error
    options: dict[str, Any] = {"dtypes": "string"} if as_text else {"schema_sample_rows": None}
    try:
        book = fastexcel.read_excel(path)
        sheet = book.load_sheet(0, header_row=None, skip_rows=skip_rows, n_rows=n_rows, **options)
        table: pl.DataFrame = sheet.to_polars()
    except (fastexcel.FastExcelError, OSError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DatasetFormatError(f"{path}: no workbook, or cut short ({first}); fetch it again") from error
    return table
