"""SPSS, Stata and SAS files by pyreadstat; `isolated` calls this in a process of its own."""

import codecs
from collections.abc import Callable, Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valuestrata.study.survey import AUTO
from valuestrata.survey.table import ColumnLabels, ReadOptions, Source

if TYPE_CHECKING:
    import pandas as pd

CATALOG = ".sas7bcat"
"""Suffix of the file in which SAS keeps value labels: of the data's name, or formats.sas7bcat."""


def open_spss(path: Path, options: ReadOptions) -> Source:
    """A .sav or .zsav file. Codes declared missing are read, as a study may recode them."""
    import pyreadstat

    return _File(path, pyreadstat.read_sav, options, {"user_missing": True})


def open_portable(path: Path, options: ReadOptions) -> Source:
    """A .por file; its format has one encoding."""
    import pyreadstat

    return _File(path, pyreadstat.read_por, options, {}, has_encoding=False)


def open_stata(path: Path, options: ReadOptions) -> Source:
    """A .dta file. Its missing codes, .a to .z, are no codes: they are read as blank."""
    import pyreadstat

    return _File(path, pyreadstat.read_dta, options, {})


def open_sas(path: Path, options: ReadOptions) -> Source:
    """A .sas7bdat file, with the value labels of a catalogue beside it."""
    import pyreadstat

    source = _File(path, pyreadstat.read_sas7bdat, options, {})
    catalogs = (path.with_suffix(CATALOG), path.with_name("formats" + CATALOG))
    catalog = next((file for file in catalogs if file.is_file()), None)
    if catalog:
        _, meta = pyreadstat.read_sas7bcat(catalog)
        source.add_formats(meta.value_labels)
    return source


def open_transport(path: Path, options: ReadOptions) -> Source:
    """A .xpt file; it has no value labels."""
    import pyreadstat

    return _File(path, pyreadstat.read_xport, options, {})


class _File(Source):
    """Calls pyreadstat; turns to cp1252 for good once the declared encoding fails."""

    def __init__(
        self,
        path: Path,
        function: Callable[..., Any],
        options: ReadOptions,
        keywords: dict[str, Any],
        has_encoding: bool = True,
    ) -> None:
        super().__init__()
        self.path, self.function, self.keywords = path, function, keywords
        self.has_encoding = has_encoding
        # by the standard's name, which the library knows under more spellings than Python's own
        is_named = options.encoding != AUTO
        self.encoding = codecs.lookup(options.encoding).name if is_named else None
        _, meta = self._read(metadataonly=True)
        self.meta = meta
        self.headers = tuple(str(name or "") for name in meta.column_names)
        self.labels = _labels(meta, meta.variable_value_labels)

    def add_formats(self, formats: dict[str, dict[Any, Any]]) -> None:
        """Labels by the name of a variable's format, which SAS writes in any case."""
        by_name = {name.upper(): codes for name, codes in formats.items()}
        codes = {
            variable: by_name.get(str(name).upper(), {})
            for variable, name in self.meta.variable_to_label.items()
        }
        self.labels = _labels(self.meta, codes)

    def rows(self, where: Sequence[int], start: int, count: int) -> "pd.DataFrame":
        names = [self.headers[position] for position in where]
        part, _ = self._read(usecols=names, row_offset=start, row_limit=count)
        return part[names].set_axis(list(where), axis=1)

    def _read(self, **options: Any) -> Any:
        options = {**self.keywords, "disable_datetime_conversion": True, **options}
        if not self.has_encoding:
            return self.function(self.path, **options)
        try:
            return self.function(self.path, encoding=self.encoding, **options)
        except Exception as error:
            is_encoding = isinstance(error, UnicodeDecodeError) or "encoding" in str(error)
            if self.encoding or not is_encoding:
                raise
            self.encoding = "WINDOWS-1252"
            answer = self.function(self.path, encoding=self.encoding, **options)
            self.notices.append(
                "the text is not in the encoding that the file declares; read as cp1252 (Windows "
                "Latin-1): if letters look wrong, name the encoding as survey.encoding"
            )
            return answer


def _labels(meta: Any, codes: dict[str, dict[Any, Any]]) -> tuple[ColumnLabels, ...]:
    titles = meta.column_names_to_labels
    return tuple(
        ColumnLabels(
            title=titles.get(name) or "",
            codes={float(c): str(v) for c, v in codes.get(name, {}).items() if _is_number(c)},
            missing=tuple(
                (float(r["lo"]), float(r["hi"]))
                for r in meta.missing_ranges.get(name, [])
                if _is_number(r["lo"]) and _is_number(r["hi"])
            ),
        )
        for name in meta.column_names
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real)
