"""``generate``: its named options, and the defaults of a model, compared with what transformers generates."""

import copy
import json
import pickle
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import LogitsProcessorList, MaxLengthCriteria, NoRepeatNGramLogitsProcessor, StopStringCriteria

import registry
from registry.errors import ConfigError, InputError, UnknownAttributeError
from registry.generation.generate import generate
from registry.generation.stopping import at_strings

IDS = torch.tensor([[3, 1, 4, 1, 5, 9], [2, 2, 2, 6, 5, 3], [7, 8, 7, 8, 1, 1]])
MASK = torch.tensor([[1] * 6, [0, 0, 0, 1, 1, 1], [0] + [1] * 5])
GREEDY: dict[str, Any] = {"max_new_tokens": 16, "eos_token_id": 7}


@pytest.fixture(scope="module")
def theirs() -> Any:
    torch.manual_seed(3)
    config = transformers.GPT2Config(
        vocab_size=31, n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    for parameter in model.parameters():  # far from uniform
        parameter.data *= 8
    return model


@pytest.fixture(scope="module")
def directory(theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(where)
    (where / "generation_config.json").unlink()
    return where


@pytest.fixture
def ours(directory: Path) -> Any:
    return registry.load_model(directory)


def with_file(directory: Path, tmp_path: Path, **keys: Any) -> Any:
    """The model, with a ``generation_config.json`` of these keys."""
    for path in directory.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "generation_config.json").write_text(json.dumps(keys))
    return registry.load_model(tmp_path)


# --- Options ----------------------------------------------------------------------------------------------------------

OPTIONS: list[dict[str, Any]] = [
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 3, "num_beams": 3},
    {"bad_words_ids": [[5], [7, 8], [3, 4, 9]]},
    {"bad_words_ids": [[1, 1], [2]], "num_beams": 4, "num_return_sequences": 2},
    {"min_new_tokens": 9},
    {"min_new_tokens": 5, "num_beams": 3, "eos_token_id": [7, 8, 9, 10, 11]},
    {"min_length": 14},
    {"min_length": 11, "num_beams": 3},
    {"forced_eos_token_id": 4},
    {"forced_eos_token_id": [4], "num_beams": 3, "num_return_sequences": 2},
    {"suppress_tokens": [3, 9, 28], "repetition_penalty": 1.3},
    {"suppress_tokens": [7], "no_repeat_ngram_size": 1, "num_beams": 2, "length_penalty": 0.5},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_texts_are_those_of_transformers(ours: Any, theirs: Any, options: dict[str, Any]) -> None:
    options = {**GREEDY, **options}
    for number in range(len(IDS)):  # one by one: transformers takes padding for text
        prompt = IDS[number : number + 1]
        found = ours.generate(prompt, pad_token_id=7, **options)
        expected = theirs.generate(prompt, attention_mask=torch.ones_like(prompt), pad_token_id=7, **options)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_padded_prompts_are_continued_as_they_would_be_alone(ours: Any, options: dict[str, Any]) -> None:
    options = {**GREEDY, **options}
    together = ours.generate(IDS, attention_mask=MASK, **options)
    for number, mask in enumerate(MASK):
        alone = ours.generate(IDS[number : number + 1, mask.bool()], **options)
        copies = len(alone)
        for row, expected in zip(together[number * copies :], alone[:, int(mask.sum()) :], strict=False):
            assert row[6 : 6 + len(expected)].tolist() == expected.tolist()


def test_processors_of_transformers_and_functions_fit(ours: Any, theirs: Any) -> None:
    def no_fives(_ids: Tensor, scores: Tensor) -> Tensor:
        return scores.index_fill(1, torch.tensor([5]), -torch.inf)

    for options in ({}, {"num_beams": 3}):
        processors = LogitsProcessorList([NoRepeatNGramLogitsProcessor(2), no_fives])
        found = ours.generate(IDS, logits_processor=processors, **GREEDY, **options)
        expected = theirs.generate(
            IDS, attention_mask=torch.ones_like(IDS), logits_processor=processors, pad_token_id=7, **GREEDY, **options
        )
        assert torch.equal(found, expected)


def test_criteria_of_transformers_and_functions_fit(ours: Any, theirs: Any) -> None:
    def even(ids: Tensor, _scores: Tensor) -> Tensor:
        return ids[:, -1] % 2 == 0

    for options in ({}, {"num_beams": 3}):
        found = ours.generate(IDS, stopping_criteria=[even, MaxLengthCriteria(12)], **GREEDY, **options)
        expected = theirs.generate(
            IDS,
            attention_mask=torch.ones_like(IDS),
            stopping_criteria=transformers.StoppingCriteriaList([even, MaxLengthCriteria(12)]),
            pad_token_id=7,
            **GREEDY,
            **options,
        )
        assert torch.equal(found, expected)


def test_time_ends_texts(ours: Any) -> None:
    slow = [lambda _ids, scores: (time.sleep(0.05), scores)[1]]
    found = ours.generate(IDS, max_new_tokens=40, eos_token_id=(), logits_processor=slow, max_time=0.11)
    assert 6 < found.shape[1] < 12


def test_after_the_end_stands_the_padding_asked_for(ours: Any) -> None:
    ends = [lambda ids, _scores: torch.tensor([True, False, ids.shape[1] >= 9])]
    found = ours.generate(IDS, max_new_tokens=5, eos_token_id=(), stopping_criteria=ends, pad_token_id=30)
    assert (found[0, 7:] == 30).all()
    assert (found[1] != 30).all()
    assert (found[2, 9:] == 30).all()


def test_the_first_token_is_forced_where_a_text_has_one(ours: Any, theirs: Any) -> None:
    options = {**GREEDY, "max_new_tokens": 5, "forced_bos_token_id": 9, "forced_eos_token_id": 3}
    wanted = theirs.generate(IDS[:, :1], attention_mask=MASK[:, :1] * 0 + 1, pad_token_id=7, **options)
    assert torch.equal(ours.generate(IDS[:, :1], **options), wanted)
    padded = torch.cat([torch.zeros_like(IDS[:, :2]), IDS[:, :1]], dim=1)
    found = ours.generate(padded, attention_mask=torch.tensor([[0, 0, 1]] * 3), **options)
    assert torch.equal(found[:, 2:], wanted), "padding is no text"
    assert 9 not in ours.generate(IDS, forced_bos_token_id=9, max_new_tokens=1, eos_token_id=())[:, 6:]


def test_tokens_that_cannot_be_forced_and_two_least_lengths_are_refused(ours: Any) -> None:
    with pytest.raises(InputError, match="31 is not an id of a vocabulary of 31 tokens, and so cannot be forced"):
        ours.generate(IDS[:, :1], forced_bos_token_id=31, **GREEDY)
    with pytest.raises(InputError, match="forced_eos_token_id must be an id, several, or None, not 'end'"):
        ours.generate(IDS, forced_eos_token_id="end", **GREEDY)
    with pytest.raises(InputError, match="min_length=9 has no effect next to min_new_tokens"):
        ours.generate(IDS, min_length=9, min_new_tokens=2, **GREEDY)
    with pytest.raises(InputError, match="min_length must be a whole number above 0"):
        ours.generate(IDS, min_length=-1, **GREEDY)


def test_least_lengths_of_the_caller_go_before_those_of_the_file(directory: Path, tmp_path: Path, ours: Any) -> None:
    model = with_file(directory, tmp_path, min_length=14, **GREEDY)
    assert torch.equal(model.generate(IDS), ours.generate(IDS, min_length=14, **GREEDY))
    assert torch.equal(model.generate(IDS, min_new_tokens=2), ours.generate(IDS, min_new_tokens=2, **GREEDY))


# --- Stop strings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("string", ["the", " t", "e cat", "é", "👍", "\n", "xyz", "at sat on"])
def test_strings_end_texts_where_they_do_in_transformers(shared_gpt2: Any, string: str) -> None:
    ours, reference = shared_gpt2
    criterion = StopStringCriteria(reference, [string])
    text = "in the end the cat sat on the mat, café 👍👍\nthen xyz and the theme"
    ids = torch.tensor([ours.encode(text)])
    padding = torch.zeros(1, dtype=torch.long)
    for length in range(1, ids.shape[1] + 1):
        found = at_strings([string], ours, padding)(ids[:, :length], torch.empty(0))
        assert bool(found) == bool(criterion(ids[:, :length], None)), (length, ours.decode(ids[0, :length].tolist()))


@pytest.fixture(scope="module")
def shared_gpt2() -> Any:
    from plugins.gpt2.tokenization import GPT2Tokenizer

    where = Path(__file__).parent.parent.parent / "fixtures" / "vocabularies" / "gpt2"
    files = [str(where / name) for name in ("vocab.json", "merges.txt")]
    return GPT2Tokenizer(*files), transformers.GPT2TokenizerFast(vocab=files[0], merges=files[1])


def test_strings_need_a_tokenizer(ours: Any) -> None:
    from plugins.gpt2.tokenization import GPT2Tokenizer

    known = GPT2Tokenizer({"a": 0}, [])
    for strings, tokenizer in ((["a"], None), ([""], known), ([3], known)):
        with pytest.raises(InputError, match="stop_strings needs strings"):
            ours.generate(IDS, stop_strings=strings, tokenizer=tokenizer, **GREEDY)


# --- Scores -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"no_repeat_ngram_size": 2}, {"num_beams": 3, "num_return_sequences": 2}])
def test_scores_are_those_of_transformers(ours: Any, theirs: Any, options: dict[str, Any]) -> None:
    found = ours.generate(IDS, return_dict=True, **GREEDY, **options)
    expected = theirs.generate(
        IDS,
        attention_mask=torch.ones_like(IDS),
        pad_token_id=7,
        return_dict_in_generate=True,
        output_scores=True,
        **GREEDY,
        **options,
    )
    assert torch.equal(found.sequences, expected.sequences)
    beams = getattr(expected, "beam_indices", None)
    log_probs = theirs.compute_transition_scores(
        expected.sequences, expected.scores, beams, normalize_logits=beams is None
    )
    written = (found.log_probs != 0) & (log_probs[:, : found.log_probs.shape[1]] != 0)
    assert written.any()
    torch.testing.assert_close(
        found.log_probs[written], log_probs[:, : found.log_probs.shape[1]][written], rtol=1e-3, atol=1e-4
    )
    if beams is None:
        for mine, other in zip(found.scores, expected.scores, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)  # of numbers up to 100
        torch.testing.assert_close(found.sequences_scores, found.log_probs.sum(1))
    else:
        torch.testing.assert_close(found.sequences_scores, expected.sequences_scores)
        for step, mine in enumerate(found.scores):
            for row in range(len(IDS) * 2):
                if beams[row, step] >= 0:
                    torch.testing.assert_close(mine[row], expected.scores[step][beams[row, step]], rtol=1e-3, atol=1e-4)


# --- Defaults of a model ----------------------------------------------------------------------------------------------


def test_defaults_are_read_obeyed_and_saved(ours: Any, directory: Path, tmp_path: Path) -> None:
    keys = {"max_new_tokens": 9, "no_repeat_ngram_size": 2, "eos_token_id": [7, 8], "transformers_version": "5.0"}
    model = with_file(directory, tmp_path, **keys)
    expected = ours.generate(IDS, max_new_tokens=9, no_repeat_ngram_size=2, eos_token_id=[7, 8])
    assert torch.equal(model.generate(IDS), expected)
    assert torch.equal(
        model.generate(IDS, max_new_tokens=4), ours.generate(IDS, max_new_tokens=4, **dict(list(keys.items())[1:3]))
    )
    saved = registry.save(model, tmp_path / "saved")
    assert json.loads((saved / "generation_config.json").read_text()) == keys
    assert torch.equal(registry.load_model(saved).generate(IDS), expected)
    assert transformers.GPT2LMHeadModel.from_pretrained(saved).generation_config.no_repeat_ngram_size == 2


def test_without_such_a_file_none_is_written(ours: Any, tmp_path: Path) -> None:
    assert not (registry.save(ours, tmp_path / "saved") / "generation_config.json").exists()
    with pytest.raises(InputError, match="max_new_tokens is required"):
        ours.generate(IDS)


def test_its_keys_are_attributes_too(ours: Any) -> None:
    defaults = ours.generation_config
    assert defaults.max_new_tokens is None
    defaults.max_new_tokens = 3
    assert defaults == {"max_new_tokens": 3}
    assert torch.equal(ours.generate(IDS), ours.generate(IDS, max_new_tokens=3))
    assert (
        copy.deepcopy(ours).generation_config.max_new_tokens == pickle.loads(pickle.dumps(defaults)).max_new_tokens == 3
    )
    with pytest.raises(UnknownAttributeError, match="Did you mean 'max_new_tokens'"):
        defaults.max_new_token = 4
    with pytest.raises(AttributeError, match=r"registry\.integrations\.pipelines"):
        defaults.to_diff_dict()


def test_without_it_the_end_of_the_configuration_ends_a_text(directory: Path, tmp_path: Path) -> None:
    """GPT-2 has no field for it; the files of older models have it nowhere else."""
    for path in directory.iterdir():
        (tmp_path / path.name).symlink_to(path)
    config = json.loads((directory / "config.json").read_text())
    (tmp_path / "config.json").unlink()
    prompt = IDS[:1]
    free = registry.load_model(directory).generate(prompt, max_new_tokens=12, eos_token_id=())
    config["eos_token_id"] = end = free[0, prompt.shape[1] + 4].item()
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = registry.load_model(tmp_path).generate(prompt, max_new_tokens=12)
    again = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
    expected = again.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=12, do_sample=False)
    assert found.tolist() == expected.tolist()
    assert found[0, -1] == end
    assert found.shape[1] < free.shape[1]


