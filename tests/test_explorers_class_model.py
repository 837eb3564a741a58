"""The class-model studio by its traits and by what a browser sends, without a browser; its thread is held by a gate."""

import io
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import traitlets
from explorer_kit import PATIENCE, Held, Noted, alive, png
from PIL import Image
from still_pictures import opened, place

import deepinside_edu as di
from deepinside_edu.class_model import PRESETS
from deepinside_edu.explorers.class_model import MOST_STEPS, ClassModelExplorer

SIDE = 24
MODULE = sys.modules[ClassModelExplorer.__module__]  # its name in the package is the function


class Colours(torch.nn.Module):
    """Scores that are linear in each channel's mean, but for a last one that a ReLU holds at zero."""

    def forward(self, x):
        red, green, blue = (50 * x.mean((2, 3))).unbind(1)
        return torch.stack([10 + red - 2 * green, 9 + 3 * blue, 8 + green, 7 + red, torch.relu(red - 1000)], 1)


@pytest.fixture
def tiny():
    labels = ("red thing", "blue thing", "green thing", "pale thing", "dead thing")
    return di.Classifier(Colours().eval(), labels, size=(SIDE, SIDE))


class Studio(Noted, ClassModelExplorer):
    pass


@pytest.fixture
def studio(tiny):
    with alive(Studio(classifier=tiny)) as explorer:
        explorer.length = 6
        yield explorer


class Gate(Held):
    """Lets the ascent through one step at a time; `most` steps were inside at once."""

    inside, most = 0, 0

    def __call__(self, *args, **options):
        for step in self.function(*args, **options):
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.stop()
            self.inside -= 1
            yield step


@pytest.fixture
def gate(monkeypatch):
    gate = Gate(di.class_model)
    monkeypatch.setattr(MODULE, "ascend", gate)
    yield gate
    gate.leave.release(1000)


def run_to_the_end(explorer):
    explorer.run()
    assert explorer.wait(PATIENCE)


def test_it_opens_in_one_line_on_the_paper_s_goose():
    explorer = di.explore.class_model()
    assert isinstance(explorer, ClassModelExplorer)
    assert explorer.classifier.labels[explorer.class_index] == "goose"
    assert (explorer.preset, explorer.objective, explorer.regularisation) == ("paper", "score", 0.03)
    assert (explorer.length, explorer.start, explorer.contrast) == (150, "zero", "plain")
    assert (explorer.state, explorer.result, explorer.steps) == ("ready", None, ())
    assert repr(explorer) == "ClassModelExplorer('goose', 'paper', step 0 of 150)"


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["paper", "readable"])
def test_it_climbs_as_the_step_function_does(preset):
    classifier = di.load_classifier()
    explorer = Studio(None, classifier, "kit fox")
    explorer.preset = preset
    explorer.length = 3
    run_to_the_end(explorer)
    assert explorer.state == "finished"
    expected = list(di.class_model(classifier, 278, preset, steps=3))
    assert [step.number for step in explorer.steps] == [1, 2, 3]
    assert all(torch.equal(a.image, b.image) for a, b in zip(explorer.steps, expected, strict=True))
    content, (_, picture) = next(message for message in reversed(explorer.told) if message[1])
    assert content["about"]["way"] == {"paper": "the paper's objective", "readable": "with later regularisers"}[preset]
    assert picture == expected[-1].picture.tobytes()


def test_every_step_s_scores_and_the_latest_picture_are_sent(studio):
    run_to_the_end(studio)
    told = [(content, buffers) for content, buffers in studio.told if buffers]
    values = [value for content, _ in told for value in content["values"]]
    assert values == [[step.score, step.probability, step.objective] for step in studio.steps]
    scores = np.concatenate([np.frombuffer(buffers[0], np.float32).reshape(-1, 5) for _, buffers in told])
    assert np.array_equal(scores, torch.stack([step.scores for step in studio.steps]).numpy())
    for content, (_, picture) in told:
        last = content["first"] + len(content["values"])
        assert picture == studio.steps[last - 1].picture.tobytes()
    assert told[-1][0]["first"] + len(told[-1][0]["values"]) == 6
    assert told[-1][0]["size"] == (SIDE, SIDE)
    last, _ = studio.told[-1]
    assert (last["state"], last["about"]["total"]) == ("finished", 6)
    assert last["rate"] > 0


