# needs: pairs and predictions of a run
# makes: a score for each pair, by stratum, and how unequal the run is over subgroups and axes


for split in STUDY.splits:

    rule:
        name:
            f"score_{split}"
        input:
            study=STUDY_FILE,
            pairs=f"{RESULTS}/pairs/{split}.parquet",
            predictions=f"{RESULTS}/runs/{{model}}/{{variant}}/{split}/predictions.parquet",
        output:
            expand(
                f"{RESULTS}/runs/{{{{model}}}}/{{{{variant}}}}/{split}/scores/{{stratum}}.parquet",
                stratum=strata(split),
            ),
        log:
            f"{RESULTS}/logs/score/{{model}}/{{variant}}/{split}.log",
        benchmark:
            f"{RESULTS}/benchmarks/score/{{model}}/{{variant}}/{split}.tsv"
        localrule: True
        conda:
            "../../envs/core.yaml"
        params:
            made_of=made_of("score", split=split),
            split=split,  # the shell line below is read when the loop is over
        message:
            f"scoring {{wildcards.model}}/{{wildcards.variant}} on {split}"
        shell:
            "valuestrata score --study {input.study:q} --model {wildcards.model} "
            "--variant {wildcards.variant} --split {params.split} 2> {log:q}"


rule fairness:
    input:
        study=STUDY_FILE,
        scores=lambda w: expand(
            f"{RESULTS}/runs/{w.model}/{w.variant}/{w.split}/scores/{{stratum}}.parquet",
            stratum=strata(w.split),
        ),
        labels=rules.labels.output.labels,
    output:
        fairness=f"{RUN}/fairness.parquet",
        groups=f"{RUN}/groups.parquet",
    log:
        f"{RESULTS}/logs/fairness/{{model}}/{{variant}}/{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fairness/{{model}}/{{variant}}/{{split}}.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        made_of=made_of("fairness"),
    message:
        "fairness of {wildcards.model}/{wildcards.variant} on {wildcards.split}"
    shell:
        "valuestrata fairness --study {input.study:q} --model {wildcards.model} "
        "--variant {wildcards.variant} --split {wildcards.split} 2> {log:q}"
