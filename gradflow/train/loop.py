"""The training loop: steps, validation, checkpoints, and the test split once at the end.

    for each epoch: set the rates → for each batch: a step → validate → remember the best →
    anneal the spans → look at the gradient → write the checkpoint and the log

Everything random is drawn from streams named after (seed, epoch, batch): a run that was killed and resumed
ends with the same bits as one that was not, on the same machine with the same threads and versions.
"""

import time
import tomllib
from importlib.util import find_spec
from os import PathLike
from pathlib import Path

import torch

from gradflow.progress import Progress, silent
from gradflow.storage import save
from gradflow.tasks import Split
from gradflow.train import state
from gradflow.train.build import set_rate
from gradflow.train.checkpoint import Checkpoint, CheckpointStore, read_checkpoint
from gradflow.train.config import TrainConfig
from gradflow.train.devices import Share
from gradflow.train.files import write_whole
from gradflow.train.logs import EVENTS_NAME, LOG_NAME, Events, row_of, write_rows
from gradflow.train.position import Best, Tally
from gradflow.train.processes import choose_devices
from gradflow.train.schedule import rate_of
from gradflow.train.session import Session, require_same_run
from gradflow.train.sources import CONFIG_NAME, read_toml, resolve, write_toml
from gradflow.train.steps import DivergedError, evaluate, learn
from gradflow.train.summary import SUMMARY_NAME, Summary, summarise
from gradflow.train.watch import look, read_watch, write_look

CHECKPOINTS_NAME, LOOKS_NAME, GRADIENTS_NAME = "checkpoints", "gradients", "gradients.nc"
NEEDED = ("safetensors", "tomli_w")


