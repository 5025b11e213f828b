"""``Pretrained``: what ``load`` returns."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from attrs import field, frozen

from registry.config.keywords import instead_of_attribute, refusing_foreign
from registry.errors import InputError, MissingTokenizerError, RegistryError, warn
from registry.files.filenames import SENTENCE_MODULES_NAME
from registry.formatting import format_count, html_table, printable
from registry.records import Card
from registry.sources.files import Files

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import TypeVar

    from registry.config import Config
    from registry.embedding.modules import SentenceModules
    from registry.files.atomic import Writer
    from registry.loading.model import Model
    from registry.loading.report import LoadReport
    from registry.tokenization.base import Tokenizer
    from registry.tokenization.load import Processor
    from registry.weights.write import Format

    # With defaults, `Pretrained` alone is a complete type.  What has no class says nothing: it may be of any plugin.
    ConfigT = TypeVar("ConfigT", bound=Config, default=Any)
    ModelT = TypeVar("ModelT", bound="Model", default="Model")
    TokenizerT = TypeVar("TokenizerT", bound="Tokenizer", default="Tokenizer")
else:
    from typing import TypeVar

    ConfigT, ModelT, TokenizerT = TypeVar("ConfigT"), TypeVar("ModelT"), TypeVar("TokenizerT")


@frozen(kw_only=True)
class Pretrained(Generic[ConfigT, ModelT, TokenizerT]):
    """A model with its configuration, tokenizer, card and report.

    For type checkers, ``Pretrained[BertConfig, BertForMaskedLM, BertTokenizer]`` says the classes of the three.
    """

    model: ModelT
    """In evaluation mode, its weights loaded."""
    config: ConfigT
    """The model's configuration."""
    card: Card | None
    """What a plugin declares of the model; None for directories and URLs."""
    report: "LoadReport"
    """What was loaded from where."""
    _processor: "TokenizerT | Processor | MissingTokenizerError" = field(alias="processor")
    _modules: "SentenceModules | RegistryError | None" = field(default=None, alias="modules")

    def __repr__(self) -> str:
        model = self.model
        size = f"{format_count(model.num_parameters())} parameters, {str(model.dtype)[6:]}, {model.device}"
        return printable(f"<Pretrained {type(model).__name__} of {self.report.source}: {size}>", lines=False)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError, with what to write for an attribute of one of the parts or of another library."""
            parts = () if name.startswith("_") else ("model", "config", "_processor")
            owner = next((part.strip("_") for part in parts if hasattr(getattr(self, part), name)), None)
            advice = instead_of_attribute(name) or ("" if owner is None else f" Write loaded.{owner}.{name}.")
            raise AttributeError(f"A Pretrained has no attribute {name!r}.{advice}", name=name, obj=self)

    def _repr_html_(self) -> str:
        missing = isinstance(self._processor, MissingTokenizerError)
        rows = {
            "parameters": format_count(self.model.num_parameters()),
            "type": str(self.model.dtype),
            "device": str(self.model.device),
            "tokenizer": "none" if missing else repr(self._processor),
            **self.report.rows(),
        }
        return html_table(f"{type(self.model).__name__} of {self.report.source}", rows)

    @property
    def tokenizer(self) -> TokenizerT:
        """The model's tokenizer.

        Raises:
            MissingTokenizerError: The model has no vocabulary.
        """
        from registry.tokenization.base import Tokenizer

        if not isinstance(self.processor, Tokenizer):
            raise MissingTokenizerError(
                f"The model's processor is a {type(self.processor).__name__}, which is not a tokenizer.",
                hint="It is loaded.processor.",
            )
        return self.processor  # type: ignore[return-value]  # the class is the caller's word

    @property
    def processor(self) -> "Processor":
        """What makes the model's inputs: its tokenizer, or a processor of another kind.

        Raises:
            MissingTokenizerError: The model has no files for it.
        """
        if isinstance(self._processor, MissingTokenizerError):
            raise self._processor
        return self._processor

    def generate(self, prompts: str | Sequence[str], **options: Any) -> str | list[str]:
        """Continue texts, or answer them, as an encoder-decoder does.

        Args:
            prompts: A text, or several.
            options: Those of ``model.generate``, such as ``max_new_tokens`` and ``temperature``.

        Returns:
            Each text with its continuation, or the answer: one for a single text, else a list,
            ``num_return_sequences`` for each text.

        Raises:
            InputError: The model does not generate, or an option is impossible.
            MissingTokenizerError: The model has no vocabulary.
        """
        from registry.generation.texts import continue_texts

        several = [prompts] if isinstance(prompts, str) else prompts
        texts = continue_texts(self.model, self.tokenizer, several, **options)
        return texts[0] if isinstance(prompts, str) and len(texts) == 1 else texts

    @refusing_foreign
    def embed(
        self,
        texts: Sequence[str],
        *,
        batch_size: int = 32,
        normalize: bool = False,
        prompt: str | None = None,
    ) -> "Tensor":
        """The vectors of texts, as sentence-transformers computes them.

        A vector is the mean of the last hidden states over all tokens of a text, unless the model's files
        (``modules.json``) say otherwise.  Texts beyond the longest input are truncated.

        Args:
            texts: The texts.
            batch_size: Texts that are computed together.
            normalize: Scale vectors to length 1, also where the files do not say so.
            prompt: What is put before each text: the name of a prompt of the files, or the prompt itself; None for the
                files' default, if they have one.

        Returns:
            ``(texts, width)``, on the CPU.

        Raises:
            InputError: A text has no token, or the texts are a single one.
            UnsupportedError: The files ask for a module that is not supported.
            MissingTokenizerError: The model has no vocabulary.
        """
        from registry.embedding.embed import SentenceEncoder

        if isinstance(texts, str):
            raise InputError("embed takes several texts, and was given one.", hint="Put it into a list: embed([text]).")
        embedder = SentenceEncoder(
            self.model, self.tokenizer, self.sentence_modules, normalize=normalize, prompt=prompt
        )
        return embedder.vectors(list(texts), batch_size)

    @property
    def sentence_modules(self) -> "SentenceModules | None":
        """How hidden states become the vector of a text, as the model's files say; None where they do not.

        Raises:
            UnsupportedError: They ask for a module that is not supported.
        """
        if isinstance(self._modules, RegistryError):
            raise self._modules
        return self._modules

    @refusing_foreign
    def save(
        self,
        directory: str | Path,
        *,
        tokenizer: "Processor | None" = None,
        format: "Format" = "safetensors",
        max_shard_size: int | str | None = None,
    ) -> Path:
        """Save all of it as a directory: model, configuration, tokenizer, and the modules of sentence-transformers.

        Takes the arguments of ``registry.save``.
        """
        if tokenizer is None and not isinstance(self._processor, MissingTokenizerError):
            tokenizer = self._processor
        further = writers_of_modules(self._modules, directory)
        more: dict[str, Any] = {"further": further} if further else {}  # a class may have its own save_pretrained
        return self.model.save_pretrained(
            directory, tokenizer=tokenizer, format=format, max_shard_size=max_shard_size, **more
        )


def sentence_modules_of(files: Files) -> "SentenceModules | RegistryError | None":
    """What the files say of vectors; what is wrong with it is raised when vectors are asked for."""
    try:
        if files.find(SENTENCE_MODULES_NAME) is None:
            return None
        from registry.embedding.modules import read_modules  # rarely needed

        return read_modules(files.find)
    except RegistryError as problem:
        return problem


def writers_of_modules(
    modules: "SentenceModules | RegistryError | None", directory: str | Path
) -> "Mapping[str, Writer]":
    """What writes the modules of sentence-transformers into a directory; a warning where they are not supported."""
    if isinstance(modules, RegistryError) and not Path(directory, SENTENCE_MODULES_NAME).exists():
        warn(
            f"{SENTENCE_MODULES_NAME} of sentence-transformers and its directories, such as 1_Pooling, are not "
            f"supported, and so not saved: copy them into {directory}, or texts are embedded by the mean of their "
            f"tokens."
        )
    return {} if modules is None or isinstance(modules, RegistryError) else modules.writers()
