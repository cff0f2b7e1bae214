"""Write a simulated survey."""

from pathlib import Path

import pandas as pd

from valuestrata import io, paths
from valuestrata.demo import simulate
from valuestrata.stages.job import Files, Job, at
from valuestrata.study.base import Part
from valuestrata.study.study import Study
from valuestrata.study.survey import Simulation
from valuestrata.survey import codebook


class Settings(Part):
    """What a simulated survey depends on."""

    simulation: Simulation
    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """One run where the study simulates its survey."""
    return [{}] if study.survey.simulate else []


def settings(study: Study) -> Settings:
    """Settings of the simulated survey."""
    assert study.survey.simulate
    return Settings(simulation=study.survey.simulate, caveat=study.survey_caveat)


def inputs(study: Study) -> Files:
    """The questions to simulate."""
    return {"codebook": study.survey.codebook}


def outputs(study: Study) -> Files:
    """The survey, and the record of what it is made of."""
    survey = at(study, paths.SIMULATED)
    return {"survey": survey, "record": str(Path(survey).with_name(paths.MADE_OF))}


def run(job: Job[Settings]) -> None:
    """Simulate all questions of the codebook."""
    simulation = job.settings.simulation
    questions = pd.DataFrame(list(codebook.load(job.path("codebook")).values()))
    frame = simulate.simulate(questions, simulation.respondents, simulation.seed)
    simulate.write(frame, job.path("survey"))
    io.write_record(job.record, Path(job.path("record")).parent)
