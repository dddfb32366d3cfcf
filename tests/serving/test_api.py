"""The API: what a program asks, and what it is told."""

import json
from datetime import UTC, datetime
from urllib.parse import quote as quoted

import pytest

from recsys_dagster.serving.guard import Limits
from recsys_dagster.snapshots.reader import Snapshot
from tests.serving.conftest import NAME

USER = "user-zq-11"
HOSTILE = [
    "'; drop table users; --",
    '"quoted"',
    "a/b",
    "../../etc/passwd",
    "\x00nul",
    "\u202eright to left",
    "ü",
    "%2e%2e%2f",
    "a b?c#d",
    "{{7*7}}",
    "\U0001f600",
]


def get(client, path, **parameters):
    return client.get(f"/v1/{NAME}/{path}", params=parameters)


def quote(name):
    return quoted(name, safe="")


def ids(answer):
    return [row["item_id"] for row in answer.json()["recommendations"]]


def test_a_user_gets_their_stored_list_with_reasons(client, snapshot: Snapshot):
    answer = get(client, f"users/{USER}/recommendations", n=3)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["how"], found["known"], found["user_id"]) == ("stored", True, USER)
    assert found["snapshot"] == snapshot.path.name
    for row, expected in zip(found["recommendations"], snapshot.recommend(USER, 3), strict=True):
        assert (row["item_id"], row["title"], row["rank"]) == (
            expected.item_id,
            expected.title,
            expected.rank,
        )
        assert row["score"] == expected.score
        assert row["because"][0]["item_id"] == expected.because[0].item_id


def test_who_is_not_known_gets_popular_items_and_is_told_so(client, snapshot):
    answer = get(client, "users/nobody/recommendations", n=4)
    assert answer.json()["known"] is False
    assert answer.json()["how"] == "popular"
    assert ids(answer) == [row.item_id for row in snapshot.popular(4)]


def test_a_longer_list_than_the_run_made_is_computed_and_begins_alike(client):
    short, long = (ids(get(client, f"users/{USER}/recommendations", n=n)) for n in (5, 8))
    assert long[:5] == short
    assert len(long) > 5


def test_a_list_can_be_narrowed_and_still_has_its_length(client):
    whole = ids(get(client, f"users/{USER}/recommendations", n=5))
    without = get(client, f"users/{USER}/recommendations", n=5, exclude=whole[:2])
    assert not set(whole[:2]) & set(ids(without))
    assert ids(without)[:3] == whole[2:5]
    of_one = get(client, f"users/{USER}/recommendations", category="space alien", n=5).json()
    assert {row["category"] for row in of_one["recommendations"]} == {"space alien"}
    unknown = get(client, f"users/{USER}/recommendations", category="space aliens")
    assert unknown.status_code == 404
    assert "space alien" in unknown.json()["detail"]


def test_an_explanation_can_be_left_out(client):
    answer = get(client, f"users/{USER}/recommendations", explain=False)
    assert "because" not in answer.json()["recommendations"][0]


def test_a_history_gets_what_a_run_would_give_it(client, snapshot: Snapshot):
    body = {"items": ["space1", {"item_id": "love2", "weight": 3}], "n": 4}
    answer = client.post(f"/v1/{NAME}/recommendations", json=body)
    expected = snapshot.fold_in(["space1", "love2"], [1, 3], n=4)
    assert answer.json()["how"] == "computed"
    for row, own in zip(answer.json()["recommendations"], expected, strict=True):
        assert (row["item_id"], row["strategy"]) == (own.item_id, own.strategy)
        assert row["score"] == pytest.approx(own.score)
        assert [(each["item_id"], each["share"]) for each in row["because"]] == [
            (each.item_id, pytest.approx(each.share)) for each in own.because
        ]


def test_times_of_a_history_count(client, snapshot: Snapshot):
    times = [datetime(2024, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC)]
    items = [
        {"item_id": item, "timestamp": time.isoformat()}
        for item, time in zip(["space1", "love2"], times, strict=True)
    ]
    answer = client.post(f"/v1/{NAME}/recommendations", json={"items": items, "n": 4})
    expected = snapshot.fold_in(["space1", "love2"], times=times, n=4)
    assert ids(answer) == [row.item_id for row in expected]
    half = client.post(f"/v1/{NAME}/recommendations", json={"items": [items[0], "love2"]})
    assert half.status_code == 422


