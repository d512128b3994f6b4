"""Config files and command-line overrides -> RunConfig, and back.

A config file is YAML with the fields of ``RunConfig``. ``method``, ``recogniser`` and
``network`` are given by name, with or without fields of their own:

    method: ewc                            method: {name: ewc, strength: 100}

or by the import path of a class of the user's: ``method: {name: my_package.Mine}``. The
same on the command line is ``--method ewc --method.strength 100``; another name than
the file's drops the fields that the file gives to its own.

Files and command lines become the same thing first: ``{"agent.gamma": "0.99", ...}``.
"""

import argparse
import dataclasses
import importlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar, get_type_hints

import docstring_parser
import jsonargparse
import yaml

from clrl.config import (
    AgentConfig,
    EvaluationConfig,
    NetworkConfig,
    RunConfig,
    SequenceConfig,
)
from clrl.continual.methods import METHODS, MethodConfig
from clrl.errors import ConfigError, unknown_name
from clrl.recognition.recognisers import RECOGNISERS, RecogniserConfig
from clrl.summary import RunDescription

Texts: TypeAlias = dict[str, str]
"""Values as text, by dotted key."""

T = TypeVar("T")


@dataclass(frozen=True)
class Schema:
    """The classes of the sections whose fields depend on a name."""

    method: type[MethodConfig]
    recogniser: type[RecogniserConfig]

    def sections(self) -> dict[str, type]:
        """The class of each section, by the section's name in the file."""
        return {
            "sequence": SequenceConfig,
            "agent": AgentConfig,
            "network": NetworkConfig,
            "method": self.method,
            "recogniser": self.recogniser,
            "evaluation": EvaluationConfig,
        }


def read_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The config in a file, with overrides from a command line.

    Args:
        path: A YAML file.
        overrides: Such as ``["--seed", "3", "--agent.gamma=0.9"]``.

    Raises:
        ConfigError: The file cannot be read, a key or a name is unknown, or a value has
            the wrong type or is out of range.
    """
    texts = _merged(_texts_of_file(path), _texts_of_arguments(overrides))
    schema = _schema(texts)
    parser, known = _parser(schema)
    for key in texts:
        if key not in known:
            raise unknown_name("key", key, known)
    try:
        parsed = parser.parse_args([f"--{key}={text}" for key, text in texts.items()])
    except argparse.ArgumentError as error:
        raise ConfigError(_readable(str(error))) from None
    return _build(schema, parsed)


def config_help(path: Path | None, overrides: Sequence[str]) -> str:
    """Every key with its meaning, type and default, for a config's method."""
    file = {} if path is None else _texts_of_file(path)
    texts = _merged(file, _texts_of_arguments(overrides))
    parser, _ = _parser(_schema(texts))
    return str(parser.format_help())


def to_yaml(config: RunConfig) -> str:
    """The config as a file that ``read_config`` reads back into an equal one."""
    values = dataclasses.asdict(config)
    values["games"] = list(config.games)
    values["runs_dir"] = str(config.runs_dir)
    values["method"] = {"name": method_name(config.method)} | values["method"]
    values["recogniser"] = {"name": recogniser_name(config.recogniser)} | values[
        "recogniser"
    ]
    return str(yaml.safe_dump(values, sort_keys=False))


def hyper_parameters(config: RunConfig) -> Texts:
    """Every value of the config as text, by its dotted key."""
    return dict(_flat(yaml.safe_load(to_yaml(config))))


def describe(config: RunConfig) -> RunDescription:
    """What a summary says about the config."""
    return RunDescription(
        games=config.games,
        method=method_name(config.method),
        recogniser=recogniser_name(config.recogniser),
        protocol=config.sequence.protocol,
        seed=config.seed,
    )


def method_name(method: MethodConfig) -> str:
    """The name by which a config file gives this method."""
    return _name_of(type(method), METHODS)


def recogniser_name(recogniser: RecogniserConfig) -> str:
    """The name by which a config file gives this recogniser."""
    return _name_of(type(recogniser), RECOGNISERS)


# ---- values as text -----------------------------------------------------------------


def _texts_of_file(path: Path) -> Texts:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"cannot read the config {path}: {reason}") from None
    if not isinstance(content, dict):
        raise ConfigError(
            f"the config {path} must be a mapping of keys to values, got "
            f"{type(content).__name__}; start with `games: [pong]`."
        )
    return _normal(dict(_flat(content)))


def _flat(
    values: Mapping[object, object], prefix: str = ""
) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _flat(value, f"{key}.")
        elif isinstance(value, str):
            yield key, value
        else:
            yield key, json.dumps(value, default=str)


