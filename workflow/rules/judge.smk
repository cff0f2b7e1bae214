# needs: open-ended texts of a run and of the judge's reference run
# makes: verdicts of each (model, variant, split, judge), every pair judged in both orders


rule judge:
    input:
        study=STUDY_FILE,
        pairs=f"{RESULTS}/pairs/{{split}}.parquet",
        texts=f"{RUN}/texts.parquet",
        reference=reference,
        weights=weights,
    output:
        f"{RUN}/verdicts/{{judge}}.parquet",
    log:
        f"{RESULTS}/logs/judge/{{model}}/{{variant}}/{{split}}/{{judge}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/judge/{{model}}/{{variant}}/{{split}}/{{judge}}.tsv"
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
