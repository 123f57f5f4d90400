"""What stands: alarms that fire or ended lately, and endpoints that are switched off, for receivers of states."""

from collections.abc import Callable, Sequence
from datetime import datetime

from connectors.alarm_event import alarm_event
from connectors.history.database import History
from connectors.history.transitions import newest_transitions
from connectors.service_event import endpoint_disabled
from connectors.webhooks import Endpoint, Outbox, WebhookEndpoint
from connectors.webhooks.alertmanager import AlertmanagerResender, Standing
from connectors.webhooks.carriers import Carrier
from streams.annunciator import Annunciator
from streams.configuration import Configuration
from streams.delivery_settings import AlertmanagerSettings

__all__ = ["endpoint_problems", "resenders", "standing_alarms"]

_LATELY = 15 * 60 * 10**9


def standing_alarms(
    annunciator: Annunciator, history: History, outbox: Outbox, endpoints: Sequence[Endpoint]
) -> list[Standing]:
    """All alarms that stand, those that ended within a quarter of an hour, and endpoints that are switched off.

    An alarm that is shelved, out of service or suppressed does not fire; one that chatters fires until it has calmed.
    """
    now = round(annunciator.now().timestamp() * 1e9)
    conditions = {
        one.alarm_id: one for one in annunciator.conditions() if one.active or one.fires or now - one.changed < _LATELY
    }
    firing = [key for key, one in conditions.items() if one.fires]
    with history.cursor() as cursor:
        transitions = {one.alarm_id: one for one in newest_transitions(cursor, conditions.keys())}
        transitions |= {one.alarm_id: one for one in newest_transitions(cursor, firing, active=True)}
    found = [
        Standing(alarm_event(one, annunciator.rule(one)), conditions[one.alarm_id].fires)
        for one in transitions.values()
    ]
    addresses = {endpoint.name: endpoint.masked_url for endpoint in endpoints}
    return found + [
        Standing(
            endpoint_disabled(state.name, addresses[state.name], state.disabled_at, state.reason or ""), firing=True
        )
        for state in outbox.endpoints()
        if state.disabled_at is not None and state.name in addresses
    ]


def resenders(
    configuration: Configuration,
    annunciator: Annunciator,
    history: History,
    outbox: Outbox,
    now: Callable[[], datetime],
) -> list[AlertmanagerResender]:
    """One for each instance of each Alertmanager."""
    endpoints = configuration.endpoints()
    return [
        AlertmanagerResender(
            endpoint,
            outbox,
            lambda: standing_alarms(annunciator, history, outbox, endpoints),
            every=webhook.resend_every,
            carrier=Carrier(configuration.delivery.policy()),
            clock=now,
        )
        for webhook in configuration.webhooks
        if isinstance(webhook, AlertmanagerSettings)
        for endpoint in webhook.endpoints()
        if isinstance(endpoint, WebhookEndpoint)
    ]


def endpoint_problems(configuration: Configuration, outbox: Outbox) -> list[str]:
    """Endpoints of the configuration that are switched off, in words."""
    names = {endpoint.name for endpoint in configuration.endpoints()}
    return [
        f"webhooks: {state.name} is switched off since {state.disabled_at:%Y-%m-%d %H:%M} UTC: {state.reason}"
        for state in outbox.endpoints()
        if state.disabled_at is not None and state.name in names
    ]
