# needs: scores, fairness and verdicts of every run, conflict scores and summary of the survey
# makes: the comparison of all runs, tables, figures and the report

from valuestrata.report.captions import FIGURES

TABLES = ["main", "differences", "fairness", "groups", "diversity", "agreement", "ceilings", "ties"]
ACCEPTED = Path(RESULTS, "accepted.json")  # written by `valuestrata accept`
HUMAN_AGREEMENT = Path(RESULTS, "annotation/agreement.parquet")  # by `valuestrata agreement`
USAGE = [f"{RESULTS}/report/usage.parquet"] if STUDY.service_models() else []


def served(runs):
    """The runs whose model, and the judgements whose judge, is asked at a service."""
    return [run for run in runs if STUDY.is_service(run[3] if len(run) > 3 else run[0])]


rule compare:
    input:
        study=STUDY_FILE,
        scores=every_score(),
        verdicts=of_runs(f"{RUN}/verdicts/{{judge}}.parquet", STUDY.judgements()),
        noise_ceiling=rules.ceiling.output.noise_ceiling,
    output:
        runs=f"{RESULTS}/report/runs.parquet",
        differences=f"{RESULTS}/report/differences.parquet",
    log:
        f"{RESULTS}/logs/compare.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        made_of=made_of("compare"),
    message:
        "comparing all runs"
    shell:
        "valuestrata compare --study {input.study:q} 2> {log:q}"


rule usage:
    input:
        study=STUDY_FILE,
        predictions=of_runs(f"{RUN}/predictions.parquet", served(STUDY.runs())),
        texts=of_runs(f"{RUN}/texts.parquet", served(STUDY.generation_runs())),
        verdicts=of_runs(f"{RUN}/verdicts/{{judge}}.parquet", served(STUDY.judgements())),
    output:
        usage=f"{RESULTS}/report/usage.parquet",
    log:
        f"{RESULTS}/logs/usage.log",
    benchmark:
        f"{RESULTS}/benchmarks/usage.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        made_of=made_of("usage"),
    message:
        "counting what services cost"
    shell:
        "valuestrata usage --study {input.study:q} 2> {log:q}"


rule tables:
    input:
        study=STUDY_FILE,
        runs=rules.compare.output.runs,
        differences=rules.compare.output.differences,
        fairness=of_runs(f"{RUN}/fairness.parquet", STUDY.runs()),
        groups=of_runs(f"{RUN}/groups.parquet", STUDY.runs()),
        diversity=rules.diversity.output.diversity,
        agreement=rules.diversity.output.agreement,
        ceilings=rules.ceiling.output.ceilings,
        ties=expand(rules.labels.output.ties, split=STUDY.splits),
        usage=USAGE,
    output:
        **{
            name: report(
                f"{RESULTS}/report/tables/{name}.csv",
                caption=f"../report/table_{name}.rst",
                category="Tables",
                labels={"shows": name},
            )
            for name in TABLES
        },
        latex=report(
            expand(f"{RESULTS}/report/tables/{{name}}.tex", name=["main", "fairness"]),
            caption="../report/table_latex.rst",
            category="Tables",
            labels={"shows": "LaTeX"},
        ),
        usage=[
            report(
                f"{RESULTS}/report/tables/usage.csv",
                caption="../report/table_usage.rst",
                category="Tables",
                labels={"shows": "usage"},
            )
            for _ in USAGE
        ],
        record=f"{RESULTS}/report/tables/made_of.json",
    log:
        f"{RESULTS}/logs/tables.log",
    benchmark:
        f"{RESULTS}/benchmarks/tables.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        made_of=made_of("tables"),
    message:
        "writing tables"
    shell:
        "valuestrata tables --study {input.study:q} 2> {log:q}"


rule figures:
    input:
        study=STUDY_FILE,
        runs=rules.compare.output.runs,
        differences=rules.compare.output.differences,
        fairness=of_runs(f"{RUN}/fairness.parquet", STUDY.runs()),
        groups=of_runs(f"{RUN}/groups.parquet", STUDY.runs()),
        diversity=rules.diversity.output.diversity,
        agreement=rules.diversity.output.agreement,
        ceilings=rules.ceiling.output.ceilings,
        ties=expand(rules.labels.output.ties, split=STUDY.splits),
        scores=scores_of_models(),
        adapters=every_adapter(),
    output:
        **{
            name: report(
                f"{RESULTS}/report/figures/{name}.svg",
                caption=f"../report/{name}.rst",
                category="Figures",
                labels={"shows": title},
            )
            for name, (title, _) in FIGURES.items()
        },
        png=expand(f"{RESULTS}/report/figures/{{name}}.png", name=FIGURES),
        pdf=expand(f"{RESULTS}/report/figures/{{name}}.pdf", name=FIGURES),
        panels=f"{RESULTS}/report/figures/panels.json",
        record=f"{RESULTS}/report/figures/made_of.json",
    log:
        f"{RESULTS}/logs/figures.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        made_of=made_of("figures"),
    message:
        "drawing figures"
    shell:
        "valuestrata figures --study {input.study:q} 2> {log:q}"


rule report:
    input:
        study=STUDY_FILE,
        runs=rules.compare.output.runs,
        differences=rules.compare.output.differences,
        fairness=of_runs(f"{RUN}/fairness.parquet", STUDY.runs()),
        groups=of_runs(f"{RUN}/groups.parquet", STUDY.runs()),
        diversity=rules.diversity.output.diversity,
        agreement=rules.diversity.output.agreement,
        ceilings=rules.ceiling.output.ceilings,
        ties=expand(rules.labels.output.ties, split=STUDY.splits),
        usage=USAGE,
        panels=rules.figures.output.panels,
        training=rules.figures.output.training,
        questions=rules.clean.output.questions,
        pairs=[f"{RESULTS}/pairs/{name}.parquet" for name in prompt_splits()],
        summary=rules.summary.output,
        predictions=of_runs(f"{RUN}/predictions.parquet", STUDY.runs()),
        texts=of_runs(f"{RUN}/texts.parquet", STUDY.generation_runs()),
        open_pairs=expand(
            f"{RESULTS}/pairs/{{split}}.parquet",
            split=dict.fromkeys(split for _, _, split in STUDY.generation_runs()),
        ),
        verdicts=of_runs(f"{RUN}/verdicts/{{judge}}.parquet", STUDY.judgements()),
        adapters=every_adapter(),
        accepted=[str(ACCEPTED)] if ACCEPTED.exists() else [],
        human_agreement=[str(HUMAN_AGREEMENT)] if HUMAN_AGREEMENT.exists() else [],
    output:
        html=report(
            f"{RESULTS}/report/index.html",
            caption="../report/report.rst",
            category="Report",
        ),
        headline=f"{RESULTS}/report/headline.txt",
        record=f"{RESULTS}/report/made_of.json",
    log:
        f"{RESULTS}/logs/report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        made_of=made_of("report"),
    message:
        "writing the report"
    shell:
        "valuestrata report --study {input.study:q} 2> {log:q}"
