"""The Taylor explorer by its traits and by what a browser sends, without a browser; its thread is held by a gate."""

import sys

import numpy as np
import pytest
import torch
import traitlets
from explorer_kit import PATIENCE, Held, Noted, alive, png
from PIL import Image
from small_networks import smooth_network
from still_pictures import opened, place
from torch import nn

import deepinside_edu as di
from deepinside_edu.classifier import Classifier
from deepinside_edu.explorers.taylor import AT_ONCE, PLACES, REACHES, TaylorExplorer

MODULE = sys.modules[TaylorExplorer.__module__]  # its name in the package is the function
ZERO = int(np.flatnonzero(PLACES == 0)[0])
BATCHES = [len(each) for each in np.split(PLACES[1:], range(AT_ONCE, len(PLACES) - 1, AT_ONCE))]  # the photo is known
"""How many places a batch after the first, smaller one has."""


@pytest.fixture
def smooth():
    """Float64 and differentiable everywhere, so that differences of scores are slopes to many digits."""
    return smooth_network()


class Walk(Noted, TaylorExplorer):
    def last(self, kind):
        content, buffers = super().last(kind)
        return content, [np.frombuffer(each, np.float64 if kind == "walk" else np.float32) for each in buffers]


@pytest.fixture
def walk(smooth):
    with alive(Walk(di.photo("panda"), smooth)) as explorer:
        yield explorer


def rms(d, classifier):
    std = torch.tensor(classifier.std, dtype=d.dtype)[:, None, None]
    return float((255 * std * d).square().mean().sqrt())


def cosine(one, two):
    return float((one * two).sum() / (one.norm() * two.norm()))


@pytest.mark.slow
def test_it_opens_in_one_line_on_the_shipped_network_and_says_the_truth(classifier):
    explorer = di.explore.taylor(classifier=classifier)
    assert isinstance(explorer, TaylorExplorer)
    assert repr(explorer) == "TaylorExplorer('red_panda', 'lesser panda', along 'gradient', s = 0)"
    result = explorer.result
    assert repr(result) == "TaylorResult(class 387, the line holds from -0.079 to 0.079 levels)"
    line = di.linearise(classifier, result.x, 387)
    assert cosine(result.direction, line.w) == pytest.approx(1, abs=1e-5)
    assert rms(result.direction, classifier) == pytest.approx(1, rel=1e-5)
    # ReLUs bend the score at once: even 1/512 of a level away its slope differs by 1 %.
    near = (result.scores[ZERO + 1] - result.scores[ZERO - 1]) / (2 * PLACES[ZERO + 1])
    assert near == pytest.approx(result.slope, rel=0.02)
    for i in (0, 30, ZERO, 70, 92):
        with torch.no_grad():
            score = float(classifier.scores(result.x + float(result.s[i]) * result.direction)[0, 387])
        assert result.scores[i] == pytest.approx(score, abs=1e-3)
        assert float(line(result.x + float(result.s[i]) * result.direction)) == pytest.approx(
            result.score + result.slope * result.s[i], abs=0.02
        )
    explorer.direction = "grey"
    assert explorer.result.holds == (-64, 64)
    explorer.close()


@pytest.mark.parametrize("direction", ["gradient", "noise", "grey", "another photo"])
def test_at_0_score_and_line_have_one_value_and_one_slope(walk, smooth, direction):
    walk.set_state({"direction": direction})
    result = walk.result
    assert rms(result.direction, smooth) == pytest.approx(1)
    assert np.array_equal(result.s, PLACES)
    assert result.scores[ZERO] == pytest.approx(result.score, abs=1e-12)
    with torch.no_grad():
        ends = smooth.scores(torch.cat([result.x - 1e-4 * result.direction, result.x + 1e-4 * result.direction]))
    c = result.class_index
    assert float(ends[1, c] - ends[0, c]) / 2e-4 == pytest.approx(result.slope, rel=1e-6)
    (scores,) = walk.last("walk")[1]
    assert (scores[ZERO + 1] - scores[ZERO - 1]) / (2 * PLACES[ZERO + 1]) == pytest.approx(result.slope, rel=1e-4)


