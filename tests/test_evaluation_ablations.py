"""Each row against the method run by itself with that option; intervals against enumeration; the bookkeeping."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from no_trace import no_trace
from PIL import Image
from scipy import ndimage
from tiny_evaluation import IDS, picture, tiny_classifier

import deepinside_edu as di
from deepinside_edu.colour_models import Costs
from deepinside_edu.evaluation import ablations as module
from deepinside_edu.evaluation.ablations import (
    ABLATIONS,
    DEFAULTS,
    FULL,
    AblationRuns,
    AblationTable,
    Interval,
    Steps,
    ablate,
    tabulate,
    try_ablations,
)
from deepinside_edu.evaluation.bootstrap import bootstrap_mean
from deepinside_edu.evaluation.composites import Composite
from deepinside_edu.images import Photo

OPTIONS = {name: each for name, each in ABLATIONS.items() if not callable(each)}


@pytest.fixture(scope="module")
def tiny() -> di.Classifier:
    return tiny_classifier()


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Photo, ...]:
    """Two pictures of 112×84, twice the network's grid, with a rectangle of a colour each."""
    folder = tmp_path_factory.mktemp("photos")
    made = []
    for seed in (0, 1):
        image, (colour, _), (box, _) = picture(seed)
        image.save(folder / f"{seed}.png")
        made.append(Photo(f"photo {seed}", folder / f"{seed}.png", IDS[colour], (box,)))
    return tuple(made)


def as_composite(photo: Photo, name: str = "", **changes: object) -> Composite:
    """The picture again with its rectangle as the true mask."""
    left, top, right, bottom = photo.boxes[0]
    mask = np.zeros(photo.image.size[::-1], bool)
    mask[top:bottom, left:right] = True
    parts = {"picture": photo.image, "mask": mask, "box": photo.boxes[0], **changes}
    return Composite(name or photo.name, "noise", wordnet_id=photo.wordnet_id, **parts)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def table(tiny: di.Classifier, examples: tuple[Photo, ...]) -> AblationTable:
    return ablate(tiny, examples, progress=False)


def iou_by_itself(classifier: di.Classifier, photo: Photo, **options: object) -> float:
    try:
        found = di.localise(classifier, photo, classifier.find(photo.wordnet_id), **options)  # type: ignore[arg-type]
    except ValueError:
        return 0.0
    return max(di.box_iou(found.box, box) for box in photo.boxes)


# Rows


@pytest.mark.parametrize("name", [FULL, *OPTIONS])
def test_a_row_of_options_is_the_method_with_those_options(
    name: str, table: AblationTable, tiny: di.Classifier, examples: tuple[Photo, ...]
) -> None:
    row = list(table.runs.changed).index(name)
    expected = [iou_by_itself(tiny, photo, **OPTIONS.get(name, {})) for photo in examples]
    assert table.runs.iou[row].tolist() == expected
    assert table[name].iou.mean == pytest.approx(np.mean(expected))


def test_the_options_differ_enough_for_that_to_mean_something(table: AblationTable) -> None:
    assert len({tuple(row) for row in table.runs.iou.tolist()}) >= 6


def test_the_full_method_is_what_ships_on_a_shipped_photo(classifier: di.Classifier) -> None:
    photo = di.photo("hens")  # several instances: the best of them counts
    found = try_ablations(classifier, [photo], {}, crops=1, progress=False)
    assert found.iou[0, 0] == iou_by_itself(classifier, photo, crops=1)
    assert len({di.box_iou(photo.boxes[0], box) for box in photo.boxes}) > 1


def test_boxes_that_need_no_method_have_the_overlap_worked_out_on_paper(
    table: AblationTable, examples: tuple[Photo, ...]
) -> None:
    rows = list(table.runs.changed)
    for column, photo in enumerate(examples):
        left, top, right, bottom = photo.boxes[0]
        whole = (right - left) * (bottom - top) / (112 * 84)
        assert table.runs.iou[rows.index("whole image"), column] == pytest.approx(whole)
        # Of 56×42 the box of half the area leaves 8.2 and 6.15 at each side: 8 and 6, that is 16 and 12 of 112×84.
        centre = di.box_iou((16, 12, 96, 72), photo.boxes[0])
        assert table.runs.iou[rows.index("centre box"), column] == pytest.approx(centre)


