#include "tests/standin/trace.h"

#include <execinfo.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

#include "tests/standin/graph.h"

namespace vmla::standin {
namespace {

struct Tally {
  int64_t count = 0, bytes = 0;
};

/// Never destroyed: it is written when the process ends.
std::map<std::string, Tally>& tallies() {
  static auto* const made = new std::map<std::string, Tally>;
  return *made;
}
std::mutex mutex;
std::atomic<int64_t> step{0};
std::atomic<bool> in_step{false};

struct Range {
  uintptr_t base = 0, begin = ~uintptr_t{0}, end = 0;
};

/// Where the running program lies: the first entry of the loader's list.
Range program_range() {
  Range range;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* out) {
        auto& r = *static_cast<Range*>(out);
        r.base = info->dlpi_addr;
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
          const uintptr_t at = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
          r.begin = std::min(r.begin, at);
          r.end = std::max(r.end, at + info->dlpi_phdr[i].p_memsz);
        }
        return 1;
      },
      &range);
  return range;
}

const char* prefix() {
  static const char* const value = std::getenv("STANDIN_TRACE");
  return value;
}

void write_tallies() {
  const std::lock_guard lock(mutex);
  const std::string path = std::string(prefix()) + "." + std::to_string(getpid());
  std::FILE* const out = std::fopen(path.c_str(), "w");
  if (out == nullptr) return;
  for (const auto& [key, tally] : tallies()) {
    std::fprintf(out,
                 "%ld %ld %s\n",
                 static_cast<long>(tally.count),
                 static_cast<long>(tally.bytes),
                 key.c_str());
  }
  std::fclose(out);
}

}  // namespace

void note(const char* kind, const char* what, int64_t bytes) {
  if (prefix() == nullptr) return;
  static const Range program = program_range();
  // 0: between steps.
  std::string key = std::to_string(in_step ? step.load() : 0) + " " + kind + " " + what;
  void* frames[128];
  const int count = backtrace(frames, 128);
  for (int i = 0; i < count; ++i) {
    const auto at = reinterpret_cast<uintptr_t>(frames[i]);
    if (at < program.begin || at >= program.end) continue;
    char text[24];
    // The call, not where it returns to.
    std::snprintf(text, sizeof(text), " %lx", static_cast<unsigned long>(at - program.base - 1));
    key += text;
  }
  const std::lock_guard lock(mutex);
  Tally& tally = tallies()[key];
  ++tally.count;
  tally.bytes += bytes;
}

void note_launch(const char* what) {
  if (prefix() == nullptr || is_replaying()) return;
  const char* const kind = is_recording() ? " recorded " : " launch ";
  const std::lock_guard lock(mutex);
  ++tallies()[std::to_string(in_step ? step.load() : 0) + kind + what].count;
}

void step_begins() {
  ++step;
  in_step = true;
}

void step_ends() {
  in_step = false;
}

void start_trace() {
  if (prefix() == nullptr) return;
  void* frames[4];
  backtrace(frames, 4);  // loads what it needs
  std::atexit(write_tallies);
}

}  // namespace vmla::standin
