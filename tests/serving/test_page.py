"""The pages: what they show, what they escape, who may see them."""

import re
from html import escape
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_dagster.errors import UserError
from recsys_dagster.serving.keys import Keys, Scope
from recsys_dagster.serving.page import rendering
from recsys_dagster.serving.page.charts import Axis, bar
from recsys_dagster.serving.page.comparing import compared, near_history
from recsys_dagster.serving.page.quality import quality
from recsys_dagster.serving.recommending import Wish, of_history, without
from recsys_dagster.snapshots.evaluations import EVALUATIONS
from recsys_dagster.snapshots.reader import Row, Snapshot
from tests.serving.conftest import NAME

HOSTILE = "<script>alert('\"1\"')</script>"
LENGTH = 5
"""Rows that the shop's runs give."""
PAGES = ("", "/find?q=a", "/try", "/map", "/quality")


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def elements(text):
    return Elements(text).found


def recommended(text):
    return [own["data-recommended"] for _, own in elements(text) if "data-recommended" in own]


@pytest.fixture
def user(opened):
    """Somebody with a history."""
    return next(
        user
        for user in opened.some_users(50)
        if (history := opened.history(user)) is not None and history.positives.sum() > 1
    )


@pytest.fixture
def every_page(opened, user):
    item = opened.popular(1)[0].item_id
    own = opened.history(user).item_ids[-1]
    return [
        *(f"/c/{NAME}{page}" for page in PAGES),
        f"/c/{NAME}/users/{user}",
        f"/c/{NAME}/users/{user}?without={own}&history=all",
        f"/c/{NAME}/users/nobody",
        f"/c/{NAME}/items/{item}",
        f"/c/{NAME}/try?item={item}&q=a",
    ]


class TestPages:
    def test_every_page_answers_and_asks_no_other_host(self, client, every_page):
        for path in every_page:
            answer = client.get(path)
            assert answer.status_code == 200, path
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert answer.headers["content-security-policy"].startswith("default-src 'self'")
            for tag, own in elements(answer.text):
                assert "style" not in own, (path, tag)
                assert not [name for name in own if name.startswith("on")], (path, tag)
                for name in ("href", "src", "action"):
                    assert own.get(name, "/").startswith(("/", "#")), (path, own[name])
                    assert not own.get(name, "/").startswith("//"), (path, own[name])
            assert not re.search(r"<script(?![^>]* src=)|<style", answer.text), path

    def test_every_link_to_a_page_of_the_catalog_leads_somewhere(self, client, every_page):
        links = {
            own["href"]
            for path in every_page
            for tag, own in elements(client.get(path).text)
            if tag == "a" and own["href"].startswith("/")
        }
        assert len(links) > 10
        for link in sorted(links):
            assert client.get(link).status_code == 200, link

    def test_the_only_catalog_is_where_one_begins(self, client):
        answer = client.get("/", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/c/{NAME}")

    def test_an_overview_says_what_is_served(self, client, opened):
        text = client.get(f"/c/{NAME}").text
        assert "Stories" in text
        assert "All passed" in text
        assert opened.popular(1)[0].title in text

    def test_a_forced_snapshot_says_so(self, client):
        about = client.app.state.catalogs[NAME].snapshot.manifest
        failed = [{"table": "items", "check": "not_fallen", "reason": "fewer", "failed": True}]
        about["gate"] = {"passed": False, "reason": "it is a test", "failed": failed}
        text = client.get(f"/c/{NAME}").text
        assert "forced past its checks" in text
        assert "it is a test" in text

    def test_dagster_is_linked_where_it_is_known(self, client):
        assert "Dagster" not in client.get(f"/c/{NAME}").text
        client.app.state.dagster_url = "http://127.0.0.1:3000/"
        text = client.get(f"/c/{NAME}").text
        assert f'href="http://127.0.0.1:3000/assets/{NAME}/published"' in text

    def test_static_files_are_those_of_the_package(self, client):
        page = client.get(f"/c/{NAME}").text
        linked = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
        assert len(linked) == 3
        for path in linked:
            answer = client.get(path)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]
        assert "immutable" not in client.get("/static/style.css").headers["cache-control"]
        for path in ("/static/nothing.css", "/static/..%2froutes.py", "/static/%2e%2e/routes.py"):
            assert client.get(path).status_code == 404

    def test_found_by_words_and_by_the_beginning_of_an_id(self, client, opened, user):
        title = opened.popular(1)[0].title
        assert title in client.get(f"/c/{NAME}/find", params={"q": title[:4]}).text
        assert f'href="/c/{NAME}/users/{user}"' in client.get(f"/c/{NAME}/find?q={user}").text
        assert "Nothing has" in client.get(f"/c/{NAME}/find?q=zzzzzz").text

    def test_the_map_has_a_place_for_every_item(self, client, opened):
        found = client.get(f"/c/{NAME}/map.json?snapshot={opened.name}")
        assert "max-age" in found.headers["cache-control"]
        points = found.json()
        assert set(points["ids"]) == set(opened.item_map().item_ids)
        sizes = {len(points[name]) for name in ("ids", "titles", "x", "y", "category")}
        assert len(sizes) == 1
        first = points["category"][0]
        assert points["categories"][first] == opened.category_of(points["ids"][0])
        assert client.get(f"/c/{NAME}/map.json?snapshot=old").headers["cache-control"] == "no-store"


