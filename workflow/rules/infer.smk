# needs: pairs of a split, a model's weights and, for a tuned variant, its adapter
# makes: structured predictions and open-ended texts of each (model, variant, split)

LANGUAGE_MODELS = [model for model in STUDY.models if not STUDY.is_baseline(model)]
BASELINES = [model for model in STUDY.models if STUDY.is_baseline(model)]
DRAWS_BY_CONFLICT = STUDY.generation is not None and STUDY.generation.stratify_by == "mds"
WORDINGS = list(wordings_input(STUDY).values())
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
        answered=answered,
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
        answered=answered,
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


if reworded(STUDY):

    rule perturb:
        input:
            study=STUDY_FILE,
            pairs=f"{RESULTS}/pairs/{{split}}.parquet",
            questions=rules.clean.output.questions,
            groups=rules.clean.output.groups,
            wordings=WORDINGS,
        output:
            perturbed=expand(
                f"{RESULTS}/perturbed/{{{{split}}}}/{{name}}.parquet", name=reworded(STUDY)
            ),
        log:
            f"{RESULTS}/logs/perturb/{{split}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/perturb/{{split}}.tsv"
        localrule: True
        conda:
            "../../envs/core.yaml"
        params:
            made_of=made_of("perturb"),
        message:
            "wording pairs of {wildcards.split} in perturbed prompts"
        shell:
            "valuestrata perturb --study {input.study:q} --split {wildcards.split} 2> {log:q}"


if asked_runs(STUDY):

    rule ask_perturbed:
        input:
            study=STUDY_FILE,
            pairs=expand(
                f"{RESULTS}/perturbed/{{{{split}}}}/{{name}}.parquet", name=reworded(STUDY)
            ),
            asked=[f"{RESULTS}/pairs/{{split}}.parquet"] if probes_items(STUDY) else [],
            questions=rules.clean.output.questions if probes_items(STUDY) else [],
            wordings=WORDINGS if probes_items(STUDY) else [],
            weights=weights,
            adapter=adapter,
            answered=answered,
        output:
            perturbed=expand(
                f"{RESULTS}/runs/{{{{model}}}}/{{{{variant}}}}/{{{{split}}}}/perturbed/{{name}}.parquet",
                name=reworded(STUDY),
            ),
            item_texts=[f"{RUN}/item_texts.parquet"] if probes_items(STUDY) else [],
        log:
            f"{RESULTS}/logs/ask_perturbed/{{model}}/{{variant}}/{{split}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/ask_perturbed/{{model}}/{{variant}}/{{split}}.tsv"
        wildcard_constraints:
            model=names(LANGUAGE_MODELS),
            variant=names([BASE, *STUDY.recipes]),
        conda:
            environment
        threads: config_of("threads")
        resources:
            gpu=gpus,
            mem_mb=config_of("mem_mb"),
            runtime=config_of("runtime"),
        params:
            made_of=made_of("ask_perturbed"),
            gpus=required_gpus,
        message:
            "{wildcards.model}/{wildcards.variant} answers perturbed prompts of {wildcards.split}"
        shell:
            "valuestrata ask_perturbed --study {input.study:q} --model {wildcards.model} "
            "--variant {wildcards.variant} --split {wildcards.split} --threads {threads} "
            "--gpus {params.gpus} 2> {log:q}"


if STUDY.one_load:

    rule answer:
        input:
            study=STUDY_FILE,
            files=inputs_of_load,
        output:
            f"{RESULTS}/answered/{{model}}/{{variant}}.json",
        log:
            f"{RESULTS}/logs/answer/{{model}}/{{variant}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/answer/{{model}}/{{variant}}.tsv"
        conda:
            environment
        threads: config_of("threads")
        resources:
            gpu=gpus,
            mem_mb=config_of("mem_mb"),
            runtime=config_of("runtime"),
        params:
            gpus=required_gpus,
        message:
            "{wildcards.model}/{wildcards.variant} answers all that it is asked, after one load"
        shell:
            "valuestrata answer --study {input.study:q} --model {wildcards.model} "
            "--variant {wildcards.variant} --threads {threads} --gpus {params.gpus} 2> {log:q}"
