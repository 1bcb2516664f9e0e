import pytest

from service.api.catalog import find_model
from service.errors import UnknownModel
from tests.service.fakes import FakeBackend, model_info
from tests.service.gateway import Gateway, gateway
from tests.service.problems import problem_of

VERSION_2 = {
    "name": "fake",
    "version": "2",
    "label_set": "camvid11",
    "input_size": [32, 64],
    "long_side": 256,
    "licence": "Free for tests",
    "data": "Nothing: it looks at brightness",
    "scores": {"val_miou": 0.25},
    "sha256": f"{2:064x}",
    "engine": "eager",
}


async def test_models(backend: FakeBackend) -> None:
    backend.models = [*backend.models, model_info("other")]
    async with gateway(backend) as served:
        response = await served.client.get("/models")
    listed = response.json()
    assert [(model["name"], model["default"]) for model in listed] == [("fake", True), ("other", False)]
    assert [version["version"] for version in listed[0]["versions"]] == ["1", "2"]


@pytest.mark.parametrize("name", ["fake", "fake@1", "fake@2"])
async def test_one_model_with_all_its_versions(served: Gateway, name: str) -> None:
    model = (await served.client.get(f"/models/{name}")).json()
    assert model.keys() == {"name", "default", "versions"}
    assert [version["version"] for version in model["versions"]] == ["1", "2"]
    assert model["versions"][1] == VERSION_2


@pytest.mark.parametrize("name", ["other", "fake@7"])
async def test_no_such_model(served: Gateway, name: str) -> None:
    problem = problem_of(await served.client.get(f"/models/{name}"), 404, "unknown-model")
    assert "fake@1, fake@2" in problem["detail"]


async def test_label_sets(served: Gateway) -> None:
    listed = (await served.client.get("/labelsets")).json()
    assert [label_set["name"] for label_set in listed] == ["ade20k150", "camvid11", "cityscapes19", "pascal_voc21"]


async def test_one_label_set(served: Gateway) -> None:
    label_set = (await served.client.get("/labelsets/camvid11")).json()
    assert label_set["classes"][8] == {"id": 8, "name": "car", "color": [64, 0, 128], "dataset_id": 8}
    assert len(label_set["classes"]) == 11
    assert label_set["ignore_value"] == 255


async def test_no_such_label_set(served: Gateway) -> None:
    problem = problem_of(await served.client.get("/labelsets/camvid12"), 404, "unknown-label-set")
    assert "camvid11" in problem["detail"]


def test_a_name_alone_is_its_newest_version() -> None:
    served = [model_info(version=2), model_info(version=10), model_info(version=9), model_info("other", 99)]
    assert find_model("fake", served).version == 10
    assert find_model("fake@9", served).version == 9
    # Of the newest, no worker may be in service.
    assert find_model("fake", served, lambda id: id != "fake@10").version == 9
    assert find_model("fake@10", served, lambda id: id != "fake@10").version == 10
    with pytest.raises(UnknownModel, match="fake@10"):
        find_model("fake@1", served)
