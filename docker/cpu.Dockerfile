# SPDX-License-Identifier: Apache-2.0
# mono_depth on the processor, x86-64: ROS 2 as wheels, OpenVINO and ONNX Runtime, no ROS from apt.
# docker build -f docker/cpu.Dockerfile -t depth_ros:cpu .

FROM python:3.11.13-slim-bookworm AS build
WORKDIR /source
RUN python -m venv /opt/depth_ros
ENV PATH=/opt/depth_ros/bin:$PATH
# What is installed changes seldom and the code often: the dependencies are a layer of their own.
COPY package.xml setup.py setup.cfg pyproject.toml README.md LICENSE constraints.txt ./
COPY resource resource
RUN pip install --no-cache-dir --constraint constraints.txt '.[ros,onnx,openvino]'
COPY . .
RUN pip install --no-cache-dir --no-deps --force-reinstall .

FROM python:3.11.13-slim-bookworm
ARG UID=1000
RUN useradd --create-home --no-log-init --non-unique --uid "$UID" depth \
    && install -d -m 0700 -o "$UID" /cache
COPY --from=build /opt/depth_ros /opt/depth_ros
COPY docker/health.py /opt/depth_ros/health.py
USER $UID
WORKDIR /home/depth
ENV HOME=/home/depth XDG_CACHE_HOME=/cache PATH=/opt/depth_ros/bin:$PATH
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s CMD ["python", "/opt/depth_ros/health.py"]
ENTRYPOINT ["python", "-m", "depth_ros.mono_depth_node", "--ros-args"]