def test_a_length_counts_the_prompt(directory: Path, tmp_path: Path) -> None:
    model = with_file(directory, tmp_path, max_length=10, eos_token_id=[])
    assert model.generate(IDS).shape == (3, 10)


def test_sampling_is_that_of_the_file_unless_the_caller_chooses(ours: Any, directory: Path, tmp_path: Path) -> None:
    model = with_file(directory, tmp_path, do_sample=True, temperature=0.7, top_p=0.9, max_new_tokens=6)

    def drawn(of: Any, **options: Any) -> list[list[int]]:
        return of.generate(IDS, generator=torch.Generator().manual_seed(0), **options).tolist()

    assert drawn(model) == drawn(ours, temperature=0.7, top_p=0.9, top_k=50, max_new_tokens=6)
    assert drawn(model, top_p=0.5) == drawn(ours, temperature=0.7, top_p=0.5, top_k=50, max_new_tokens=6)
    for greedy in ({"temperature": 0}, {"num_beams": 3}):
        assert torch.equal(model.generate(IDS, **greedy), ours.generate(IDS, max_new_tokens=6, **greedy))


def test_temperature_without_sampling_changes_nothing(ours: Any, directory: Path, tmp_path: Path) -> None:
    model = with_file(directory, tmp_path, temperature=0.7, top_k=3, max_new_tokens=6)
    assert torch.equal(model.generate(IDS), ours.generate(IDS, max_new_tokens=6))


