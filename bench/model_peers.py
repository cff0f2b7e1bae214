"""The same prompts scored, and the same examples learned, by other people's tools.

A tool that is not installed beside the project (lm-evaluation-harness, inspect) runs in a child:
`PYTHON -m bench.model_peers TOOL JOB RESULT`.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.questionnaire import Asked
from valuestrata.inference.chat import Chat
from valuestrata.training.examples import Example

MOST = 8
"""New tokens at most; an answer has four."""


def chunks(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Positions in batches of like length."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    return [order[i : i + size] for i in range(0, len(order), size)]


def padded(rows: Sequence[Sequence[int]], pad: int, left: bool = False) -> dict[str, torch.Tensor]:
    """input_ids and attention_mask [n, T]."""
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros_like(ids)
    for r, row in enumerate(rows):
        place = slice(longest - len(row), None) if left else slice(0, len(row))
        ids[r, place] = torch.tensor(row)
        mask[r, place] = 1
    return {"input_ids": ids, "attention_mask": mask}


def at_least_fp32(logits: torch.Tensor) -> torch.dtype:
    """The dtype of log-probabilities: fp32, or fp64 where a reference is made."""
    return torch.promote_types(logits.dtype, torch.float32)


# Scoring -------------------------------------------------------------------------------------


@torch.inference_mode()
def one_forward(network: Any, chat: Chat, asked: Sequence[Asked], size: int) -> list[Any]:
    """[C] log p of each code's token after "Answer:": one padded forward pass, full logits."""
    begun = [
        (*chat.prompt(a.first, a.second).ids, *chat.encode_reply(a.replies[0])[:-2]) for a in asked
    ]
    codes = [[chat.encode_reply(text)[-2] for text in a.replies] for a in asked]
    results: list[Any] = [None] * len(asked)
    for part in chunks(list(map(len, begun)), size):
        logits = network(**padded([begun[i] for i in part], chat.pad)).logits
        logprobs = logits.to(at_least_fp32(logits)).log_softmax(dim=-1)
        for row, i in enumerate(part):
            results[i] = logprobs[row, len(begun[i]) - 1, codes[i]].numpy()
    return results


@torch.inference_mode()
def forward_an_option(network: Any, chat: Chat, asked: Sequence[Asked], size: int) -> list[Any]:
    """[C] log p of each whole reply: a forward pass an option, log p of every prompt token too."""
    rows, starts, owners = [], [], []
    for i, one in enumerate(asked):
        prompt = chat.prompt(one.first, one.second).ids
        for text in one.replies:
            rows.append((*prompt, *chat.encode_reply(text)))
            starts.append(len(prompt))
            owners.append(i)
    totals = [0.0] * len(rows)
    for part in chunks(list(map(len, rows)), size):
        batch = padded([rows[i] for i in part], chat.pad)
        logits = network(**batch).logits[:, :-1]
        logprobs = logits.to(at_least_fp32(logits)).log_softmax(dim=-1)
        steps = logprobs.gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
        for row, i in enumerate(part):
            totals[i] = float(steps[row, starts[i] - 1 : len(rows[i]) - 1].sum())
    return [np.array([t for t, o in zip(totals, owners, strict=True) if o == i]) for i in
            range(len(asked))]  # fmt: skip


@torch.inference_mode()
def write(network: Any, chat: Chat, asked: Sequence[Asked], size: int) -> list[str]:
    """Greedy texts by `generate`, the code then found by a regular expression."""
    prompts = [chat.prompt(a.first, a.second).ids for a in asked]
    texts = [""] * len(asked)
    for part in chunks(list(map(len, prompts)), size):
        batch = padded([prompts[i] for i in part], chat.pad, left=True)
        out = network.generate(
            **batch,
            max_new_tokens=MOST,
            do_sample=False,
            eos_token_id=chat.terminator[-1],
            pad_token_id=chat.pad,
        )
        new = out[:, batch["input_ids"].shape[1] :]
        for i, text in zip(part, chat.tokenizer.batch_decode(new), strict=True):
            texts[i] = answer_in(text)
    return texts


@torch.inference_mode()
def generate(
    network: Any, chat: Chat, asked: Sequence[Asked], new_tokens: int, size: int
) -> list[str]:
    """Greedy texts by `generate`, of prompts sorted by length."""
    prompts = [chat.prompt(a.first, a.second).ids for a in asked]
    texts = [""] * len(asked)
    for part in chunks(list(map(len, prompts)), size):
        batch = padded([prompts[i] for i in part], chat.pad, left=True)
        out = network.generate(
            **batch,
            max_new_tokens=new_tokens,
            do_sample=False,
            eos_token_id=sorted(chat.ends),
            pad_token_id=chat.pad,
        )
        for i, ids in zip(part, out[:, batch["input_ids"].shape[1] :].tolist(), strict=True):
            texts[i] = chat.decode(ids)
    return texts


def answer_in(text: str) -> str:
    """The first answer in a text, '' if there is none."""
    match = re.search(r"Answer: \d+", text)
    return match.group() if match else ""


