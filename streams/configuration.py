"""The daemon's configuration: one YAML file, validated once into one frozen object."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from connectors.decoding import MessageMapping, TimeUnit
from connectors.webhooks import Endpoint
from streams.access.settings import HttpSettings
from streams.delivery_settings import WEBHOOK_KINDS, DeliverySettings, WebhookSettings, masked_webhooks
from streams.errors import ConfigurationFileError
from streams.retention import HistorySettings
from tsad.annunciation import AnnunciationSettings
from tsad.events.settings import EventRateSettings, EventScoringSettings
from tsad.fleet.sibling_settings import DETECTOR as SIBLINGS_DETECTOR
from tsad.fleet.sibling_settings import SiblingSettings, SiblingStream
from tsad.fusion.part_settings import PartSettings
from tsad.lifecycle import AlarmPolicyLimits
from tsad.maintenance import MaintenanceRule
from tsad.settings import Duration, Frozen, StreamSettings

__all__ = [
    "CommitSettings",
    "Configuration",
    "DeadLetterSettings",
    "EventStream",
    "FileSourceSettings",
    "GenealogyStream",
    "HistoryFileSettings",
    "HttpSettings",
    "InspectionStream",
    "JoiningSettings",
    "KafkaSourceSettings",
    "NumericStream",
    "OperatorSettings",
    "Stream",
    "load_configuration",
    "masked",
]

_ENVIRONMENT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# Of unions: what pydantic puts between the keys.
_TAGS = {"numeric", "events", "inspections", "genealogy", "kafka", "file", *WEBHOOK_KINDS}
_SECRET_OPTIONS = ("password", "secret", "token")


class KafkaSourceSettings(Frozen):
    """Records come from Kafka."""

    kind: Literal["kafka"]
    bootstrap: tuple[str, ...] = Field(min_length=1, description="host:port of brokers")
    start: Literal["earliest", "latest"] = Field(
        default="earliest", description="where to begin in a partition that was never read"
    )
    client: Literal["kafka-python", "confluent"] = Field(
        default="kafka-python", description="confluent needs the extra fast-kafka"
    )
    options: Mapping[str, Any] = Field(default_factory=dict, description="further settings of the client")


class FileSourceSettings(Frozen):
    """Records come from a file, which is replayed once."""

    kind: Literal["file"]
    path: Path = Field(description=".jsonl, .csv or .parquet; relative to the configuration file")
    topic: str
    asset: str | None = Field(default=None, description="asset of a table's rows; default: the file's name")


class NumericStream(StreamSettings):
    """A stream of numbers that is scored."""

    kind: Literal["numeric"] = "numeric"
    topic: str
    message: MessageMapping = MessageMapping()
    history: HistorySettings = HistorySettings()
    models: Mapping[str, Path] = Field(
        default_factory=dict, description="folder of `tsad fit` by asset; relative to the configuration file"
    )
    siblings: SiblingSettings | None = Field(default=None, description="judge like assets against each other too")

    @property
    def siblings_name(self) -> str:
        """Name of the stream of what siblings say."""
        return f"{self.name}.siblings"

    def sibling_stream(self) -> SiblingStream | None:
        """What siblings say of the assets, as a stream; None where they are not compared."""
        if self.siblings is None:
            return None
        return SiblingStream(self.siblings_name, self.step, self.siblings, self.channels, self.max_ahead)

    @model_validator(mode="after")
    def _siblings_possible(self) -> Self:
        siblings = self.sibling_stream()
        if siblings is not None:
            siblings.check()
        return self

    @model_validator(mode="after")
    def _policy_possible(self) -> Self:
        if self.channels is not None and self.message.unknown.channel == "learn":
            raise ValueError("message.unknown.channel is learn, but channels are declared; leave one of them out")
        if self.channels is None and self.message.unknown.channel in {"ignore", "dead_letter"}:
            raise ValueError(f"message.unknown.channel is {self.message.unknown.channel}; declare channels first")
        if self.message.unknown.asset != "learn" and not self.message.assets:
            raise ValueError(f"message.unknown.asset is {self.message.unknown.asset}, but message.assets names none")
        return self


class EventStream(Frozen):
    """A stream of categorical events; kept in history and counted, and scored where `scoring` or `rate` is given."""

    kind: Literal["events"]
    name: str
    topic: str
    time: str = "time"
    time_unit: TimeUnit = "ms"
    max_ahead: Duration = Field(default=300.0, description="event time ahead of arrival beyond which a record is bad")
    retention: Duration = 30 * 86400.0
    scoring: EventScoringSettings | None = Field(default=None, description="find odd events")
    rate: EventRateSettings | None = Field(default=None, description="find odd numbers of events")

    @property
    def rate_name(self) -> str:
        """Name of the numeric stream of counts."""
        return f"{self.name}.rate"


class GenealogyStream(Frozen):
    """A stream that tells which part was at which station from when to when."""

    kind: Literal["genealogy"]
    name: str
    topic: str
    time_unit: TimeUnit = "iso"
    max_ahead: Duration = Field(default=300.0, description="an interval's end after its arrival beyond which it is bad")
    retention: Duration = 30 * 86400.0


class JoiningSettings(PartSettings):
    """How inspections are joined with the process."""

    genealogy_stream: str | None = Field(default=None, description="tells when parts were at steps; with steps")
    process_stream: str | None = Field(default=None, description="numeric, its assets are the steps; with steps")
    hold: Duration = Field(
        default=30.0, description="how long, by arrival, a source that lags or is silent holds the others back"
    )

    @model_validator(mode="after")
    def _sources(self) -> Self:
        if self.steps and (self.genealogy_stream is None or self.process_stream is None):
            raise ValueError("steps are given; name genealogy_stream and process_stream too")
        return self


class InspectionStream(Frozen):
    """A stream of image-inspection results; kept in history and counted, and joined where `joining` is given."""

    kind: Literal["inspections"]
    name: str
    topic: str
    time: str = "captured_at"
    time_unit: TimeUnit = "iso"
    max_ahead: Duration = Field(default=300.0, description="time of capture after arrival beyond which a record is bad")
    retention: Duration = 30 * 86400.0
    joining: JoiningSettings | None = Field(default=None, description="judge parts by images and process together")

    @property
    def parts_name(self) -> str:
        """Name of the stream of parts."""
        return f"{self.name}.parts"


Stream = Annotated[NumericStream | EventStream | InspectionStream | GenealogyStream, Field(discriminator="kind")]


class HistoryFileSettings(Frozen):
    """The history file."""

    path: Path = Path("tsad.duckdb")
    max_bytes: int = Field(
        default=20_000_000_000, ge=100_000_000, description="above this the oldest rows go, before their retention"
    )
    exports: Path = Field(default=Path("exports"), description="folder that the daemon writes exports to")


class CommitSettings(Frozen):
    """How often what was found is committed, and the state of the engine with it."""

    every: Duration = Field(default=1.0, gt=0)
    rows: int = Field(default=10_000, ge=1)
    snapshot_every: Duration = Field(default=10.0, description="after a crash, this much is read again at most")


class OperatorSettings(AnnunciationSettings):
    """What operators may do, and what they are told."""

    maintenance: tuple[MaintenanceRule, ...] = Field(
        default=(), description="times in which nothing is learnt and alarms are suppressed by design"
    )
    kept_changes: int = Field(
        default=20, ge=0, description="of so many changes by operators what was learnt before is kept"
    )
    longest_shelving: Duration = Field(default=8 * 3600.0, gt=0, description="for how long an alarm may be shelved")

    def limits(self) -> AlarmPolicyLimits:
        """The limits in nanoseconds."""
        return AlarmPolicyLimits(longest_shelving=round(self.longest_shelving * 1e9))


class DeadLetterSettings(Frozen):
    """Where bad records go besides the history table."""

    topic: str | None = Field(default=None, description="Kafka topic that gets a copy of each, at least once")


class Configuration(Frozen):
    """Everything that `tsad run` needs."""

    source: Annotated[KafkaSourceSettings | FileSourceSettings, Field(discriminator="kind")]
    streams: tuple[Stream, ...] = Field(min_length=1)
    history: HistoryFileSettings = HistoryFileSettings()
    commit: CommitSettings = CommitSettings()
    webhooks: tuple[WebhookSettings, ...] = ()
    delivery: DeliverySettings = DeliverySettings()
    alarms: OperatorSettings = OperatorSettings()
    http: HttpSettings = HttpSettings()
    dead_letters: DeadLetterSettings = DeadLetterSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        streams = [s.name for s in self.streams]
        streams += [s.rate_name for s in self.streams if isinstance(s, EventStream) and s.rate is not None]
        streams += [s.siblings_name for s in self.numeric_streams if s.siblings is not None]
        streams += [s.parts_name for s in self.streams if isinstance(s, InspectionStream) and s.joining is not None]
        for what, names in (("streams", streams), ("webhooks", [e.name for e in self.endpoints()])):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what}: the name {twice[0]!r} stands twice")
        self._check_joining()
        self.delivery.check(self.webhooks)
        if isinstance(self.source, FileSourceSettings):
            others = sorted({s.topic for s in self.streams} - {self.source.topic})
            if others:
                raise ValueError(f"streams: topic {others[0]!r} is not the file source's topic {self.source.topic!r}")
            if self.dead_letters.topic is not None:
                raise ValueError("dead_letters.topic needs a Kafka source")
        return self

    def _check_joining(self) -> None:
        kinds = {stream.name: stream.kind for stream in self.streams}
        for stream in self.streams:
            if not isinstance(stream, InspectionStream) or stream.joining is None:
                continue
            for key, kind in (("genealogy_stream", "genealogy"), ("process_stream", "numeric")):
                name = getattr(stream.joining, key)
                if name is not None and kinds.get(name) != kind:
                    raise ValueError(f"streams: {stream.name!r}: joining.{key} is {name!r}, no stream of kind {kind}")

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where deliveries go, with secrets open."""
        return tuple(endpoint for webhook in self.webhooks for endpoint in webhook.endpoints())

    def scored_by(self) -> dict[str, list[str]]:
        """Detectors by stream, derived ones among them (rates, siblings, parts); none where nothing is scored."""
        found: dict[str, list[str]] = {}
        for stream in self.streams:
            found[stream.name] = []
            if isinstance(stream, NumericStream):
                found[stream.name] = [detector.name for detector in stream.detectors]
                if stream.siblings is not None:
                    found[stream.siblings_name] = [SIBLINGS_DETECTOR]
            elif isinstance(stream, EventStream):
                found[stream.name] = [d.name for d in stream.scoring.detectors] if stream.scoring else []
                if stream.rate is not None:
                    found[stream.rate_name] = [detector.name for detector in stream.rate.detectors]
            elif isinstance(stream, InspectionStream) and stream.joining is not None:
                found[stream.parts_name] = list(stream.joining.streams)
        return found

    @property
    def numeric_streams(self) -> tuple[NumericStream, ...]:
        """The streams that are scored."""
        return tuple(stream for stream in self.streams if isinstance(stream, NumericStream))


