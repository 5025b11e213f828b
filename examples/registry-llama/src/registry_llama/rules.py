"""Pieces that rules make, as a ``tokenizer.json`` has them, in both kinds of pipeline."""

from collections.abc import Iterable, Mapping
from typing import Any

from registry.files.filenames import TOKENIZER_NAME
from registry.tokenization.added_tokens.matching import Normalizer
from registry.tokenization.added_tokens.token import AddedToken
from registry.tokenization.bpe import BytePairs, Merges
from registry.tokenization.tokenizer_json import tokenizer_json
from registry.tokenization.vocabulary import tokens_by_id


class RuleModel:
    """A vocabulary whose pieces are merged by rules, and the file that it came from.

    Args:
        keys: Those of a ``tokenizer.json``, which are kept, and written back.
        merges: The rules.

    Raises:
        VocabError: Ids are not 0 to n - 1, each used once, or a rule does not fit the vocabulary.
    """

    prefixes: tuple[bool, bool] | None = (False, False)
    published_class: str | None = "PreTrainedTokenizerFast"
    """One that reads such a file, whatever the architecture."""
    normalizer: Normalizer | None = None

    def __init__(self, keys: Mapping[str, Any], merges: Merges) -> None:
        self.vocab: dict[str, int] = keys["model"]["vocab"]
        tokens_by_id(self.vocab, origin="The vocabulary")  # raises an error, before an id is looked up
        self.byte_pairs = BytePairs(merges, self.vocab)
        self.keys = {name: keys.get(name) for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder")}
        self.model = {name: value for name, value in keys["model"].items() if name not in ("vocab", "merges")}

    @property
    def special(self) -> dict[str, str]:
        """The unknown token, if there is one."""
        token = self.model.get("unk_token")
        return {} if token is None else {"unk_token": token}

    def files(self, added: Iterable[AddedToken]) -> dict[str, str]:
        """The file as it was, but for the added tokens."""
        return {TOKENIZER_NAME: tokenizer_json({**self.keys, "model": self._model()}, added)}

    def _model(self) -> dict[str, Any]:
        merges = self.byte_pairs.merges
        return {**self.model, "vocab": self.vocab, "merges": list(zip(merges.firsts, merges.seconds, strict=True))}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ({**self.keys, "model": {**self.model, "vocab": self.vocab}}, self.byte_pairs.merges)
