#include "kernels/attention/sdpa_backend.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <atomic>
#include <limits>

#include "kernels/attention/gpu_attention.h"
#include "kernels/dispatch.h"
#include "kernels/kernel_record.h"

// Signatures and constraints of the library kernels, LibTorch 2.11. All of them are dispatcher
// calls, so the CUDA ones need no CUDA library at link time.

namespace vmla::kernels {
namespace {

/// Who computes the attention of these tensors.
enum class Backend {
  kCpuFlash,
  kFlash,      // of CUDA: 16 bits, heads of at most 256
  kCudnn,      // 16 bits, heads of at most 128, where it is wanted
  kEfficient,  // of CUDA: also fp32, and heads of any width
  kProducts    // ATen's matrix products, for fp64 on a GPU, which no kernel takes
};

constexpr int64_t kWidestFlashHead = 256, kWidestCudnnHead = 128;

Backend backend_of(const at::Tensor& q, const at::Tensor& v) {
  if (!q.is_cuda()) return Backend::kCpuFlash;
  if (q.scalar_type() == at::kDouble) return Backend::kProducts;
  const bool is_half = q.scalar_type() == at::kBFloat16 || q.scalar_type() == at::kHalf;
  const int64_t width = std::max(q.size(-1), v.size(-1));
  if (!is_half || width > kWidestFlashHead) return Backend::kEfficient;
  const bool cudnn = gpu_attention() == GpuAttention::kCudnn && width <= kWidestCudnnHead;
  return cudnn ? Backend::kCudnn : Backend::kFlash;
}

/// CUDA's kernels load 16 bytes at once and do not check that they may: a slice of a wider tensor
/// can begin anywhere, and its rows too.
bool is_aligned(const at::Tensor& x) {
  constexpr int64_t kAccessBytes = 16;
  if (reinterpret_cast<uintptr_t>(x.const_data_ptr()) % kAccessBytes != 0) return false;
  for (int64_t d = 0; d + 1 < x.dim(); ++d) {
    const bool is_step = x.size(d) > 1;
    if (is_step && x.stride(d) * static_cast<int64_t>(x.itemsize()) % kAccessBytes != 0)
      return false;
  }
  return true;
}

// The kernels take [B, N, L, K] with any strides but the last, which they assume to be 1 without a
// check. `width` is the head dimension they get: zero channels change neither scores nor the first
// V outputs.
at::Tensor kernel_layout(const at::Tensor& x_BLNK, int64_t width) {
  at::Tensor x = x_BLNK;
  if (x.size(-1) < width) {
    x = at::constant_pad_nd(x, {0, width - x.size(-1)});
  } else if (x.stride(-1) != 1) {
    x = x.contiguous();
  } else if (x.is_cuda() && !is_aligned(x)) {
    x = x.clone(at::MemoryFormat::Contiguous);  // it may be contiguous, at a wrong address
  }
  return x.transpose(1, 2);
}

at::Tensor own_layout(const at::Tensor& x_BNLK, int64_t width) {
  return x_BNLK.narrow(-1, 0, width).transpose(1, 2);
}

// The CPU and flash kernels want one width for all three; the CUDA kernels a multiple of 8.
struct Widths {
  int64_t qk, v;
};
Widths kernel_widths(Backend backend, const at::Tensor& q, const at::Tensor& v) {
  const int64_t K = q.size(-1);
  const int64_t V = v.size(-1);
  const auto round8 = [](int64_t n) { return (n + 7) / 8 * 8; };
  switch (backend) {
    case Backend::kCpuFlash:
      return {std::max(K, V), std::max(K, V)};
    case Backend::kFlash:
      return {round8(std::max(K, V)), round8(std::max(K, V))};
    case Backend::kCudnn:
    case Backend::kEfficient:
      return {round8(K), round8(V)};
    case Backend::kProducts:
      break;
  }
  return {K, V};
}

/// The scores of [B, N, L, K] and [B, N, M, K]: [B, N, L, M].
at::Tensor scores_of(const at::Tensor& q, const at::Tensor& k, double scale) {
  return q.matmul(k.transpose(-1, -2)) * scale;
}

// The efficient kernel stores and reads LSE rows padded to a multiple of 32; +inf makes the padded
// weights 0.
constexpr int64_t kEfficientLseAlign = 32;

std::atomic<bool> is_deterministic{false};

/// LibTorch's own switch, on for as long as one backward kernel is started, which reads it then.
/// Left on, it would refuse operations that have no such form.
class FixedOrder {
 public:
  explicit FixedOrder(bool wanted) : context_(at::globalContext()), wanted_(wanted) {
    if (!wanted_) return;
    context_.setDeterministicAlgorithms(true, /*warn_only=*/false);
  }
  ~FixedOrder() {
    if (wanted_) context_.setDeterministicAlgorithms(false, /*warn_only=*/false);
  }
  FixedOrder(const FixedOrder&) = delete;
  FixedOrder& operator=(const FixedOrder&) = delete;

