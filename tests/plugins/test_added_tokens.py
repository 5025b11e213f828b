"""Added tokens of every combination of flags: ids and offsets of transformers, and after saving, in both directions."""

import json
import random
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tokenizers
import transformers
from hypothesis import given
from hypothesis import strategies as st

import registry
from plugins.bert.config import BertConfig
from plugins.bert.modeling import BertModel
from plugins.bert.tokenization import BertTokenizer
from plugins.gpt.tokenization import LAST, OpenAIGPTTokenizer
from plugins.gpt2.tokenization import GPT2Tokenizer
from plugins.transfo_xl.tokenization import TransfoXLTokenizer
from registry.errors import VocabError
from registry.tokenization.added_tokens.token import AddedToken
from registry.tokenization.byte_level import CHARACTERS

pytestmark = pytest.mark.parity


def numbered(*tokens: str) -> dict[str, int]:
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


WORDS = (
    "the cat sat on york co ##v ##id covid a b c ##a ##b ##c x ##x , . - [ ] e é mask 中 国 ᅡ ##1 19 9 ² THE The CAT A"
)
BERT = numbered("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split())
BYTE_RULES = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("c", "o"), ("Ġ", "a"), ("Ġ", "Ġ")]
BYTES = numbered("<|endoftext|>", *CHARACTERS.values(), *map("".join, BYTE_RULES))
RULES = [("t", "h"), ("th", f"e{LAST}"), ("c", "o"), ("a", f"t{LAST}")]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789,.-[]中国"
GPT = numbered("<unk>", *LETTERS, *(letter + LAST for letter in LETTERS), *map("".join, RULES))


class Kind(NamedTuple):
    """A tokenizer and its reference."""

    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    model_type: str
    options: dict[str, Any] = {}
    """Options that no file has."""


KINDS = {
    "bert uncased": Kind(lambda: BertTokenizer(BERT), lambda: transformers.BertTokenizer(vocab=BERT), "bert"),
    "bert cased": Kind(
        lambda: BertTokenizer(BERT, do_lower_case=False),
        lambda: transformers.BertTokenizer(vocab=BERT, do_lower_case=False),
        "bert",
    ),
    "gpt2": Kind(
        lambda: GPT2Tokenizer(BYTES, BYTE_RULES),
        lambda: transformers.GPT2Tokenizer(vocab=BYTES, merges=BYTE_RULES),
        "gpt2",
    ),
    "gpt2 with a space": Kind(
        lambda: GPT2Tokenizer(BYTES, BYTE_RULES, add_prefix_space=True),
        lambda: transformers.GPT2Tokenizer(vocab=BYTES, merges=BYTE_RULES, add_prefix_space=True),
        "gpt2",
    ),
    "gpt": Kind(
        lambda: OpenAIGPTTokenizer(GPT, RULES, use_spacy=False),
        lambda: transformers.OpenAIGPTTokenizer(vocab=GPT, merges=RULES),
        "openai-gpt",
        {"use_spacy": False},
    ),
}
CONTENTS = [
    "covid", "COVID-19", "new york", "York", " cat", "sat ", "a", "b", "ab", " ", "  ", "\n", "É", "e\u0301", "中",
    "a中", "가", "ᄀ", "[E1]", "<x>", "[MASK]", "The", "²x", "x²", "ⓐ", "_", "!!", "\u0301x", "İ", "ΣΑΣ", "##a",
    "x\u200d", "a,", "[MASK", "the cat", "\xa0x", "9",
]  # fmt: skip
PARTS = [
    *CONTENTS, "covid19", "COVID", "Covid", "[e1]", "the", "cat", "\t", "\r\n", "\xa0", "\u3000", "\x85", "\x1c",
    "\x0b", "\0", ",", ".", "-", "[mask]", "[CLS]", "<|endoftext|>", "<unk>", "abc", "x", "X", "é", "E", "국", "각", "ᅡ",
    "ñ", "2", "½", "Ⅷ", "\u0316\u0301", "👩‍👧", "ς", "ß",
]  # fmt: skip
"""Parts of texts: the tokens, others like them, and what stands around them."""

each_kind = pytest.mark.parametrize("kind", KINDS)


# --- Random tokens and texts ------------------------------------------------------------------------------------------


