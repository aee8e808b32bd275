# vmla on a bare Debian 12, for a CPU. Build: docker build --tag vmla-cpu .
# Run, with everything that is written in a folder of the host's:
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/vmla_output:/output" vmla-cpu \
#     pipeline --config /opt/vmla/configs/tiny/pipeline.yaml --run-dir /output/runs/tiny
FROM debian:12
WORKDIR /opt/vmla
# launch/setup installs everything else itself: compiler, libraries, Python environment, LibTorch.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY CMakeLists.txt CMakePresets.json LICENSE ./
COPY cmake cmake
COPY kernels kernels
COPY model model
COPY data data
COPY analysis analysis
COPY trainer trainer
COPY bench bench
COPY tests tests
COPY configs configs
COPY launch launch
# The commit that reports name at their foot: --build-arg VMLA_COMMIT=$(git rev-parse --short=12 HEAD)
ARG VMLA_COMMIT=""
# For GPUs: --build-arg VMLA_SETUP=--cuda
ARG VMLA_SETUP=""
RUN launch/setup $VMLA_SETUP && rm -rf /var/lib/apt/lists/* ~/.cache
# Data that a configuration makes goes below the working directory (data/cache), so it lies in the volume, too.
WORKDIR /output
RUN chmod 777 /output
VOLUME /output
ENTRYPOINT ["/opt/vmla/build/vmla"]
CMD ["--help"]