 private:
  at::Context& context_;
  bool wanted_;
};

}  // namespace

void set_deterministic_backward(bool wanted) {
  is_deterministic = wanted;
  // Part of what the switch does: it would fill every tensor made meanwhile.
  if (wanted) at::globalContext().setDeterministicFillUninitializedMemory(false);
}

SdpaOutput sdpa(const at::Tensor& q_BLNK,
                const at::Tensor& k_BMNK,
                const at::Tensor& v_BMNV,
                double scale) {
  const Backend backend = backend_of(q_BLNK, v_BMNV);
  const Widths widths = kernel_widths(backend, q_BLNK, v_BMNV);
  const at::Tensor q = kernel_layout(q_BLNK, widths.qk);
  const at::Tensor k = kernel_layout(k_BMNK, widths.qk);
  const at::Tensor v = kernel_layout(v_BMNV, widths.v);
  RECORD_FUNCTION(kKernelRecord, reading({q, k, v}));
  at::Tensor out, lse;
  if (wants_sizes_only(q)) {
    const int64_t B = q.size(0), N = q.size(1), L = q.size(2);
    out = at::empty({B, L, N, widths.v}, q.options()).transpose(1, 2);
    lse = at::empty({B, N, L}, q.options().dtype(accumulate_type(q)));
  } else if (backend == Backend::kProducts) {
    const at::Tensor scores = scores_of(q, k, scale);
    lse = scores.logsumexp(-1);
    out = (scores - lse.unsqueeze(-1)).exp().matmul(v);
  } else if (backend == Backend::kCpuFlash) {
    std::tie(out, lse) =
        at::_scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, false, std::nullopt, scale);
  } else if (backend == Backend::kFlash) {
    auto result = at::_scaled_dot_product_flash_attention(q, k, v, 0.0, false, false, scale);
    out = std::get<0>(result);
    lse = std::get<1>(result);
  } else if (backend == Backend::kCudnn) {
    auto result = at::_scaled_dot_product_cudnn_attention(
        q, k, v, std::nullopt, /*compute_log_sumexp=*/true, 0.0, false, false, scale);
    out = std::get<0>(result);
    lse = std::get<1>(result).squeeze(-1);  // [B, N, L, 1]
  } else {
    auto result = at::_scaled_dot_product_efficient_attention(
        q, k, v, std::nullopt, /*compute_log_sumexp=*/true, 0.0, false, scale);
    out = std::get<0>(result);
    lse = std::get<1>(result).narrow(-1, 0, q.size(2));
  }
  return {own_layout(out, v_BMNV.size(-1)), lse};
}

