"""Settings of deliveries: one class a kind of endpoint, and what holds for all of them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import httpx
from pydantic import BeforeValidator, Field, SecretStr, model_validator

from connectors.errors import ConnectorSettingsError
from connectors.webhooks import (
    DEFAULT_RETRY_WAITS,
    AddressPolicy,
    Endpoint,
    MailEndpoint,
    Route,
    TopicEndpoint,
    WebhookEndpoint,
)
from connectors.webhooks.endpoint import DEFAULT_DISABLE_AFTER
from tsad.settings import Duration, Frozen

__all__ = ["WEBHOOK_KINDS", "DeliverySettings", "WebhookSettings", "masked_webhooks"]

_DEFAULT_SOURCE = "urn:tsad"
_PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
_PORTS = {"starttls": 587, "implicit": 465, "none": 25}
_SECRET_OPTIONS = ("password", "secret", "token")


class RouteSettings(Frozen):
    """Events of these types, assets, severities and priorities."""

    event_types: tuple[str, ...] = ("*",)
    assets: tuple[str, ...] = ("*",)
    minimum_severity: Literal["low", "medium", "high", "critical"] = "low"
    priorities: tuple[str, ...] = ("*",)

    def route(self) -> Route:
        """The route."""
        return Route(self.event_types, self.assets, self.minimum_severity, self.priorities)


class _EndpointSettings(Frozen, ABC):
    name: str
    event_types: tuple[str, ...] = ("*",)
    routes: tuple[RouteSettings, ...] = Field(default=(), description="any of these ways; none: everything")
    timeout: Duration = 15.0
    retry_waits: tuple[Duration, ...] = DEFAULT_RETRY_WAITS
    disable_after: Duration | None = Field(
        default=DEFAULT_DISABLE_AFTER, description="switched off when nothing was delivered for so long; null: never"
    )

    @abstractmethod
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints with their secrets open; a kind that goes to several instances has one for each."""

    def _common(self) -> dict[str, Any]:
        return {
            "event_types": self.event_types,
            "routes": tuple(route.route() for route in self.routes),
            "timeout_seconds": self.timeout,
            "retry_waits": self.retry_waits,
            "disable_after_seconds": math.inf if self.disable_after is None else self.disable_after,
        }

    @model_validator(mode="after")
    def _usable(self) -> Self:
        try:
            self.endpoints()
        except ConnectorSettingsError as error:
            raise ValueError(str(error)) from error
        return self


class StandardWebhookSettings(_EndpointSettings):
    """A receiver of signed alarm events (Standard Webhooks)."""

    kind: Literal["standard-webhooks"] = "standard-webhooks"
    url: SecretStr
    secrets: tuple[SecretStr, ...] = Field(min_length=1, description="whsec_…, first the one to sign with")

    def endpoint(self) -> WebhookEndpoint:
        """The endpoint with its secrets open."""
        return WebhookEndpoint(self.name, self.url.get_secret_value(), _opened(self.secrets), **self._common())

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The one endpoint."""
        return (self.endpoint(),)


class AlertmanagerSettings(_EndpointSettings):
    """Prometheus Alertmanager, all instances of one cluster."""

    kind: Literal["alertmanager"]
    urls: tuple[str, ...] = Field(min_length=1, description="base of each instance, such as http://10.0.0.5:9093")
    bearer: SecretStr | None = Field(default=None, description="token for a proxy before it")
    resend_every: Duration = Field(default=60.0, ge=1.0, description="how often alarms that stand are sent again")

    def endpoints(self) -> tuple[Endpoint, ...]:
        """One endpoint for each instance: every alert goes to all of them."""
        names = [self.name] if len(self.urls) == 1 else [f"{self.name}-{i + 1}" for i in range(len(self.urls))]
        return tuple(
            WebhookEndpoint(
                name, url.rstrip("/") + "/api/v2/alerts", format="alertmanager", bearer=_open(self.bearer),
                **self._common(),
            )
            for name, url in zip(names, self.urls, strict=True)
        )  # fmt: skip


class ShapedWebhookSettings(_EndpointSettings):
    """A receiver of another format over HTTP; signed too where there are secrets."""

    kind: Literal["alertmanager-webhook", "slack", "teams"]
    url: SecretStr
    secrets: tuple[SecretStr, ...] = ()

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The one endpoint."""
        return (
            WebhookEndpoint(
                self.name, self.url.get_secret_value(), _opened(self.secrets), format=self.kind, **self._common()
            ),
        )


