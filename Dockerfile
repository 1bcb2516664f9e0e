# Images by --target: gateway (no torch), embedded (gateway and engine, for CPUs), worker (TorchServe, for GPUs), and
# label (batch jobs, for GPUs and CPUs).
# Docker, Podman and Buildah build it; `make images` does on a machine where none of them has an engine running.
ARG BASE=docker.io/library/python:3.11.14-slim-bookworm

# What packages are needed stands in two files, so that a change of the code installs none of them anew.
FROM ${BASE} AS requirements
WORKDIR /source
COPY constraints.txt pyproject.toml README.md LICENSE ./
RUN python3 -m venv /opt/segserve

# An environment each, made with wheels alone: no compiler is needed, and none gets into an image.
FROM requirements AS gateway-environment
RUN /opt/segserve/bin/pip install --no-cache-dir -c constraints.txt '.[tracing]'
COPY . .
RUN /opt/segserve/bin/pip install --no-cache-dir --no-deps --force-reinstall . \
 && /opt/segserve/bin/pip uninstall --yes --quiet pip setuptools

FROM requirements AS embedded-environment
ARG CPU_TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN /opt/segserve/bin/pip install --no-cache-dir -c constraints.txt ${CPU_TORCH_INDEX:+--extra-index-url ${CPU_TORCH_INDEX}} '.[engine,tracing]'
COPY . .
RUN /opt/segserve/bin/pip install --no-cache-dir --no-deps --force-reinstall . \
 && /opt/segserve/bin/pip uninstall --yes --quiet pip

# Torch's wheels bring the CUDA libraries; of the node it takes the driver. The index of CPU wheels makes a worker for CPUs.
FROM requirements AS worker-environment
ARG WORKER_TORCH_INDEX=https://download.pytorch.org/whl/cu130
RUN /opt/segserve/bin/pip install --no-cache-dir -c constraints.txt ${WORKER_TORCH_INDEX:+--extra-index-url ${WORKER_TORCH_INDEX}} '.[torchserve,tracing]'
COPY . .
RUN /opt/segserve/bin/pip install --no-cache-dir --no-deps --force-reinstall . \
 && /opt/segserve/bin/pip uninstall --yes --quiet pip

FROM requirements AS label-environment
ARG LABEL_TORCH_INDEX=https://download.pytorch.org/whl/cu130
RUN /opt/segserve/bin/pip install --no-cache-dir -c constraints.txt ${LABEL_TORCH_INDEX:+--extra-index-url ${LABEL_TORCH_INDEX}} '.[ray,tracing]'
COPY . .
RUN /opt/segserve/bin/pip install --no-cache-dir --no-deps --force-reinstall . \
 && /opt/segserve/bin/pip uninstall --yes --quiet pip

FROM ${BASE} AS runtime
ENV PATH=/opt/segserve/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Where a volume for compiled networks goes; everything else may be read-only, but for /tmp.
RUN install --directory --owner=1000 --group=1000 /cache
WORKDIR /tmp
USER 1000:1000
ENTRYPOINT ["segserve"]

FROM runtime AS gateway
COPY --from=gateway-environment /opt/segserve /opt/segserve
ENV SEGSERVE_HOST=0.0.0.0 SEGSERVE_BACKEND=torchserve
EXPOSE 8000
CMD ["serve"]

FROM runtime AS embedded
COPY --from=embedded-environment /opt/segserve /opt/segserve
ENV SEGSERVE_HOST=0.0.0.0
EXPOSE 8000
CMD ["serve"]

FROM runtime AS worker
COPY --from=worker-environment /opt/segserve /opt/segserve
ENV SEGSERVE_WORKER_HOST=0.0.0.0 NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
EXPOSE 8090 8091
CMD ["worker"]

FROM runtime AS label
COPY --from=label-environment /opt/segserve /opt/segserve
ENV RAY_USAGE_STATS_ENABLED=0
CMD ["label", "--help"]
