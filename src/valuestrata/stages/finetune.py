"""Fine-tune a model with LoRA on a train split, by one recipe.

In several processes, a GPU each, the first one writes.
"""

import argparse
from pathlib import Path
from typing import Any

from valuestrata import io, paths, tables
from valuestrata.errors import InputError
from valuestrata.prompting.settings import template_id
from valuestrata.provenance import text_digest
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.models import loaded_model, model_files
from valuestrata.study.base import FrozenMap, Part
from valuestrata.study.models import TransformersModel
from valuestrata.study.recipes import AnyRecipe
from valuestrata.study.study import Study
from valuestrata.training.methods import code_of, load

OF_ANSWERS = ("max_length", "max_batch_tokens", "quantize")
"""Keys of a model that no fine-tune depends on."""
UNLIMITED = 10**9


class Settings(Part):
    """What an adapter depends on; `code` names the code that the recipe chooses."""

    model: TransformersModel
    recipe: AnyRecipe
    code: FrozenMap[str, str]
    template: str
    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """Every fine-tune of every model."""
    return [{"model": m, "recipe": r} for m in study.models for r in study.fine_tunes(m)]


def settings(study: Study, model: str, recipe: str) -> Settings:
    """Settings of one fine-tune. How the model will answer later is none of them."""
    config = study.tuned_recipes[recipe]
    return Settings(
        model=_tuned_model(study, model),
        recipe=config,
        code=code_of(config),
        template=template_id(study.prompt.template),
        caveat=study.run_caveat(model),
    )


def _tuned_model(study: Study, name: str) -> TransformersModel:
    """The model as it is tuned: by transformers whatever answers later, at any length."""
    fields = dict(loaded_model(study, name))
    kept = {key: fields[key] for key in fields.keys() - {"backend", *OF_ANSWERS}}
    return TransformersModel(backend="transformers", **kept)


def entries(settings: Settings) -> tuple[str, ...]:
    """The code of the recipe's method, and of its batch layout and group sampling."""
    return tuple(settings.code.values())


def inputs(study: Study, model: str, recipe: str) -> Files:
    """The pairs of the recipe's split, and the model's weights."""
    pairs = at(study, paths.PAIRS, split=study.tuned_recipes[recipe].split)
    return {"pairs": pairs, **model_files(study, model)}


def outputs(study: Study, model: str, recipe: str) -> Files:
    """The adapter's folder."""
    return {"adapter": at(study, paths.ADAPTER, model=model, recipe=recipe)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What no result depends on."""
    parser.add_argument("--threads", type=int, default=4, help="CPU threads (%(default)s)")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs without which not to begin")
    parser.add_argument("--processes", type=int, default=1, help="processes, one a GPU (1)")
    parser.add_argument("--checkpoints", help="folder to resume from after a kill")
    parser.add_argument(
        "--every", type=float, default=300, help="least seconds between two checkpoints (300)"
    )
    parser.add_argument(
        "--check", action="store_true", help="refuse bad input, and end before weights are loaded"
    )


def run(job: Job[Settings]) -> None:
    """Train, then write the adapter and its log."""
    from valuestrata.inference import local
    from valuestrata.training import distributed, lora

    data = _checked_data(job)
    if job.options.check:
        return
    if job.options.processes > 1 and not distributed.is_launched():
        distributed.relaunch(job.options.processes)
    settings, checkpoint = job.settings, _checkpoint(job)
    with distributed.distributed_context() as is_first:
        network = local.load_network(settings.model, settings.recipe.quantize)
        finetune = load(settings.code["finetune"])
        try:
            with local.memory_for(
                "recipe: the GPU's memory is not enough for its batches; raise "
                "gradient_accumulation_steps, set gradient_checkpointing: true, or lower batch_size"
            ):
                tuned, log = finetune(network, settings.recipe, settings.code, data, checkpoint)
        except FloatingPointError as error:
            raise InputError(f"recipe: {error}") from None
        if is_first:
            with io.replacing_folder(job.path("adapter"), job.record) as folder:
                lora.save(tuned, folder, settings.model)
                io.write_json({"caveat": settings.caveat, **log}, folder / paths.TRAINING_LOG)
            checkpoint.remove()


def _checked_data(job: Job[Settings]) -> Any:
    """The pairs, also as token ids, once all is refused that can be refused without weights.

    Raises:
        InputError: the recipe cannot be followed here, or not with this model and these pairs.
    """
    from valuestrata.inference import local, runtime
    from valuestrata.training import lora
    from valuestrata.training.examples import tuning_data

    settings = job.settings
    local.require_gpu(job.options.gpus, f"models.{job.record.run['model']}")
    lora.check_quantization(settings.recipe)
    runtime.prepare(job.options.threads)
    local.check_tunable(settings.model, settings.recipe.quantize)
    lora.check_layers(settings.model, settings.recipe)
    chat = local.load_chat(settings.model)
    pairs = io.read_table(job.path("pairs"), tables.PAIRS)
    data = tuning_data(pairs, chat, settings.template)
    network_limit = local.max_length(settings.model.replace(max_length=UNLIMITED))
    load(settings.code["check"])(settings.recipe, data, network_limit)
    return data


def _checkpoint(job: Job[Settings]) -> Any:
    """Where to save and to resume from: only a run of the same settings, code and inputs."""
    from valuestrata.inference import model_files
    from valuestrata.training.checkpoint import Checkpoint

    made_of = [job.record.digest, *sorted(job.record.inputs.values())]
    made_of.append(model_files.model_version(job.settings.model))
    results = Path(job.options.study).parent
    folder = job.options.checkpoints or results / paths.CHECKPOINTS.format(**job.record.run)
    return Checkpoint(folder, text_digest(made_of)[:16], job.options.every)
