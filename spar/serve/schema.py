"""`response_format`: what an answer must parse as, as a verifier.

The prompt gets a sentence that says so, and an answer that is no such JSON is judged as one that breaks a constraint, so
that the search refines it. `jsonschema` checks a schema. It comes from a client, so checking is bounded: nothing is
fetched, a pattern has a time limit (the package `regex`), and a check that takes too many steps has failed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

from spar.serve.errors import ApiError, invalid
from spar.types import Finding

MAX_STEPS = 20_000
"""Keywords of a schema that one check may look at: references can make a short schema exponential."""
_FIRST_STEPS = 1_000
"""The same when a request is read."""
PATTERN_SECONDS = 0.2
_SHOWN = 200
_FENCE = re.compile(r"\A```[\w-]*[ \t]*\n(.*?)\n?```\Z", re.DOTALL)

_WRONG_SCHEMA = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError)
"""What the package raises over schemas that its own check lets pass."""

Fault = Callable[[Any], str]
"""What is wrong with a value, "" if nothing is."""


class _TooComplex(Exception):
    """A check used up its steps, or a pattern its time."""


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """JSON that an answer must be."""

    schema: Mapping[str, Any] | None
    """None for any object."""
    fault: Fault = field(repr=False)
    """What is wrong with a value that an answer holds."""

    @property
    def instruction(self) -> str:
        """The sentence for the model."""
        if self.schema is None:
            return "Reply with one JSON object and nothing else."
        return f"Reply with one JSON value that meets this JSON schema, and nothing else:\n{json.dumps(self.schema)}"

    def finding(self, response: str) -> Finding:
        """The format held against a response."""
        words = "an object" if self.schema is None else "as the schema says"
        try:
            reason = self.fault(json.loads(response, parse_constant=_refuse))
        except (ValueError, RecursionError) as error:
            reason = f"not JSON: {error}"
        return Finding(
            type="response_format",
            constraint=f"the answer is JSON and nothing else, {words}",
            met=not reason,
            found=" ".join(reason.split())[:_SHOWN],
        )


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def extract_json(text: str) -> str:
    """The JSON in a fenced block that is the whole text; any other text as it is."""
    fenced = _FENCE.match(text.strip())
    return fenced[1].strip() if fenced else text


def answer_format(value: Mapping[str, Any] | None) -> AnswerFormat | None:
    """The format of a `response_format`; None for plain text.

    Raises
    ------
    ApiError
        A type that is not known, or a schema that is none.
    """
    kind = (value or {}).get("type", "text")
    if value is None or kind == "text":
        return None
    if kind == "json_object":
        return AnswerFormat(None, _fault_of_object)
    named = value.get("json_schema")
    if kind != "json_schema" or not isinstance(named, Mapping):
        raise invalid(
            "response_format: expected the type text, json_object, or json_schema with a json_schema",
            "response_format",
        )
    schema = named.get("schema")
    schema = {} if schema is None else schema
    if not isinstance(schema, Mapping):
        raise invalid("response_format.json_schema.schema: expected an object", _PARAM)
    return AnswerFormat(schema, _checker(schema))


_PARAM = "response_format.json_schema.schema"


def _fault_of_object(value: Any) -> str:
    return "" if isinstance(value, dict) else f"a JSON {type(value).__name__}, not an object"


def _checker(schema: Mapping[str, Any]) -> Fault:
    """The check of a schema; raises `ApiError` for one that cannot be checked."""
    import jsonschema
    import regex
    from referencing.exceptions import Unresolvable

    base = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
    plain = _without_dialect(schema)
    if any(name == "patternProperties" for name in _keys(plain)):
        raise _refused("patternProperties cannot be checked here")
    steps = _Steps()
    keywords = {**base.VALIDATORS, "pattern": partial(_pattern, regex)}
    validator = jsonschema.validators.extend(
        base, {name: steps.counted(check) for name, check in keywords.items()}
    )

    def check(value: Any, limit: int, part: Mapping[str, Any] = plain) -> str:
        steps.left = limit
        try:
            checking = _validator(validator, plain).evolve(schema=part)
            error = jsonschema.exceptions.best_match(checking.iter_errors(value))
        except _TooComplex as reason:
            return str(reason)
        return "" if error is None else f"{error.json_path}: {error.message}"

    def fault(value: Any) -> str:
        try:
            return check(value, MAX_STEPS)
        except (Unresolvable, *_WRONG_SCHEMA) as error:  # what only this value brings up
            return f"the schema cannot be checked: {type(error).__name__}: {error}"

    try:
        base.check_schema(plain)
        check(None, _FIRST_STEPS)
        if "$id" not in _keys(plain):  # references are relative to it
            for reference in set(_references(plain)):
                check(None, _FIRST_STEPS, {"$ref": reference})
    except jsonschema.exceptions.SchemaError as error:
        raise _refused(f"{error.json_path}: {error.message}"[:_SHOWN]) from error
    except RecursionError as error:
        raise _refused("it refers to itself without end") from error
    except (Unresolvable, regex.error, *_WRONG_SCHEMA) as error:
        raise _refused(f"{type(error).__name__}: {error}"[:_SHOWN]) from error
    return fault


def _validator(kind: Any, schema: Mapping[str, Any]) -> Any:
    from referencing import Registry

    return kind(schema, registry=Registry())  # an empty registry fetches nothing


def _refused(reason: str) -> ApiError:
    return invalid(f"{_PARAM}: {reason}", _PARAM)


@dataclass(slots=True)
class _Steps:
    """Counts the keywords that a check looks at."""

    left: int = 0

    def counted(self, check: Any) -> Any:
        """A keyword's check that counts."""

        def counting(*arguments: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise _TooComplex("the schema is too complex to be checked")
            return check(*arguments)

        return counting


def _pattern(regex: Any, validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[Any]:
    import jsonschema

    if not isinstance(value, str):
        return
    try:
        matches = regex.search(pattern, value, timeout=PATTERN_SECONDS, concurrent=True)
    except TimeoutError:
        raise _TooComplex(f"the pattern {pattern!r:.60} takes too long") from None
    if not matches:
        yield jsonschema.exceptions.ValidationError(f"does not match {pattern!r:.60}")


def _without_dialect(schema: Any) -> Any:
    """A schema without `$schema`, by which the package would choose a validator that counts nothing."""
    if isinstance(schema, Mapping):
        return {k: _without_dialect(v) for k, v in schema.items() if k != "$schema"}
    return [_without_dialect(item) for item in schema] if isinstance(schema, list) else schema


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference
        schema = list(schema.values())
    for value in schema if isinstance(schema, list) else ():
        yield from _references(value)


def _keys(schema: Any) -> Iterator[str]:
    inner = (
        schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    )
    if isinstance(schema, dict):
        yield from schema
    for value in inner:
        yield from _keys(value)
