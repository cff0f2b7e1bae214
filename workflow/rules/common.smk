# Glue between the study and the rules: the checked study, what a node is made of, what jobs ask for.
import gc
import re
import shlex
import sys
from pathlib import Path

from snakemake.settings.types import DeploymentMethod

gc.freeze()  # Snakemake itself stays: to look for garbage in it takes a tenth of a dry run
ROOT = Path(str(workflow.current_basedir)).parents[1]  # the repository, also where it is a module
SOURCE = ROOT / "src"
sys.path.insert(0, str(SOURCE))

from valuestrata.errors import InputError
from valuestrata.study.load import load
from valuestrata.study.models import VllmModel
from valuestrata.study.perturbed import (
    asked_runs,
    compared_runs,
    perturbed_splits,
    probes_country,
    probes_items,
    reworded,
    wordings_input,
)
from valuestrata.study.rubrics import read_rubric, rubric_path
from valuestrata.study.splits import stratum_id
from valuestrata.study.study import BASE, part_name, variant_name, variant_parts
from valuestrata.study.yaml import reload
from valuestrata.survey.columns import check_columns
from valuestrata.survey.open_questions import check_open_questions
from valuestrata.survey.wordings import check_wordings

IS_MAIN = workflow.is_main_process  # not one that snakemake starts for a job
OVERLAYS = list(workflow.overwrite_configfiles)
CONFIG_FILES = [*workflow.configfiles[len(OVERLAYS) :], *OVERLAYS]


def refuse_reserved(paths):
    """Refuse paths that Snakemake would take for patterns, as it has no way to quote them."""
    for path in paths:
        if re.search(r"\{[^{}]+\}|<[^<>]+>", path):
            raise InputError(
                f"config: survey: {path}: Snakemake reads {{name}} and <name> in a path as patterns; "
                "rename the file, or link to it"
            )


try:
    # Snakemake reads YAML 1.1, where NO is false and 1e-6 is text: the files are read anew
    STUDY = load(reload(config, CONFIG_FILES), Path.cwd())
    if IS_MAIN:
        refuse_reserved([STUDY.survey_file, STUDY.survey.codebook])
        problems = check_columns(STUDY, Path.cwd()) or check_open_questions(STUDY, Path.cwd())[0]
        problems = problems or check_wordings(STUDY, Path.cwd())
        if problems:
            raise InputError("\n".join(f"config: {problem}" for problem in problems))
except InputError as error:
    print(error, file=sys.stderr)
    sys.exit(2)

RESULTS = STUDY.results
RUN = f"{RESULTS}/runs/{{model}}/{{variant}}/{{split}}"
# never a reason to run: what a rule uses of the study is in its params
STUDY_FILE = ancient(f"{RESULTS}/study.json")
USES_CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
PYTHON = "python" if USES_CONDA else shlex.quote(sys.executable)

# in every rule's shell `valuestrata STAGE` runs the code beside this file, installed or not
shell.prefix(
    f"export PYTHONPATH={shlex.quote(str(SOURCE))} OMP_WAIT_POLICY=PASSIVE OPENBLAS_NUM_THREADS=1; "
    f'valuestrata() ( exec {PYTHON} -m valuestrata "$@" ); '
)


def made_of(stage, **fixed):
    """What a rule's outputs are made of, as a param: a digest of the settings that are not at their
    default, and of the code that the stage reaches."""

    def digest(wildcards):
        if not IS_MAIN:
            return ""
        from valuestrata.stages.job import params_digest, run_keys

        run = {key: fixed.get(key) or getattr(wildcards, key) for key in run_keys(stage)}
        return params_digest(STUDY, stage, run)

    return digest


def is_stale(path):
    """Whether an output is there and is not what the study and the code ask for."""
    from valuestrata.stages import job

    return not (path.endswith("study.json") or path in ANSWERED) and job.is_stale(STUDY, path)


def answered_files():
    """Of each model that is loaded once for several tables, the file that says that they are made."""
    if not (IS_MAIN and STUDY.one_load):
        return set()
    from valuestrata.stages import answer

    return {answer.outputs(STUDY, *load)["answered"] for load in answer.loads(STUDY)}


ANSWERED = answered_files()


def answered(wildcards):
    """What says that a node's model has answered all that it is asked; none where it loads alone.

    It is never a reason to run (workflow/terminal.py).
    """
    name = model_of(wildcards)
    is_judge = hasattr(wildcards, "judge")
    variant = BASE if is_judge else variant_parts(wildcards.variant)[0]
    path = f"{RESULTS}/answered/{name}/{variant}.json"
    return [ancient(path)] if path in ANSWERED else []


