from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cli.main import main
from cli.segment import MAX_PIXELS
from images import decode, decode_label_map, encode_overlay
from models import labelsets
from models.engine.loading import find, load_engine
from service.settings import Settings
from tests.photos import jpeg, oriented, png, street, truncated_jpeg


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "one.jpg").write_bytes(jpeg(street(120, 160, 1), quality=95))
    (folder / "two.png").write_bytes(png(street(90, 200, 2)))
    (folder / "cut.jpg").write_bytes(truncated_jpeg())
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "new" / "out"


def segment(checkpoint_dir: Path, *arguments: object) -> Result:
    runner = CliRunner(env={"SEGSERVE_MODEL": "tiny", "SEGSERVE_MODEL_DIR": str(checkpoint_dir)})
    return runner.invoke(main, ["segment", *map(str, arguments)])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_photo_becomes_a_label_map_and_an_overlay(photos: Path, out: Path, checkpoint_dir: Path) -> None:
    result = segment(checkpoint_dir, photos / "one.jpg", photos / "two.png", "-o", out)
    assert result.exit_code == 0, result.output
    assert names(out) == ["one.overlay.jpg", "one.png", "two.overlay.jpg", "two.png"]
    engine = load_engine(find("tiny", checkpoint_dir))
    palette = labelsets.load("camvid11").palette
    for name in ("one.jpg", "two.png"):
        photo = decode((photos / name).read_bytes(), max_pixels=MAX_PIXELS)
        [expected] = engine.run([photo])
        stem = name.partition(".")[0]
        assert np.array_equal(decode_label_map((out / f"{stem}.png").read_bytes()), expected.labels)
        with Image.open(out / f"{stem}.png") as image:
            assert image.mode == "P"
            assert bytes(image.getpalette() or [])[: 3 * 11] == palette[: 3 * 11]
        overlay = encode_overlay(photo, expected.labels, palette, alpha=0.5, media_type="image/jpeg")
        assert (out / f"{stem}.overlay.jpg").read_bytes() == overlay


def test_each_photo_is_summed_up_in_a_line(photos: Path, out: Path, checkpoint_dir: Path) -> None:
    result = segment(checkpoint_dir, photos / "one.jpg", "-o", out)
    labels = decode_label_map((out / "one.png").read_bytes())
    largest = labelsets.load("camvid11").classes[np.bincount(labels.ravel()).argmax()].name
    [line] = result.stdout.splitlines()
    assert line.startswith(f"{out / 'one.png'}: {largest} ")


def test_a_turned_photo_is_labelled_upright(tmp_path: Path, out: Path, checkpoint_dir: Path) -> None:
    (tmp_path / "turned.jpg").write_bytes(oriented(street(60, 100), 6, "JPEG"))
    assert segment(checkpoint_dir, tmp_path / "turned.jpg", "-o", out).exit_code == 0
    assert decode_label_map((out / "turned.png").read_bytes()).shape == (60, 100)


def test_alpha_zero_shows_the_photo_alone(photos: Path, out: Path, checkpoint_dir: Path) -> None:
    segment(checkpoint_dir, photos / "two.png", "-o", out, "--alpha", "0")
    with Image.open(out / "two.overlay.jpg") as overlay:
        assert np.abs(np.asarray(overlay).astype(int) - street(90, 200, 2)).mean() < 6


def test_long_side_reaches_the_engine(photos: Path, out: Path, checkpoint_dir: Path) -> None:
    segment(checkpoint_dir, photos / "two.png", "-o", out, "--long-side", "64")
    photo = decode((photos / "two.png").read_bytes(), max_pixels=MAX_PIXELS)
    [coarse] = load_engine(find("tiny", checkpoint_dir)).run([photo], long_side=64)
    assert np.array_equal(decode_label_map((out / "two.png").read_bytes()), coarse.labels)


def test_a_bad_photo_is_reported_and_the_rest_go_on(photos: Path, out: Path, checkpoint_dir: Path) -> None:
    (photos / "large.png").write_bytes(png(np.zeros((8, 8), np.uint8))[:16] + (10**5).to_bytes(4) * 2 + bytes(9))
    bad = [photos / "cut.jpg", photos / "absent.jpg", photos / "large.png"]
    result = segment(checkpoint_dir, *bad, photos / "one.jpg", photos, "-o", out)
    assert result.exit_code == 1
    assert names(out) == ["one.overlay.jpg", "one.png"]
    cut, absent, large, folder = result.stderr.splitlines()
    assert cut.startswith(f"{photos / 'cut.jpg'}: The JPEG is damaged")
    assert absent == f"{photos / 'absent.jpg'}: No such file or directory"
    assert large.startswith(f"{photos / 'large.png'}: The photo has 100000 x 100000")
    assert folder == f"{photos}: Is a directory"


def test_the_limit_is_the_services() -> None:
    assert Settings.model_fields["max_pixels"].default == MAX_PIXELS


def test_two_photos_of_one_name_are_refused_at_the_start(photos: Path, out: Path, checkpoint_dir: Path) -> None:
    (photos / "one.png").write_bytes((photos / "two.png").read_bytes())
    result = segment(checkpoint_dir, photos / "one.jpg", photos / "two.png", photos / "one.png", "-o", out)
    assert result.exit_code == 2
    assert "one.jpg and" in result.stderr
    assert "rename one, or use two folders" in result.stderr.replace("\n", " ")
    assert not out.exists()


def test_a_photo_is_not_overwritten(photos: Path, checkpoint_dir: Path) -> None:
    before = (photos / "two.png").read_bytes()
    result = segment(checkpoint_dir, photos / "one.jpg", photos / "two.png", "-o", photos)
    assert result.exit_code == 2
    assert "would be overwritten" in result.stderr
    assert (photos / "two.png").read_bytes() == before


def test_results_beside_the_photos_are_fine_where_nothing_collides(photos: Path, checkpoint_dir: Path) -> None:
    assert segment(checkpoint_dir, photos / "one.jpg", "-o", photos).exit_code == 0
    assert {"one.jpg", "one.png", "one.overlay.jpg"} <= set(names(photos))


def test_an_unknown_model_is_answered_with_those_at_hand(photos: Path, out: Path, checkpoint_dir: Path) -> None:
    result = segment(checkpoint_dir, photos / "one.jpg", "-o", out, "--model", "lane")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: there are no weights for model 'lane'; those at hand: ")
    assert "tiny@1" in result.stderr


def test_a_folder_that_cannot_be_made_is_an_error(photos: Path, checkpoint_dir: Path) -> None:
    result = segment(checkpoint_dir, photos / "one.jpg", "-o", photos / "two.png" / "out")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "two.png" in result.stderr


@pytest.mark.parametrize("arguments", [["--alpha", "1.5"], ["--long-side", "0"], ["--colour", "red"]])
def test_bad_options_are_usage_errors(arguments: list[str], photos: Path, out: Path, checkpoint_dir: Path) -> None:
    result = segment(checkpoint_dir, photos / "one.jpg", "-o", out, *arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.stderr
