"""gradflow in a live kernel: what shows itself, what completes, a bar, and an interrupted cell."""

import base64
import struct
import time

import pytest

pytest.importorskip("ipykernel")
from jupyter_client.manager import start_new_kernel

SETUP = """
import gradflow as gf, torch
net = gf.RecurrentSNN(gf.Sizes(2, 3), hidden=6, recurrence=gf.Skip(2))
batch = gf.Batch(torch.rand(30, 4, 2), torch.tensor([0, 1, 2, 0]))
products = gf.jacobian_products(net, batch)
config = gf.train.resolve({
    "task": {"name": "smnist", "options": {"pool": 4}},
    "network": {"hidden": [16], "recurrence": "skip:4"},
    "training": {"epochs": 2000, "batch": 500},
    "watch": {"every": 0},
})
state = [parameter.detach().clone() for parameter in net.parameters()]
"""


class Kernel:
    """A kernel and what it sends while a cell runs."""

    def __init__(self, client, manager):
        self.client, self.manager = client, manager

    def messages(self, code, *, interrupt_when=None):
        """Run a cell and return (type, content) of its outputs; interrupt it once its text says so."""
        sent, found = self.client.execute(code), []
        while True:
            message = self.client.get_iopub_msg(timeout=120)
            if message["parent_header"].get("msg_id") != sent:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                return found
            found.append((kind, content))
            if interrupt_when and interrupt_when in content.get("text", ""):
                time.sleep(0.3)  # in the midst of a step, and not at the print that told of it
                self.manager.interrupt_kernel()
                interrupt_when = None

    def result(self, code):
        """Return the data that the last line of a cell shows."""
        found = self.messages(code)
        assert [content for kind, content in found if kind in ("error", "stream")] == []
        return next(content["data"] for kind, content in found if kind == "execute_result")


@pytest.fixture(scope="module")
def kernel():
    manager, client = start_new_kernel(kernel_name="python3", startup_timeout=120)
    try:
        running = Kernel(client, manager)
        assert [kind for kind, _ in running.messages(SETUP) if kind in ("error", "stream")] == []
        yield running
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_measurements_and_pictures_show_themselves(kernel):
    page = kernel.result("products")["text/html"]
    assert page.index("norm at lag 1") < page.index("<details")
    shown = kernel.result("gf.plots.decay_curves(products, label='one')")
    assert shown["text/plain"] == "CurveArtists(curves: one; bands: one)"
    picture = base64.b64decode(shown["image/png"])
    width, height = struct.unpack(">II", picture[16:24])  # the IHDR chunk of a PNG
    assert (width, height) == (700, 400)  # fits the column of a notebook


def test_a_picture_on_axes_of_pyplot_is_not_shown_twice(kernel):
    code = "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\ngf.plots.decay_curves(products, ax=ax)"
    found = kernel.messages(code)
    pictures = [kind for kind, content in found if "image/png" in content.get("data", {})]
    assert pictures == ["display_data"]


def test_names_complete_and_docstrings_help(kernel):
    reply = kernel.client.complete("gf.jacobian_p", reply=True, timeout=60)["content"]
    assert any(match.endswith("jacobian_products") for match in reply["matches"])
    reply = kernel.client.complete("products.log_f", reply=True, timeout=60)["content"]
    assert any(match.endswith("log_frobenius") for match in reply["matches"])
    help_text = kernel.client.inspect("gf.record", reply=True, timeout=60)["content"]["data"]["text/plain"]
    assert "Run the network forward and backward once" in help_text


def test_a_bar_is_shown_and_taken_away(kernel):
    code = "from gradflow import bars\nbars.PATIENCE = 0.0\nbars.in_notebook()"
    assert kernel.result(code)["text/plain"] == "True"
    found = kernel.messages(
        "import time\nwith gf.progress_bar('count') as progress:\n"
        "    for done in range(4):\n        progress(done + 1, 4, 'numbers')\n        time.sleep(0.2)"
    )
    assert [content for kind, content in found if kind in ("error", "stream")] == []
    views = [c["data"] for _, c in found if "application/vnd.jupyter.widget-view+json" in c.get("data", {})]
    assert len(views) == 1


def test_an_error_ends_in_one_line_with_what_to_do(kernel):
    found = kernel.messages("gf.Skip(0)")
    error = next(content for kind, content in found if kind == "error")
    assert error["ename"] == "ValueError"
    assert error["evalue"].startswith("Skip(span=0): a span is a whole number of steps, at least 1")


def test_an_interrupted_cell_leaves_everything_usable(kernel, tmp_path):
    told = "def told(done, total, what):\n    print('step') if done == 20 else None\n"
    run = f"gf.train.train(config, {str(tmp_path / 'run')!r}, progress=told)"
    found = kernel.messages(told + run, interrupt_when="step")
    assert [content["ename"] for kind, content in found if kind == "error"] == ["KeyboardInterrupt"]
    # the same kernel measures as before, on a network that nothing was written to
    again = "import xarray as xr\nxr.testing.assert_identical(products, gf.jacobian_products(net, batch))\n"
    again += "all(torch.equal(a, b) for a, b in zip(state, net.parameters())), net.training\n"
    assert kernel.result(again)["text/plain"] == "(True, True)"
    # and the run is taken up after its last whole checkpoint, not begun anew
    steps = "steps = []\ndef told(done, total, what):\n    steps.append(done)\n"
    steps += "    print('step') if len(steps) == 9 else None\n"
    resumed = run.replace("progress=told", "progress=told, resume=True")
    found = kernel.messages(steps + resumed, interrupt_when="step")
    assert [content["ename"] for kind, content in found if kind == "error"] == ["KeyboardInterrupt"]
    assert int(kernel.result("steps[0]")["text/plain"]) > 8
