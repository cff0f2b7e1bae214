"""The stages of the graph, one a rule, in the order of the graph."""

STAGES = {
    "simulate": "write a simulated survey in the format of WVS wave 7, Singapore",
    "clean": "read a survey into responses and questions",
    "tally": "count answers by subgroup, question and code",
    "diversity": "score how much subgroups disagree",
    "pairs": "label (subgroup, question) pairs and word their prompts",
    "labels": "compare labels with and without weights, and list ties",
    "ceiling": "measure the human ceilings against labels from a sample",
    "summary": "summarise the survey data",
    "toy": "train a toy language model from scratch",
    "finetune": "fine-tune a model with LoRA",
    "predict": "answer the structured questionnaire by a language model",
    "predict_baseline": "answer the structured questionnaire by a rule that needs no model",
    "pool": "combine the predictions of a k-fold recipe",
    "generate": "write open-ended answers",
    "judge": "compare open-ended answers with a reference's, in both orders",
    "annotators": "simulate people who annotate text pairs",
    "human_agreement": "compare annotators with each other and with judges",
    "score": "score predictions pair by pair",
    "fairness": "measure inequality over subgroups and axes",
    "compare": "put all runs side by side, with paired tests",
    "tables": "write the report's tables",
    "figures": "draw the report's figures",
    "report": "write the report",
}
"""What each stage does."""
