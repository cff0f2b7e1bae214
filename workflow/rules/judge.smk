# needs: open-ended texts of a run and of the judge's reference run
# makes: verdicts of each (model, variant, split, judge), every pair judged in both orders


rule judge:
    input:
        pairs=rules.pairs.output,
        texts=rules.generate.output,
        reference=reference,
        weights=judge_weights,
    output:
        f"{RUN}/verdicts/{{judge}}.parquet",
    log:
        f"{RESULTS}/logs/judge/{{model}}/{{variant}}/{{split}}/{{judge}}.log",
    conda:
        environment
    threads: asks_for("threads")
    resources:
        gpu=gpus,
        mem_mb=asks_for("memory_mb"),
        runtime=asks_for("minutes"),
    params:
        spec=spec("judge", "judge"),
        code=code("judge"),
        store=f"{RESULTS}/replies/{{model}}/{{variant}}/judge-{{judge}}",
    message:
        "{wildcards.judge} compares {wildcards.model}/{wildcards.variant} on {wildcards.split}"
    shell:
        "valuestrata judge --spec {params.spec:q} --pairs {input.pairs} --texts {input.texts} "
        "--reference {input.reference} --store {params.store} --threads {threads} "
        "--output {output} 2> {log}"
