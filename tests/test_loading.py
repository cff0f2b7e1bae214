"""A network and an adapter are all there, or one line says what is not; nothing is filled in."""

import json
import logging
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests import asking, toys, tuning
from valuestrata.commands import check
from valuestrata.errors import InputError
from valuestrata.inference import local, transformers
from valuestrata.inference.backends import open_model
from valuestrata.inference.loading import differences, grouped
from valuestrata.inference.local import load_network
from valuestrata.inference.notices import collect_warnings
from valuestrata.training import lora

Tensors = dict[str, torch.Tensor]
WEIGHTS = "model.safetensors"
ADAPTER = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = toys.tokenizer("llama")
    return toys.save(toys.network("Llama", words), words, tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    tuned, _ = tuning.tune(toys.RECIPE, toys.pairs(), load_network(toys.model(base)))
    lora.save(tuned, folder, toys.model(base))
    return folder


def changed(folder: Path, copy: Path, file: str, change: Callable[[Tensors], Any]) -> Path:
    """A copy of a folder in which the tensors of a file are others."""
    shutil.copytree(folder, copy)
    tensors = load_file(copy / file)
    change(tensors)
    save_file(tensors, copy / file, {"format": "pt"})
    return copy


def renamed(old: str, new: str) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        for key in [key for key in tensors if old in key]:
            tensors[key.replace(old, new)] = tensors.pop(key)

    return change


def one_line(call: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- weights

UP = "model.layers.1.mlp.up_proj.weight"
FAULTS: dict[str, tuple[Callable[[Tensors], Any], str]] = {
    "a tensor is missing": (lambda t: t.pop(UP), f"missing: {UP})"),
    "the output layer is missing": (lambda t: t.pop("lm_head.weight"), "missing: lm_head.weight"),
    "a tensor has another name": (
        renamed("up_proj", "up"),
        "missing: model.layers.{0-1}.mlp.up_proj.weight; "
        "unexpected: model.layers.{0-1}.mlp.up.weight",
    ),
    "a layer too many": (
        lambda t: t.update({UP.replace(".1.", ".7."): t[UP].clone()}),
        "unexpected: model.layers.7.mlp.up_proj.weight",
    ),
    "another shape": (
        lambda t: t.update({UP: t[UP][:-1].clone()}),
        f"of other shape: {UP} [63, 48] in place of [64, 48]",
    ),
    "a wrapper of torch.compile's": (
        renamed("model.layers", "_orig_mod.layers"),
        "unexpected: _orig_mod.layers.{0-1}",
    ),
    "an adapter that was not merged": (
        lambda t: t.update({"model.layers.0.mlp.up_proj.lora_A.weight": torch.ones(2, 48)}),
        "unexpected: model.layers.0.mlp.up_proj.lora_A.weight",
    ),
    "a head of a reward model": (
        lambda t: t.update({"score.weight": torch.ones(1, 48)}),
        "unexpected: score.weight",
    ),
}


def test_tensors_that_are_not_the_networks_are_refused_by_name(base: Path, tmp_path: Path) -> None:
    """Trap 29: the library makes up what is missing, at random, and goes on."""
    for name, (change, expected) in FAULTS.items():
        folder = changed(base, tmp_path / name, WEIGHTS, change)
        line = one_line(lambda folder=folder: load_network(toys.model(folder)))
        assert expected in line, name
        assert "LlamaForCausalLM" in line


def test_all_faults_of_a_file_are_named_at_once(base: Path, tmp_path: Path) -> None:
    def change(tensors: Tensors) -> None:
        tensors.pop("lm_head.weight")
        tensors |= {"score.weight": torch.ones(1, 48), UP: tensors[UP][:-1].clone()}

    folder = changed(base, tmp_path / "copy", WEIGHTS, change)
    line = one_line(lambda: load_network(toys.model(folder)))
    assert all(word in line for word in ("missing: lm_head", "unexpected: score", "of other shape"))


def test_tied_weights_and_computed_buffers_are_no_faults(tmp_path: Path) -> None:
    words = toys.tokenizer("llama")
    network = toys.network("Llama", words, tie_word_embeddings=True)
    tied = toys.save(network, words, tmp_path / "tied")
    assert "lm_head.weight" not in load_file(tied / WEIGHTS)
    embeddings = "model.embed_tokens.weight"
    for name, change in {
        "as saved": lambda t: None,
        "the other one": renamed(embeddings, "lm_head.weight"),
        "both": lambda t: t.update({"lm_head.weight": t[embeddings].clone()}),
        "frequencies": lambda t: t.update(
            {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(12)}
        ),
    }.items():
        loaded = load_network(toys.model(changed(tied, tmp_path / name, WEIGHTS, change)))
        assert torch.equal(loaded.lm_head.weight, network.lm_head.weight), name
    neither = changed(tied, tmp_path / "neither", WEIGHTS, lambda t: t.pop(embeddings))
    assert f"missing: lm_head.weight, {embeddings}" in one_line(
        lambda: load_network(toys.model(neither))
    )


def test_two_loads_of_a_file_are_the_same(base: Path) -> None:
    states = [load_network(toys.model(base)).state_dict() for _ in range(2)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_many_names_are_short_and_none_is_lost() -> None:
    keys = [f"l.{i}.{n}.weight" for i in (0, 1, 2, 5, 10) for n in ("q", "k")]
    assert grouped(keys) == ["l.{0-2,5,10}.k.weight", "l.{0-2,5,10}.q.weight"]
    assert grouped(["a.1.b", "norm"]) == ["a.1.b", "norm"]
    assert grouped([f"l.0.e.{i}.w" for i in range(3)]) == ["l.0.e.{0-2}.w"]
    assert differences([], [], {}) == ""


# ---- damaged files


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def pointer(file: Path) -> None:
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


DAMAGE: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "cut off": (WEIGHTS, truncated, "is damaged"),
    "header": (WEIGHTS, lambda f: f.write_bytes(b"\xff" * 64), "is damaged"),
    "empty": (WEIGHTS, lambda f: f.write_bytes(b""), "is damaged"),
    "a web page": (WEIGHTS, lambda f: f.write_text("<!doctype html>" * 9), "is damaged"),
    "pointer": (WEIGHTS, pointer, "Git LFS pointer"),
    "config": ("config.json", truncated, "is damaged"),
    "config of a list": ("config.json", lambda f: f.write_text("[1]"), "is damaged"),
    "config pointer": ("config.json", pointer, "Git LFS pointer"),
    "tokenizer": ("tokenizer.json", truncated, "is damaged"),
    "tokenizer of nothing": ("tokenizer.json", lambda f: f.write_text("{}"), "cannot be loaded"),
    "tokenizer pointer": ("tokenizer.json", pointer, "Git LFS pointer"),
    "tokenizer config": ("tokenizer_config.json", truncated, "is damaged"),
    "generation config": ("generation_config.json", truncated, "is damaged"),
    "template": (
        "chat_template.jinja",
        lambda f: f.write_text("{% for m in %}"),
        "chat template fails",
    ),
}


def test_a_damaged_file_is_one_line_before_anything_is_loaded(base: Path, tmp_path: Path) -> None:
    for name, (file, damage, expected) in DAMAGE.items():
        copy = Path(shutil.copytree(base, tmp_path / name))
        damage(copy / file)
        line = one_line(lambda copy=copy: open_model(toys.model(copy), 1))
        assert expected in line, name
        assert str(copy) in line, name
    missing = Path(shutil.copytree(base, tmp_path / "none"))
    (missing / "tokenizer.json").unlink()
    one_line(lambda: open_model(toys.model(missing), 1))


def test_parts_that_an_index_lists_have_to_be_there(base: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(base, tmp_path / "copy"))
    load_network(toys.model(base)).save_pretrained(copy, max_shard_size="60KB")
    (copy / WEIGHTS).unlink()
    assert len(list(copy.glob("model-*.safetensors"))) > 2
    load_network(toys.model(copy))
    (copy / "model-00002-of-00003.safetensors").unlink(missing_ok=True)
    parts = sorted(copy.glob("model-*.safetensors"))
    parts[0].unlink(missing_ok=True)
    line = one_line(lambda: load_network(toys.model(copy)))
    assert parts[0].name in line
    assert "lacks" in line
    (copy / "model.safetensors.index.json").unlink()
    assert "has no weights in safetensors" in one_line(lambda: load_network(toys.model(copy)))


def test_other_formats_are_refused_before_anything_is_loaded(base: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "x-Q4_K_M.gguf").write_bytes(b"GGUF")
    beside = Path(shutil.copytree(base, tmp_path / "beside"))
    (beside / "x.gguf").write_bytes(b"GGUF")
    open_model(toys.model(beside), 1)  # the rest of the folder is a model
    (beside / WEIGHTS).unlink()
    for named in (alone, alone / "x-Q4_K_M.gguf", beside, tmp_path / "nowhere.gguf"):
        line = one_line(lambda named=named: open_model(toys.model(named), 1))
        assert "GGUF is not read as it is" in line
        assert "safetensors" in line
    own = tmp_path / "own"
    own.mkdir()
    (own / "params.json").write_text("{}")
    assert "params.json" in one_line(lambda: open_model(toys.model(own), 1))


def test_check_names_a_local_models_damage_without_reading_weights(
    base: Path, tmp_path: Path
) -> None:
    folders = {"whole": base, "hub": "owner/name", "file": tmp_path / "x.gguf"}
    for name, (file, damage, _) in DAMAGE.items():
        if file.endswith((".json", ".safetensors")) and name != "tokenizer of nothing":
            folders[name] = Path(shutil.copytree(base, tmp_path / name))
            damage(Path(folders[name], file))
    models = {f"models.{name}": toys.model(folder) for name, folder in folders.items()}
    study: Any = SimpleNamespace(local_models=lambda: models)
    lines = check.unreadable_models(study)
    assert [line.partition(".model: ")[0] for line in lines] == list(models)[2:]
    assert "valuestrata convert" in lines[0]


def test_networks_that_write_no_text_are_refused_by_their_settings(
    base: Path, tmp_path: Path
) -> None:
    for name, change in {
        "LlamaForSequenceClassification": {},
        "LlamaModel": {},
        "T5ForConditionalGeneration": {"model_type": "t5"},
        "BertForMaskedLM": {"model_type": "bert"},
        "WhisperForConditionalGeneration": {"model_type": "whisper"},
        "CLIPModel": {"model_type": "clip"},
    }.items():
        copy = Path(shutil.copytree(base, tmp_path / name))
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**config, "architectures": [name], **change}))
        (copy / WEIGHTS).unlink()
        assert f"is a {name}" in one_line(lambda copy=copy: open_model(toys.model(copy), 1))


