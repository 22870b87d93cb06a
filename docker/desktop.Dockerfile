# SPDX-License-Identifier: Apache-2.0
# mono_depth on an NVIDIA GPU of a desktop, x86-64: CUDA 13, TensorRT 10.13 and their Python 3.12
# from NVIDIA's image, ROS 2 as wheels. The driver is the host's (580 or later).
# docker build -f docker/desktop.Dockerfile -t depth_ros:desktop .

FROM nvcr.io/nvidia/tensorrt:25.08-py3 AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv=3.12.* \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
# With the packages of the system, for TensorRT is one of them: it has to fit CUDA, not our bounds.
RUN python3 -m venv --system-site-packages /opt/depth_ros \
    && /opt/depth_ros/bin/python -c 'import tensorrt; print("TensorRT", tensorrt.__version__)'
ENV PATH=/opt/depth_ros/bin:$PATH
COPY package.xml setup.py setup.cfg pyproject.toml README.md LICENSE constraints.txt ./
COPY resource resource
RUN pip install --no-cache-dir --constraint constraints.txt '.[ros,onnx]' 'cuda-bindings>=12.8,<14'
COPY . .
RUN pip install --no-cache-dir --no-deps --force-reinstall .

FROM nvcr.io/nvidia/tensorrt:25.08-py3
ARG UID=1000
RUN useradd --create-home --no-log-init --non-unique --uid "$UID" depth \
    && install -d -m 0700 -o "$UID" /cache
COPY --from=build /opt/depth_ros /opt/depth_ros
COPY docker/health.py /opt/depth_ros/health.py
USER $UID
WORKDIR /home/depth
ENV HOME=/home/depth XDG_CACHE_HOME=/cache PATH=/opt/depth_ros/bin:$PATH \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s CMD ["python", "/opt/depth_ros/health.py"]
ENTRYPOINT ["python", "-m", "depth_ros.mono_depth_node", "--ros-args"]
