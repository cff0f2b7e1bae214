"""Models: language models here or at a service, and baselines. `backend` says which kind."""

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from valuestrata.study.base import EMPTY, FrozenMap, Part, Seed, Text, Unique, Url, Variable
from valuestrata.study.budget import Prices

COMMIT = re.compile(r"[0-9a-f]{40}")
"""A revision that never moves; a branch or a tag may move."""


class Toy(Part):
    """A toy language model that the study trains from scratch in about a minute."""

    architecture: Literal["llama", "qwen2"] = Field(description="Architecture of the network.")
    task: Literal["answer", "judge"] = Field(default="answer", description="What the toy learns.")
    hidden_size: int = Field(default=96, ge=16, multiple_of=8, description="Width of the network.")
    num_layers: int = Field(default=2, ge=1, description="Number of layers.")
    vocab_size: int = Field(default=1500, ge=300, description="Size of the tokenizer's vocabulary.")
    max_steps: int = Field(default=300, ge=1, description="Optimiser steps.")
    batch_size: int = Field(default=32, ge=1, description="Texts per step.")
    learning_rate: float = Field(default=3e-3, gt=0, description="Peak learning rate.")
    seed: Seed = Field(default=1, description="Seed of weights, stereotypes and texts.")


class _Model(Part):
    """What all models share: a copy that results depend on."""

    RESOURCES: ClassVar[tuple[str, ...]] = ()
    """Fields that no result depends on."""

    def without_resources(self) -> Self:
        """A copy with the fields that no result depends on at their defaults."""
        fields = type(self).model_fields
        return self.replace(**{name: fields[name].default for name in self.RESOURCES})


class _LanguageModel(_Model):
    """What all language models share: prompt variants and the resources of jobs."""

    RESOURCES: ClassVar[tuple[str, ...]] = ("prompt_variants", "threads", "mem_mb", "runtime")

    prompt_variants: Unique[tuple[str, ...]] | None = Field(
        default=None,
        description="Prompt variants that it is asked in; all of the study's by default.",
    )
    threads: int = Field(default=4, ge=1, description="CPU threads of each of its jobs.")
    mem_mb: int = Field(default=32000, ge=500, description="Memory of each of its jobs, in MB.")
    runtime: int = Field(default=240, ge=1, description="Run time of each of its jobs, in minutes.")


