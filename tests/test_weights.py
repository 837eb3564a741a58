"""Trained networks come from the package or from torchvision, with their labels, or an error says why they cannot."""

import errno
import hashlib
import http.client
import io
import os
import pickle
import re
import urllib.error
from pathlib import Path

import pytest
import torch

import deepinside_edu
from deepinside_edu import load_classifier, photo, weights
from deepinside_edu.cli import main
from deepinside_edu.torchvision_import import import_torchvision
from deepinside_edu.weights import imagenet_labels, imagenet_wordnet_ids


def test_the_default_comes_from_the_package(classifier):
    assert repr(classifier) == "Classifier(SqueezeNet, 1000 classes, 224×224 RGB, cpu)"
    assert len(classifier.labels) == len(classifier.wordnet_ids) == len(set(classifier.wordnet_ids)) == 1000
    assert classifier.labels == imagenet_labels()
    assert classifier.wordnet_ids == imagenet_wordnet_ids()
    assert all(re.fullmatch(r"n\d{8}", each) for each in classifier.wordnet_ids)
    assert not any(p.requires_grad for p in classifier.network.parameters())
    assert not any(m.training for m in classifier.network.modules())
    assert (classifier.size, classifier.dtype, classifier.device.type) == ((224, 224), torch.float32, "cpu")


@pytest.mark.slow
def test_it_knows_most_of_the_shipped_photos(classifier):
    from deepinside_edu import photos

    top_5 = {each: [p.class_index for p in classifier.top(each.image)] for each in photos()}
    right = [classifier.find(each.wordnet_id) in guesses for each, guesses in top_5.items()]
    assert sum(right) >= len(right) - 1
    assert classifier.top(photo("panda").image, 1)[0].label == "giant panda"


@pytest.fixture
def no_download(monkeypatch):
    """Every request for weights over the network fails at once."""
    torchvision = import_torchvision()

    def fail(*arguments, **options):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", fail)


def test_the_default_needs_no_network(no_download):
    assert load_classifier(device="cpu").find("giant panda") == 388


def test_without_a_network_the_error_names_the_offline_default(no_download):
    with pytest.raises(ConnectionError, match=r"weights of 'resnet18'.*no route.*load_classifier\('squeezenet1_1'\)"):
        load_classifier("resnet18", device="cpu")


def test_a_download_that_is_damaged_is_refused(monkeypatch):
    def damaged(*arguments, check_hash=False, **options):
        assert check_hash
        raise RuntimeError('invalid hash value (expected "f37072fd", got "00000000")')

    monkeypatch.setattr(import_torchvision().models._api, "load_state_dict_from_url", damaged)
    with pytest.raises(ConnectionError, match="invalid hash value"):
        load_classifier("resnet18", device="cpu")


@pytest.mark.parametrize(("name", "near"), [
    ("resnet", "Near: resnet"), ("squeezenet", "Near: squeezenet1_"), ("ResNet18", "Near: .*resnet18"),
    ("zzz", "There are alexnet, "), ("fasterrcnn_resnet50_fpn", "Near|There are"), ("", "There are alexnet"),
])  # fmt: skip
def test_an_unknown_network_lists_near_ones(name, near):
    with pytest.raises(ValueError, match=f"no torchvision classifier is called '{name}'.*{near}.*'squeezenet1_1'"):
        load_classifier(name, device="cpu")


@pytest.mark.parametrize(("given", "said"), [
    (torch.nn.Linear(2, 2), r"got a network \(Linear\)\. Wrap it: Classifier\(network, labels\)"),
    (torch.nn.Sequential(torch.nn.ReLU()), r"got a network \(Sequential\)\. Wrap it"),
    (torch.nn.Linear, "got the function or class Linear. Pass its name"), (3, "got int. Pass it as text"),
    (None, "got NoneType. .*leave it out"), (torch.device("cpu"), r"got device\. .*load_classifier\(device=…\)"),
])  # fmt: skip
def test_what_is_no_name_is_told_what_to_do(given, said):
    with pytest.raises(TypeError, match=f"^expected a name such as 'resnet18', {said}"):
        load_classifier(given, device="cpu")


def test_a_classifier_is_loaded_already(classifier):
    with pytest.raises(TypeError, match=r"got Classifier\. It is loaded already"):
        load_classifier(classifier)


