"""Compare the parquet tables of two folders: compare_tables.py DIR_A DIR_B.

Every table must be in both, with the same columns and the same values after reading. Prints what
was compared and each difference; exits 1 on any, and where there was nothing to compare.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq


def difference(one: pd.DataFrame, other: pd.DataFrame) -> str | None:
    """What differs first between two tables, None if nothing."""
    try:
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    except AssertionError as error:
        return " ".join(str(error).split())[:300]
    return None


def compare(first: Path, second: Path) -> tuple[int, int, list[str]]:
    """Tables compared, rows compared, and a line for each difference."""
    names = [{p.relative_to(root) for p in root.rglob("*.parquet")} for root in (first, second)]
    lines = [f"{name}: only in {first}" for name in sorted(names[0] - names[1])]
    lines += [f"{name}: only in {second}" for name in sorted(names[1] - names[0])]
    rows = 0
    both = sorted(names[0] & names[1])
    for name in both:
        one, other = (pq.read_table(root / name).to_pandas() for root in (first, second))
        rows += len(one)
        found = difference(one, other)
        if found:
            lines.append(f"{name}: {found}")
    return len(both), rows, lines


def main() -> int:
    """Compare and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    options = parser.parse_args()
    tables, rows, lines = compare(options.first, options.second)
    print(f"compared {tables} tables, {rows} rows: {len(lines)} differ")
    for line in lines:
        print(f"  {line}")
    if not tables:
        print("nothing to compare", file=sys.stderr)
    return int(bool(lines) or not tables)


if __name__ == "__main__":
    sys.exit(main())