@pytest.fixture(scope="module")
def steps(tiny: di.Classifier, examples: tuple[Photo, ...]) -> Steps:
    photo = examples[0]
    c = tiny.find(photo.wordnet_id)
    return Steps(photo.image, {n: di.saliency_map(tiny, photo, c, n) for n in (1, 10)}, 10)


def found_by(name: str, steps: Steps) -> np.ndarray:
    ablation = ABLATIONS[name]
    assert callable(ablation)
    return ablation(steps)


def test_threshold_only_is_the_largest_part_of_the_blurred_map_above_its_quantile(steps: Steps) -> None:
    blurred = ndimage.gaussian_filter(steps.saliency().astype(float), DEFAULTS["blur"])
    above = di.largest_component(blurred > np.quantile(blurred, DEFAULTS["foreground"]))
    np.testing.assert_array_equal(found_by("threshold only", steps), above)


def test_smooth_threshold_is_the_largest_part_of_an_even_smoother_map(steps: Steps) -> None:
    blurred = ndimage.gaussian_filter(steps.saliency().astype(float), 6)
    above = di.largest_component(blurred > np.quantile(blurred, 0.75))
    np.testing.assert_array_equal(found_by("smooth threshold", steps), above)


@pytest.mark.parametrize(("name", "size"), [("threshold only", 6), ("smooth threshold", 30)])
def test_of_a_map_with_two_spots_a_threshold_takes_the_larger(name: str, size: int) -> None:
    m = np.random.default_rng(0).uniform(0, 0.01, (100, 100)).astype(np.float32)
    m[10 : 10 + size, 10 : 10 + size] = m[80 : 80 + size // 2, 80 : 80 + size // 2] = 1
    rows, columns = np.nonzero(found_by(name, Steps(Image.new("RGB", (100, 100)), {1: m}, 1)))
    assert max(rows.max(), columns.max()) < 70


def test_hard_seeds_bind_the_cut_and_soft_ones_do_not(steps: Steps) -> None:
    anywhere = np.random.default_rng(0).random(steps.saliency().shape, np.float32)  # seeds that no cut would part
    scattered = Steps(steps.picture, {1: anywhere}, 1)
    chosen = scattered.seeds()
    hard, soft = (scattered.cut(hard_seeds=bound) for bound in (True, False))
    assert hard[chosen.foreground].all()
    assert not hard[chosen.background].any()
    assert not soft[chosen.foreground].all()


def test_one_mixture_weighs_the_foreground_against_equally_likely_colours(steps: Steps) -> None:
    chosen = di.seeds(steps.saliency(), blur=DEFAULTS["blur"])
    fitted = di.colour_models(steps.picture, chosen).costs(steps.picture).foreground
    uniform = np.full_like(fitted, 3 * 8 * np.log(2))  # three channels of eight bits
    cut = di.graph_cut(steps.picture, Costs(fitted, uniform))
    np.testing.assert_array_equal(found_by("one mixture", steps), di.largest_component(cut.mask))


def test_without_the_largest_component_the_whole_cut_is_the_mask(steps: Steps) -> None:
    steps_of_two = found_by("no largest component", steps)
    chosen = di.seeds(steps.saliency(), blur=DEFAULTS["blur"])
    costs = di.colour_models(steps.picture, chosen).costs(steps.picture)
    np.testing.assert_array_equal(steps_of_two, di.graph_cut(steps.picture, costs).mask)


def test_in_a_picture_with_two_objects_the_largest_component_matters(tiny: di.Classifier) -> None:
    levels = np.full((42, 56, 3), 110, np.uint8)
    levels[4:24, 4:24] = levels[34:40, 44:54] = (235, 20, 25)
    image = Image.fromarray(levels + np.random.default_rng(0).integers(0, 9, levels.shape, dtype=np.uint8))
    mask = np.zeros((42, 56), bool)
    mask[4:24, 4:24] = True
    example = Composite("two", "plain", image, mask, (4, 4, 24, 24), IDS["red"])
    found = try_ablations(tiny, [example], {"all": ABLATIONS["no largest component"]}, progress=False)
    assert found.iou[0, 0] > 0.8
    assert found.iou[1, 0] == pytest.approx(20 * 20 / (50 * 36), abs=0.05)


# What is shared


@pytest.mark.slow
def test_each_map_seed_set_and_pair_of_mixtures_is_computed_once_an_image(
    monkeypatch: pytest.MonkeyPatch, tiny: di.Classifier, examples: tuple[Photo, ...]
) -> None:
    calls: dict[str, list] = {"saliency_map": [], "seeds": [], "colour_models": []}

    def counting(name: str) -> Callable:
        real = getattr(module, name)

        def wrapped(*arguments: object) -> object:
            calls[name].append(arguments[1:])
            return real(*arguments)

        return wrapped

    for name in calls:
        monkeypatch.setattr(module, name, counting(name))
    try_ablations(tiny, examples[:1], progress=False)
    seeded = {(10, 0.95, 0.3, 1.5), (1, 0.95, 0.3, 1.5), (10, 0.95, 0.3, 0.0)}
    seeded |= {(10, f, 0.3, 1.5) for f in (0.8, 0.9, 0.98)} | {(10, 0.95, b, 1.5) for b in (0.1, 0.5, 0.7)}
    assert [call[-1] for call in calls["saliency_map"]] == [1, 10]
    assert len(calls["seeds"]) == len(seeded)
    assert len(calls["colour_models"]) == len(seeded) + 4  # other numbers of components, on the same seeds


@pytest.mark.slow
def test_nothing_is_left_behind(tiny: di.Classifier, examples: tuple[Photo, ...]) -> None:
    made = as_composite(examples[0])
    with no_trace(tiny.network, made.picture, made.mask):
        try_ablations(tiny, [made], progress=False)


# Masks


def test_composites_have_the_overlap_of_masks_too(tiny: di.Classifier, examples: tuple[Photo, ...]) -> None:
    made = [as_composite(photo) for photo in examples]
    measured = ablate(tiny, made, {"whole": ABLATIONS["whole image"]}, crops=1, progress=False)
    for column, (each, photo) in enumerate(zip(made, examples, strict=True)):
        found = di.localise(tiny, photo, tiny.find(photo.wordnet_id), crops=1).mask
        stretched = found.repeat(2, 0).repeat(2, 1)  # from 56×42 to 112×84
        expected = (stretched & each.mask).sum() / (stretched | each.mask).sum()
        assert measured.runs.mask_iou[0, column] == pytest.approx(expected)
        assert measured.runs.mask_iou[1, column] == pytest.approx(each.mask.mean())
    row = measured["whole"]
    assert row.mask_iou is not None
    assert row.mask_difference is not None
    assert row.mask_difference.mean == pytest.approx(row.mask_iou.mean - measured[FULL].mask_iou.mean)  # type: ignore[union-attr]
    assert "mask IoU" in str(measured)


def test_where_an_image_has_no_true_mask_there_is_no_overlap_of_masks(
    tiny: di.Classifier, examples: tuple[Photo, ...], table: AblationTable
) -> None:
    mixed = ablate(tiny, [examples[0], as_composite(examples[1])], {}, crops=1, progress=False)
    assert mixed[FULL].mask_iou is None
    assert table[FULL].mask_difference is None
    assert "mask IoU" not in str(table)


# What cannot be found, and what cannot be asked


def nothing(_: Steps) -> np.ndarray:
    raise ValueError("no object")


def test_an_object_that_is_not_found_counts_as_no_overlap(tiny: di.Classifier, examples: tuple[Photo, ...]) -> None:
    def empty(steps: Steps) -> np.ndarray:
        return np.zeros(steps.saliency().shape, bool)

    made = [as_composite(photo) for photo in examples]
    measured = ablate(tiny, made, {"nothing": nothing, "empty": empty}, crops=1, progress=False)
    for name in ("nothing", "empty"):
        row = measured[name]
        assert (row.iou.mean, row.hits.mean, row.mask_iou, row.failures) == (0, 0, Interval(0, 0, 0), 2)
    assert measured[FULL].failures == 0
    assert measured["nothing"].difference.mean == -measured[FULL].iou.mean


def test_an_error_of_another_kind_is_no_missing_object(tiny: di.Classifier, examples: tuple[Photo, ...]) -> None:
    with pytest.raises(ZeroDivisionError):
        ablate(tiny, examples, {"broken": lambda steps: 1 / 0}, progress=False)  # type: ignore[dict-item, return-value]


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"smoothnes": 3}, TypeError, "'mine' has no option smoothnes; expected some of crops, foreground"),
        ({"crops": 5}, ValueError, "'mine': expected 1 or 10 crops, got 5"),
        ({"foreground": 1.5}, ValueError, "'mine': expected a foreground quantile from 0 to 1"),
        ({"components": 0}, ValueError, "'mine': expected components from 1 to 250"),
        ({"smoothness": -1.0}, ValueError, r"'mine': expected a smoothness from 0 to 1000000"),
    ],
)
def test_an_option_that_cannot_be_is_an_error_before_any_image(
    options: dict, kind: type[Exception], says: str, tiny: di.Classifier
) -> None:
    with pytest.raises(kind, match=says):
        ablate(tiny, [Photo("none", Path("nowhere.png"), "n1", ())], {"mine": options}, progress=False)