@pytest.mark.parametrize("keys", [{"penalty_alpha": 0.6}, {"guidance_scale": 1.5}, {"num_beam_groups": 2}])
def test_what_does_not_exist_here_is_refused_by_name(directory: Path, tmp_path: Path, keys: dict[str, Any]) -> None:
    model = with_file(directory, tmp_path, max_new_tokens=3, **keys)
    (key,) = keys
    hint = rf"remove '{key}' from that file, or in Python: del model\.generation_config\['{key}'\]"
    with pytest.raises(ConfigError, match=rf"(?s){key}=.*{hint}"):
        model.generate(IDS)
    del model.generation_config[next(iter(keys))]
    assert model.generate(IDS).shape == (3, 9)


def test_beams_with_sampling_are_the_callers_choice(directory: Path, tmp_path: Path) -> None:
    model = with_file(directory, tmp_path, do_sample=True, num_beams=4, max_new_tokens=3)
    with pytest.raises(ConfigError, match="num_beams=1 to sample, or temperature=0"):
        model.generate(IDS)
    assert model.generate(IDS, num_beams=1).shape == model.generate(IDS, temperature=0).shape == (3, 9)


def test_what_does_not_predict_tokens_does_not_generate() -> None:
    with pytest.raises(InputError, match="Linear does not predict next tokens"):
        generate(torch.nn.Linear(2, 2), IDS, max_new_tokens=3)


