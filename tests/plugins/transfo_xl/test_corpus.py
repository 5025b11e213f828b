from pathlib import Path

import pytest
import torch

from plugins.transfo_xl.corpus import TransfoXLCorpus, segments
from plugins.transfo_xl.tokenization import TransfoXLTokenizer
from registry.errors import InputError, VocabError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("train", "a b a\nc a\n\n"), ("valid", "a d\n"), ("test", "b\n")):
        (tmp_path / f"{name}.txt").write_text(text)
    return tmp_path


def test_a_folder_of_three_texts_becomes_a_corpus(folder: Path) -> None:
    corpus = TransfoXLCorpus.from_folder(folder)
    assert corpus.tokenizer.ids_to_tokens == ["<eos>", "<unk>", "a", "b", "c"]
    assert corpus.train.tolist() == [2, 3, 2, 0, 4, 2, 0, 0]
    assert (corpus.valid.tolist(), corpus.test.tolist()) == ([2, 1, 0], [3, 0])


def test_a_tokenizer_of_ones_own_is_taken(folder: Path) -> None:
    given = TransfoXLTokenizer({"b": 0, "a": 1, "<unk>": 2})
    assert TransfoXLCorpus.from_folder(folder, given, add_eos=False).train.tolist() == [1, 0, 1, 2, 1]
    with pytest.raises(VocabError, match="<unk>"):
        TransfoXLCorpus.from_folder(folder, TransfoXLTokenizer())
    with pytest.raises(FileNotFoundError):
        TransfoXLCorpus.from_folder(folder / "other")


@pytest.mark.parametrize("ext_len", [0, 3])
@pytest.mark.parametrize("size", [20, 23, 41])
def test_segments_are_those_of_the_reference(reference, size: int, ext_len: int) -> None:
    from pytorch_pretrained_bert.tokenization_transfo_xl import LMOrderedIterator

    ids = torch.randperm(size)
    theirs = list(LMOrderedIterator(ids, 2, 4, ext_len=ext_len))
    ours = list(segments(ids, 2, 4, ext_len=ext_len))
    assert len(ours) == len(theirs)
    for mine, (data, target, length) in zip(ours, theirs, strict=True):
        assert mine.input_ids.equal(data)
        assert mine.target[:, -length:].equal(target)
        assert (mine.target[:, :-length] == -100).all()
        assert mine.length == length


def test_a_model_reads_a_corpus_segment_by_segment(folder: Path, make) -> None:
    corpus = TransfoXLCorpus.from_folder(folder)
    model = make(vocab_size=5, cutoffs=[2], mem_len=4)
    mems, losses = None, []
    with torch.no_grad():
        for segment in corpus.get_iterator("train", 2, 2):
            output = model(segment.input_ids, target=segment.target, mems=mems)
            mems = output.mems
            losses.append(output.losses)
    whole = model(corpus.train.view(2, 4), labels=corpus.train.view(2, 4)).losses[:, :-1]
    torch.testing.assert_close(torch.cat(losses, dim=1), whole, atol=1e-5, rtol=0)


def test_lengths_that_make_no_sense_are_refused() -> None:
    for lengths in ((0, 2, 0), (2, 0, 0), (2, 2, -1)):
        with pytest.raises(InputError):
            next(segments(torch.arange(9), lengths[0], lengths[1], ext_len=lengths[2]))
