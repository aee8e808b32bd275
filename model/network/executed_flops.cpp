#include "model/network/executed_flops.h"

#include <ATen/core/ivalue.h>
#include <ATen/record_function.h>

#include <cstring>
#include <utility>

#include "kernels/attention/attention.h"

namespace vmla::model {
namespace {

thread_local ExecutedFlops* current = nullptr;

/// Where a product's two matrices stand among the arguments of an operator; -1: it is no product.
int first_matrix(const char* name) {
  for (const char* product : {"aten::mm", "aten::bmm"}) {
    if (std::strcmp(name, product) == 0) return 0;
  }
  for (const char* product : {"aten::addmm", "aten::addmm_", "aten::baddbmm", "aten::addmv"}) {
    if (std::strcmp(name, product) == 0) return 1;
  }
  return -1;
}

}  // namespace

struct ExecutedFlops::Observer {
  /// Products inside of an attention call are that call's.
  struct AttentionCall : at::ObserverContext {};

  static std::unique_ptr<at::ObserverContext> began(const at::RecordFunction& function) {
    ExecutedFlops* counter = current;
    if (counter == nullptr) return nullptr;
    if (std::strcmp(function.name(), kernels::kAttentionRecord) == 0) {
      counter->count_.attention += 2.0 * function.inputs()[0].toDouble();
      ++counter->in_attention_;
      return std::make_unique<AttentionCall>();
    }
    const int first = first_matrix(function.name());
    if (first < 0 || counter->in_attention_ > 0) return nullptr;
    const auto inputs = function.inputs();
    const at::Tensor& left = inputs[static_cast<size_t>(first)].toTensor();
    const at::Tensor& right = inputs[static_cast<size_t>(first) + 1].toTensor();
    const double columns = right.dim() == 1 ? 1.0 : static_cast<double>(right.size(-1));
    counter->count_.products += 2.0 * static_cast<double>(left.numel()) * columns;
    return nullptr;
  }
  static void ended(const at::RecordFunction&, at::ObserverContext* context) {
    if (context != nullptr && current != nullptr) --current->in_attention_;
  }
};

ExecutedFlops::ExecutedFlops() {
  TORCH_CHECK(current == nullptr, "FLOPs of this thread are being counted already");
  current = this;
  handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(Observer::began, Observer::ended)
                                           .needsInputs(true)
                                           .scopes({at::RecordScope::FUNCTION}));
}

ExecutedFlops::~ExecutedFlops() {
  at::removeCallback(handle_);
  current = nullptr;
}

ExecutedFlops::Count ExecutedFlops::take() {
  return std::exchange(count_, {});
}

}  // namespace vmla::model