def test_a_full_method_of_five_crops_is_refused(tiny: di.Classifier, examples: tuple[Photo, ...]) -> None:
    with pytest.raises(ValueError, match="expected 1 or 10 crops, got 5"):
        ablate(tiny, examples, crops=5, progress=False)


def test_it_wants_two_images(tiny: di.Classifier, examples: tuple[Photo, ...]) -> None:
    with pytest.raises(ValueError, match="photos or composites, got none"):
        ablate(tiny, [], {}, progress=False)
    for same in ([examples[0]], [as_composite(photo, "one cut-out") for photo in examples]):
        with pytest.raises(ValueError, match="at least two different images"):
            ablate(tiny, same, {}, crops=1, progress=False)


def test_options_that_change_nothing_are_no_row(tiny: di.Classifier, examples: tuple[Photo, ...]) -> None:
    one = {"one crop": {"crops": 1}, "usual": {"blur": DEFAULTS["blur"]}, "hard": {"hard_seeds": True}}
    assert list(try_ablations(tiny, examples, one, crops=1, progress=False).changed) == [FULL, "hard"]
    ten = try_ablations(tiny, examples, one, crops=10, progress=False).changed
    assert dict(ten) == {FULL: "nothing", "one crop": "crops = 1", "hard": "hard_seeds = True"}


