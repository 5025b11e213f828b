"""Files of tokenizers as other libraries publish them: keys that matter, sections, chat templates."""