def test_a_hostile_title_is_text(own_shop, server):
    snapshot = Snapshot.current(own_shop.snapshots, NAME)
    file = snapshot.path / "items.parquet"
    table = pq.read_table(file)
    hostile = pa.array([HOSTILE] * len(table), pa.string())
    for name in ("title", "category", "text"):
        table = table.set_column(table.column_names.index(name), name, hostile)
    pq.write_table(table, file)
    client = server(own_shop)
    item, user = snapshot.popular(1)[0].item_id, snapshot.some_users(1)[0]
    own = snapshot.history(user).item_ids[0]
    for path in (
        *PAGES,
        "/find?q=" + HOSTILE,
        f"/items/{item}",
        f"/items/{HOSTILE}",
        f"/users/{user}?without={own}",
        f"/users/{HOSTILE}",
        f"/try?item={item}&q={HOSTILE}&text={HOSTILE}",
    ):
        text = client.get(f"/c/{NAME}{path}").text
        assert "<script>alert" not in text, path
        tags = [own for tag, own in elements(text) if tag == "script"]
        assert [own["src"].partition("?")[0] for own in tags] == ["/static/explorer.js"], path


class TestUsers:
    def test_the_list_is_that_of_the_run_with_reasons_and_history(self, client, opened, user):
        text = client.get(f"/c/{NAME}/users/{user}").text
        assert recommended(text) == [row.item_id for row in opened.recommend(user, LENGTH)]
        assert "because they liked" in text
        for item in opened.history(user).item_ids:
            assert f'data-focus="strike-{item}"' in text

    def test_striking_an_item_out_gives_the_list_without_it(self, client, opened, user):
        history = opened.history(user)
        own = history.item_ids[history.positives][-1]
        before = opened.recommend(user, LENGTH)
        after = of_history(opened, without(history, [own]), Wish(LENGTH))
        text = client.get(f"/c/{NAME}/users/{user}?without={own}").text
        assert recommended(text) == [row.item_id for row in after]
        came = {row.item_id for row in after} - {row.item_id for row in before}
        assert text.count('class="move is-new"') == len(came)
        left = {row.item_id for row in before} - {row.item_id for row in after}
        assert text.count("Was at rank") == len(left)
        assert text.count('class="unseen">At rank') == len(came)

    def test_what_is_not_in_the_history_cannot_be_struck_out(self, client, user):
        text = client.get(f"/c/{NAME}/users/{user}?without=nothing").text
        assert "had never been there" not in text

    def test_what_came_since_the_run_is_marked_and_counted(self, client, opened, user):
        seen = set(opened.history(user).item_ids)
        item = next(row.item_id for row in opened.popular(50) if row.item_id not in seen)
        told = {"user_id": user, "item_id": item, "rating": 5}
        answer = client.post(f"/v1/{NAME}/interactions", json={"interactions": [told]})
        assert answer.status_code == 202
        text = client.get(f"/c/{NAME}/users/{user}").text
        assert text.count("since the run</span>") == 1
        assert "1 interaction came since the last run" in text
        assert item not in recommended(text)

    def test_nobody_gets_what_is_popular(self, client, opened):
        text = client.get(f"/c/{NAME}/users/u_nobody").text
        assert "Nobody of this name is known" in text
        assert recommended(text) == [row.item_id for row in opened.popular(LENGTH)]

    def test_near_to_a_history_is_the_sum_of_similarities(self, opened, user):
        history = opened.history(user)
        rows = near_history(opened, history, 5)
        assert rows
        assert not {row.item_id for row in rows} & set(history.item_ids)
        liked = history.item_ids[history.positives]
        near = [(row.item_id, row.score) for item in liked for row in opened.similar(item, 50)]
        for row in rows:
            own = sum(score for item, score in near if item == row.item_id)
            assert row.score == pytest.approx(own)


