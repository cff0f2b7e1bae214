"""What lies in a model's folder, read without torch: which it is, and whether its files are whole.

A damaged or foreign file is refused here in one line, before weights are loaded.
"""

import json
from pathlib import Path
from typing import Any

from valuestrata.errors import InputError
from valuestrata.inference import hub
from valuestrata.paths import MADE_OF, TRAINING_LOG
from valuestrata.provenance import text_digest
from valuestrata.study.models import LocalModel
from valuestrata.weight_digests import content_of

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
GGUF = ".gguf"
LFS = b"version https://git-lfs"
AGAIN = "download it again, or copy it whole"


def read_json(file: Path) -> dict[str, Any]:
    """An object in a JSON file.

    Raises:
        InputError: the file is damaged, or a pointer to where it lies.
    """
    try:
        content = file.read_bytes()
        parsed = json.loads(content.decode("utf-8"))
    except (OSError, ValueError) as error:
        refuse_pointer(file)
        raise InputError(f"{file}: is damaged ({_first_line(error)}); {AGAIN}") from None
    if not isinstance(parsed, dict):
        raise InputError(f"{file}: is damaged (no JSON object); {AGAIN}")
    return parsed


def refuse_pointer(file: Path) -> None:
    """Refuse what git leaves of a large file where Git LFS is not installed."""
    if file.is_file() and file.stat().st_size < 1024 and file.read_bytes().startswith(LFS):
        raise InputError(f"{file}: is a Git LFS pointer, not the file; run `git lfs pull` there")


def refuse_gguf(name: str) -> None:
    """Refuse a GGUF file, or a folder that holds nothing else that a network is made of.

    Raises:
        InputError: one line that says what to name instead.
    """
    path = Path(name)
    files = [path] if name.lower().endswith(GGUF) else sorted(path.glob(f"*{GGUF}"))
    whole = (path / CONFIG).is_file() and any(path.glob("*.safetensors"))
    if files and not whole:
        raise InputError(
            f"{name}: GGUF is not read as it is; name the model in safetensors that it was made "
            "from, or the folder that `valuestrata convert FILE.gguf FOLDER` makes of it"
        )


def refuse_other_formats(folder: Path, name: str) -> None:
    """Refuse a folder whose settings are no transformers model's."""
    if (folder / CONFIG).is_file():
        return
    if (folder / "adapter_config.json").is_file():
        what = "name a whole model, not an adapter alone"
    elif (folder / "params.json").is_file():
        what = "name a whole model with config.json, not Mistral's own format (params.json)"
    elif "gguf" in name.lower():
        what = "GGUF is not read as it is: name the model in safetensors that it was made from"
    else:
        what = "name a whole model, by its folder or by its name on the hub"
    raise InputError(f"{name}: has no config.json; {what}")


def model_folder(model: LocalModel, weights: bool) -> Path:
    """The folder of a model's files: a directory, or the hub's snapshot, with weights or without.

    Raises:
        InputError: it has no config.json.
    """
    name = str(model.model)
    folder = Path(name)
    refuse_gguf(name)
    if not folder.is_dir():
        folder = hub.snapshot(name, model.revision, _file_patterns(model, weights))
    refuse_other_formats(folder, name)
    return folder


def _file_patterns(model: LocalModel, weights: bool) -> tuple[str, ...]:
    """Patterns of the files that a model is read from."""
    return hub.SETTINGS + hub.WEIGHTS * weights + hub.CODE * model.trust_remote_code


def model_version(model: LocalModel) -> str:
    """What identifies the weights: name and commit, or a hash of the files read from a directory.

    A toy's log is left out: it holds times, and nothing that an answer depends on.
    """
    folder = model_folder(model, weights=False)
    if not Path(str(model.model)).is_dir():
        return f"{model.model}@{folder.name}"
    patterns = _file_patterns(model, weights=True)
    files = {file for pattern in patterns for file in folder.glob(pattern)}
    kept = [file for file in sorted(files) if file.name not in (TRAINING_LOG, MADE_OF)]
    return text_digest([file.name + content_of(file) for file in kept])[:16]


def adapter_digest(folder: Path | str | None) -> str:
    """What identifies an adapter: a hash of its weights and settings; '' for none."""
    if folder is None:
        return ""
    names = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
    return text_digest([content_of(Path(folder) / name) for name in names])[:16]


def check_folder(name: str) -> None:
    """Refuse a local model's folder of which a file is foreign, damaged or not there.

    Raises:
        InputError: one line that names the file.
    """
    folder = Path(name)
    refuse_gguf(name)
    refuse_other_formats(folder, name)
    for file in sorted(folder.glob("*.json")):
        read_json(file)
    check_whole(weight_files(folder, name))


def weight_files(folder: Path, name: str) -> list[Path]:
    """The safetensors files that a network is read from.

    Raises:
        InputError: there are none, or some that the index lists are not there.
    """
    whole, index = folder / "model.safetensors", folder / INDEX
    if whole.is_file() or whole.is_symlink():
        return [whole]
    if not index.is_file():
        others = sorted({p.suffix for p in folder.glob("*") if p.suffix in (".bin", ".pt", ".pth")})
        more = f" (only {', '.join(others)}, which can carry code)" if others else ""
        raise InputError(
            f"{name}: has no weights in safetensors{more}, as model.safetensors or in the parts "
            f"that {INDEX} lists; convert them first"
        )
    parts = sorted({folder / str(part) for part in read_json(index).get("weight_map", {}).values()})
    absent = [part.name for part in parts if not part.is_file()]
    if absent or not parts:
        raise InputError(f"{name}: lacks {', '.join(absent) or 'the parts'} of {INDEX}; {AGAIN}")
    return parts


def check_whole(files: list[Path]) -> None:
    """Read the header of each safetensors file, which says how long the file is.

    Raises:
        InputError: a file is cut off or damaged.
    """
    from safetensors import SafetensorError, safe_open

    for file in files:
        refuse_pointer(file)
        try:
            with safe_open(file, framework="np") as tensors:
                empty = not tensors.keys()
        except (OSError, SafetensorError, ValueError) as error:
            raise InputError(f"{file}: is damaged ({_first_line(error)}); {AGAIN}") from None
        if empty:
            raise InputError(f"{file}: is damaged (no tensors); {AGAIN}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
