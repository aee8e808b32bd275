#include <ATen/ATen.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/core/grad_mode.h>
#include <dlfcn.h>

#include <chrono>
#include <exception>
#include <mutex>
#include <thread>

#include "kernels/cuda_module.h"
#include "launch/doctor/measure_device.h"
#include "launch/doctor/timing.h"
#include "trainer/distributed/collectives/nccl_engine.h"
#include "trainer/distributed/job/network_address.h"
#include "trainer/distributed/job/store.h"

namespace vmla::launch::doctor {
namespace {

using namespace vmla::distributed;

/// "2.28.9" of NCCL's own number.
std::string nccl_version() {
  const auto ask = reinterpret_cast<int (*)(int*)>(dlsym(RTLD_DEFAULT, "ncclGetVersion"));
  int number = 0;
  if (ask == nullptr || ask(&number) != 0) return "none";
  return std::to_string(number / 10000) + "." + std::to_string(number / 100 % 100) + "." +
         std::to_string(number % 100);
}

/// What one thread does for its GPU: joins the group and gathers. Returns the seconds of one
/// all-gather of `part` numbers a GPU.
double gather_on(int64_t gpu, int64_t gpus, Store& store, int64_t part) {
  constexpr double kTimeout = 20;
  const at::Device device(at::kCUDA, static_cast<c10::DeviceIndex>(gpu));
  const auto make =
      reinterpret_cast<MakeNcclEngine>(kernels::cuda_module_function(kMakeNcclEngine));
  const auto engine = make({.store = &store.engine(),
                            .key = "doctor/",
                            .rank = static_cast<int>(gpu),
                            .size = static_cast<int>(gpus),
                            .device = static_cast<int>(gpu),
                            .timeout_seconds = kTimeout});
  const at::TensorOptions options = at::TensorOptions(device).dtype(at::kFloat);
  const at::Tensor own = at::full({part}, static_cast<double>(gpu + 1), options);
  const at::Tensor whole = at::zeros({part * gpus}, options);
  constexpr int kTimes = 5;
  engine->all_gather(whole, own).wait();
  engine->barrier();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kTimes; ++i) engine->all_gather(whole, own).wait();
  engine->barrier();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / kTimes;
  const at::Tensor ends = whole.view({gpus, part}).select(1, part - 1).cpu();
  TORCH_CHECK(at::equal(ends, at::arange(1, gpus + 1, at::kFloat)),
              "an all-gather returned other numbers than were sent");
  return seconds;
}

}  // namespace

double gemm_flops(at::Device device, at::ScalarType dtype, int64_t n) {
  const at::NoGradGuard no_grad;
  const at::Tensor a = at::linspace(-1, 1, n * n, at::kFloat).view({n, n}).to(device, dtype);
  at::Tensor out = at::empty_like(a);
  return 2.0 * static_cast<double>(n * n * n) / fastest(device, [&] { at::mm_out(out, a, a); });
}

double copy_rate(at::Device device) {
  constexpr int64_t kBytes = int64_t{1} << 28;
  const at::Tensor from = at::zeros({kBytes}, at::TensorOptions(device).dtype(at::kByte));
  const at::Tensor to = at::empty_like(from);
  return 2.0 * kBytes / fastest(device, [&] { to.copy_(from); });
}

GpuFacts measure_gpu(const kernels::DriverGpu& gpu, int64_t index) {
  GpuFacts facts{.index = index, .gpu = gpu, .problem = {}};
  const at::Device device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
  facts.problem = problem_of([&] {
    facts.free_bytes = static_cast<double>(at::accelerator::getMemoryInfo(device.index()).first);
    constexpr int64_t kBytes = int64_t{1} << 28;
    const at::Tensor on_gpu = at::empty({kBytes}, at::TensorOptions(device).dtype(at::kByte));
    const at::Tensor pinned =
        at::empty({kBytes}, at::TensorOptions().dtype(at::kByte).pinned_memory(true));
    constexpr double kMoved = kBytes;
    facts.copy = copy_rate(device);
    facts.to_device = kMoved / fastest(device, [&] { on_gpu.copy_(pinned, true); });
    facts.from_device = kMoved / fastest(device, [&] { pinned.copy_(on_gpu, true); });
    facts.gemm_bf16 = gemm_flops(device, at::kBFloat16, 8192);
    facts.gemm_fp32 = gemm_flops(device, at::kFloat, 4096);
  });
  return facts;
}

NcclFacts measure_nccl(int64_t gpus) {
  NcclFacts facts{.gpus = gpus, .built_with = {}, .loaded = {}, .problem = {}};
  if (gpus == 0 || kernels::cuda_module_function(kMakeNcclEngine) == nullptr) return facts;
  facts.built_with = VMLA_NCCL_VERSION;
  facts.loaded = nccl_version();
  constexpr int64_t kPart = int64_t{1} << 24;  // 64 MB a GPU
  std::mutex mutex;
  double slowest = 0;
  facts.problem = problem_of([&] {
    const int socket = listen_on(0, "127.0.0.1");
    const auto store = Store::serve({"127.0.0.1", port_of(socket)}, socket, "doctor/", 30);
    std::vector<std::thread> threads;
    std::string first;
    for (int64_t gpu = 0; gpu < gpus; ++gpu) {
      threads.emplace_back([&, gpu] {
        const std::string problem = problem_of([&] {
          const auto own = store->connect_again(30);
          const double seconds = gather_on(gpu, gpus, *own, kPart);
          const std::scoped_lock lock(mutex);
          slowest = std::max(slowest, seconds);
        });
        const std::scoped_lock lock(mutex);
        if (first.empty()) first = problem;
      });
    }
    for (std::thread& thread : threads) thread.join();
    TORCH_CHECK(first.empty(), first);
  });
  // What every link carries: all parts but the own one.
  if (slowest > 0) facts.rate = static_cast<double>(4 * kPart * (gpus - 1)) / slowest;
  return facts;
}

}  // namespace vmla::launch::doctor
