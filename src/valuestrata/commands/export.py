"""Write what may be published: the results, or the questionnaire as a task of another harness."""

import argparse
import importlib.metadata
import logging
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from valuestrata import io, paths, tables
from valuestrata.errors import InputError
from valuestrata.publication import croissant, harness
from valuestrata.publication.crate import REPOSITORY, CrateAbout, write_crate
from valuestrata.publication.model_card import model_card
from valuestrata.records import Record, read_record
from valuestrata.report.phrases import caveat_sentence
from valuestrata.report.smaller_page import smaller_page
from valuestrata.stages.hardware import hardware_lines
from valuestrata.stages.usage import USAGE
from valuestrata.study.study import Study
from valuestrata.tables import PAIR

log = logging.getLogger(__name__)

BY_PAIR = {
    "predictions.parquet": tables.PREDICTIONS,
    "perturbed": tables.PREDICTIONS,
    "texts.parquet": tables.TEXTS,
    "scores": tables.SCORES,
    "verdicts": tables.VERDICTS,
}
RESULTS = "results"
CONTENTS = (
    "`report/index.html`: the report; `report/tables/`: its tables as csv",
    "`pairs/`: the modal answer of each subgroup to each question",
    "`runs/MODEL/VARIANT/SPLIT/`: predictions, also to perturbed prompts, open-ended answers, "
    "verdicts, scores, fairness",
    "`models/`: adapters of fine-tunes, each with a model card",
    "`study.json`, `Snakefile`, `workflow/`: the settings, and the rules that made all of this",
    "`croissant.json`: what each column of the tables holds, in the Croissant format",
    "`ro-crate-metadata.json`: the run as a Workflow Run RO-Crate",
)
NO_LICENCE = "Not stated: ask the authors before reuse"
AUTHOR = re.compile(r"(?P<name>[^<>]+?)\s*(?:<(?P<orcid>https://orcid\.org/[\dX-]{19})>)?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to copy, and where to."""
    parser.add_argument("results", type=Path, help="the study's folder, results/STUDY")
    parser.add_argument("output", type=Path, help="folder to make; it must not exist yet")
    parser.add_argument(
        "--as",
        dest="form",
        choices=(RESULTS, *harness.HARNESSES),
        default=RESULTS,
        help=(
            "results: report, tables, predictions and adapters as an RO-Crate, to deposit; "
            "inspect, lm-eval: the questionnaire as a task of that harness"
        ),
    )
    parser.add_argument(
        "--min-n",
        type=int,
        default=30,
        help="leave out pairs with fewer valid answers or respondents (default 30)",
    )
    parser.add_argument(
        "--author",
        action="append",
        default=[],
        help='an author, such as "Ada Lovelace <https://orcid.org/0000-0000-0000-0000>"',
    )
    parser.add_argument(
        "--license", default="", help="licence of the results, a URL such as one of spdx.org"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write pairs with at least min_n; respondents' rows, tallies and replies stay behind."""
    if arguments.output.exists():
        raise InputError(f"{arguments.output}: exists already; name a folder to make")
    study = _study(arguments.results)
    if arguments.form == RESULTS:
        _export_results(arguments, study, _authors(arguments.author))
    else:
        _export_task(arguments, study)
    log.info("wrote %s", arguments.output)


def _study(results: Path) -> Study:
    try:
        return Study.from_json((results / paths.STUDY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(
            f"{results}: holds no study that this version wrote; run snakemake first"
        ) from None


def _authors(given: list[str]) -> dict[str, str]:
    """Names with their ORCID, '' where none is given."""
    authors = {}
    for text in given:
        match = AUTHOR.fullmatch(text.strip())
        if not match:
            raise InputError(
                f"--author {text!r}: give a name, and an ORCID behind it if you like: "
                '"Ada Lovelace <https://orcid.org/0000-0000-0000-0000>"'
            )
        authors[match["name"]] = match["orcid"] or ""
    return authors


# the questionnaire ---------------------------------------------------------------------------


def _export_task(arguments: argparse.Namespace, study: Study) -> None:
    pairs = _large_pairs(arguments.results, arguments.min_n)
    about = Record("export", {}, {"min_n": arguments.min_n, "caveat": study.survey_caveat})
    with io.replacing_folder(arguments.output, about) as folder:
        harness.HARNESSES[arguments.form](study, folder, pairs)


def _large_pairs(results: Path, min_n: int) -> dict[str, pd.DataFrame]:
    """Each split's pairs in the study's own prompt that have enough answers and respondents."""
    kept = {}
    for path in sorted((results / paths.PAIRS.format(split="*")).parent.glob("*.parquet")):
        if "+" in path.stem:  # the same pairs in a prompt variant
            continue
        pairs = io.read_table(path, tables.PAIRS)
        large = pairs[(pairs["n"] >= min_n) & (pairs["respondents"] >= min_n)]
        log.info("%s: %d of %d pairs are large enough", path.stem, len(large), len(pairs))
        if len(large):
            kept[path.stem] = large
    if not kept:
        raise InputError(f"{results}: no pair has {min_n} answers and respondents")
    return kept


# the results ---------------------------------------------------------------------------------


def _export_results(arguments: argparse.Namespace, study: Study, authors: dict[str, str]) -> None:
    results = arguments.results
    if not (results / paths.PAGE).is_file():
        raise InputError(f"{results}: holds no report; run snakemake first")
    record = read_record(results / paths.PAGE)
    caveat = record.caveat if record else ""
    pairs = _large_pairs(results, arguments.min_n)
    about = Record("export", {}, {"min_n": arguments.min_n, "caveat": caveat})
    with io.replacing_folder(arguments.output, about) as folder:
        shutil.copytree(results / "report", folder / "report")
        page = folder / "report/index.html"
        groups = io.read_json(results / paths.SUMMARY)["groups"]
        text = smaller_page(page.read_text(encoding="utf-8"), groups, arguments.min_n)
        io.write_text(text, page)
        _drop_small_ties(folder / "report/tables/ties.csv", arguments.min_n)
        _write_labels(results, folder, pairs)
        kept = {split: pd.MultiIndex.from_frame(frame[PAIR]) for split, frame in pairs.items()}
        for run_folder in sorted((results / "runs").glob("*/*/*")):
            _copy_run(run_folder, folder / run_folder.relative_to(results), kept)
        _copy_adapters(results, folder, study)
        _write_study(study, folder)
        _copy_workflow(folder)
        described = f"{study.title or study.name}. {caveat_sentence(caveat)}".strip()
        license_name = arguments.license or NO_LICENCE
        _write_readme(folder, study, described, license_name, arguments.min_n)
        _write_croissant(folder, study, described, license_name, authors)
        crate = CrateAbout(
            name=study.title or study.name,
            description=described,
            license_name=license_name,
            authors=authors,
            survey=study.survey.name,
            survey_digests=_survey_digests(results),
            finished=(results / paths.PAGE).stat().st_mtime,
            versions={n: importlib.metadata.version(n) for n in ("valuestrata", "snakemake")},
            hardware=hardware_lines(results),
        )
        write_crate(folder, crate)


def _drop_small_ties(path: Path, min_n: int) -> None:
    """Take small pairs out of the report's list of ties: it holds counts of answers."""
    ties = pd.read_csv(path)
    large = ties[(ties["n"] >= min_n) & (ties["respondents"] >= min_n)]
    io.write_text(large.to_csv(index=False, lineterminator="\n"), path)


def _write_labels(results: Path, folder: Path, pairs: dict[str, pd.DataFrame]) -> None:
    """Write each split's modal answers as csv."""
    for split, frame in pairs.items():
        path = paths.PAIRS.format(split=split)
        caveat = io.caveat_of(results / path)
        labels = (
            frame[[*harness.LABEL_COLUMNS]].assign(caveat=caveat)
            if caveat
            else frame[[*harness.LABEL_COLUMNS]]
        )
        io.write_text(labels.to_csv(index=False), (folder / path).with_suffix(".csv"))


def _copy_run(source: Path, target: Path, kept: dict[str, pd.MultiIndex]) -> None:
    """Copy one run's tables; those by pair lose the pairs that are too small."""
    for path in sorted(source.rglob("*.parquet")):
        relative = path.relative_to(source)
        contract = BY_PAIR.get(relative.parts[0])
        copy = target / relative
        copy.parent.mkdir(parents=True, exist_ok=True)
        if contract is None:
            shutil.copy2(path, copy)
            continue
        record = read_record(path)
        if record is None:
            raise InputError(f"{path}: says nothing of what it is made of; run snakemake again")
        frame = io.read_table(path, contract)
        large = pd.MultiIndex.from_frame(frame[PAIR]).isin(kept.get(source.name, []))
        io.write_table(frame[large], copy, contract, record)


def _copy_adapters(results: Path, folder: Path, study: Study) -> None:
    """Copy the adapters, each with a card that says what it is made of and what it scored."""
    runs = io.read_table(results / paths.RUNS, tables.RUNS)
    for adapter in sorted((results / "models").glob("*/*/adapter")):
        target = folder / adapter.relative_to(results)
        shutil.copytree(adapter, target, ignore=shutil.ignore_patterns(".snakemake*"))
        record = read_record(adapter)
        if record is None:
            raise InputError(f"{adapter}: says nothing of what it is made of; run snakemake again")
        title = study.title or study.name
        card = model_card(study.name, title, study.survey.name, record, runs)
        io.write_text(card, target / "README.md")


def _write_study(study: Study, folder: Path) -> None:
    """Write the study's settings; of the survey's file its name alone."""
    public = study
    if study.survey.file:
        survey = study.survey.replace(file=Path(study.survey.file).name)
        public = study.replace(survey=survey)
    io.write_text(public.to_json(), folder / paths.STUDY)


def _copy_workflow(folder: Path) -> None:
    """Copy the Snakefile and its rules, which make all of this."""
    shutil.copy2(REPOSITORY / "Snakefile", folder / "Snakefile")
    ignore = shutil.ignore_patterns("__pycache__", "schemas")
    shutil.copytree(REPOSITORY / "workflow", folder / "workflow", ignore=ignore)


def _write_readme(folder: Path, study: Study, about: str, license_name: str, min_n: int) -> None:
    """Write what is in the export, and what is not."""
    lines = [
        f"# {study.title or study.name}",
        about,
        f"Survey: {study.survey.name}. Its rows are not part of this folder, nor are cells with "
        f"fewer than {min_n} valid answers or respondents. Licence: {license_name}.",
        "\n".join(f"- {line}" for line in CONTENTS),
    ]
    io.write_text("\n\n".join(lines) + "\n", folder / "README.md")


def _write_croissant(
    folder: Path, study: Study, description: str, license_name: str, authors: dict[str, str]
) -> None:
    files = {}
    contracts = {**croissant.CONTRACTS, USAGE.name: USAGE}
    for path in sorted(folder.rglob("*.parquet")):
        name = (pq.read_schema(path).metadata or {}).get(b"valuestrata.table", b"").decode()
        if name in contracts:
            files[path] = contracts[name]
    about = {
        "name": study.name,
        "description": description,
        "license": license_name,
        "datePublished": datetime.now(UTC).date().isoformat(),
    }
    content = croissant.metadata(about, authors, folder, files)
    io.write_json(content, folder / "croissant.json")


def _survey_digests(results: Path) -> dict[str, str]:
    """Digests of the files that respondents' rows were read from, by name."""
    record = read_record(results / paths.RESPONSES)
    return {Path(name).name: digest for name, digest in record.inputs.items()} if record else {}
