"""Nobody gets in without a key, by whatever route; who is local needs none."""

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.routing import APIRoute

from recsys_dagster.errors import UserError
from recsys_dagster.serving.access import PUBLIC, is_local
from recsys_dagster.serving.keys import Keys, Scope
from tests.serving.conftest import NAME

NO_SECRET = {"/health/live", "/health/ready"}


@pytest.fixture
def keys(own_shop):
    return Keys(own_shop.home / "keys.json")


@pytest.fixture
def guarded(own_shop, server):
    return server(own_shop, local=False)


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def routes(app):
    """Path and route of every endpoint, those of included routers too."""
    found = []
    for each in app.routes:
        if isinstance(each, APIRoute):
            found.append((each.path, each))
        else:
            router, prefix = each.original_router, each.include_context.prefix
            found += [(f"{prefix}{route.path}", route) for route in router.routes]
    return found


def asked(path, route):
    path = path.replace("{catalog}", NAME)
    for part in ("{user:path}", "{item:path}", "{user}", "{item}", "{name}", "{name:path}"):
        path = path.replace(part, "x")
    return next(iter(route.methods)), path


def test_every_route_refuses_without_a_key_and_with_a_wrong_one(guarded, keys):
    keys.create(Scope.ADMIN, "*")
    found = routes(guarded.app)
    assert len(found) >= 10
    for path, route in found:
        method, address = asked(path, route)
        public = getattr(route.endpoint, "needed_scope", None) == PUBLIC
        for headers in ({}, bearer("rk_1234_wrong"), bearer(""), {"Authorization": "Basic eDp5"}):
            status = guarded.request(method, address, headers=headers).status_code
            assert (status == 401) != public, (method, path, status)


def test_public_routes_are_few_and_say_nothing_of_the_data(guarded):
    public = {
        path
        for path, route in routes(guarded.app)
        if getattr(route.endpoint, "needed_scope", None) == PUBLIC
    }
    assert public - NO_SECRET <= {"/login", "/logout", "/static/{name:path}", "/static/{name}"}


def test_a_key_opens_what_its_scope_and_catalog_say(guarded, keys):
    body = {"interactions": [{"user_id": "u", "item_id": "space1", "rating": 5}]}
    _, read = keys.create(Scope.READ, NAME)
    _, write = keys.create(Scope.WRITE, NAME)
    _, other = keys.create(Scope.ADMIN, "another")
    popular, told = f"/v1/{NAME}/popular", f"/v1/{NAME}/interactions"
    assert guarded.get(popular, headers=bearer(read)).status_code == 200
    assert guarded.post(told, json=body, headers=bearer(read)).status_code == 403
    assert guarded.post(told, json=body, headers=bearer(write)).status_code == 202
    assert guarded.get(popular, headers=bearer(other)).status_code == 403


def test_a_revoked_key_is_refused_at_once(guarded, keys):
    key, secret = keys.create(Scope.READ, "*")
    assert guarded.get(f"/v1/{NAME}/popular", headers=bearer(secret)).status_code == 200
    keys.revoke(key.id)
    assert guarded.get(f"/v1/{NAME}/popular", headers=bearer(secret)).status_code == 401
    with pytest.raises(UserError, match="no key"):
        keys.revoke(key.id)


def test_keys_are_kept_as_hashes_in_a_file_of_their_owner(keys, own_shop):
    _, secret = keys.create(Scope.READ, "*")
    file = own_shop.home / "keys.json"
    assert secret.split("_", 2)[2] not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_of_one_catalog_does_not_list_the_others(guarded, keys, own_shop):
    _, secret = keys.create(Scope.READ, "another")
    answer = guarded.get("/v1/catalogs", headers=bearer(secret))
    assert answer.status_code == 200
    assert answer.json()["catalogs"] == []
    missing = guarded.get("/v1/another/popular", headers=bearer(secret))
    assert missing.status_code == 404
    assert NAME not in missing.json()["detail"]


def test_a_page_under_another_name_does_not_reach_a_local_server(own_shop, server):
    client = server(own_shop)
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example"):
        assert client.get(f"/v1/{NAME}/popular", headers={"Host": host}).status_code == 421
    for host in ("127.0.0.1:8000", "localhost", "[::1]:8000"):
        assert client.get(f"/v1/{NAME}/popular", headers={"Host": host}).status_code == 200


def test_which_addresses_are_this_machines_own():
    assert [is_local(host) for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9")] == [True] * 4
    assert [is_local(host) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org")] == [False] * 4


def test_folders_of_the_server_are_told_to_its_admins_alone(own_shop, server, keys):
    (own_shop.snapshots / "broken").mkdir()
    (own_shop.snapshots / "broken" / "CURRENT").write_text("nothing\n")
    _, read = keys.create(Scope.READ, "*")
    _, admin = keys.create(Scope.ADMIN, "*")
    client = server(own_shop, local=False)
    for secret, is_told in ((read, False), (admin, True)):
        fault = client.get("/v1/catalogs", headers=bearer(secret)).json()["faults"]["broken"]
        assert (str(own_shop.root) in fault) == is_told
    answer = client.get("/v1/broken/popular", headers=bearer(read))
    assert answer.status_code == 404
    assert str(own_shop.root) not in answer.text


def test_keys_that_are_made_at_once_are_all_kept(own_shop):
    file = own_shop.home / "keys.json"
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: Keys(file).create(Scope.READ, "*")[0].id, range(12)))
    assert sorted(made) == sorted(key.id for key in Keys(file).all())


def test_a_damaged_file_of_keys_lets_nobody_in_and_says_nothing(guarded, own_shop, keys):
    _, secret = keys.create(Scope.ADMIN, "*")
    (own_shop.home / "keys.json").write_text("[{]")
    answer = guarded.get("/v1/catalogs", headers=bearer(secret))
    assert answer.status_code == 401
    assert "keys.json" not in answer.text


def test_counters_are_for_keys_of_all_catalogs(guarded, keys):
    _, one = keys.create(Scope.ADMIN, NAME)
    _, every = keys.create(Scope.READ, "*")
    assert guarded.get("/metrics", headers=bearer(one)).status_code == 403
    assert guarded.get("/metrics", headers=bearer(every)).status_code == 200