def with_tokens(kind: str, rng: random.Random) -> tuple[Any, Any]:
    """Both tokenizers, to which the same random tokens were added, no two of which are the same once normalized."""
    ours, theirs = KINDS[kind].ours(), KINDS[kind].theirs()
    normalizer = theirs.backend_tokenizer.normalizer
    seen = set()
    for content in rng.sample(CONTENTS, rng.randint(1, 6)):
        normalized = normalizer.normalize_str(content) if normalizer else content
        if normalized in seen:
            continue
        seen.add(normalized)
        special = rng.random() < 0.35
        flags = {name: rng.random() < 0.35 for name in ("lstrip", "rstrip", "single_word")}
        flags["lstrip"] &= not content.isspace()  # where another token takes all of it, theirs panics
        flags["normalized"] = rng.random() < 0.6
        token: Any = content if rng.random() < 0.2 else tokenizers.AddedToken(content, **flags)
        record = content if isinstance(token, str) else AddedToken(content, None, special, **flags)
        number = theirs.add_tokens([token], special_tokens=special)
        assert ours.add_tokens([record], special_tokens=special) == number
    return ours, theirs


def some_text(rng: random.Random) -> str:
    return "".join(rng.choices(PARTS, k=rng.randint(0, 14)))


def compare(ours: Any, theirs: Any, rng: random.Random) -> None:
    """Compare ids and offsets of a batch of three, perhaps of pairs, perhaps truncated."""
    texts, pairs = ([some_text(rng) for _ in range(3)] for _ in range(2))
    call: dict[str, Any] = {"return_offsets_mapping": True, "split_special_tokens": rng.random() < 0.3}
    if rng.random() < 0.3:
        call["text_pair"] = pairs
    if rng.random() < 0.3:
        call.update(truncation=True, max_length=rng.randint(5, 12))
    found, expected = ours(texts, **call), theirs(texts, **call)
    told = ours.added_tokens, texts, call
    assert found["input_ids"] == expected["input_ids"], told
    assert found["offset_mapping"] == expected["offset_mapping"], told
    split = call["split_special_tokens"]
    alone = [ours.encode(text, split_special_tokens=split) for text in texts]
    assert alone == theirs(texts, split_special_tokens=split)["input_ids"]


