"""How plain the prose of a source tree is: the mean length of its sentences, and how many of its words are banned ones.

    python tests/readability.py [DIR]

Counted are README.md, the pages of docs/, the help of the commands, and the messages of errors and warnings, without
code and links.  A heading, a list item and a cell of a table each end a sentence.  The banned words are those of
``test_words.py``.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from test_words import BRITISH, GERMAN_NO, HOMOGRAPHS, PHRASES, blanked

SENTENCE = re.compile(r"(?<=[.!?:;])\s+|\n\s*\n|\n(?=\s*(?:[-*#>|]|\d+\.)\s)|\|")
WORD = re.compile(r"[^\W\d_][\w'’-]*")
TELLING = ("say", "warn", "UsageError", "BadParameter", "ClickException", "wanted")
"""Functions whose texts people read, next to ``raise``."""


def pages(root: Path, *patterns: str) -> Iterator[str]:
    """The text of pages, without code."""
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            yield blanked(path.read_text("utf-8"))


def modules(root: Path, pattern: str) -> Iterator[ast.Module]:
    """The modules below a directory."""
    for path in sorted((root / "src").glob(pattern)):
        yield ast.parse(path.read_text("utf-8"))


def help_texts(root: Path) -> Iterator[str]:
    """What commands say of themselves and of their options."""
    for tree in modules(root, "registry/cli/**/*.py"):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and any("command" in ast.unparse(d) for d in node.decorator_list):
                yield blanked(ast.get_docstring(node) or "")
            if isinstance(node, ast.keyword) and node.arg == "help":
                yield blanked(text_of(node.value))


def messages(root: Path) -> Iterator[str]:
    """The messages and hints of errors and warnings."""
    for tree in modules(root, "**/*.py"):
        for node in ast.walk(tree):
            call = node.exc if isinstance(node, ast.Raise) else node
            if isinstance(call, ast.Call) and (
                call is not node or ast.unparse(call.func).rpartition(".")[2] in TELLING
            ):
                for argument in (*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "hint")):
                    yield blanked(text_of(argument))


def text_of(node: ast.AST) -> str:
    """The constant parts of a text; ``x`` stands for what is put in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "x" for part in node.values)
    return " ".join(map(text_of, ast.iter_child_nodes(node))) if isinstance(node, ast.BinOp | ast.IfExp) else ""


def measured(texts: Iterator[str]) -> tuple[int, float, float]:
    """Words, words in a sentence on average, and banned words in a thousand."""
    words = sentences = banned = 0
    for text in texts:
        for sentence in SENTENCE.split(text):
            if count := len(WORD.findall(sentence)):
                words, sentences = words + count, sentences + (count > 2)  # a label is not a sentence
        plain = HOMOGRAPHS.sub("", text)
        banned += sum(len(pattern.findall(plain)) for pattern in (PHRASES, BRITISH, GERMAN_NO))
    return words, words / max(1, sentences), 1000 * banned / max(1, words)


def main() -> None:
    """Print one line for each kind of text."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent)
    kinds = {
        "README": pages(root, "README.md"),
        "docs": pages(root, "docs/**/*.md"),
        "help": help_texts(root),
        "messages": messages(root),
    }
    print(f"{'':10} {'words':>7}  {'words per sentence':>18}  {'banned per 1,000 words':>22}")
    for kind, texts in kinds.items():
        words, length, share = measured(texts)
        print(f"{kind:10} {words:7,}  {length:18.1f}  {share:22.2f}")


if __name__ == "__main__":
    main()