class LocalModel(_LanguageModel):
    """A language model whose weights are here: it can be fine-tuned."""

    RESOURCES: ClassVar[tuple[str, ...]] = (*_LanguageModel.RESOURCES, "gpus", "recipes")
    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["model"]}, {"required": ["toy"]}]}
    )

    model: Text | None = Field(
        default=None,
        description=(
            "A model on the Hugging Face hub (owner/name) or a local directory, in safetensors. "
            "Files in the hub's cache are not downloaded again."
        ),
    )
    revision: Text | None = Field(
        default=None,
        description=(
            "Commit of the hub's repository; required for a hub model, so that results stay "
            "reproducible. A branch such as main works with a warning; `valuestrata pin STUDY` "
            "replaces it by its commit. Predictions name the commit in any case."
        ),
    )
    toy: Toy | None = Field(
        default=None, description="Instead of model: a toy that the study trains from scratch."
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="bfloat16", description="Precision of the weights."
    )
    quantize: Literal["none", "8bit"] = Field(
        default="none",
        description=(
            "8bit rounds the weights of linear layers to 8 bits as they are loaded (torchao), for "
            "answers and verdicts; fine-tunes follow their recipe's quantize. A checkpoint that is "
            "stored in few bits is read as it is."
        ),
    )
    device_map: Literal["auto", "balanced", "sequential"] | None = Field(
        default=None,
        description=(
            "Spread the network over a job's GPUs and tune it in one process (needs accelerate); "
            "by default it lies on one. vllm uses all GPUs of a job for answers, and this for "
            "fine-tunes only."
        ),
    )
    forest_attention: Literal["gathered", "flex"] = Field(
        default="gathered",
        description=(
            "How prompts that share beginnings are read, in answers and in fine-tunes. gathered: "
            "in blocks, by the network's own attention, on any device. flex: by torch's "
            "FlexAttention, one kernel that is compiled in the first minute; on one GPU alone. "
            "Results differ by rounding. vllm has its own for answers."
        ),
    )
    trust_remote_code: bool = Field(
        default=False,
        description="Allow the repository's own Python code to run. Off unless you trust it.",
    )
    max_length: int = Field(
        default=4096,
        ge=64,
        description=(
            "Longest prompt with its reply, in tokens; a longer one is an error before weights are "
            "loaded. A network made for less keeps its own limit."
        ),
    )
    max_batch_tokens: int = Field(
        default=16384,
        ge=256,
        description=(
            "Tokens of a forward pass; with vllm, the most it schedules at once. Scoring reads "
            "what prompts share once, holds keys and values of two passes, and takes 2,048 tokens "
            "a pass on a CPU."
        ),
    )
    recipes: Unique[tuple[str, ...]] | None = Field(
        default=None, description="Recipes to tune it with; all of the study's by default."
    )
    gpus: int = Field(
        default=1,
        ge=0,
        description=(
            "GPUs that each of its jobs asks for; 0 means that it runs on a CPU. Jobs of the "
            "backend transformers that do not tune ask for one at most, unless device_map spreads "
            "the network."
        ),
    )

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if (self.model is None) == (self.toy is None):
            raise ValueError("give either model (a hub name or a directory) or toy")
        return self

    @model_validator(mode="after")
    def _check_forest_attention(self) -> Self:
        if self.forest_attention == "flex" and (self.gpus == 0 or self.device_map):
            where = "runs on a CPU (gpus: 0)" if self.gpus == 0 else "is spread (device_map)"
            raise ValueError(
                f"forest_attention: flex reads on one GPU, and this model {where}; use gathered"
            )
        return self

    @property
    def processes(self) -> int:
        """Processes that share a fine-tune, one a GPU; one where the network is spread."""
        return 1 if self.device_map else max(1, self.gpus)


class TransformersModel(LocalModel):
    """A language model run here by transformers."""

    backend: Literal["transformers"] = Field(description="transformers: a language model, here.")
    attn_implementation: Literal["sdpa", "eager"] | None = Field(
        default=None,
        description=(
            "Attention kernel, the library's choice by default. FlashAttention cannot be used: "
            "options are scored as forests, which it cannot mask. A network that caps its "
            "attention scores (Gemma 2) is always read with eager."
        ),
    )


class VllmModel(LocalModel):
    """A language model run here by vLLM; fine-tunes are done by transformers."""

    backend: Literal["vllm"] = Field(
        description="vllm: a language model, here, in vLLM's own environment."
    )


