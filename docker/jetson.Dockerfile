# SPDX-License-Identifier: Apache-2.0
# mono_depth on a Jetson, arm64: CUDA, TensorRT and Python from NVIDIA's image, ROS 2 from apt (there
# are no wheels of it for arm64).
# JetPack 6 (Orin, TensorRT 10.3, ROS 2 Humble):
#   docker build -f docker/jetson.Dockerfile -t depth_ros:jetpack6 .
# JetPack 7 (Thor, Orin from 7.2 on, TensorRT 10.13, ROS 2 Jazzy):
#   docker build -f docker/jetson.Dockerfile --build-arg JETPACK=7 -t depth_ros:jetpack7 .

ARG JETPACK=6

FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0 AS jetpack6
ENV ROS_DISTRO=humble UBUNTU=jammy CUDA_BINDINGS='>=12.8,<13'

# From JetPack 7 on a Jetson takes the images of arm64 servers.
FROM nvcr.io/nvidia/tensorrt:25.08-py3 AS jetpack7
ENV ROS_DISTRO=jazzy UBUNTU=noble CUDA_BINDINGS='>=12.8,<14'

# hadolint ignore=DL3006
FROM jetpack${JETPACK} AS ros
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8
ADD --chmod=0644 https://raw.githubusercontent.com/ros/rosdistro/master/ros.key /usr/share/keyrings/ros.asc
# The versions are those of the distribution: a ROS distribution changes no interface.
# hadolint ignore=DL3008
RUN echo "deb [signed-by=/usr/share/keyrings/ros.asc] http://packages.ros.org/ros2/ubuntu $UBUNTU main" \
        > /etc/apt/sources.list.d/ros2.list \
    && apt-get update \
    && apt-get install -y --no-install-recommends \
        python3-numpy python3-opencv python3-pip python3-venv \
        "ros-$ROS_DISTRO-ros-base" "ros-$ROS_DISTRO-rmw-fastrtps-cpp" \
    && rm -rf /var/lib/apt/lists/*

FROM ros AS build
WORKDIR /source
# That TensorRT is there is all that can be asked: to import it takes the driver of the device,
# which is not mounted while an image is built.
RUN python3 -m venv --system-site-packages /opt/depth_ros \
    && /opt/depth_ros/bin/python -c 'import importlib.util; assert importlib.util.find_spec("tensorrt")'
ENV PATH=/opt/depth_ros/bin:$PATH
COPY constraints.txt ./
# Without their dependencies, which come from apt: the messages of ROS are compiled for its NumPy 1.
RUN pip install --no-cache-dir --no-deps --constraint constraints.txt \
        'simplejpeg>=1.7.6,<2' 'onnxruntime>=1.17,<2' "cuda-bindings$CUDA_BINDINGS" cuda-pathfinder
COPY . .
RUN pip install --no-cache-dir --no-deps .

FROM ros
ARG UID=1000
RUN useradd --create-home --no-log-init --non-unique --uid "$UID" depth \
    && install -d -m 0700 -o "$UID" /cache
COPY --from=build /opt/depth_ros /opt/depth_ros
COPY docker/health.py docker/ros_environment.sh /opt/depth_ros/
USER $UID
WORKDIR /home/depth
ENV HOME=/home/depth XDG_CACHE_HOME=/cache PATH=/opt/depth_ros/bin:$PATH \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s \
    CMD ["/opt/depth_ros/ros_environment.sh", "python", "/opt/depth_ros/health.py"]
ENTRYPOINT ["/opt/depth_ros/ros_environment.sh", "python", "-m", "depth_ros.mono_depth_node", "--ros-args"]
