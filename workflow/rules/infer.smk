# needs: pairs of a split, a model's weights and, for a tuned variant, its adapter
# makes: structured predictions and open-ended texts of each (model, variant, split)

LANGUAGE_MODELS = [m for m in STUDY.models if not STUDY.is_baseline(m)]
BASELINES = [m for m in STUDY.models if STUDY.is_baseline(m)]


rule predict_baseline:
    input:
        pairs=rules.pairs.output,
        questions=rules.clean.output.questions,
        responses=rules.clean.output.responses,
    output:
        f"{RUN}/predictions.parquet",
    log:
        f"{RESULTS}/logs/predict/{{model}}/{{variant}}/{{split}}.log",
    wildcard_constraints:
        model=names(BASELINES),
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        spec=spec("predict", "model", "variant"),
        code=code("predict_baseline"),
    message:
        "{wildcards.model} answers {wildcards.split}"
    shell:
        "valuestrata predict_baseline --spec {params.spec:q} --pairs {input.pairs} "
        "--questions {input.questions} --responses {input.responses} --output {output} 2> {log}"


rule predict:
    input:
        pairs=worded,
        weights=weights,
        adapter=adapter,
    output:
        f"{RUN}/predictions.parquet",
    log:
        f"{RESULTS}/logs/predict/{{model}}/{{variant}}/{{split}}.log",
    wildcard_constraints:
        model=names(LANGUAGE_MODELS),
    conda:
        environment
    threads: asks_for("threads")
    resources:
        gpu=gpus,
        mem_mb=asks_for("memory_mb"),
        runtime=asks_for("minutes"),
    params:
        spec=spec("predict", "model", "variant"),
        code=code("predict"),
        store=f"{RESULTS}/replies/{{model}}/{{variant}}/predict",
    message:
        "{wildcards.model}/{wildcards.variant} answers {wildcards.split}"
    shell:
        "valuestrata predict --spec {params.spec:q} --pairs {input.pairs} --adapter {input.adapter} "
        "--store {params.store} --threads {threads} --output {output} 2> {log}"


rule pool:
    input:
        pairs=rules.pairs.output,
        predictions=lambda w: [
            f"{RESULTS}/runs/{w.model}/{recipe}/{study_config.part_name(w.split, 'test', i)}/predictions.parquet"
            for i, recipe in enumerate(STUDY.folds(w.variant))
        ],
    output:
        f"{RUN}/predictions.parquet",
    log:
        f"{RESULTS}/logs/predict/{{model}}/{{variant}}/{{split}}.log",
    wildcard_constraints:
        model=names(LANGUAGE_MODELS),
        variant=names(r for r in STUDY.config["recipes"] if STUDY.folds(r)),
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        spec=spec("pool", "model"),
        code=code("pool"),
    message:
        "{wildcards.model}/{wildcards.variant} has answered all folds of {wildcards.split}"
    shell:
        "valuestrata pool --spec {params.spec:q} --pairs {input.pairs} "
        "--predictions {input.predictions} --output {output} 2> {log}"


ruleorder: pool > predict


rule generate:
    input:
        pairs=rules.pairs.output,
        weights=weights,
        adapter=adapter,
    output:
        f"{RUN}/texts.parquet",
    log:
        f"{RESULTS}/logs/generate/{{model}}/{{variant}}/{{split}}.log",
    wildcard_constraints:
        model=names(LANGUAGE_MODELS),
        variant=names([study_config.BASE, *STUDY.config["recipes"]]),
    priority: 10
    conda:
        environment
    threads: asks_for("threads")
    resources:
        gpu=gpus,
        mem_mb=asks_for("memory_mb"),
        runtime=asks_for("minutes"),
    params:
        spec=spec("generate", "model"),
        code=code("generate"),
        store=f"{RESULTS}/replies/{{model}}/{{variant}}/generate",
    message:
        "{wildcards.model}/{wildcards.variant} writes on {wildcards.split}"
    shell:
        "valuestrata generate --spec {params.spec:q} --pairs {input.pairs} --adapter {input.adapter} "
        "--store {params.store} --threads {threads} --output {output} 2> {log}"
