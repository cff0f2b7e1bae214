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
        answered=answered,
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
        answered=answered,
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


ANNOTATION = f"{RESULTS}/annotation"
# by `valuestrata agreement`, or by the rule where the study names people's files
HUMAN_AGREEMENT = f"{ANNOTATION}/agreement.parquet"
human_agreement = [HUMAN_AGREEMENT] if Path(HUMAN_AGREEMENT).exists() else []


if STUDY.simulated_annotators:

    rule annotators:
        input:
            **text_pairs(),
            shown=shown_survey(STUDY.annotated_judge, STUDY.splits_with_texts()),
            study=STUDY_FILE,
        output:
            page=f"{ANNOTATION}/simulated/page.html",
            key=f"{ANNOTATION}/simulated/key.json",
            annotations=f"{ANNOTATION}/simulated/annotations.csv",
            record=f"{ANNOTATION}/simulated/made_of.json",
        log:
            f"{RESULTS}/logs/annotators.log",
        benchmark:
            f"{RESULTS}/benchmarks/annotators.tsv"
        localrule: True
        conda:
            "../../envs/core.yaml"
        params:
            made_of=made_of("annotators"),
        message:
            "simulating annotators"
        shell:
            "valuestrata annotators --study {input.study:q} 2> {log:q}"


if STUDY.annotator_files or STUDY.simulated_annotators:

    rule human_agreement:
        input:
            **text_pairs(),
            study=STUDY_FILE,
            annotations=(STUDY.annotator_files or f"{ANNOTATION}/simulated/annotations.csv"),
            sample_keys=(
                sorted(map(str, Path(ANNOTATION).glob("*.key.json")))
                if STUDY.annotator_files
                else f"{ANNOTATION}/simulated/key.json"
            ),
        output:
            HUMAN_AGREEMENT
            if STUDY.annotator_files
            else f"{ANNOTATION}/simulated/agreement.parquet",
        log:
            f"{RESULTS}/logs/human_agreement.log",
        benchmark:
            f"{RESULTS}/benchmarks/human_agreement.tsv"
        localrule: True
        conda:
            "../../envs/core.yaml"
        params:
            made_of=made_of("human_agreement"),
        message:
            "comparing annotators with judges"
        shell:
            "valuestrata human_agreement --study {input.study:q} 2> {log:q}"

    if STUDY.annotator_files or not human_agreement:  # people's own come before simulated ones
        human_agreement = rules.human_agreement.output
