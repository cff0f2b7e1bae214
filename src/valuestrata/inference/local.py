"""Models that run on this machine: where their files are, their tokenizer and their network.

A hub model becomes a folder first, the snapshot of one commit in the hub's cache, so that
everything after that reads local files. Weights are read from safetensors alone.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch

from valuestrata.errors import InputError
from valuestrata.inference import loading, model_files, quantized, runtime
from valuestrata.inference.architectures import from_pretrained, network_class, read_config
from valuestrata.inference.chat import Chat, TokenizedPrompt
from valuestrata.inference.model_files import (
    adapter_digest,
    model_folder,
    model_version,
    read_json,
)
from valuestrata.inference.notices import collect_warnings
from valuestrata.inference.protocol import LoadCheck, Messages
from valuestrata.inference.tokenizer_files import load_tokenizer
from valuestrata.prefix import flex
from valuestrata.study.models import LocalModel

log = logging.getLogger(__name__)


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


def load_chat(model: LocalModel) -> Chat:
    """The model's tokenizer with its chat template, without its weights."""
    folder = model_folder(model, weights=False)
    text = read_config(model, folder).get_text_config(decoder=True)
    notes: list[str] = []
    tokenizer = load_tokenizer(model, folder, notes)
    return Chat(tokenizer, _end_ids(folder), getattr(text, "vocab_size", None), notes)


def _end_ids(folder: Path) -> list[int]:
    """Ids that end a text by the model's own settings; Llama 3 and Qwen2.5 list several."""
    files = [folder / name for name in ("generation_config.json", "config.json")]
    settings = [read_json(file) for file in files if file.is_file()]
    settings += [s["text_config"] for s in settings if isinstance(s.get("text_config"), dict)]
    declared = [s.get("eos_token_id") for s in settings]
    ids: Any = next((ids for ids in declared if ids is not None), [])
    return ids if isinstance(ids, list) else [ids]


def check_model(model: LocalModel, adapter: Path | str | None = None) -> list[str]:
    """Refuse what cannot be right about a model or its adapter, before weights are fetched.

    Returns:
        What libraries warn of.

    Raises:
        InputError: one line. The network writes no text, its format cannot be read here, a file of
            a directory is damaged, or the adapter belongs to another network.
    """
    folder = model_folder(model, weights=False)
    config = read_config(model, folder)
    network_class(model, config)
    notes: list[str] = []
    with collect_warnings(notes):
        quantized.check_format(model, config, str(getattr(model, "backend", "")))
    if Path(str(model.model)).is_dir():
        model_files.check_whole(sorted(folder.glob("*.safetensors")))
    if adapter is not None:
        loading.check_adapter(model, config, Path(adapter))
    return notes


def check_tunable(model: LocalModel, quantize: str) -> None:
    """Refuse a model that cannot be loaded, or not be tuned over weights stored so.

    Raises:
        InputError: one line.
    """
    check_model(model)
    config = read_config(model, model_folder(model, weights=False))
    quantized.check_tunable(model, config, quantize)


def load_network(model: LocalModel, quantize: str = "none", notes: list[str] | None = None) -> Any:
    """The model's network in evaluation mode, on the GPU where there is one.

    `quantize: 4bit` stores the weights in bitsandbytes' NF4 and computes in the model's dtype.
    What libraries warn of is appended to `notes`.

    Raises:
        InputError: a file is damaged, or its tensors are not those of the network.
    """
    from transformers import BitsAndBytesConfig, GenerationConfig

    folder = model_folder(model, weights=True)
    model_files.check_whole(model_files.weight_files(folder, str(model.model)))
    dtype = getattr(torch, model.dtype)
    config = read_config(model, folder)
    options = {"device_map": model.device_map, **quantized.load_options(model, config)}
    if quantize == "4bit":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
        options["device_map"] = model.device_map or {"": torch.cuda.current_device()}
    with collect_warnings([] if notes is None else notes):
        network, report = from_pretrained(
            network_class(model, config),
            model,
            folder,
            dtype=dtype,
            use_safetensors=True,
            attn_implementation=attention_kernel(model),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that the report names them all
            **options,
        )
    loading.check_keys(str(model.model), network, report)
    quantized.check_8bit(model, network)
    # penalties and samplers that the model ships with would enter generated texts alone
    network.generation_config = GenerationConfig()
    network = (network if options["device_map"] else _on_device(network, model)).eval()
    if model.forest_attention == "flex":
        _use_flex(model, network)
    return network


