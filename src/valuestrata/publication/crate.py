"""A Workflow Run RO-Crate of an export: what ran, on what, and which files came of it.

Source: Workflow Run Crate 0.5 (https://w3id.org/ro/wfrun/workflow/0.5) on RO-Crate 1.1; written by
ro-crate-py.
"""

import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from valuestrata.provenance import SOURCE

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
REPOSITORY = SOURCE.parent
"""Where the Snakefile lies, if the package runs from its repository."""
RESOURCE_USAGE = "https://w3id.org/ro/terms/workflow-run#resourceUsage"
_BIOSCHEMAS = "https://bioschemas.org/profiles"
_TYPES = {
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".safetensors": "application/octet-stream",
    ".smk": "text/plain",
    ".jinja": "text/plain",
    ".yaml": "application/yaml",
}


@dataclass(frozen=True)
class CrateAbout:
    """What a crate says of the study.

    Attributes:
        name: name of the export.
        description: what it is, with its caveats.
        license_name: its licence, a URL or a sentence.
        authors: names, each with an ORCID URL or ''.
        survey: name of the survey, which is not part of the export.
        survey_digests: digests of the survey's files, by name.
        finished: when the last result was made, in seconds since 1970.
        versions: of valuestrata and Snakemake, by name.
        hardware: on what the jobs ran, a line for each kind.
    """

    name: str
    description: str
    license_name: str
    authors: Mapping[str, str]
    survey: str
    survey_digests: Mapping[str, str]
    finished: float
    versions: Mapping[str, str]
    hardware: Sequence[str]


def write_crate(folder: Path, about: CrateAbout) -> None:
    """Write ro-crate-metadata.json for all files of a folder.

    Snakefile, workflow/, study.json and README.md have to be among them. The run's action has the
    settings and the survey as inputs; all files but those of the workflow are results.
    """
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")
    crate.name, crate.description = about.name, about.description
    crate.datePublished = datetime.now(UTC)
    url = about.license_name.startswith("https://")
    named = {"name": about.license_name.rpartition("/")[2]} if url else {}
    crate.license = (
        _add(crate, about.license_name, "CreativeWork", **named) if url else about.license_name
    )
    people = _add_people(crate, about.authors)
    if people:
        crate.root_dataset["author"] = _single(people)
    crate.root_dataset["conformsTo"] = [
        _add(crate, url, "CreativeWork", name=name, version=version)
        for url, (name, version) in PROFILES.items()
    ]
    workflow = _add_workflow(crate, folder, about)
    results = [
        _add_file(crate, folder, path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in _WORKFLOW_FILES
    ]
    crate.get("README.md")["about"] = crate.root_dataset
    action = _add_action(crate, folder, workflow, results, about)
    if people:
        action["agent"] = people[0]
    crate.root_dataset["mentions"] = action
    crate.metadata.write(folder)


_WORKFLOW_FILES = ("Snakefile", "workflow", "study.json", "ro-crate-metadata.json")


def _add(crate: Any, identifier: str, kind: str | list[str], **properties: Any) -> Any:
    from rocrate.model.contextentity import ContextEntity

    return crate.add(ContextEntity(crate, identifier, {"@type": kind, **properties}))


def _single(entities: list[Any]) -> Any:
    """One entity as itself, which readers of JSON-LD want, several as a list."""
    return entities[0] if len(entities) == 1 else entities


def _add_people(crate: Any, authors: Mapping[str, str]) -> list[Any]:
    people = []
    for i, (name, orcid) in enumerate(authors.items(), start=1):
        people.append(_add(crate, orcid or f"#author-{i}", "Person", name=name))
    return people


def _add_file(crate: Any, folder: Path, path: Path, **properties: Any) -> Any:
    name = path.relative_to(folder).as_posix()
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "text/plain"
    size = str(path.stat().st_size)
    described = {"name": name, "encodingFormat": kind, "contentSize": size, **properties}
    return crate.add_file(path, name, properties=described)


def _add_workflow(crate: Any, folder: Path, about: CrateAbout) -> Any:
    workflow = crate.add_workflow(
        folder / "Snakefile",
        "Snakefile",
        main=True,
        lang="snakemake",
        lang_version=about.versions["snakemake"],
        properties={
            "name": f"valuestrata {about.versions['valuestrata']}",
            "version": about.versions["valuestrata"],
            "encodingFormat": "text/plain",
            "conformsTo": {"@id": f"{_BIOSCHEMAS}/ComputationalWorkflow/1.0-RELEASE"},
        },
    )
    rules = [
        _add_file(crate, folder, path)
        for path in sorted((folder / "workflow").rglob("*"))
        if path.is_file()
    ]
    workflow["hasPart"] = rules
    kinds = {"study": ("File", "Settings of the study"), "survey": ("File", "The survey's file")}
    workflow["input"] = [
        _parameter(crate, f"#input-{name}", name, *kind) for name, kind in kinds.items()
    ]
    workflow["output"] = _parameter(crate, "#output-results", "results", "Dataset", "Results")
    return workflow


def _parameter(crate: Any, identifier: str, name: str, kind: str, description: str) -> Any:
    profile = {"@id": f"{_BIOSCHEMAS}/FormalParameter/1.0-RELEASE"}
    properties = {"additionalType": kind, "description": description, "conformsTo": profile}
    return _add(crate, identifier, "FormalParameter", name=name, valueRequired=True, **properties)


def _add_action(
    crate: Any, folder: Path, workflow: Any, results: list[Any], about: CrateAbout
) -> Any:
    study = _add_file(crate, folder, folder / "study.json", exampleOfWork={"@id": "#input-study"})
    digests = ", ".join(f"{name}: {digest}" for name, digest in about.survey_digests.items())
    survey = _add(
        crate,
        "#survey",
        "CreativeWork",
        name=about.survey,
        description=f"Not part of this crate. SHA-256 of its files, first digits: {digests}",
        exampleOfWork={"@id": "#input-survey"},
    )
    crate.metadata.extra_terms["resourceUsage"] = RESOURCE_USAGE
    hardware = [
        _add(crate, f"#hardware-{i}", "PropertyValue", name="hardware of jobs", value=line)
        for i, line in enumerate(about.hardware, start=1)
    ]
    return crate.add_action(
        workflow,
        identifier="#run",
        object=[study, survey],
        result=results,
        properties={
            "name": f"Run of {about.name}",
            "description": about.description,
            "endTime": datetime.fromtimestamp(about.finished, UTC).isoformat(timespec="seconds"),
            "actionStatus": "http://schema.org/CompletedActionStatus",
            "resourceUsage": _single(hardware),
        },
    )
