"""GRPO: replies of the model's own, rewarded by how close they come to the mode.

Shao et al. 2024, DeepSeekMath, section 4.1; trl's default loss (DAPO's normalisation).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from trl import GRPOConfig, GRPOTrainer

from valuestrata.errors import InputError
from valuestrata.inference.chat import Chat
from valuestrata.io import records
from valuestrata.prompting import answers
from valuestrata.study.recipes import GRPO
from valuestrata.training import distributed, preference
from valuestrata.training.checkpoint import Checkpoint
from valuestrata.training.examples import TuningData, split_validation
from valuestrata.training.finetune import check_lengths
from valuestrata.training.objective import StepRecord

MIN_TRIES = 10
"""Steps at least, a tenth of all where that is more, before a run without a signal is ended."""


class _Trainer(preference.QuietTrainer, GRPOTrainer):  # type: ignore[misc]
    """Takes prompts that are token ids already."""

    def _tokenize_prompts(self, prompts: list[list[int]]) -> Any:
        return prompts, None, {}


def check(recipe: GRPO, data: TuningData, max_length: int) -> None:
    """Refuse replies that would be cut off, and what every method refuses; see finetune.check."""
    split_validation(data.examples, recipe.validation, recipe.seed)
    longest = max(len(option) for pair in data.examples for option in pair.options)
    if recipe.max_new_tokens < longest:
        raise InputError(
            f"recipe: max_new_tokens: {recipe.max_new_tokens} cut off an answer of {longest} "
            "tokens; raise it"
        )
    check_lengths(recipe, data.examples, max_length, recipe.max_new_tokens)


def finetune(
    network: Any,
    recipe: GRPO,
    code: Mapping[str, str],
    data: TuningData,
    checkpoint: Checkpoint,
) -> tuple[Any, dict[str, Any]]:
    """Tune; returns the network with its adapter, and the log, see finetune.finetune.

    The steps' records hold step, loss, learning_rate, gradient_norm, tokens (read and written,
    without padding), seconds, validation scores at some steps, reward (mean of `rewards`), answered
    (share of the replies that are answers) and, where beta > 0, kl (divergence from the reference).

    Raises:
        InputError: also where no reply was better than another one.
    """
    positions = split_validation(data.examples, recipe.validation, recipe.seed)
    split = preference.TrainAndValidation(*positions)
    prepare = partial(_prepare, recipe)
    return preference.finetune(network, recipe, code, data, checkpoint, split, prepare)


def _prepare(
    recipe: GRPO, tuned: Any, data: TuningData, train: list[int], folder: Path
) -> preference.Setup:
    columns = ["measurement_level", "scale_min", "scale_max", "mode", "codes", "labels"]
    rows = records(data.pairs[columns])
    order = [train[i] for i in preference.training_order(len(train), recipe)]
    questions = [{"prompt": list(data.examples[i].prompt), **rows[i]} for i in order]
    max_steps = len(order) // recipe.batch_size
    # both may end a reply, as where TransformersModel writes
    tuned.generation_config.eos_token_id = sorted(data.chat.ends)
    trainer = _Trainer(
        tuned,
        _closeness(data.chat),
        args=preference.on_one_device(
            GRPOConfig(
                **preference.trainer_arguments(recipe, max_steps, folder),
                # a step reads `batch_size` pairs and every reply to them
                per_device_train_batch_size=recipe.batch_size
                * recipe.num_generations
                // distributed.world_size(),
                num_generations=recipe.num_generations,
                max_completion_length=recipe.max_new_tokens,
                temperature=recipe.temperature,
                beta=recipe.beta,
                shuffle_dataset=False,
            )
        ),
        train_dataset=Dataset.from_list(questions),
        processing_class=data.chat.tokenizer,
        optimizers=preference.optimizer(tuned, recipe, max_steps),
    )

    def step_records(logs: preference.Logs) -> list[StepRecord]:
        _refuse_equal_rewards(logs)
        names = {"reward": "reward", "answered": "answered"}
        names |= {"kl": "kl"} if recipe.beta else {}
        tokens = np.diff([0, *(step["num_tokens"] for step in logs)])
        return preference.step_records(logs, names, tokens)

    return preference.Setup(
        trainer, [data.examples[i] for i in order], step_records, _check_first_steps
    )


def _closeness(chat: Chat) -> Callable[..., list[float]]:
    """The reward as trl asks for it: of the replies' ids, and the columns of their pairs."""

    def closeness(
        completion_ids: list[list[int]], log_metric: Callable[[str, float], None], **columns: Any
    ) -> list[float]:
        written = [chat.completion(ids) for ids in completion_ids]
        rows = zip(written, columns["codes"], columns["labels"], strict=True)
        parsed = [answers.parse(w.text, codes, labels, w.is_cut) for w, codes, labels in rows]
        log_metric("answered", float(np.mean([outcome == "answer" for outcome, _ in parsed])))
        values = rewards(
            [code for _, code in parsed],
            np.asarray(columns["mode"]),
            (np.asarray(columns["scale_min"]), np.asarray(columns["scale_max"])),
            np.asarray(columns["measurement_level"]) == "nominal",
        )
        return [float(value) for value in values]

    return closeness


def rewards(
    codes: Sequence[int | None],
    mode: NDArray[Any],
    scale: tuple[NDArray[Any], NDArray[Any]],
    is_nominal: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """[n] 1 at the mode, falling with the distance to 0 at one width of the scale.

    A nominal answer earns 1 or 0; what is no answer (None) earns 0.

    >>> scale = np.array([1, 1, 1, 1]), np.array([5, 5, 5, 5])
    >>> is_nominal = np.array([False, False, True, False])
    >>> rewards([4, 1, 4, None], np.array([4, 4, 3, 4]), scale, is_nominal).tolist()
    [1.0, 0.25, 0.0, 0.0]
    """
    answer = np.array([np.nan if code is None else code for code in codes])
    near = np.clip(1 - np.abs(answer - mode) / (scale[1] - scale[0]), 0, 1)
    return np.nan_to_num(np.where(is_nominal, (answer == mode).astype(float), near), nan=0.0)


def _check_first_steps(logs: preference.Logs, max_steps: int) -> None:
    """Refuse to go on where the first steps had no signal; called after each step."""
    steps = [step for step in logs if "frac_reward_zero_std" in step]
    if len(steps) == max(MIN_TRIES, max_steps // 10):
        _refuse_equal_rewards(steps)


def _refuse_equal_rewards(logs: preference.Logs) -> None:
    """Raise InputError where none of some steps told one reply from another."""
    if all(step["frac_reward_zero_std"] == 1 for step in logs):
        raise InputError(
            f"recipe: grpo: in {len(logs)} steps all replies to a prompt earned the same reward, "
            "so nothing was learned; raise temperature or num_generations, or tune a model that "
            "answers more often"
        )
