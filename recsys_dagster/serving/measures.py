"""What the server counts, as Prometheus reads it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)


class Measures:
    """Counters of one server; no ids of users or items are in them."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "recsys_requests", "answered", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "recsys_request_seconds",
            "until answered",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._swaps = Counter(
            "recsys_snapshots_opened", "snapshots opened", ["catalog"], registry=registry
        )
        self._interactions = Counter(
            "recsys_interactions", "interactions on the disk", ["catalog"], registry=registry
        )
        self._snapshot_time = Gauge(
            "recsys_snapshot_made_timestamp_seconds",
            "when the served snapshot was made",
            ["catalog"],
            registry=registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request by its route, not by its path, which has ids in it."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def opened(self, catalog: str, made_at: float) -> None:
        """Count a snapshot.

        Args:
            catalog: whose.
            made_at: seconds since 1970.
        """
        self._swaps.labels(catalog).inc()
        self._snapshot_time.labels(catalog).set(made_at)

    def interactions(self, catalog: str, count: int) -> None:
        """Count interactions that are on the disk."""
        self._interactions.labels(catalog).inc(count)

    def text(self) -> bytes:
        """All of it in the text format of Prometheus."""
        return generate_latest(self._registry)
