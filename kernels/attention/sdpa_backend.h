#pragma once

#include <ATen/core/Tensor.h>

namespace vmla::kernels {

/// Plain softmax attention of all queries on all keys by the library kernel of the tensors' device:
/// flash on the CPU; on CUDA gpu_attention() (bf16, fp16), memory-efficient (fp32, and heads wider
/// than 256), or matrix products (fp64, whose scores a memory plan does not count). None of the
/// sizes may be 0. V may differ from K. Returns out [B, L, N, V] in q's dtype and lse [B, N, L] in
/// fp32 (fp64 for fp64).
struct SdpaOutput {
  at::Tensor out_BLNV;
  at::Tensor lse_BNL;
};
SdpaOutput sdpa(const at::Tensor& q_BLNK,
                const at::Tensor& k_BMNK,
                const at::Tensor& v_BMNV,
                double scale);

/// Gradients of attention to these keys when the queries see others too. `out` and `lse` are those
/// of all keys that the queries see, so that p = exp(scale q.k - lse) is the weight in the whole
/// softmax and sum(grad_out * out) its correction term. Gradients of q are this call's share:
/// shares of all segments add up to the whole (docs/algorithms.md 3.7).
struct SdpaGrads {
  at::Tensor q_BLNK, k_BMNK, v_BMNV;
};
SdpaGrads sdpa_backward(const at::Tensor& grad_out_BLNV,
                        const at::Tensor& q_BLNK,
                        const at::Tensor& k_BMNK,
                        const at::Tensor& v_BMNV,
                        const at::Tensor& out_BLNV,
                        const at::Tensor& lse_BNL,
                        double scale);

/// From now on CUDA's flash and memory-efficient kernels (not cuDNN's) add gradients in a fixed
/// order in this process, so that the same inputs give the same bits; with false, in whatever order
/// their blocks finish. A fixed order is slower, and flash then keeps a sum of q's gradients for
/// each of several shares of the keys. Other devices, and the products in fp64, have a fixed order
/// anyway.
void set_deterministic_backward(bool wanted);

}  // namespace vmla::kernels
