"""Trained networks come from the package or from torchvision, with their labels, and say it if they cannot."""

import re
import urllib.error

import pytest
import torch

from deepinside_edu import load_classifier, photo
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


def test_it_knows_most_of_the_shipped_photos(classifier):
    from deepinside_edu import photos

    top_5 = {each: [p.class_index for p in classifier.top(each.image)] for each in photos()}
    right = [classifier.find(each.wordnet_id) in guesses for each, guesses in top_5.items()]
    assert sum(right) >= len(right) - 1
    assert classifier.top(photo("panda").image, 1)[0].label == "giant panda"


@pytest.fixture
def no_download(monkeypatch):
    """Whoever asks for weights over the network fails at once."""
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
    """GoogLeNet's weights want the input in another range; torchvision sets that where they are loaded."""
    with_random_weights(monkeypatch, "googlenet")
    assert load_classifier("googlenet", device="cpu").network.transform_input


@pytest.mark.parametrize("device", ["toaster", "cpu:x", "cuda:99"])
def test_a_device_that_is_not_there(device):
    with pytest.raises(ValueError, match=f"no device '{device}'.*'cpu'"):
        load_classifier(device=device)
