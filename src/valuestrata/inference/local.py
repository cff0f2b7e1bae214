"""Models that run on this machine: where their files are, their tokenizer and their network.

A hub model becomes a folder first, the snapshot of one commit in the hub's cache, so that
everything after that reads local files. Weights are read from safetensors alone.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch

from valuestrata.errors import InputError
from valuestrata.inference import hub, runtime
from valuestrata.inference.chat import Chat, TokenizedPrompt
from valuestrata.inference.protocol import Messages
from valuestrata.paths import MADE_OF, TRAINING_LOG
from valuestrata.provenance import file_digest, text_digest
from valuestrata.study.models import LocalModel


def require_gpu(gpus: int, where: str) -> None:
    """Refuse to run a model on a CPU that is meant for GPUs: it would take days, not minutes.

    Args:
        gpus: GPUs that the study asks for; with 0 a CPU is meant.
        where: the model's key in the study, such as models.llama.

    Raises:
        InputError: torch finds no GPU.
    """
    if gpus and not torch.cuda.is_available():
        raise InputError(f"no GPU found; set {where}.gpus: 0 to run on a CPU")


def model_folder(model: LocalModel, weights: bool) -> Path:
    """The folder of a model's files: a directory, or the hub's snapshot, with weights or without.

    Raises:
        InputError: it has no config.json.
    """
    name = str(model.model)
    folder = Path(name)
    if not folder.is_dir():
        folder = hub.snapshot(name, model.revision, _file_patterns(model, weights))
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{name}: has no config.json; name a whole model, by its folder or by its name on the "
            "hub, not an adapter alone"
        )
    return folder


def _file_patterns(model: LocalModel, weights: bool) -> tuple[str, ...]:
    """Patterns of the files that a model is read from."""
    return hub.SETTINGS + hub.WEIGHTS * weights + hub.CODE * model.trust_remote_code


def load_chat(model: LocalModel) -> Chat:
    """The model's tokenizer, without its weights.

    Where the repository declares a generic tokenizer, its tokenizer.json is the whole truth; asked
    automatically, transformers 5 would put some architectures' own splitting rules in its place.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    folder = model_folder(model, weights=False)
    declared = get_tokenizer_config(folder).get("tokenizer_class")
    is_generic = declared in ("TokenizersBackend", "PreTrainedTokenizerFast")
    tokenizer_class = PreTrainedTokenizerFast if is_generic else AutoTokenizer
    return Chat(_from_pretrained(tokenizer_class, model, folder), _end_ids(folder))


def _end_ids(folder: Path) -> list[int]:
    """Ids that end a text by the model's own settings; Llama 3 and Qwen2.5 list several."""
    files = [folder / name for name in ("generation_config.json", "config.json")]
    declared = [_read_json(file).get("eos_token_id") for file in files if file.is_file()]
    ids: Any = next((ids for ids in declared if ids is not None), [])
    return ids if isinstance(ids, list) else [ids]


def load_network(model: LocalModel, quantize: str = "none") -> Any:
    """The model's network in evaluation mode, on the GPU where there is one.

    `quantize: 4bit` stores the weights in bitsandbytes' NF4 and computes in the model's dtype.
    """
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, GenerationConfig

    folder = model_folder(model, weights=True)
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{model.model}: has no weights in safetensors; convert them first")
    dtype = getattr(torch, model.dtype)
    options: dict[str, Any] = {"device_map": model.device_map}
    if quantize == "4bit":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
        options["device_map"] = model.device_map or {"": torch.cuda.current_device()}
    network = _from_pretrained(
        AutoModelForCausalLM,
        model,
        folder,
        dtype=dtype,
        use_safetensors=True,
        attn_implementation=attention_kernel(model),
        **options,
    )
    # penalties and samplers that the model ships with would enter generated texts alone
    network.generation_config = GenerationConfig()
    return (network if options["device_map"] else network.to(device())).eval()


def device() -> torch.device:
    """The device that everything runs on, or starts on where a model is spread over several."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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
    return text_digest([file.name + file_digest(file) for file in kept])[:16]


def adapter_digest(folder: Path | str | None) -> str:
    """What identifies an adapter: a hash of its weights and settings; '' for none."""
    if folder is None:
        return ""
    names = ("adapter_config.json", "adapter_model.safetensors")
    return text_digest([file_digest(Path(folder) / name) for name in names])[:16]


def max_length(model: LocalModel) -> int:
    """Longest prompt with its reply, in tokens: the study's limit or, if less, the network's."""
    config = _read_json(model_folder(model, weights=False) / "config.json")
    return min(model.max_length, config.get("max_position_embeddings") or model.max_length)


def attention_kernel(model: LocalModel) -> str | None:
    """The study's choice, but eager for a network that caps its attention's scores (Gemma 2).

    transformers' other implementations leave the cap out, or take no mask, without a word.

    Raises:
        InputError: the study chose another.
    """
    chosen: str | None = getattr(model, "attn_implementation", None)  # vLLM chooses its own
    config = _read_json(model_folder(model, weights=False) / "config.json")
    if not config.get("attn_logit_softcapping"):
        return chosen
    if chosen not in (None, "eager"):
        raise InputError(
            f"{model.model}: attn_implementation: {chosen} would leave out the cap on its scores; "
            "use eager"
        )
    return "eager"


def _read_json(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _from_pretrained(kind: Any, model: LocalModel, folder: Path, **options: Any) -> Any:
    try:
        return kind.from_pretrained(folder, trust_remote_code=model.trust_remote_code, **options)
    except (OSError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{model.model}: cannot be loaded ({first})") from None


class LocalBackend:
    """What local backends share: a tokenizer, perhaps an adapter, and what identifies them."""

    entries: tuple[str, ...] = ()
    shard_size = 4096

    def __init__(self, model: LocalModel, chat: Chat, adapter: Path | str | None = None) -> None:
        """Remember what to load."""
        self.model = model
        self.chat = chat
        self.adapter_folder = adapter

    @classmethod
    def open(cls, model: LocalModel, threads: int, adapter: Path | str | None = None) -> Self:
        """The backend of a study's model, with its tokenizer and without its weights.

        Raises:
            InputError: the tokenizer cannot be loaded.
        """
        runtime.prepare(threads)
        return cls(model, load_chat(model), adapter)

    @cached_property
    def version(self) -> str:
        """Name and commit, or a hash of a directory's files."""
        return model_version(self.model)

    @cached_property
    def adapter(self) -> str:
        """Hash of the adapter, '' for none."""
        return adapter_digest(self.adapter_folder)

    @cached_property
    def numerics(self) -> tuple[str, ...]:
        """Precision and attention kernel, which move the last digits of a log-probability."""
        return (self.model.dtype, str(attention_kernel(self.model)))

    @cached_property
    def max_length(self) -> int:
        """Longest prompt with its reply, in tokens."""
        return max_length(self.model)

    def render(self, messages: Messages) -> TokenizedPrompt:
        """Token ids of a prompt up to where the reply begins."""
        return self.chat.prompt(*messages)