class TestErrors:
    def test_an_unknown_item_is_a_page_with_the_nearest(self, client, opened):
        title = opened.popular(1)[0].title
        answer = client.get(f"/c/{NAME}/items/{title.split()[-1]} zzz")
        assert answer.status_code == 404
        assert "There is no item of this id or title" in answer.text
        assert title in answer.text

    def test_an_unknown_catalog_is_a_page_and_a_problem_for_programs(self, client):
        answer = client.get("/c/nothing")
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
        assert f'href="/c/{NAME}"' in answer.text
        api = client.get("/v1/nothing/manifest")
        assert api.headers["content-type"] == "application/problem+json"

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/c/tiny/nowhere", 404),
            ("/c/tiny/find?q=" + "a" * 2000, 422),
            ("/c/tiny/try?" + "item=1&" * 200, 422),
        ],
    )
    def test_whatever_is_wrong_is_a_page(self, client, path, status):
        answer = client.get(path)
        assert answer.status_code == status
        assert "This did not work" in answer.text

    def test_ids_may_hold_anything(self, client):
        for user in ("a/b", "a b?c=d&e#f", "ключ", "100%", "a\\b"):
            text = client.get(rendering.url(NAME, "users", user)).text
            assert f'<h1 dir="auto">{escape(user)}</h1>' in text

    def test_a_bug_is_a_page_without_a_trace(self, client, monkeypatch):
        monkeypatch.setattr("recsys_dagster.serving.page.item_map.map_page", lambda _: 1 / 0)
        answer = client.get(f"/c/{NAME}/map")
        assert answer.status_code == 500
        assert "the server&#39;s log says what" in answer.text
        assert "ZeroDivision" not in answer.text


class TestTrying:
    def test_chosen_items_make_the_list_of_the_api(self, client, opened):
        chosen = [row.item_id for row in opened.popular(2)]
        text = client.get(f"/c/{NAME}/try", params={"item": chosen}).text
        body = {"items": chosen, "n": 10}
        api = client.post(f"/v1/{NAME}/recommendations", json=body).json()
        assert recommended(text) == [row["item_id"] for row in api["recommendations"]]
        assert "because you liked" in text

    def test_nothing_chosen_is_popular_and_unknown_items_are_passed_over(self, client, opened):
        text = client.get(f"/c/{NAME}/try?item=nothing").text
        assert recommended(text) == [row.item_id for row in opened.popular(10)]
        assert "Begin again" not in text

    def test_words_are_encoded_where_the_encoder_can_be_asked(self, client, opened, monkeypatch):
        asked = []

        def of(manifest, text):
            asked.append(text)
            raise UserError("text: not today")

        about = client.app.state.catalogs[NAME].snapshot.manifest
        about["settings"]["encoder"]["model"] = "another"
        monkeypatch.setattr(client.app.state.vectors, "of", of)
        assert "not today" in client.get(f"/c/{NAME}/try?text=a quiet story").text
        item = opened.popular(1)[0].item_id
        text = client.get(f"/c/{NAME}/try?text=a quiet story&item={item}").text
        assert "these words have no say" in text
        assert asked == ["a quiet story"]

    def test_tfidf_takes_no_words(self, client):
        text = client.get(f"/c/{NAME}/try").text
        assert "<textarea" not in text
        assert "Words cannot be asked for here" in text


class TestQuality:
    def test_nothing_measured_is_a_sentence(self, client, own_shop):
        (own_shop.snapshots / NAME / EVALUATIONS).unlink(missing_ok=True)
        assert "Nothing was measured yet" in client.get(f"/c/{NAME}/quality").text
        assert quality([]) is None

    def test_strategies_are_in_order_and_the_past_is_a_line(self):
        def entry(day, value):
            figures = {"value": value, "low": value - 0.1, "high": value + 0.1, "users": 7}
            worse = figures | {"value": 0.1, "low": None, "high": None}
            return {
                "made_at": f"2026-01-0{day}T00:00:00Z",
                "run_id": "r",
                "split": "time",
                "champion": "hybrid",
                "strategies": {
                    "popular": {"ndcg@10": worse, "ndcg@20": worse},
                    "hybrid": {"ndcg@20": figures, "gini@20": worse},
                },
            }

        view = quality([entry(1, 0.3), entry(2, 0.4)])
        assert view is not None
        assert view.strategies == ["hybrid", "popular"]
        assert [metric.title for metric in view.metrics] == ["NDCG@20", "Recall@20"]
        assert view.metrics[1].figures == {"hybrid": None, "popular": None}
        assert [moment.figure.value for moment in view.trend] == [0.3, 0.4]
        assert view.trend_axis is not None
        assert view.trend_axis.high >= 0.5

    def test_axes_have_round_ticks_and_a_place_for_everything(self):
        for values in ([0.067, 0.08], [0.0], [1e-6], [12.0, -3.0], [1.0]):
            axis = Axis.over(values)
            assert axis.low <= 0
            assert all(0 <= axis.place(value) <= 100 for value in values)
            assert axis.place(axis.ticks[0]) == 0
            assert axis.place(axis.ticks[-1]) == 100
        assert (bar(0.5), bar(-1), bar(3), bar(1, 0)) == (50, 0, 100, 0)


