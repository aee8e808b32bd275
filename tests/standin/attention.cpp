// CUDA's flash, cuDNN's and memory-efficient attention: what their kernels in LibTorch 2.11 take,
// and the formulas. Sums are fp32 for 16-bit inputs, as there, and fp64 for fp32 ones, so that what
// is left is the rounding of the result.
#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/library.h>

#include <atomic>
#include <cmath>
#include <cstdlib>

#include "tests/standin/device.h"
#include "tests/standin/graph.h"
#include "tests/standin/trace.h"

namespace vmla::standin {
namespace {

constexpr int64_t kLseAlign = 32;     // of the efficient kernel's LSE rows
constexpr int64_t kAccessBytes = 16;  // both kernels load so many bytes at once
constexpr int64_t kWidestFlashHead = 256, kWidestCudnnHead = 128;

void check_operand(const char* name, const at::Tensor& t, const at::Tensor& q, bool flash) {
  TORCH_CHECK(t.is_cuda() && t.dim() == 4 && t.device() == q.device(),
              name,
              ": [B, N, L, K] on one device expected, got ",
              t.sizes(),
              " on ",
              t.device());
  TORCH_CHECK(t.stride(-1) == 1, name, ": dense channels expected, strides are ", t.strides());
  TORCH_CHECK(t.size(-1) % 8 == 0, name, ": head width is no multiple of 8: ", t.size(-1));
  const auto type = t.scalar_type();
  const bool half = type == at::kBFloat16 || type == at::kHalf;
  TORCH_CHECK(half || (!flash && type == at::kFloat), name, ": does not take ", type);
  TORCH_CHECK(type == q.scalar_type(), name, ": one dtype expected");
  const auto bytes = static_cast<int64_t>(t.itemsize());
  TORCH_CHECK(reinterpret_cast<uintptr_t>(t.unsafeGetTensorImpl()->data()) % kAccessBytes == 0,
              name,
              ": misaligned address: the first element is not at a multiple of 16 bytes (offset ",
              t.storage_offset(),
              ")");
  for (int64_t d = 0; d < 3; ++d) {
    TORCH_CHECK(t.size(d) == 1 || t.stride(d) * bytes % kAccessBytes == 0,
                name,
                ": misaligned address: strides ",
                t.strides(),
                " of ",
                type,
                " are not multiples of 16 bytes");
  }
}

void check_inputs(
    const char* name, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool flash) {
  for (const at::Tensor* t : {&q, &k, &v}) check_operand(name, *t, q, flash);
  TORCH_CHECK(q.size(-1) == k.size(-1) && k.size(2) == v.size(2) && k.size(2) > 0,
              name,
              ": sizes ",
              q.sizes(),
              k.sizes(),
              v.sizes());
  TORCH_CHECK(!flash || (q.size(-1) == v.size(-1) && q.size(-1) <= kWidestFlashHead),
              name,
              ": one head width of at most 256 expected, got ",
              q.size(-1),
              " and ",
              v.size(-1));
}

/// The dtype in which sums are formed.
at::Tensor wide(const at::Tensor& device) {
  const at::Tensor x = host_view(device);
  return x.to(x.scalar_type() == at::kFloat ? at::kDouble : at::kFloat);
}

/// [B, N, L, V] on the device, in memory [B, L, N, V]: the layout of CUDA's results.
at::Tensor empty_result(at::IntArrayRef sizes_BNLV, const at::Tensor& like) {
  return at::empty({sizes_BNLV[0], sizes_BNLV[2], sizes_BNLV[1], sizes_BNLV[3]}, like.options())
      .transpose(1, 2);
}

at::Tensor to_device(const at::Tensor& x_BNLK, const at::Tensor& like) {
  at::Tensor back = empty_result(x_BNLK.sizes(), like);
  if (x_BNLK.numel() > 0) host_view(back, Access::kWrites).copy_(x_BNLK);
  return back;
}

struct Attended {
  at::Tensor out, lse;
};
Attended attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  const at::Tensor scores = wide(q).matmul(wide(k).transpose(-1, -2)) * scale;
  const at::Tensor lse = scores.logsumexp(-1);
  return {(scores - lse.unsqueeze(-1)).exp().matmul(wide(v)), lse};
}

/// CUDA's kernels add gradients in the order in which their blocks finish, never twice the same,
/// unless LibTorch is asked for a fixed one. With STANDIN_ANY_ORDER=N so do these: each call begins
/// its sums, in fp32, with another row, the first with row N.
class SumOrder {
 public:
  SumOrder() {
    static const char* const start = std::getenv("STANDIN_ANY_ORDER");
    static std::atomic<int64_t> calls{start == nullptr ? 0 : std::atoll(start)};
    const at::Context& context = at::globalContext();
    const bool is_fixed =
        context.deterministicAlgorithms() && !context.deterministicAlgorithmsWarnOnly();
    if (start != nullptr && !is_fixed) first_row_ = ++calls;
  }

