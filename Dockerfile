# vmla on a bare Debian 12, for a CPU. Build: docker build -t vmla .   Run: docker run --rm vmla --help
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
RUN launch/setup && rm -rf /var/lib/apt/lists/* ~/.cache
ENTRYPOINT ["/opt/vmla/build/vmla"]
CMD ["--help"]