def test_nothing_at_all_gets_popular_items(client, snapshot):
    answer = client.post(f"/v1/{NAME}/recommendations", json={"n": 3})
    assert ids(answer) == [row.item_id for row in snapshot.popular(3)]
    assert answer.json()["how"] == "popular"
    assert ids(get(client, "popular", n=3)) == ids(answer)


def test_an_unknown_item_or_catalog_is_a_404_with_the_nearest_names(client):
    for answer in (
        get(client, "items/Star%20Voyag/similar"),
        client.post(f"/v1/{NAME}/recommendations", json={"items": ["Star Voyag"]}),
    ):
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert "Star Voyage" in answer.json()["detail"]
    answer = client.get("/v1/tinny/popular")
    assert answer.status_code == 404
    assert "'tiny'" in answer.json()["detail"]


def test_a_text_cannot_be_compared_where_the_encoder_is_not_kept(client):
    answer = client.post(f"/v1/{NAME}/recommendations", json={"text": "rockets"})
    assert answer.status_code == 422
    assert "tfidf" in answer.json()["detail"]


def test_neighbours_and_search(client, snapshot):
    answer = get(client, "items/space1/similar", n=3).json()
    assert answer["title"] == "Star Voyage"
    assert [row["item_id"] for row in answer["similar"]] == [
        row.item_id for row in snapshot.similar("space1", 3)
    ]
    found = get(client, "items", q="wedd").json()["items"]
    assert found[0]["title"] == "Wedding Day"


def test_catalogs_manifest_health_and_metrics(client):
    (catalog,) = client.get("/v1/catalogs").json()["catalogs"]
    assert (catalog["catalog"], catalog["users"], catalog["takes_interactions"]) == (NAME, 8, True)
    assert get(client, "manifest").json()["catalog"] == NAME
    assert client.get("/health/live").json()["status"] == "live"
    assert client.get("/health/ready").json() == {
        "status": "ready",
        "served": 1,
        "stale": 0,
        "failed": 0,
    }
    get(client, f"users/{USER}/recommendations")
    counted = client.get("/metrics").text
    assert 'route="/v1/{catalog}/users/{user:path}/recommendations"' in counted
    assert USER not in counted


def test_every_error_is_a_problem_without_a_trace(client):
    for answer in (
        get(client, f"users/{USER}/recommendations", n=0),
        get(client, f"users/{USER}/recommendations", n="many"),
        client.post(f"/v1/{NAME}/recommendations", content=b"{"),
        client.post(f"/v1/{NAME}/recommendations", json={"itmes": ["space1"]}),
        client.get("/nowhere"),
        client.delete(f"/v1/{NAME}/popular"),
    ):
        assert 400 <= answer.status_code < 500
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert answer.headers["content-type"] == "application/problem+json"
        assert "Traceback" not in answer.text


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_ids_are_ids_that_nobody_has(client, name):
    answer = get(client, f"users/{quote(name)}/recommendations")
    assert answer.status_code == 200
    assert answer.json()["known"] is False
    assert get(client, f"items/{quote(name)}/similar").status_code == 404
    assert client.get(f"/v1/{quote(name)}/popular").status_code == 404
    body = {"items": [name]}
    assert client.post(f"/v1/{NAME}/recommendations", json=body).status_code == 404


def test_what_is_too_long_is_refused(client):
    long = "x" * 10_240
    assert get(client, f"users/{long}/recommendations").status_code == 422
    assert get(client, f"items/{long}/similar").status_code == 422
    body = {"items": ["space1"] * 5_000}
    assert client.post(f"/v1/{NAME}/recommendations", json=body).status_code == 422
    answer = client.post(f"/v1/{NAME}/recommendations", content=b" " * 1_000_001)
    assert answer.status_code == 413

    def pieces():
        for _ in range(200):
            yield b" " * 10_000

    assert client.post(f"/v1/{NAME}/recommendations", content=pieces()).status_code == 413


def test_too_many_requests_are_told_when_to_come_back(own_shop, server):
    client = server(own_shop, limits=Limits(requests_per_second=2))
    answers = [client.get("/health/live") for _ in range(8)]
    assert [answer.status_code for answer in answers[:4]] == [200] * 4
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_answers_say_how_a_browser_is_to_treat_them(client):
    for path in ("/health/live", "/nowhere", f"/v1/{NAME}/popular"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


def test_the_openapi_has_an_example_for_every_body(client):
    described = client.get("/openapi.json").json()
    assert described["paths"]["/v1/{catalog}/recommendations"]["post"]
    for name in ("RecommendationRequest", "Interactions"):
        assert described["components"]["schemas"][name]["examples"]
    assert "https://" not in json.dumps(described["paths"])
