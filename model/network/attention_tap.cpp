#include "model/network/attention_tap.h"

#include <c10/util/Exception.h>

#include <utility>

namespace vmla::model {
namespace {

thread_local AttentionTap* current = nullptr;

}  // namespace

AttentionTap::AttentionTap(Look look) : look_(std::move(look)) {
  TORCH_CHECK(!current, "there is an attention tap in this thread already");
  current = this;
}

AttentionTap::~AttentionTap() {
  current = nullptr;
}

void AttentionTap::show(int64_t layer, const at::Tensor& x_BLD) {
  if (current) current->look_(layer, x_BLD);
}

}  // namespace vmla::model