def test_pause_step_run_and_reset(studio, gate):
    studio.ask("run")
    gate.wait()
    assert (studio.state, studio.wait(0)) == ("running", False)
    studio.ask("pause")
    gate.leave.release()
    assert studio.wait(PATIENCE)
    assert (studio.state, len(studio.steps)) == ("paused", 1)
    studio.ask("step")
    gate.leave.release()
    assert studio.wait(PATIENCE)
    assert (studio.state, len(studio.steps)) == ("paused", 2)
    gate.leave.release(4)
    studio.ask("run")
    assert studio.wait(PATIENCE)
    assert (studio.state, [step.number for step in studio.steps]) == ("finished", [1, 2, 3, 4, 5, 6])
    studio.ask("reset")
    assert (studio.state, studio.steps, studio.result) == ("ready", (), None)
    gate.leave.release(6)
    run_to_the_end(studio)
    assert len(studio.steps) == 6
    gate.leave.release(6)
    run_to_the_end(studio)  # from the start again
    assert len(studio.steps) == 6


def test_scrubbing_gives_the_step_that_is_looked_at(studio):
    run_to_the_end(studio)
    assert studio.result is studio.steps[-1]
    studio.set_state({"shown": 2})
    assert studio.result is studio.steps[1]
    assert repr(studio) == "ClassModelExplorer('red thing', 'paper', step 2 of 6)"
    studio.set_state({"shown": 99})  # of a longer run before
    assert studio.result is studio.steps[-1]
    studio.shown = 3
    studio.class_index = 2
    assert (studio.shown, studio.result) == (0, None)


@pytest.mark.parametrize(("trait", "value"), [("class_index", 1), ("preset", "readable"), ("start", "noise")])
def test_another_setting_drops_the_old_ascent_and_runs_anew(studio, gate, trait, value):
    studio.run()
    gate.wait()
    old = studio._run
    studio.set_state({trait: value})  # while a step is being computed
    assert studio._run.number > old.number
    studio.length = 3
    gate.leave.release(4)
    assert studio.wait(PATIENCE)
    assert [step.number for step in studio.steps] == [1, 2, 3]
    assert (old.steps, gate.most) == ([], 1)
    if trait == "class_index":
        assert {step.class_index for step in studio.steps} == {1}
        assert studio.told[-1][0]["about"]["label"] == "blue thing"


def test_another_setting_of_a_paused_ascent_waits_for_run(studio):
    run_to_the_end(studio)
    studio.objective = "probability"
    assert (studio.state, studio.regularisation) == ("ready", 0.001)
    assert studio.recipe.startswith("The paper's regulariser, with P_c instead of S_c: J(I) = P_c(I)")
    studio.preset = "readable"
    assert (studio.length, studio.regularisation) == (PRESETS["readable"].steps, PRESETS["readable"].penalty)
    assert "not in the paper: jitter ±32 pixels" in studio.recipe


@pytest.mark.parametrize("text", ["GREEN", "2", " green thing "])
def test_a_class_is_found_by_what_is_typed(studio, text):
    studio.ask("find", text=text)
    assert (studio.class_index, studio.message) == (2, "")


@pytest.mark.parametrize("content", [{"do": "find", "text": "red thing"}, {"do": "again"}])
def test_a_page_that_asks_for_what_is_so_already_gets_an_answer(studio, content):
    studio.told.clear()
    studio.ask(**content)
    assert [(told["kind"], told["message"]) for told, _ in studio.told[-1:]] == [("state", "")]


@pytest.mark.parametrize(("text", "words"), [("grean thing", "Near: 'green thing' (2)"), ("thing", "fits 5 classes")])
def test_an_unknown_class_is_said_and_the_last_state_stays(studio, text, words):
    run_to_the_end(studio)
    before = studio.result
    studio.ask("find", text=text)
    assert words in studio.message
    assert "The last class stays." in studio.told[-1][0]["message"]
    assert (studio.class_index, studio.result) == (0, before)
    studio.run()
    assert studio.message == ""
    assert studio.wait(PATIENCE)