def _texts_of_arguments(arguments: Sequence[str]) -> Texts:
    texts: Texts = {}
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("--"):
            raise ConfigError(
                f"expected --key value, got {argument!r}; write --key before it."
            )
        key, equals, text = argument.removeprefix("--").partition("=")
        value = text if equals else next(rest, None)
        if value is None or (not equals and value.startswith("--")):
            raise ConfigError(
                f"--{key} expects a value, got none; write --{key} VALUE."
            )
        texts[key] = value
    return _normal(texts)


def _normal(texts: Texts) -> Texts:
    """The same values with every shorthand written out."""
    for section in ("method", "recogniser", "network"):
        if section in texts:
            texts[f"{section}.name"] = texts.pop(section)
    if "games" in texts and not texts["games"].startswith("["):
        texts["games"] = f"[{texts['games']}]"
    return texts


def _merged(file: Texts, overrides: Texts) -> Texts:
    for section in ("method", "recogniser"):
        name = f"{section}.name"
        if name in overrides and overrides[name] != file.get(name):
            file = {k: v for k, v in file.items() if not k.startswith(f"{section}.")}
    return file | overrides


# ---- names --------------------------------------------------------------------------


def _schema(texts: Texts) -> Schema:
    method = texts.get("method.name", "finetune")
    recogniser = texts.get("recogniser.name", "one_task")
    return Schema(
        _class_of("method", method, METHODS, MethodConfig),
        _class_of("recogniser", recogniser, RECOGNISERS, RecogniserConfig),
    )


def _class_of(
    kind: str, name: str, known: Mapping[str, type[T]], base: type
) -> type[T]:
    """The class that ``name`` means: one of ours, or the user's by import path."""
    if name in known:
        return known[name]
    module, _, attribute = name.rpartition(".")
    if not module:
        raise unknown_name(kind, name, known)
    try:
        found: type[T] = vars(importlib.import_module(module))[attribute]
    except ImportError as error:
        raise ConfigError(f"cannot import the {kind} {name!r}: {error}") from error
    except KeyError:
        raise ConfigError(f"no class {attribute!r} in {module!r} for {kind}.") from None
    derives = isinstance(found, type) and issubclass(found, base)
    if not derives:
        raise ConfigError(
            f"the {kind} {name!r} must be a dataclass that derives from "
            f"{base.__module__}.{base.__name__}, got {found!r}."
        )
    return found


def _name_of(cls: type[T], known: Mapping[str, type[T]]) -> str:
    names = [name for name, known_class in known.items() if known_class is cls]
    return names[0] if names else f"{cls.__module__}.{cls.__qualname__}"


# ---- types --------------------------------------------------------------------------


def _parser(schema: Schema) -> tuple[jsonargparse.ArgumentParser, Collection[str]]:
    """Checks the types of values; second, every key that exists."""
    parser = jsonargparse.ArgumentParser(
        prog="clrl train CONFIG", exit_on_error=False, add_help=False
    )
    sections = schema.sections()
    known = _add_fields(parser, "", RunConfig, skip=sections)
    for section, names in (("method", METHODS), ("recogniser", RECOGNISERS)):
        meaning = f"{', '.join(names)}, or the import path of a class of yours."
        parser.add_argument(f"--{section}.name", type=str, help=meaning)
        known.append(f"{section}.name")
    for section, cls in sections.items():
        known += _add_fields(parser, f"{section}.", cls)
    return parser, known


def _add_fields(
    parser: jsonargparse.ArgumentParser,
    prefix: str,
    cls: type,
    skip: Collection[str] = (),
) -> list[str]:
    """One argument for each field of a dataclass; returns their keys."""
    documented = docstring_parser.parse_from_object(cls)
    meanings = {p.arg_name: p.description for p in documented.params}
    hints = get_type_hints(cls)
    group = parser.add_argument_group(
        prefix.rstrip(".") or "run", documented.short_description
    )
    fields = [f for f in dataclasses.fields(cls) if f.init and f.name not in skip]
    for field in fields:
        required = field.default is dataclasses.MISSING
        group.add_argument(
            f"--{prefix}{field.name}",
            type=hints[field.name],
            help=meanings.get(field.name),
            **({"required": True} if required else {"default": field.default}),
        )
    return [f"{prefix}{field.name}" for field in fields]


def _readable(message: str) -> str:
    """What jsonargparse says, on one line and without Python's names of types."""
    line = " ".join(message.split()).replace("Parser key ", "")
    line = re.sub(r"a <class '(\w+)'>", r"\1", line)
    return re.sub(r"a typing\.Literal\[(.*?)\]", r"one of \1", line)


def _build(schema: Schema, parsed: jsonargparse.Namespace) -> RunConfig:
    values = parsed.as_dict()
    for section, cls in schema.sections().items():
        fields = values.get(section, {})
        if section in ("method", "recogniser"):
            del fields["name"]
        values[section] = cls(**fields)
    return RunConfig(**values)
