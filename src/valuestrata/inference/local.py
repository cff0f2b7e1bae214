"""Models that run on this machine: where their files are, their tokenizer and their network.

A hub model becomes a folder first, the snapshot of one commit in the hub's cache, so that
everything after that reads local files. Weights are read from safetensors alone.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from valuestrata.errors import InputError
from valuestrata.inference import hub
from valuestrata.inference.chat import Chat, TokenizedPrompt
from valuestrata.paths import TRAINING_LOG
from valuestrata.provenance import file_digest, text_digest
from valuestrata.specs import Model


def folder_of(spec: Model, weights: bool) -> Path:
    """The folder of a model's files: its own, or the hub's snapshot, with weights or without.

    Raises:
        InputError: it has no config.json.
    """
    name = str(spec.weights)
    own = Path(name).is_dir()
    folder = Path(name) if own else hub.snapshot(name, spec.revision, _files(spec, weights))
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{name}: has no config.json; name a whole model, by its folder or by its name on the "
            "hub, not an adapter alone"
        )
    return folder


def _files(spec: Model, weights: bool) -> tuple[str, ...]:
    """Patterns of the files that a model is read from."""
    return hub.SETTINGS + hub.WEIGHTS * weights + hub.CODE * spec.remote_code


def load_chat(spec: Model) -> Chat:
    """The model's tokenizer, without its weights.

    Where the repository declares a generic tokenizer, its tokenizer.json is the whole truth; asked
    automatically, transformers 5 would put some architectures' own splitting rules in its place.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    folder = folder_of(spec, weights=False)
    declared = get_tokenizer_config(folder).get("tokenizer_class")
    generic = declared in ("TokenizersBackend", "PreTrainedTokenizerFast")
    words = _loaded(PreTrainedTokenizerFast if generic else AutoTokenizer, spec, folder)
    return Chat(words, _ends(folder))


def _ends(folder: Path) -> list[int]:
    """Ids that end a text by the model's own settings; Llama 3 and Qwen2.5 list several."""
    files = [folder / name for name in ("generation_config.json", "config.json")]
    said = [_json(file).get("eos_token_id") for file in files if file.is_file()]
    listed: Any = next((ids for ids in said if ids is not None), [])
    return listed if isinstance(listed, list) else [listed]


def load_network(spec: Model, quantize: str = "none") -> Any:
    """The model's network in evaluation mode, on the GPU where there is one.

    `quantize: 4bit` stores the weights in bitsandbytes' NF4 and computes in the model's dtype.
    """
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, GenerationConfig

    folder = folder_of(spec, weights=True)
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{spec.weights}: has no weights in safetensors; convert them first")
    dtype = getattr(torch, spec.dtype)
    more: dict[str, Any] = {"device_map": spec.device_map}
    if quantize == "4bit":
        more["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
        more["device_map"] = spec.device_map or {"": torch.cuda.current_device()}
    network = _loaded(
        AutoModelForCausalLM,
        spec,
        folder,
        dtype=dtype,
        use_safetensors=True,
        attn_implementation=_attention(spec, folder),
        **more,
    )
    # penalties and samplers that the model ships with would enter generated texts alone
    network.generation_config = GenerationConfig()
    return (network if more["device_map"] else network.to(device())).eval()


def device() -> torch.device:
    """The device that everything runs on, or starts on where a model is spread over several."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def weights_digest(spec: Model) -> str:
    """What identifies the weights: name and commit, or a hash of the files read from a directory.

    A toy's log is left out: it holds times, and nothing that an answer depends on.
    """
    folder = folder_of(spec, weights=False)
    if not Path(str(spec.weights)).is_dir():
        return f"{spec.weights}@{folder.name}"
    files = {file for kind in _files(spec, weights=True) for file in folder.glob(kind)}
    files.discard(folder / TRAINING_LOG)
    return text_digest([p.name + file_digest(p) for p in sorted(files)])[:16]


def adapter_digest(folder: Path | str | None) -> str:
    """What identifies an adapter: a hash of its weights and settings; '' for none."""
    if folder is None:
        return ""
    names = ("adapter_config.json", "adapter_model.safetensors")
    return text_digest([file_digest(Path(folder) / name) for name in names])[:16]


class LocalModel:
    """What local models share: a tokenizer, perhaps an adapter, and what identifies them."""

    shard = 4096

    def __init__(self, spec: Model, chat: Chat, adapter: Path | str | None = None) -> None:
        """Remember what to load."""
        self.spec = spec
        self.chat = chat
        self.adapter_folder = adapter

    @cached_property
    def weights(self) -> str:
        """Name and commit, or a hash of a directory's files."""
        return weights_digest(self.spec)

    @cached_property
    def adapter(self) -> str:
        """Hash of the adapter, '' for none."""
        return adapter_digest(self.adapter_folder)

    @cached_property
    def settings(self) -> tuple[str, ...]:
        """Precision and kernels, which move the last digits of a log-probability."""
        kernel = _attention(self.spec, folder_of(self.spec, weights=False))
        return (self.spec.dtype, str(kernel))

    @cached_property
    def longest(self) -> int | None:
        """`max_length`, or what the network was made for where that is less."""
        folder = folder_of(self.spec, weights=False)
        config = _json(folder / "config.json")
        known = [n for n in (self.spec.max_length, config.get("max_position_embeddings")) if n]
        return min(known, default=None)

    def prompt(self, persona: str, user: str) -> TokenizedPrompt:
        """Token ids of a prompt up to where the reply begins."""
        return self.chat.prompt(persona, user)


def _attention(spec: Model, folder: Path) -> str | None:
    """The study's choice, but eager for a network that caps its attention's scores (Gemma 2).

    transformers' other implementations leave the cap out, or take no mask, without a word.

    Raises:
        InputError: the study chose another.
    """
    config = _json(folder / "config.json")
    if not config.get("attn_logit_softcapping"):
        return spec.attention
    if spec.attention not in (None, "eager"):
        raise InputError(
            f"{spec.weights}: attention: {spec.attention} would leave out the cap on its scores; "
            "use eager"
        )
    return "eager"


def _json(file: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return said


def _loaded(kind: Any, spec: Model, folder: Path, **more: Any) -> Any:
    try:
        return kind.from_pretrained(folder, trust_remote_code=spec.remote_code, **more)
    except (OSError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{spec.weights}: cannot be loaded ({first})") from None
