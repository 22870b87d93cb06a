# SPDX-License-Identifier: Apache-2.0
"""The demo as a user starts it: camera and node are real processes, the model is a stand-in."""

from __future__ import annotations

import fcntl
import functools
import mmap
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import pytest

from depth_core.errors import ConfigError, DepthError
from depth_core.shipped import shipped_file
from depth_ros.demo.children import remove_orphans, shared_memory_names
from depth_ros.demo.run import main, make_folder, one_machine_environment
from depth_ros.middleware.fastdds import SHARED_MEMORY, fitting_profile
from test.depth_ros.ros_processes import (
    PATIENCE_S,
    REPOSITORY,
    RosSession,
    domain_id_of_this_worker,
    ros_session,
)
from test.standin import write_standin_onnx

LIVE = ('--live', '--height', '120', '--width', '160', '--frames', '3', '--scene', 'office')


class Demo:
    """A demo in a process group of its own, like a foreground job of a shell."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.domain_id = domain_id_of_this_worker()
        self.output_dir = folder / 'demo_output'
        self.process = subprocess.Popen(
            [
                *(sys.executable, '-m', 'depth_ros.demo', *options),
                *('--domain_id', str(self.domain_id), '--output_dir', str(self.output_dir)),
            ],
            cwd=folder,
            env={**os.environ, 'PYTHONPATH': str(REPOSITORY), 'OMP_NUM_THREADS': '1'},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def read_until(self, pattern: str) -> str:
        """Return what it printed up to the first line that matches."""
        assert self.process.stdout is not None
        lines: list[str] = []
        for line in self.process.stdout:
            lines.append(line)
            if re.search(pattern, line):
                return ''.join(lines)
        message = f'the demo ended without {pattern!r}:\n{"".join(lines)}'
        raise AssertionError(message)

    def finish(self) -> tuple[int, str]:
        """Return its exit status and the rest of its output."""
        output, _ = self.process.communicate(timeout=2.0 * PATIENCE_S)
        return self.process.returncode, output

    def family(self) -> list[int]:
        """Process ids of the demo and of everything else that lives in its ROS domain."""
        mark = f'ROS_DOMAIN_ID={self.domain_id}'.encode()
        found = [] if self.process.poll() is not None else [self.process.pid]
        for folder in Path('/proc').glob('[0-9]*'):
            try:
                variables = (folder / 'environ').read_bytes().split(b'\0')
                arguments = (folder / 'cmdline').read_bytes()
            except OSError:
                continue
            if mark in variables and b'depth_ros.' in arguments:
                found.append(int(folder.name))
        return found

    def segments(self) -> set[str]:
        """Shared memory that its processes have mapped."""
        found = set()
        for pid in self.family():
            maps = Path(f'/proc/{pid}/maps').read_text(encoding='utf-8')
            found |= set(re.findall(rf'{SHARED_MEMORY}/(fastdds_\S+)', maps))
        return found


@pytest.fixture
def demos() -> Iterator[list[Demo]]:
    started: list[Demo] = []
    yield started
    for demo in started:
        demo.process.kill()
        demo.process.wait()
        assert demo.process.stdout is not None
        demo.process.stdout.close()


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write_standin_onnx(tmp_path / 'standin.onnx'))


@pytest.mark.ros
@pytest.mark.parametrize(
    ('camera', 'title'), [((), 'recording'), (LIVE, 'synthetic camera')], ids=['recorded', 'live']
)
def test_frames_flow_and_are_scored_and_drawn(
    camera: Sequence[str], title: str, tmp_path: Path, demos: list[Demo], model: str
) -> None:
    for rate_hz in ('5', '2', '1', '0.5'):  # what the command says to a busy machine: a lower one
        duration_s = '3' if rate_hz == '5' else '8'
        options = ('--model', model, '--duration_s', duration_s, '--rate_hz', rate_hz)
        demos.append(Demo(tmp_path, *options, *camera))
        status, output = demos[-1].finish()
        if 'lower --rate_hz' not in output:
            break
    assert status == 0, output
    images, depth_maps = map(int, re.findall(r'(\d+) images, (\d+) depth maps', output)[-1])
    assert images >= depth_maps > 0
    assert f'{title} -> mono_depth' in output
    for row in ('input', 'output', 'latency', 'drops', 'backend', 'AbsRel', 'delta1'):
        assert re.search(rf'│ {row} +│ \S+', output), f'no {row} in\n{output}'
    assert '\x1b' not in output, 'control codes although this is no terminal'
    drawn = cv2.imread(str(demos[-1].output_dir / 'demo.png'))
    assert drawn is not None
    assert len({tuple(pixel) for pixel in drawn[::7, ::7].reshape(-1, 3)}) > 50


def is_owned(name: str) -> bool:
    """Whether a living process owns a segment; all domains of a machine share one of the ports."""
    try:
        with (SHARED_MEMORY / f'{name}_el').open('rb') as lock_file:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@pytest.mark.ros
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, demos: list[Demo], model: str) -> None:
    before = shared_memory_names()
    demo = Demo(tmp_path, '--model', model, '--duration_s', '600')
    demos.append(demo)
    demo.read_until(r'images, [1-9]\d* depth maps')
    assert len(demo.family()) == 3, 'the demo, the camera and the node'
    segments = demo.segments()
    assert len(segments) >= 3, 'one segment for each process'
    os.killpg(demo.process.pid, signal.SIGINT)
    status, output = demo.finish()
    assert status == 130, output
    assert 'Traceback' not in output
    assert demo.family() == []
    left = (segments - before) & shared_memory_names()
    assert {name for name in left if not is_owned(name)} == set()


@pytest.mark.ros
def test_a_dying_demo_takes_its_processes_along(
    tmp_path: Path, demos: list[Demo], model: str
) -> None:
    demo = Demo(tmp_path, '--model', model, '--duration_s', '600')
    demos.append(demo)
    demo.read_until(r'^starting')
    before = shared_memory_names() - demo.segments()
    demo.process.kill()
    demo.process.wait()
    end_s = time.monotonic() + PATIENCE_S
    while demo.family() and time.monotonic() < end_s:
        time.sleep(0.05)
    assert demo.family() == []
    remove_orphans(before, domain_id=demo.domain_id)  # the demo itself had no chance


@pytest.mark.ros
def test_a_node_that_dies_ends_the_demo_with_its_last_words(
    tmp_path: Path, demos: list[Demo], model: str
) -> None:
    damaged = tmp_path / 'damaged.onnx'
    damaged.write_bytes(Path(model).read_bytes()[:100])
    demos.append(Demo(tmp_path, '--model', str(damaged)))
    status, output = demos[0].finish()
    assert status == 2
    assert 'error: mono_depth ended with status 2' in output
    assert 'damaged.onnx' in output.split('The end of', 1)[1], 'the reason stands in the log'
    assert 'Traceback' not in output
    assert demos[0].family() == []


@pytest.mark.ros
def test_too_few_frames_are_a_failure(tmp_path: Path, demos: list[Demo], model: str) -> None:
    options = ('--model', model, '--duration_s', '1', '--rate_hz', '100000')
    demos.append(Demo(tmp_path, *options))
    status, output = demos[0].finish()
    assert status == 2
    assert re.search(r'error: frames did not flow: \d+ images and \d+ depth maps in 1 s', output)
    assert 'at least 80000 are needed' in output


@pytest.mark.parametrize(
    ('options', 'complaint'),
    [
        (['--model', '/no/such/model.onnx'], 'does not exist as a file'),
        (['--duration', '3'], "unknown option '--duration'; did you mean '--duration_s'?"),
        (['--rate_hz', 'nan'], "'nan' is not a number above 0"),
        (['--frames', '2.5'], "'2.5' is not a whole number of at least 1"),
        (['--scene', 'office'], '--scene is an option of the live synthetic camera; add --live.'),
    ],
)
def test_wrong_options_are_answered_in_one_line(options: Sequence[str], complaint: str) -> None:
    found = subprocess.run(
        [sys.executable, '-m', 'depth_ros.demo', *options],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert found.stderr.startswith('error: ')
    assert complaint in found.stderr
    assert found.stderr.count('\n') == 1


def test_a_live_camera_without_torch_is_answered_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, 'torch', None)
    with pytest.raises(ConfigError, match='PyTorch, which is not installed; run make setup'):
        main(['--live'])


def test_demo_player_and_node_do_without_what_the_demo_does_not_install() -> None:
    code = (
        'import sys\n'
        'import depth_ros.demo.run, depth_ros.pictures.picture, depth_ros.demo.record\n'
        'import depth_ros.play_bag, depth_ros.mono_depth_node\n'
        "absent = {'torch', 'torchvision', 'timm', 'h5py', 'onnx', 'onnxruntime', 'tqdm'}\n"
        "absent |= {'jsonargparse', 'lightning_fabric', 'safetensors'}\n"
        'print(sorted(absent & set(sys.modules)))'
    )
    found = subprocess.run(
        [sys.executable, '-c', code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == '[]'


@pytest.mark.ros
def test_only_the_segments_of_dead_processes_are_removed(tmp_path: Path) -> None:
    code = 'import rclpy, time; rclpy.init(); node = rclpy.create_node("n"); time.sleep(600)'
    with ros_session(tmp_path) as session:
        before = shared_memory_names()
        mapped: list[set[str]] = []
        for name in ('dead', 'living'):
            process = session.start('-c', code.replace('"n"', f'"{name}"'))
            started = functools.partial(_is_alive, session, name)
            session.until(started, f'node {name}')
            maps = Path(f'/proc/{process.process.pid}/maps').read_text(encoding='utf-8')
            mapped.append(set(re.findall(rf'{SHARED_MEMORY}/(fastdds_[0-9a-f]{{16}})\b', maps)))
        # Processes map the segments of their peers too; what both have says nothing.
        dead, living = mapped[0] - mapped[1] - before, mapped[1] - mapped[0] - before
        assert living
        session.processes[0].process.kill()
        session.processes[0].process.wait()
        taken = SHARED_MEMORY / 'fastdds_port6999'  # by this process, which has not locked it yet
        free, other = (SHARED_MEMORY / f'fastdds_port{port}' for port in (6998, 7400))
        for path in (taken, free, other):
            path.write_bytes(b'port')
        with taken.open('rb') as file, mmap.mmap(file.fileno(), 4, prot=mmap.PROT_READ):
            domain_id = int(session.environment['ROS_DOMAIN_ID'])
            remove_orphans(before, domain_id=domain_id)
        left = shared_memory_names()
        for path in (taken, free, other):
            path.unlink(missing_ok=True)
            path.with_name(f'{path.name}_el').unlink(missing_ok=True)
        assert not dead & left
        assert living <= left
        assert {taken.name, other.name} <= left, 'whose they are is not known, or not yet'
        assert free.name not in left


def _is_alive(session: RosSession, name: str) -> bool:
    return name in session.node.get_node_names()


def test_the_environment_keeps_ros_on_this_machine() -> None:
    environment = one_machine_environment(77, Path('/profile.xml'))
    assert environment['ROS_DOMAIN_ID'] == '77'
    assert environment['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'LOCALHOST'
    assert environment['FASTDDS_DEFAULT_PROFILES_FILE'] == '/profile.xml'


def test_a_small_shared_memory_gets_small_segments(tmp_path: Path) -> None:
    shipped = shipped_file('config/fastdds.xml')
    enough, little = 2**31, 64 * 2**20
    assert fitting_profile(tmp_path, processes=3, free_bytes=enough) == shipped
    assert list(tmp_path.iterdir()) == []
    smaller = fitting_profile(tmp_path, processes=3, free_bytes=little)
    tag = re.compile(r'<(segment_size|maxMessageSize)>(\d+)<')
    sizes = [int(size) for _, size in tag.findall(smaller.read_text())]
    assert len(sizes) == len(tag.findall(shipped.read_text())) == 2
    assert all(8 * 2**20 < size < little / 3 for size in sizes)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    file = tmp_path / 'file'
    file.touch()
    with pytest.raises(DepthError, match=f'cannot make the folder {file}/demo: Not a directory'):
        make_folder(file / 'demo')