@pytest.mark.parametrize(
    ("trait", "value", "words"),
    [
        ("class_index", 5, "out of range"),
        ("regularisation", -0.1, "expected λ from 0 to 1000000, got -0.1"),
        ("regularisation", None, "expected a number from 0 to 1000000 for λ, got nothing"),
        ("regularisation", float("nan"), "expected a number from 0 to 1000000 for λ, got nan"),
        ("regularisation", 1e308, "from 0 to 1000000"),
        ("regularisation", "0.1", "for λ, got '0.1'"),
        ("class_index", "hen", "no class is called"),
        ("class_index", 2.5, "class"),
        ("length", 2.5, "expected a whole number of at least 1 for the number of steps, got 2.5"),
        ("length", None, "for the number of steps, got nothing"),
        ("length", "6", "for the number of steps, got '6'"),
        ("shown", "last", "for the step to show, got 'last'"),
        ("objective", None, "for the objective, got nothing"),
        ("contrast", 1, "for the contrast, got 1"),
        ("start", 3, "no start is called 3"),
        ("start", None, "no start is called"),
        ("length", 0, "at least 1"),
        ("length", MOST_STEPS + 1, "write a loop"),
        ("start", "koalla", "no start is called"),
        ("preset", "best", "preset"),
    ],
)
def test_a_wrong_setting_is_an_error_in_python_and_said_in_the_browser(studio, trait, value, words):
    run_to_the_end(studio)
    before, result = getattr(studio, trait), studio.result
    with pytest.raises(traitlets.TraitError, match=words):
        setattr(studio, trait, value)
    studio.set_state({trait: value})
    assert words in studio.told[-1][0]["message"]
    assert "The last setting stays." in studio.message
    assert (getattr(studio, trait), studio.result) == (before, result)


def test_an_ascent_that_diverges_is_said_and_the_last_good_step_stays(studio, monkeypatch):
    huge = replace(PRESETS["paper"], step_rule="fixed", step_size=1e18, momentum=0.0, regularisation=1.0)
    monkeypatch.setitem(PRESETS, "paper", huge)
    studio.regularisation = 1.0
    run_to_the_end(studio)
    assert studio.state == "failed"
    assert "diverged" in studio.message
    assert "Lower step_size" in studio.message
    assert "The last good step stays." in studio.message
    assert studio.result is studio.steps[-1]
    assert studio.told[-1][0]["message"] == studio.message


def test_a_start_without_a_gradient_and_a_bug_in_the_network_are_said(studio, monkeypatch):
    studio.class_index = 4
    run_to_the_end(studio)
    assert (studio.state, studio.steps) == ("failed", ())
    assert "nor with noise of up to 1.28 added to it" in studio.message
    monkeypatch.setattr(studio.classifier.network, "forward", lambda x: x.nonsense)
    run_to_the_end(studio)
    assert studio.message.startswith("AttributeError: ")


class Faint(Colours):
    """The last class wakes where the first level is a little above the mean colour's, or below it."""

    def forward(self, x):
        return torch.cat([super().forward(x)[:, :4], torch.relu(100 * x[:, :1, 0, 0].abs() - 1)], 1)


def test_a_start_that_was_given_noise_is_said_at_the_picture_and_in_the_still(tiny):
    studio = Studio(None, di.Classifier(Faint().eval(), tiny.labels, size=(SIDE, SIDE)), "dead")
    studio.length = 2
    run_to_the_end(studio)
    noise = studio.steps[0].noise
    assert noise > 0
    words = f"The score has no gradient at the start, so noise of σ {noise:g} was added to the start."
    assert studio.told[-1][0]["begun"] == words
    assert words in studio.still().info["Description"]
    studio.class_index = 0
    run_to_the_end(studio)
    assert studio.told[-1][0]["begun"] == ""
    assert "noise" not in studio.still().info["Description"]
    studio.close()
    assert studio.wait(PATIENCE)


@pytest.mark.parametrize("preset", ["paper", "readable"])
def test_the_page_is_told_of_a_last_step_that_multiplies_the_picture(studio, preset):
    studio.preset = preset
    assert studio.told[-1][0]["about"]["contrast"] == PRESETS[preset].contrast


def test_close_stops_the_thread(tiny, gate):
    explorer = Studio(classifier=tiny)
    explorer.run()
    gate.wait()
    thread = explorer._thread
    explorer.close()
    gate.leave.release()
    assert explorer.wait(PATIENCE)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert len(explorer.steps) == 1


def test_two_side_by_side_do_not_disturb_each_other(studio, tiny, gate):
    other = Studio(classifier=tiny, class_index="blue")
    other.length = 4
    gate.leave.release(100)
    studio.run()
    other.run()
    assert studio.wait(PATIENCE)
    assert other.wait(PATIENCE)
    assert ({s.class_index for s in studio.steps}, len(studio.steps)) == ({0}, 6)
    assert ({s.class_index for s in other.steps}, len(other.steps)) == ({1}, 4)
    studio.reset()
    assert len(other.steps) == 4


