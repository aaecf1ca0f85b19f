"""The course's tools: predictions, checks, stubs, versions from one source, panels, and the command."""

import base64
import html
import io
import itertools
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from compare import assert_close
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from gradflow import course
from gradflow.analysis import curve_band
from gradflow.course import building, checking, crib, explore, explore_network, slides, stubs
from gradflow.course.exercises import neuron as neuron_checks
from gradflow.course.lessons import NAMES
from gradflow.neurons import LIF
from gradflow.theory import mean_square

ROOT = Path(__file__).parent.parent


def axes():
    return Figure().subplots()


# predictions


def test_a_guess_is_drawn_over_the_result_as_a_line_or_as_points():
    guess = course.predict([0.5, 2.0], what="rate")
    points = guess.draw(axes(), at=[1, 2])
    assert [points[0].get_xdata().tolist(), points[0].get_ydata().tolist()] == [[1, 2], [0.5, 2.0]]
    powers = guess.draw(axes(), at=[1, 2], scale=np.log10)
    assert powers[0].get_ydata().tolist() == [np.log10(0.5), np.log10(2.0)]
    (slope,) = course.predict(-0.5, what="rate").draw_slope(axes(), (2, 1), 6, scale=2.0)
    assert [slope.get_xdata().tolist(), slope.get_ydata().tolist()] == [[2, 6], [1, -3]]
    across = guess.draw(axes())
    assert [line.get_ydata() for line in across] == [[0.5, 0.5], [2.0, 2.0]]
    upright = course.predict(3, what="lag").draw(axes(), along="x")
    assert upright[0].get_xdata() == [3, 3]
    assert points[0].get_label() == upright[0].get_label() == "your prediction"


def test_a_line_drawn_twice_has_one_entry_in_the_legend():
    ax = axes()
    course.predict([1, 2], what="rate").draw(ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["your prediction"]


@pytest.mark.parametrize("nothing", [None, ...])
def test_an_empty_prediction_says_so_kindly_and_draws_no_line(nothing):
    (note,) = course.predict(nothing, what="rate").draw(axes(), at=[1])
    assert isinstance(note, Text)
    assert "put a number in place of None" in note.get_text()
    assert "no prediction typed yet" in course.predict(nothing, what="rate").against(3)


@pytest.mark.parametrize(
    ("guess", "measured", "powers", "said"),
    [
        (2, 1, False, "too large by a factor of 2"),
        (-1, -4, False, "too small by a factor of 4"),
        (1.0, 1.1, False, "within 10 %"),
        (1, 1, False, "Exactly"),
        (1, -1, False, "not even the sign"),
        (1, 0, False, "differ by 1."),
        (-20, -160, True, "larger by 140 powers of ten"),
        (-160, -20, True, "smaller by 140 powers of ten"),
        (-20, -20.3, True, "the power of ten is right"),
        ([1, 8], [1, 2], False, "too large by a factor of 4"),
    ],
)
def test_a_guess_is_told_how_far_off_it_was(guess, measured, powers, said):
    assert said in course.predict(guess, what="it").against(measured, powers=powers)


@pytest.mark.parametrize("guess", ["three", True, [1, None], float("nan")])
def test_a_guess_that_is_no_number_is_refused(guess, no_shape_checks):
    with pytest.raises(ValueError, match="expected a number, or None"):
        course.predict(guess, what="it")


def test_guesses_and_places_go_in_pairs():
    guess = course.predict([1, 2], what="it")
    with pytest.raises(ValueError, match="got 2 guesses for 1 places"):
        guess.draw(axes(), at=1)
    with pytest.raises(ValueError, match="got 2 guesses and 1 measured numbers"):
        guess.against(1)


# checks


def empty(decay, threshold): ...


RIGHT = {"rheobase": lambda decay, threshold: threshold * (1 - decay)}


def test_a_right_answer_passes_with_a_green_line():
    passed = course.check("rheobase", RIGHT["rheobase"])
    assert str(passed) == "Right: rheobase"
    assert "#1a7f37" in passed._repr_html_()


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ((), "nothing to check yet"),
        ((...,), "nothing to check yet"),
        ((None,), "nothing to check yet"),
        ((lambda decay, threshold: threshold,), "is enough to make it fire"),
        ((lambda decay, threshold: 0.5 * threshold * (1 - decay),), "never makes it fire"),
        ((lambda decay, threshold: 1 / 0,), "your answer stops with ZeroDivisionError"),
        ((lambda decay: 1,), "your answer stops with TypeError"),
        ((lambda decay, threshold: ...,), "your answer stops with"),
        ((empty,), "nothing to check yet"),
    ],
)
def test_a_wrong_answer_raises_one_line_that_ends_with_the_hint(answers, said):
    with pytest.raises(course.NotYet, match=said) as found:
        course.check("rheobase", *answers)
    assert str(found.value).endswith(checking.exercises()["rheobase"].hint)
    (line,) = found.value._render_traceback_()
    assert "\n" not in line
    assert "Not yet." in line