  /// Of [..., R] and [..., R, K]: [..., K], summed over R.
  at::Tensor product(const at::Tensor& weights, const at::Tensor& rows) const {
    if (first_row_ == 0) return weights.matmul(rows);
    return weights.roll(first_row_, -1)
        .to(at::kFloat)
        .matmul(rows.roll(first_row_, -2).to(at::kFloat));
  }

 private:
  int64_t first_row_ = 0;
};

std::tuple<at::Tensor, at::Tensor, at::Tensor> attend_backward(const at::Tensor& grad,
                                                               const at::Tensor& query,
                                                               const at::Tensor& key,
                                                               const at::Tensor& value,
                                                               const at::Tensor& output,
                                                               const at::Tensor& lse_host,
                                                               double scale) {
  refuse_while_recording("attention's backward");
  note_launch("attention_backward");
  const at::Tensor g = wide(grad), q = wide(query), k = wide(key), v = wide(value);
  const at::Tensor p =
      (q.matmul(k.transpose(-1, -2)) * scale - lse_host.to(q.scalar_type()).unsqueeze(-1)).exp();
  const at::Tensor dp = g.matmul(v.transpose(-1, -2));
  const at::Tensor ds = p * (dp - (g * wide(output)).sum(-1, true)) * scale;
  const SumOrder order;
  return {to_device(order.product(ds, k), query),
          to_device(order.product(ds.transpose(-1, -2), q), key),
          to_device(order.product(p.transpose(-1, -2), g), value)};
}

double scale_of(std::optional<double> scale, const at::Tensor& q) {
  return scale.value_or(1.0 / std::sqrt(static_cast<double>(q.size(-1))));
}

int64_t padded(int64_t rows) {
  return (rows + kLseAlign - 1) / kLseAlign * kLseAlign;
}

void check_lse(const char* name, const at::Tensor& lse, at::IntArrayRef sizes) {
  TORCH_CHECK(lse.is_cuda() && lse.is_contiguous() && lse.scalar_type() == at::kFloat &&
                  lse.sizes() == sizes,
              name,
              ": log-sum-exp of ",
              sizes,
              " in fp32 on the device expected, got ",
              lse.sizes(),
              " of ",
              lse.scalar_type(),
              " on ",
              lse.device());
}

using FlashOutput = std::tuple<at::Tensor,
                               at::Tensor,
                               at::Tensor,
                               at::Tensor,
                               c10::SymInt,
                               c10::SymInt,
                               at::Tensor,
                               at::Tensor,
                               at::Tensor>;
/// Computes `out` and `lse`, seen as [B, N, L, V] and [B, N, L or more], now and at every replay.
void attend_into(const char* kernel,
                 const at::Tensor& out,
                 const at::Tensor& lse,
                 const at::Tensor& q,
                 const at::Tensor& k,
                 const at::Tensor& v,
                 double scale) {
  note_launch(kernel);
  const auto work = [out = unowned(out),
                     lse = unowned(lse),
                     q = unowned(q),
                     k = unowned(k),
                     v = unowned(v),
                     scale] {
    const auto [values, sums] = attend(q, k, v, scale);
    host_view(out, Access::kWrites).copy_(values);
    host_view(lse, Access::kWrites).narrow(-1, 0, q.size(2)).copy_(sums);
  };
  work();
  remember(work);
}

FlashOutput flash(const at::Tensor& q,
                  const at::Tensor& k,
                  const at::Tensor& v,
                  double dropout,
                  bool causal,
                  bool,
                  std::optional<double> scale) {
  const at::AutoDispatchBelowADInplaceOrView below;
  check_inputs("stand-in: flash attention", q, k, v, true);
  TORCH_CHECK(dropout == 0.0 && !causal, "stand-in: flash attention: only what vmla asks for");
  const at::Tensor out = empty_result({q.size(0), q.size(1), q.size(2), v.size(3)}, q);
  const at::Tensor lse =
      at::empty({q.size(0), q.size(1), q.size(2)}, q.options().dtype(at::kFloat));
  attend_into("flash", out, lse, q, k, v, scale_of(scale, q));
  const auto longs = q.options().dtype(at::kLong);
  return {out,
          lse,
          {},
          {},
          q.sym_size(2),
          k.sym_size(2),
          at::empty({2}, longs),
          at::empty({}, longs),
          {}};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> flash_backward(const at::Tensor& g,
                                                              const at::Tensor& q,
                                                              const at::Tensor& k,
                                                              const at::Tensor& v,
                                                              const at::Tensor& out,
                                                              const at::Tensor& lse,
                                                              const at::Tensor&,
                                                              const at::Tensor&,
                                                              c10::SymInt,
                                                              c10::SymInt,
                                                              double,
                                                              bool,
                                                              const at::Tensor& rng,
                                                              const at::Tensor& unused,
                                                              std::optional<double> scale) {
  const at::AutoDispatchBelowADInplaceOrView below;
  const char* const name = "stand-in: flash attention backward";
  check_inputs(name, q, k, v, true);
  for (const at::Tensor* t : {&g, &out}) check_operand(name, *t, q, true);
  check_lse(name, lse, {q.size(0), q.size(1), q.size(2)});
  TORCH_CHECK(rng.is_cuda() && unused.is_cuda(), name, ": the RNG's state is on the host");
  return attend_backward(g, q, k, v, out, host_view(lse), scale_of(scale, q));
}

void check_cudnn_inputs(const char* name,
                        const at::Tensor& q,
                        const at::Tensor& k,
                        const at::Tensor& v) {
  check_inputs(name, q, k, v, false);
  TORCH_CHECK(q.scalar_type() != at::kFloat, name, ": does not take ", q.scalar_type());
  TORCH_CHECK(std::max(q.size(-1), v.size(-1)) <= kWidestCudnnHead,
              name,
              ": heads of at most 128 expected, got ",
              q.size(-1),
              " and ",
              v.size(-1));
}

FlashOutput cudnn(const at::Tensor& q,
                  const at::Tensor& k,
                  const at::Tensor& v,
                  const std::optional<at::Tensor>& bias,
                  bool with_lse,
                  double dropout,
                  bool causal,
                  bool,
                  std::optional<double> scale) {
  const at::AutoDispatchBelowADInplaceOrView below;
  TORCH_CHECK(std::getenv("STANDIN_NO_CUDNN") == nullptr,
              "cuDNN Frontend error: no execution plan supports the graph (stand-in)");
  check_cudnn_inputs("stand-in: cuDNN's attention", q, k, v);
  TORCH_CHECK(dropout == 0.0 && !causal && with_lse && !(bias && bias->defined()),
              "stand-in: cuDNN's attention: only what vmla asks for");
  const at::Tensor out = empty_result({q.size(0), q.size(1), q.size(2), v.size(3)}, q);
  const at::Tensor lse =
      at::empty({q.size(0), q.size(1), q.size(2), 1}, q.options().dtype(at::kFloat));
  attend_into("cudnn", out, lse.squeeze(-1), q, k, v, scale_of(scale, q));
  const auto longs = q.options().dtype(at::kLong);
  return {out,
          lse,
          {},
          {},
          q.sym_size(2),
          k.sym_size(2),
          at::empty({}, longs),
          at::empty({}, longs),
          {}};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> cudnn_backward(const at::Tensor& g,
                                                              const at::Tensor& q,
                                                              const at::Tensor& k,
                                                              const at::Tensor& v,
                                                              const at::Tensor& out,
                                                              const at::Tensor& lse,
                                                              const at::Tensor& seed,
                                                              const at::Tensor& offset,
                                                              const at::Tensor& bias,
                                                              const at::Tensor&,
                                                              const at::Tensor&,
                                                              c10::SymInt,
                                                              c10::SymInt,
                                                              double,
                                                              bool,
                                                              std::optional<double> scale) {
  const at::AutoDispatchBelowADInplaceOrView below;
  const char* const name = "stand-in: cuDNN's attention backward";
  check_cudnn_inputs(name, q, k, v);
  for (const at::Tensor* t : {&g, &out}) check_operand(name, *t, q, false);
  check_lse(name, lse, {q.size(0), q.size(1), q.size(2), 1});
  TORCH_CHECK(seed.is_cuda() && offset.is_cuda(), name, ": the RNG's state is on the host");
  TORCH_CHECK(!bias.defined(), name, ": only what vmla asks for");
  return attend_backward(g, q, k, v, out, host_view(lse).squeeze(-1), scale_of(scale, q));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> efficient(
    const at::Tensor& q,
    const at::Tensor& k,
    const at::Tensor& v,
    const std::optional<at::Tensor>& bias,
    bool with_lse,
    double dropout,
    bool causal,
    std::optional<double> scale) {
  const at::AutoDispatchBelowADInplaceOrView below;
  check_inputs("stand-in: efficient attention", q, k, v, false);
  TORCH_CHECK(dropout == 0.0 && !causal && with_lse && !(bias && bias->defined()),
              "stand-in: efficient attention: only what vmla asks for");
  const at::Tensor out = empty_result({q.size(0), q.size(1), q.size(2), v.size(3)}, q);
  const at::Tensor lse =
      at::empty({q.size(0), q.size(1), padded(q.size(2))}, q.options().dtype(at::kFloat));
  attend_into("efficient", out, lse, q, k, v, scale_of(scale, q));
  return {out, lse, at::empty({}, at::kLong), at::empty({}, at::kLong)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> efficient_backward(
    const at::Tensor& g,
    const at::Tensor& q,
    const at::Tensor& k,
    const at::Tensor& v,
    const at::Tensor& bias,
    const at::Tensor& out,
    const at::Tensor& lse,
    const at::Tensor&,
    const at::Tensor&,
    double,
    std::array<bool, 4>,
    bool,
    std::optional<double> scale) {
  const at::AutoDispatchBelowADInplaceOrView below;
  const char* const name = "stand-in: efficient attention backward";
  check_inputs(name, q, k, v, false);
  for (const at::Tensor* t : {&g, &out}) check_operand(name, *t, q, false);
  check_lse(name, lse, {q.size(0), q.size(1), padded(q.size(2))});
  TORCH_CHECK(!bias.defined(), name, ": only what vmla asks for");
  auto [dq, dk, dv] =
      attend_backward(g, q, k, v, out, host_view(lse).narrow(-1, 0, q.size(2)), scale_of(scale, q));
  return {dq, dk, dv, {}};
}

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("_scaled_dot_product_flash_attention", TORCH_FN(flash));
  m.impl("_scaled_dot_product_flash_attention_backward", TORCH_FN(flash_backward));
  m.impl("_scaled_dot_product_cudnn_attention", TORCH_FN(cudnn));
  m.impl("_scaled_dot_product_cudnn_attention_backward", TORCH_FN(cudnn_backward));
  m.impl("_scaled_dot_product_efficient_attention", TORCH_FN(efficient));
  m.impl("_scaled_dot_product_efficient_attention_backward", TORCH_FN(efficient_backward));
}

}  // namespace
}  // namespace vmla::standin
