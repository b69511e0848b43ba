"""Apideck's own Python client, unmodified: exchanging tokens at a real OAuth server, and both errors.

Usage: apideck_token.py BASE_URL TOKEN CLIENT_SECRET

The connectors `crm/good` and `crm/user` are there: one for client_credentials, one that its user authorizes.
"""

import sys

from apideck_unify import Apideck, models

BASE, TOKEN, SECRET = sys.argv[1:]


def refused(error, call):
    """The error that the client raises; anything else fails."""
    try:
        call()
    except error as raised:
        return raised
    raise AssertionError(f"{error.__name__} was not raised")


with Apideck(api_key=TOKEN, app_id="app", consumer_id="python", server_url=BASE) as apideck:
    connections = apideck.vault.connections
    good = {"service_id": "good", "unified_api": "crm"}

    connections.update(**good, settings={"client_id": "post-client"})
    error = refused(models.UnprocessableResponse, lambda: connections.token(**good))
    assert (error.data.status_code, error.data.type_name) == (422, "InvalidStateError"), error.data
    assert "Client secret" in str(error.data.detail), error.data

    connections.update(**good, settings={"client_secret": "not it"})
    error = refused(models.UnauthorizedResponse, lambda: connections.token(**good))
    assert (error.data.status_code, error.data.type_name) == (401, "UnauthorizedError"), error.data
    assert "invalid_client" in str(error.data.detail), error.data
    failed = connections.get(**good).get_connection_response.data
    assert (failed.state, failed.health) == ("invalid", "needs_auth") and failed.last_refresh_failed_at > 1e12, failed

    connections.update(**good, settings={"client_secret": SECRET})
    answer = connections.token(**good)
    assert answer.get_connection_response is not None, "an answer that the client takes for an error"
    exchanged = answer.get_connection_response.data
    assert (exchanged.state, exchanged.health, exchanged.enabled) == ("callable", "ok", True), exchanged
    assert not exchanged.credentials_expire_at and not exchanged.last_refresh_failed_at
    assert SECRET not in str(exchanged)

    user = {"service_id": "user", "unified_api": "crm"}
    connections.update(**user, settings={"client_id": "post-client", "client_secret": SECRET})
    refused(models.UnprocessableResponse, lambda: connections.token(**user))
    refused(models.NotFoundResponse, lambda: connections.token(service_id="nothing", unified_api="crm"))
print("all exchanges and errors are as the client expects")
