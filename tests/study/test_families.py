"""Which models are kin by their names."""

from tests.graph import ROOT
from tests.study.parts import CONFIG, study
from valuestrata.commands.check import kin_lines
from valuestrata.study.families import families, kin_of_judges, shares_family
from valuestrata.study.load import load_files
from valuestrata.study.models import BaselineModel, OpenAIModel, Toy, TransformersModel

TOY_JUDGE = CONFIG["judges"]["toy-judge"]["model"]


def hub(name: str) -> TransformersModel:
    return TransformersModel(backend="transformers", model=name, revision="main")


def service(name: str) -> OpenAIModel:
    return OpenAIModel(backend="openai", model=name, base_url="https://example.org/v1")


def test_names_speak_of_families() -> None:
    for name, family in (
        ("meta-llama/Llama-3.1-8B-Instruct", {"llama"}),
        ("Qwen/Qwen2.5-7B-Instruct", {"qwen"}),
        ("sail/Sailor2-8B-Chat", {"qwen"}),
        ("SeaLLMs/SeaLLMs-v3-7B-Chat", {"qwen"}),
        ("aisingapore/Llama-SEA-LION-v3-8B-IT", {"llama"}),
        ("microsoft/Phi-4-mini-instruct", {"phi"}),
        ("microsoft/phi4", {"phi"}),
        ("RedHatAI/Mistral-Small-3.1-24B-Instruct-2503-quantized.w8a8", {"mistral"}),
        ("/home/qwen/weights/gemma-2-9b/", {"gemini"}),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", {"deepseek", "qwen"}),
        ("someone/philosophy-7b", set()),
        ("someone/yield-7b", set()),
    ):
        assert families(hub(name)) == family, name
    assert families(service("gpt-4.1-2025-04-14")) == {"gpt"}
    assert families(service("o3-mini")) == {"gpt"}


def test_kin_share_a_family_or_are_the_same() -> None:
    llama = TransformersModel(backend="transformers", toy=Toy(architecture="llama"))
    qwen = TransformersModel(backend="transformers", toy=Toy(architecture="qwen2"))
    rule = BaselineModel(backend="baseline", rule="uniform")
    assert shares_family(llama, hub("meta-llama/Llama-3.2-3B"))
    assert not shares_family(llama, qwen)
    assert shares_family(service("gpt-4o"), service("gpt-4.1"))
    assert shares_family(hub("x/unheard-of"), service("x/unheard-of"))
    assert not shares_family(hub("x/unheard-of"), hub("x/another"))
    assert not shares_family(rule, rule)
    assert not shares_family(rule, llama)
    demo = load_files([ROOT / "config.yaml"], ROOT, files=False)
    assert kin_of_judges(demo) == {"toy-judge": ("toy-llama",)}


def test_check_names_kin_and_the_reference_among_them() -> None:
    second = {"model": {**TOY_JUDGE, "toy": {"architecture": "qwen2", "task": "judge"}}}
    reference = {"reference": {"model": "toy-qwen"}}
    judges = {
        "second": {**second, **reference, "rubric": "toy"},
        "both": {"panel": {"judges": ["toy-judge", "second"]}, **reference},
    }
    assert kin_lines(study({f"judges/{name}": judge for name, judge in judges.items()})) == [
        f"judge {judge} shares a family with {kin}: a judge may prefer texts of its own kind"
        for judge, kin in (
            ("toy-judge", "toy-llama"),
            ("second", "toy-qwen (its reference)"),
            ("both", "toy-llama, toy-qwen (its reference)"),
        )
    ]
