"""Disturbances: each against a loop or a network that does the same without it, and what none may do."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import TABLE, Case
from compare import assert_close, assert_equal

import gradflow as gf
from gradflow import engine, seeds
from gradflow.evaluation import (
    DISTURBANCES,
    EventJitter,
    InputNoise,
    MembraneNoise,
    SpanShift,
    SpikeDeletion,
    Streams,
    TimeJitter,
    parse_disturbances,
    robustness,
    run_disturbed,
)
from gradflow.evaluation.deleting import run_deleting

LAYERS = [name for name in TABLE if not name.startswith("surrogate") and "norm" not in name]
SKIPS = Case(
    (gf.LIF(decay=0.8),) * 2, (gf.Skip(2), gf.Vanilla()), hidden=(5, 4), steps=12, batch=3, training=False
)
STRENGTHS = {"delete": 0.5, "membrane-noise": 0.3, "input-noise": 0.3, "jitter": 2, "span-shift": 1}


def streams(word="delete", batch=3, seed=0, repetition=0):
    return Streams(seed, word, repetition, range(batch))


def layer_operands(case, dtype):
    """Return what an engine is given for the first layer of a case, with hard spans."""
    net = replace(case, training=False).net(dtype=dtype)
    layer = net.recurrent_layers()[0]
    x = case.x(dtype)
    V, dynamics, taps = layer.coefficients(x, gf.SpanMode.HARD, False)
    _, drive, _ = layer.currents(x, dynamics, engine.reference, None, False, False)
    return drive, V, dynamics, taps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_with_every_spike_kept_the_loop_is_the_fused_engine_bit_for_bit(name, dtype):
    operands = layer_operands(TABLE[name], dtype)
    own = run_deleting(*operands, torch.ones(operands[0].shape, dtype=torch.bool))
    fused = engine.fused(*operands)
    assert_equal(own.u, fused.u)
    assert_equal(own.s, fused.s)
    assert own.engine == "fused"


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_with_every_spike_kept_the_loop_is_the_reference(name):
    operands = layer_operands(TABLE[name], torch.float64)
    own = run_deleting(*operands, torch.ones(operands[0].shape, dtype=torch.bool))
    reference = engine.reference(*operands)
    assert_close(own.u, reference.u, rtol=1e-12, atol=1e-12, why="sums in another order")
    assert_equal(own.s, reference.s)


@torch.no_grad()
def test_a_mixture_of_spans_is_read_too():
    case = replace(TABLE["asrc evaluated"], steps=12)
    drive, V, dynamics, _ = layer_operands(case, torch.float64)
    soft = case.net().recurrent_layers()[0].spans.taps(gf.SpanMode.SOFT, drive)
    assert len(soft.spans) == 4
    own = run_deleting(drive, V, dynamics, soft, torch.ones(drive.shape, dtype=torch.bool))
    assert_equal(own.u, engine.reference(drive, V, dynamics, soft).u)


@torch.no_grad()
def test_lost_spikes_reach_nobody_and_reset_all_the_same():
    """The equations written out once more, neuron by neuron, for a soft reset and span 3."""
    case = replace(TABLE["lif hard attached, skip"], neurons=(gf.LIF(decay=0.8),), steps=15)
    drive, V, dynamics, taps = layer_operands(case, torch.float64)
    kept = torch.rand(drive.shape, generator=torch.Generator().manual_seed(1)) >= 0.5
    own = run_deleting(drive, V, dynamics, taps, kept)
    steps, batch, neurons = drive.shape
    u, fired, sent = (np.zeros((steps, batch, neurons)) for _ in range(3))
    for t in range(steps):
        for b in range(batch):
            for i in range(neurons):
                before = 0.8 * (u[t - 1, b, i] - fired[t - 1, b, i]) if t else 0.0
                heard = sum(V[i, j].item() * sent[t - 3, b, j] for j in range(neurons)) if t >= 3 else 0.0
                u[t, b, i] = before + drive[t, b, i].item() + heard
                fired[t, b, i] = u[t, b, i] >= 1.0
                sent[t, b, i] = fired[t, b, i] and kept[t, b, i].item()
    assert 0 < sent.sum() < fired.sum()
    assert_close(own.u, u, rtol=1e-12, atol=1e-13, why="sums in another order")
    assert_equal(own.s, sent)


@torch.no_grad()
def test_with_every_spike_lost_nothing_but_the_drive_is_seen():
    """As a network whose V, later weights and readout weights are 0: biases alone speak."""
    net = SKIPS.net()
    deaf = copy.deepcopy(net)
    for index, layer in enumerate(deaf.recurrent_layers()):
        layer.V.zero_()
        if index:
            layer.linear.weight.zero_()
    deaf.output.weight.zero_()
    lost = run_disturbed(net, SKIPS.x(), SpikeDeletion(1.0), streams())
    silent = deaf(SKIPS.x())
    assert silent.layers[0].s.sum() > 0
    for own, other in zip(lost.layers, silent.layers, strict=True):
        assert_equal(own.u, other.u)
        assert own.s.sum() == 0
    assert_equal(lost.logits, silent.logits)


@torch.no_grad()
def test_deletions_have_the_share_asked_for_and_are_nested():
    net = replace(SKIPS, hidden=(40, 4), steps=60).net()
    x = 2.0 + torch.zeros(60, 50, 2, dtype=torch.float64)
    drawn = streams(batch=50)
    kept = {q: drawn.uniform("layer 0", x, 40) >= q for q in (0.2, 0.5)}
    for q, mask in kept.items():
        # 120,000 draws: five standard deviations of their share
        assert abs((~mask).double().mean().item() - q) < 5 * (q * (1 - q) / mask.numel()) ** 0.5
    assert not (kept[0.5] & ~kept[0.2]).any()
    run = run_disturbed(net, x, SpikeDeletion(0.5), drawn)
    fired = run.layers[0].u >= 1.0
    assert_equal(run.layers[0].s, (fired & kept[0.5]).double())


@torch.no_grad()
def test_membrane_noise_is_added_to_u_in_thresholds():
    case = replace(SKIPS, neurons=(gf.LIF(threshold=0.7, decay=0.8),) * 2)
    net, x = case.net(), case.x()
    drawn = streams("membrane-noise")
    run = run_disturbed(net, x, MembraneNoise(0.3), drawn)
    names = ("disturbance", "membrane-noise", 0, "layer 1")
    noise = np.stack([seeds.normal(0, *names, b, shape=(12, 4)) for b in range(3)], axis=1)
    layer = run.layers[1]
    u, s = layer.u.numpy(), layer.s.numpy()
    before = np.concatenate([np.zeros_like(u[:1]), 0.8 * (u - 0.7 * s)[:-1]])
    heard = np.concatenate([np.zeros_like(s[:1]), s[:-1] @ layer.V.numpy().T])
    added = u - before - heard - layer.drive.numpy()
    assert_close(added, 0.3 * 0.7 * noise, atol=1e-13, why="differences of numbers about 1")
    assert_equal(s, (u >= 0.7).astype(float))


def test_input_noise_is_added_to_the_input():
    x = torch.ones(7, 3, 2, dtype=torch.float64)
    noise = InputNoise(0.4).inputs(x, streams("input-noise")) - x
    names = ("disturbance", "input-noise", 0, "input")
    drawn = np.stack([seeds.normal(0, *names, b, shape=(7, 2)) for b in range(3)], axis=1)
    assert_close(noise, 0.4 * drawn, atol=1e-15, why="1 + noise − 1")


@pytest.mark.parametrize("reach", [1, 3])
def test_jitter_lets_each_step_read_a_frame_within_reach(reach):
    steps, batch = 200, 30
    frames = torch.arange(steps, dtype=torch.float64)[:, None, None].expand(steps, batch, 2)
    read = TimeJitter(reach).inputs(frames, streams("jitter", batch))
    assert_equal(read[..., 0], read[..., 1])
    shift = (read - frames)[reach:-reach, :, 0]
    values, counts = torch.unique(shift, return_counts=True)
    assert values.tolist() == list(range(-reach, reach + 1))
    share = counts / counts.sum() * (2 * reach + 1)
    # about 6,000 shifts: five standard deviations of a share of 1/3 are a tenth of it, of 1/7 a fifth
    assert (share - 1).abs().max() < 0.2
    assert read.min() >= 0
    assert read.max() <= steps - 1


def test_event_jitter_moves_every_event_by_itself_and_loses_none():
    counts = torch.zeros(40, 2, 3)
    counts[20, 0, 1], counts[0, 1, 2], counts[39, 1, 0] = 500, 7, 7
    moved = EventJitter(2).inputs(counts, streams("event-jitter", 2))
    assert_equal(moved.sum(dim=0), counts.sum(dim=0))
    landed = moved[:, 0, 1]
    assert (landed[18:23] > 60).all(), "500 events over five steps"
    assert landed[18:23].sum() == 500
    assert moved[:3, 1, 2].sum() == 7
    assert moved[37:, 1, 0].sum() == 7
    with pytest.raises(ValueError, match=r"from 0 to 0\.5\) are not whole counts of events; use TimeJitter"):
        EventJitter(2).inputs(counts / 1000, streams("event-jitter", 2))


@pytest.mark.parametrize(
    ("recurrence", "shift", "same"),
    [
        (gf.Skip(2), 3, gf.Skip(5)),
        (gf.Skip(4), -1, gf.Skip(3)),
        (gf.Skip(2), -5, gf.Vanilla()),
        (gf.Vanilla(), 2, gf.Skip(3)),
        (gf.Vanilla(), -2, gf.Vanilla()),
        (gf.Skip(2), 30, gf.NoRecurrence()),
    ],
)
@torch.no_grad()
def test_a_shifted_span_is_that_of_another_network(recurrence, shift, same):
    case = replace(SKIPS, recurrences=(recurrence,) * 2)
    other = replace(case, recurrences=(same,) * 2).net()
    other.load_state_dict(case.net().state_dict(), strict=not isinstance(same, gf.NoRecurrence))
    run = run_disturbed(case.net(), case.x(), SpanShift(shift), streams("span-shift"))
    assert_equal(run.logits, other(case.x()).logits)


@torch.no_grad()
def test_an_adaptive_span_shifts_from_its_largest_weight_and_within_its_range():
    case = replace(SKIPS, recurrences=(gf.AdaptiveSkip(5),) * 2)
    net = case.net()
    for layer, best in zip(net.recurrent_layers(), (1, 3), strict=True):
        layer.spans.span_logits.zero_()[best] = 1.0
    shift = SpanShift(2)
    assert [shift.shifted(span, gf.AdaptiveSkip(5)) for span in (2, 4)] == [4, 5]
    run = run_disturbed(net, case.x(), shift, streams("span-shift"))
    other = replace(case, recurrences=(gf.Skip(4), gf.Skip(5))).net()
    other.load_state_dict(net.state_dict(), strict=False)
    assert_equal(run.logits, other(case.x()).logits)
    with pytest.raises(ValueError, match="layer 0 reads a mixture of 5 spans; expected one"):
        run_disturbed(net.train(), case.x(), shift, streams("span-shift"))


@pytest.mark.parametrize("word", STRENGTHS)
@torch.no_grad()
def test_nothing_is_left_behind(word):
    net = SKIPS.net().train()
    net.layers[0].eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    undisturbed, state = net(SKIPS.x()).logits, torch.get_rng_state()
    run_disturbed(net, SKIPS.x(), DISTURBANCES[word](STRENGTHS[word]), streams(word))
    assert_equal(net(SKIPS.x()).logits, undisturbed)
    assert_equal(torch.get_rng_state(), state)
    for name, tensor in net.state_dict().items():
        assert_equal(tensor, before[name])
    assert not any(parameter.grad is not None for parameter in net.parameters())
    assert (net.training, net.layers[0].training) == (True, False)


@pytest.mark.parametrize("word", STRENGTHS)
@torch.no_grad()
def test_a_disturbance_disturbs_and_strength_0_does_not(word):
    net, x = SKIPS.net(), SKIPS.x()
    kind = DISTURBANCES[word]
    assert_equal(run_disturbed(net, x, kind(0), streams(word)).logits, net(x).logits)
    disturbed = run_disturbed(net, x, kind(STRENGTHS[word]), streams(word)).logits
    assert not torch.equal(disturbed, net(x).logits)
    assert_equal(run_disturbed(net, x, kind(STRENGTHS[word]), streams(word)).logits, disturbed)
    if kind.random:
        for other in (streams(word, seed=1), streams(word, repetition=1)):
            assert not torch.equal(run_disturbed(net, x, kind(STRENGTHS[word]), other).logits, disturbed)


def test_numbers_belong_to_the_example_not_to_the_batch():
    like = torch.zeros(6, 4, 3)
    whole = streams(batch=4)
    part = Streams(0, "delete", 0, [2, 3])
    assert_equal(whole.uniform("layer 0", like, 3)[:, 2:], part.uniform("layer 0", like[:, 2:], 3))
    assert_equal(whole.normal("layer 0", like, 3)[:, 2:], part.normal("layer 0", like[:, 2:], 3))
    assert whole.normal("layer 0", like, 3).dtype == torch.float32
    assert not torch.equal(whole.uniform("layer 0", like, 3), whole.uniform("layer 1", like, 3))


class First(gf.tasks.Examples):
    """The first few examples of a split."""

    def __init__(self, whole, count):
        self.whole, self.count = whole, count

    def __len__(self):
        return self.count

    def batch(self, indices):
        return self.whole.batch(self.rows(indices))


WHOLE = gf.tasks.smnist(pool=7)
TASK = replace(WHOLE, validation=First(WHOLE.validation, 60))
STRONG = [SpikeDeletion(0.3), MembraneNoise(0.3), InputNoise(0.3), TimeJitter(3), SpanShift(1)]


def test_results_do_not_depend_on_the_batch_size():
    net = gf.RecurrentSNN(TASK, hidden=(12, 10), recurrence=(gf.Skip(3), gf.AdaptiveSkip(4)))
    found = {size: robustness(net, TASK, STRONG, repetitions=2, seed=3, batch=size) for size in (27, 60)}
    assert found[27].identical(found[60])
    assert found[27].accuracy_delete.sizes == {"delete": 1, "repetition": 2}


def test_strength_0_is_the_undisturbed_accuracy_exactly():
    net = gf.RecurrentSNN(TASK, hidden=12, recurrence=gf.Skip(3))
    kinds = [SpikeDeletion(0), MembraneNoise(0), InputNoise(0), TimeJitter(0), SpanShift(0), SpikeDeletion(1)]
    found = robustness(net, TASK, kinds, repetitions=2)
    accuracy = gf.evaluation.evaluate(net, TASK).accuracy.item()
    for name in ("membrane_noise", "input_noise", "jitter"):
        assert_equal(found[f"accuracy_{name}"].values, np.full((1, 2), accuracy))
    assert_equal(found.accuracy_delete.sel(delete=0.0).values, np.full(2, accuracy))
    assert found.accuracy_span_shift.values.tolist() == [accuracy]
    # without spikes all examples get the same logits, and one class is named
    counts = np.bincount(TASK.validation.batch(range(60)).targets, minlength=10) / 60
    assert found.accuracy_delete.sel(delete=1.0)[0].item() in counts


def test_spans_that_are_read_are_in_the_result():
    net = gf.RecurrentSNN(
        TASK, hidden=(6, 5, 4), recurrence=[gf.Skip(3), gf.NoRecurrence(), gf.AdaptiveSkip(3)]
    )
    found = robustness(net, TASK, [SpanShift(k) for k in (4, -1)], batch=500)
    assert found.span_shift.values.tolist() == [-1, 4]
    assert found.spans.values.tolist() == [[2, 0, 1], [7, 0, 3]]


class Mean(torch.nn.Module):
    """No spikes inside."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 10)[:, None])

    def forward(self, x):
        return gf.Run(x.mean(dim=0) @ self.weight.T, None, (), None, "")


