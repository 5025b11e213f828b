"""Names of GPT's weights: those of the files of 2018, and the spellings of other files."""

from registry.weights.names import Layout, NameTable

LAYOUT = Layout(
    prefix="transformer.",
    parts=("lm_head.", "multiple_choice_head.", "score."),
    ties=(("transformer.tokens_embed.weight", "lm_head.weight"),),
    vocabulary=("transformer.tokens_embed.weight", "lm_head.weight"),
    names=NameTable(
        ("{p}.g", "{p}.weight"),  # OpenAI's words: gain, bias, weight
        ("{p}.b", "{p}.bias"),
        ("{p}.w", "{p}.weight"),
        ("lm_head.decoder.weight", "lm_head.weight"),  # before 2019-07
        ("multiple_choice_head.linear.{p}", "multiple_choice_head.summary.{p}"),
        # The lower triangle that older classes kept as a mask, and the score they gave to what it hides; c_attn.bias,
        # the bias of a projection, is another thing.
        dropped=("transformer.h.{i}.attn.bias", "transformer.h.{i}.attn.masked_bias"),
    ),
)