def test_the_directions_are_what_they_are_called(walk, smooth):
    x = smooth.prepare(di.photo("panda"))
    w = di.linearise(smooth, x, walk.class_index).w
    away = {}
    for direction in MODULE.DIRECTIONS:
        walk.direction = direction
        away[direction] = walk.result.direction
    assert cosine(away["gradient"], w) == pytest.approx(1)
    assert cosine(away["grey"], -x) == pytest.approx(1)
    names = [each.name for each in di.photos()]
    after = smooth.prepare(di.photo(names[names.index("panda") + 1]))
    assert cosine(away["another photo"], after - x) == pytest.approx(1)
    assert abs(cosine(away["noise"], w)) < 0.3
    walk.direction = "gradient"
    walk.direction = "noise"
    assert torch.equal(walk.result.direction, away["noise"])  # the same noise again
    walk.photo = names[-1]
    walk.direction = "another photo"
    x, first = walk.result.x, smooth.prepare(di.photo(names[0]))
    assert cosine(walk.result.direction, first - x) == pytest.approx(1)


def test_photo_and_direction_are_sent_as_levels(walk, smooth):
    content, (levels,) = walk.last("photo")
    assert content["size"] == [8, 6]
    picture = np.asarray(smooth.picture(walk.result.x))
    assert np.array_equal(levels.round().astype(np.uint8).reshape(6, 8, 3), picture)
    content, (moves,) = walk.last("way")
    assert (content["direction"], np.sqrt((moves.astype(float) ** 2).mean())) == ("gradient", pytest.approx(1))
    walk.s = 16
    there = (levels + walk.s * moves).clip(0, 255).round().reshape(6, 8, 3)
    moved = np.asarray(smooth.picture(walk.result.x + 16 * walk.result.direction)).astype(float)
    assert np.abs(there - moved).max() <= 1
    assert np.abs(there - moved).mean() < 0.02


def test_scores_are_told_nearest_first_as_they_come(smooth):
    walk = Walk(di.photo("panda"), smooth)
    result = walk.result
    walks = [(content, np.frombuffer(buffers[0])) for content, buffers in walk.told if content["kind"] == "walk"]
    batches = [1, *BATCHES]
    assert len(walks) == len(batches)
    for k, (content, scores) in enumerate(walks, 1):
        there = np.isfinite(scores)
        assert there.sum() == sum(batches[:k])
        assert np.abs(PLACES[there]).max() <= np.abs(PLACES[~there]).min(initial=np.inf)
        assert np.array_equal(scores[there], result.scores[there])
        assert content["done"] == (k == len(walks))
        assert content["score"] == result.score
    assert walks[-1][0] == {
        "kind": "walk", "score": result.score, "slope": result.slope, "holds": result.holds, "done": True,
        "reach": MODULE._reach(result.holds), "label": smooth.labels[result.class_index], "direction": "gradient",
    }  # fmt: skip
    kinds = [content["kind"] for content, _ in walk.told]
    assert walks[0][0]["holds"] == (0, 0)  # the line is there at once, and nothing is said of how far
    assert kinds.index("photo") < kinds.index("walk") < kinds.index("way") == kinds.index("walk") + 1
    walk.close()


@pytest.mark.parametrize(
    ("wrong", "holds"),
    [
        ([0, 0, 0, 0, 0], (-2, 2)),
        ([0, 1, 0, 1, 0], (-2, 2)),  # 1 is not more than 1
        ([0, 1.1, 0, 0, 0], (0, 2)),  # a place farther away that is right again does not count
        ([2, 0, 0, 0, -2], (-1, 1)),
        ([2, -2, 0, 2, 0], (0, 0)),
    ],
)
def test_how_far_the_line_holds(wrong, holds):
    assert MODULE._holds(np.arange(-2.0, 3.0), np.array(wrong, float)) == holds


@pytest.mark.parametrize(
    ("holds", "reach"), [((0, 0), 0.01), ((-0.1, 0), 0.25), ((-1, 12), 64), ((-64, 64), 64), ((-2, 0.1), 4)]
)
def test_the_chart_begins_a_little_farther_than_the_line_holds(holds, reach):
    assert MODULE._reach(holds) == reach
    assert reach in REACHES


def test_places():
    assert (PLACES[0], PLACES[-1], PLACES[ZERO], PLACES[ZERO + 1]) == (-64, 64, 0, 2**-9)
    assert (np.diff(PLACES) > 0).all()
    for reach in REACHES:
        assert sum(0 < place <= reach for place in PLACES) >= 8
    assert {1, 4, 16, 64} <= set(PLACES)


def test_classes_are_chosen_found_and_follow_a_new_photo(walk, smooth):
    best = smooth.top(di.photo("panda"), 3)
    assert walk.class_index == best[0].class_index
    assert walk.last("classes")[0]["listed"] == [(each.class_index, each.score) for each in best]
    walk.set_state({"class_index": best[2].class_index})
    result = walk.result
    assert (result.class_index, result.score) == (best[2].class_index, pytest.approx(best[2].score))
    walk.ask("find", text="ape")
    assert (walk.class_index, walk.result.class_index) == (0, 0)
    walk.ask("find", text="dog")
    assert "no class is called 'dog'" in walk.message
    assert (walk.result.class_index, "The last setting stays." in walk.message) == (0, True)
    walk.ask("find", text="ape")
    assert (walk.wait(PATIENCE), walk.message) == (True, "")
    for photo in ("koala", "duck"):
        walk.photo = photo
        assert walk.result.class_index == walk.class_index == smooth.top(di.photo(photo), 1)[0].class_index
        assert torch.equal(walk.result.x, smooth.prepare(di.photo(photo)))