@pytest.mark.usefixtures("no_shape_checks")
def test_other_networks_are_disturbed_at_their_inputs_alone():
    found = robustness(Mean(), TASK, [InputNoise(s) for s in (0.0, 30.0)], repetitions=2)
    assert (found.accuracy_input_noise[0] != found.accuracy_input_noise[1]).any()
    for disturbance in (SpikeDeletion(0.0), MembraneNoise(0.1), SpanShift(1)):
        message = (
            "reaches inside a RecurrentSNN, and this is a Mean; disturb what it reads .input-noise, jitter"
        )
        with pytest.raises(ValueError, match=f"{disturbance.word}: {message}"):
            robustness(Mean(), TASK, [disturbance])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpikeDeletion(1.1), r"SpikeDeletion\(1.1\): expected a number from 0 to 1, the probability"),
        (lambda: MembraneNoise(-0.1), "expected a number of at least 0, the standard deviation"),
        (lambda: InputNoise(float("nan")), r"InputNoise\(nan\): expected a number of at least 0"),
        (lambda: TimeJitter(1.5), "expected a whole number of at least 0, the largest shift k of the frame"),
        (lambda: SpanShift(0.5), r"SpanShift\(0.5\): expected a whole number, the shift k of the span"),
        (lambda: SpanShift(True), "expected a whole number"),
        (lambda: robustness(SKIPS.net(), TASK, []), "disturbances: got none"),
        (lambda: robustness(SKIPS.net(), TASK, [SpanShift(1), SpanShift(1.0)]), "expected each once"),
        (lambda: robustness(SKIPS.net(), TASK, STRONG, repetitions=0), "repetitions: got 0, expected"),
        (lambda: robustness(SKIPS.net(), TASK, STRONG, seed=-1), "seed: got -1, expected an integer"),
        (lambda: robustness(SKIPS.net(), TASK, STRONG, batch=0), "batch: got 0, expected"),
        (
            lambda: robustness(
                replace(SKIPS, recurrences=(gf.NoRecurrence(),) * 2).net(), TASK, [SpanShift(1)]
            ),
            "span-shift: this network has no recurrence whose span could be moved",
        ),
    ],
)
@pytest.mark.usefixtures("no_shape_checks")
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_words_of_the_command_line():
    assert parse_disturbances(["delete=0,.1", "span-shift=-2,2"]) == [
        SpikeDeletion(0.0), SpikeDeletion(0.1), SpanShift(-2), SpanShift(2)
    ]  # fmt: skip
    for text, message in {
        "delete": "'delete': expected KIND=STRENGTH,…, as in delete=0,0.1,0.2",
        "delet=1": "'delet': expected one of delete, .*; the nearest is delete",
        "delete=a": "'delete=a': expected numbers with commas",
        "jitter=1,1": "jitter=1: given twice",
        "delete=2": r"SpikeDeletion\(2.0\): expected a number from 0 to 1",
    }.items():
        with pytest.raises(ValueError, match=message):
            parse_disturbances([text])