class PagerDutySettings(_EndpointSettings):
    """PagerDuty Events API v2."""

    kind: Literal["pagerduty"]
    routing_key: SecretStr = Field(min_length=1)
    url: SecretStr = SecretStr(_PAGERDUTY)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The one endpoint."""
        return (
            WebhookEndpoint(
                self.name, self.url.get_secret_value(), format="pagerduty",
                options={"routing_key": self.routing_key.get_secret_value()}, **self._common(),
            ),
        )  # fmt: skip


class CloudEventsSettings(_EndpointSettings):
    """A receiver of CloudEvents over HTTP."""

    kind: Literal["cloudevents"]
    url: SecretStr
    mode: Literal["structured", "binary"] = "structured"
    source: str = Field(default=_DEFAULT_SOURCE, min_length=1, description="URI reference of this installation")
    secrets: tuple[SecretStr, ...] = ()
    bearer: SecretStr | None = None

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The one endpoint."""
        return (
            WebhookEndpoint(
                self.name, self.url.get_secret_value(), _opened(self.secrets), format=f"cloudevents-{self.mode}",
                options={"source": self.source}, bearer=_open(self.bearer), **self._common(),
            ),
        )  # fmt: skip


class MailSettings(_EndpointSettings):
    """Plain e-mail through a mail server."""

    kind: Literal["email"]
    host: str
    port: int | None = Field(default=None, ge=1, le=65_535, description="default: 587, 465 or 25, by tls")
    sender: str
    recipients: tuple[str, ...] = Field(min_length=1)
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    username: SecretStr = SecretStr("")
    password: SecretStr = SecretStr("")

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The one endpoint."""
        return (
            MailEndpoint(
                self.name, self.host, self.port or _PORTS[self.tls], self.sender, self.recipients, self.tls,
                self.username.get_secret_value(), self.password.get_secret_value(), **self._common(),
            ),
        )  # fmt: skip


class TopicSettings(_EndpointSettings):
    """A Kafka topic that gets every event, keyed by alarm."""

    kind: Literal["kafka"]
    bootstrap: tuple[str, ...] = Field(min_length=1, description="host:port of brokers")
    topic: str
    source: str = Field(default=_DEFAULT_SOURCE, min_length=1, description="URI reference of this installation")
    options: Mapping[str, Any] = Field(default_factory=dict, description="further settings of kafka.KafkaProducer")

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The one endpoint."""
        return (TopicEndpoint(self.name, self.bootstrap, self.topic, self.source, self.options, **self._common()),)


def _with_kind(value: Any) -> Any:
    return {"kind": "standard-webhooks", **value} if isinstance(value, dict) else value


WebhookSettings = Annotated[
    StandardWebhookSettings
    | AlertmanagerSettings
    | ShapedWebhookSettings
    | PagerDutySettings
    | CloudEventsSettings
    | MailSettings
    | TopicSettings,
    Field(discriminator="kind"),
    BeforeValidator(_with_kind),
]
"""Any kind of endpoint; one that says none is of Standard Webhooks."""

WEBHOOK_KINDS = (
    "standard-webhooks", "alertmanager", "alertmanager-webhook", "slack", "teams", "pagerduty", "cloudevents", "email",
    "kafka",
)  # fmt: skip


class DeliverySettings(Frozen):
    """What holds for all deliveries."""

    allow: tuple[str, ...] | None = Field(
        default=None,
        description="networks, addresses and the words public, private, loopback that may be connected to; default: "
        "public addresses, and private ones that stand as an address in the endpoint's own setting",
    )

    keep: Duration = Field(default=90 * 86_400.0, gt=0, description="how long what was delivered is kept")

    def policy(self) -> AddressPolicy:
        """The list of allowed addresses."""
        return AddressPolicy(self.allow)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        try:
            self.policy()
        except ConnectorSettingsError as error:
            raise ValueError(str(error)) from error
        return self

    def check(self, webhooks: tuple[_EndpointSettings, ...]) -> None:
        """Raise `ValueError` when an address that stands in an endpoint's setting may not be connected to."""
        for position, settings in enumerate(webhooks):
            for endpoint in settings.endpoints():
                for host in endpoint.hosts:
                    try:
                        self.policy().check_host(host)
                    except ConnectorSettingsError as error:
                        raise ValueError(f"webhooks[{position}] ({endpoint.name}): {error}") from error


def masked_webhooks(shown: list[dict[str, Any]], webhooks: tuple[_EndpointSettings, ...]) -> None:
    """Mask, in the JSON-ready values of the webhooks, what pydantic shows: addresses that are secrets, passwords."""
    for values, settings in zip(shown, webhooks, strict=True):
        endpoints = settings.endpoints()
        if "url" in values:
            values["url"] = endpoints[0].masked_url
        if "urls" in values:
            values["urls"] = [str(httpx.URL(endpoint.masked_url).copy_with(path="/")) for endpoint in endpoints]
        for key in values.get("options", {}):
            if any(word in key for word in _SECRET_OPTIONS):
                values["options"][key] = "**********"


def _open(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()


def _opened(secrets: tuple[SecretStr, ...]) -> tuple[str, ...]:
    return tuple(secret.get_secret_value() for secret in secrets)
