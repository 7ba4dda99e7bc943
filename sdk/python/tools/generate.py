#!/usr/bin/env python3
"""Writes the files of the package that are made from others.

- `src/oriel/models.py` from `docs/openapi.json`: what a request takes is a TypedDict, what a response gives a frozen dataclass.
- `src/oriel/_sync/` from `src/oriel/_async/`: the words of asynchronous code are replaced, in comments and examples, too.

`--check` writes nothing, and fails if a file is not what would be written.
"""

from __future__ import annotations

import json
import keyword
import re
import sys
import textwrap
from pathlib import Path
from typing import Any, Optional

HERE = Path(__file__).resolve().parent.parent
PACKAGE = HERE / "src" / "oriel"
DESCRIPTION = HERE.parent.parent / "docs" / "openapi.json"
REFERENCE = "#/components/schemas/"
Schema = dict[str, Any]

# ---------------------------------------------------------------- the synchronous face

# What differs between the two, and is not a word: sleeping, threads or tasks. Each has its own.
BY_HAND = "backend.py"
REPLACEMENTS = [
    (r"\basync_session\b", "session"),
    (r"\bAsync([A-Z]\w*)", r"\1"),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\b__a(enter|exit|iter|next)__\b", r"__\1__"),
    (r"\ba(close|read|iter_bytes|iter_raw)\b", r"\1"),
    (r"\b_async\b", "_sync"),
    (r"\bAsynchronous\b", "Synchronous"),
    (r"\basynchronous\b", "synchronous"),
]


def synchronous(text: str, name: str) -> str:
    for pattern, replacement in REPLACEMENTS:
        text = re.sub(pattern, replacement, text)
    return f"# Made of _async/{name} by tools/generate.py: change that.\n{text}"


# ---------------------------------------------------------------- the models

HEAD = '''\
# Made of docs/openapi.json by tools/generate.py: run that after a change.
"""What requests take (TypedDicts), and what responses give (frozen dataclasses)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Optional, TypedDict, Union


@dataclass(frozen=True)
class Unknown:
    """One of several kinds of a thing that this version of the package does not know."""

    type: str
    data: dict[str, Any]
'''
PRIMITIVES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
RENAMED = [
    (r"^StreamerEvent(.+)$", r"\1Event"),
    (r"^GapMissed$", "MissedEvent"),
    (r"^EventData$", "Event"),
    (r"^SourceSpec(.+)$", r"\1Spec"),
    (r"^InputCommand(.+)$", r"\1Input"),
]


def python_name(schema: str) -> str:
    for pattern, name in RENAMED:
        schema = re.sub(pattern, name, schema)
    return schema


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match[1].lower(), name)


