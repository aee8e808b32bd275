#include "tests/kernels/host_cuda/grid.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/kernels/host_cuda/fiber.h"

// NOLINTBEGIN(readability-identifier-naming): CUDA's names
uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;
// NOLINTEND(readability-identifier-naming)

namespace vmla::tests::host_cuda {
namespace {

constexpr unsigned kWarp = 32;
constexpr unsigned kMostThreads = 1024;

enum class State { kReady, kAtBarrier, kInShuffle, kEnded };

struct Thread {
  explicit Thread(void (*live)()) : fiber(live) {}
  Fiber fiber;
  State state = State::kEnded;
  uint3 index{};
  std::source_location where;  // of the barrier or shuffle at which it waits
  // Of a shuffle.
  uint32_t mask = 0;
  uint64_t bits = 0;
  int source = 0;
};

/// All of a running grid. One at a time: CUDA's variables and shared memory are the process's.
struct Machine {
  std::mutex one_grid;
  GridSettings settings;
  GridCounts counts;
  std::vector<std::unique_ptr<Thread>> threads;  // those that have ever been needed
  size_t block_size = 0;
  Fiber scheduler;
  Thread* running = nullptr;
  const std::function<void()>* body = nullptr;
  std::exception_ptr thrown;
  std::map<void*, int64_t> poisoned;  // shared memory -> the block that last began with it
  std::mt19937 engine;
};
Machine machine;

std::string name_of(const Thread& thread) {
  const auto text = [](const uint3& i) {
    return std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z);
  };
  const std::string file = thread.where.file_name();
  return "thread " + text(thread.index) + " of block " + text(blockIdx) + " (" +
         file.substr(file.rfind('/') + 1) + ":" + std::to_string(thread.where.line()) + ")";
}

bool same_place(const std::source_location& a, const std::source_location& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         std::strcmp(a.file_name(), b.file_name()) == 0;
}

/// What a fiber does all its life: a thread of one block after another.
void live() {
  machine.scheduler.was_left();
  for (;;) {
    Thread& self = *machine.running;
    try {
      (*machine.body)();
    } catch (...) {
      machine.thrown = std::current_exception();
    }
    self.state = State::kEnded;
    machine.scheduler.resume_from(self.fiber);
  }
}

void resume(Thread& thread) {
  threadIdx = thread.index;
  machine.running = &thread;
  thread.fiber.resume_from(machine.scheduler);
  machine.running = nullptr;
}

/// The running thread stops here until the scheduler lets it go on.
void wait(State state, const std::source_location& where) {
  Thread& self = *machine.running;
  self.state = state;
  self.where = where;
  machine.scheduler.resume_from(self.fiber);
}

std::vector<size_t> ordered(size_t count) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  if (machine.settings.order == Order::kDescending) std::reverse(order.begin(), order.end());
  if (machine.settings.order == Order::kShuffled) std::ranges::shuffle(order, machine.engine);
  return order;
}

/// Lets all threads pass the barrier once all are there.
bool pass_barrier() {
  size_t waiting = 0, ended = 0;
  const Thread* first = nullptr;
  for (size_t i = 0; i < machine.block_size; ++i) {
    const Thread& thread = *machine.threads[i];
    ended += thread.state == State::kEnded;
    if (thread.state != State::kAtBarrier) continue;
    ++waiting;
    if (first == nullptr) first = &thread;
    if (!same_place(first->where, thread.where)) {
      throw Fault("barriers of one block at two places: " + name_of(*first) + " and " +
                  name_of(thread));
    }
  }
  if (waiting == 0) return false;
  if (ended > 0) throw Fault("a barrier that others never reach: " + name_of(*first));
  if (waiting < machine.block_size) return false;
  ++machine.counts.barriers;
  for (size_t i = 0; i < machine.block_size; ++i) machine.threads[i]->state = State::kReady;
  return true;
}

/// The lanes that `thread`, which waits in a shuffle, has to wait for; whether they are all there.
bool is_complete(const Thread& thread, size_t warp) {
  bool complete = true;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if ((thread.mask >> lane & 1) == 0) continue;
    const size_t i = warp + lane;
    if (i >= machine.block_size || machine.threads[i]->state == State::kEnded) {
      throw Fault("a shuffle waits for lane " + std::to_string(lane) +
                  ", which is not there: " + name_of(thread));
    }
    const Thread& other = *machine.threads[i];
    complete = complete && other.state == State::kInShuffle && other.mask == thread.mask &&
               same_place(other.where, thread.where);
  }
  return complete;
}

