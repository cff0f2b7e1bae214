"""Command line: `python -m valuestrata STAGE ...`, as the rules call it, and `check FILE ...`."""

import argparse
import importlib
import logging
import sys

from valuestrata.errors import InputError

STAGES = {
    "check": "check study files against the schema and themselves",
    "pin": "write the commit of each hub model into study files",
    "simulate": "write a simulated survey in the format of WVS wave 7, Singapore",
    "codebook": "draft a codebook from the labels of an SPSS or Stata file",
    "clean": "read a survey into responses and questions",
    "tally": "count answers by subgroup, question and code",
    "diversity": "score how much subgroups disagree",
    "pairs": "label (subgroup, question) pairs and word their prompts",
    "labels": "compare labels with and without weights, and list ties",
    "ceiling": "measure what can be reached against labels from a sample",
    "summary": "sum up the survey side",
    "toy": "train a toy language model from scratch",
    "finetune": "fine-tune a model with LoRA",
    "predict": "answer the structured questionnaire by a language model",
    "predict_baseline": "answer the structured questionnaire by a rule that needs no model",
    "pool": "put the predictions of a k-fold recipe together",
    "generate": "write open-ended answers",
    "judge": "compare open-ended answers with a reference's, in both orders",
    "score": "score predictions pair by pair",
    "fairness": "measure inequality over subgroups and axes",
    "compare": "put all runs side by side, with paired tests",
    "tables": "write the report's tables",
    "figures": "draw the report's figures",
    "report": "write the report",
    "export": "copy what may be published, without small cells",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one stage. Returns 0, or 2 where the user's input cannot be used."""
    parser = argparse.ArgumentParser(prog="valuestrata", description=__doc__)
    stages = parser.add_subparsers(dest="stage", metavar="STAGE", required=True)
    chosen = next((a for a in (arguments or sys.argv[1:]) if a in STAGES), None)
    for name, does in STAGES.items():
        stage = stages.add_parser(name, help=does, description=does)
        if name == chosen:
            module = importlib.import_module(f"valuestrata.stages.{name}")
            module.add_arguments(stage)
            stage.set_defaults(run=module.run)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except InputError as error:
        print(f"valuestrata {options.stage}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
