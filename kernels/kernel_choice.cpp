#include "kernels/kernel_choice.h"

#include <atomic>

namespace vmla::kernels {
namespace {

// Written before a stage begins, read by every call.
std::array<std::atomic<KernelUse>, kFusedOps.size()> uses{};
std::array<std::atomic<bool>, kFusedOps.size()> switched_off{};

size_t index_of(FusedOp op) {
  return static_cast<size_t>(op);
}

}  // namespace

const char* name_of(FusedOp op) {
  constexpr std::array kNames{"rms_norm",
                              "layer_norm_modulate",
                              "gated_residual",
                              "gelu_tanh",
                              "rope",
                              "merge_part",
                              "adamw"};
  static_assert(kNames.size() == kFusedOps.size());
  return kNames[index_of(op)];
}

std::optional<KernelUse> kernel_use_named(std::string_view word) {
  if (word == "auto") return KernelUse::kAuto;
  if (word == "reference") return KernelUse::kReference;
  if (word == "fused") return KernelUse::kFused;
  return std::nullopt;
}

void set_kernel_use(FusedOp op, KernelUse use) {
  uses[index_of(op)].store(use, std::memory_order_relaxed);
}

KernelUse kernel_use(FusedOp op) {
  return uses[index_of(op)].load(std::memory_order_relaxed);
}

void set_switched_off(FusedOp op, bool off) {
  switched_off[index_of(op)].store(off, std::memory_order_relaxed);
}

bool is_switched_off(FusedOp op) {
  return switched_off[index_of(op)].load(std::memory_order_relaxed);
}

}  // namespace vmla::kernels
