"""Apideck's own Python client, unmodified, against a running server: every call, and each documented error, as the client returns it.

Usage: apideck.py BASE_URL TOKEN
"""

import sys

from apideck_unify import Apideck, models

BASE, TOKEN = sys.argv[1:]


def client(**changes):
    return Apideck(**{"api_key": TOKEN, "app_id": "app", "consumer_id": "acme", "server_url": BASE, **changes})


def refused(error, call):
    """The error that the client raises; anything else fails."""
    try:
        call()
    except error as raised:
        return raised
    raise AssertionError(f"{error.__name__} was not raised")


def life(vault):
    imported = vault.connections.imports(
        service_id="pipedrive", unified_api="crm", credentials={"access_token": "A", "refresh_token": "R"}, metadata={"plan": "e"}
    )
    assert imported.create_connection_response is not None, "an answer that the client takes for an error"
    assert imported.create_connection_response.data.state == "callable"

    got = vault.connections.get(service_id="pipedrive", unified_api="crm").get_connection_response.data
    assert (got.id, got.state, got.auth_type, got.enabled) == ("crm+pipedrive", "callable", "oauth2", True)
    assert got.created_at > 1e12 and got.updated_at >= got.created_at
    assert "'R'" not in str(got) and "'A'" not in str(got)

    added = vault.connections.update(service_id="activecampaign", unified_api="crm", enabled=True).update_connection_response.data
    assert added.state == "added"
    settings = {"base_url": "https://x.example.com", "api_key": "hush-hush"}
    changed = vault.connections.update(service_id="activecampaign", unified_api="crm", settings=settings).update_connection_response.data
    assert changed.state == "callable" and "hush-hush" not in str(changed)
    mask = next(field for field in changed.form_fields if field.id == "api_key").model_dump()["value"] if hasattr(changed.form_fields[0], "value") else None
    assert mask != "hush-hush"

    listed = vault.connections.list(api="crm", configured=True).get_connections_response.data
    assert sorted(row.service_id for row in listed) == ["activecampaign", "pipedrive"]
    everything = vault.connections.list().get_connections_response.data
    assert len(everything) >= 40

    state = vault.validate_connection.state(service_id="activecampaign", unified_api="crm").validate_connection_state_response.data
    assert (state.id, state.state) == ("crm+activecampaign", "callable")

    paused = vault.connections.update(service_id="activecampaign", unified_api="crm", enabled=False).update_connection_response.data
    assert (paused.enabled, paused.state) == (False, "callable")
    vault.connections.delete(service_id="activecampaign", unified_api="crm")
    gone = vault.connections.get(service_id="activecampaign", unified_api="crm").get_connection_response.data
    assert (gone.state, gone.enabled) == ("available", False)


def consumers(vault):
    made = vault.consumers.create(consumer_id="john-1", metadata={"user_name": "John"}).create_consumer_response.data
    assert made.consumer_id == "john-1"
    vault.consumers.create(consumer_id="john-2")
    page = vault.consumers.list(filter_={"consumer_id": "john"}, limit=1)
    seen = []
    while page is not None:
        seen += [row.consumer_id for row in page.get_consumers_response.data]
        page = page.next()
    assert seen == ["john-1", "john-2"], seen
    assert vault.consumers.get(consumer_id="acme").get_consumer_response.data.consumer_id == "acme"
    vault.consumers.update(consumer_id="john-1", metadata={"user_name": "Johnny"})
    assert vault.consumers.get(consumer_id="john-1").get_consumer_response.data.metadata.user_name == "Johnny"
    assert vault.consumers.delete(consumer_id="acme").delete_consumer_response.data.consumer_id == "acme"
    refused(models.NotFoundResponse, lambda: vault.consumers.get(consumer_id="acme"))
    gone = vault.connections.get(service_id="pipedrive", unified_api="crm").get_connection_response.data
    assert gone.state == "available", "its connections went with it"


def errors(vault):
    one = {"service_id": "pipedrive", "unified_api": "crm"}
    error = refused(models.NotFoundResponse, lambda: vault.connections.get(service_id="nothing", unified_api="crm"))
    assert (error.data.type_name, error.data.status_code) == ("EntityNotFoundError", 404)
    refused(models.NotFoundResponse, lambda: vault.connections.delete(**one))
    refused(models.NotFoundResponse, lambda: vault.connections.get(service_id="a/b", unified_api="crm"))
    error = refused(models.BadRequestResponse, lambda: vault.connections.imports(**one, credentials={"access_token": "A", "expires_in": -1}))
    assert error.data.type_name == "RequestValidationError"
    with client(api_key="klkey_wrong") as stranger:
        error = refused(models.UnauthorizedResponse, lambda: stranger.vault.connections.list())
        assert error.data.type_name == "UnauthorizedError"
    with client(consumer_id=None) as nobody:
        error = refused(models.BadRequestResponse, lambda: nobody.vault.connections.get(**one))
        assert error.data.type_name == "RequestHeadersValidationError"
        catalog = nobody.vault.connections.list(api="crm").get_connections_response.data
        assert {row.state for row in catalog} == {"available"}
    with client(app_id=None) as nowhere:
        refused(models.BadRequestResponse, lambda: nowhere.vault.connections.list())


with client() as apideck:
    errors(apideck.vault)
    life(apideck.vault)
    consumers(apideck.vault)
print("all calls and errors are as the client expects")
