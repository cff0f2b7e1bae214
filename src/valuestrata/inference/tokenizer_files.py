"""The tokenizer of a model's folder, and the chat template beside it.

What transformers only warns of is mended here, with a note, or refused: the splitting rule of older
Mistral folders, templates that lie in a file of their own, and Mistral's tekken.json.
"""

import json
from pathlib import Path
from typing import Any

from valuestrata.errors import InputError
from valuestrata.inference import model_files
from valuestrata.inference.architectures import from_pretrained
from valuestrata.inference.notices import collect_warnings
from valuestrata.study.models import LocalModel

TEKKEN = "tekken.json"
VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
TEMPLATE_FILES = ("chat_template.json", "processor_config.json")
"""Where processors of wrappers keep the template; transformers' tokenizers do not look there."""
MISTRAL_TURN = "[INST]"
REGEX_MENDED = "the tokenizer's splitting rule was corrected (fix_mistral_regex)"


def load_tokenizer(model: LocalModel, folder: Path, notes: list[str]) -> Any:
    """A tokenizer with its chat template; what was doubtful is appended to `notes`.

    Raises:
        InputError: a file is damaged, or there is no tokenizer or none that can be read.
    """
    _check_files(folder)
    if is_tekken(folder):
        return _from_tekken(model, folder / TEKKEN, notes)
    tokenizer = _from_files(model, folder, notes)
    if not getattr(tokenizer, "chat_template", None):
        tokenizer.chat_template = template_beside(folder)
    return tokenizer


def is_tekken(folder: Path) -> bool:
    """Whether the tokenizer is there in Mistral's own format alone."""
    others = any((folder / name).is_file() for name in VOCABULARIES)
    return (folder / TEKKEN).is_file() and not others


def _check_files(folder: Path) -> None:
    """Refuse damaged files, whose errors name no file where the library meets them."""
    for name in ("tokenizer.json", "tokenizer_config.json", TEKKEN, *TEMPLATE_FILES):
        if (folder / name).is_file():
            model_files.read_json(folder / name)
    for name in VOCABULARIES:
        model_files.refuse_pointer(folder / name)


def _from_files(model: LocalModel, folder: Path, notes: list[str]) -> Any:
    """A tokenizer from files that transformers knows."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    is_generic = _says_all(folder)
    # with mistral-common, a tekken.json would make it another class, which renders no template
    kind, options = (
        (PreTrainedTokenizerFast, {}) if is_generic else (AutoTokenizer, {"mistral_format": False})
    )
    warned: list[str] = []
    with collect_warnings(warned):
        tokenizer = from_pretrained(kind, model, folder, **options)
    if _wants_other_rule(tokenizer):
        before, warned = _rule(tokenizer), []
        with collect_warnings(warned):
            tokenizer = from_pretrained(kind, model, folder, fix_mistral_regex=True, **options)
        if _rule(tokenizer) != before:
            warned.append(REGEX_MENDED)
    notes += warned
    return tokenizer


def _says_all(folder: Path) -> bool:
    """Whether a folder's tokenizer.json is the whole truth.

    It is where a generic tokenizer is declared, and where it splits texts into bytes: transformers
    5 would build the declared class with that class's own splitting rule, and so give other ids
    (transformers#45812, #45920: Granite, OLMo, SmolLM, DeepSeek's distillates).
    """
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    config, file = get_tokenizer_config(folder), folder / "tokenizer.json"
    if config.get("tokenizer_class") in ("TokenizersBackend", "PreTrainedTokenizerFast"):
        return True
    # without the end's name a class has its own
    if not config.get("eos_token") or not file.is_file():
        return False
    return '"ByteLevel"' in json.dumps(model_files.read_json(file).get("pre_tokenizer"))


def _wants_other_rule(tokenizer: Any) -> bool:
    """Whether transformers left Mistral's wrong rule in place, in what is a Mistral tokenizer."""
    flag = getattr(getattr(tokenizer, "backend_tokenizer", None), "fix_mistral_regex", None)
    return flag is False and MISTRAL_TURN in tokenizer.get_vocab()


def _rule(tokenizer: Any) -> str:
    return repr(tokenizer.backend_tokenizer.pre_tokenizer)


def _from_tekken(model: LocalModel, tekken: Path, notes: list[str]) -> Any:
    """Mistral's own format; its template is beside it, or mistral-common knows it."""
    from transformers.integrations.mistral.tokenizer import convert_tekken_tokenizer

    remedy = "pip install 'valuestrata[mistral]'"
    try:
        with collect_warnings(notes):
            tokenizer = convert_tekken_tokenizer(str(tekken), template_beside(tekken.parent))
    except ImportError:
        raise InputError(f"{model.model}: its tekken.json is of an old format: {remedy}") from None
    except Exception as error:  # whatever a damaged file makes of it
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{tekken}: cannot be read ({first}); {model_files.AGAIN}") from error
    if not tokenizer.chat_template:
        raise InputError(
            f"{model.model}: has a tekken.json and no chat template; mistral-common knows it: "
            f"{remedy}, or put a chat_template.jinja beside it"
        )
    return tokenizer


def template_beside(folder: Path) -> str | None:
    """A chat template in a file of its own, None where there is none."""
    jinja = folder / "chat_template.jinja"
    if jinja.is_file():
        return jinja.read_text(encoding="utf-8")
    for name in TEMPLATE_FILES:
        if (folder / name).is_file():
            template = model_files.read_json(folder / name).get("chat_template")
            if template:
                return str(template)
    return None
