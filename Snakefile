# valuestrata: from a survey to a report on whose values language models speak.
#
#   snakemake --profile profiles/local                                  the embedded study
#   snakemake --profile profiles/local survey                           its survey side alone
#   snakemake --profile slurm --configfile studies/nonvoters.yaml       another study, on a cluster
#
# A config file with the key `study` is a whole study and replaces the embedded one; a file without
# it is an overlay on it.
from snakemake.utils import min_version

min_version("9.20")


if "study" not in config:

    configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/messages.smk"
include: "workflow/rules/survey.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/infer.smk"
include: "workflow/rules/judge.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        rules.report.output,
        rules.tables.output,
        rules.diversity.output,
        rules.summary.output,


if not IS_MAIN:
    # `rules.other.output` as an input ties a job to that rule although only its own is allowed: a
    # cluster's job would make its inputs anew while other jobs read them
    for tied in workflow.rules:
        tied.dependencies.clear()
