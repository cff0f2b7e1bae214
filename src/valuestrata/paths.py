"""Where a study's artefacts lie under results/<study>/, as patterns with named parts."""

from pathlib import Path

from pathlib import Path

STUDY = "study.json"
SIMULATED = "survey/simulated.csv"
RESPONSES = "survey/responses.parquet"
QUESTIONS = "survey/questions.parquet"
GROUPS_OF_AXES = "survey/groups.json"
TALLY = "survey/tally/{split}/{stratum}.parquet"
DIVERSITY = "survey/diversity.parquet"
AGREEMENT = "survey/agreement.parquet"
LABELS = "survey/labels/{split}.parquet"
TIES = "survey/ties/{split}.parquet"
CEILINGS = "survey/ceilings.parquet"
NOISE_CEILING = "survey/noise_ceiling.parquet"
SUMMARY = "survey/summary.json"
PAIRS = "pairs/{split}.parquet"
BASE_MODEL = "models/{model}/base"
ADAPTER = "models/{model}/{recipe}/adapter"
RUN = "runs/{model}/{variant}/{split}"
PREDICTIONS = f"{RUN}/predictions.parquet"
TEXTS = f"{RUN}/texts.parquet"
VERDICTS = f"{RUN}/verdicts/{{judge}}.parquet"
SCORES = f"{RUN}/scores/{{stratum}}.parquet"
FAIRNESS = f"{RUN}/fairness.parquet"
GROUPS = f"{RUN}/groups.parquet"
RUNS = "report/runs.parquet"
DIFFERENCES = "report/differences.parquet"
TABLE = "report/tables/{name}.csv"
FIGURE = "report/figures/{name}.svg"
PAGE = "report/index.html"
HEADLINE = "report/headline.txt"
ACCEPTED = "accepted.json"
CACHE = "replies/{model}/{variant}/{stage}"
CHECKPOINTS = "checkpoints/{model}/{recipe}"

TRAINING_LOG = "training_log.json"
"""Steps of a training, in the folder of what it made."""
MADE_OF = "made_of.json"
"""The record of a folder, or of the text files in it (records.py)."""


def resource(path: str) -> Path:
    """A data file of the package; provenance.py follows the literal path of a call."""
    return Path(__file__).resolve().parent / path


def resource(path: str) -> Path:
    """A file of the package, relative to it; what names one is made anew when the file changes."""
    return Path(__file__).parent / path
