"""What wordings depend on: the prompt of a study or of a prompt variant, and the files by hash."""

from pathlib import Path

from valuestrata.provenance import file_digest
from valuestrata.study.base import FrozenMap, Part
from valuestrata.study.prompts import Options, Order, Persona, prompt_fields
from valuestrata.study.rubrics import rubric_path
from valuestrata.study.study import Study

FOLDER = Path(__file__).parent


class PromptSettings(Part):
    """How personas and questions are worded.

    Attributes:
        template: `template_id` of the prompt file.
        country: where the respondents live; '' in a study of countries by code.
        personas: persona phrase of each axis, with {group}.
        labels: label of each axis.
        persona: second (You are), third (Think of) or list (of attributes).
        order: what comes first, persona or question.
        options: asked, reversed, or shuffled by question.
    """

    template: str
    country: str
    personas: FrozenMap[str, str]
    labels: FrozenMap[str, str]
    persona: Persona
    order: Order
    options: Options


def prompt_settings(study: Study, prompt_variant: str = "") -> PromptSettings:
    """Settings of the study's own prompt, or of a prompt variant."""
    variant = study.prompt_variants[prompt_variant] if prompt_variant else None
    fields = prompt_fields(study.prompt, variant)
    return PromptSettings.model_validate(
        {
            **fields,
            "template": template_id(fields["template"]),
            "country": study.survey.country or "",
            "personas": {name: axis.persona for name, axis in study.axes.items()},
            "labels": {name: study.axis_label(name) for name in study.axes},
        }
    )


def template_id(name: str) -> str:
    """A prompt file with the hash of its content, `english@0123456789ab`: an edit is a change."""
    return _with_hash(name, data_file("templates", name))


def rubric_id(name: str) -> str:
    """A rubric, or the path of one, with the hash of its content."""
    return _with_hash(name, rubric_path(name))


def open_questions_id(name: str) -> str:
    """A file of open questions with the hash of its content."""
    return _with_hash(name, data_file("open_questions", name))


def data_file(folder: str, name: str) -> Path:
    """Path of a packaged prompt file or file of open questions, by its name or its id."""
    return FOLDER / folder / f"{name.partition('@')[0]}.yaml"


def _with_hash(name: str, path: Path) -> str:
    return f"{name}@{file_digest(path)[:12]}"