def inputs_of_load(wildcards):
    """All that a model's nodes read."""
    if not IS_MAIN:
        return []
    from valuestrata.stages import answer

    return answer.inputs(STUDY, wildcards.model, wildcards.variant)["files"]


def missing_gpu(job):
    """What is wrong with a job that needs a GPU where none can be found; '' if nothing."""
    from valuestrata.inference.gpus import gpu_count

    if not workflow.local_exec or not job.params.get("gpus") or gpu_count():
        return ""
    name = model_of(job.wildcards)
    key = f"models.{name}" if name in STUDY.models else f"judges.{name}.model"
    return f"config: {key}.gpus: no GPU found here; set it to 0 to run on a CPU"


def names(choices):
    """Wildcard constraint: one of some names, or nothing at all."""
    return "|".join(map(re.escape, choices)) or "(?!)"


wildcard_constraints:
    model=names([*STUDY.models, *STUDY.judges]),
    variant=names(sorted({variant for _, variant, _ in STUDY.runs()} | {*STUDY.tuned_recipes})),
    recipe=names(STUDY.tuned_recipes),
    split=names([*STUDY.splits, *STUDY.parts]),
    stratum=r"[a-z0-9_-]+",
    judge=names(STUDY.judges),


def strata(split):
    """Names of the strata of a split; a part of a k-fold split has those of the whole."""
    whole = STUDY.parts.get(split, (split,))[0]
    return [stratum_id(axes) for axes in STUDY.strata(whole)]


def tallies(split):
    """The tally tables of a split or of its prompt variant, one a stratum."""
    plain, _ = variant_parts(split)
    whole = STUDY.parts.get(plain, (plain,))[0]
    return expand(f"{RESULTS}/survey/tally/{whole}/{{stratum}}.parquet", stratum=strata(whole))


def of_runs(path, runs):
    """One path a run, its wildcards filled from (model, variant, split) or with a judge."""
    keys = ("model", "variant", "split", "judge")
    return [path.format(**dict(zip(keys, run))) for run in runs]


def of_runs_perturbed(runs):
    """Answers of runs to each perturbed prompt."""
    return [
        f"{RESULTS}/runs/{model}/{variant}/{split}/perturbed/{name}.parquet"
        for model, variant, split in runs
        for name in reworded(STUDY)
    ]


def every_score():
    """The score tables of all runs."""
    return [
        f"{RESULTS}/runs/{model}/{variant}/{split}/scores/{stratum}.parquet"
        for model, variant, split in STUDY.runs()
        for stratum in strata(split)
    ]


def scores_of_models():
    """The score tables of language models in the study's own prompt."""
    return [
        f"{RESULTS}/runs/{model}/{variant}/{split}/scores/{stratum}.parquet"
        for model, variant, split in STUDY.runs()
        if not STUDY.is_baseline(model) and not variant_parts(variant)[1]
        for stratum in strata(split)
    ]


def prompt_splits():
    """The splits in the study's own prompt, and in each prompt variant that a run answers in."""
    variants = [
        variant_name(split, variant_parts(variant)[1]) for _, variant, split in STUDY.runs()
    ]
    return list(dict.fromkeys([*STUDY.splits, *variants]))


def every_adapter():
    """The adapters of all fine-tunes."""
    return [
        f"{RESULTS}/models/{model}/{recipe}/adapter"
        for model in STUDY.models
        for recipe in STUDY.fine_tunes(model)
    ]


def weights_of(name):
    """What a model is read from: the folder that the graph makes of a toy, or a directory's files.

    A hub model is no node: its revision says which one it is.
    """
    if STUDY.is_toy(name):
        return f"{RESULTS}/models/{name}/base"
    model = getattr(STUDY.model(name), "model", None)
    return sorted(map(str, Path(model).glob("*.safetensors"))) if model else []


def weights(wildcards):
    """What the model of a job is read from: a judge, where the job has one."""
    return weights_of(model_of(wildcards))


def model_of(wildcards):
    """The model that a job runs: the judge, where it has one."""
    return getattr(wildcards, "judge", None) or wildcards.model


def adapter(wildcards):
    """The adapter of a tuned variant, the same in every prompt variant; the base has none."""
    plain, _ = variant_parts(wildcards.variant)
    return [] if plain == BASE else f"{RESULTS}/models/{wildcards.model}/{plain}/adapter"


