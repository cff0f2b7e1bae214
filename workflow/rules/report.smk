# needs: scores, fairness and verdicts of every run, conflict scores and summary of the survey
# makes: the comparison of all runs, tables, figures and the report

from valuestrata.report.captions import FIGURES

TABLES = [
    "main",
    "differences",
    "contrasts",
    "consistency",
    "inequality_changes",
    "disparities",
    "fairness",
    "groups",
    "diversity",
    "agreement",
    "ceilings",
    "ties",
    "win_rates",
    "human_agreement",
]
ACCEPTED = Path(RESULTS, "accepted.json")  # written by `valuestrata accept`
SENSITIVITY = [f"{RESULTS}/report/sensitivity.parquet"] if STUDY.sensitivity else []
USAGE = [f"{RESULTS}/report/usage.parquet"] if STUDY.service_models() else []


rule compare:
    input:
        study=STUDY_FILE,
        scores=every_score(),
        verdicts=of_runs(f"{RUN}/verdicts/{{judge}}.parquet", STUDY.judgements()),
        noise_ceiling=rules.ceiling.output.noise_ceiling,
    output:
        runs=f"{RESULTS}/report/runs.parquet",
        differences=f"{RESULTS}/report/differences.parquet",
        win_rates=f"{RESULTS}/report/win_rates.parquet",
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
        probes=[
            f"{RESULTS}/probes/{j}.parquet" for j in STUDY.probed_judges() if STUDY.is_service(j)
        ],
        perturbed=of_runs_perturbed(served(asked_runs(STUDY))),
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


rule sensitivity:
    input:
        study=STUDY_FILE,
        pairs=expand(f"{RESULTS}/pairs/{{split}}.parquet", split=perturbed_splits(STUDY)),
        predictions=of_runs(f"{RUN}/predictions.parquet", compared_runs(STUDY)),
        perturbed=of_runs_perturbed(asked_runs(STUDY)),
        item_texts=of_runs(
            f"{RUN}/item_texts.parquet", asked_runs(STUDY) if probes_items(STUDY) else []
        ),
        questions=rules.clean.output.questions if probes_country(STUDY) else [],
        responses=rules.clean.output.responses if probes_country(STUDY) else [],
    output:
        sensitivity=f"{RESULTS}/report/sensitivity.parquet",
    log:
        f"{RESULTS}/logs/sensitivity.log",
    benchmark:
        f"{RESULTS}/benchmarks/sensitivity.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        made_of=made_of("sensitivity") if STUDY.sensitivity else "",
    message:
        "comparing answers to perturbed prompts"
    shell:
        "valuestrata sensitivity --study {input.study:q} 2> {log:q}"


rule contrasts:
    input:
        study=STUDY_FILE,
        scores=every_score(),
        verdicts=of_runs(f"{RUN}/verdicts/{{judge}}.parquet", STUDY.judgements()),
        noise_ceiling=rules.ceiling.output.noise_ceiling,
        groups=rules.clean.output.groups,
        labels=expand(rules.labels.output.labels, split=STUDY.splits),
    output:
        contrasts=f"{RESULTS}/report/contrasts.parquet",
        consistency=f"{RESULTS}/report/consistency.parquet",
        inequality_changes=f"{RESULTS}/report/inequality_changes.parquet",
        disparities=f"{RESULTS}/report/disparities.parquet",
    log:
        f"{RESULTS}/logs/contrasts.log",
    benchmark:
        f"{RESULTS}/benchmarks/contrasts.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        made_of=made_of("contrasts"),
    message:
        "comparing groups"
    shell:
        "valuestrata contrasts --study {input.study:q} 2> {log:q}"


rule tables:
    input:
        study=STUDY_FILE,
        runs=rules.compare.output.runs,
        differences=rules.compare.output.differences,
        contrasts=rules.contrasts.output.contrasts,
        consistency=rules.contrasts.output.consistency,
        inequality_changes=rules.contrasts.output.inequality_changes,
        disparities=rules.contrasts.output.disparities,
        fairness=of_runs(f"{RUN}/fairness.parquet", STUDY.runs()),
        groups=of_runs(f"{RUN}/groups.parquet", STUDY.runs()),
        diversity=rules.diversity.output.diversity,
        agreement=rules.diversity.output.agreement,
        ceilings=rules.ceiling.output.ceilings,
        ties=expand(rules.labels.output.ties, split=STUDY.splits),
        usage=USAGE,
        sensitivity=SENSITIVITY,
        win_rates=rules.compare.output.win_rates,
        human_agreement=human_agreement,
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
        sensitivity=[
            report(
                f"{RESULTS}/report/tables/sensitivity.csv",
                caption="../report/table_sensitivity.rst",
                category="Tables",
                labels={"shows": "sensitivity"},
            )
            for _ in SENSITIVITY
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
        contrasts=rules.contrasts.output.contrasts,
        consistency=rules.contrasts.output.consistency,
        inequality_changes=rules.contrasts.output.inequality_changes,
        disparities=rules.contrasts.output.disparities,
        fairness=of_runs(f"{RUN}/fairness.parquet", STUDY.runs()),
        groups=of_runs(f"{RUN}/groups.parquet", STUDY.runs()),
        diversity=rules.diversity.output.diversity,
        agreement=rules.diversity.output.agreement,
        ceilings=rules.ceiling.output.ceilings,
        ties=expand(rules.labels.output.ties, split=STUDY.splits),
        win_rates=rules.compare.output.win_rates,
        human_agreement=human_agreement,
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
        contrasts=rules.contrasts.output.contrasts,
        consistency=rules.contrasts.output.consistency,
        inequality_changes=rules.contrasts.output.inequality_changes,
        disparities=rules.contrasts.output.disparities,
        fairness=of_runs(f"{RUN}/fairness.parquet", STUDY.runs()),
        groups=of_runs(f"{RUN}/groups.parquet", STUDY.runs()),
        diversity=rules.diversity.output.diversity,
        agreement=rules.diversity.output.agreement,
        ceilings=rules.ceiling.output.ceilings,
        ties=expand(rules.labels.output.ties, split=STUDY.splits),
        usage=USAGE,
        sensitivity=SENSITIVITY,
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
        probes=probes(),
        accepted=[str(ACCEPTED)] if ACCEPTED.exists() else [],
        win_rates=rules.compare.output.win_rates,
        human_agreement=human_agreement,
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