def test_s_is_the_nearest_place_and_asks_the_network_for_nothing(walk, monkeypatch):
    monkeypatch.setattr(Classifier, "scores", None)
    for wanted, found in ((15, 16), (-64, -64), (0.0001, 0), (PLACES[50], PLACES[50])):
        walk.set_state({"s": float(wanted)})
        assert (walk.s, walk.result.class_index, walk.message) == (found, walk.class_index, "")
    assert repr(walk).endswith(f"s = {PLACES[50]:.3g})")


@pytest.mark.parametrize(
    ("trait", "value", "words"),
    [
        ("s", 64.5, "64"),
        ("s", float("nan"), "got nan"),
        ("s", "far", "expected a number from"),
        ("direction", "up", "direction"),
        ("class_index", 3, "out of range"),
        ("photo", "pandas", "no photo is called"),
    ],
)
def test_a_wrong_setting_is_an_error_in_python_and_said_in_the_browser(walk, trait, value, words):
    before, result = getattr(walk, trait), walk.result
    with pytest.raises(traitlets.TraitError, match=words):
        setattr(walk, trait, value)
    walk.set_state({trait: value})
    assert words in walk.message
    assert "The last setting stays." in walk.message
    assert (getattr(walk, trait), walk.result) == (before, result)


@pytest.fixture
def held(monkeypatch, smooth):
    """Lets one batch after another through to the network, and notes how many places each has."""
    batches = Held(smooth.scores, noted=len)
    monkeypatch.setattr(Classifier, "scores", lambda _, batch: (batches if len(batch) > 1 else batches.function)(batch))
    yield batches
    batches.leave.release(1000)


def test_the_latest_direction_wins_and_a_step_does_not_disturb_the_walk(walk, held):
    walk.told.clear()
    walk.direction = "noise"
    held.wait()
    walk.s = 4
    held.leave.release()
    held.wait()  # the second batch of the same walk
    for direction in ("grey", "gradient", "grey"):
        walk.set_state({"direction": direction})
    held.leave.release(1000)
    result = walk.result
    assert held.wanted == [AT_ONCE, AT_ONCE, *BATCHES]
    assert cosine(result.direction, -result.x) == pytest.approx(1)
    assert [content["direction"] for content, _ in walk.told if content["kind"] == "way"] == ["noise", "grey"]
    assert not [content for content, _ in walk.told if content["kind"] in ("photo", "classes")]  # they are there


def test_close_ends_the_walk(smooth, held):
    explorer = Walk(di.photo("panda"), smooth)
    held.wait()
    explorer.close()
    held.leave.release()
    assert explorer.wait(PATIENCE)
    assert len(held.wanted) == 1


def test_an_upload_is_shown_and_never_stored(walk, smooth):
    assert "image/png" in walk._repr_mimebundle_()[0]
    walk.ask("upload", memoryview(b"a letter"))
    assert "not a picture" in walk.message
    assert (walk.photo, "The last photo stays." in walk.message) == ("panda", True)
    walk.ask("upload", png("teal"))
    assert (walk.photo, walk.wait(PATIENCE), walk.message) == ("your photo", True, "")
    assert torch.equal(walk.result.x, smooth.prepare(Image.new("RGB", (40, 30), "teal")))
    assert "image/png" not in walk._repr_mimebundle_()[0]
    walk.direction = "another photo"
    assert walk.result.scores.shape == PLACES.shape
    x = torch.ones(1, 3, 6, 8, dtype=torch.float64)
    walk.show(x)
    assert torch.equal(walk.result.x, x)


def test_where_w_is_0_the_line_is_level_and_that_is_said():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2), nn.ReLU()).eval()
    with torch.no_grad():
        network[1].weight.fill_(1)
        network[1].bias[:] = torch.tensor([-1e3, 1e3])
    explorer = Walk(np.full((2, 2, 3), 9, np.uint8), Classifier(network, ("off", "on"), (), (2, 2)))
    assert (explorer.class_index, explorer.result.slope > 0, explorer.message) == (1, True, "")
    explorer.class_index = 0
    result = explorer.result
    assert (result.slope, float(result.direction.abs().max()), list({*result.scores})) == (0, 0, [0])
    assert (result.holds, "w is 0 in every pixel" in explorer.message) == ((-64, 64), True)
    explorer.still()
    explorer.close()


