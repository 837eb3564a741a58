"""The command line does the main job on a real photo, and says in one line what is wrong."""

from pathlib import Path

import pytest
from PIL import Image

import deepinside_edu as di
from deepinside_edu.cli import main


def test_a_photo_gives_top_five_boxes_times_and_a_picture_of_every_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = di.photo("red_panda")
    assert main([str(photo.path), "--crops", "1", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    best = di.localise(di.load_classifier(), photo, crops=1)
    assert best.prediction.label == "lesser panda"
    row = next(line for line in said.splitlines() if "lesser panda" in line)
    assert f"{best.prediction.score:.2f}" in row
    assert str(best.box) in row
    assert len([line for line in said.splitlines() if line.endswith(")") and line.startswith("  ")]) >= 5
    assert said.count(" s") >= 4, "times"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    stages = {"1_photo", "2_map", "3_seeds", "4_cut", "5_object"}
    assert {f"1_lesser_panda_{stage}.png" for stage in stages} | {"1_lesser_panda.png"} <= names
    assert len(names) == 5 * 6
    with Image.open(tmp_path / "out" / "1_lesser_panda_5_object.png") as picture:
        assert picture.size == photo.image.size


def test_one_class_can_be_asked_for_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(di.photo("lemurs").path)
    assert main([path, "--class", "madagascar", "--crops", "1", "--hard-seeds", "--out", str(tmp_path)]) == 0
    assert "6 pictures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.jpg"], "nowhere.jpg"),
        ([__file__], "not a picture"),
        ([str(di.photo("pig").path), "--class", "pandda"], "giant panda"),
        ([str(di.photo("pig").path), "--network", "resnet999"], "squeezenet1_1"),
    ],
)
def test_what_is_wrong_is_one_line_and_no_traceback(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_lab_takes_a_folder_and_hands_the_rest_on(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr("deepinside_edu.lab.open_lab", lambda folder, rest: calls.append((folder, rest)) or 0)
    assert main(["lab", "mine", "--no-browser"]) == 0
    assert main(["lab", "--no-browser"]) == 0
    assert main(["lab"]) == 0
    assert calls == [(Path("mine"), ["--no-browser"]), (None, ["--no-browser"]), (None, [])]


def test_a_class_without_an_object_costs_no_other_class_and_not_the_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (300, 200), (90, 120, 60)).save(tmp_path / "flat.png")
    assert main([str(tmp_path / "flat.png"), "--crops", "1", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert said.count("none: ") == 5
    assert "every pixel was called background" in said
    assert "0 pictures" in said


def test_pictures_of_two_photos_of_one_name_never_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main([str(di.photo("pig").path), "--class", "hog", "--crops", "1"]) == 0
    folders = sorted(path.name for path in (tmp_path / "localised").iterdir())
    assert folders == ["pig", "pig_2"]