def test_each_of_the_issue_s_ablations_is_a_row(table: AblationTable) -> None:
    names = [row.name for row in table.rows]
    assert names[0] == FULL
    assert {"centre box", "threshold only", "hard seeds", "one mixture", "no largest component", "one crop"} < {*names}
    assert all(any(name.startswith(part) for name in names) for part in ("components ", "smoothness ", "foreground "))
    assert all(row.changed for row in table.rows)


# Intervals


def runs_of(*rows: list[float], images: str = "") -> AblationRuns:
    iou = np.array(rows, float)
    names = tuple(images) or tuple(map(str, range(iou.shape[1])))
    changed = {name: name for name in (FULL, *(f"row {i}" for i in range(1, len(rows))))}
    return AblationRuns(changed, names, 10, iou, np.full_like(iou, np.nan), np.ones(iou.shape, bool))


def test_differences_are_paired() -> None:
    full = np.random.default_rng(2).uniform(0.2, 0.8, 15)
    measured = tabulate(runs_of(full.tolist(), (full - 0.125).tolist(), full.tolist()))
    worse, same = measured["row 1"], measured["row 2"]
    # The images differ widely, their differences not at all.
    assert (worse.difference.mean, worse.difference.low, worse.difference.high) == pytest.approx((-0.125,) * 3)
    assert worse.iou.high - worse.iou.low > 0.1
    assert (same.difference, same.hit_difference) == (Interval(0, 0, 0), Interval(0, 0, 0))


