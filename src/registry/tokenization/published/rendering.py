"""Chat templates rendered with Jinja, in a sandbox: a template of a repository may be anybody's.

What a template is given, and what it may call, is that of transformers.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache
from threading import local
from typing import Any, NoReturn, TypeAlias

from registry.errors import InputError, MissingDependencyError, RegistryError
from registry.extras import import_extra

FIRST_SAFE = (3, 1, 6)
"""The first version of Jinja whose sandbox has no known way out."""

Spans: TypeAlias = list[tuple[int, int]]
"""Parts of a rendered text: start and end of their characters."""


def render(template: str, messages: list[Any], variables: Mapping[str, Any]) -> tuple[str, Spans]:
    """The text of a conversation, and the parts that the template declares the assistant's (``{% generation %}``).

    Args:
        template: A template of Jinja.
        messages: The messages, with what the template reads of them.
        variables: Further variables of the template.

    Raises:
        InputError: The template is wrong, or refuses the conversation.
        MissingDependencyError: Jinja is not installed, or too old.
    """
    jinja2 = import_extra("jinja2", "A chat template")
    try:
        compiled = _compiled(template)
        with compiled.environment.tracking() as (blocks, spans):
            for block in compiled.generate(messages=plain_data(messages), **plain_data(variables)):
                blocks.append(block)
            return "".join(blocks), spans
    except RegistryError:
        raise
    except jinja2.TemplateError as problem:
        raise InputError(f"The chat template cannot be rendered: {problem}") from problem
    except Exception as problem:  # of what the template computes
        reason = f"{type(problem).__name__}: {problem}"
        raise InputError(f"The chat template cannot be rendered: {reason:.200}") from problem


def plain_data(value: Any) -> Any:
    """A value as JSON would have it; what it cannot hold becomes the name of its type.

    A template could call the methods of any other object.
    """
    if isinstance(value, Mapping):
        return {plain_data(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_data(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain_data(getattr(value, field.name)) for field in fields(value)}
    if callable(getattr(value, "model_dump", None)):  # of pydantic
        return plain_data(value.model_dump())
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    if value is None or type(value) in (bool, int, float, str):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return getattr(kind, f"__{kind.__name__}__")(value)  # the value itself, without methods of its own
    return f"<{type(value).__name__}>"


# --- The environment --------------------------------------------------------------------------------------------------


@cache
def _compiled(template: str) -> Any:
    return _environment().from_string(template)


def _environment() -> Any:
    jinja2 = import_extra("jinja2", "A chat template")
    if tuple(int(part) for part in jinja2.__version__.split(".")[:3]) < FIRST_SAFE:
        needed = ".".join(map(str, FIRST_SAFE))
        raise MissingDependencyError(
            f"A chat template needs jinja2 {needed}: the sandbox of {jinja2.__version__} can be left.",
            hint=f'pip install "jinja2>={needed}" installs it.',
        )
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_generation_tag(), "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _as_json
    environment.globals.update(
        raise_exception=_refuser(jinja2.TemplateError), strftime_now=lambda form: datetime.now().strftime(form)
    )
    environment.globals["namespace"] = _namespace(jinja2)
    environment.globals["dict"] = lambda *items, **named: dict(*items, **named)
    return environment


def _as_json(value: Any, **options: Any) -> str:
    """JSON without the escapes of HTML that Jinja's own filter puts in."""
    return json.dumps(value, **{"ensure_ascii": False, **options})


def _refuser(error: type[Exception]) -> Callable[[str], NoReturn]:
    def raise_exception(message: str) -> NoReturn:
        raise error(message)

    return raise_exception


def _namespace(jinja2: Any) -> type:
    """Jinja's namespaces, but for names that lead into Python."""

    class TemplateNamespace(jinja2.utils.Namespace):  # type: ignore[misc]
        def __init__(*items: Any, **named: Any) -> None:
            _check(jinja2, dict(*items[1:], **named))
            jinja2.utils.Namespace.__init__(*items, **named)

        def __setitem__(self, name: str, value: Any) -> None:
            _check(jinja2, {name: value})
            super().__setitem__(name, value)

    return TemplateNamespace


def _check(jinja2: Any, names: Mapping[Any, Any]) -> None:
    for name in names:
        if str(name).startswith("_"):
            raise jinja2.sandbox.SecurityError(f"A template may not set {name!r}.")


def _generation_tag() -> type:
    """An extension of Jinja: ``{% generation %}`` around what the assistant wrote."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class GenerationTag(Extension):
        tags = {"generation"}  # noqa: RUF012  # jinja2's own attribute

        def __init__(self, environment: Any) -> None:
            super().__init__(environment)
            self._now = local()  # a template may be rendered in several threads
            environment.extend(tracking=self.tracking)

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_of_assistant"), [], [], body).set_lineno(line)

        def _of_assistant(self, caller: Callable[[], str]) -> str:
            text = caller()
            start = sum(map(len, self._now.blocks))
            self._now.spans.append((start, start + len(text)))
            return text

        @contextmanager
        def tracking(self) -> Iterator[tuple[list[str], Spans]]:
            self._now.blocks, self._now.spans = [], []
            yield self._now.blocks, self._now.spans

    return GenerationTag