def test_a_page_that_is_opened_later_gets_everything(studio, monkeypatch):
    run_to_the_end(studio)
    monkeypatch.setattr(MODULE, "_in_background", lambda work: work())
    studio.told.clear()
    studio.ask("hello")
    assert studio.told[0][0]["state"] == "finished"
    values = [value for content, buffers in studio.told if buffers for value in content["values"]]
    assert [value[0] for value in values] == [step.score for step in studio.steps]


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_the_film_is_saved_and_downloaded(studio, monkeypatch, tmp_path, kind):
    monkeypatch.setattr(MODULE, "_in_background", lambda work: work())
    studio.ask("film", type=kind)
    assert "Press Run first" in studio.told[-1][0]["message"]
    run_to_the_end(studio)
    studio.save(tmp_path / f"film.{kind}")
    with Image.open(tmp_path / f"film.{kind}") as film:
        assert film.n_frames > 1
    studio.contrast = "stretched"
    studio.ask("film", type=kind)
    content, (film,) = studio.told[-1]
    assert content == {"kind": "film", "name": f"red_thing.{kind}", "message": ""}
    assert Image.open(io.BytesIO(film)).size == (SIDE, SIDE)
    with pytest.raises(ValueError, match=r"\.gif or \.webp"):
        studio.save(tmp_path / "film.mp4")


def test_a_photo_to_begin_with(tiny):
    shipped = di.explore.class_model(di.photo("panda"), tiny)
    assert shipped.start == "panda"
    assert shipped.class_index == tiny.top(di.photo("panda"), 1)[0].class_index
    own = di.explore.class_model(Image.new("RGB", (40, 30), "blue"), tiny)
    assert (own.start, own.class_index) == ("your photo", 1)
    own.step()
    assert own.wait(PATIENCE)
    (step,) = di.class_model(tiny, 1, start=Image.new("RGB", (40, 30), "blue"), steps=1)
    assert torch.equal(own.result.image, step.image)


def test_a_photo_that_is_shown_is_what_the_climb_starts_from(studio, tiny):
    assert (studio.photo, studio.start) == ("", "zero")
    blue, red = (Image.new("RGB", (40, 30), colour) for colour in ("blue", "red"))
    for shown in (blue, red, tiny.prepare(blue)):
        studio.show(shown)
        assert (studio.photo, studio.start, studio.state) == ("your photo", "your photo", "ready")
        run_to_the_end(studio)
        first = next(iter(di.class_model(tiny, 0, start=shown, steps=6)))
        assert torch.equal(studio.steps[0].image, first.image)
    studio.photo = di.photo("koala")
    assert (studio.photo, studio.start, studio.steps) == ("koala", "koala", ())
    with pytest.raises(ValueError, match=r"no start is called 'koalla'\. The starts are zero, noise, .*koala"):
        studio.photo = "koalla"
    studio.start = "noise"
    assert studio.photo == ""


def test_an_upload_is_a_start_and_is_never_stored(studio):
    studio.ask("upload", memoryview(b"a letter"))
    assert "not a picture" in studio.message
    assert (studio.start, "your photo" in studio.photos) == ("zero", False)
    studio.ask("upload", png("green"))
    assert (studio.start, studio.state, studio.message) == ("your photo", "ready", "")
    data, _ = studio._repr_mimebundle_()
    assert "image/png" not in data


def test_the_still_picture_is_of_the_step_that_is_looked_at(studio):
    def still():
        data, _ = studio._repr_mimebundle_()
        assert data["text/plain"] == repr(studio)
        assert opened(data["image/png"]).size == studio.still().size
        return studio.still()

    mean = studio.classifier.picture(torch.zeros(1, 3, *studio.classifier.size))
    assert place(still(), mean) is not None
    assert "before the first step" in still().info["Description"]
    run_to_the_end(studio)
    studio.shown = 3
    assert place(still(), studio.steps[2].picture) is not None
    assert f"step 3 of {studio.length}: S_c {studio.steps[2].score:.3g}" in still().info["Description"]
    studio.contrast = "stretched"
    assert place(still(), di.figures.stretch_contrast(studio.steps[2].picture)) is not None


def test_what_cannot_be_shown_at_all_is_an_error_of_the_call(tiny):
    with pytest.raises(TypeError, match="expected a Classifier"):
        di.explore.class_model(classifier=tiny.network)
    with pytest.raises(ValueError, match="not a picture"):
        di.explore.class_model(b"a letter", tiny)
    with pytest.raises(ValueError, match="no class is called"):
        di.explore.class_model(None, tiny, "goose")