def test_a_grey_network():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval()
    grey = Walk(np.full((8, 8), 60, np.uint8), Classifier(network, ("a", "b"), (), (8, 8), (0.5,), (0.5,)))
    for grey.direction in MODULE.DIRECTIONS:
        assert grey.result.holds == (-64, 64)  # a linear network is its own line
    _, (levels,) = grey.last("photo")
    assert (levels.shape, levels.round().min(), levels.round().max()) == ((192,), 60, 60)
    grey.close()


def test_a_network_that_fails_on_the_way_is_said_and_the_last_result_stays(walk, monkeypatch):
    before = walk.result
    scores = walk.classifier.scores

    def fails(self, batch):
        if len(batch) > 1:
            raise RuntimeError("out of memory")
        return scores(batch)

    monkeypatch.setattr(Classifier, "scores", fails)
    walk.photo = "duck"
    assert walk.result is before
    assert "RuntimeError: out of memory. The last result stays." in walk.message
    walk.still()
    monkeypatch.undo()
    walk.photo = "koala"
    assert (walk.result is before, walk.message) == (False, "")


def test_what_cannot_be_shown_at_all_is_an_error_of_the_call(smooth):
    with pytest.raises(TypeError, match="expected a Classifier"):
        di.explore.taylor(classifier=smooth.network)
    with pytest.raises(ValueError, match="not a picture"):
        di.explore.taylor(b"a letter", smooth)


def test_nothing_of_the_network_and_of_the_photo_is_changed(smooth):
    x = smooth.prepare(di.photo("panda"))
    before = x.clone(), [p.clone() for p in smooth.network.parameters()]
    explorer = Walk(x, smooth)
    assert explorer.wait(PATIENCE)
    assert torch.equal(x, before[0])
    assert all(torch.equal(*each) for each in zip(smooth.network.parameters(), before[1], strict=True))
    assert all(p.grad is None and p.requires_grad for p in smooth.network.parameters())
    explorer.close()


def test_two_side_by_side_do_not_disturb_each_other(walk, smooth):
    before = walk.result
    other = Walk(di.photo("duck"), smooth)
    other.direction, other.class_index, other.s = "noise", 1, 4
    assert other.result.class_index == 1
    assert walk.result is before
    assert repr(walk) == f"TaylorExplorer('panda', {smooth.labels[walk.class_index]!r}, along 'gradient', s = 0)"
    other.close()


def test_a_page_that_is_opened_later_gets_everything(walk):
    walk.told.clear()
    walk.ask("hello")
    assert [content["kind"] for content, _ in walk.told] == ["classes", "state", "photo", "walk", "way"]


def test_the_still_picture_is_of_the_state_and_the_text_is_short(walk, smooth):
    data, _ = walk._repr_mimebundle_()
    assert data["text/plain"] == repr(walk)
    still = walk.still()
    assert opened(data["image/png"]).size == still.size
    assert place(still, smooth.picture(walk.result.x).resize((224, 224))) is not None
    chart = np.asarray(still)[:, 232:].reshape(-1, 3)
    for colour in ((0, 114, 178), (200, 90, 0)):
        assert (chart == colour).all(1).sum() > 100
    words = still.info["Description"]
    assert f"its slope is {walk.result.slope:.3g} per level" in words
    assert "s = 0 levels, along the gradient w" in words
    walk.s = 64
    assert place(walk.still(), smooth.picture(walk.result.x).resize((224, 224))) is None


def test_how_far_away_the_goal_of_a_walk_is(walk, smooth):
    """The mean colour or the next photo is reached at that many levels; along w and noise there is no goal."""
    std = np.asarray(smooth.std)[:, None, None]
    for direction, goal in (("grey", 0.0), ("another photo", None)):
        walk.direction = direction
        walk.wait(PATIENCE)
        x = walk.result.x[0].double().numpy()
        if goal is None:
            goal = smooth.prepare(MODULE._after(walk._source.image), x.shape[1:])[0].double().numpy()
        far = walk.last("way")[0]["far"]
        assert far == pytest.approx(np.sqrt(np.mean((255 * std * (goal - x)) ** 2)), rel=1e-4)
        np.testing.assert_allclose(x + far * walk.result.direction[0].double().numpy(), goal + 0 * x, atol=1e-4)
    for direction in ("gradient", "noise"):
        walk.direction = direction
        walk.wait(PATIENCE)
        assert walk.last("way")[0]["far"] is None