SdpaGrads sdpa_backward(const at::Tensor& grad_out_BLNV,
                        const at::Tensor& q_BLNK,
                        const at::Tensor& k_BMNK,
                        const at::Tensor& v_BMNV,
                        const at::Tensor& out_BLNV,
                        const at::Tensor& lse_BNL,
                        double scale) {
  const Backend backend = backend_of(q_BLNK, v_BMNV);
  const Widths widths = kernel_widths(backend, q_BLNK, v_BMNV);
  const at::Tensor q = kernel_layout(q_BLNK, widths.qk);
  const at::Tensor k = kernel_layout(k_BMNK, widths.qk);
  const at::Tensor v = kernel_layout(v_BMNV, widths.v);
  const at::Tensor grad_out = kernel_layout(grad_out_BLNV, widths.v);
  const at::Tensor out = kernel_layout(out_BLNV, widths.v);
  RECORD_FUNCTION(kKernelRecord, reading({grad_out, q, k, v, out, lse_BNL}));
  at::Tensor dq, dk, dv;
  if (wants_sizes_only(q)) {
    dq = at::empty(q.sizes(), q.options());
    dk = at::empty(k.sizes(), k.options());
    dv = at::empty(v.sizes(), v.options());
  } else if (backend == Backend::kProducts) {
    const at::Tensor p = (scores_of(q, k, scale) - lse_BNL.unsqueeze(-1)).exp();
    const at::Tensor dp = grad_out.matmul(v.transpose(-1, -2));
    const at::Tensor ds = p * (dp - (grad_out * out).sum(-1, /*keepdim=*/true)) * scale;
    dq = ds.matmul(k);
    dk = ds.transpose(-1, -2).matmul(q);
    dv = p.transpose(-1, -2).matmul(grad_out);
  } else if (backend == Backend::kCpuFlash) {
    std::tie(dq, dk, dv) = at::_scaled_dot_product_flash_attention_for_cpu_backward(
        grad_out, q, k, v, out, lse_BNL, 0.0, false, std::nullopt, scale);
  } else if (backend == Backend::kFlash) {
    // Dense (not varlen) call without dropout: no cumulative lengths, an RNG state that is never
    // read.
    const at::Tensor rng_state = at::zeros({2}, q.options().dtype(at::kLong));
    const FixedOrder fixed(is_deterministic);
    std::tie(dq, dk, dv) =
        at::_scaled_dot_product_flash_attention_backward(grad_out,
                                                         q,
                                                         k,
                                                         v,
                                                         out,
                                                         lse_BNL.contiguous(),
                                                         at::Tensor(),
                                                         at::Tensor(),
                                                         q.size(2),
                                                         k.size(2),
                                                         0.0,
                                                         false,
                                                         rng_state,
                                                         at::zeros({}, rng_state.options()),
                                                         scale);
  } else if (backend == Backend::kCudnn) {
    const at::Tensor rng_state = at::zeros({}, q.options().dtype(at::kLong));  // likewise
    std::tie(dq, dk, dv) =
        at::_scaled_dot_product_cudnn_attention_backward(grad_out,
                                                         q,
                                                         k,
                                                         v,
                                                         out,
                                                         lse_BNL.unsqueeze(-1).contiguous(),
                                                         rng_state,
                                                         rng_state,
                                                         at::Tensor(),
                                                         at::Tensor(),
                                                         at::Tensor(),
                                                         q.size(2),
                                                         k.size(2),
                                                         0.0,
                                                         false,
                                                         scale);
  } else {
    const int64_t padded =
        (q.size(2) + kEfficientLseAlign - 1) / kEfficientLseAlign * kEfficientLseAlign;
    const at::Tensor lse = at::constant_pad_nd(
        lse_BNL, {0, padded - q.size(2)}, std::numeric_limits<double>::infinity());
    const at::Tensor unused = at::zeros({}, at::kLong);
    at::Tensor dbias;
    const FixedOrder fixed(is_deterministic);
    std::tie(dq, dk, dv, dbias) =
        at::_scaled_dot_product_efficient_attention_backward(grad_out,
                                                             q,
                                                             k,
                                                             v,
                                                             at::Tensor(),
                                                             out,
                                                             lse,
                                                             unused,
                                                             unused,
                                                             0.0,
                                                             {true, true, true, false},
                                                             false,
                                                             scale);
  }
  return {own_layout(dq, q_BLNK.size(-1)),
          own_layout(dk, k_BMNK.size(-1)),
          own_layout(dv, v_BMNV.size(-1))};
}

}  // namespace vmla::kernels
