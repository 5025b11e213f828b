"""Pieces that rules make, as a ``tokenizer.json`` has them: what both kinds of pipeline share."""

from collections.abc import Collection, Mapping
from typing import Any

from registry.tokenization.bpe import BytePairs, Merges
from registry.tokenization.tokenizer_json import TOKENIZER, tokenizer_json
from registry.tokenization.vocabulary import tokens_by_id


class RulePieces:
    """A vocabulary whose pieces are merged by rules, and the file that it came from.

    ``keys`` are those of a ``tokenizer.json``; all that is said there is kept, and written back.

    Raises VocabError when ids are not 0 to n - 1, each used once, and when a rule does not fit the vocabulary.
    """

    spaced: tuple[bool, bool] | None = (False, False)
    published_class: str | None = "PreTrainedTokenizerFast"
    """One that does what the file says, whatever the architecture."""

    def __init__(self, keys: Mapping[str, Any], merges: Merges) -> None:
        self.vocab: dict[str, int] = keys["model"]["vocab"]
        tokens_by_id(self.vocab, origin="The vocabulary")  # raises an error, before an id is looked up
        self.byte_pairs = BytePairs(merges, self.vocab)
        self.keys = {name: keys.get(name) for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder")}
        self.model = {name: value for name, value in keys["model"].items() if name not in ("vocab", "merges")}

    @property
    def special(self) -> dict[str, str]:
        """The token that stands for what is unknown, if there is one."""
        token = self.model.get("unk_token")
        return {} if token is None else {"unk_token": token}

    def contents(self, added: Mapping[str, int], special: Collection[str]) -> dict[str, str]:
        """The file as it was, but for the tokens that are recognised whole."""
        return {TOKENIZER: tokenizer_json({**self.keys, "model": self._model()}, added, special)}

    def _model(self) -> dict[str, Any]:
        merges = self.byte_pairs.merges
        return {**self.model, "vocab": self.vocab, "merges": list(zip(merges.firsts, merges.seconds, strict=True))}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ({**self.keys, "model": {**self.model, "vocab": self.vocab}}, self.byte_pairs.merges)
