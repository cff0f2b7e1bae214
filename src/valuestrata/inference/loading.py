"""Weights and adapters that are all there: every tensor of the file is in the network, and back.

The libraries fill what a file lacks with random numbers and leave out what they cannot place, with
a warning. Here both are errors, one line that names every tensor.
"""

import logging
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from valuestrata.errors import InputError
from valuestrata.inference import architectures, model_files
from valuestrata.inference.model_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from valuestrata.study.models import LocalModel

log = logging.getLogger(__name__)

BUFFERS = {"inv_freq", "masked_bias", "position_ids"}
"""Tensors of older files that are computed from the settings today, and are not weights."""
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


def check_keys(name: str, network: Any, info: Mapping[str, Any]) -> None:
    """Refuse a network that is not what its file holds.

    Tied weights count as there where one of them is. Buffers that the network computes by itself
    may stand in the file.

    Args:
        name: of the model.
        network: as it was loaded.
        info: transformers' report of the loading.

    Raises:
        InputError: one line with every missing, unexpected and mismatched tensor.
    """
    kept = set(network.state_dict())
    computed = {key.rpartition(".")[2] for key, _ in network.named_buffers() if key not in kept}
    unexpected = {
        key for key in info["unexpected_keys"] if key.rpartition(".")[2] not in computed | BUFFERS
    }
    problems = differences(
        missing=info["missing_keys"],
        unexpected=unexpected,
        mismatched={key: (there, here) for key, there, here in info["mismatched_keys"]},
    )
    if problems:
        raise InputError(
            f"{name}: the weights are not those of a {type(network).__name__} ({problems}); name "
            "the model that they were saved from, or convert them"
        )


def differences(
    missing: Iterable[str],
    unexpected: Iterable[str],
    mismatched: Mapping[str, tuple[Iterable[int], Iterable[int]]],
) -> str:
    """Every tensor that is not where it should be, '' for none; layers are drawn together.

    Args:
        missing: in the file.
        unexpected: in the file.
        mismatched: shapes in the file and in the network.
    """
    parts = []
    if missing := list(missing):
        parts.append(f"missing: {', '.join(grouped(missing))}")
    if unexpected := list(unexpected):
        parts.append(f"unexpected: {', '.join(grouped(unexpected))}")
    shapes: dict[str, list[str]] = {}
    for key, (there, here) in mismatched.items():
        shapes.setdefault(f"{list(there)} in place of {list(here)}", []).append(key)
    for shape, keys in sorted(shapes.items()):
        parts.append(f"of other shape: {', '.join(grouped(keys))} {shape}")
    return "; ".join(parts)


def grouped(keys: Iterable[str]) -> list[str]:
    """Names that differ in one number as one.

    >>> grouped(["layers.0.up.weight", "layers.2.up.weight", "layers.1.up.weight", "norm.weight"])
    ['layers.{0-2}.up.weight', 'norm.weight']
    """
    groups: dict[str, list[tuple[int, ...]]] = {}
    for key in keys:
        groups.setdefault(_NUMBER.sub("*", key), []).append(tuple(map(int, _NUMBER.findall(key))))
    names = []
    for pattern, indices in sorted(groups.items()):
        columns = list(zip(*indices, strict=True))
        parts = pattern.split("*")
        numbers = [_ranges(sorted(set(column))) for column in columns]
        names.append("".join(a + b for a, b in zip(parts, [*numbers, ""], strict=True)))
    return names


def _ranges(numbers: list[int]) -> str:
    """Numbers as ranges, in braces where there are several."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    text = ",".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)
    return text if len(numbers) == 1 else f"{{{text}}}"


def check_shift(shift: float, adapter: Path | str | None, name: str) -> float:
    """Refuse a model without numbers, or with an adapter that changes nothing.

    Raises:
        InputError: one line that says which.
    """
    if not math.isfinite(shift):
        raise InputError(
            f"{name}: its logits are no finite numbers; use dtype: bfloat16 or float32 (float16 "
            "overflows in some networks), or take whole weights"
        )
    if adapter is not None and shift == 0:
        raise InputError(
            f"{adapter}: the adapter changes nothing; raise the recipe's learning_rate, or delete "
            "it and run snakemake again"
        )
    return shift


def check_adapter(model: LocalModel, config: Any, folder: Path) -> None:
    """Refuse an adapter of which any tensor would not be applied, without loading weights.

    The adapter's settings say which layers of the network it is for; each has to find its tensors
    in the file, of its shape, and the file may hold no others.

    Args:
        model: what it belongs to.
        config: the model's settings.
        folder: of the adapter.

    Raises:
        InputError: one line with every tensor that is missing, unexpected or of another shape.
    """
    from peft import LoraConfig, get_peft_model

    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: has no {name}; delete it and run snakemake again")
    model_files.check_whole([folder / ADAPTER_WEIGHTS])
    model_files.read_json(folder / ADAPTER_CONFIG)
    settings = LoraConfig.from_pretrained(str(folder))
    settings.base_model_name_or_path = None  # peft would warn that it lies elsewhere now
    try:
        network = architectures.empty_network(model, config)
    except (RuntimeError, NotImplementedError) as error:  # code of its own that wants numbers
        log.warning("%s: its adapter is checked once it is loaded (%s)", model.model, error)
        return
    try:
        tuned = get_peft_model(network, settings)
    except ValueError as error:  # no layer of the names in its settings
        first = str(error).splitlines()[0]
        raise InputError(f"{folder}: is no adapter of {model.model} ({first})") from None
    check_applied(tuned, folder, str(model.model))


def check_applied(tuned: Any, folder: Path, name: str) -> None:
    """Refuse a network whose adapter has other tensors than the adapter's file.

    Raises:
        InputError: one line with every tensor that is missing, unexpected or of another shape.
    """
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    # embeddings are never tuned, and to ask whether they were takes a look at the hub
    tensors_of = get_peft_model_state_dict(tuned, save_embedding_layers=False)
    expected = {key: list(tensor.shape) for key, tensor in tensors_of.items()}
    with safe_open(folder / ADAPTER_WEIGHTS, framework="np") as tensors:
        keys = tensors.keys()
        actual = {key: list(tensors.get_slice(key).get_shape()) for key in keys}
    both = expected.keys() & actual.keys()
    problems = differences(
        missing=expected.keys() - actual.keys(),
        unexpected=actual.keys() - expected.keys(),
        mismatched={k: (actual[k], expected[k]) for k in both if actual[k] != expected[k]},
    )
    if problems:
        raise InputError(
            f"{folder}: the adapter is not one of {name} ({problems}); delete it and run "
            "snakemake again"
        )
