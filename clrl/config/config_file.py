"""Config files and command-line overrides -> the config of a run, and back.

A config file is YAML with the fields of ``RunConfig``, or after ``domain: supervised``
those of ``SupervisedRunConfig``. ``method``, ``recogniser``, ``stream`` and ``network``
are given by name, with or without fields of their own:

    method: ewc                            method: {name: ewc, strength: 100}

or by the import path of a class of the user's: ``method: {name: my_package.Mine}``. The
same on the command line is ``--method ewc --method.strength 100``; another name than
the file's drops the fields that the file gives to its own.
"""

import argparse
import dataclasses
import importlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, get_origin, get_type_hints

import docstring_parser
import jsonargparse
import yaml

from clrl.config.any_domain import CommonConfig
from clrl.config.games import (
    AgentConfig,
    EvaluationConfig,
    NetworkConfig,
    RunConfig,
    SequenceConfig,
)
from clrl.config.library import flat
from clrl.config.supervised import MLPConfig, SupervisedRunConfig, TrainingConfig
from clrl.config.texts import Texts, merged, texts_of_arguments, texts_of_file
from clrl.continual.methods import METHODS, OF_THE_NETWORK, MethodConfig
from clrl.errors import ConfigError, unknown_name
from clrl.recognition.image_recognisers import IMAGE_RECOGNISERS, ImageRecogniserConfig
from clrl.recognition.recognisers import RECOGNISERS, RecogniserConfig
from clrl.summary import RunDescription
from clrl.supervised.streams import STREAMS, StreamConfig


class Choice(NamedTuple):
    """A section whose class is chosen by name.

    Attributes:
        known: Our classes, by name.
        base: From which a class of the user's derives.
        default: The name where none is given.
        refused: Names that mean something else, and what that is.
    """

    known: Mapping[str, type]
    base: type
    default: str
    refused: Mapping[str, str] = MappingProxyType({})


class DomainSchema(NamedTuple):
    """The classes of a domain's config.

    Attributes:
        config: Of the whole file.
        sections: Of the sections that are always the same, by name.
        choices: The sections that are chosen by name.
    """

    config: type[CommonConfig]
    sections: Mapping[str, type]
    choices: Mapping[str, Choice]


_METHOD = Choice(METHODS, MethodConfig, "finetune", refused=OF_THE_NETWORK)

DOMAINS: Mapping[str, DomainSchema] = MappingProxyType(
    {
        "atari": DomainSchema(
            RunConfig,
            {
                "sequence": SequenceConfig,
                "agent": AgentConfig,
                "network": NetworkConfig,
                "evaluation": EvaluationConfig,
            },
            {
                "method": _METHOD,
                "recogniser": Choice(RECOGNISERS, RecogniserConfig, "one_task"),
            },
        ),
        "supervised": DomainSchema(
            SupervisedRunConfig,
            {"training": TrainingConfig, "network": MLPConfig},
            {
                "stream": Choice(STREAMS, StreamConfig, "permutations"),
                "method": _METHOD,
                "recogniser": Choice(IMAGE_RECOGNISERS, RecogniserConfig, "one_task"),
            },
        ),
    }
)
"""The domains by the name a config gives them; the first is the default."""


@dataclass(frozen=True)
class Schema:
    """A domain, and the classes of the sections that are chosen by name."""

    domain: DomainSchema
    chosen: Mapping[str, type]

    @property
    def sections(self) -> dict[str, type]:
        """The class of each section, by the section's name in the file."""
        return {**self.domain.sections, **self.chosen}


def read_config(path: Path, overrides: Sequence[str] = ()) -> CommonConfig:
    """The config in a file, with overrides from a command line.

    Args:
        path: A YAML file.
        overrides: Such as ``["--seed", "3", "--agent.gamma=0.9"]``.

    Raises:
        ConfigError: The file cannot be read, a key or a name is unknown, or a value has
            the wrong type or is out of range.
    """
    texts = merged(texts_of_file(path), texts_of_arguments(overrides))
    schema = _schema(texts)
    parser, known = _parser(schema)
    for key in texts:
        if key not in known:
            raise unknown_name("key", key, known)
        if get_origin(known[key]) is tuple and not texts[key].startswith("["):
            texts[key] = f"[{texts[key]}]"
    try:
        parsed = parser.parse_args([f"--{key}={text}" for key, text in texts.items()])
    except argparse.ArgumentError as error:
        raise ConfigError(_readable(str(error))) from None
    return _build(schema, parsed)


def read_game_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """As ``read_config``, for what only runs on games can do.

    Raises:
        ConfigError: As for ``read_config``, or the config is not of a run on games.
    """
    config = read_config(path, overrides)
    if not isinstance(config, RunConfig):
        raise ConfigError(
            f"expected the config of a run on games, got {path}, which is of a "
            "supervised run; name one of configs/atari, or a run made with it."
        )
    return config


def read_supervised_config(
    path: Path, overrides: Sequence[str] = ()
) -> SupervisedRunConfig:
    """As ``read_config``, for what only supervised runs can do.

    Raises:
        ConfigError: As for ``read_config``, or the config is of a run on games.
    """
    config = read_config(path, overrides)
    if not isinstance(config, SupervisedRunConfig):
        raise ConfigError(
            f"expected the config of a supervised run, got {path}, which is of a run "
            "on games; name one of configs/mnist."
        )
    return config


def config_help(path: Path | None, overrides: Sequence[str]) -> str:
    """Every key with its meaning, type and default, for a config's method."""
    file = {} if path is None else texts_of_file(path)
    texts = merged(file, texts_of_arguments(overrides))
    parser, _ = _parser(_schema(texts))
    return str(parser.format_help())


