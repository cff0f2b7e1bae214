# needs: questions (a toy's texts), pairs of a train split, a model's weights
# makes: weights of toy models, and an adapter for each model and recipe


rule toy:
    input:
        study=STUDY_FILE,
        questions=rules.clean.output.questions,
        groups=rules.clean.output.groups,
    output:
        directory(f"{RESULTS}/models/{{model}}/base"),
    log:
        f"{RESULTS}/logs/toy/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/toy/{{model}}.tsv"
    wildcard_constraints:
        model=names(STUDY.toys()),
    priority: 30
    conda:
        "../../envs/train.yaml"
    threads: config_of("threads")
    resources:
        gpu=gpus,
        mem_mb=config_of("mem_mb"),
        runtime=config_of("runtime"),
    params:
        made_of=made_of("toy"),
    message:
        "training the toy {wildcards.model}"
    shell:
        "valuestrata toy --study {input.study:q} --model {wildcards.model} --threads {threads} "
        "2> {log:q}"


rule finetune:
    input:
        study=STUDY_FILE,
        pairs=lambda w: f"{RESULTS}/pairs/{STUDY.tuned_recipes[w.recipe].split}.parquet",
        weights=weights,
    output:
        directory(f"{RESULTS}/models/{{model}}/{{recipe}}/adapter"),
    log:
        f"{RESULTS}/logs/finetune/{{model}}/{{recipe}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/finetune/{{model}}/{{recipe}}.tsv"
    priority: 20
    conda:
        "../../envs/train.yaml"
    threads: config_of("threads")
    resources:
        gpu=gpus_to_tune,
        processes=processes,
        mem_mb=config_of("mem_mb"),
        runtime=config_of("runtime"),
    params:
        made_of=made_of("finetune"),
        gpus=required_gpus,
    message:
        "tuning {wildcards.model} by {wildcards.recipe}"
    shell:
        "valuestrata finetune --study {input.study:q} --model {wildcards.model} "
        "--recipe {wildcards.recipe} --threads {threads} --gpus {params.gpus} "
        "--processes {resources.processes} 2> {log:q}"