def train(
    config: TrainConfig,
    out: str | PathLike[str],
    *,
    resume: bool = False,
    progress: Progress = silent,
) -> Summary:
    """Train a network and write everything about it into a folder.

    The folder holds `config.toml`, `log.csv`, `checkpoints/`, `gradients/` and, once finished, `gradients.nc`
    and `summary.json`; with tensorboard installed, its events.

    Args:
        config: what to do.
        out: the folder, made if need be.
        resume: go on where the run in the folder is; begin it where there is none. A finished run is left
            as it is, and its summary returned.
        progress: told of every step.

    Started by torchrun or accelerate in several processes, all of them train the one network together, and
    each returns the summary; the first one writes.

    Raises:
        ValueError: for a configuration that makes no run, a folder with a run that is not to be resumed, or
            with another run (ForeignCheckpointError); where all checkpoints are damaged (CheckpointError).
        DivergedError: where loss or gradient explode, with the last good checkpoint.
        ImportError: where the packages of the extra `train` are missing.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"training needs {' and '.join(missing)}: install gradflow with its extra, pip install "
            "'gradflow-snn[train]'"
        )
    folder = Path(out)
    store = CheckpointStore(folder / CHECKPOINTS_NAME, config.checkpoint.keep)
    where = config.training
    devices = choose_devices(where.device, getattr(torch, config.network.dtype), where.precision)
    finished = devices.from_main(lambda: _finished(config, folder, store, resume))
    if finished is not None:
        return finished
    session = Session.start(config, devices)
    saved = devices.from_main(lambda: _latest(config, store)) if resume else None
    if saved is not None:
        session.restore(saved)
    return _Run(session, folder, store, progress).whole()


def _finished(config: TrainConfig, folder: Path, store: CheckpointStore, resume: bool) -> Summary | None:
    """Return the summary of the run in a folder where it is finished; raise where it is not to be gone on."""
    if not resume and ((folder / CONFIG_NAME).exists() or store.folder.exists()):
        raise ValueError(f"{folder}: holds a run; go on with --resume, or choose another folder")
    if not (folder / CONFIG_NAME).exists():
        return None
    require_same_run(config, stored_config(folder), str(folder))
    return Summary.read(folder) if (folder / SUMMARY_NAME).exists() else None


def _latest(config: TrainConfig, store: CheckpointStore) -> Checkpoint | None:
    """Return the latest checkpoint of this run, if there is one."""
    saved = store.read_latest()
    if saved is not None:
        require_same_run(config, resolve(tomllib.loads(saved.config)), str(store.folder))
    return saved


def stored_config(out: str | PathLike[str]) -> TrainConfig:
    """Return the configuration of the run in a folder.

    Raises FileNotFoundError where there is none.
    """
    return resolve(read_toml(Path(out) / CONFIG_NAME))


def load_run(out: str | PathLike[str], *, step: int | None = None) -> Session:
    """Return a run with the weights of its best epoch so far, for whatever is to be measured on it.

    Args:
        out: the folder of the run.
        step: instead of the best weights those after so many steps, where that checkpoint is still there.

    Raises:
        FileNotFoundError: where there is no run, or no such checkpoint.
        CheckpointError: where it is damaged.
    """
    session = Session.start(stored_config(out))
    store = CheckpointStore(Path(out) / CHECKPOINTS_NAME)
    saved = store.read_latest() if step is None else read_checkpoint(store.path(step))
    if saved is None:
        raise FileNotFoundError(f"{out}: no checkpoint yet")
    session.restore(saved)
    if step is None and session.best:
        state.load_model(session.net, session.best)
    return session


class _Run:
    """A session with the folder it writes to."""

    def __init__(self, session: Session, folder: Path, store: CheckpointStore, progress: Progress) -> None:
        self.session, self.folder, self.store, self.progress = session, folder, store, progress
        self.main = session.devices.main
        if self.main:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / CONFIG_NAME, write_toml(session.config).encode())
        wanted = session.config.logging.tensorboard and self.main
        self.events = Events(folder / EVENTS_NAME, wanted=wanted, step=session.position.step)

    def whole(self) -> Summary:
        """Go through the epochs that are left, and test."""
        session = self.session
        try:
            if session.position.step == 0:
                self.look()
                self.write_checkpoint()
            while session.position.epoch < session.config.training.epochs:
                self.epoch()
        except DivergedError as error:
            last = session.devices.from_main(lambda: self.store.paths()[-1])
            raise DivergedError(f"{error}. The last good checkpoint is {last}") from None
        finally:
            self.events.close()
        return self.finish()

    def epoch(self) -> None:
        """Go through the batches of an epoch that are left."""
        session, config = self.session, self.session.config
        set_rate(session.optimiser, rate_of(config.schedule, session.position.epoch, config.training.epochs))
        shares = session.devices.shares(
            session.task,
            config.training.batch,
            seed=config.training.seed,
            epoch=session.position.epoch,
            start=session.position.batch,
        )
        for share in shares:
            self.step(share)
            at = session.position
            if at.batch == session.batches:
                break
            if session.plan.due(at.step):
                self.look()
            if config.checkpoint.every and at.step % config.checkpoint.every == 0:
                self.write_checkpoint()
        self.end_epoch()

    def step(self, share: Share) -> None:
        """Make one step and say so."""
        session, began = self.session, time.perf_counter()
        loss, correct, norm = learn(session, share)
        at, count = session.position, share.whole
        session.position = at._replace(
            step=at.step + 1,
            batch=at.batch + 1,
            tally=at.tally.plus(loss, correct, count, norm),
            first_loss=loss / count if at.first_loss is None else at.first_loss,
            seconds=at.seconds.plus(training=time.perf_counter() - began),
        )
        epochs = session.config.training.epochs
        before = f", validation {at.history[-1]['validation_accuracy']:.1%}" if at.history else ""
        what = f"epoch {at.epoch + 1} of {epochs}, loss {session.position.tally.mean_loss:.3g}{before}"
        if self.main:
            self.progress(session.position.step, epochs * session.batches, what)

    def end_epoch(self) -> None:
        """Validate, anneal, look at the gradient, remember the best, write."""
        session, began = self.session, time.perf_counter()
        validation = evaluate(session, Split.VALIDATION)
        at = session.position
        row = row_of(session, validation)
        best = Best(at.epoch + 1, at.step, validation.accuracy, validation.mean_loss)
        better = best.beats(at.best)
        if better:
            session.remember_best()
        session.net.anneal()
        session.position = at._replace(
            epoch=at.epoch + 1,
            batch=0,
            tally=Tally(),
            history=(*at.history, row),
            best=best if better else at.best,
            seconds=at.seconds.plus(validation=time.perf_counter() - began),
        )
        if session.plan.due(at.step) or (session.plan.every and self.finished):
            self.look()
        # before the checkpoint: killed in between, the epoch is run and written again
        if self.main:
            write_rows(self.folder / LOG_NAME, session.position.history)
            self.events.add(row)
        self.write_checkpoint()

    @property
    def finished(self) -> bool:
        """Return whether all epochs are done."""
        return self.session.position.epoch >= self.session.config.training.epochs

    def look(self) -> None:
        """Look at the gradient and write what is seen."""
        session, began = self.session, time.perf_counter()
        if session.plan.every and self.main:
            batch = session.task.sample(session.plan.samples, seed=session.config.watch.seed)
            seen = look(session.net, batch.to(dtype=session.net.dtype), lags=session.plan.lags)
            at = session.position
            epoch = at.epoch + at.batch / session.batches
            write_look(self.folder / LOOKS_NAME, seen, epoch=epoch, step=at.step)
        spent = time.perf_counter() - began
        session.position = session.position._replace(seconds=session.position.seconds.plus(watch=spent))

    def write_checkpoint(self) -> None:
        """Write where the run is."""
        if not self.main:
            return
        session, began = self.session, time.perf_counter()
        self.store.write(session.checkpoint())
        spent = time.perf_counter() - began
        session.position = session.position._replace(seconds=session.position.seconds.plus(writing=spent))

    def finish(self) -> Summary:
        """Test the best epoch's weights, and sum up."""
        session = self.session
        state.load_model(session.net, session.best)
        summary = summarise(session, self.folder, evaluate(session, Split.TEST))
        return session.devices.from_main(lambda: self.write(summary))

    def write(self, summary: Summary) -> Summary:
        """Write what is written once all is done, and return the summary."""
        if self.session.plan.every:
            save(read_watch(self.folder / LOOKS_NAME), self.folder / GRADIENTS_NAME)
        summary.write(self.folder)
        return summary