class TestSigningIn:
    @pytest.fixture
    def guarded(self, own_shop, server):
        return server(own_shop, local=False)

    @pytest.fixture
    def key(self, own_shop):
        return Keys(own_shop.home / "keys.json").create(Scope.READ, "*")[1]

    def test_a_page_without_a_key_is_the_form(self, guarded):
        answer = guarded.get(f"/c/{NAME}/find?q=a")
        assert answer.status_code == 401
        fields = {own.get("name"): own for tag, own in elements(answer.text) if tag == "input"}
        assert fields["next"]["value"] == f"/c/{NAME}/find?q=a"
        assert NAME not in re.sub(r'value="[^"]*"', "", answer.text)

    def test_in_and_out(self, guarded, key):
        form = {"key": key, "next": f"/c/{NAME}/map"}
        answer = guarded.post("/login", data=form, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/c/{NAME}/map")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "secure" not in cookie
        assert guarded.get(f"/c/{NAME}").status_code == 200
        assert "Sign out" in guarded.get(f"/c/{NAME}").text
        guarded.post("/logout")
        assert guarded.get(f"/c/{NAME}").status_code == 401

    def test_over_https_the_cookie_is_secure(self, guarded, key):
        answer = guarded.post("https://localhost/login", data={"key": key}, follow_redirects=False)
        assert "secure" in answer.headers["set-cookie"].lower()

    @pytest.mark.parametrize("presented", ["", "rk_1_wrong", "ключ"])
    def test_a_wrong_key_is_said_to_be_wrong(self, guarded, key, presented):
        answer = guarded.post("/login", data={"key": presented, "next": f"/c/{NAME}"})
        assert answer.status_code == 403
        assert "none of the server&#39;s keys" in answer.text
        assert "set-cookie" not in answer.headers

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://elsewhere.example"},
            {"Origin": "null"},
            {"Origin": "http://["},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ],
        ids=str,
    )
    def test_a_form_of_another_site_is_refused(self, guarded, key, headers):
        for path in ("/login", "/logout"):
            answer = guarded.post(path, data={"key": key}, headers=headers)
            assert answer.status_code == 403
            assert "set-cookie" not in answer.headers

    def test_our_own_form_is_taken(self, guarded, key):
        headers = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
        answer = guarded.post("/login", data={"key": key}, headers=headers, follow_redirects=False)
        assert answer.status_code == 303

    @pytest.mark.parametrize(
        "towards", ["//elsewhere.example", "https://elsewhere.example", "/\\elsewhere", "x", "/\n/"]
    )
    def test_nobody_is_sent_elsewhere(self, guarded, key, towards):
        form = {"key": key, "next": towards}
        answer = guarded.post("/login", data=form, follow_redirects=False)
        assert answer.headers["location"] == "/"

    def test_a_key_of_one_catalog_sees_no_other(self, own_shop, guarded):
        other = Keys(own_shop.home / "keys.json").create(Scope.READ, "other")[1]
        guarded.post("/login", data={"key": other})
        answer = guarded.get(f"/c/{NAME}")
        assert answer.status_code == 403
        assert "Sign in with another key" in answer.text
        assert NAME not in guarded.get("/").text

    def test_here_nobody_signs_in(self, client):
        assert client.get("/login", follow_redirects=False).status_code == 303


def test_how_lists_differ():
    def row(item, rank):
        return Row(item, item, 1.0, rank, "hybrid", [])

    change = compared([row("a", 1), row("b", 2), row("c", 3)], [row("c", 1), row("d", 2)])
    assert [(each.row.item_id, each.move, each.by) for each in change.rows] == [
        ("c", "up", 2),
        ("d", "new", 0),
    ]
    assert [row.item_id for row in change.left] == ["a", "b"]
    assert change.came == 1