def test_an_exercise_that_does_not_exist_is_an_error_that_lists_those_that_do():
    with pytest.raises(ValueError, match="expected one of one-step, rheobase"):
        course.check("rheobasis", 1)


def test_two_checks_of_one_name_are_refused():
    with pytest.raises(ValueError, match="got two checks"):
        course.exercise("rheobase", "hint")(lambda answer: None)


def test_every_exercise_has_a_hint_of_one_line():
    found = checking.exercises()
    assert len(found) >= 6
    for each in found.values():
        assert 20 < len(each.hint) < 200, each.name
        assert "\n" not in each.hint


@pytest.mark.parametrize(
    ("got", "said"), [(1.0, "shape"), (None, "return it"), ([1.0, 2.5], "at 1: got 2.5, expected 2")]
)
def test_close_names_the_first_place_that_is_off(got, said):
    with pytest.raises(course.NotYet, match=said):
        checking.close(got, [1.0, 2.0], what="it")
    checking.close([1.0, 2.0], [1.0, 2.0], what="it")


def test_one_neuron_of_the_library_is_the_loop_that_the_notebook_teaches():
    current = neuron_checks.currents(0)
    found = course.run_neuron(current, LIF(decay=0.7, threshold=0.9))
    v, truth = 0.0, []
    for one in current:
        u = 0.7 * v + one
        v = u - 0.9 * (u >= 0.9)
        truth.append(u)
    assert_close(found.u, truth, atol=1e-14, why="float64, sums in another order")
    assert found.s.tolist() == [float(u >= 0.9) for u in truth]
    assert 0 < found.s.sum() < len(current)


# stubs and versions


@pytest.mark.parametrize(
    ("solution", "empty"),
    [
        ("half = 0.5", "half = ..."),
        ("low, high = 1, 2", "low = ...\nhigh = ..."),
        ('def f(x, *, y=2):\n    """Add."""\n    return x + y', "def f(x, *, y=2):\n    ..."),
        ("import math\nroot = math.sqrt(2)", "root = ..."),
    ],
)
def test_a_stub_keeps_names_and_signatures_and_nothing_of_the_solution(solution, empty):
    assert stubs.stub(solution) == f"# your answer\n{empty}"


def test_a_solution_without_an_answer_and_a_prediction_cell_without_one_are_refused():
    with pytest.raises(ValueError, match="got no name"):
        stubs.stub("print(3)")
    with pytest.raises(ValueError, match=r"got no call of course\.predict"):
        stubs.blank_prediction("x = 3")


def test_a_blank_prediction_keeps_everything_else_as_it_is_written():
    written = 'a = course.predict(\n    [1, 2],  # φ\n    what="two",\n)\nb = course.predict(-3, what="φ")'
    blank = 'a = course.predict(\n    None,  # φ\n    what="two",\n)\nb = course.predict(None, what="φ")'
    assert stubs.blank_prediction(written) == blank


THERE = [lesson.name for lesson in course.lessons()]