def _on_device(network: Any, model: LocalModel) -> Any:
    """The network where everything runs.

    Raises:
        InputError: it is larger than the GPU's memory.
    """
    with memory_for(
        f"{model.model}: its weights do not fit into the GPU's free memory; use device_map: "
        "auto with more GPUs, quantize: 8bit, or a smaller model"
    ):
        return network.to(device())


@contextmanager
def memory_for(advice: str) -> Iterator[None]:
    """Work that a device may have too little memory for.

    Raises:
        InputError: it has; the advice says what to change.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise InputError(advice) from None


def _use_flex(model: LocalModel, network: Any) -> None:
    """Let a network read forests as the study asks for.

    Raises:
        InputError: it cannot.
    """
    reason = flex.why_not(network)
    if reason:
        raise InputError(f"{model.model}: forest_attention: flex: {reason}; use gathered")
    flex.use(network)


def device() -> torch.device:
    """The device that everything runs on, or starts on where a model is spread over several."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def max_length(model: LocalModel) -> int:
    """Longest prompt with its reply, in tokens: the study's limit or, if less, the network's."""
    limit = getattr(_text_config(model), "max_position_embeddings", None)
    return min(model.max_length, limit or model.max_length)


def attention_kernel(model: LocalModel) -> str | None:
    """The study's choice, but eager for a network that caps its attention's scores (Gemma 2).

    transformers' other implementations leave the cap out, or take no mask, without a word.

    Raises:
        InputError: the study chose another.
    """
    chosen: str | None = getattr(model, "attn_implementation", None)  # vLLM chooses its own
    if not getattr(_text_config(model), "attn_logit_softcapping", None):
        return chosen
    if chosen not in (None, "eager"):
        raise InputError(
            f"{model.model}: attn_implementation: {chosen} would leave out the cap on its scores; "
            "use eager"
        )
    return "eager"


def _text_config(model: LocalModel) -> Any:
    """The settings of the text decoder."""
    return read_config(model, model_folder(model, weights=False)).get_text_config(decoder=True)


class LocalBackend:
    """What local backends share: a tokenizer, perhaps an adapter, and what identifies them."""

    entries: tuple[str, ...] = ()
    shard_size = 4096

    def __init__(self, model: LocalModel, chat: Chat, adapter: Path | str | None = None) -> None:
        """Remember what to load."""
        self.model = model
        self.chat = chat
        self.adapter_folder = adapter
        self.notes: list[str] = [*chat.notes]
        self._load_check: LoadCheck | None = None

    @classmethod
    def open(cls, model: LocalModel, threads: int, adapter: Path | str | None = None) -> Self:
        """The backend of a study's model, with its tokenizer and without its weights.

        Raises:
            InputError: the tokenizer, or later the weights, cannot be loaded.
        """
        runtime.prepare(threads)
        notes = check_model(model, adapter)
        backend = cls(model, load_chat(model), adapter)
        backend.notes += notes
        return backend

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
        quantized = () if self.model.quantize == "none" else (self.model.quantize,)
        flexible = () if self.model.forest_attention == "gathered" else ("flex",)
        return (self.model.dtype, str(attention_kernel(self.model)), *quantized, *flexible)

    @cached_property
    def max_length(self) -> int:
        """Longest prompt with its reply, in tokens."""
        return max_length(self.model)

    def check_load(self, messages: Messages) -> LoadCheck:
        """What the model is like, on a prompt; measured once after each load.

        Its notes hold what has been found out since, too.

        Raises:
            InputError: its logits are no numbers, or its adapter changes nothing.
        """
        if self._load_check is None:
            shift = self.adapter_shift(messages)
            if shift is not None:
                log.info("the adapter changes logits by %.3g at most, on one prompt", shift)
            for note in dict.fromkeys(self.notes):
                log.warning("%s: %s", self.model.model, note)
            self._load_check = LoadCheck(shift)
        return replace(self._load_check, notes=tuple(dict.fromkeys(self.notes)))

    def adapter_shift(self, messages: Messages) -> float | None:
        """Largest change of a logit that the adapter makes on a prompt, None without adapter."""
        raise NotImplementedError

    def render(self, messages: Messages) -> TokenizedPrompt:
        """Token ids of a prompt up to where the reply begins."""
        return self.chat.prompt(*messages)