def to_yaml(config: CommonConfig) -> str:
    """The config as a file that ``read_config`` reads back into an equal one."""
    name, domain = next(
        (name, domain)
        for name, domain in DOMAINS.items()
        if type(config) is domain.config
    )
    values = dataclasses.asdict(config)
    for section, choice in domain.choices.items():
        cls = type(getattr(config, section))
        values[section] = {"name": _name_of(cls, choice.known)} | values[section]
    plain = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in values.items()
    }
    return str(yaml.safe_dump({"domain": name} | plain, sort_keys=False))


def hyper_parameters(config: CommonConfig) -> Texts:
    """Every value of the config as text, by its dotted key."""
    return dict(flat(yaml.safe_load(to_yaml(config))))


def describe(config: CommonConfig) -> RunDescription:
    """What a summary says about the config."""
    return RunDescription(
        games=config.task_names,
        method=method_name(config.method),
        recogniser=recogniser_name(config.recogniser),
        protocol=config.rules,
        seed=config.seed,
        measure=config.measure,
    )


def method_name(method: MethodConfig) -> str:
    """The name by which a config file gives this method."""
    return _name_of(type(method), METHODS)


def recogniser_name(recogniser: RecogniserConfig) -> str:
    """The name by which a config file gives this recogniser."""
    known = (
        IMAGE_RECOGNISERS
        if isinstance(recogniser, ImageRecogniserConfig)
        else RECOGNISERS
    )
    return _name_of(type(recogniser), known)


# ---- names --------------------------------------------------------------------------


def _schema(texts: Texts) -> Schema:
    name = texts.get("domain", next(iter(DOMAINS)))
    if name not in DOMAINS:
        raise unknown_name("domain", name, DOMAINS)
    domain = DOMAINS[name]
    return Schema(
        domain,
        {
            section: _class_of(
                section, texts.get(f"{section}.name", choice.default), choice
            )
            for section, choice in domain.choices.items()
        },
    )


def _class_of(kind: str, name: str, choice: Choice) -> type:
    """The class that ``name`` means: one of ours, or the user's by import path."""
    if name in choice.known:
        return choice.known[name]
    if name in choice.refused:
        raise ConfigError(
            f"expected a {kind}, got {name!r}, which is {choice.refused[name]}."
        )
    module, _, attribute = name.rpartition(".")
    if not module:
        raise unknown_name(kind, name, choice.known)
    try:
        found: type = vars(importlib.import_module(module))[attribute]
    except ImportError as error:
        raise ConfigError(f"cannot import the {kind} {name!r}: {error}") from error
    except KeyError:
        raise ConfigError(f"no class {attribute!r} in {module!r} for {kind}.") from None
    derives = isinstance(found, type) and issubclass(found, choice.base)
    if not derives:
        raise ConfigError(
            f"the {kind} {name!r} must be a dataclass that derives from "
            f"{choice.base.__module__}.{choice.base.__name__}, got {found!r}."
        )
    return found


def _name_of(cls: type, known: Mapping[str, type]) -> str:
    names = [name for name, known_class in known.items() if known_class is cls]
    return names[0] if names else f"{cls.__module__}.{cls.__qualname__}"


# ---- types --------------------------------------------------------------------------


def _parser(schema: Schema) -> tuple[jsonargparse.ArgumentParser, dict[str, Any]]:
    """Checks the types of values; second, every key that exists with its type."""
    parser = jsonargparse.ArgumentParser(
        prog="clrl train CONFIG", exit_on_error=False, add_help=False
    )
    sections = schema.sections
    parser.add_argument("--domain", type=str, help=f"{' or '.join(DOMAINS)}.")
    known: dict[str, Any] = {"domain": str}
    known |= _add_fields(parser, "", schema.domain.config, skip=sections)
    for section, choice in schema.domain.choices.items():
        meaning = f"{', '.join(choice.known)}, or the import path of a class of yours."
        parser.add_argument(f"--{section}.name", type=str, help=meaning)
        known[f"{section}.name"] = str
    for section, cls in sections.items():
        known |= _add_fields(parser, f"{section}.", cls)
    return parser, known


def _add_fields(
    parser: jsonargparse.ArgumentParser,
    prefix: str,
    cls: type,
    skip: Collection[str] = (),
) -> dict[str, Any]:
    """One argument for each field of a dataclass; returns their keys and types."""
    meanings = {
        p.arg_name: p.description
        for base in reversed(cls.__mro__)
        if dataclasses.is_dataclass(base)
        for p in docstring_parser.parse_from_object(base).params
    }
    hints = get_type_hints(cls)
    group = parser.add_argument_group(
        prefix.rstrip(".") or "run",
        docstring_parser.parse_from_object(cls).short_description,
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
    return {f"{prefix}{field.name}": hints[field.name] for field in fields}


def _readable(message: str) -> str:
    """What jsonargparse says, on one line and without Python's names of types."""
    line = " ".join(message.split()).replace("Parser key ", "")
    line = re.sub(r"a <class '(\w+)'>", r"\1", line)
    return re.sub(r"a typing\.Literal\[(.*?)\]", r"one of \1", line)


def _build(schema: Schema, parsed: jsonargparse.Namespace) -> CommonConfig:
    values = parsed.as_dict()
    del values["domain"]
    for section, cls in schema.sections.items():
        fields = values.get(section, {})
        if section in schema.chosen:
            del fields["name"]
        values[section] = cls(**fields)
    return schema.domain.config(**values)