def with_random_weights(monkeypatch, name):
    """torchvision's loader, with weights of our own where it would download them."""
    models = import_torchvision().models
    torch.manual_seed(0)
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    state = models.get_model(name, weights=None, **extra).state_dict()
    monkeypatch.setattr(models._api.WeightsEnum, "get_state_dict", lambda *_, **__: state)
    return models, state


def test_any_torchvision_classifier_loads(monkeypatch):
    models, state = with_random_weights(monkeypatch, "shufflenet_v2_x0_5")
    loaded = load_classifier("shufflenet_v2_x0_5", device="cpu")
    assert loaded.labels[388] == "giant panda"
    assert loaded.wordnet_ids[388] == "n02510455"
    assert loaded.size == (224, 224)
    assert not any(p.requires_grad for p in loaded.network.parameters())

    theirs = models.get_model("shufflenet_v2_x0_5", weights=None).eval()
    theirs.load_state_dict(state)
    x = loaded.prepare(photo("panda").image)
    with torch.no_grad():
        assert (loaded.scores(x) - theirs(x)).abs().max() <= 1e-5 * theirs(x).abs().max()


def test_what_belongs_to_the_weights_is_set_with_them(monkeypatch):
    """GoogLeNet's weights need the input in another range; torchvision sets it when they are loaded."""
    with_random_weights(monkeypatch, "googlenet")
    assert load_classifier("googlenet", device="cpu").network.transform_input


# --- no file is trusted ----------------------------------------------------------------------------------------------

NAME = "shufflenet_v2_x0_5"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty folder of fetched weights; every download fails."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("it was fetched"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def published():
    return import_torchvision().models.get_model_weights(NAME).DEFAULT


def saved(state, **options):
    stream = io.BytesIO()
    torch.save(state, stream, **options)
    return stream.getvalue()


def random_state(classes=1000):
    torch.manual_seed(0)
    return import_torchvision().models.get_model(NAME, weights=None, num_classes=classes).state_dict()


def plant(cache, content, monkeypatch=None):
    """Put bytes where the fetched weights lie; with `monkeypatch` under a name whose digits are theirs."""
    if monkeypatch:
        digits = hashlib.sha256(content).hexdigest()[:8]
        monkeypatch.setattr(published().value, "url", f"https://example.org/models/shufflenet-{digits}.pth")
    path = cache / published().url.rpartition("/")[2]
    path.write_bytes(content)
    return path


