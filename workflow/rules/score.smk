# needs: pairs and predictions of a run
# makes: a score for each pair, by stratum, and how unequal the run is over subgroups and axes


for split in STUDY.splits:

    rule:
        name:
            f"score_{split}"
        input:
            pairs=f"{RESULTS}/pairs/{split}.parquet",
            predictions=f"{RESULTS}/runs/{{model}}/{{variant}}/{split}/predictions.parquet",
        output:
            scores(split),
        log:
            f"{RESULTS}/logs/score/{{model}}/{{variant}}/{split}.log",
        localrule: True
        conda:
            "../../envs/core.yaml"
        params:
            spec=spec("score", "model"),
            code=code("score"),
        message:
            f"scoring {{wildcards.model}}/{{wildcards.variant}} on {split}"
        shell:
            "valuestrata score --spec {params.spec:q} --pairs {input.pairs} "
            "--predictions {input.predictions} --output {output} 2> {log}"


rule fairness:
    input:
        lambda wildcards: scores(wildcards.split),
    output:
        fairness=f"{RUN}/fairness.parquet",
        groups=f"{RUN}/groups.parquet",
    log:
        f"{RESULTS}/logs/fairness/{{model}}/{{variant}}/{{split}}.log",
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        spec=spec("fairness", "model", "variant", "split"),
        code=code("fairness"),
    message:
        "fairness of {wildcards.model}/{wildcards.variant} on {wildcards.split}"
    shell:
        "valuestrata fairness --spec {params.spec:q} --scores {input} --fairness {output.fairness} "
        "--groups {output.groups} 2> {log}"