# ---- adapters

Q = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
OF_ADAPTERS: dict[str, tuple[Callable[[Tensors], Any], str]] = {
    "names of another library": (
        renamed("base_model.model.", "base_model."),
        "unexpected: base_model.model.layers",
    ),
    "names of a wrapper": (
        renamed("model.layers", "model.language_model.layers"),
        "unexpected: base_model.model.model.language_model.layers",
    ),
    "one tensor is missing": (lambda t: t.pop(Q.format("B")), f"missing: {Q.format('B')})"),
    "one tensor has another name": (
        lambda t: t.update({Q.format("C"): t.pop(Q.format("B"))}),
        f"missing: {Q.format('B')}; unexpected: {Q.format('C')}",
    ),
    "a layer too many": (
        lambda t: t.update({Q.format("A").replace(".0.", ".9."): t[Q.format("A")].clone()}),
        "unexpected: base_model.model.model.layers.9.self_attn",
    ),
    "another rank": (
        lambda t: t.update({Q.format("A"): t[Q.format("A")][:2].clone()}),
        f"of other shape: {Q.format('A')} [2, 48] in place of [4, 48]",
    ),
}


def test_an_adapter_of_which_a_tensor_is_not_applied_is_refused(
    base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 30: peft leaves out what it cannot place, and predict equals the base."""
    monkeypatch.setattr(local, "load_network", lambda *_: pytest.fail("weights were loaded"))
    for name, (change, expected) in OF_ADAPTERS.items():
        folder = changed(adapter, tmp_path / name, ADAPTER, change)
        line = one_line(lambda folder=folder: open_model(toys.model(base), 1, folder))
        assert expected in line, name
        assert str(folder) in line
    copy = Path(shutil.copytree(adapter, tmp_path / "cut"))
    truncated(copy / ADAPTER)
    assert "is damaged" in one_line(lambda: open_model(toys.model(base), 1, copy))
    (copy / ADAPTER).unlink()
    assert f"has no {ADAPTER}" in one_line(lambda: open_model(toys.model(base), 1, copy))


def test_an_adapter_of_another_network_is_refused(adapter: Path, tmp_path: Path) -> None:
    words = toys.tokenizer("llama")
    wide = toys.save(toys.network("Llama", words, hidden_size=64), words, tmp_path / "wide")
    line = one_line(lambda: open_model(toys.model(wide), 1, adapter))
    assert "of other shape" in line
    words = toys.tokenizer("phi")
    phi = toys.save(toys.network("Phi3", words), words, tmp_path / "phi")
    line = one_line(lambda: open_model(toys.model(phi), 1, adapter))
    assert "unexpected: base_model.model.model.layers.{0-1}.mlp.gate_proj.lora_A.weight" in line


# ---- the canary


def test_what_an_adapter_changes_stands_with_every_answer(
    base: Path, adapter: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Trap 13."""
    caplog.set_level(logging.INFO)
    model = toys.model(base)
    plain = asking.predict(tmp_path, model)
    assert plain["adapter_shift"].isna().all()
    assert set(plain["notes"]) == {""}
    tuned = asking.predict(tmp_path, model, adapter=adapter)
    (shift,) = set(tuned["adapter_shift"])
    assert shift > 0.1
    assert any(f"changes logits by {shift:.3g}" in r.getMessage() for r in caplog.records)
    prompt = open_model(model, 1).chat.prompt  # type: ignore[union-attr]
    first = toys.pairs().iloc[0]
    ids = torch.tensor([prompt(first["persona"], first["closed_prompt"]).ids])
    with torch.inference_mode():
        one, other = (
            open_model(model, 1, folder).network(input_ids=ids).logits[0, -16:]  # type: ignore[attr-defined]
            for folder in (None, adapter)
        )
    assert shift == pytest.approx(float((one - other).abs().max()), rel=1e-4)
    texts = asking.generate(tmp_path, model, adapter=adapter)
    assert (texts["adapter_shift"] > 0).all()


def test_a_run_whose_replies_are_cached_says_it_without_loading(
    base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asking.predict(tmp_path, toys.model(base), adapter=adapter)
    monkeypatch.setattr(
        "valuestrata.inference.fill.get_or_compute",
        lambda cache, keys, *_: [{"text": "", "logprobs": [0.0]} for _ in keys],
    )
    monkeypatch.setattr(transformers, "load_network", lambda *_: pytest.fail("it was loaded"))
    second = asking.predict(tmp_path, toys.model(base), adapter=adapter)
    assert set(first["adapter_shift"]) == set(second["adapter_shift"])


def test_an_adapter_that_changes_nothing_is_refused_before_anything_is_asked(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    def silence(tensors: Tensors) -> None:
        for key in tensors:
            if "lora_B" in key:
                tensors[key].zero_()

    silent = changed(adapter, tmp_path / "silent", ADAPTER, silence)
    line = one_line(lambda: asking.predict(tmp_path, toys.model(base), adapter=silent))
    assert "changes nothing" in line
    assert not asking.cached(tmp_path / "cache")


def test_logits_that_are_no_numbers_are_refused(base: Path, tmp_path: Path) -> None:
    def spoil(tensors: Tensors) -> None:
        tensors["model.norm.weight"][0] = torch.nan

    folder = changed(base, tmp_path / "spoiled", WEIGHTS, spoil)
    for ask in (asking.predict, asking.generate):
        assert "no finite numbers" in one_line(
            lambda ask=ask: ask(tmp_path, toys.model(folder))  # type: ignore[operator]
        )


# ---- warnings of libraries


def test_what_libraries_warn_of_is_kept_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    notes: list[str] = []
    library = logging.getLogger("transformers.modeling_utils")
    with collect_warnings(notes):
        library.warning("\x1b[31mSome weights\x1b[0m were newly\n initialized: %s", "x" * 400)
        library.warning("Some weights were newly initialized: y")
        library.warning("Some weights were newly initialized: y")
        library.warning("it rains")
        warnings.warn("Found missing adapter keys", stacklevel=1)
        warnings.warn("the adapter's name will change", FutureWarning, stacklevel=1)
    library.warning("weights, but outside")
    assert [note[:40] for note in notes] == [
        "Some weights were newly initialized: xxx",
        "Some weights were newly initialized: y",
        "Found missing adapter keys",
    ]
    assert max(map(len, notes)) == 300
    assert sum("adapter" in r.getMessage() for r in caplog.records) == 2


def test_libraries_are_not_muted() -> None:
    from transformers.utils import logging as library

    from valuestrata.inference import runtime

    runtime.prepare(1)
    assert library.get_verbosity() <= logging.WARNING


def test_a_note_goes_with_the_predictions(base: Path, tmp_path: Path) -> None:
    """Both tied weights stand in the file, and are not the same: the library does not tie them."""

    def change(tensors: Tensors) -> None:
        tensors["lm_head.weight"] = tensors["lm_head.weight"] + 1

    copy = changed(base, tmp_path / "copy", WEIGHTS, change)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    (note,) = set(asking.predict(tmp_path, toys.model(copy))["notes"])
    assert "both are present in the checkpoints with different values" in note