class Bomb:
    """What runs a command when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_weights_that_are_what_their_name_says_are_used(cache, monkeypatch):
    state = random_state()
    plant(cache, saved(state), monkeypatch)
    before = dict(published().__dict__)
    loaded = load_classifier(NAME, device="cpu").network.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    assert published().__dict__ == before, "torchvision's own list is as it was"


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("fits", [True, False])
def test_a_pickle_that_would_run_something_does_not(cache, monkeypatch, tmp_path, zipped, fits):
    mark = tmp_path / "it ran"
    file = saved(random_state() | {"bomb": Bomb(mark)}, _use_new_zipfile_serialization=zipped)
    path = plant(cache, file, monkeypatch if fits else None)
    with pytest.raises(ValueError, match=rf"weights of '{NAME}' in '{re.escape(str(path))}'.*Delete this file"):
        load_classifier(NAME, device="cpu")
    assert not mark.exists()
    torch.load(io.BytesIO(file), weights_only=False)
    assert mark.exists(), "it would have run"


def test_other_weights_under_this_name_are_refused_and_fetched_anew_once_they_are_gone(cache, monkeypatch):
    state = random_state()
    path = plant(cache, saved(state), monkeypatch)
    right = path.read_bytes()
    path.write_bytes(saved({name: values + 1 for name, values in state.items()}))
    with pytest.raises(ValueError, match=r"their SHA-256 begins with [0-9a-f]{8}, expected [0-9a-f]{8}\. Delete"):
        load_classifier(NAME, device="cpu")
    path.unlink()  # as the error says
    fetched = []

    def fetch(url, target, hash_prefix, progress):
        fetched.append((url, hash_prefix))
        Path(target).write_bytes(right)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    loaded = load_classifier(NAME, device="cpu").network.state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    assert fetched == [(published().url, hashlib.sha256(right).hexdigest()[:8])]


DAMAGES = {
    "empty": lambda file: b"",
    "a log-in page": lambda file: b"<!doctype html><title>Log in to the network</title>",
    "zeros": lambda file: bytes(len(file)),
    "cut off": lambda file: file[: len(file) // 2],
    "one byte short": lambda file: file[:-1],
    "one bit changed": lambda file: file[:5000] + bytes([file[5000] ^ 1]) + file[5001:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_name_the_file_to_delete(cache, damage):
    path = plant(cache, DAMAGES[damage](saved(random_state())))
    with pytest.raises(ValueError, match=rf"'{re.escape(str(path))}' are damaged.*Delete this file.*'squeezenet1_1'"):
        load_classifier(NAME, device="cpu")


@pytest.mark.parametrize("content", [
    b"", b"<!doctype html>", bytes(100), pickle.dumps([1, 2], protocol=2),
    *[lambda wrong=wrong: saved(wrong()) for wrong in (
        lambda: [1, 2], lambda: {}, lambda: 3, lambda: random_state(7), lambda: {"conv1.0.weight": "text"},
    )],
], ids=["empty", "page", "zeros", "pickle", "list", "no weights", "number", "7 classes", "text"])  # fmt: skip
def test_what_holds_no_weights_of_this_network_names_the_file_even_if_its_digits_fit(cache, monkeypatch, content):
    path = plant(cache, content() if callable(content) else content, monkeypatch)
    wanted = rf"'{re.escape(str(path))}' cannot be used \(.*\)\. Delete this file"
    with pytest.raises(ValueError, match=wanted) as caught:
        load_classifier(NAME, device="cpu")
    assert "weights_only" not in str(caught.value), "no advice to trust it"
    assert "\n" not in str(caught.value)


def test_a_folder_where_weights_should_be(cache):
    (cache / published().url.rpartition("/")[2]).mkdir()
    with pytest.raises(ValueError, match=r"are not a file\. Delete"):
        load_classifier(NAME, device="cpu")


@pytest.mark.parametrize(("error", "kind", "message"), [
    (urllib.error.URLError("no route to host"), ConnectionError, "no route to host.*Check the network"),
    (http.client.IncompleteRead(b"", 9), ConnectionError, "could not be fetched"),
    (TimeoutError("timed out"), ConnectionError, "timed out"),
    (RuntimeError('invalid hash value (expected "0", got "1")'), ConnectionError, "invalid hash value"),
    (PermissionError(errno.EACCES, "Permission denied"), OSError, r"cannot be stored .*Permission.*TORCH_HOME"),
    (OSError(errno.ENOSPC, "No space left on device"), OSError, r"cannot be stored .*No space left.*TORCH_HOME"),
])  # fmt: skip
def test_a_download_that_fails_says_on_which_side(cache, monkeypatch, error, kind, message):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(kind, match=message) as caught:
        load_classifier(NAME, device="cpu")
    assert type(caught.value) is kind


SHIPPED = Path(deepinside_edu.__file__).parent / "data" / "squeezenet1_1.safetensors"
SHIPPED_DAMAGES = DAMAGES | {
    "40 KB of zeros": lambda file: file[:2_000_000] + bytes(40_000) + file[2_040_000:],
    "one byte more": lambda file: file + b"\0",
    "missing": lambda file: None,
    "a pointer of Git LFS": lambda file: (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:ffda600e\nsize 4946880\n"
    ),
}


@pytest.mark.parametrize("damage", SHIPPED_DAMAGES)
def test_damage_to_the_shipped_weights_is_seen(damage, tmp_path, monkeypatch, capsys):
    damaged = SHIPPED_DAMAGES[damage](SHIPPED.read_bytes())
    path = tmp_path / "data" / SHIPPED.name
    path.parent.mkdir()
    if damaged is not None:
        path.write_bytes(damaged)
    monkeypatch.setattr(weights, "files", lambda _: tmp_path)
    remedy = "git lfs pull" if "LFS" in damage else "Install deepinside_edu again"
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}.*expected SHA-256 ffda600e….*{remedy}"):
        load_classifier(device="cpu")
    assert main([str(photo("pig").path), "--out", str(tmp_path / "out")]) == 2
    assert remedy in capsys.readouterr().err
    path.write_bytes(SHIPPED.read_bytes())
    assert load_classifier(device="cpu").find("giant panda") == 388


# --- devices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["toaster", "cpu:x", "cuda:99"])
def test_a_device_that_is_not_there(device):
    with pytest.raises(ValueError, match=f"no device '{device}'.*'cpu'"):
        load_classifier(device=device)


def test_a_device_without_values_is_refused():
    for device in ("meta", torch.device("meta")):
        with pytest.raises(ValueError, match=r"'meta' holds shapes and no values.*Pass 'cpu'"):
            load_classifier(device=device)
