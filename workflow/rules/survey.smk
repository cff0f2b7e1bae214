# needs: the survey's file (or simulates one) and a codebook
# makes: responses and questions, tallies by stratum, conflict scores, labelled pairs with prompts,
#        human ceilings, and summary.json with the figures to check first


rule study:
    output:
        f"{RESULTS}/study.json",
    log:
        f"{RESULTS}/logs/study.log",
    localrule: True
    message:
        "writing the study"
    run:
        Path(output[0]).write_text(STUDY.to_json(), encoding="utf-8")


rule survey:
    input:
        f"{RESULTS}/survey/summary.json",
        f"{RESULTS}/survey/diversity.parquet",
        f"{RESULTS}/survey/ceilings.parquet",
    localrule: True


if STUDY.survey.simulate:

    rule simulate:
        input:
            study=STUDY_FILE,
            codebook=STUDY.survey.codebook,
        output:
            f"{RESULTS}/survey/simulated.csv",
            f"{RESULTS}/survey/made_of.json",
        log:
            f"{RESULTS}/logs/simulate.log",
        benchmark:
            f"{RESULTS}/benchmarks/simulate.tsv"
        localrule: True
        conda:
            "../../envs/core.yaml"
        params:
            made_of=made_of("simulate"),
        message:
            "simulating the survey"
        shell:
            "valuestrata simulate --study {input.study:q} 2> {log:q}"


rule clean:
    input:
        study=STUDY_FILE,
        survey=STUDY.survey_file,
        codebook=STUDY.survey.codebook,
    output:
        responses=f"{RESULTS}/survey/responses.parquet",
        questions=f"{RESULTS}/survey/questions.parquet",
        groups=f"{RESULTS}/survey/groups.json",
        notices=f"{RESULTS}/survey/notices.json",
    log:
        f"{RESULTS}/logs/clean.log",
    benchmark:
        f"{RESULTS}/benchmarks/clean.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        made_of=made_of("clean"),
    message:
        "reading the survey"
    shell:
        "valuestrata clean --study {input.study:q} 2> {log:q}"


# one node a split, so that a new stratum of one split leaves the other splits' tallies alone
for split in STUDY.splits:

    rule:
        name:
            f"tally_{split}"
        input:
            study=STUDY_FILE,
            responses=rules.clean.output.responses,
            questions=rules.clean.output.questions,
            groups=rules.clean.output.groups,
        output:
            expand(f"{RESULTS}/survey/tally/{split}/{{stratum}}.parquet", stratum=strata(split)),
        log:
            f"{RESULTS}/logs/tally/{split}.log",
        benchmark:
            f"{RESULTS}/benchmarks/tally/{split}.tsv"
        localrule: True
        conda:
            "../../envs/core.yaml"
        params:
            made_of=made_of("tally", split=split),
            split=split,  # the shell line below is read when the loop is over
        message:
            f"tallying split {split}"
        shell:
            "valuestrata tally --study {input.study:q} --split {params.split} 2> {log:q}"


rule diversity:
    input:
        study=STUDY_FILE,
        responses=rules.clean.output.responses,
        questions=rules.clean.output.questions,
        groups=rules.clean.output.groups,
    output:
        diversity=f"{RESULTS}/survey/diversity.parquet",
        agreement=f"{RESULTS}/survey/agreement.parquet",
    log:
        f"{RESULTS}/logs/diversity.log",
    benchmark:
        f"{RESULTS}/benchmarks/diversity.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        made_of=made_of("diversity"),
    message:
        "scoring how much subgroups disagree"
    shell:
        "valuestrata diversity --study {input.study:q} 2> {log:q}"


rule pairs:
    input:
        study=STUDY_FILE,
        tallies=lambda wildcards: tallies(wildcards.split),
        questions=rules.clean.output.questions,
        groups=rules.clean.output.groups,
    output:
        f"{RESULTS}/pairs/{{split}}.parquet",
    log:
        f"{RESULTS}/logs/pairs/{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/pairs/{{split}}.tsv"
    wildcard_constraints:
        split=names(
            variant_name(split, prompt_variant)
            for split in [*STUDY.splits, *STUDY.parts]
            for prompt_variant in ("", *STUDY.prompt_variants)
        ),
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        made_of=made_of("pairs"),
    message:
        "labelling the pairs of {wildcards.split}"
    shell:
        "valuestrata pairs --study {input.study:q} --split {wildcards.split} 2> {log:q}"


rule labels:
    input:
        study=STUDY_FILE,
        tallies=lambda wildcards: tallies(wildcards.split),
        questions=rules.clean.output.questions,
        pairs=rules.pairs.output,
    output:
        labels=f"{RESULTS}/survey/labels/{{split}}.parquet",
        ties=f"{RESULTS}/survey/ties/{{split}}.parquet",
    log:
        f"{RESULTS}/logs/labels/{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/labels/{{split}}.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        made_of=made_of("labels"),
    message:
        "comparing the labels of {wildcards.split} with and without weights"
    shell:
        "valuestrata labels --study {input.study:q} --split {wildcards.split} 2> {log:q}"


rule ceiling:
    input:
        study=STUDY_FILE,
        questions=rules.clean.output.questions,
        tallies=[path for split in STUDY.splits for path in tallies(split)],
        pairs=expand(f"{RESULTS}/pairs/{{split}}.parquet", split=STUDY.splits),
    output:
        ceilings=f"{RESULTS}/survey/ceilings.parquet",
        noise_ceiling=f"{RESULTS}/survey/noise_ceiling.parquet",
    log:
        f"{RESULTS}/logs/ceiling.log",
    benchmark:
        f"{RESULTS}/benchmarks/ceiling.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        made_of=made_of("ceiling"),
    message:
        "measuring the human ceilings"
    shell:
        "valuestrata ceiling --study {input.study:q} 2> {log:q}"


rule summary:
    input:
        study=STUDY_FILE,
        responses=rules.clean.output.responses,
        questions=rules.clean.output.questions,
        groups=rules.clean.output.groups,
        notices=rules.clean.output.notices,
        diversity=rules.diversity.output.diversity,
        agreement=rules.diversity.output.agreement,
        ceilings=rules.ceiling.output.ceilings,
        pairs=expand(f"{RESULTS}/pairs/{{split}}.parquet", split=STUDY.splits),
        labels=expand(rules.labels.output.labels, split=STUDY.splits),
    output:
        f"{RESULTS}/survey/summary.json",
    log:
        f"{RESULTS}/logs/summary.log",
    benchmark:
        f"{RESULTS}/benchmarks/summary.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        made_of=made_of("summary"),
    message:
        "summarising the survey data"
    shell:
        "valuestrata summary --study {input.study:q} 2> {log:q}"
