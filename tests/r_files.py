"""R files for tests: data frames with factors and labelled vectors, serialised as R does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rdata
from rdata.conversion import to_r
from rdata.parser import RObject, RObjectType


@dataclass
class Vector:
    """A vector with attributes, such as haven's labelled ones."""

    values: Any
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Frame:
    """A data frame of vectors; `classes` as a tibble or data.table has them."""

    columns: Mapping[str, Vector]
    classes: tuple[str, ...] = ("tbl_df", "tbl", "data.frame")
    attributes: dict[str, Any] = field(default_factory=dict)


def named(codes: Mapping[int, str]) -> Vector:
    """A named numeric vector, as value labels are kept."""
    return Vector(np.array(list(codes), dtype=float), {"names": texts(*codes.values())})


def texts(*values: str | None) -> np.ndarray:
    return np.array(values, dtype=object) if None in values else np.array(values)


def labelled(values: Any, title: str, codes: Mapping[int, str], **more: Any) -> Vector:
    """A vector of haven's class."""
    attributes = {"label": title, "labels": named(codes), **more}
    classes = texts("haven_labelled", "vctrs_vctr", "double")
    return Vector(np.asarray(values, dtype=float), {**attributes, "class": classes})


def factor(values: list[str | None], levels: list[str], title: str = "") -> Vector:
    codes = np.array([levels.index(v) + 1 if v is not None else 0 for v in values], dtype=np.int32)
    masked = np.ma.array(codes, mask=[v is None for v in values])
    more = {"label": title} if title else {}
    return Vector(masked, {"levels": texts(*levels), "class": "factor", **more})


def _vector(vector: Vector, converter: Any) -> RObject:
    values = vector.values
    if isinstance(values, np.ma.MaskedArray) and not values.mask.any():
        values = values.data
    built = converter.convert_to_r_object(values)
    if vector.attributes:
        built.attributes = converter.convert_to_r_attributes(vector.attributes)
        built.info.attributes = True
        built.info.object = "class" in vector.attributes
    return built


def _frame(frame: Frame, converter: Any) -> RObject:
    columns = [_vector(vector, converter) for vector in frame.columns.values()]
    n = len(next(iter(frame.columns.values())).values)
    attributes = {
        "names": texts(*frame.columns),
        "class": texts(*frame.classes),
        "row.names": np.arange(1, n + 1, dtype=np.int32),
        **frame.attributes,
    }
    built = converter.convert_to_r_attributes(attributes)
    return to_r.build_r_object(RObjectType.VEC, value=columns, is_object=True, attributes=built)


CLASSES: Any = {**to_r.DEFAULT_CLASS_MAP, Vector: _vector, Frame: _frame}


def write_r(data: Any, path: Path, **options: Any) -> None:
    """Write an .rds file, or an .rda file of a mapping of names to data."""
    write = rdata.write_rds if path.suffix == ".rds" else rdata.write_rda
    write(path, data, constructor_dict=CLASSES, **options)


def plain_frame(frame: pd.DataFrame) -> Frame:
    """A pandas frame of texts and doubles."""
    columns = {}
    for name, series in frame.items():
        is_text = not pd.api.types.is_numeric_dtype(series.dtype)
        columns[str(name)] = Vector(texts(*series) if is_text else series.to_numpy(dtype=float))
    return Frame(columns, classes=("data.frame",))
