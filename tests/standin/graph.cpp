#include "tests/standin/graph.h"

#include <ATen/ATen.h>

#include <atomic>
#include <utility>
#include <vector>

#include "tests/standin/device_memory.h"
#include "tests/standin/trace.h"

namespace vmla::standin {
namespace {

using Work = std::vector<std::function<void()>>;

thread_local Work* recorded = nullptr;
thread_local bool replaying = false;

class RecordedGraph final : public kernels::cuda::Graph {
 public:
  RecordedGraph(const std::function<void()>& work, const Graph* before) {
    if (before == nullptr) {
      static std::atomic<int> pools{0};
      pool_ = std::make_shared<GraphPool>(++pools);
    } else {
      pool_ = static_cast<const RecordedGraph*>(before)->pool_;
    }
    const RecordingMemory memory(*pool_);
    TORCH_CHECK(recorded == nullptr, "stand-in: a capture within a capture");
    struct Recording {
      explicit Recording(Work& work) { recorded = &work; }
      ~Recording() { recorded = nullptr; }
    } const recording(work_);
    work();
  }

  void replay() override {
    refuse_while_recording("a replay");
    const ReplayingMemory memory(*pool_);
    struct Replaying {
      Replaying() { replaying = true; }
      ~Replaying() { replaying = false; }
    };
    note_launch("graph");
    const Replaying now;
    for (const auto& again : work_) again();
  }

 private:
  std::shared_ptr<GraphPool> pool_;
  Work work_;
};

}  // namespace

bool is_recording() {
  return recorded != nullptr;
}

bool is_replaying() {
  return replaying;
}

void remember(std::function<void()> again) {
  if (is_recording()) recorded->push_back(std::move(again));
}

void refuse_while_recording(const char* what) {
  TORCH_CHECK(!is_recording(),
              "stand-in: ",
              what,
              " (CUDA would say: operation not permitted when stream is capturing)");
}

std::unique_ptr<kernels::cuda::Graph> record(const std::function<void()>& work,
                                             int,
                                             const kernels::cuda::Graph* before) {
  return std::make_unique<RecordedGraph>(work, before);
}

}  // namespace vmla::standin
