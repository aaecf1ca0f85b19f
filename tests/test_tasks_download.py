"""Downloads from a server of our own, which cuts off, lies, resumes and refuses as servers do."""

import errno
import hashlib
import io
import sys
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from published import write_commands, write_shd

from gradflow import tasks
from gradflow.tasks import InvalidFileError, archives, bars, download, events, speech_commands
from gradflow.tasks.archives import untar, unzip_member
from gradflow.tasks.download import CutOffError, Published, checksum, fetch, write_whole

CONTENT = bytes(range(256)) * 5000
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files`; `cut` cuts that many transfers in half, `ranges` says whether parts can be had."""

    daemon_threads = True

    def __init__(self, files):
        self.files = files
        self.cut = 0
        self.ranges = True
        self.asked = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        content = server.files.get(self.path[1:])
        if content is None:
            self.send_error(404)
            return
        first = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        if first and first >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        rest = content[first:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if server.cut:
            server.cut -= 1
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)

    def log_message(self, *args):
        pass


@contextmanager
def serving(**files):
    server = Server({name.replace("__", "."): content for name, content in files.items()})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def published(server, checksum=MD5, name="data.bin", algorithm="md5"):
    return Published(server.url + name, name, algorithm, checksum)


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_file_comes_whole_and_is_not_fetched_twice(tmp_path, algorithm):
    digest = hashlib.new(algorithm, CONTENT).hexdigest()
    with serving(data__bin=CONTENT) as server:
        file = published(server, digest, algorithm=algorithm)
        for _ in range(2):
            assert fetch(file, tmp_path / "new" / "folder").read_bytes() == CONTENT
    assert server.asked == [None]
    assert names(tmp_path) == ["data.bin"]
    assert checksum(tmp_path / "new" / "folder" / "data.bin", algorithm) == digest


def test_a_file_that_is_there_but_wrong_is_replaced(tmp_path):
    (tmp_path / "data.bin").write_bytes(b"an older edition")
    with serving(data__bin=CONTENT) as server:
        assert fetch(published(server), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_is_taken_up_again(tmp_path, ranges):
    with serving(data__bin=CONTENT) as server:
        server.cut, server.ranges = 2, ranges
        assert fetch(published(server), tmp_path).read_bytes() == CONTENT
    half, three_quarters = len(CONTENT) // 2, len(CONTENT) * 3 // 4
    second = three_quarters if ranges else half
    assert server.asked == [None, f"bytes={half}-", f"bytes={second}-"]
    assert names(tmp_path) == ["data.bin"]


def test_what_came_is_kept_for_the_next_call(tmp_path):
    with serving(data__bin=CONTENT) as server:
        server.cut = 3
        with pytest.raises(
            CutOffError, match=rf"ended after 1120000 of {len(CONTENT)} bytes, which are kept in"
        ):
            fetch(published(server), tmp_path)
        assert names(tmp_path) == ["data.bin.part"]
        assert fetch(published(server), tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=1120000-"


def test_a_part_of_something_else_is_thrown_away(tmp_path):
    (tmp_path / "data.bin.part").write_bytes(b"another edition")
    with serving(data__bin=CONTENT) as server:
        assert fetch(published(server), tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=15-", None]


def test_a_part_that_is_the_whole_needs_no_more(tmp_path):
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    with serving(data__bin=CONTENT) as server:
        assert fetch(published(server), tmp_path).read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize("before", [None, b"a part"])
def test_a_wrong_checksum_is_refused_and_nothing_kept(tmp_path, before):
    if before:
        (tmp_path / "data.bin.part").write_bytes(before)
    message = rf"data.bin: got 9 bytes with md5 {hashlib.md5(b'tampered!').hexdigest()}, expected {MD5}"
    with serving(data__bin=b"tampered!") as server, pytest.raises(InvalidFileError, match=message):
        fetch(published(server), tmp_path)
    assert names(tmp_path) == []


def test_a_file_that_is_not_there(tmp_path):
    with (
        serving() as server,
        pytest.raises(ConnectionError, match=r"data.bin: the server answers 404 \(Not Fo"),
    ):
        fetch(published(server), tmp_path)
    assert names(tmp_path) == []


def test_a_server_that_cannot_be_reached(tmp_path):
    with serving() as server:
        file = published(server)
    with pytest.raises(
        ConnectionError, match=r"data.bin: cannot be reached \(.*refused.*name the folder it is"
    ):
        fetch(file, tmp_path)


def test_a_full_disk_is_noticed_before_and_during(tmp_path, monkeypatch):
    usage = download.shutil.disk_usage(tmp_path)
    with serving(data__bin=CONTENT) as server:
        monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
        with pytest.raises(OSError, match=r"1 MB are free, expected 1 MB for data.bin; make") as caught:
            fetch(published(server), tmp_path)
        assert caught.value.errno == errno.ENOSPC
        monkeypatch.undo()

        def full(number):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(download.os, "fsync", full)
        with pytest.raises(
            OSError, match=r"cannot write data.bin.part there \(No space left on device\); make"
        ):
            fetch(published(server), tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with (
        serving(data__bin=CONTENT) as server,
        pytest.raises(OSError, match=r"file: cannot write .* there .*name another folder"),
    ):
        fetch(published(server), tmp_path / "file")
    assert server.asked == []


def test_a_bar_is_drawn_on_a_terminal_and_nowhere_else(monkeypatch, capsys):
    with bars.bar("data.bin", 100, in_bytes=True) as advance:
        advance(50)
    assert capsys.readouterr().err == ""
    drawn = io.StringIO()
    drawn.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", drawn)
    with bars.bar("data.bin", 2_000_000, done=500_000, in_bytes=True) as advance:
        advance(500_000)
    assert "data.bin" in drawn.getvalue()
    assert "1.0/2.0 MB" in drawn.getvalue()


def test_a_draft_never_gets_the_name_of_a_whole_file(tmp_path):
    target = tmp_path / "whole"
    target.write_bytes(b"before")

    def fail(draft):
        draft.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(target, fail)
    assert (names(tmp_path), target.read_bytes()) == (["whole"], b"before")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_whole(target, lambda draft: (tmp_path / "nowhere").read_bytes())


def zipped(path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        out.write(path, path.name)
    return packed.getvalue()


@pytest.fixture
def shd_server(tmp_path, monkeypatch):
    folder = write_shd(tmp_path / "made")
    packed = {f"{name}.zip": zipped(folder / name) for name in events.SHD_FILES}
    with serving() as server:
        server.files = packed
        monkeypatch.setattr(events, "SITE", server.url)
        monkeypatch.setattr(
            events,
            "CHECKSUMS",
            {name[:-4]: hashlib.md5(content).hexdigest() for name, content in packed.items()},
        )
        yield server


def test_shd_is_downloaded_checked_and_unpacked(tmp_path, monkeypatch, shd_server):
    monkeypatch.setenv("GRADFLOW_DATA", str(tmp_path / "own"))
    task = tasks.shd(download=True)
    assert [len(part) for part in (task.train, task.validation, task.test)] == [22, 2, 6]
    assert names(tmp_path / "own") == ["shd_test.h5", "shd_train.h5"]
    (tmp_path / "own" / "shd" / "shd_test.h5").unlink()
    asked = len(shd_server.asked)
    assert len(tasks.shd(download=True).test) == 6
    assert len(shd_server.asked) == asked + 1
    assert len(tasks.shd().test) == 6


def test_shd_with_a_wrong_checksum_is_not_unpacked(tmp_path, shd_server):
    shd_server.files["shd_train.h5.zip"] += b"!"
    with pytest.raises(InvalidFileError, match=r"shd_train.h5.zip: got \d+ bytes with md5"):
        tasks.shd(tmp_path / "there", download=True)
    assert names(tmp_path / "there") == []


def test_the_command_line_downloads_to_the_folder_named(tmp_path, monkeypatch, capsys, shd_server):
    from gradflow.cli.app import app

    place = tmp_path / "there"
    app(["tasks", "--download", "shd", "--folder", str(place)], standalone_mode=False)
    line = capsys.readouterr().out
    assert line.startswith(
        "shd            250 steps x 140, 20 classes, train / validation / test 22 / 2 / 6  (there)"
    )
    assert names(place) == ["shd_test.h5", "shd_train.h5"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--download", "smnist"], "--download: got 'smnist', expected shd, ssc, gsc"),
        (["--folder", "x"], "--folder goes with --download NAME"),
    ],
)
def test_the_command_line_refuses_what_it_cannot_fetch(arguments, message):
    from gradflow.cli.app import UsageError, app

    with pytest.raises(UsageError, match=message):
        app(["tasks", *arguments], standalone_mode=False)


def test_the_list_of_tasks_says_which_data_are_there(tmp_path, monkeypatch, capsys):
    from gradflow.cli.app import app

    monkeypatch.setenv("GRADFLOW_DATA", str(tmp_path))
    write_shd(tmp_path / "shd")
    app(["tasks"], standalone_mode=False)
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert list(lines) == list(tasks.TASKS)
    assert lines["shd"].endswith(f"250 steps x 140, 20 classes  (found in {tmp_path}/shd)")
    assert lines["gsc"].endswith(
        f"101 steps x 40, 12 classes  (fetch it with --download gsc; not in {tmp_path}/gsc)"
    )
    assert (
        "25 steps x 5, 4 classes, train / validation / test 5000 / 1000 / 1000, memory demand 20"
        in (lines["delayed-recall"])
    )
    assert "51 steps x 2, a number" in lines["adding"]


def test_sizes_of_the_list_are_those_of_the_tasks(tmp_path):
    task = tasks.shd(write_shd(tmp_path))
    known = tasks.DOWNLOADED["shd"].sizes
    assert (known.steps, known.inputs, known.classes) == (task.steps, task.inputs, task.classes)


def packed_commands(folder, **extra):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as out:
        out.add(folder, ".")
        for name, target in extra.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            out.addfile(link)
    return packed.getvalue()


def test_speech_commands_are_downloaded_checked_and_unpacked(tmp_path, monkeypatch):
    pytest.importorskip("soundfile", reason="needs soundfile: pip install -e '.[speech]'")
    content = packed_commands(write_commands(tmp_path / "made"))
    with serving(commands=content) as server:
        file = published(server, hashlib.sha256(content).hexdigest(), "commands", "sha256")
        monkeypatch.setattr(speech_commands, "ARCHIVE", file)
        monkeypatch.setenv("GRADFLOW_DATA", str(tmp_path / "own"))
        task = tasks.gsc(download=True)
        assert (task.steps, len(task.train)) == (101, 36)
        tasks.gsc(download=True)
    assert server.asked == [None]
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == ["features", "gsc"]
    made, got = names(tmp_path / "made"), names(tmp_path / "own" / "gsc")
    assert made == got


def test_a_tar_leaves_what_is_there_and_puts_the_lists_last(tmp_path, monkeypatch):
    archive = tmp_path / "commands.tar.gz"
    archive.write_bytes(packed_commands(write_commands(tmp_path / "made")))
    (tmp_path / "there" / "yes").mkdir(parents=True)
    (tmp_path / "there" / "yes" / "own.txt").write_text("mine")
    untar(archive, tmp_path / "there", last=("testing_list.txt", "validation_list.txt"))
    assert names(tmp_path / "there") == sorted([*names(tmp_path / "made"), "own.txt"])
    moved = []
    move = archives._move
    monkeypatch.setattr(archives, "_move", lambda a, b: moved.append(b.name) or move(a, b))
    untar(archive, tmp_path / "again", last=("testing_list.txt", "validation_list.txt"))
    assert moved[-2:] == ["testing_list.txt", "validation_list.txt"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[: len(content) // 2], "cannot be unpacked"),
        (lambda content: b"<!DOCTYPE html>", "cannot be unpacked"),
    ],
)
def test_a_damaged_tar_is_refused_and_nothing_unpacked(tmp_path, damage, message):
    archive = tmp_path / "commands.tar.gz"
    archive.write_bytes(damage(packed_commands(write_commands(tmp_path / "made", train=1))))
    with pytest.raises(
        InvalidFileError, match=f"commands.tar.gz: {message}.*Remove the archive and fetch it"
    ):
        untar(archive, tmp_path / "there", last=())
    assert not (tmp_path / "there").exists() or names(tmp_path / "there") == []


def test_a_tar_that_reaches_outside_is_refused(tmp_path):
    archive = tmp_path / "commands.tar.gz"
    archive.write_bytes(packed_commands(write_shd(tmp_path / "made"), evil="../../../outside"))
    with pytest.raises(InvalidFileError, match=r"cannot be unpacked .*outside the destination"):
        untar(archive, tmp_path / "there", last=())


def test_a_zip_without_the_file_or_damaged_is_refused(tmp_path):
    made = write_shd(tmp_path / "made") / "shd_test.h5"
    archive = tmp_path / "shd_train.h5.zip"
    content = zipped(made)
    for damaged in (content, content[:-30], content[:200] + b"????" + content[204:]):
        archive.write_bytes(damaged)
        target = tmp_path / ("shd_train.h5" if damaged is content else "shd_test.h5")
        with pytest.raises(
            InvalidFileError, match=r"shd_train.h5.zip: cannot unpack shd_.*Remove the archive"
        ):
            unzip_member(archive, target)
        assert not target.exists()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"GRADFLOW_DATA": "/data/here"}, "/data/here"),
        ({"GRADFLOW_DATA": "/data/here", "XDG_CACHE_HOME": "/cache"}, "/data/here"),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/gradflow"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/someone/.cache/gradflow"),
        ({}, "/home/someone/.cache/gradflow"),
        ({"GRADFLOW_DATA": "~/mine"}, "/home/someone/mine"),
    ],
)
def test_gradflows_own_folder(monkeypatch, variables, expected):
    for name in ("GRADFLOW_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(tasks.data_folder()) == expected