def test_composites_of_one_cut_out_are_drawn_together() -> None:
    full, names = [0.9] * 4 + [0.1] * 4 + [0.6] * 4, ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    measured = tabulate(runs_of(full, [0.5] * 12, images=names))
    assert measured[FULL].iou == bootstrap_mean(full, names)
    assert measured["row 1"].difference == bootstrap_mean(0.5 - np.array(full), names)
    assert measured[FULL].iou.high - measured[FULL].iou.low > 1.5 * np.ptp(bootstrap_mean(full)[1:])
    assert (measured.images, measured.clusters) == (12, 3)


def test_an_overlap_of_exactly_one_half_is_a_hit() -> None:
    measured = tabulate(runs_of([0.5, 0.499, 0.9, 0.0], [0.6, 0.6, 0.1, 0.0]))
    assert measured[FULL].hits.mean == 0.5
    assert measured["row 1"].hits.mean == 0.5
    difference = measured["row 1"].hit_difference
    assert difference.mean == 0
    assert difference.low < 0 < difference.high


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_a_confidence_out_of_range_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1|from 0 to 1"):
        tabulate(runs_of([0.1, 0.2]), confidence)


# The table


def test_the_table_prints_each_row_with_its_interval_and_marks_what_leaves_0_out() -> None:
    full = [0.6, 0.7, 0.8, 0.9]
    measured = tabulate(runs_of(full, [each - 0.25 for each in full], [0.9, 0.8, 0.7, 0.6], images="aabb"))
    header, first, worse, mixed, note = str(measured).splitlines()
    assert "IoU of the box" in header
    assert first.startswith("full method")
    assert "0.750 [0.650, 0.850]" in first
    assert "100% [100%, 100%]" in first
    assert "-0.250 [-0.250, -0.250]*" in worse
    assert "*" not in first + mixed
    assert note.startswith("4 images of 2 objects, ten crops; ")
    assert "95 %" in note
    assert (measured.images, measured.clusters) == (4, 2)


def test_a_row_is_found_by_name() -> None:
    measured = tabulate(runs_of([0.1, 0.2], [0.3, 0.4]))
    assert measured["row 1"].iou.mean == pytest.approx(0.35)
    with pytest.raises(KeyError, match="no row 'row 9'; there are full method, row 1"):
        measured["row 9"]


def test_the_figure_has_a_dot_and_a_bar_for_each_difference() -> None:
    full = [0.6, 0.7, 0.8, 0.9]
    measured = tabulate(runs_of(full, [0.1, 0.3, 0.3, 0.2], [0.9, 0.8, 0.7, 0.6]))
    axes = measured.figure().axes[0]
    drawn = [np.array(line.get_xdata()) for line in axes.lines[:4]]
    for row, bar, dot in zip(measured.rows[1:], drawn[::2], drawn[1::2], strict=True):
        assert bar.tolist() == [row.difference.low, row.difference.high]
        assert dot.tolist() == [row.difference.mean]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["row 1", "row 2"]
    worse, unclear = axes.lines[1].get_color(), axes.lines[3].get_color()
    assert worse != unclear


@pytest.mark.parametrize("mask", [None, np.ones((24, 24)), np.ones((3, 3), bool), np.ones((24, 24, 1), bool)])
def test_a_row_that_gives_no_mask_is_an_error_and_no_missing_object(
    tiny: di.Classifier, examples: tuple[Photo, ...], mask: object
) -> None:
    with pytest.raises(TypeError, match=r"ablation 'mine': expected a boolean mask \(\d+, \d+\) like the map, got"):
        ablate(tiny, examples, {"mine": lambda _: mask}, crops=1, progress=False)


def test_wrong_rows_and_examples_are_named(tiny: di.Classifier, examples: tuple[Photo, ...]) -> None:
    with pytest.raises(ValueError, match="'full method' is what the others are compared with"):
        ablate(tiny, examples, {FULL: {"blur": 0.0}}, crops=1, progress=False)
    with pytest.raises(TypeError, match=r"ablation 'x': expected options or a function of Steps, got 3"):
        ablate(tiny, examples, {"x": 3}, crops=1, progress=False)
    with pytest.raises(TypeError, match=r"expected photos\(\) or composites, got str"):
        ablate(tiny, ["dog.jpg"], {}, crops=1, progress=False)
