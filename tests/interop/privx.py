"""A client for SSH PrivX's API clients, of our own, that sends what the vendor's Python SDK, Go SDK and Terraform provider send, in the same
shapes, and takes only what they take. The vendor publishes no package of them.

Usage: privx.py BASE_URL TOKEN [CA_FILE]
"""

import base64
import json
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request

BASE, TOKEN = sys.argv[1:3]
CONTEXT = ssl.create_default_context(cafile=sys.argv[3]) if len(sys.argv) > 3 else None
CLIENTS = "/local-user-store/api/v1/api-clients"
READER = "6b65796c-6564-6765-722f-726561646572"


def send(method, path, body=None, headers=None):
    request = urllib.request.Request(BASE + path, data=body, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, context=CONTEXT) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Client:
    """Calls as the vendor's clients do: JSON bodies, a bearer token, and a fresh token after one 401."""

    def __init__(self, token=None, pairs=None):
        self.token, self.pairs, self.refresh = token, pairs, None

    def authenticate(self):
        """As the Python SDK: a form, the OAuth client in `Authorization: Basic`, the API client as a user."""
        oauth_id, oauth_secret, client_id, secret = self.pairs
        self.grant({"grant_type": "password", "username": client_id, "password": secret}, oauth_id, oauth_secret)

    def renew(self):
        self.grant({"grant_type": "refresh_token", "refresh_token": self.refresh}, *self.pairs[:2])

    def grant(self, form, oauth_id, oauth_secret):
        basic = base64.b64encode(f"{oauth_id}:{oauth_secret}".encode()).decode()
        headers = {"Content-type": "application/x-www-form-urlencoded", "Authorization": f"Basic {basic}"}
        status, body = send("POST", "/auth/api/v1/oauth/token", urllib.parse.urlencode(form).encode(), headers)
        self.take(status, body)

    def client_credentials(self, client_id, client_secret):
        body = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        path = "/auth/api/v1/oauth/clientcredentials/privx-external/token"
        self.take(*send("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"}))

    def take(self, status, body):
        told = json.loads(body)
        assert status == 200, (status, told)
        assert isinstance(told["expires_in"], int) and told["token_type"].lower() == "bearer", told
        self.token, self.refresh = told["access_token"], told["refresh_token"]

    def call(self, method, path, body=None, tries=2):
        headers = {"Content-type": "application/json", "Authorization": f"Bearer {self.token}"}
        status, answer = send(method, path, None if body is None else json.dumps(body).encode(), headers)
        if status == 401 and self.pairs and tries > 1:
            self.authenticate()
            return self.call(method, path, body, tries - 1)
        return status, json.loads(answer) if answer else None


def ok(answer, status=200):
    assert answer[0] == status, answer
    return answer[1]


def one(client_id):
    return f"{CLIENTS}/{urllib.parse.quote(client_id, safe='')}"


def life(privx):
    made = ok(privx.call("POST", CLIENTS, {"name": "n", "roles": [{"id": READER}]}), 201)
    assert set(made) == {"id"}, made
    # As Terraform: created, read back, imported, changed with the whole object, read back, destroyed.
    got = ok(privx.call("GET", one(made["id"])))
    assert got["roles"] == [{"id": READER, "name": "reader"}], got
    assert got["secret"] and got["oauth_client_id"] and got["oauth_client_secret"]
    whole = {**got, "name": "n2", "roles": None}
    assert ok(privx.call("PUT", one(made["id"]), whole)) is None, "an empty body"
    again = ok(privx.call("GET", one(made["id"])))
    assert (again["name"], again["roles"], again["secret"]) == ("n2", [], got["secret"]), again
    assert again["oauth_client_secret"] == got["oauth_client_secret"]
    listed = ok(privx.call("GET", CLIENTS + "?offset=0&limit=50&sortkey=name&sortdir=ASC"))
    assert (listed["count"], [row["name"] for row in listed["items"]]) == (1, ["n2"])
    assert listed["items"][0]["secret"] != got["secret"], "masked in a list"
    # As the Go SDK: empty texts, and nothing else.
    found = ok(privx.call("POST", CLIENTS + "/search", {"keywords": "", "sortdir": "", "sortkey": ""}))
    assert found["count"] == 1
    assert ok(privx.call("POST", CLIENTS + "/search", {"keywords": "nothing"})) == {"count": 0, "items": []}
    assert ok(privx.call("DELETE", one(made["id"]))) is None
    status, error = privx.call("GET", one(made["id"]))
    assert status == 404 and "NOT_FOUND" in json.dumps(error), error
    assert privx.call("GET", one("a b/c"))[0] == 404


def errors(privx):
    for body, code, named in [
        ({}, "REQUIRED_VALUE_MISSING", "name"),
        ({"name": "n", "roles": [{"id": "r"}]}, "INVALID_REQUEST_DATA", "roles"),
        ({"name": ""}, "INVALID_REQUEST_DATA", "name"),
    ]:
        error = ok(privx.call("POST", CLIENTS, body), 400)
        assert (error["error_code"], error["property"]) == (code, named), error
    assert ok(privx.call("GET", CLIENTS + "?sortkey=nothing"), 400)["property"] == "sortkey"
    assert ok(Client("nobody").call("GET", CLIENTS), 401)["error_code"] == "UNAUTHORIZED"


def tokens(privx):
    made = ok(privx.call("POST", CLIENTS, {"name": "t", "roles": [{"id": READER}]}), 201)
    got = ok(privx.call("GET", one(made["id"])))
    pairs = (got["oauth_client_id"], got["oauth_client_secret"], got["id"], got["secret"])
    client = Client(pairs=pairs)
    assert ok(client.call("GET", CLIENTS))["count"] == 1, "the first call authenticates"
    assert ok(client.call("GET", one(made["id"])))["secret"] != got["secret"], "it may not see secrets"
    assert ok(client.call("POST", CLIENTS, {"name": "x"}), 403)["error_code"] == "PERMISSION_DENIED"
    client.renew()
    assert ok(client.call("GET", CLIENTS))["count"] == 1
    for id_and_secret in (pairs[:2], pairs[2:]):
        client.client_credentials(*id_and_secret)
        assert ok(client.call("GET", CLIENTS))["count"] == 1
    new = ok(privx.call("POST", one(made["id"]) + "/rotate", {"grace_seconds": 60}))
    assert ok(client.call("GET", CLIENTS))["count"] == 1, "the earlier secrets work on"
    newer = Client(pairs=(new["oauth_client_id"], new["oauth_client_secret"], new["id"], new["secret"]))
    assert ok(newer.call("GET", CLIENTS))["count"] == 1
    new = ok(privx.call("POST", one(made["id"]) + "/rotate"))
    for old in (client, newer):
        old.pairs = None
        assert old.call("GET", CLIENTS)[0] == 401, "it ended at once"
    ok(privx.call("DELETE", one(made["id"])))


privx = Client(TOKEN)
errors(privx)
life(privx)
tokens(privx)
print("all calls and errors are as the clients expect")