@pytest.mark.parametrize("name", THERE)
def test_student_and_teacher_come_from_one_source(name):
    source = building.build(name)
    teacher, student = building.teacher(source), building.student(source)
    assert len(teacher.cells) == len(student.cells) == len(source.cells)
    kinds = {"solution": 0, "check": 0, "prediction": 0}
    for cell, full, bare in zip(source.cells, teacher.cells, student.cells, strict=True):
        marked = set(building.tags(cell)) & set(kinds)
        for kind in marked:
            kinds[kind] += 1
        if "solution" in marked:
            assert full.source == cell.source
            assert full.metadata.jupyter.source_hidden
            assert bare.source.startswith(stubs.ANSWER)
            assert "return" not in bare.source
            assert not bare.metadata.get("jupyter")
        elif "prediction" in marked:
            assert full.source == cell.source
            assert "None" in bare.source
        else:
            assert full.source == bare.source == cell.source
        assert ("raises-exception" in building.tags(bare)) == ("check" in marked)
        assert "raises-exception" not in building.tags(full)
    assert kinds["check"] >= 4
    assert kinds["solution"] >= kinds["check"]
    assert kinds["prediction"] >= 4
    assert source == building.build(name)  # nothing was changed in it
    json.loads(building.as_text(student))


def test_every_check_of_the_notebooks_exists_and_every_exercise_is_asked():
    asked = []
    for name in THERE:
        for cell in building.build(name).cells:
            if "check" in building.tags(cell):
                asked += [part.split('"')[1] for part in cell.source.split("course.check(")[1:]]
    assert sorted(asked) == sorted(set(asked))
    homes = [home for home, name in zip(checking.HOMES, NAMES, strict=True) if name in THERE]
    found = {name: each.truth.__module__.rpartition(".")[2] for name, each in checking.exercises().items()}
    assert set(asked) == {name for name, home in found.items() if home in homes}


def test_a_lesson_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="expected one of 1-neuron"):
        course.lesson("7-heaven")


def test_lessons_promise_what_one_can_do_and_how_long_it_takes():
    for found in course.lessons():
        assert found.name in NAMES
        assert len(found.aims) >= 2
        assert 15 <= found.minutes <= 120
        assert found.promise().startswith("After this you can ")


# sizes, panels


@pytest.mark.parametrize(("value", "taken"), [("1", 7), ("0", 784), (None, 784)])
def test_sizes_shrink_when_asked(value, taken, monkeypatch):
    monkeypatch.delenv("GRADFLOW_COURSE_SMALL", raising=False)
    if value is not None:
        monkeypatch.setenv("GRADFLOW_COURSE_SMALL", value)
    assert course.size(784, 7) == taken


def tiny_panel():
    def draw(parts, *, slope, offset):
        parts[0].plot([0, 1], [offset, offset + slope])

    sliders = (
        explore.Slider("slope", "slope a", (1.0, 2.0, 3.0), 2.0),
        explore.Slider("offset", "offset b", (0.0, 1.0), 0.0),
    )
    return explore.Panel(sliders, draw, 1, ({}, {"slope": 3.0}), "A line.")


def test_a_panel_draws_what_its_sliders_say():
    panel = tiny_panel()
    assert panel.figure(slope=3.0, offset=1.0).axes[0].lines[0].get_ydata().tolist() == [1, 4]
    assert panel.figure().axes[0].lines[0].get_ydata().tolist() == [0, 2]
    still = panel.still()
    assert [ax.lines[0].get_ydata().tolist() for ax in still.axes] == [[0, 2], [0, 3]]
    assert "slope a = 3" in still.subfigs[1].get_suptitle()


def test_moving_a_slider_draws_the_picture_anew():
    panel = tiny_panel()
    box = panel.live()
    slope, _, image = box.children
    before = image.value
    slope.value = 3.0
    assert image.value == explore.png(panel.figure(slope=3.0)) != before


