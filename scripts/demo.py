"""Embed a dozen sentences with all-minilm-l6-v2, and print the most similar one for each."""

import time

started = time.perf_counter()
import torch  # noqa: E402  # timed on its own: it is the largest part of starting

imported = time.perf_counter()
import registry  # noqa: E402

NAME = "all-minilm-l6-v2"
SENTENCES = (
    "The cat slept on the warm window sill.",
    "A kitten was dozing in the sun.",
    "Heavy rain flooded the streets of the old town.",
    "After the storm, the lanes were under water.",
    "She baked bread with rye and caraway seeds.",
    "The loaf in the oven smelled of spices.",
    "Our train left the station ten minutes late.",
    "The departure of the express was delayed.",
    "Euclid proved that there are infinitely many primes.",
    "A theorem about numbers that have no divisors.",
    "The violinist tuned her instrument before the concert.",
    "Musicians rehearsed for the evening's performance.",
)


def embed(pretrained: registry.Pretrained, sentences: tuple[str, ...]) -> torch.Tensor:
    """One unit vector for each sentence, (sentences, width): the mean of the hidden states at real tokens."""
    batch = pretrained.tokenizer(list(sentences), padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = pretrained.model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)


def main() -> None:
    """Load, embed, compare, print."""
    verified = registry.verify(NAME)
    begun = time.perf_counter()
    pretrained = registry.load(NAME)
    loaded = time.perf_counter()
    vectors = embed(pretrained, SENTENCES)
    embedded = time.perf_counter()

    similarity = vectors @ vectors.T - 2 * torch.eye(len(SENTENCES))  # a sentence is not its own neighbor
    width = max(map(len, SENTENCES))
    print(f"\n{'Sentence':{width}}  {'Most similar':{width}}  Cosine\n{'─' * width}  {'─' * width}  ──────")
    for sentence, row in zip(SENTENCES, similarity, strict=True):
        value, nearest = row.max(0)
        print(f"{sentence:{width}}  {SENTENCES[int(nearest)]:{width}}  {value:6.2f}")
    print(f"\n{pretrained.report}")
    print(
        f"\nVerified {', '.join(verified)} by sha256.\n"
        f"import torch {1000 * (imported - started):6.0f} ms\n"
        f"load         {1000 * (loaded - begun):6.0f} ms ({len(pretrained.report.loaded)} tensors, and imports)\n"
        f"embed        {1000 * (embedded - loaded):6.0f} ms ({len(SENTENCES)} sentences)"
    )


if __name__ == "__main__":
    main()