@each_kind
def test_ids_and_offsets_are_those_of_transformers(kind: str, examples: int) -> None:
    rng = random.Random(kind)
    for _ in range(examples // 6):
        ours, theirs = with_tokens(kind, rng)
        assert len(ours) == len(theirs)
        assert ours.get_vocab() == theirs.get_vocab()
        assert ours.get_added_vocab() == theirs.get_added_vocab()
        compare(ours, theirs, rng)
        compare(ours, theirs, rng)


@each_kind
def test_saved_tokens_are_the_same_here_and_in_transformers(kind: str, examples: int, tmp_path: Path) -> None:
    rng = random.Random(kind)
    for number in range(max(1, examples // 60)):
        ours, theirs = with_tokens(kind, rng)
        here, there = tmp_path / f"{number} of ours", tmp_path / f"{number} of theirs"
        ours.save_pretrained(here)
        theirs.save_pretrained(there)
        for folder in (here, there):
            (folder / "config.json").write_text(json.dumps({"model_type": KINDS[kind].model_type}))
        again = type(ours).from_pretrained(here, **KINDS[kind].options)
        assert again.added_tokens == ours.added_tokens
        compare(again, theirs, rng)
        compare(ours, type(theirs).from_pretrained(here), rng)
        read = type(ours).from_pretrained(there, **KINDS[kind].options)
        compare(read, type(theirs).from_pretrained(there), rng)
        assert again.get_vocab() == read.get_vocab() == ours.get_vocab()


# --- Every combination of flags ---------------------------------------------------------------------------------------

NAMES = ("special", "normalized", "lstrip", "rstrip", "single_word")


@pytest.fixture(scope="module")
def combined() -> dict[str, tuple[Any, Any]]:
    """Both tokenizers of each kind, with one token for each combination of flags."""
    made = {kind: (KINDS[kind].ours(), KINDS[kind].theirs()) for kind in KINDS}
    for number, values in enumerate(product([False, True], repeat=len(NAMES))):
        special, *_ = values
        flags = dict(zip(NAMES, values, strict=True))
        for ours, theirs in made.values():
            ours.add_tokens(AddedToken(f"To{number:02}", **flags))
            theirs.add_tokens([tokenizers.AddedToken(f"To{number:02}", **flags)], special_tokens=special)
    return made


@each_kind
@given(
    parts=st.lists(
        st.integers(0, 31).map("To{:02}".format)
        | st.integers(0, 31).map("TO{:02}".format)
        | st.sampled_from(["", " ", "  ", "\t", "a", "1", "\u0301", ".", " the ", "中"]),
        max_size=12,
    ),
    split_special_tokens=st.booleans(),
)
def test_every_combination_of_flags(
    combined: dict[str, tuple[Any, Any]], kind: str, parts: list[str], split_special_tokens: bool
) -> None:
    ours, theirs = combined[kind]
    call = {"return_offsets_mapping": True, "split_special_tokens": split_special_tokens}
    found, expected = ours("".join(parts), **call), theirs("".join(parts), **call)
    assert found["input_ids"] == expected["input_ids"]
    assert found["offset_mapping"] == expected["offset_mapping"]


# --- What users do ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("roles", [{"mask_token": "<m>"}, {"pad_token": "[SEP]", "sep_token": "<s>"}], ids=str)
def test_a_special_token_that_loses_its_role_stays_one(roles: dict[str, str], tmp_path: Path) -> None:
    ours, theirs = BertTokenizer(BERT), transformers.BertTokenizer(vocab=BERT)
    assert ours.add_special_tokens(roles) == theirs.add_special_tokens(roles)
    ours.save_pretrained(tmp_path)
    text = "the [MASK] sat [PAD] on [SEP] <m> the <s> cat"
    expected = theirs.encode(text, add_special_tokens=False)
    for each in (ours, BertTokenizer.from_pretrained(tmp_path)):
        assert each.encode(text, add_special_tokens=False) == expected
    ours.mask_token = "[SEP]"
    assert ours.tokenize("a [MASK]") == ["a", "[MASK]"]


def test_a_word_added_to_an_uncased_bert_is_found_in_every_case() -> None:
    tokenizer = BertTokenizer(BERT)
    tokenizer.add_tokens(["Covid19"])
    number = len(BERT)
    assert tokenizer("the COVID19 covid19s.", return_offsets_mapping=True, add_special_tokens=False) == {
        "input_ids": [BERT["the"], number, number, BERT["[UNK]"], BERT["."]],
        "token_type_ids": [0] * 5,
        "attention_mask": [1] * 5,
        "offset_mapping": [(0, 3), (4, 11), (12, 19), (19, 20), (20, 21)],
    }


@pytest.mark.parametrize("layout", ["added_tokens.json", "added_tokens_decoder", "tokenizer.json", "both vocabularies"])
def test_every_layout_of_a_folder_has_the_ids_of_transformers(tmp_path: Path, layout: str) -> None:
    theirs = transformers.BertTokenizer(vocab=BERT)
    theirs.add_tokens(["Cats", tokenizers.AddedToken("on,", lstrip=True)])
    theirs.add_special_tokens({"additional_special_tokens": ["[E1]"]})
    theirs.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "vocab_size": len(theirs)}))
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    if layout != "tokenizer.json":
        (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in BERT))
    if layout.startswith("added"):
        (tmp_path / "tokenizer.json").unlink()
    if layout == "added_tokens_decoder":
        tokens = {str(number): token.__getstate__() for number, token in theirs.added_tokens_decoder.items()}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "added_tokens_decoder": tokens}))
    if layout == "added_tokens.json":
        tokens = {text: number for text, number in theirs.get_added_vocab().items() if number >= len(BERT)}
        (tmp_path / "added_tokens.json").write_text(json.dumps(tokens))
    reference = transformers.BertTokenizer.from_pretrained(tmp_path)
    tokenizer = registry.load_tokenizer(tmp_path)
    for text in ("the CATS [E1] cats", "sat  on, [e1]Cats"):
        assert tokenizer(text)["input_ids"] == reference(text)["input_ids"]
    assert len(tokenizer) == len(BERT) + 3