def load_configuration(path: Path, environment: Mapping[str, str] | None = None) -> Configuration:
    """Read and validate a configuration file.

    ``${NAME}`` in a value is replaced from the environment. Relative paths are taken from the file's folder.

    Parameters
    ----------
    path
        A YAML file.
    environment
        Default: this process's.

    Raises
    ------
    ConfigurationFileError
        The file cannot be read, is no YAML, or a key is wrong; every problem has its line.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationFileError(f"configuration {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationFileError(f"configuration {path} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigurationFileError(f"configuration {path} holds no keys; see configs/ for examples")
    problems: list[str] = []
    raw = _substitute(raw, os.environ if environment is None else environment, "", problems)
    if problems:
        raise ConfigurationFileError("\n".join(f"{path}: {problem}" for problem in problems))
    for stream in raw.get("streams") or ():
        if isinstance(stream, dict):
            stream.setdefault("kind", "numeric")
    _take_paths_from(path.parent, raw)
    try:
        return Configuration.model_validate(raw)
    except ValidationError as error:
        lines = [f"{path}: {_key(e['loc'])}: {_message(e)}" for e in error.errors(include_url=False)]
        raise ConfigurationFileError("\n".join(lines)) from error


def masked(configuration: Configuration) -> dict[str, Any]:
    """The resolved configuration as JSON-ready values, with secrets as stars."""
    shown: dict[str, Any] = configuration.model_dump(mode="json")
    options = shown["source"].get("options", {})
    for key in options:
        if any(word in key for word in _SECRET_OPTIONS):
            options[key] = "**********"
    masked_webhooks(shown["webhooks"], configuration.webhooks)
    return shown


def _substitute(value: Any, environment: Mapping[str, str], key: str, problems: list[str]) -> Any:
    """`value` with `${NAME}` replaced; names that are not set are added to `problems`."""
    if isinstance(value, dict):
        return {k: _substitute(v, environment, f"{key}.{k}" if key else str(k), problems) for k, v in value.items()}
    if isinstance(value, list):
        return [_substitute(v, environment, f"{key}[{i}]", problems) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value
    missing = [name for name in _ENVIRONMENT.findall(value) if name not in environment]
    problems += [f"{key}: the environment variable {name} is not set" for name in missing]
    return value if missing else _ENVIRONMENT.sub(lambda match: environment[match[1]], value)


def _take_paths_from(folder: Path, raw: dict[str, Any]) -> None:
    """Resolve the paths of a configuration against the folder it lies in."""
    for section in ("source", "history"):
        part = raw.get(section)
        for key in ("path", "exports"):
            if isinstance(part, dict) and isinstance(part.get(key), str):
                part[key] = str(folder / part[key])
    http = raw.get("http")
    if isinstance(http, dict) and isinstance(tls := http.get("tls"), dict):
        http["tls"] = {key: str(folder / value) if isinstance(value, str) else value for key, value in tls.items()}
    for stream in raw.get("streams") or ():
        models = stream.get("models") if isinstance(stream, dict) else None
        if isinstance(models, dict):
            stream["models"] = {asset: str(folder / str(path)) for asset, path in models.items()}


def _key(location: tuple[int | str, ...]) -> str:
    """``streams[0].step`` from pydantic's location; the tags of unions are left out."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part not in _TAGS:
            text += f".{part}" if text else part
    return text or "configuration"


def _message(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return "there is no such key"
    given = error.get("input")
    shown = f" (given: {given!r})" if isinstance(given, int | float | bool) else ""
    return message + shown
