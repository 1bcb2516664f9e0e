"""What Compose's Grafana is given to start with leads to what is mounted and runs."""

import json
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.docker.test_compose import SERVICES, mounted

PROVISIONING = PurePosixPath("/etc/grafana/provisioning")


def provisioned(kind: str) -> dict[str, Any]:
    """The one file of this kind, where Grafana looks for it."""
    (path,) = [path for place, path in mounted("grafana").items() if PurePosixPath(place).parent == PROVISIONING / kind]
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert content["apiVersion"] == 1
    return content


def test_its_data_come_from_prometheus() -> None:
    (source,) = provisioned("datasources")["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    url = urlsplit(source["url"])
    assert any(published.endswith(f":{url.port}") for published in SERVICES[str(url.hostname)]["ports"])


def test_the_dashboard_is_in_the_folder_that_it_reads() -> None:
    (provider,) = provisioned("dashboards")["providers"]
    home = PurePosixPath(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert provider["type"] == "file"
    assert PurePosixPath(provider["options"]["path"]) == home.parent
    dashboard = json.loads(mounted("grafana")[str(home)].read_text(encoding="utf-8"))
    # Whose variable takes the data source of that type.
    (variable,) = [one for one in dashboard["templating"]["list"] if one["type"] == "datasource"]
    assert variable["query"] == "prometheus"
