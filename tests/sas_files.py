"""SAS files for tests, written by the C library that pyreadstat reads them with."""

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyreadstat._readstat_writer as compiled

LIBRARY = ctypes.CDLL(compiled.__file__)
WRITER = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
TEXT, DOUBLE = 0, 5
for _name in ("writer_init", "add_variable", "add_label_set"):
    getattr(LIBRARY, f"readstat_{_name}").restype = ctypes.c_void_p


def _call(name: str, *arguments: Any) -> Any:
    result = getattr(LIBRARY, f"readstat_{name}")(*arguments)
    return ctypes.c_void_p(result) if result and result > 2**16 else result


class _Writer:
    """A file that is being written."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")
        self.callback = WRITER(self._take)  # kept, as C holds no reference
        self.handle = _call("writer_init")
        _call("set_data_writer", self.handle, self.callback)

    def _take(self, data: int, size: int, _: Any) -> int:
        return self.file.write(ctypes.string_at(data, size))

    def end(self) -> None:
        assert not _call("end_writing", self.handle)
        self.file.close()


def write_sas7bdat(
    columns: Mapping[str, Sequence[Any]],
    path: Path,
    titles: Mapping[str, str],
    formats: Mapping[str, str],
) -> None:
    """Write columns of texts or doubles; None and NaN are missing. Formats are names of labels."""
    writer = _Writer(path)
    variables = {}
    for name, values in columns.items():
        is_text = isinstance(values[0], str)
        kind, width = (TEXT, 32) if is_text else (DOUBLE, 8)
        variable = _call("add_variable", writer.handle, name.encode(), kind, ctypes.c_size_t(width))
        _call("variable_set_label", variable, titles.get(name, "").encode())
        if name in formats:
            _call("variable_set_format", variable, formats[name].encode())
        variables[name] = variable
    n = len(next(iter(columns.values())))
    assert not _call("begin_writing_sas7bdat", writer.handle, None, ctypes.c_long(n))
    for i in range(n):
        _call("begin_row", writer.handle)
        for name, values in columns.items():
            value = values[i]
            if isinstance(value, str):
                _call("insert_string_value", writer.handle, variables[name], value.encode())
            elif value is None or value != value:
                _call("insert_missing_value", writer.handle, variables[name])
            else:
                double = ctypes.c_double(value)
                _call("insert_double_value", writer.handle, variables[name], double)
        _call("end_row", writer.handle)
    writer.end()


def write_sas7bcat(labels: Mapping[str, Mapping[int, str]], path: Path) -> None:
    """Write value labels by the name of their format."""
    writer = _Writer(path)
    for name, codes in labels.items():
        label_set = _call("add_label_set", writer.handle, DOUBLE, name.encode())
        for code, label in codes.items():
            _call("label_double_value", label_set, ctypes.c_double(code), label.encode())
    assert not _call("begin_writing_sas7bcat", writer.handle, None)
    writer.end()
