"""What an endpoint is sent for a delivery: the event of the outbox in the endpoint's format."""

from datetime import timedelta
from typing import Any

import msgspec

from connectors.encoders import Message, encode
from connectors.encoders.mail import mail_message
from connectors.webhooks.deliveries import Delivery
from connectors.webhooks.endpoint import Endpoint, WebhookEndpoint
from connectors.webhooks.mail import MailEndpoint
from connectors.webhooks.topic import TopicEndpoint

__all__ = ["message_for"]

# Standard Webhooks advises bodies below about 20 KB; what is below goes out as it stands in the outbox.
_LONGEST_VERBATIM = 20_000


def message_for(endpoint: Endpoint, entry: Delivery) -> Message:
    """Return what an endpoint is sent for a delivery.

    The same delivery gives the same message under the same settings, so the ledger needs to keep a digest only.

    Raises
    ------
    ValueError
        The outbox holds something that is no canonical event; the message says what is wrong with it.
    """
    standard = isinstance(endpoint, WebhookEndpoint) and endpoint.format == "standard-webhooks"
    if standard and len(entry.body) <= _LONGEST_VERBATIM:
        return Message(entry.body)
    try:
        event: Any = msgspec.json.decode(entry.body)
        if isinstance(endpoint, MailEndpoint):
            return mail_message(
                event,
                sender=endpoint.sender,
                recipients=endpoint.recipients,
                message_id=entry.webhook_id,
                date=entry.created_at - timedelta(microseconds=entry.created_at.microsecond),
            )
        if isinstance(endpoint, TopicEndpoint):
            return encode("cloudevents-kafka", event, {"source": endpoint.source})
        if isinstance(endpoint, WebhookEndpoint):
            return encode(endpoint.format, event, endpoint.options)
    except (KeyError, TypeError, msgspec.DecodeError) as error:
        raise ValueError(f"the event cannot be put into the endpoint's format: {error!r}") from error
    raise TypeError(f"endpoint {endpoint.name!r}: a {type(endpoint).__name__} has no format")
