# needs: the survey's csv file (or simulates one) and a codebook
# makes: responses and questions, tallies by stratum, conflict scores, labelled pairs with prompts,
#        human ceilings, and summary.json with the figures to check first


rule survey:
    input:
        f"{RESULTS}/survey/summary.json",
        f"{RESULTS}/survey/diversity.parquet",
        f"{RESULTS}/survey/ceilings.parquet",
    localrule: True


if "simulate" in STUDY.config["survey"]:

    rule simulate:
        input:
            codebook=STUDY.config["survey"]["codebook"],
        output:
            survey=STUDY.survey_file,
        log:
            f"{RESULTS}/logs/simulate.log",
        localrule: True
        conda:
            "../../envs/core.yaml"
        params:
            spec=spec("simulate"),
            code=code("simulate"),
        message:
            "simulating the survey"
        shell:
            "valuestrata simulate --spec {params.spec:q} --codebook {input.codebook} "
            "--output {output.survey} 2> {log}"


rule clean:
    input:
        survey=STUDY.survey_file,
        codebook=STUDY.config["survey"]["codebook"],
    output:
        responses=f"{RESULTS}/survey/responses.parquet",
        questions=f"{RESULTS}/survey/questions.parquet",
        groups=f"{RESULTS}/survey/groups.json",
    log:
        f"{RESULTS}/logs/clean.log",
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        spec=spec("clean"),
        code=code("clean"),
    message:
        "reading the survey"
    shell:
        "valuestrata clean --spec {params.spec:q} --survey {input.survey} --codebook {input.codebook} "
        "--responses {output.responses} --questions {output.questions} --groups {output.groups} "
        "2> {log}"


# one node a split, so that a new stratum of one split leaves the other splits' tallies alone
for split in STUDY.splits:

    rule:
        name:
            f"tally_{split}"
        input:
            responses=rules.clean.output.responses,
            questions=rules.clean.output.questions,
            groups=rules.clean.output.groups,
        output:
            tallies(split),
        log:
            f"{RESULTS}/logs/tally/{split}.log",
        localrule: True
        conda:
            "../../envs/core.yaml"
        params:
            spec=spec("tally", split=split),
            code=code("tally"),
        message:
            f"tallying split {split}"
        shell:
            "valuestrata tally --spec {params.spec:q} --responses {input.responses} "
            "--questions {input.questions} --groups {input.groups} --output {output} 2> {log}"


rule diversity:
    input:
        responses=rules.clean.output.responses,
        questions=rules.clean.output.questions,
        groups=rules.clean.output.groups,
    output:
        diversity=f"{RESULTS}/survey/diversity.parquet",
        agreement=f"{RESULTS}/survey/agreement.parquet",
    log:
        f"{RESULTS}/logs/diversity.log",
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        spec=spec("diversity"),
        code=code("diversity"),
    message:
        "scoring how much subgroups disagree"
    shell:
        "valuestrata diversity --spec {params.spec:q} --responses {input.responses} "
        "--questions {input.questions} --groups {input.groups} --output {output.diversity} "
        "--agreement {output.agreement} 2> {log}"


rule pairs:
    input:
        tallies=lambda wildcards: tallies(wildcards.split),
        questions=rules.clean.output.questions,
        groups=rules.clean.output.groups,
    output:
        f"{RESULTS}/pairs/{{split}}.parquet",
    log:
        f"{RESULTS}/logs/pairs/{{split}}.log",
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        spec=spec("pairs", "split"),
        code=code("pairs"),
    message:
        "labelling the pairs of {wildcards.split}"
    shell:
        "valuestrata pairs --spec {params.spec:q} --tallies {input.tallies} "
        "--questions {input.questions} --groups {input.groups} --output {output} 2> {log}"


use rule pairs as pairs_reworded with:
    output:
        f"{RESULTS}/pairs/{{split}}+{{wording}}.parquet",
    log:
        f"{RESULTS}/logs/pairs/{{split}}+{{wording}}.log",
    params:
        spec=spec("pairs", "split", "wording"),
        code=code("pairs"),
    message:
        "wording the prompts of {wildcards.split} as {wildcards.wording}"


rule labels:
    input:
        tallies=lambda wildcards: tallies(wildcards.split),
        questions=rules.clean.output.questions,
        pairs=rules.pairs.output,
    output:
        labels=f"{RESULTS}/survey/labels/{{split}}.parquet",
        ties=f"{RESULTS}/survey/ties/{{split}}.parquet",
    log:
        f"{RESULTS}/logs/labels/{{split}}.log",
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        spec=spec("labels"),
        code=code("labels"),
    message:
        "comparing the labels of {wildcards.split} with and without weights"
    shell:
        "valuestrata labels --spec {params.spec:q} --tallies {input.tallies} "
        "--questions {input.questions} --pairs {input.pairs} --labels {output.labels} "
        "--ties {output.ties} 2> {log}"


rule ceiling:
    input:
        questions=rules.clean.output.questions,
        tallies=[path for split in STUDY.splits for path in tallies(split)],
        pairs=expand(rules.pairs.output, split=STUDY.splits),
    output:
        ceilings=f"{RESULTS}/survey/ceilings.parquet",
        reachable=f"{RESULTS}/survey/reachable.parquet",
    log:
        f"{RESULTS}/logs/ceiling.log",
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        spec=spec("ceiling"),
        code=code("ceiling"),
    message:
        "finding what can be reached"
    shell:
        "valuestrata ceiling --spec {params.spec:q} --questions {input.questions} "
        "--tallies {input.tallies} --pairs {input.pairs} --output {output.ceilings} "
        "--reachable {output.reachable} 2> {log}"


rule summary:
    input:
        responses=rules.clean.output.responses,
        questions=rules.clean.output.questions,
        groups=rules.clean.output.groups,
        diversity=rules.diversity.output.diversity,
        agreement=rules.diversity.output.agreement,
        ceilings=rules.ceiling.output.ceilings,
        pairs=expand(rules.pairs.output, split=STUDY.splits),
        labels=expand(rules.labels.output.labels, split=STUDY.splits),
    output:
        f"{RESULTS}/survey/summary.json",
    log:
        f"{RESULTS}/logs/summary.log",
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        spec=spec("summary"),
        code=code("summary"),
    message:
        "summing up the survey"
    shell:
        "valuestrata summary --spec {params.spec:q} --responses {input.responses} "
        "--questions {input.questions} --groups {input.groups} --diversity {input.diversity} "
        "--agreement {input.agreement} --ceilings {input.ceilings} --pairs {input.pairs} "
        "--labels {input.labels} --output {output} 2> {log}"
