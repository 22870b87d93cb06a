# SPDX-License-Identifier: Apache-2.0
"""A backend that hangs, fails or ends its thread, in a real node."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sensor_msgs.msg import Image

from depth_core.errors import BackendError, DataError
from depth_ros.health.watchdog import STEADY_ANSWERS, InferenceRecord
from depth_ros.stress.faulty_node import ANSWER, give_order
from test.depth_ros.ros_processes import NodeProcess, RosSession, ros_session
from test.depth_ros.sample_messages import header, image
from test.standin import write_standin_onnx


class Spoilt:
    """A node whose backends do as they are ordered."""

    def __init__(self, ros: RosSession, folder: Path) -> None:
        self.ros = ros
        self.orders = folder / 'orders'
        self.number = 0
        self.order(ANSWER)
        model = write_standin_onnx(folder / 'standin.onnx')
        parameters = {
            'model': str(model),
            'backend': "'onnxruntime, openvino'",
            'diagnostics_period_s': '0.1',
            'output_timeout_s': '0.5',
            'inference_limit_s': '2.0',
        }
        given = [item for name, value in parameters.items() for item in ('-p', f'{name}:={value}')]
        command = ('-m', 'depth_ros.stress.faulty_node', str(self.orders))
        self.node: NodeProcess = ros.start(*command, '--ros-args', *given)
        self.depths = ros.outputs({'depth/image_raw': Image})['depth/image_raw']
        self.images = ros.publisher(Image, '/image')

    def order(self, text: str) -> None:
        give_order(self.orders, text)

    def answer(self) -> None:
        """Send images until so many sent from now on are answered that the backend is well."""
        first = header(self.number + 1).stamp.sec

        def answered() -> bool:
            self.send()
            late = [depth for depth in self.depths if depth.header.stamp.sec >= first]
            return len(late) > 2 * STEADY_ANSWERS

        self.ros.until(answered, 'depth')

    def send(self) -> None:
        self.number += 1
        message = image(self.number)
        message.header = header(self.number)
        self.images.publish(message)

    def sent_to_the_end(self) -> bool:
        """Send an image; whether the node has ended."""
        self.send()
        return self.node.process.poll() is not None

    def hangs(self) -> bool:
        """Send an image; whether the node obeys the order to hang."""
        self.send()
        return self.orders.read_text(encoding='utf-8') == ANSWER

    def said(self, key: str, text: str, level: str, *, order: str = '') -> dict[str, str]:
        """Send images until the diagnostics say `text`; with an order once they are heard."""
        orders = [order] if order else []

        def accept(values: dict[str, str]) -> bool:
            while orders:
                self.order(orders.pop())
            self.send()
            return text in values[key] and values['level'] == level

        return self.ros.diagnostics(accept, f'{text} in {key}')


@pytest.fixture
def spoilt(tmp_path: Path) -> Iterator[Spoilt]:
    with ros_session(tmp_path) as session:
        yield Spoilt(session, tmp_path)


@pytest.mark.ros
def test_a_backend_that_hangs_or_fails_is_opened_again_and_then_the_next(spoilt: Spoilt) -> None:
    spoilt.answer()
    spoilt.said('message', 'nothing was published for', '2', order='onnxruntime hang')
    hung = spoilt.said('watchdog_reopened', '1', '1')  # the stamps are old
    assert 'an inference runs for 2' in hung['watchdog_problem']
    assert hung['backend'] == 'onnxruntime', 'opened again first'
    spoilt.answer()
    (line,) = [line for line in spoilt.node.output.splitlines() if line.endswith('is open')]
    assert line.startswith('[INFO]'), 'what is well again is no error'

    spoilt.order('any end')
    spoilt.said('watchdog_problem', 'the thread that answers frames has ended', '1')
    spoilt.answer()

    spoilt.order('onnxruntime fail')
    failed = spoilt.said('backend', 'openvino', '1')
    assert 'inferences failed in a row: the device is gone' in failed['watchdog_problem']
    assert 'on openvino, in place of onnxruntime' in failed['message']
    spoilt.answer()

    spoilt.order('any hang')
    spoilt.ros.until(spoilt.hangs, 'an inference that hangs')
    spoilt.node.signal(signal.SIGINT)
    assert spoilt.node.wait() == 0
    assert spoilt.node.output.count('Traceback') == 0, spoilt.node.output


@pytest.mark.ros
@pytest.mark.parametrize('reopened', [False, True])
def test_a_first_frame_that_holds_the_interpreter_has_the_process_ended(
    spoilt: Spoilt, *, reopened: bool
) -> None:
    if reopened:
        spoilt.order('onnxruntime hang')
        spoilt.ros.until(spoilt.hangs, 'an inference that hangs')
    spoilt.order('any hold')
    spoilt.ros.until(spoilt.sent_to_the_end, 'the end of the node')
    assert spoilt.node.wait() == -signal.SIGABRT
    said = spoilt.node.output
    assert 'Python stands still for 6 s' in said
    assert 'in hold_interpreter' in said, 'the stacks say where'


def test_failures_count_in_a_row_and_a_bad_frame_does_not() -> None:
    record = InferenceRecord()

    def ask(error: Exception | None = None) -> None:
        with record.inference():
            assert record.running_s > 0.0
            if error is not None:
                raise error

    for _ in range(2):
        with pytest.raises(BackendError):
            ask(BackendError('gone'))
    with pytest.raises(DataError):
        ask(DataError('no image'))
    assert record.trouble(1.0) == ''
    with pytest.raises(RuntimeError):
        ask(RuntimeError())
    assert record.trouble(1.0) == '3 inferences failed in a row: RuntimeError'
    ask()
    assert (record.trouble(1.0), record.answered, record.running_s) == ('', 1, 0.0)
