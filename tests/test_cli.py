"""The command line localises a real photo, and says in one line what is wrong."""

import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from PIL import Image

import deepinside_edu as di
from deepinside_edu.cli import main


@pytest.mark.slow
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


@pytest.mark.slow
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
        (["https://example.org/cat.jpg"], "'https://example.org/cat.jpg' is a web address"),
        (["hens"], "di.photo('hens'). `deepinside lab` opens the lessons."),
        (["lba"], "no file 'lba' in"),
        ([str(Path(__file__).parent)], "is a folder"),
        ([""], "the path is empty"),
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


def test_a_folder_that_cannot_be_made_is_reported_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepinside_edu.saliency.saliency_maps", lambda *_: pytest.fail("the work was done"))
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "closed").mkdir()
    probe = tempfile.TemporaryFile

    def closed(dir: Path) -> object:
        if dir.name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied")
        return probe(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", closed)
    for folder in (tmp_path / "taken", tmp_path / "taken" / "below", tmp_path / "closed"):
        assert main([str(di.photo("pig").path), "--out", str(folder)]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"deepinside: no pictures can be kept in {folder} (")
        assert error.endswith("). Name another folder for them: --out FOLDER.\n")
    with pytest.raises(pytest.fail.Exception, match="the work was done"):
        main([str(di.photo("pig").path), "--out", str(tmp_path / "free")])


def test_a_network_without_torchvision_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert main([str(di.photo("pig").path), "--network", "resnet18", "--out", str(tmp_path)]) == 2
    assert "torchvision cannot be imported" in capsys.readouterr().err


def test_lab_takes_a_folder_and_passes_the_rest_on(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.slow
def test_pictures_of_two_photos_of_one_name_never_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main([str(di.photo("pig").path), "--class", "hog", "--crops", "1"]) == 0
    folders = sorted(path.name for path in (tmp_path / "localised").iterdir())
    assert folders == ["pig", "pig_2"]


HEADER = "image,wordnet_id,left,top,right,bottom"


def boxes(folder: Path, *lines: str, header: str = HEADER) -> str:
    path = folder / "boxes.csv"
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    return str(path)


@pytest.mark.slow
def test_evaluate_prints_the_errors_and_lists_what_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    panda = di.photo("panda")
    lines = [f"panda.jpg,{panda.wordnet_id},{','.join(map(str, box))}" for box in panda.boxes]
    lines += [f"unicorn{n:02}.jpg,n02510455,0,0,9,9" for n in range(25)]
    arguments = ["--csv", boxes(tmp_path, *lines), "--images", str(panda.path.parent), "--crops", "1", "--workers", "0"]
    arguments += ["--problems", "miss", "--out", str(tmp_path / "out")]
    assert main(["evaluate", *arguments]) == 0
    first = capsys.readouterr().out
    assert "localisation error, top-5   96.15%   1 of 26 images right" in first
    assert "26 images, 25 of them unusable and counted as misses; 0 left out" in first
    assert "\ncannot be used:\n  unicorn00.jpg: annotation without image: there is no file " in first
    assert "unicorn19.jpg" in first
    assert "unicorn20.jpg" not in first
    assert "and 5 more" in first
    assert len((tmp_path / "out" / "cannot_be_used.txt").read_text("utf-8").splitlines()) == 25
    results = di.localise_classes(di.load_classifier(), panda, crops=1)
    written = (tmp_path / "out" / "results-0-of-1.jsonl").read_text("utf-8")
    assert str([[each.prediction.class_index, list(each.box)] for each in results]) in written
    assert main(["evaluate", *arguments]) == 0  # the second time, nothing is computed for the panda
    assert capsys.readouterr().out == first
    assert (tmp_path / "out" / "results-0-of-1.jsonl").read_text("utf-8").count('"panda.jpg"') == 1
    boxes(tmp_path, lines[0])
    assert main(["evaluate", *arguments]) == 0
    assert "cannot be used" not in capsys.readouterr().out
    assert not (tmp_path / "out" / "cannot_be_used.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--csv", "nowhere.csv"], "there is no file nowhere.csv"),
        (["--ilsvrc", "nowhere", "nowhere"], "there is no folder nowhere"),
        (["--voc", "nowhere"], "there is no folder nowhere/JPEGImages"),
        (["--csv", "BOXES"], "1 of 1 images cannot be used: a.jpg (annotation without image: there is no file "),
        (["--csv", "BOXES", "--network", "resnet999"], "no torchvision classifier is called 'resnet999'"),
        (["--csv", "BOXES", "--classes", "nowhere.csv"], "there is no file nowhere.csv; expected lines such as"),
        (["--csv", "BOXES", "--split", "val"], "--split belongs to --voc"),
        (["--csv", "BOXES", "--leave-out", "list"], "--leave-out belongs to --ilsvrc"),
        (["--images", "nowhere"], "--images to --csv"),
        (["--voc", "nowhere", "--leave-out", "list"], "there is no list; correct the path"),
        (["--chunk", "-1"], "expected chunk of 0 or more, a whole number, got -1"),
        (["--device", "cuda:99"], "no device 'cuda:99' here"),
    ],
)
def test_evaluate_says_what_is_wrong_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = boxes(tmp_path, "a.jpg,n02510455,0,0,9,9")
    assert main(["evaluate", *[path if each == "BOXES" else each for each in arguments]]) == 2
    error = capsys.readouterr().err
    assert error.startswith("deepinside evaluate: ")
    assert said in error
    assert error.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["boxes.csv"]


