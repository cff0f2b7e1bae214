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


def text_pairs():
    """Every text that judges compare, and every verdict, by name."""
    splits = dict.fromkeys(split for *_, split in STUDY.generation_runs())
    return {
        "pairs": expand(f"{RESULTS}/pairs/{{split}}.parquet", split=splits),
        "texts": of_runs(f"{RUN}/texts.parquet", STUDY.generation_runs()),
        "verdicts": of_runs(f"{RUN}/verdicts/{{judge}}.parquet", STUDY.judgements()),
    }


ANNOTATION = f"{RESULTS}/annotation"
# by `valuestrata agreement`, or by the rule where the study names people's files
HUMAN_AGREEMENT = f"{ANNOTATION}/agreement.parquet"
human_agreement = [HUMAN_AGREEMENT] if Path(HUMAN_AGREEMENT).exists() else []


if STUDY.simulated_annotators:

    rule annotators:
        input:
            **text_pairs(),
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