@pytest.mark.parametrize(
    ("added", "lines", "fault"),
    [
        (["covid-19"], [*BERT, "more"], r"'covid-19' and 'more' share the id .*\n.*tokenizer\.json"),
        (["covid-19"], list(BERT)[:-1], r"vocab\.txt .* no token has the id .*\n.*tokenizer\.json"),
        ([], ["[UNK]", "[PAD]", *list(BERT)[2:]], r"'\[PAD\]' is added with the id 0, but has 1 in .*vocab\.txt"),
        ([], list(BERT)[:-1], r"tokenizer\.json has 41 tokens and .*vocab\.txt has 40: 'A' has the id 40 in one"),
        ([], [*BERT, "more"], r"tokenizer\.json has 41 tokens and .*vocab\.txt has 42: 'more' has the id None in one"),
    ],
)
def test_vocabularies_that_contradict_each_other_are_refused(
    tmp_path: Path, added: list[str], lines: list[str], fault: str
) -> None:
    theirs = transformers.BertTokenizer(vocab=BERT)
    theirs.add_tokens(added)
    theirs.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in lines))
    with pytest.raises(VocabError, match=fault):
        BertTokenizer.from_pretrained(tmp_path)


def test_rules_that_are_not_those_of_the_tokenizer_json_are_refused(tmp_path: Path) -> None:
    GPT2Tokenizer(BYTES, BYTE_RULES).save_pretrained(tmp_path)
    KINDS["gpt2"].theirs().save_pretrained(tmp_path)
    assert {"vocab.json", "merges.txt", "tokenizer.json"} <= {path.name for path in tmp_path.iterdir()}
    assert len(GPT2Tokenizer.from_pretrained(tmp_path)) == len(BYTES)
    (tmp_path / "vocab.json").write_text(json.dumps({**BYTES, "more": len(BYTES)}))
    with pytest.raises(VocabError, match=r"tokenizer\.json has .* and .*vocab\.json has .*: 'more'"):
        GPT2Tokenizer.from_pretrained(tmp_path)


def test_tokens_that_another_tokenizer_left_are_not_added(tmp_path: Path) -> None:
    theirs = transformers.BertTokenizer(vocab=BERT)
    theirs.add_tokens(["covid-19"])
    config = BertConfig(vocab_size=len(BERT), hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    for save in (
        BertTokenizer(BERT).save_pretrained,
        lambda folder: registry.save(BertModel(config), folder, tokenizer=BertTokenizer(BERT)),
    ):
        theirs.save_pretrained(tmp_path)
        (tmp_path / "added_tokens.json").write_text(json.dumps({"covid-19": len(BERT)}))
        save(tmp_path)
        assert len(BertTokenizer.from_pretrained(tmp_path)) == len(BERT)
        assert len(transformers.BertTokenizer.from_pretrained(tmp_path)) == len(BERT)


def test_a_model_that_is_too_small_for_its_tokenizer_is_not_saved(tmp_path: Path) -> None:
    config = BertConfig(vocab_size=len(BERT), hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    tokenizer = BertTokenizer(BERT)
    tokenizer.add_tokens("covid-19")
    with pytest.raises(VocabError, match="its token 'covid-19' has the id"):
        registry.save(BertModel(config), tmp_path / "m", tokenizer=tokenizer)


# --- Transformer-XL, which has no fast class --------------------------------------------------------------------------

XL = numbered("<eos>", "<unk>", "the", "cat", "sat")


@pytest.mark.parametrize("lower_case", [False, True])
def test_transformer_xl_finds_tokens_by_the_same_rules(lower_case: bool, examples: int, tmp_path: Path) -> None:
    """The reference is made of parts of the library ``tokenizers``: lower case, and words between white space."""
    rng = random.Random(lower_case)
    for number in range(examples // 6):
        theirs = tokenizers.Tokenizer(tokenizers.models.WordLevel(XL, unk_token="<unk>"))
        if lower_case:
            theirs.normalizer = tokenizers.normalizers.Lowercase()
        theirs.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
        ours = TransfoXLTokenizer(XL, lower_case=lower_case)
        seen = set()
        for content in rng.sample([word for word in CONTENTS if word != "ΣΑΣ"], rng.randint(1, 6)):
            if content.lower() not in seen:
                flags = {name: rng.random() < 0.4 for name in NAMES[1:]}
                theirs.add_tokens([tokenizers.AddedToken(content, **flags)])
                ours.add_tokens(AddedToken(content, **flags))
                seen.add(content.lower())
        ours.save_pretrained(tmp_path / str(number))
        for tokenizer in (ours, TransfoXLTokenizer.from_pretrained(tmp_path / str(number))):
            text = some_text(rng).replace("\x1c", " ")
            expected = theirs.encode(text)
            found = tokenizer(text, return_offsets_mapping=True)
            assert found["input_ids"] == expected.ids, (ours.added_tokens, text)
            assert found["offset_mapping"] == expected.offsets, (ours.added_tokens, text)