def test_evaluate_reads_every_layout_and_what_to_leave_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from deepinside_edu import cli

    calls: list[object] = []
    for name in ("read_ilsvrc", "read_voc", "read_csv", "shipped_photos"):
        monkeypatch.setattr(f"deepinside_edu.evaluation.{name}", lambda *given, name=name: calls.append((name, *given)))
    listed = tmp_path / "list.txt"
    listed.write_text("3\n17\n")
    for given in (
        ["--ilsvrc", "val", "xml", "--leave-out", str(listed)], ["--voc", "VOC2012", "--split", "val"],
        ["--csv", "b.csv", "--images", "there"], [],
    ):  # fmt: skip
        cli._read_dataset(cli._make_evaluate_parser().parse_args(given))
    assert calls == [
        ("read_ilsvrc", Path("val"), Path("xml"), ("3", "17")), ("read_voc", Path("VOC2012"), "val", ()),
        ("read_csv", Path("b.csv"), Path("there")), ("shipped_photos",),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_evaluate_that_is_stopped_says_that_nothing_is_lost(tmp_path: Path, number: signal.Signals) -> None:
    # A program that runs the tests in the background may have its children ignore Ctrl-C.
    heard = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heard}; from deepinside_edu.cli import main; sys.exit(main())"
    command = [sys.executable, "-W", "error", "-c", code, "evaluate", "--crops", "1", "--workers", "0"]
    run = subprocess.Popen(
        [*command, "--chunk", "1", "--out", "out"], cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(di.__file__).parents[1])},
    )  # fmt: skip
    results = tmp_path / "out" / "results-0-of-1.jsonl"
    end = time.monotonic() + 60
    while not (results.exists() and results.read_bytes().count(b"\n") > 1):
        assert time.monotonic() < end
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    run.send_signal(number)
    _, complaint = run.communicate(timeout=60)
    assert run.returncode == 130
    last = complaint.splitlines()[-1]
    assert last.startswith("deepinside evaluate: stopped by a signal")
    assert "start the same command again, and it goes on" in last
    assert "Traceback" not in complaint
    assert results.read_bytes().endswith(b"\n")


def test_evaluate_shares_the_cores_between_network_and_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from deepinside_edu import cli

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    given: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert [cli._share_cores(True, n) for n in (None, 0, 3, 99)] == [1, 0, 3, 99]
    assert given == [7, 8, 5, 1]
    assert [cli._share_cores(False, n) for n in (None, 0, 3)] == [7, 0, 3]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    assert [cli._share_cores(True, None), cli._share_cores(False, None)] == [0, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    cli._share_cores(True, None)
    assert given == [7, 8, 5, 1, 1], "what the user sets is left alone"


def test_a_list_is_whole_or_it_is_the_one_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from deepinside_edu import cli

    path = tmp_path / "cannot_be_used.txt"
    odd = ["a\nb.jpg: two lines", "lat\udcfc.jpg: no letter", "käfer: fine"]
    cli._write_list(path, "cannot be used", odd)
    assert path.read_text("utf-8").splitlines() == ["a\\nb.jpg: two lines", "lat\\udcfc.jpg: no letter", "käfer: fine"]
    assert "lat\\udcfc.jpg" in capsys.readouterr().out
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot_be_used.txt cannot be written \(.+\). Everything was measured"):
            cli._write_list(path, "cannot be used", ["x" * 99])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text("utf-8").count("\n") == 3
    assert [each.name for each in tmp_path.iterdir()] == ["cannot_be_used.txt"]


def test_under_torchrun_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from deepinside_edu import cli, evaluation, weights

    asked: list[object] = []

    def load(network: str, device: object) -> object:
        asked.append(device)
        raise ValueError("enough")

    monkeypatch.setattr(weights, "load_classifier", load)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for rank in ("0", "3", None):
        monkeypatch.setenv("LOCAL_RANK", rank) if rank else monkeypatch.delenv("LOCAL_RANK")
        for given in ([], ["--device", "cuda"], ["--device", "cuda:0"], ["--device", "cpu"]):
            options = cli._make_evaluate_parser().parse_args(given)
            with pytest.raises(ValueError, match="enough"):
                cli._measure(options, evaluation.shipped_photos(), Path("out"), alone=True)
    assert asked[:4] == ["cuda:0", "cuda:0", "cuda:0", "cpu"]
    assert asked[4:8] == ["cuda:1", "cuda:1", "cuda:0", "cpu"]
    assert asked[8:] == [None, "cuda", "cuda:0", "cpu"]
