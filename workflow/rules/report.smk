# needs: scores, fairness and verdicts of every run, conflict scores and summary of the survey
# makes: the comparison of all runs, tables, figures and the report

FIGURES = {
    "accuracy": "Share of modal answers hit",
    "nmae": "Distance from the modal answer",
    "wasserstein": "Distance from the whole distribution",
    "win_rates": "Open-ended answers against the reference",
    "diversity": "Where subgroups disagree",
    "fairness": "Inequality against its null",
    "groups": "Accuracy by group",
    "training": "Training",
}


rule compare:
    input:
        scores=every_score,
        reachable=rules.ceiling.output.reachable,
        verdicts=of_runs(rules.judge.output[0], STUDY.judgements()),
    output:
        runs=f"{RESULTS}/report/runs.parquet",
        differences=f"{RESULTS}/report/differences.parquet",
    log:
        f"{RESULTS}/logs/compare.log",
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        results=lambda wildcards: RESULTS,
        spec=spec("compare"),
        code=code("compare"),
    message:
        "comparing all runs"
    shell:
        "valuestrata compare --spec {params.spec:q} --results {params.results} "
        "--reachable {input.reachable} --runs {output.runs} --differences {output.differences} 2> {log}"


rule tables:
    input:
        runs=rules.compare.output.runs,
        differences=rules.compare.output.differences,
        fairness=of_runs(rules.fairness.output.fairness, STUDY.runs()),
        groups=of_runs(rules.fairness.output.groups, STUDY.runs()),
        conflict=rules.diversity.output,
        ceilings=rules.ceiling.output.ceilings,
        ties=expand(rules.labels.output.ties, split=STUDY.splits),
    output:
        main=report(
            f"{RESULTS}/report/tables/main.csv",
            caption="../report/main.rst",
            category="Tables",
        ),
        differences=f"{RESULTS}/report/tables/differences.csv",
        fairness=f"{RESULTS}/report/tables/fairness.csv",
        groups=f"{RESULTS}/report/tables/groups.csv",
        diversity=f"{RESULTS}/report/tables/diversity.csv",
        agreement=f"{RESULTS}/report/tables/agreement.csv",
        ceilings=f"{RESULTS}/report/tables/ceilings.csv",
        ties=f"{RESULTS}/report/tables/ties.csv",
    log:
        f"{RESULTS}/logs/tables.log",
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        results=lambda wildcards: RESULTS,
        spec=spec("report"),
        code=code("tables"),
    message:
        "writing tables"
    shell:
        "valuestrata tables --spec {params.spec:q} --results {params.results} 2> {log}"


rule figures:
    input:
        runs=rules.compare.output.runs,
        fairness=of_runs(rules.fairness.output.fairness, STUDY.runs()),
        groups=of_runs(rules.fairness.output.groups, STUDY.runs()),
        conflict=rules.diversity.output,
        ceilings=rules.ceiling.output.ceilings,
        adapters=[
            rules.finetune.output[0].format(model=model, recipe=recipe)
            for model in STUDY.models
            for recipe in STUDY.tuned(model)
        ],
    output:
        **{
            name: report(
                f"{RESULTS}/report/figures/{name}.svg",
                caption=f"../report/{name}.rst",
                category="Figures",
                labels={"shows": shows},
            )
            for name, shows in FIGURES.items()
        },
    log:
        f"{RESULTS}/logs/figures.log",
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        results=lambda wildcards: RESULTS,
        spec=spec("report"),
        code=code("figures"),
    message:
        "drawing figures"
    shell:
        "valuestrata figures --spec {params.spec:q} --results {params.results} 2> {log}"


rule report:
    input:
        rules.tables.output,
        rules.figures.output,
        summary=rules.summary.output,
    output:
        html=report(
            f"{RESULTS}/report/index.html",
            caption="../report/report.rst",
            category="Report",
        ),
        headline=f"{RESULTS}/report/headline.txt",
    log:
        f"{RESULTS}/logs/report.log",
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        results=lambda wildcards: RESULTS,
        spec=spec("report"),
        code=code("report"),
    message:
        "writing the report"
    shell:
        "valuestrata report --spec {params.spec:q} --results {params.results} 2> {log}"
