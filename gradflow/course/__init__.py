"""The course: what its notebooks call. Predictions, checked exercises, slider panels, and building them.

Loaded by `from gradflow import course`, never by `import gradflow`. The notebooks' sources are in `sources/`;
`gradflow course` makes notebooks of them.
"""

from gradflow.course.building import build, execute, student, teacher
from gradflow.course.checking import NotYet, check, exercise
from gradflow.course.explore import Panel, Slider
from gradflow.course.explore_choice import explore_choice
from gradflow.course.explore_network import explore_product, explore_spans
from gradflow.course.explore_neuron import explore_neuron
from gradflow.course.explore_seeds import explore_seeds
from gradflow.course.explore_temperature import explore_temperature
from gradflow.course.lessons import NAMES, Lesson, lesson, lessons
from gradflow.course.pictures import against_potential, log_lines, potential
from gradflow.course.prediction import Prediction, predict
from gradflow.course.saying import Words, say
from gradflow.course.setting import begin, size
from gradflow.course.single import Single, run_neuron

__all__ = [
    "NAMES",
    "Lesson",
    "NotYet",
    "Panel",
    "Prediction",
    "Single",
    "Slider",
    "Words",
    "against_potential",
    "begin",
    "build",
    "check",
    "execute",
    "exercise",
    "explore_choice",
    "explore_neuron",
    "explore_product",
    "explore_seeds",
    "explore_spans",
    "explore_temperature",
    "lesson",
    "lessons",
    "log_lines",
    "potential",
    "predict",
    "run_neuron",
    "say",
    "size",
    "student",
    "teacher",
]