def test_a_panel_shows_its_static_picture_beside_the_widget_and_without_one(monkeypatch):
    shown = tiny_panel()._repr_mimebundle_()
    assert shown["image/png"].startswith(b"\x89PNG")
    assert building.WIDGET in shown
    assert shown["text/plain"] == "A line."
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    assert set(tiny_panel()._repr_mimebundle_()) == {"image/png", "text/plain"}


def test_panels_refuse_what_their_sliders_do_not_have():
    with pytest.raises(ValueError, match="got gain, expected slope, offset"):
        tiny_panel().figure(gain=2)
    with pytest.raises(ValueError, match="starts at 5, expected one of"):
        explore.Slider("slope", "slope", (1.0,), 5)


PANELS = {name: getattr(course, name) for name in course.__all__ if name.startswith("explore_")}


@pytest.mark.parametrize("name", PANELS)
def test_a_move_of_any_slider_changes_the_picture_in_time(name):
    panel = PANELS[name]()
    before = explore.png(panel.figure())
    assert len(panel.alt) > 80
    taken = []
    for slider in panel.sliders:
        far = max(slider.values, key=lambda value: abs(value - slider.start))
        start = time.process_time()
        moved = explore.png(panel.figure(**{slider.name: far}))
        taken.append(time.process_time() - start)
        assert moved != before, slider.name
    # 0.3 s on a machine of its own (benchmarks/course.md); checks of shapes and a busy machine take more
    assert np.median(taken) < 1.2


def test_the_panels_of_a_network_draw_what_the_library_measures():
    settings = {"decay": 0.6, "gain": 1.3, "width": 0.8}
    left, right = course.explore_spans().figure(span=4, **settings).axes
    products = explore_network.measured(4, **settings)
    expected = curve_band(products).isel(layer=0).centre.values / np.log(10)
    assert_close(left.lines[0].get_ydata(), expected, rtol=1e-12, why="the same numbers, in powers of ten")
    roots = explore_network.square_roots(products, 4)
    assert right.lines[1].get_xdata().tolist() == roots.real.tolist()
    # largest root of the mean square: its rate is that of the theory
    rate = mean_square(products).rate.item()
    assert_close(0.5 * np.log(np.abs(roots).max()), rate, rtol=1e-9, why="eigenvalues of a 4 × 4 matrix")
    assert f"predicted {rate:.3f}" in left.get_title()


def test_the_panel_of_one_neuron_draws_the_librarys_own_run():
    left, right = course.explore_neuron().figure(decay=0.9, current=0.6, width=0.3).axes
    truth = {detach: course.run_neuron(np.full(40, 0.6), _neuron(detach)) for detach in (False, True)}
    assert truth[False].u.tolist() in [line.get_ydata().tolist() for line in left.lines[1:]]
    assert [line.get_ydata().tolist() for line in right.lines] == [truth[k].a.tolist() for k in (False, True)]


def _neuron(detach):
    from gradflow.surrogate import Triangle

    return LIF(decay=0.9, surrogate=Triangle(0.3), detach_reset=detach)


# the command


def test_the_command_lists_the_notebooks(cli):
    code, out, err = cli("course")
    assert (code, err) == (0, "")
    for found in course.lessons():
        assert found.title in out
        assert f"({found.minutes} minutes)" in out
    code, out, _ = cli("course", "1-neuron", "--json")
    assert [each["name"] for each in json.loads(out)] == ["1-neuron"]


def test_the_command_writes_both_versions(cli, tmp_path):
    assert cli("course", "1-neuron", "--out", "s")[0] == 0
    assert cli("course", "1-neuron", "--out", "t", "--teacher")[0] == 0
    student, teacher = ((tmp_path / folder / "1-neuron.ipynb").read_text() for folder in "st")
    assert "# your answer" in student
    assert "return threshold * (1 - decay)" in teacher
    assert "return threshold * (1 - decay)" not in student


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["7-heaven"], "got 7-heaven, expected a notebook: 1-neuron"), (["--teacher"], "go with --out FOLDER")],
)
def test_the_command_refuses_what_it_cannot_do(arguments, said, cli):
    code, _, err = cli("course", *arguments)
    assert code == 2
    assert said in err


