"""Recipes: ways of fine-tuning. `method` says what is learned of each pair."""

from typing import Annotated, Literal

from pydantic import Field

from valuestrata.study.base import EMPTY, FilledUnique, FrozenMap, Part, Seed, Text

ALL_LINEAR = "all-linear"


class Validation(Part):
    """Part of the split that is never trained on; the log shows accuracy and distance on it."""

    share: float = Field(default=0.0, ge=0, lt=1, description="Share of the split.")
    by: Literal["pair", "question"] = Field(
        default="pair", description="What is drawn: single pairs or whole questions."
    )


class Recipe(Part):
    """What all methods share: LoRA, the optimiser and its schedule."""

    split: Text = Field(
        description="The train split, or the test split with folds, that it is tuned on."
    )
    learning_rate: float = Field(gt=0, description="Peak learning rate.")
    epochs: int = Field(default=1, ge=1, description="Passes over the split's pairs.")
    batch_size: int = Field(
        default=8, ge=1, description="Pairs per optimiser step, on however many GPUs."
    )
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = Field(
        default="linear",
        description="Learning rate after its warm-up; linear and cosine fall to 0.",
    )
    warmup_ratio: float = Field(
        default=0.1, ge=0, le=1, description="Share of the steps with a rising learning rate."
    )
    lora_r: int = Field(
        default=8, ge=1, description="Rank of the LoRA update; at most 512 with vllm."
    )
    lora_alpha: float = Field(
        default=16.0,
        gt=0,
        description="LoRA scale; the update is multiplied by lora_alpha / lora_r.",
    )
    target_modules: Literal["all-linear"] | FilledUnique[tuple[Text, ...]] = Field(
        default="all-linear",
        description=(
            "Linear layers and experts that get an adapter, by name (q_proj, ...); all but the "
            "output layer by default."
        ),
    )
    lora_dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout on the LoRA input.")
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's weight decay.")
    max_grad_norm: float = Field(
        default=1.0, gt=0, description="Gradients are clipped to this norm."
    )
    quantize: Literal["none", "4bit"] = Field(
        default="none",
        description=(
            "4bit trains over weights in bitsandbytes' NF4 (QLoRA), which needs a GPU and that "
            "package. Predictions read the adapter over the weights in `dtype`."
        ),
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Compute activations again in the backward pass: less memory, more time.",
    )
    validation: Validation = Field(
        default=Validation(),
        description="Part of the split that is never trained on; the log shows scores on it.",
    )
    seed: Seed = Field(
        default=1,
        description="Seed of the adapter's start, of the order of pairs and of every draw.",
    )


class SupervisedRecipe(Recipe):
    """What the methods share that learn from the options' probabilities alone."""

    gradient_accumulation_steps: int = Field(
        default=1,
        ge=1,
        description="Passes that a batch is divided into, to save memory; the result is the same.",
    )
    batch_layout: Literal["plain", "shared_prefix"] = Field(
        default="plain",
        description=(
            "plain: pairs drawn at random. shared_prefix: a batch is a few personas with the same "
            "few questions, as near to a square as batch_size divides (32 is 4 personas with 8 "
            "questions). What their prompts share is read once, which saves time on a CPU and "
            "memory on a GPU; the pairs of a batch are more alike than random ones."
        ),
    )
    compile_layers: bool = Field(
        default=False,
        description=(
            "Compile the network's layers by torch.compile: fewer, larger kernels, after a minute "
            "or more of compiling. Results differ by rounding."
        ),
    )
    group_sampling: Literal["none", "weight", "upsample"] = Field(
        default="none",
        description=(
            "How subgroups are made to count alike, whatever their number of pairs, and those of "
            "group_weights more. weight: by weights in the loss. upsample: by repeating pairs."
        ),
    )
    group_weights: FrozenMap[str, Annotated[float, Field(gt=0)]] = Field(
        default=EMPTY,
        description=(
            "Group (axis=group) -> how many times as much each subgroup within it counts; needs "
            "group_sampling."
        ),
    )


class SFT(SupervisedRecipe):
    """The modal answer, by cross-entropy (the paper)."""

    method: Literal["sft"] = Field(
        description="sft: learn the modal answer, by cross-entropy (the paper)."
    )


class Soft(SupervisedRecipe):
    """The subgroup's distribution over the answers, by cross-entropy."""

    method: Literal["soft"] = Field(
        description="soft: learn the subgroup's distribution over the answers, by cross-entropy."
    )


class Ordinal(SupervisedRecipe):
    """The subgroup's distribution, by Wasserstein distance along the scale."""

    method: Literal["ordinal"] = Field(
        description="ordinal: learn the distribution, by Wasserstein distance along the scale."
    )


class GroupDRO(SupervisedRecipe):
    """The modal answer; pairs of the subgroups with the highest loss weigh more and more."""

    method: Literal["dro"] = Field(
        description="dro: as sft, but subgroups with the highest loss weigh more and more."
    )
    group_dro_step_size: float = Field(
        default=0.01,
        ge=0,
        description="How fast the weights of subgroups move; 0 keeps them equal.",
    )


class DPO(Recipe):
    """The modal answer, preferred to another one."""

    method: Literal["dpo"] = Field(
        description=(
            "dpo: learn to prefer the modal answer to another one; needs pip install "
            "'valuestrata[preference]'."
        ),
    )
    beta: float = Field(
        default=0.1, gt=0, description="How strongly the tuned model is held to the untuned one."
    )
    rejected: Literal["random", "runner-up", "rarest"] = Field(
        default="random",
        description=(
            "The other answer: any one, drawn anew in each epoch (random), the most common other "
            "one (runner-up) or the least common one (rarest)."
        ),
    )


class GRPO(Recipe):
    """Replies of the model's own, rewarded by how close they come to the modal answer."""

    method: Literal["grpo"] = Field(
        description=(
            "grpo: learn from replies of the model's own, rewarded by how close they come to the "
            "modal answer; needs pip install 'valuestrata[preference]'."
        ),
    )
    beta: float = Field(
        default=0.1, ge=0, description="Weight of the divergence from the untuned model; 0 is none."
    )
    num_generations: int = Field(
        default=8, ge=2, description="Replies written to each pair and compared with each other."
    )
    temperature: float = Field(
        default=1.0, gt=0, description="Sampling temperature of the replies."
    )
    max_new_tokens: int = Field(default=16, ge=1, description="Longest reply, in tokens.")


AnyRecipe = Annotated[SFT | Soft | Ordinal | GroupDRO | DPO | GRPO, Field(discriminator="method")]