class Models:
    def __init__(self, description: dict[str, Any]) -> None:
        self.schemas: dict[str, Schema] = description["components"]["schemas"]
        taken: list[str] = []
        given: list[str] = []
        for methods in description["paths"].values():
            for operation in methods.values():
                if not isinstance(operation, dict):
                    continue
                taken += json_schemas(operation.get("requestBody", {}))
                taken += references(operation.get("parameters", []))
                for status, response in operation["responses"].items():
                    if status.startswith("2"):
                        given += json_schemas(response)
        self.inputs = self.closure(taken)
        self.outputs = self.closure([*given, "EventData"]) - self.inputs

    def closure(self, names: list[str]) -> set[str]:
        """These schemas and all that their members are made of."""
        found: set[str] = set()
        names = list(names)
        while names:
            name = names.pop()
            if name not in found:
                found.add(name)
                schema = self.schemas[name]
                members = self.members(schema)
                names += references(schema if members is None else {"properties": members[0]})
        return found

    def is_one(self, name: str) -> bool:
        """A choice of one kind: there is no choice yet."""
        return len(self.schemas[name].get("oneOf", [])) == 1

    def members(self, schema: Schema) -> Optional[tuple[dict[str, Schema], set[str]]]:
        """Fields of an object, with those that are required; those of all of its parts."""
        if "allOf" in schema:
            fields: dict[str, Schema] = {}
            required: set[str] = set()
            for part in schema["allOf"]:
                if "$ref" in part:
                    part = self.schemas[part["$ref"][len(REFERENCE) :]]
                of_part = self.members(part)
                if of_part is None:
                    return None
                fields.update(of_part[0])
                required |= of_part[1]
            return fields, required
        if schema.get("type") == "object" and "properties" in schema:
            return schema["properties"], set(schema.get("required", []))
        return None

    def type_of(self, schema: Schema, quoted: bool = False) -> str:
        """The type as it is written. Aliases are evaluated where they stand, so names in them are quoted."""
        if "$ref" in schema:
            name = schema["$ref"][len(REFERENCE) :]
            if self.is_one(name):
                return self.type_of(self.schemas[name], quoted)
            return f'"{python_name(name)}"' if quoted else python_name(name)
        if "enum" in schema:
            return "Literal[" + ", ".join(json.dumps(value) for value in schema["enum"]) + "]"
        for key in ("oneOf", "anyOf"):
            if key in schema:
                parts = schema[key]
                types = [self.type_of(part, quoted) for part in parts if part.get("type") != "null"]
                # A union of kinds, one of which may be added.
                if len(types) > 1 and all(part.get("$ref", "")[len(REFERENCE) :] in self.outputs for part in parts):
                    types.append("Unknown")
                inner = types[0] if len(types) == 1 else f"Union[{', '.join(types)}]"
                return inner if len(types) >= len(parts) else f"Optional[{inner}]"
        kind = schema.get("type")
        if isinstance(kind, list):
            inner = self.type_of({**schema, "type": next(one for one in kind if one != "null")}, quoted)
            return f"Optional[{inner}]"
        if kind == "array":
            item = self.type_of(schema["items"], quoted)
            if schema.get("minItems") == schema.get("maxItems") == 2:
                return f"tuple[{item}, {item}]"
            return f"list[{item}]"
        if kind == "object":
            return f"dict[str, {self.type_of(schema.get('additionalProperties') or {}, quoted)}]"
        if schema.get("format") == "date-time":
            return "datetime"
        return PRIMITIVES.get(str(kind), "Any")

    def write(self) -> str:
        aliases = []
        classes = []
        for name in sorted(self.inputs | self.outputs, key=python_name):
            schema = self.schemas[name]
            members = self.members(schema)
            if self.is_one(name):
                continue
            if members is None:
                described = comment(schema)
                aliases.append(f"{described}{python_name(name)} = {self.type_of(schema, quoted=True)}\n")
            elif name in self.inputs:
                classes.append(self.typed_dict(python_name(name), schema, *members))
            else:
                classes.append(self.dataclass(python_name(name), schema, *members))
        return "\n\n".join([HEAD, *classes]) + "\n\n" + "\n".join(aliases)

    def typed_dict(self, name: str, schema: Schema, fields: dict[str, Schema], required: set[str]) -> str:
        # `NotRequired` is of Python 3.11: those that are required are in a base class.
        needed = {key: value for key, value in fields.items() if key in required}
        others = {key: value for key, value in fields.items() if key not in required}
        text = ""
        base = "TypedDict"
        if needed and (others or any(map(keyword.iskeyword, needed))):
            base = f"_{name}"
            if any(map(keyword.iskeyword, needed)):
                pairs = ", ".join(f'"{key}": {self.type_of(value, quoted=True)}' for key, value in needed.items())
                text += f'{base} = TypedDict("{base}", {{{pairs}}})\n\n\n'
            else:
                text += f"class {base}(TypedDict):\n" + self.body(needed) + "\n\n"
            needed = {}
        total = "" if needed else ", total=False"
        text += f"class {name}({base}{total}):\n{docstring(schema, '    ')}\n"
        return text + self.body(needed or others)

    def body(self, fields: dict[str, Schema]) -> str:
        return "".join(f"    {key}: {self.type_of(value)}\n{docstring(value, '    ')}" for key, value in fields.items())

    def dataclass(self, name: str, schema: Schema, fields: dict[str, Schema], required: set[str]) -> str:
        text = f"@dataclass(frozen=True)\nclass {name}:\n{docstring(schema, '    ')}\n"
        for key in sorted(fields, key=lambda key: key not in required):
            value = fields[key]
            kind = self.type_of(value)
            options = {}
            if key not in required:
                if kind.startswith("list["):
                    options["default_factory"] = "list"
                else:
                    kind = kind if kind.startswith("Optional[") else f"Optional[{kind}]"
                    options["default"] = "None"
            if key == "token":
                # What is printed ends up in logs.
                options["repr"] = "False"
            if snake(key) != key:
                options["metadata"] = f'{{"wire": "{key}"}}'
            default = ""
            if list(options) == ["default"]:
                default = " = None"
            elif options:
                default = " = field(" + ", ".join(f"{option}={given}" for option, given in options.items()) + ")"
            text += f"    {snake(key)}: {kind}{default}\n{docstring(value, '    ')}"
        return text


def json_schemas(part: Any) -> list[str]:
    content = part.get("content", {}).get("application/json", {}) if isinstance(part, dict) else {}
    return references(content.get("schema", {}))


def references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"][len(REFERENCE) :]] if isinstance(part.get("$ref"), str) else []
        return own + [name for value in part.values() if not isinstance(value, str) for name in references(value)]
    if isinstance(part, list):
        return [name for value in part for name in references(value)]
    return []


def described(schema: Schema) -> str:
    text = schema.get("description", "")
    if not text:
        for part in schema.get("oneOf", []):
            text = text or part.get("description", "")
    # Drawings and further paragraphs are for readers of the API's documentation.
    return " ".join(text.split("\n\n")[0].split())


def docstring(schema: Schema, indent: str) -> str:
    text = described(schema).replace("\\", "\\\\")
    if not text:
        return ""
    lines = textwrap.wrap(f'"""{text}"""', 116)
    return textwrap.indent("\n".join(lines), indent) + "\n"


def comment(schema: Schema) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(described(schema), 116))


# ---------------------------------------------------------------- both


def made() -> dict[Path, str]:
    files = {PACKAGE / "models.py": Models(json.loads(DESCRIPTION.read_text())).write()}
    for source in sorted((PACKAGE / "_async").glob("*.py")):
        if source.name != BY_HAND:
            files[PACKAGE / "_sync" / source.name] = synchronous(source.read_text(), source.name)
    return files


def main() -> None:
    stale = [path for path, text in made().items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(
                f"{path.relative_to(HERE)} is not what it is made of: run sdk/python/tools/generate.py", file=sys.stderr
            )
        sys.exit(bool(stale))
    for path, text in made().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