# --- Texts ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, shared_gpt2: Any) -> Any:
    from registry.zoo import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(shared_gpt2[0]), n_positions=64, n_embd=16, n_layer=1, n_head=2)
    model = GPT2LMHeadModel(config)
    model.init_weights()
    where = registry.save(model, tmp_path_factory.mktemp("texts") / "saved", tokenizer=shared_gpt2[0])
    return registry.load(where, allow_missing="*")


def test_texts_are_continued(loaded: Any) -> None:
    text = loaded.generate("The cat", max_new_tokens=5)
    ids = loaded.model.generate(torch.tensor([loaded.tokenizer.encode("The cat")]), max_new_tokens=5)
    assert text == loaded.tokenizer.decode(ids[0].tolist())
    together = loaded.generate(["The cat", "A much longer prompt than that"], max_new_tokens=5)
    assert together == [text, loaded.generate("A much longer prompt than that", max_new_tokens=5)]
    several = loaded.generate("The cat", max_new_tokens=5, temperature=1.0, num_return_sequences=3)
    assert len(several) == 3
    assert all(one.startswith("The cat") for one in several)
    stop = loaded.tokenizer.decode(ids[0, -3:-2].tolist())
    assert loaded.generate("The cat", max_new_tokens=5, stop_strings=stop).endswith(stop)


def test_a_text_without_tokens_is_refused(loaded: Any) -> None:
    with pytest.raises(InputError, match="prompt is empty"):
        loaded.generate("", max_new_tokens=5)
    with pytest.raises(InputError, match="attention_mask has no effect for texts"):
        loaded.generate("a", max_new_tokens=5, attention_mask=None)
