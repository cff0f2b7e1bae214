# Glue between the study and the rules: the checked study, one spec and one code digest a rule.
import re
import shlex
import sys
from functools import cache
from pathlib import Path

from snakemake_interface_executor_plugins.settings import DeploymentMethod

SOURCE = Path(workflow.basedir) / "src"
sys.path.insert(0, str(SOURCE))

from valuestrata import config as study_config
from valuestrata.errors import InputError
from valuestrata.provenance import code_digest
from valuestrata.specs import reworded, stratum_id, to_json, variant_parts
from valuestrata.validate import load

try:
    STUDY = load(config, Path(workflow.basedir))
except InputError as error:
    print(error, file=sys.stderr)
    sys.exit(2)

RESULTS = STUDY.results
RUN = f"{RESULTS}/runs/{{model}}/{{variant}}/{{split}}"
USES_CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
PYTHON = "python" if USES_CONDA else shlex.quote(sys.executable)

# in every rule's shell `valuestrata STAGE` runs the code beside this file, installed or not; with
# `processes=N` before it, in N processes that share the work, once one has checked the input
shell.prefix(
    f"export PYTHONPATH={shlex.quote(str(SOURCE))} OMP_WAIT_POLICY=PASSIVE OPENBLAS_NUM_THREADS=1; "
    'valuestrata() ( launch=; if [ "${{processes:-1}}" -gt 1 ]; then '
    f'{PYTHON} -m valuestrata "$@" --check || exit; export OMP_NUM_THREADS=1 '
    'launch="-m torch.distributed.run --standalone --nproc-per-node $processes"; fi; '
    f'exec {PYTHON} $launch -m valuestrata "$@" ); '
)


def spec(stage, *wildcard_names, **fixed):
    """A rule's spec as a param: study_config.spec_STAGE of the study, some wildcards and values."""
    build = getattr(study_config, f"spec_{stage}")
    return lambda wildcards: to_json(
        build(STUDY, **{name: getattr(wildcards, name) for name in wildcard_names}, **fixed)
    )


digest = cache(code_digest)


def code(stage):
    """Digest of the code behind a stage, as a param. Found when a job asks for it: a job on a cluster
    starts snakemake twice for its own rule alone."""
    return lambda wildcards: digest(f"valuestrata.stages.{stage}")


def names(some):
    """Wildcard constraint: one of some names, or nothing at all."""
    return "|".join(map(re.escape, some)) or "(?!)"


wildcard_constraints:
    model=names([*STUDY.models, *STUDY.judge_models]),
    variant=names(sorted({v for _, v, _ in STUDY.runs()} | {*STUDY.recipes})),
    recipe=names(STUDY.recipes),
    wording=names(STUDY.config["wordings"]),
    split=names([*STUDY.splits, *STUDY.parts]),
    stratum=r"[a-z0-9_-]+",
    judge=names(STUDY.judge_models),


def tallies(split):
    """The tally tables of a split, one a stratum; a part of a k-fold split has the whole's."""
    whole = STUDY.parts.get(split, (split,))[0]
    strata = [stratum_id(axes) for axes in STUDY.splits[whole]]
    return [f"{RESULTS}/survey/tally/{whole}/{stratum}.parquet" for stratum in strata]


def scores(split):
    """The score tables of a run on a split, one a stratum; model and variant stay open."""
    strata = [stratum_id(axes) for axes in STUDY.splits[split]]
    folder = f"{RESULTS}/runs/{{model}}/{{variant}}/{split}/scores"
    return [f"{folder}/{stratum}.parquet" for stratum in strata]


def every_score(wildcards):
    """The score tables of all runs."""
    return [
        path.format(model=model, variant=variant)
        for model, variant, split in STUDY.runs()
        for path in scores(split)
    ]


def of_runs(path, runs):
    """One path a run, its wildcards filled from (model, variant, split) or with a judge."""
    keys = ("model", "variant", "split", "judge")
    return [path.format(**dict(zip(keys, run))) for run in runs]


def weights_of(name):
    """What a model is read from: the folder that the graph makes of a toy, or a directory's files.

    A hub model is no node: its revision says which one it is.
    """
    if STUDY.is_toy(name):
        return f"{RESULTS}/models/{name}/base"
    said = STUDY.model_config(name).get("weights")
    return sorted(map(str, Path(said).glob("*.safetensors"))) if said else []


def weights(wildcards):
    """What the model of a job is read from."""
    return weights_of(wildcards.model)


def adapter(wildcards):
    """The adapter of a tuned variant, the same in every wording; the base has none."""
    variant, _ = variant_parts(wildcards.variant)
    tuned = f"{RESULTS}/models/{wildcards.model}/{variant}/adapter"
    return [] if variant == study_config.BASE else tuned


def worded(wildcards):
    """The pairs with the prompts of a variant's wording."""
    _, wording = variant_parts(wildcards.variant)
    name = reworded(wildcards.split, wording) if wording else wildcards.split
    return f"{RESULTS}/pairs/{name}.parquet"


def judge_weights(wildcards):
    """What the judge of a job is read from."""
    return weights_of(wildcards.judge)


def reference(wildcards):
    """The texts that a judge compares others with."""
    said = STUDY.config["judges"][wildcards.judge]["reference"]
    return f"{RESULTS}/runs/{said['model']}/{said['variant']}/{wildcards.split}/texts.parquet"


def asked(wildcards):
    """The model that a job runs: the judge, where it has one."""
    return getattr(wildcards, "judge", None) or wildcards.model


def asks_for(key):
    """What a model's jobs ask for, from its config."""
    return lambda wildcards: STUDY.model_config(asked(wildcards))[key]


def environment(wildcards):
    """The conda environment of a job that asks a model."""
    is_vllm = STUDY.model_config(asked(wildcards))["backend"] == "vllm"
    return "../../envs/vllm.yaml" if is_vllm else "../../envs/train.yaml"


def gpus_of(name):
    """GPUs that a model may use. A toy asks on a cluster, as a real model does, but never here."""
    said = STUDY.model_config(name)
    elsewhere = said["backend"] == "openai" or (workflow.local_exec and STUDY.is_toy(name))
    return 0 if elsewhere else said["gpus"]


def gpus(wildcards):
    """GPUs that a job asks for that does not tune: transformers uses one, unless it is spread."""
    name = asked(wildcards)
    said = STUDY.model_config(name)
    spread = said["backend"] == "vllm" or "device_map" in said
    return gpus_of(name) if spread else min(1, gpus_of(name))


def gpus_to_tune(wildcards):
    """GPUs that a fine-tune asks for."""
    return gpus_of(wildcards.model)


def processes(wildcards):
    """Processes that share a fine-tune, a GPU each; one where a model is spread over its GPUs."""
    spread = "device_map" in STUDY.model_config(wildcards.model)
    return 1 if spread else max(1, gpus_to_tune(wildcards))