def pairs_as_asked(wildcards):
    """The pairs with the prompts of a variant's prompt variant."""
    _, prompt_variant = variant_parts(wildcards.variant)
    return f"{RESULTS}/pairs/{variant_name(wildcards.split, prompt_variant)}.parquet"


def reference(wildcards):
    """The texts that a judge compares others with."""
    run = STUDY.judges[wildcards.judge].reference
    return f"{RESULTS}/runs/{run.model}/{run.variant}/{wildcards.split}/texts.parquet"


def probed_splits(wildcards):
    """Splits on which a judge's reference writes the texts that the judge is tried with."""
    run = STUDY.judges[wildcards.judge].reference
    return [s for m, v, s in STUDY.generation_runs() if (m, v) == (run.model, run.variant)]


def probed_texts(wildcards):
    """The reference's texts that a judge is tried with."""
    run = STUDY.judges[wildcards.judge].reference
    folder = f"{RESULTS}/runs/{run.model}/{run.variant}"
    return [f"{folder}/{split}/texts.parquet" for split in probed_splits(wildcards)]


def panel_verdicts(wildcards):
    """The verdicts that a panel combines."""
    members = STUDY.panel(wildcards.judge)
    return [f"{RUN}/verdicts/{member}.parquet".format(**wildcards) for member in members]


def shown_survey(judge, splits):
    """The survey's answers that a judge's rubric shows, of some splits; none where it shows none."""
    if not read_rubric(rubric_path(STUDY.rubric(judge))).shows_distribution:
        return []
    labels = expand(f"{RESULTS}/survey/labels/{{split}}.parquet", split=splits)
    return [*labels, f"{RESULTS}/survey/questions.parquet"]


def survey_answers(splits_of):
    """The survey's answers that the judge of a job is shown."""
    return lambda wildcards: shown_survey(wildcards.judge, splits_of(wildcards))


def config_of(key):
    """What a model's jobs ask for, from its config."""
    return lambda wildcards: getattr(STUDY.model(model_of(wildcards)), key)


def environment(wildcards):
    """The conda environment of a job that runs a model."""
    is_vllm = isinstance(STUDY.model(model_of(wildcards)), VllmModel)
    return "../../envs/vllm.yaml" if is_vllm else "../../envs/train.yaml"


def gpus_of(name):
    """GPUs that a model may use. A toy asks on a cluster, as a real model does, but never here."""
    is_local_toy = workflow.local_exec and STUDY.is_toy(name)
    return 0 if is_local_toy else getattr(STUDY.model(name), "gpus", 0)


def gpus(wildcards):
    """GPUs of a job that does not tune: transformers uses one, unless the network is spread."""
    name = model_of(wildcards)
    model = STUDY.model(name)
    is_spread = isinstance(model, VllmModel) or getattr(model, "device_map", None)
    return gpus_of(name) if is_spread else min(1, gpus_of(name))


def gpus_to_tune(wildcards):
    """GPUs of a fine-tune."""
    return gpus_of(wildcards.model)


def required_gpus(wildcards):
    """GPUs without which a job must not begin: a toy needs none."""
    name = model_of(wildcards)
    return 0 if STUDY.is_toy(name) else getattr(STUDY.model(name), "gpus", 0)


def processes(wildcards):
    """Processes that share a fine-tune, one a GPU; one where a model is spread over its GPUs."""
    is_spread = STUDY.model(wildcards.model).device_map
    return 1 if is_spread else max(1, gpus_to_tune(wildcards))


def served(runs):
    """The runs whose model, and the judgements whose judge, is asked at a service."""
    return [run for run in runs if STUDY.is_service(run[3] if len(run) > 3 else run[0])]


def probes():
    """Trials of judges: those that the study wants, and those that `valuestrata probe-judge` wrote."""
    paths = {judge: f"{RESULTS}/probes/{judge}.parquet" for judge in STUDY.judge_models}
    wanted = STUDY.probed_judges()
    return [path for judge, path in paths.items() if judge in wanted or Path(path).exists()]


def text_pairs():
    """Every text that judges compare, and every verdict, by name."""
    return {
        "pairs": expand(f"{RESULTS}/pairs/{{split}}.parquet", split=STUDY.splits_with_texts()),
        "texts": of_runs(f"{RUN}/texts.parquet", STUDY.generation_runs()),
        "verdicts": of_runs(f"{RUN}/verdicts/{{judge}}.parquet", STUDY.judgements()),
    }
