"""Writes src/registry/zoo.pyi: the classes of first-party plugins by name, for type checkers and editors.

Run it after a plugin of this repository declares another class; a test compares the file with what it would write.
"""

from pathlib import Path

from registry import discovery
from registry.records import ConfigSpec, ModelSpec, TokenizerSpec

STUB = Path(__file__).parent.parent / "src/registry/zoo.pyi"

TEMPLATE = '''"""The classes of first-party plugins by name, for type checkers; scripts/zoo_stub.py writes this file."""

from typing import Any

{imports}

def __getattr__(name: str) -> Any: ...  # classes of other installed plugins
'''


def text() -> str:
    """The content of the file."""
    specs = [spec for kind in (ConfigSpec, ModelSpec, TokenizerSpec) for spec in discovery.every(kind)]
    targets = {spec.cls.target.replace(":", " import ") for spec in specs if discovery.owner(spec).first_party}
    imports = [f"from {target} as {target.rpartition(' ')[2]}" for target in sorted(targets)]
    return TEMPLATE.format(imports="\n".join(imports))


if __name__ == "__main__":
    STUB.write_text(text(), encoding="utf-8")
