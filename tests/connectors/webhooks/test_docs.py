import dataclasses
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectors.webhooks import DeliveryStatus, Outcome, WebhookEndpoint
from connectors.webhooks.signing import signed_headers

DOCS = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text(encoding="utf-8")
VERIFIER, EXAMPLE = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)


def test_the_documented_verifier_takes_the_right_and_refuses_the_wrong(secret, old_secret):
    names = {}
    exec(compile(VERIFIER, "docs/webhooks.md", "exec"), names)
    headers = signed_headers([old_secret, secret], "msg_1", datetime.now(UTC), b"{}")

    assert names["verified"](secret, headers, b"{}")
    assert names["verified"](old_secret, headers, b"{}")
    assert not names["verified"](secret, headers, b"[]")
    assert not names["verified"](secret, headers, b"{}", tolerance=-1.0)


def test_the_example_delivers(capsys):
    exec(compile(EXAMPLE, "docs/webhooks.md", "exec"), {})

    assert '"type": "alarm.raised"' in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", [*(field.name for field in dataclasses.fields(WebhookEndpoint)), *DeliveryStatus, *Outcome]
)
def test_every_setting_and_state_is_documented(name):
    assert f"`{name}`" in DOCS
