# needs: open-ended texts of a run and of the judge's reference run
# makes: verdicts of each (model, variant, split, judge), every pair judged in both orders; how judges
#        take texts that are made to try them


rule judge:
    input:
        study=STUDY_FILE,
        pairs=f"{RESULTS}/pairs/{{split}}.parquet",
        texts=f"{RUN}/texts.parquet",
        reference=reference,
        shown=survey_answers(lambda wildcards: [wildcards.split]),
        weights=weights,
    output:
        f"{RUN}/verdicts/{{judge}}.parquet",
    log:
        f"{RESULTS}/logs/judge/{{model}}/{{variant}}/{{split}}/{{judge}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/judge/{{model}}/{{variant}}/{{split}}/{{judge}}.tsv"
    wildcard_constraints:
        judge=names(STUDY.judge_models),
    conda:
        environment
    threads: config_of("threads")
    resources:
        gpu=gpus,
        mem_mb=config_of("mem_mb"),
        runtime=config_of("runtime"),
    params:
        made_of=made_of("judge"),
        gpus=required_gpus,
    message:
        "{wildcards.judge} judges {wildcards.model}/{wildcards.variant} on {wildcards.split}"
    shell:
        "valuestrata judge --study {input.study:q} --model {wildcards.model} "
        "--variant {wildcards.variant} --split {wildcards.split} --judge {wildcards.judge} "
        "--threads {threads} --gpus {params.gpus} 2> {log:q}"


rule panel:
    input:
        study=STUDY_FILE,
        verdicts=panel_verdicts,
    output:
        f"{RUN}/verdicts/{{judge}}.parquet",
    log:
        f"{RESULTS}/logs/panel/{{model}}/{{variant}}/{{split}}/{{judge}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/panel/{{model}}/{{variant}}/{{split}}/{{judge}}.tsv"
    wildcard_constraints:
        judge=names([judge for judge in STUDY.judges if STUDY.panel(judge)]),
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        made_of=made_of("panel"),
    message:
        "{wildcards.judge} decides on {wildcards.model}/{wildcards.variant}, {wildcards.split}"
    shell:
        "valuestrata panel --study {input.study:q} --model {wildcards.model} "
        "--variant {wildcards.variant} --split {wildcards.split} --judge {wildcards.judge} 2> {log:q}"


rule probe:
    input:
        study=STUDY_FILE,
        pairs=lambda wildcards: [f"{RESULTS}/pairs/{s}.parquet" for s in probed_splits(wildcards)],
        texts=probed_texts,
        shown=survey_answers(probed_splits),
        weights=weights,
    output:
        f"{RESULTS}/probes/{{judge}}.parquet",
    log:
        f"{RESULTS}/logs/probe/{{judge}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/probe/{{judge}}.tsv"
    wildcard_constraints:
        judge=names(STUDY.judge_models),
    conda:
        environment
    threads: config_of("threads")
    resources:
        gpu=gpus,
        mem_mb=config_of("mem_mb"),
        runtime=config_of("runtime"),
    params:
        made_of=made_of("probe"),
        gpus=required_gpus,
    message:
        "{wildcards.judge} is tried with texts that are made for it"
    shell:
        "valuestrata probe --study {input.study:q} --judge {wildcards.judge} "
        "--threads {threads} --gpus {params.gpus} 2> {log:q}"
