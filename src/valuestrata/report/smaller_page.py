"""The page as an export of large cells alone may show it. Pure."""

import re
from collections.abc import Mapping

from markupsafe import escape

from valuestrata.report.display import hidden_groups, sizes_line
from valuestrata.report.explorer import without_small
from valuestrata.report.samples import MIN_N, small_cells

ROW = re.compile(r'<tr data-people="(\d+)">.*?</tr>\n?', re.DOTALL)
EXPLORER_NOTE = re.compile(r'(<span id="hidden-pairs">)[^<]*(</span>)')


def smaller_page(page: str, groups: Mapping[str, Mapping[str, int]], min_n: int) -> str:
    """A page that says nothing of cells below a minimum that is larger than the report's own.

    Args:
        page: the report's page.
        groups: respondents by axis and group, as the survey's summary has them.
        min_n: fewest valid answers and respondents of what is shown.

    Returns:
        the page without smaller pairs, texts written for them and sizes of smaller groups; it names
        this minimum where it named its own.
    """
    page = without_small(page, min_n)
    if min_n <= MIN_N:
        return page
    page = ROW.sub(lambda row: row[0] if int(row[1]) >= min_n else "", page)
    hidden = f" Hidden: pairs of fewer respondents or valid answers than {min_n:,}."
    page = EXPLORER_NOTE.sub(rf"\1{hidden}\2", page)
    for sentence in (small_cells, hidden_groups):
        page = page.replace(sentence(MIN_N), sentence(min_n))
    for sizes in groups.values():
        before, after = (str(escape(sizes_line(sizes, n))) for n in (MIN_N, min_n))
        if before != after:
            note = f"<small>{hidden_groups(min_n)}</small>"
            page = page.replace(f"<td>{before}</td>", f"<td>{after}{note}</td>")
    return page