def test_without_jupytext_the_command_says_what_to_install(cli, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jupytext", None)
    code, _, err = cli("course", "--out", "s")
    assert code == 1
    assert "pip install 'gradflow-snn[course]'" in err


# slides and the crib sheet


def test_the_crib_sheet_fits_one_page_and_no_formula_meets_its_words():
    page = crib.as_page()
    page.draw_without_rendering()
    width, height = page.bbox.width, page.bbox.height
    formulas = []
    for text in page.texts:
        box = text.get_window_extent()
        assert 0.03 * width < box.x0 < box.x1 < 0.97 * width, text.get_text()
        assert 0.03 * height < box.y0 < box.y1 < 0.99 * height, text.get_text()
        if text.get_text().startswith("$"):
            formulas.append(box)
            assert box.x1 < 0.575 * width, text.get_text()
    assert len(formulas) == sum(len(part.rows) for part in crib.PARTS)
    for above, below in itertools.pairwise(formulas):
        assert below.y1 < above.y1


def test_the_crib_sheet_says_the_same_in_every_format(cli, tmp_path):
    for name in ("crib.md", "crib.html", "crib.pdf"):
        assert cli("course", "--crib", name)[0] == 0
    markdown, page = ((tmp_path / f"crib.{kind}").read_text() for kind in ("md", "html"))
    rows = [row for part in crib.PARTS for row in part.rows]
    assert page.count("<img alt=") == len(rows)
    for row in rows:
        assert f"| ${row.formula}$ | {row.words} |" in markdown
        assert html.escape(row.words) in page
    pdf = (tmp_path / "crib.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b(?!s)", pdf)) == 1
    code, _, err = cli("course", "--crib", "crib.docx")
    assert code == 1
    assert "expected .pdf, .html or .md" in err


def test_the_committed_crib_sheet_is_todays():
    assert (ROOT / "notebooks" / "crib-sheet.md").read_text() == crib.as_markdown()


def test_every_slide_is_drawn_and_names_its_axes(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADFLOW_COURSE_SMALL", "1")
    slides._digits.cache_clear()
    slides._curves.cache_clear()
    assert cli("course", "--slides", "wall", "--json")[0] == 0
    assert sorted(path.stem for path in (tmp_path / "wall").iterdir()) == [
        each.name for each in slides.SLIDES
    ]
    picture = Image.open(tmp_path / "wall" / "01-neuron.png")
    assert picture.size[0] > 1500
    assert json.loads(picture.text["Description"])["command"] == "gradflow course --slides"
    curves = slides.picture(next(each for each in slides.SLIDES if each.name == "06-spans"))
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in curves.axes)
    drawn, _ = slides._curves()
    heights = drawn.centre.values[0] / np.log(10)
    assert_close(curves.axes[0].lines[0].get_ydata(), heights, rtol=1e-12, why="the same, in powers of ten")


def test_slides_and_crib_stand_alone(cli):
    code, _, err = cli("course", "1-neuron", "--crib", "crib.md")
    assert code == 2
    assert "--slides and --crib go with one another" in err


def test_outputs_keep_no_widget_that_cannot_be_seen_and_pictures_in_few_colours():
    picture = base64.b64encode(explore.png(tiny_panel().figure())).decode()
    data = {building.WIDGET: {"model_id": "0"}, "image/png": picture}
    cell = SimpleNamespace(metadata={"execution": {}}, get=lambda *_: [{"data": data, "metadata": {}}])
    building._clean(cell)
    assert list(data) == ["image/png"]
    assert cell.metadata == {}
    full, light = (Image.open(io.BytesIO(base64.b64decode(text))) for text in (picture, data["image/png"]))
    assert light.size == full.size
    assert len(data["image/png"]) < 0.6 * len(picture)
    off = np.abs(np.asarray(light.convert("RGB"), dtype=int) - np.asarray(full.convert("RGB"), dtype=int))
    assert off.mean() < 1.0  # of 255