# Training ------------------------------------------------------------------------------------


def rows(examples: Sequence[Example]) -> list[dict[str, list[int]]]:
    """Examples as transformers' Trainer takes them."""
    return [
        {
            "input_ids": [*e.prompt, *e.reply],
            "attention_mask": [1] * (len(e.prompt) + len(e.reply)),
            "labels": [*[-100] * len(e.prompt), *e.reply],
        }
        for e in examples
    ]


def mean_loss(network: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Cross-entropy over the labelled tokens of a batch, as inputs out by a trainer."""
    logits = network(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), inputs["labels"][:, 1:].flatten()
    )


def settings(folder: Path, rate: float, batch: int, passes: int) -> dict[str, Any]:
    """What both trainers are told: the same steps, and nothing written."""
    return {
        "output_dir": str(folder),
        "learning_rate": rate,
        "num_train_epochs": 1,
        "per_device_train_batch_size": batch // passes,
        "gradient_accumulation_steps": passes,
        "lr_scheduler_type": "linear",
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_pin_memory": False,
        "seed": 1,
    }


def trl_trainer(
    network: Any, chat: Chat, examples: Sequence[Example], arguments: dict[str, Any], **more: Any
) -> Any:
    """TRL's SFTTrainer on prompt and completion; `more` changes its defaults."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    words = chat.tokenizer
    texts = Dataset.from_list(
        [{"prompt": words.decode(e.prompt), "completion": words.decode(e.reply)} for e in examples]
    )
    return quiet(
        SFTTrainer(
            model=network,
            args=SFTConfig(**{"bf16": False, **arguments, **more}),
            train_dataset=texts,
            processing_class=words,
        )
    )


def hf_trainer(
    network: Any, chat: Chat, examples: Sequence[Example], arguments: dict[str, Any], **more: Any
) -> Any:
    """transformers' Trainer with batches of like length; `more` changes its defaults."""
    from datasets import Dataset
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    training = TrainingArguments(**arguments, **more, train_sampling_strategy="group_by_length")
    return quiet(
        Trainer(
            model=network,
            args=training,
            train_dataset=Dataset.from_list(rows(examples)),
            data_collator=DataCollatorForSeq2Seq(chat.tokenizer, padding=True),
        )
    )


def quiet(trainer: Any) -> Any:
    """A trainer that prints no summary of its own."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    return trainer


# Tools in a process of their own -------------------------------------------------------------


def lm_eval(job: dict[str, Any]) -> dict[str, Any]:
    """lm-evaluation-harness, HF backend: log p of each code after "Answer:"; contexts share."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    model = HFLM(
        pretrained=AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32),
        tokenizer=PreTrainedTokenizerFast.from_pretrained(job["model"]),
        device="cpu",
        batch_size=job["size"],
        max_length=2048,
    )
    requests = [
        Instance(
            request_type="loglikelihood",
            doc={},
            arguments=(prompt, option),
            idx=i,
            metadata=("bench", i, 1),
        )
        for i, (prompt, options) in enumerate(job["asked"])
        for option in options
    ]
    seconds, results = timed(lambda: model.loglikelihood(requests, disable_tqdm=True))
    values = iter(value for value, _ in results)
    logprobs = [[next(values) for _ in options] for _, options in job["asked"]]
    return {"seconds": seconds, "logprobs": logprobs}


CHOICE = "{question}\n{choices}\nReply in the form 'ANSWER: $LETTER' ({letters}) and nothing else."


def inspect(job: dict[str, Any]) -> dict[str, Any]:
    """inspect's multiple_choice, hf backend: each prompt's messages and what was written."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig, get_model
    from inspect_ai.scorer import choice
    from inspect_ai.solver import multiple_choice

    samples = [
        Sample(
            input=[ChatMessageSystem(content=first), ChatMessageUser(content=second)],
            choices=choices,
            target="A",
        )
        for first, second, choices in job["asked"]
    ]
    task = Task(
        dataset=MemoryDataset(samples),
        solver=multiple_choice(template=CHOICE, max_tokens=MOST),
        scorer=choice(),
    )
    model = get_model(
        "hf/local",
        model_path=job["model"],
        tokenizer_path=job["model"],
        device="cpu",
        do_sample=False,
        config=GenerateConfig(max_connections=job["size"]),
        dtype=torch.float32,
    )
    seconds, (log,) = timed(
        lambda: eval(task, model=model, display="none", log_dir=job["logs"], score=True)
    )
    if log.status != "success" or not log.samples:
        raise RuntimeError(f"inspect: {log.error and log.error.message}")
    texts = [
        [*(message.text for message in sample.messages[:2]), sample.output.completion]
        for sample in log.samples
    ]
    return {"seconds": seconds, "texts": texts}


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process, all its threads included, and what came out."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


if __name__ == "__main__":
    torch.set_num_threads(1)
    tools = {"lm_eval": lm_eval, "inspect_ai": inspect}
    tool, given, result = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    answer = tools[tool](json.loads(given.read_text(encoding="utf-8")))
    result.write_text(json.dumps(answer), encoding="utf-8")
