"""Checks of files: those that a study names exist, and git takes no respondents' answers."""

import shutil
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from valuestrata.paths import resource
from valuestrata.study.model_checks import is_directory
from valuestrata.study.study import SURVEY_VARIABLE, Study
from valuestrata.study.yaml import read_yaml

TEMPLATES = "prompting/templates"
OPEN_QUESTIONS = "prompting/open_questions"
"""Folders of the package with prompt files and wordings of open questions."""


def survey_files(study: Study, root: Path) -> Iterator[str]:
    """A survey or a codebook that is not there."""
    if not study.survey.simulate and not (root / study.survey_file).is_file():
        yield (
            f"survey.file: {study.survey_file}: no such file; "
            f"set it in the study or in ${SURVEY_VARIABLE}"
        )
    if not (root / study.survey.codebook).is_file():
        yield f"survey.codebook: {study.survey.codebook}: no such file; correct the path"


def model_directories(study: Study, root: Path) -> Iterator[str]:
    """Local models that are not there."""
    for where, model in study.local_models().items():
        name = model.model
        if name and is_directory(name, root) and not (root / name).expanduser().is_dir():
            yield f"{where}.model: {name}: no such directory; correct the path"


def confidential_files(study: Study, root: Path) -> Iterator[str]:
    """Files with respondents' answers that git would take: a survey must not be passed on."""
    if study.survey.simulate:
        return
    for path in (root / study.survey_file, root / study.results / "survey" / "responses.parquet"):
        if _git_would_take(path):
            yield (
                f"survey: {path} is inside a git work tree that does not ignore it; "
                "respondents' answers must not be committed: move it out, or add it to .gitignore"
            )


def _git_would_take(path: Path) -> bool:
    """Whether a file lies in a git work tree that does not ignore it; False without git."""
    folder = next((p for p in path.absolute().parents if p.is_dir()), None)
    if folder is None or shutil.which("git") is None:
        return False
    # every work tree counts, whoever owns it
    command = ["git", "-c", "safe.directory=*", "-C", str(folder)]
    command += ["check-ignore", "-q", str(path.absolute())]
    return subprocess.run(command, capture_output=True, check=False).returncode == 1


def data_files(study: Study) -> Iterator[str]:
    """Prompt files that the package does not have."""
    templates = {"prompt.template": study.prompt.template}
    for name, variant in study.prompt_variants.items():
        if variant.template is not None:
            templates[f"prompt_variants.{name}.template"] = variant.template
    names = packaged(TEMPLATES)
    for where, name in templates.items():
        if name not in names:
            yield f"{where}: no file {name!r}; files are {', '.join(names)}"


def open_wordings(study: Study) -> Iterator[str]:
    """Open questions in a language, or in a wording, that the package does not have."""
    language, chosen = study.prompt.template, study.generation
    if chosen is None:
        return
    if language not in packaged(OPEN_QUESTIONS):
        yield (
            f"generation: no open questions in the language of prompt.template {language!r}; add "
            f"{OPEN_QUESTIONS}/{language}.yaml, or choose of {', '.join(packaged(OPEN_QUESTIONS))}"
        )
        return
    wordings = read_yaml(resource(f"{OPEN_QUESTIONS}/{language}.yaml"))["wordings"]
    for name in chosen.wordings:
        if name not in wordings:
            yield f"generation.wordings: no wording {name!r}; wordings are {', '.join(wordings)}"


def packaged(folder: str) -> list[str]:
    """Names of the YAML files in a folder of the package."""
    paths = [Path(entry.name) for entry in files("valuestrata").joinpath(folder).iterdir()]
    return sorted(path.stem for path in paths if path.suffix == ".yaml")
