#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace vmla::kernels {

/// The operations that have fused code beside their ATen reference (fused_dispatch.h).
enum class FusedOp : uint8_t {
  kRmsNorm,
  kLayerNormModulate,
  kGatedResidual,
  kGeluTanh,
  kRope,
  kMergePart,
  kAdamw
};
inline constexpr std::array kFusedOps{FusedOp::kRmsNorm,
                                      FusedOp::kLayerNormModulate,
                                      FusedOp::kGatedResidual,
                                      FusedOp::kGeluTanh,
                                      FusedOp::kRope,
                                      FusedOp::kMergePart,
                                      FusedOp::kAdamw};
const char* name_of(FusedOp op);

/// What an operation runs as in this process. kAuto: fused, unless check_kernels found that its
/// kernel disagrees with the reference. kReference: in ATen's operations, on every device. kFused:
/// fused, whatever a check says.
enum class KernelUse : uint8_t { kAuto, kReference, kFused };
/// "auto", "reference" or "fused"; nothing for another word.
std::optional<KernelUse> kernel_use_named(std::string_view word);
void set_kernel_use(FusedOp op, KernelUse use);
KernelUse kernel_use(FusedOp op);

/// From now on kAuto means the reference for this operation, on GPUs; with false no more.
void set_switched_off(FusedOp op, bool off);
bool is_switched_off(FusedOp op);

}  // namespace vmla::kernels
