"""The example manifests: what no schema asks for, and with `make test-kubernetes` the schemas."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys_dagster.catalog.files import read_catalog

FOLDER = Path(__file__).parent.parent / "docs" / "kubernetes"
FILES = sorted(FOLDER.glob("*.yaml"))
VALUES = FOLDER / "helm" / "dagster-values.yaml"
NOT_IN_KUBERNETES = {"RayCluster"}
VERSIONS = ("1.30", "1.34", "1.37")


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in FILES:
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            yield f"{file.name}/{document['kind']}/{document['metadata']['name']}", document


DOCUMENTS = dict(documents())


def pod_templates(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every template of pods in a document, wherever it lies."""
    if "containers" in document.get("spec", {}):
        return [document]
    found = []
    for value in document.values():
        for part in value if isinstance(value, list) else [value]:
            found += pod_templates(part) if isinstance(part, dict) else []
    return found


PODS = [
    pytest.param(template, id=f"{name}-{number}")
    for name, document in DOCUMENTS.items()
    for number, template in enumerate(pod_templates(document))
]
WORKLOADS = {name: own for name, own in DOCUMENTS.items() if pod_templates(own)}


def every(node: Any, key: str) -> Iterator[Any]:
    """What stands under a key, anywhere."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from every(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from every(value, key)


def test_there_are_manifests_to_look_at():
    assert len(PODS) == 5
    kinds = {own["kind"] for own in DOCUMENTS.values()}
    assert {"Deployment", "PersistentVolumeClaim", "RayCluster", "NetworkPolicy"} <= kinds


@pytest.mark.parametrize("template", PODS)
def test_pods_have_no_rights_that_they_do_not_need(template):
    spec = template["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 10001  # the Dockerfile's
    assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    for container in spec["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_pods_of_runs_have_no_more_than_those_of_the_chart():
    values = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
    own = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    assert own["podSpecConfig"]["securityContext"]["runAsUser"] == 10001
    for part in (values["dagsterWebserver"], values["dagsterDaemon"], own["containerConfig"]):
        assert part["securityContext"]["allowPrivilegeEscalation"] is False
        assert part["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("template", PODS)
def test_containers_ask_for_what_they_need(template):
    for container in template["spec"]["containers"]:
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert (
            container["resources"]["limits"]["memory"]
            == container["resources"]["requests"]["memory"]
            or container["name"] == "webserver"
        )


@pytest.mark.parametrize("name", [n for n, own in WORKLOADS.items() if own["kind"] == "Deployment"])
def test_what_runs_on_is_watched(name):
    (template,) = pod_templates(WORKLOADS[name])
    for container in template["spec"]["containers"]:
        assert "livenessProbe" in container
        assert "ports" not in container or "readinessProbe" in container


@pytest.mark.parametrize("file", [*FILES, VALUES], ids=lambda file: file.name)
def test_images_have_a_version(file):
    content = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    images = [
        f"{image['repository']}:{image['tag']}" if isinstance(image, dict) else image
        for image in every(content, "image")
    ]
    for image in images:
        _, _, tag = image.rpartition(":")
        assert tag not in ("", "latest")
        assert "/" not in tag


@pytest.mark.parametrize("file", [*FILES, VALUES], ids=lambda file: file.name)
def test_secrets_are_named_and_never_written(file):
    content = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    assert "Secret" not in [part["kind"] for part in content if "kind" in part]
    names = [own for key in ("env", "data") for own in every(content, key)]
    for entry in names:
        keys = entry if isinstance(entry, dict) else [own["name"] for own in entry]
        assert not [
            key for key in keys if any(word in key for word in ("SECRET", "PASSWORD", "KEY"))
        ]


def test_one_pod_writes_and_the_old_one_ends_first():
    spec = DOCUMENTS["pipeline.yaml/Deployment/recsys-pipeline"]["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_servers_have_no_volume_of_the_warehouse():
    (template,) = pod_templates(DOCUMENTS["serving.yaml/Deployment/recsys-serving"])
    assert not list(every(template, "persistentVolumeClaim"))


def test_what_is_referred_to_is_there():
    maps = {own["metadata"]["name"] for own in DOCUMENTS.values() if own["kind"] == "ConfigMap"}
    claims = {
        own["metadata"]["name"]
        for own in DOCUMENTS.values()
        if own["kind"] == "PersistentVolumeClaim"
    }
    values = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
    everything = [*DOCUMENTS.values(), values]
    assert {own["name"] for own in every(everything, "configMapRef")} <= maps
    assert {own["name"] for own in every(everything, "configMap")} <= maps
    assert {own["claimName"] for own in every(everything, "persistentVolumeClaim")} == claims
    ray = DOCUMENTS["raycluster.yaml/RayCluster/recsys-ray"]["metadata"]["name"]
    for file in (FOLDER / "pipeline.yaml", VALUES):
        assert f"ray://{ray}-head-svc:10001" in file.read_text(encoding="utf-8")


def test_the_catalog_in_them_is_whole(tmp_path):
    files = DOCUMENTS["base.yaml/ConfigMap/recsys-catalogs"]["data"]
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert read_catalog(tmp_path / name).name == Path(name).stem


@pytest.mark.kubernetes
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "name", [n for n, own in DOCUMENTS.items() if own["kind"] not in NOT_IN_KUBERNETES]
)
def test_they_are_as_the_schema_of_kubernetes_says(name, version):
    import kubernetes_validate

    kubernetes_validate.validate(DOCUMENTS[name], version, strict=True)


@pytest.mark.kubernetes
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("template", PODS)
def test_pods_of_other_kinds_are_as_it_says_too(template, version):
    import kubernetes_validate

    metadata = {"name": "pod"} | template.get("metadata", {})
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": template["spec"], "metadata": metadata}
    kubernetes_validate.validate(pod, version, strict=True)


@pytest.mark.kubernetes
def test_a_fault_would_be_found():
    import kubernetes_validate

    broken = DOCUMENTS["base.yaml/Namespace/recsys"] | {"specc": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)
