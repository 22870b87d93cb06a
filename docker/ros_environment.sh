#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Run a command with the ROS 2 of the image: ros_environment.sh COMMAND [ARGUMENT...]
set -e
# shellcheck source=/dev/null
source "/opt/ros/$ROS_DISTRO/setup.bash"
exec "$@"
