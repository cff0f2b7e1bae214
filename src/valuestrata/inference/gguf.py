"""GGUF files, llama.cpp's format, made into a folder that transformers reads.

A GGUF file holds weights that were rounded, and a tokenizer without its code: what splits a text
before it becomes tokens is there by name alone. So a file is converted where its network and its
splitting rule are written down here, and refused where they are not.
"""

from pathlib import Path
from typing import Any

from valuestrata.errors import InputError

MAGIC = b"GGUF"
ARCHITECTURES = ("llama",)
"""Networks that metadata and tensors describe in full."""
RULES = ("gpt-2", "smollm")
"""Rules by which a tokenizer splits texts, `tokenizer.ggml.pre`."""
INSTEAD = "name the model in safetensors that the file was made from"


def convert(file: Path, folder: Path) -> None:
    """Write the model of a GGUF file as safetensors in float32, with tokenizer and chat template.

    Args:
        file: the GGUF file.
        folder: a new folder; it is there once it is whole.

    Raises:
        InputError: the folder exists, or the file is no GGUF or cannot be converted as it is.
    """
    import tempfile

    if folder.exists():
        raise InputError(f"{folder}: exists already; name another folder or move it away")
    _check(file, _metadata(file))
    tokenizer, network = _load(file)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        made = Path(scratch) / "model"
        network.save_pretrained(made)
        tokenizer.save_pretrained(made)
        made.rename(folder)


def _metadata(file: Path) -> Any:
    """A reader of the file's keys and tensors; no weights are read."""
    try:
        from gguf import GGUFReader
    except ModuleNotFoundError:
        raise InputError(
            f"{file}: needs the package gguf: pip install 'valuestrata[gguf]'"
        ) from None
    try:
        with file.open("rb") as start:
            if start.read(len(MAGIC)) != MAGIC:
                raise InputError(f"{file}: is no GGUF file")
        return GGUFReader(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, IndexError) as error:
        raise InputError(f"{file}: is damaged ({error}); download it again") from None


def _check(file: Path, reader: Any) -> None:
    """Refuse what would be lost on the way."""

    def value(key: str) -> Any:
        field = reader.get_field(key)
        return None if field is None else field.contents()

    architecture, rule = value("general.architecture"), value("tokenizer.ggml.pre")
    lost = None
    if architecture not in ARCHITECTURES:
        lost = f"a network of the architecture {architecture!r}"
    elif rule not in RULES:
        lost = f"a tokenizer that splits texts by the rule {rule!r}"
    elif any(".rope.scaling." in key for key in reader.fields):
        lost = "a network with scaled positions"
    elif not value("tokenizer.chat_template"):
        lost = "a model without a chat template"
    if lost is not None:
        raise InputError(f"{file}: {lost} is not converted; {INSTEAD}")


def _load(file: Path) -> tuple[Any, Any]:
    """The tokenizer, and the network with the weights as they were rounded, in float32.

    Raises:
        InputError: the network has tensors that the file lacks, or the file others.
    """
    import torch
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    reader = GGUFReader(file)
    where = {"gguf_file": file.name}
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **where)
    if reader.get_field("tokenizer.ggml.pre").contents() == "smollm":
        # transformers 5 splits by GPT-2's rule whatever the file names
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
    loaded, report = AutoModelForCausalLM.from_pretrained(
        file.parent, dtype=torch.float32, output_loading_info=True, **where
    )
    tensors = {tensor.data_ptr() for tensor in loaded.state_dict().values()}
    if any(report.values()) or len(tensors) != len(reader.tensors):
        raise InputError(f"{file}: its tensors are not those of its network; {INSTEAD}")
    # a network of its own: the loaded one would be saved with the settings of its rounding
    config = loaded.config
    del config.quantization_config
    network = type(loaded)(config)
    network.load_state_dict(loaded.state_dict())
    return tokenizer, network
