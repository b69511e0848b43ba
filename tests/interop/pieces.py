"""Pieces' own Python client, unmodified, against a running server: every call, and each documented error, as the client returns it.

Usage: pieces.py BASE_URL TOKEN
"""

import sys

from pieces_os_client.api.external_provider_api import ExternalProviderApi
from pieces_os_client.api_client import ApiClient
from pieces_os_client.configuration import Configuration
from pieces_os_client.exceptions import ApiException, BadRequestException, UnauthorizedException
from pieces_os_client.models.auth0_open_ai_user_metadata import Auth0OpenAIUserMetadata as Key
from pieces_os_client.models.embedded_model_schema import EmbeddedModelSchema as Schema
from pieces_os_client.models.precreated_external_provider_api_key import PrecreatedExternalProviderApiKey as Create
from pieces_os_client.models.predeleted_external_provider_api_key import PredeletedExternalProviderApiKey as Delete
from pieces_os_client.models.preupdated_external_provider_api_key import PreupdatedExternalProviderApiKey as Update

BASE, TOKEN = sys.argv[1:]
SECRETS = ["sk-hush-hush-1234", "sk-hush-again-5678"]


def api(application=None, bearer=None):
    """With a token as the id of the application, as a default header, or without any."""
    configuration = Configuration(host=BASE)
    if application is not None:
        configuration.api_key["application"] = application
    client = ApiClient(configuration)
    if bearer is not None:
        client.set_default_header("Authorization", f"Bearer {bearer}")
    return ExternalProviderApi(client)


def refused(error, call):
    """The error that the client raises; anything else fails."""
    try:
        call()
    except ApiException as raised:
        assert type(raised) is error, raised
        assert not any(secret in str(raised) for secret in SECRETS)
        return raised
    raise AssertionError(f"{error.__name__} was not raised")


def shown(answer):
    """The user and the key of an answer, which the client must have understood."""
    assert answer is not None, "an answer that the client takes for nothing"
    assert not any(secret in str(answer) for secret in SECRETS)
    return answer.metadata.global_id, answer.metadata.open_ai


def life(keys):
    key = Key(api_key=SECRETS[0], organization_key="org-1", api_key_name="laptop")
    schema = Schema(migration=1, semantic="MAJOR_0_MINOR_0_PATCH_1")
    made = keys.external_provider_api_key_create(Create(user="owner", open_AI=key, schema=schema))
    assert made.var_schema.migration == 1 and made.var_schema.semantic.value == "MAJOR_0_MINOR_0_PATCH_1"
    owner, open_ai = shown(made)
    assert (open_ai.api_key, open_ai.organization_key, open_ai.api_key_name) == ("sk-…1234", "org-1", "laptop")

    answer = keys.external_provider_api_key_update(Update(user=owner, open_AI=Key(api_key=SECRETS[1])))
    again, open_ai = shown(answer)
    assert again == owner and answer.var_schema is None
    assert (open_ai.api_key, open_ai.organization_key, open_ai.api_key_name) == ("sk-…5678", "org-1", "laptop")

    # What the client read, sent back: the mask changes nothing. Nor does what it sets to nothing, which it does not send.
    for same in [open_ai, Key(organization_key=None), None]:
        assert shown(keys.external_provider_api_key_update(Update(user="owner", open_AI=same))) == (owner, open_ai)

    # Create replaces whole.
    _, open_ai = shown(keys.external_provider_api_key_create(Create(user="owner", open_AI=Key(api_key=SECRETS[0]))))
    assert (open_ai.api_key, open_ai.api_key_name) == ("sk-…1234", None)

    for stays in [None, False]:
        _, open_ai = shown(keys.external_provider_api_key_delete(Delete(user="owner", open_AI=stays)))
        assert open_ai.api_key == "sk-…1234"
    assert shown(keys.external_provider_api_key_delete(Delete(user="owner", open_AI=True))) == (owner, None)
    assert shown(keys.external_provider_api_key_delete(Delete(user="owner", open_AI=True))) == (owner, None)


def errors():
    key = Key(api_key=SECRETS[0])
    for keys in [api(application="an application's id"), api(application=TOKEN[:-1]), api(), api(bearer="klkey_wrong")]:
        for call in [
            lambda: keys.external_provider_api_key_create(Create(user="owner", open_AI=key)),
            lambda: keys.external_provider_api_key_update(Update(user="owner", open_AI=key)),
            lambda: keys.external_provider_api_key_delete(Delete(user="owner", open_AI=True)),
        ]:
            error = refused(UnauthorizedException, call)
            assert error.body == '"Invalid Authentication, Incorrect API key provided or organization"', error.body
    keys = api(application=TOKEN)
    error = refused(UnauthorizedException, lambda: keys.external_provider_api_key_create(Create(user="nobody", open_AI=key)))
    assert error.status == 401 and error.body.startswith('"Invalid Authentication'), error.body
    refused(UnauthorizedException, lambda: keys.external_provider_api_key_update(Update(user="nobody", open_AI=key)))
    refused(UnauthorizedException, lambda: keys.external_provider_api_key_delete(Delete(user="nobody", open_AI=True)))
    refused(BadRequestException, lambda: keys.external_provider_api_key_create())
    refused(BadRequestException, lambda: keys.external_provider_api_key_update())
    refused(BadRequestException, lambda: keys.external_provider_api_key_delete())
    refused(BadRequestException, lambda: keys.external_provider_api_key_create(Create(user="owner", open_AI=Key())))
    refused(BadRequestException, lambda: keys.external_provider_api_key_update(Update(user="owner", open_AI=Key(api_key="two words"))))


errors()
life(api(application=TOKEN))
life(api(bearer=TOKEN))
print("all calls and errors are as the client expects")
