# needs: pairs of a split, a model's weights and, for a tuned variant, its adapter
# makes: structured predictions and open-ended texts of each (model, variant, split)

LANGUAGE_MODELS = [model for model in STUDY.models if not STUDY.is_baseline(model)]
BASELINES = [model for model in STUDY.models if STUDY.is_baseline(model)]
DRAWS_BY_CONFLICT = STUDY.generation is not None and STUDY.generation.stratify_by == "mds"
FOLDED_RECIPES = [recipe for recipe in STUDY.recipes if STUDY.fold_recipes(recipe)]


rule predict_baseline:
    input:
        study=STUDY_FILE,
        pairs=f"{RESULTS}/pairs/{{split}}.parquet",
        questions=rules.clean.output.questions,
        responses=rules.clean.output.responses,
    output:
        f"{RUN}/predictions.parquet",
    log:
        f"{RESULTS}/logs/predict/{{model}}/{{variant}}/{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/predict/{{model}}/{{variant}}/{{split}}.tsv"
    wildcard_constraints:
        model=names(BASELINES),
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        made_of=made_of("predict_baseline"),
    message:
        "{wildcards.model} answers {wildcards.split}"
    shell:
        "valuestrata predict_baseline --study {input.study:q} --model {wildcards.model} "
        "--variant {wildcards.variant} --split {wildcards.split} 2> {log:q}"


rule predict:
    input:
        study=STUDY_FILE,
        pairs=pairs_as_asked,
        weights=weights,
        adapter=adapter,
    output:
        f"{RUN}/predictions.parquet",
    log:
        f"{RESULTS}/logs/predict/{{model}}/{{variant}}/{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/predict/{{model}}/{{variant}}/{{split}}.tsv"
    wildcard_constraints:
        model=names(LANGUAGE_MODELS),
    conda:
        environment
    threads: config_of("threads")
    resources:
        gpu=gpus,
        mem_mb=config_of("mem_mb"),
        runtime=config_of("runtime"),
    params:
        made_of=made_of("predict"),
        gpus=required_gpus,
    message:
        "{wildcards.model}/{wildcards.variant} answers {wildcards.split}"
    shell:
        "valuestrata predict --study {input.study:q} --model {wildcards.model} "
        "--variant {wildcards.variant} --split {wildcards.split} --threads {threads} "
        "--gpus {params.gpus} 2> {log:q}"


rule pool:
    input:
        study=STUDY_FILE,
        pairs=f"{RESULTS}/pairs/{{split}}.parquet",
        predictions=lambda w: [
            f"{RESULTS}/runs/{w.model}/{recipe}/{part_name(w.split, 'test', i)}/predictions.parquet"
            for i, recipe in enumerate(STUDY.fold_recipes(w.variant))
        ],
    output:
        f"{RUN}/predictions.parquet",
    log:
        f"{RESULTS}/logs/predict/{{model}}/{{variant}}/{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/predict/{{model}}/{{variant}}/{{split}}.tsv"
    wildcard_constraints:
        model=names(LANGUAGE_MODELS),
        variant=names(FOLDED_RECIPES),
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        made_of=made_of("pool"),
    message:
        "combining the folds of {wildcards.model}/{wildcards.variant} on {wildcards.split}"
    shell:
        "valuestrata pool --study {input.study:q} --model {wildcards.model} "
        "--variant {wildcards.variant} --split {wildcards.split} 2> {log:q}"


ruleorder: pool > predict


rule generate:
    input:
        study=STUDY_FILE,
        pairs=f"{RESULTS}/pairs/{{split}}.parquet",
        questions=rules.clean.output.questions,
        diversity=rules.diversity.output.diversity if DRAWS_BY_CONFLICT else [],
        weights=weights,
        adapter=adapter,
    output:
        f"{RUN}/texts.parquet",
    log:
        f"{RESULTS}/logs/generate/{{model}}/{{variant}}/{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/generate/{{model}}/{{variant}}/{{split}}.tsv"
    wildcard_constraints:
        model=names(LANGUAGE_MODELS),
        variant=names([BASE, *STUDY.recipes]),
    priority: 10
    conda:
        environment
    threads: config_of("threads")
    resources:
        gpu=gpus,
        mem_mb=config_of("mem_mb"),
        runtime=config_of("runtime"),
    params:
        made_of=made_of("generate"),
        gpus=required_gpus,
    message:
        "{wildcards.model}/{wildcards.variant} writes on {wildcards.split}"
    shell:
        "valuestrata generate --study {input.study:q} --model {wildcards.model} "
        "--variant {wildcards.variant} --split {wildcards.split} --threads {threads} "
        "--gpus {params.gpus} 2> {log:q}"