class OpenAIModel(_LanguageModel):
    """A language model that a service runs: it has no recipes."""

    RESOURCES: ClassVar[tuple[str, ...]] = (
        *_LanguageModel.RESOURCES,
        "max_concurrency",
        "structured_output",
        "requests_per_minute",
        "tokens_per_minute",
        "timeout",
        "max_retries",
        "batch",
        "max_batch_requests",
        "batch_poll_seconds",
        "prices",
    )

    backend: Literal["openai"] = Field(
        description="openai: a model behind a service that speaks OpenAI's chat completions."
    )
    model: Text = Field(description="The model's name at its service.")
    base_url: Url = Field(description="Base address of the service, such as http://host:8000/v1.")
    api_key_env: Variable | None = Field(
        default=None,
        description=(
            "Name of the environment variable that holds the key, never the key itself; by default "
            "no key is sent."
        ),
    )
    structured_output: bool = Field(
        default=False,
        description=(
            "Whether the service takes a JSON schema as response_format, which "
            "prediction.constrained needs."
        ),
    )
    length_parameter: Literal["max_completion_tokens", "max_tokens"] = Field(
        default="max_completion_tokens",
        description="What the service calls the longest reply; older servers want max_tokens.",
    )
    temperature: float | None = Field(
        default=None,
        ge=0,
        description=(
            "Sampling temperature of closed answers and verdicts, and of open-ended answers whose "
            "generation.temperature is 0. By default none is sent, which newer models want, and "
            "the service's own holds; 0 is greedy where the service takes it."
        ),
    )
    top_p: float | None = Field(
        default=None, gt=0, le=1, description="Nucleus of sampling; by default none is sent."
    )
    reasoning_effort: Text | None = Field(
        default=None,
        description="Effort of a reasoning model, such as minimal or low; by default none is sent.",
    )
    top_logprobs: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Likeliest tokens that the service is to show at each place of a closed answer, 20 at "
            "most services; the distribution over options is read off them. By default none are "
            "asked for, and there is no distribution."
        ),
    )
    extra_body: FrozenMap[str, Any] = Field(
        default=EMPTY, description="More of a request's body, as the service wants it."
    )
    prices: Prices | None = Field(
        default=None,
        description=(
            "What the service charges. Calls without a price are counted, and said to have none; a "
            "model that costs nothing has the prices 0 and 0."
        ),
    )
    accepted_failures: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description=(
            "Share of a run's calls that may fail. Above it the run counts as incomplete: the "
            "report says so, and the next snakemake retries the calls that failed."
        ),
    )
    max_concurrency: int = Field(default=4, ge=1, description="Calls at a time.")
    requests_per_minute: float | None = Field(
        default=None, gt=0, description="Most calls a minute of each job; no limit by default."
    )
    tokens_per_minute: float | None = Field(
        default=None,
        gt=0,
        description=(
            "Most tokens a minute of each job, prompts and longest replies, estimated at four "
            "bytes a token; no limit by default."
        ),
    )
    timeout: float = Field(
        default=60.0, gt=0, description="Seconds that an attempt may take, to its last byte."
    )
    max_retries: int = Field(
        default=6,
        ge=0,
        description=(
            "Attempts after a call's first, with growing pauses or the service's own; then it has "
            "failed."
        ),
    )
    batch: bool = Field(
        default=False,
        description=(
            "Ask through the service's batch API: cheaper, within a day. A killed job goes on with "
            "the batches that it submitted."
        ),
    )
    max_batch_requests: int = Field(
        default=50_000, ge=1, le=50_000, description="Most requests of a batch."
    )
    batch_poll_seconds: float = Field(
        default=60.0, gt=0, description="Seconds between two looks at a batch."
    )


class BaselineModel(_Model):
    """A rule without language model; it predicts no pair from the subgroup's own respondents."""

    backend: Literal["baseline"] = Field(description="baseline: a rule that needs no model.")
    rule: Literal[
        "uniform",
        "national_mode",
        "first_axis",
        "second_axis",
        "axis_mode",
        "best_axis",
        "additive",
        "partial_pooling",
        "nearest",
    ] = Field(
        description=(
            "uniform: the middle code of the scale, every code as likely. national_mode: everyone "
            "outside the subgroup. first_axis: its group on the stratum's first axis. second_axis: "
            "its group on the stratum's second axis. axis_mode: the mean of its groups' "
            "distributions, one an axis. best_axis: the axis that predicts the stratum's other "
            "subgroups best on the question. additive: a logistic model with an effect for each "
            "group of each axis. partial_pooling: the same with interactions of two axes, as far "
            "as cross-validation finds them. nearest: the five nearest other subgroups of the "
            "stratum."
        ),
    )

    @property
    def persona_agnostic(self) -> bool:
        """Whether the rule answers alike for every persona."""
        return self.rule in ("uniform", "national_mode")


Model = Annotated[
    TransformersModel | VllmModel | OpenAIModel | BaselineModel, Field(discriminator="backend")
]
