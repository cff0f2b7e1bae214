# needs: questions (a toy's wordings), pairs of a train split, a model's weights
# makes: weights of toy models, and an adapter for each model and recipe


rule toy:
    input:
        questions=rules.clean.output.questions,
        groups=rules.clean.output.groups,
    output:
        directory(f"{RESULTS}/models/{{model}}/base"),
    log:
        f"{RESULTS}/logs/toy/{{model}}.log",
    priority: 30
    conda:
        "../../envs/train.yaml"
    threads: asks_for("threads")
    resources:
        gpu=gpus,
        mem_mb=asks_for("memory_mb"),
        runtime=asks_for("minutes"),
    params:
        spec=spec("toy", "model"),
        code=code("toy"),
    message:
        "training the toy {wildcards.model}"
    shell:
        "valuestrata toy --spec {params.spec:q} --questions {input.questions} --groups {input.groups} --threads {threads} "
        "--output {output} 2> {log}"


rule finetune:
    input:
        pairs=lambda w: f"{RESULTS}/pairs/{STUDY.recipes[w.recipe].split}.parquet",
        weights=weights,
    output:
        directory(f"{RESULTS}/models/{{model}}/{{recipe}}/adapter"),
    log:
        f"{RESULTS}/logs/finetune/{{model}}/{{recipe}}.log",
    priority: 20
    conda:
        "../../envs/train.yaml"
    threads: asks_for("threads")
    resources:
        gpu=gpus_to_tune,
        processes=processes,
        mem_mb=asks_for("memory_mb"),
        runtime=asks_for("minutes"),
    params:
        spec=spec("finetune", "model", "recipe"),
        code=code("finetune"),
        # no output: snakemake deletes those of a killed job, and a checkpoint must outlive it
        checkpoints=f"{RESULTS}/checkpoints/{{model}}/{{recipe}}",
    message:
        "tuning {wildcards.model} by {wildcards.recipe}"
    shell:
        "processes={resources.processes} valuestrata finetune --spec {params.spec:q} "
        "--pairs {input.pairs} --threads {threads} --checkpoints {params.checkpoints} --every 300 "
        "--output {output} 2> {log}"
