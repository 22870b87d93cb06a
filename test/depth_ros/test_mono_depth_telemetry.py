# SPDX-License-Identifier: Apache-2.0
"""The node talks ROS on this machine and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sensor_msgs.msg import Image

from test.depth_ros.ros_processes import ros_session
from test.depth_ros.sample_messages import header, image
from test.guarded import guarded
from test.standin import write_standin_onnx

LOOPBACK = '0100007F'
"""127.0.0.1 as the tables in /proc/net write it."""


def remote_addresses(pid: int) -> set[str]:
    """The internet addresses that the sockets of a process are connected to, in hexadecimal."""
    links = [path.readlink() for path in Path(f'/proc/{pid}/fd').iterdir() if path.is_symlink()]
    inodes = {found[1] for link in links if (found := re.match(r'socket:\[(\d+)]', str(link)))}
    remote = set()
    for table in ('tcp', 'tcp6', 'udp', 'udp6'):
        for line in Path(f'/proc/{pid}/net/{table}').read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes:
                remote.add(fields[2].split(':')[0])
    return {address for address in remote if int(address, 16) != 0}


@pytest.mark.ros
def test_the_node_contacts_nobody_and_writes_nothing_home(tmp_path: Path) -> None:
    model = write_standin_onnx(tmp_path / 'standin.onnx')
    process = guarded(
        tmp_path,
        *('depth_ros.mono_depth_node', '--ros-args', '-p', f'model:={model}'),
        *('-p', 'backend:=openvino', '-p', 'strict_backend:=true'),
        native=False,
    )
    with ros_session(tmp_path) as session:
        environment = {'HOME': process.environment['HOME']}
        node = session.start(*process.arguments, environment=environment)
        received = session.outputs({'depth/image_raw': Image})['depth/image_raw']
        images = session.publisher(Image, 'image')

        def publish(number: int) -> None:
            message = image(number)
            message.header = header(number)
            images.publish(message)

        session.feed(publish, received)
        assert remote_addresses(node.process.pid) <= {LOOPBACK}
    assert process.contacts == []
    assert process.written_to_home == []
