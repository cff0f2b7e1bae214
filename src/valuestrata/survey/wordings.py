"""Other wordings of questions, from a file of the user's: `question id: text`."""

from collections.abc import Mapping
from pathlib import Path

from valuestrata.errors import InputError
from valuestrata.study.study import Study
from valuestrata.study.yaml import read_mapping
from valuestrata.survey import codebook


def read_wordings(path: Path) -> Mapping[str, str]:
    """Other wording of each question that the file names.

    Raises:
        InputError: an entry is no text.
    """
    wordings = read_mapping(path)
    for question, text in wordings.items():
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{path}: {question}: no text; give the question in other words")
    return {str(question): text.strip() for question, text in wordings.items()}


def check_wordings(study: Study, root: Path) -> list[str]:
    """What cannot be right of the file of other wordings; a line each.

    Args:
        study: its parts are valid one by one.
        root: folder that relative paths start from.
    """
    file = study.sensitivity.wordings if study.sensitivity else None
    if file is None:
        return []
    path, where = root / file, "sensitivity.wordings"
    if not path.is_file():
        return [f"{where}: {file}: no such file; correct the path, or leave it out"]
    try:
        wordings = read_wordings(path)
        book = codebook.load(root / study.survey.codebook)
    except InputError as error:
        return [f"{where}: {error}"]
    unknown = [name for name in wordings if name not in book]
    if unknown:
        return [f"{where}: {file}: no question {unknown[0]!r} in the codebook; remove or rename it"]
    same = [name for name, text in wordings.items() if text == book[name].text]
    if same:
        return [f"{where}: {file}: {same[0]} is worded as in the codebook; give other words"]
    return []
