"""NVIDIA Run:ai's own Python client, unmodified, against a running server: every call on user applications, every grant of a token, and the
errors as the client raises them.

Usage: run_ai.py BASE_URL CLIENT_ID CLIENT_SECRET OTHER_TOKEN

CLIENT_ID and CLIENT_SECRET are those of a user application of the owner's; OTHER_TOKEN acts as no user.
"""

import base64
import json
import sys
import time

from runai import models
from runai.api_client import ApiClient
from runai.configuration import Configuration
from runai.exceptions import (
    BadRequestException,
    ConflictException,
    ForbiddenException,
    NotFoundException,
    UnauthorizedException,
)
from runai.runai_client import RunaiClient

BASE, CLIENT_ID, CLIENT_SECRET, OTHER_TOKEN = sys.argv[1:]


def client(client_id=CLIENT_ID, client_secret=CLIENT_SECRET, **changes):
    options = {"client_id": client_id, "client_secret": client_secret, "runai_base_url": BASE, "retry_enabled": False, **changes}
    return RunaiClient(ApiClient(Configuration(**options)))


def refused(error, call):
    """The error that the client raises; anything else fails."""
    try:
        call()
    except error as raised:
        return raised
    raise AssertionError(f"{error.__name__} was not raised")


def named(name):
    return models.UserAppCreationRequest(name=name)


def life(runai):
    applications = runai.authentication_and_authorization.user_applications
    made = applications.create_user_application(named("app-name"))
    assert made.status_code == 201, made
    assert set(made.data) == {"id", "clientId", "name", "secret", "createdAt"}, made.data
    models.UserAppPostResponse.from_dict(made.data)
    app_id = made.data["id"]
    assert "_" not in app_id, "the client would write it otherwise"

    listed = applications.get_user_applications().data
    assert [row["name"] for row in listed] == ["first-app", "app-name"], listed
    got = applications.get_user_application_by_id(app_id).data
    assert (got["clientId"], got["lastLogin"]) == (made.data["clientId"], None), got
    assert got["createdAt"] == made.data["createdAt"]

    everybodys = applications.get_user_applications_administration().data
    assert {row["createdBy"] for row in everybodys} == {"owner"}
    assert [row["id"] for row in applications.get_user_applications_administration(client_id=app_id).data] == [app_id]
    assert len(applications.get_user_applications_administration(created_by="owner").data) == 2
    assert applications.get_user_applications_administration(created_by="nobody@example.com").data == []

    with client(app_id, made.data["secret"]) as other:
        own = other.authentication_and_authorization.user_applications
        assert own.get_user_application_by_id(app_id).data["lastLogin"] is not None
        new = applications.regenerate_user_application_secret(app_id)
        assert new.status_code == 200 and new.data["secret"] == new.data["clientSecret"] != made.data["secret"]
        refused(UnauthorizedException, own.get_user_applications)
    refused(Exception, lambda: client(app_id, made.data["secret"]))
    client(app_id, new.data["secret"]).close()

    assert applications.delete_user_application_by_id(app_id).status_code == 204
    refused(NotFoundException, lambda: applications.get_user_application_by_id(app_id))
    again = applications.create_user_application(named("app-name")).data["id"]
    assert applications.delete_user_application_by_id_administration(again).status_code == 204
    refused(NotFoundException, lambda: applications.delete_user_application_by_id_administration(again))


def errors(runai):
    applications = runai.authentication_and_authorization.user_applications
    error = refused(ConflictException, lambda: applications.create_user_application(named("first-app")))
    assert "Resource with this name already exists" in str(error), error
    error = refused(NotFoundException, lambda: applications.regenerate_user_application_secret("00112233-4455-6677-8899-aabbccddeeff"))
    assert "Resource id not found." in str(error), error
    refused(NotFoundException, lambda: applications.delete_user_application_by_id("a_b"))
    nameless = {"name": "Not-A-Name"}
    refused(BadRequestException, lambda: runai.api_client.call_api(resource_path="/api/v1/user-applications", method="POST", body=nameless))
    with client() as other:
        other.api_client.set_default_header("authorization", f"Bearer {OTHER_TOKEN}")
        own = other.authentication_and_authorization.user_applications
        error = refused(ForbiddenException, own.get_user_applications)
        assert "You do not have sufficient permissions." in str(error), error
        refused(ForbiddenException, own.get_user_applications_administration)
        other.api_client.set_default_header("authorization", "Bearer nobody")
        refused(UnauthorizedException, own.get_user_applications)


def tokens(runai):
    grant = runai.authentication_and_authorization.tokens.grant_token
    request = models.TokenRequest(grantType="client_credentials", clientID=CLIENT_ID, clientSecret=CLIENT_SECRET)
    told = grant(request).data
    assert told["expiresIn"] == 3600 and "refreshToken" not in told, told
    header, payload, signature = told["accessToken"].split(".")
    claims = json.loads(base64.b64decode(payload + "=="))
    assert claims["exp"] > time.time() + 60 and "-" not in payload and "_" not in payload
    assert grant(models.TokenRequest(grantType="app_token", appID=CLIENT_ID, appSecret=CLIENT_SECRET)).data["accessToken"]
    error = refused(BadRequestException, lambda: grant(models.TokenRequest(grantType="client_credentials", clientID=CLIENT_ID)))
    assert "Required parameter is missing" in str(error), error
    refused(BadRequestException, lambda: grant(models.TokenRequest(grantType="password", username="owner", password="not the owner's")))
    refused(BadRequestException, lambda: grant(models.TokenRequest(grantType="refresh_token", refreshToken=told["accessToken"])))
    # A client that keeps trying with one wrong secret, retries and all, makes nobody wait: not itself with the right one either.
    for _ in range(6):
        refused(ValueError, lambda: client(client_secret="wrong", retry_enabled=True))
    client(retry_enabled=True).close()


with client() as runai:
    life(runai)
    errors(runai)
    tokens(runai)
print("all calls and errors are as the client expects")