void exchange(uint32_t mask, size_t warp) {
  uint64_t given[kWarp] = {};
  const auto thread_of = [&](unsigned lane) -> Thread& { return *machine.threads[warp + lane]; };
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if ((mask >> lane & 1) != 0) given[lane] = thread_of(lane).bits;
  }
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    Thread& thread = thread_of(lane);
    const auto source = static_cast<unsigned>(thread.source);
    if (source >= kWarp || (mask >> source & 1) == 0) {
      throw Fault("a shuffle from lane " + std::to_string(source) +
                  ", which its mask lacks: " + name_of(thread));
    }
    thread.bits = given[source];
    thread.state = State::kReady;
  }
  ++machine.counts.shuffles;
}

bool pass_shuffles() {
  bool any = false;
  for (size_t i = 0; i < machine.block_size; ++i) {
    const Thread& thread = *machine.threads[i];
    if (thread.state != State::kInShuffle) continue;
    const size_t warp = i / kWarp * kWarp;
    if ((thread.mask >> (i - warp) & 1) == 0) {
      throw Fault("a shuffle whose mask lacks its own lane: " + name_of(thread));
    }
    if (!is_complete(thread, warp)) continue;
    exchange(thread.mask, warp);
    any = true;
  }
  return any;
}

void run_block(const dim3& block) {
  ++machine.counts.blocks;
  machine.counts.threads += static_cast<int64_t>(machine.block_size);
  for (size_t i = 0; i < machine.block_size; ++i) {
    const auto n = static_cast<unsigned>(i);
    machine.threads[i]->state = State::kReady;
    machine.threads[i]->index = {n % block.x, n / block.x % block.y, n / block.x / block.y};
  }
  for (;;) {
    for (const size_t i : ordered(machine.block_size)) {
      if (machine.threads[i]->state != State::kReady) continue;
      resume(*machine.threads[i]);
      if (machine.thrown) std::rethrow_exception(std::exchange(machine.thrown, nullptr));
    }
    const bool all_ended =
        std::all_of(machine.threads.begin(),
                    machine.threads.begin() + static_cast<std::ptrdiff_t>(machine.block_size),
                    [](const auto& thread) { return thread->state == State::kEnded; });
    if (all_ended) return;
    const bool shuffled = pass_shuffles();
    if (!pass_barrier() && !shuffled) {
      const auto waits = std::ranges::find_if(
          machine.threads, [](const auto& t) { return t->state != State::kEnded; });
      throw Fault("threads of a block wait for ever: " + name_of(**waits));
    }
  }
}

}  // namespace

ScopedGridSettings::ScopedGridSettings(GridSettings settings)
    : before_(std::exchange(machine.settings, std::move(settings))) {}

ScopedGridSettings::~ScopedGridSettings() {
  machine.settings = std::move(before_);
}

const GridSettings& grid_settings() {
  return machine.settings;
}

const GridCounts& grid_counts() {
  return machine.counts;
}

bool is_valid_grid(const dim3& grid, const dim3& block) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  const bool any = grid.x > 0 && grid.y > 0 && grid.z > 0 && threads > 0;
  return any && threads <= kMostThreads && block.z <= 64 && grid.x <= 0x7FFFFFFFu &&
         grid.y <= 65535 && grid.z <= 65535;
}

void run_grid(const dim3& grid, const dim3& block, const std::function<void()>& body) {
  const std::scoped_lock lock(machine.one_grid);
  machine.block_size = size_t{block.x} * block.y * block.z;
  while (machine.threads.size() < machine.block_size) {
    machine.threads.push_back(std::make_unique<Thread>(live));
  }
  gridDim = grid;
  blockDim = block;
  machine.body = &body;
  machine.engine.seed(static_cast<unsigned>(++machine.counts.grids));
  try {
    for (const size_t b : ordered(size_t{grid.x} * grid.y * grid.z)) {
      blockIdx = {static_cast<unsigned>(b % grid.x),
                  static_cast<unsigned>(b / grid.x % grid.y),
                  static_cast<unsigned>(b / grid.x / grid.y)};
      if (!machine.settings.only || machine.settings.only(blockIdx, grid)) run_block(block);
    }
  } catch (...) {
    // What waits on the fibers' stacks is given up with them; kernels own nothing.
    machine.threads.clear();
    throw;
  }
}

void wait_for_block(const std::source_location& where) {
  wait(State::kAtBarrier, where);
}

uint64_t exchange_in_warp(uint32_t mask,
                          uint64_t bits,
                          int source,
                          const std::source_location& where) {
  Thread& self = *machine.running;
  self.mask = mask;
  self.bits = bits;
  self.source = source;
  wait(State::kInShuffle, where);
  return self.bits;
}

int lane_of_thread() {
  const unsigned i = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  return static_cast<int>(i % kWarp);
}

void poison_shared(void* memory, size_t bytes) {
  if (std::exchange(machine.poisoned[memory], machine.counts.blocks) != machine.counts.blocks) {
    std::memset(memory, 0xFF, bytes);
  }
}

}  // namespace vmla::tests::host_cuda
