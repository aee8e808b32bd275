#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <stdexcept>

// NOLINTBEGIN(readability-identifier-naming): CUDA's names

/// Extents and indices of a grid.
struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  // CUDA's converts a single number too.
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

/// The thread that is running.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
// NOLINTEND(readability-identifier-naming)

/// Runs a grid of CUDA threads on the CPU: blocks one after another, each thread of a block a fiber
/// that runs until it waits at a barrier or for its warp. Results must not depend on the order in
/// which threads and blocks are taken; there are several to compare.
namespace vmla::tests::host_cuda {

/// What no correct kernel does: a barrier that only some threads reach, a shuffle whose mask names
/// a lane that has left or is elsewhere, threads that wait for ever. Says which thread, and where.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// How blocks and the threads that can run are taken: by index, by index from the last, or drawn
/// anew for each block and after each wait.
enum class Order { kAscending, kDescending, kShuffled };
constexpr Order kOrders[] = {Order::kAscending, Order::kDescending, Order::kShuffled};

struct GridSettings {
  Order order = Order::kAscending;
  /// Where given, only the blocks for which it is true run: of a grid that is too large to be run
  /// whole, its ends.
  std::function<bool(const uint3& block, const dim3& grid)> only;
};

/// How grids run at present.
const GridSettings& grid_settings();

/// How grids run while this object lives; afterwards as before.
class ScopedGridSettings {
 public:
  explicit ScopedGridSettings(GridSettings settings);
  ~ScopedGridSettings();
  ScopedGridSettings(const ScopedGridSettings&) = delete;
  ScopedGridSettings& operator=(const ScopedGridSettings&) = delete;

 private:
  GridSettings before_;
};

/// What has run in this process.
struct GridCounts {
  int64_t grids = 0, blocks = 0, threads = 0, barriers = 0, shuffles = 0;
};
const GridCounts& grid_counts();

/// Whether CUDA takes a grid of this form: no extent of 0, at most 1024 threads in a block, and no
/// extent past its own limit.
bool is_valid_grid(const dim3& grid, const dim3& block);

/// Runs `body` once for each thread of a valid grid and returns when all have ended. Fault, and
/// whatever `body` throws. Grids of several host threads run one after another.
void run_grid(const dim3& grid, const dim3& block, const std::function<void()>& body);

/// Of the running thread: waits until all threads of its block are at the barrier on this line.
void wait_for_block(const std::source_location& where);

/// Of the running thread: gives `bits` and takes those of lane `source` of its warp, once all lanes
/// that `mask` names are on this line with the same mask.
uint64_t exchange_in_warp(uint32_t mask,
                          uint64_t bits,
                          int source,
                          const std::source_location& where);

/// The running thread's lane in its warp.
int lane_of_thread();

/// Fills shared memory with NaN when the first thread of a block comes to it: a real block begins
/// with whatever the one before left. 0xFF in every byte is NaN in fp32 and bf16.
void poison_shared(void* memory, size_t bytes);

}  // namespace vmla::tests::host_cuda
