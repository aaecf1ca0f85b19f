"""Every notebook runs from scratch, says what the library says, and its exercises check both ways."""

import re
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import pytest
from notebook_runs import STUB, both_ways, outputs, text
from printed import PRINTED

from gradflow import course
from gradflow.course import building

ROOT = Path(__file__).parent.parent
THERE = [lesson.name for lesson in course.lessons() if lesson.name in PRINTED]


@pytest.mark.parametrize("name", THERE)
def test_a_notebook_runs_from_scratch_and_its_checks_pass_with_the_solution_alone(name):
    ran = building.execute(both_ways(building.build(name)), small=True)
    for cell, output in outputs(ran):
        assert output.output_type in ("display_data", "execute_result"), (cell.source, output)
    failed = [output for cell, output in outputs(ran, empty=True) if "check" in building.tags(cell)]
    checks = [cell for cell in ran.cells if "check" in building.tags(cell)]
    assert len(failed) == len(checks) / 2
    for output in failed:
        assert (output.output_type, output.ename) == ("error", "NotYet")
        assert len(output.traceback) == 1
        assert "Not yet." in output.traceback[0]
    passed = [output for cell, output in outputs(ran) if "check" in building.tags(cell)]
    assert [output.data["text/plain"].startswith("Right: ") for output in passed] == [True] * len(failed)
    panels = [output for cell, output in outputs(ran) if "sliders" in building.tags(cell)]
    assert panels
    assert all({"image/png", "text/plain"} == set(output.data) for output in panels)
    assert STUB not in text(ran)
    PRINTED[name](text(ran))


def test_with_nothing_typed_everything_runs_but_the_checks(monkeypatch, capsys, no_shape_checks):
    monkeypatch.setenv("GRADFLOW_COURSE_SMALL", "1")
    names, failed = {}, 0
    with mpl.rc_context():
        for cell in building.student(building.build("1-neuron")).cells:
            if "check" in building.tags(cell):
                with pytest.raises(course.NotYet, match="nothing to check yet: "):
                    exec(cell.source, names)
                failed += 1
            elif cell.cell_type == "code":
                exec(cell.source, names)
            plt.close("all")
    assert failed == 6
    assert capsys.readouterr().out.count("no prediction typed yet") == 8


@pytest.mark.parametrize("name", THERE)
def test_the_committed_notebooks_are_of_todays_sources(name):
    source = building.build(name)
    for folder, made in (("", building.teacher(source)), ("student", building.student(source))):
        path = ROOT / "notebooks" / folder / f"{name}.ipynb"
        there = nbformat.read(path, as_version=4)
        assert [cell.source for cell in there.cells] == [cell.source for cell in made.cells], path
        assert [building.tags(cell) for cell in there.cells] == [building.tags(cell) for cell in made.cells]
        assert path.stat().st_size < 400_000, "small enough to read on a code host"
        code = [cell for cell in there.cells if cell.cell_type == "code"]
        if folder:
            assert not any(cell.outputs for cell in code)
            continue
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), (
            "run from top to bottom"
        )
        kinds = {output.output_type for cell in code for output in cell.outputs}
        assert kinds == {"display_data", "execute_result"}, "no warnings, no errors"


def markdown(name):
    cells = building.build(name).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("name", THERE)
def test_links_lead_somewhere_and_papers_are_named_with_their_claim(name):
    said = markdown(name)
    for link in re.findall(r"\]\(([^)]+)\)", said):
        if link.startswith("https://arxiv.org/abs/"):
            assert re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{4,5}", link), link
        elif "://" not in link:
            assert link.removesuffix(".ipynb") in course.NAMES or (ROOT / "notebooks" / link).exists(), link
    assert "## Questions" in said
    reading = said.partition("## Further reading")[2].partition("**Next**")[0]
    papers = re.split(r"\n- ", reading)[1:]
    assert len(papers) >= 3
    for paper in papers:
        assert re.search(r"\b(19|20)\d\d\b", paper), paper
        assert paper.strip().endswith("."), paper


@pytest.mark.parametrize("name", THERE)
def test_exercises_are_graded_and_each_has_its_check(name):
    cells = building.build(name).cells
    stars = [
        len(grade)
        for cell in cells
        if cell.cell_type == "markdown"
        for grade in re.findall(r"^### Exercise \d+ (★+)", cell.source, re.MULTILINE)
    ]
    checks = sum("check" in building.tags(cell) for cell in cells)
    assert len(stars) == checks
    assert 4 <= checks <= 6
    assert {1, 2, 3} == set(stars)


def test_the_page_about_the_course_names_its_notebooks_and_leads_somewhere():
    page = (ROOT / "notebooks" / "README.md").read_text()
    for found in map(course.lesson, THERE):
        assert f"| [{found.name}]({found.name}.ipynb) | {found.title} | {found.minutes} |" in page
    for link in re.findall(r"\]\(([^)]+)\)", page):
        assert (ROOT / "notebooks" / link).exists(), link
