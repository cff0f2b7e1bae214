"""R files (.rds, .rda, .RData) by rdata; `isolated` calls this in a process of its own.

The parsed objects are walked here rather than converted by rdata, which drops the attributes of
labelled vectors (packages haven, labelled and foreign): titles, value labels, missing values.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valuestrata.errors import InputError
from valuestrata.study.survey import AUTO
from valuestrata.survey.table import ColumnLabels, ReadOptions, Source, cell

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

ATOMIC = ("LGL", "INT", "REAL", "STR")
"""Types of the vectors that can be a column."""
RObject = Any
"""rdata's RObject: info (type, gp), value, attributes, tag, referenced_object."""


def open_r(path: Path, options: ReadOptions) -> Source:
    """The data frame in a file, or the one that has most of the wanted columns.

    Raises:
        InputError: the file has no data frame, or several and the columns do not tell which.
    """
    import rdata

    parsed = rdata.parser.parse_file(path, extension=path.suffix.lower().replace("ta", ""))
    declared = parsed.extra.encoding or "utf-8"
    encoding = declared if options.encoding == AUTO else options.encoding
    frames = [_Frame(name, frame, encoding) for name, frame in _frames(parsed.object, "")]
    if not frames:
        raise InputError(
            "holds no data frame; save one in R: saveRDS(as.data.frame(x), 'survey.rds')"
        )
    counts = [options.count_wanted(frame.headers) for frame in frames]
    best = [frame for frame, n in zip(frames, counts, strict=True) if n == max(counts)]
    if len(best) > 1:
        names = ", ".join(repr(frame.name) for frame in best[:4])
        raise InputError(
            f"holds {len(frames)} data frames ({names}) and the columns do not tell which is "
            "meant; save that one alone with saveRDS"
        )
    return best[0]


def _frames(parsed: RObject, name: str) -> Iterator[tuple[str, RObject]]:
    """Name and object of each data frame in an object, in lists as well."""
    kind = _kind(parsed)
    if kind == "REF":
        yield from _frames(parsed.referenced_object, name)
    elif kind == "LIST":  # an .rda file is a pair list of what was saved
        for tag, value in _pairs(parsed):
            yield from _frames(value, tag)
    elif kind == "VEC":
        attributes = dict(_pairs(parsed.attributes))
        if "data.frame" in _texts(attributes.get("class")):
            yield name, parsed
        else:
            names = _texts(attributes.get("names")) or [""] * len(parsed.value)
            for inner, value in zip(names, parsed.value, strict=True):
                yield from _frames(value, str(inner))


class _Frame(Source):
    """A data frame: its atomic columns."""

    def __init__(self, name: str, frame: RObject, encoding: str) -> None:
        super().__init__()
        self.name, self.encoding = name, encoding
        attributes = dict(_pairs(frame.attributes))
        names = _texts(attributes.get("names"), encoding)
        titles = _texts(attributes.get("variable.labels"), encoding)  # of foreign::read.spss
        columns = [
            (str(header), vector, titles[i] if len(titles) == len(names) else "")
            for i, (header, vector) in enumerate(zip(names, frame.value, strict=True))
            if _kind(vector) in ATOMIC
        ]
        self.headers = tuple(header for header, _, _ in columns)
        self.labels = tuple(_labels(vector, str(title), encoding) for _, vector, title in columns)
        self.columns = [vector for _, vector, _ in columns]
        self.cells: dict[int, Any] = {}

    def rows(self, where: Sequence[int], start: int, count: int) -> "pd.DataFrame":
        import pandas as pd

        for position in where:
            if position not in self.cells:
                self.cells[position] = _cells(self.columns[position], self.encoding)
        part = {p: self.cells[p][start : start + count] for p in where}
        return pd.DataFrame(part, columns=list(where), dtype="string")


def _labels(vector: RObject, title: str, encoding: str) -> ColumnLabels:
    """A column's title, and its levels, or its labels and what it declares missing."""
    attributes = dict(_pairs(vector.attributes))
    title = " ".join(map(str, _texts(attributes.get("label"), encoding))) or title
    levels = _texts(attributes.get("levels"), encoding)
    if levels:
        return ColumnLabels(title=title, levels=tuple(map(str, levels)))
    named = attributes.get("labels") or attributes.get("value.labels")
    if named is None or _kind(vector) == "STR" or _kind(named) not in ("INT", "REAL", "STR"):
        return ColumnLabels(title=title)
    texts = _texts(dict(_pairs(named.attributes)).get("names"), encoding)
    codes = _numbers(named)
    ends = _numbers(attributes.get("na_range"))
    values = _numbers(attributes.get("na_values"))
    return ColumnLabels(
        title=title,
        codes={c: str(t) for c, t in zip(codes, texts, strict=False) if c == c},
        missing=(*((v, v) for v in values), *([(ends[0], ends[1])] if len(ends) == 2 else [])),
    )


def _cells(vector: RObject, encoding: str) -> "np.ndarray[Any, Any]":
    """[N] cells as text; what is NA is empty, the text "NA" is not."""
    import numpy as np

    if _kind(vector) == "STR":
        texts = _texts(vector, encoding)
        return np.array([text or "" for text in texts], dtype=object)
    attributes = dict(_pairs(vector.attributes))
    values = np.ma.getdata(vector.value)
    absent = np.ma.getmaskarray(vector.value)
    if "integer64" in _texts(attributes.get("class")):  # of bit64, whole numbers in doubles' bytes
        values = values.view(np.int64)
        absent = absent | (values == np.iinfo(np.int64).min)
    elif values.dtype.kind == "f":
        absent = absent | np.isnan(values)
    levels = _texts(attributes.get("levels"), encoding)
    distinct, place = np.unique(np.where(absent, values.dtype.type(0), values), return_inverse=True)
    shown = (
        [levels[int(v) - 1] or "" if levels else cell(v) for v in distinct] if len(values) else []
    )
    texts_of = np.array(shown, dtype=object)
    return np.where(absent, "", texts_of[place]) if len(values) else texts_of


def _pairs(pairs: RObject) -> Iterator[tuple[str, RObject]]:
    """Tag and value of each element of a pair list."""
    while pairs is not None and _kind(pairs) == "LIST":
        tag = pairs.tag
        while tag is not None and _kind(tag) == "REF":
            tag = tag.referenced_object
        yield ("" if tag is None else _text(tag.value, "utf-8") or ""), pairs.value[0]
        pairs = pairs.value[1]


def _texts(vector: RObject, encoding: str = "utf-8") -> list[str | None]:
    """The elements of a character vector, None for NA; none of anything else."""
    return [_text(item, encoding) for item in vector.value] if _kind(vector) == "STR" else []


def _text(characters: RObject, encoding: str) -> str | None:
    from rdata.conversion import convert_char

    text = convert_char(characters, default_encoding=encoding)
    return text.decode("cp1252", "replace") if isinstance(text, bytes) else text


def _numbers(vector: RObject) -> list[float]:
    """The elements of a numeric vector, or of a character vector that holds numbers."""
    import numpy as np

    if _kind(vector) in ("INT", "REAL"):
        return [float(v) for v in np.ma.filled(vector.value.astype(float), np.nan)]
    try:
        return [float(text) if text else np.nan for text in _texts(vector)]
    except ValueError:
        return []


def _kind(parsed: RObject) -> str:
    return "" if parsed is None else str(parsed.info.type.name)
