"""The one part of the package that is compiled; all else stands in ``setup.cfg``.

It makes GPT-2's tokenizer faster, and is optional: where it cannot be built, for want of a C compiler, say, setuptools
warns, and the package is installed without it.
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "registry.tokenization.compiled",
            ["src/registry/tokenization/compiled.c", "src/registry/tokenization/compiled_chunks.c"],
            optional=True,
            language="c",
        )
    ]
)
