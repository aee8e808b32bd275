// What the program finds in the stand-in's libvmla_cuda.so, in the place of
// kernels/cuda/module.cpp: the CPU's loops over the memory that the pointers name, in fp32. 16-bit
// buffers are widened before and rounded after.
#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>

#include <list>

#include "kernel_table_hash.h"
#include "kernels/adamw/adamw_cpu.h"
#include "kernels/attention/merge_part_cpu.h"
#include "kernels/cuda/kernel_table.h"
#include "kernels/gelu/gelu_cpu.h"
#include "kernels/modulate/modulate_cpu.h"
#include "kernels/rms_norm/rms_norm_cpu.h"
#include "kernels/rope_3d/rope_3d_cpu.h"
#include "tests/standin/device.h"
#include "tests/standin/device_memory.h"
#include "tests/standin/graph.h"
#include "tests/standin/pinned_memory.h"
#include "tests/standin/trace.h"

namespace vmla::standin {
namespace {

using namespace kernels;

/// The buffers of one call as the CPU's loop gets them.
class Buffers {
 public:
  Buffers() = default;
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;
  ~Buffers() {
    for (const Rounded& r : rounded_) r.target.copy_(r.values);
  }

  /// `count` elements from `data` on are read.
  const float* in(const void* data, Element element, int64_t count) {
    const at::Tensor held = stored(data, element, count, Access::kReads);
    if (!held.defined()) return nullptr;
    wide_.push_back(held.to(at::kFloat));  // the same memory where it is fp32
    return wide_.back().const_data_ptr<float>();
  }

  /// That many bytes are read as they are stored.
  const void* bytes(const void* data, int64_t count) { return raw(data, count, Access::kReads); }
  /// That many bytes are written as the CPU's loop stores them.
  void* out_bytes(void* data, int64_t count) { return raw(data, count, Access::kWrites); }

  /// They are written.
  float* out(void* data, Element element, int64_t count) {
    const at::Tensor held = stored(data, element, count, Access::kWrites);
    if (!held.defined()) return nullptr;
    if (element == Element::kFloat) return held.mutable_data_ptr<float>();
    rounded_.push_back({held, at::empty({count}, at::kFloat)});
    return rounded_.back().values.mutable_data_ptr<float>();
  }
  float* out(void* data, int64_t count) { return out(data, Element::kFloat, count); }

 private:
  static void* raw(const void* data, int64_t count, Access access) {
    if (data == nullptr || count == 0) return nullptr;
    touch(data, static_cast<size_t>(count), access);
    return host_of(data);
  }
  struct Rounded {
    at::Tensor target, values;
  };
  static at::Tensor stored(const void* data, Element element, int64_t count, Access access) {
    if (data == nullptr || count == 0) return {};
    TORCH_CHECK(element != Element::kDouble, "stand-in: the module's kernels take no fp64");
    const auto dtype = element == Element::kBFloat16 ? at::kBFloat16 : at::kFloat;
    touch(data, static_cast<size_t>(count) * c10::elementSize(dtype), access);
    return at::from_blob(host_of(data), {count}, at::TensorOptions(dtype));
  }
  std::list<at::Tensor> wide_;
  std::list<Rounded> rounded_;
};

/// Elements from the first to the last of [n, inner] with a stride.
int64_t span(int64_t n, int64_t stride, int64_t inner) {
  return n == 0 || inner == 0 ? 0 : (n - 1) * stride + inner;
}

constexpr auto kF32 = Element::kFloat;

void rms_norm(const RmsNormParams& p, Buffers& b) {
  RmsNormParams host = p;
  host.element = host.weight_element = kF32;
  for (RmsNormRows* r : {&host.first, &host.second}) {
    r->x = b.in(r->x, p.element, span(r->rows, r->x_stride, r->D));
    r->weight = b.in(r->weight, p.weight_element, r->D);
    r->y = b.out(r->y, p.element, r->rows * r->D);
    r->rstd = b.out(r->rstd, kF32, r->rows);
  }
  rms_norm_cpu(host);
}

void rms_norm_backward(const RmsNormBackwardParams& p, Buffers& b) {
  RmsNormBackwardParams host = p;
  host.element = host.weight_element = kF32;
  host.grad_y = b.in(p.grad_y, p.element, span(p.rows, p.grad_y_stride, p.D));
  host.x = b.in(p.x, p.element, span(p.rows, p.x_stride, p.D));
  host.weight = b.in(p.weight, p.weight_element, p.D);
  host.rstd = b.in(p.rstd, kF32, p.rows);
  host.grad_x = b.out(p.grad_x, p.element, p.rows * p.D);
  host.grad_weight = b.out(p.grad_weight, p.weight_element, p.D);
  host.partial_sums = b.out(p.partial_sums, kF32, token_chunks(p.rows) * p.D);
  rms_norm_backward_cpu(host);
}

void layer_norm_modulate(const LayerNormModulateParams& p, Buffers& b) {
  LayerNormModulateParams host = p;
  host.element = host.y_element = host.row_element = kF32;
  const int64_t tokens = span(p.S, p.x_token_stride, p.D);
  host.x = b.in(p.x, p.element, span(p.frames, p.x_frame_stride, tokens));
  const int64_t update_tokens = span(p.S, p.update_token_stride, p.D);
  host.update = b.in(p.update, p.y_element, span(p.frames, p.update_frame_stride, update_tokens));
  host.gate = b.in(p.gate, p.row_element, span(p.frames, p.gate_stride, p.D));
  host.sum = b.out(p.sum, p.element, p.frames * p.S * p.D);
  host.shift = b.in(p.shift, p.row_element, span(p.frames, p.shift_stride, p.D));
  host.scale = b.in(p.scale, p.row_element, span(p.frames, p.scale_stride, p.D));
  host.y = b.out(p.y, p.y_element, p.frames * p.S * p.D);
  host.mean = b.out(p.mean, kF32, p.frames * p.S);
  host.rstd = b.out(p.rstd, kF32, p.frames * p.S);
  layer_norm_modulate_cpu(host);
}

void layer_norm_modulate_backward(const LayerNormModulateBackwardParams& p, Buffers& b) {
  LayerNormModulateBackwardParams host = p;
  host.element = host.y_element = host.row_element = kF32;
  const int64_t grad_tokens = span(p.S, p.grad_y_token_stride, p.D);
  host.grad_y = b.in(p.grad_y, p.y_element, span(p.frames, p.grad_y_frame_stride, grad_tokens));
  const int64_t tokens = span(p.S, p.x_token_stride, p.D);
  host.x = b.in(p.x, p.element, span(p.frames, p.x_frame_stride, tokens));
  const int64_t sum_tokens = span(p.S, p.grad_sum_token_stride, p.D);
  host.grad_sum = b.in(p.grad_sum, p.element, span(p.frames, p.grad_sum_frame_stride, sum_tokens));
  host.scale = b.in(p.scale, p.row_element, span(p.frames, p.scale_stride, p.D));
  host.mean = b.in(p.mean, kF32, p.frames * p.S);
  host.rstd = b.in(p.rstd, kF32, p.frames * p.S);
  host.grad_x = b.out(p.grad_x, p.element, p.frames * p.S * p.D);
  host.grad_shift = b.out(p.grad_shift, p.row_element, p.frames * p.D);
  host.grad_scale = b.out(p.grad_scale, p.row_element, p.frames * p.D);
  b.out(p.partial_sums, 2 * p.frames * token_chunks(p.S) * p.D);
  host.partial_sums = nullptr;  // the CPU's loop needs none
  layer_norm_modulate_backward_cpu(host);
}

void gated_residual(const GatedResidualParams& p, Buffers& b) {
  GatedResidualParams host = p;
  host.element = host.y_element = host.row_element = kF32;
  const int64_t x_tokens = span(p.S, p.x_token_stride, p.D);
  host.x = b.in(p.x, p.element, span(p.frames, p.x_frame_stride, x_tokens));
  const int64_t y_tokens = span(p.S, p.y_token_stride, p.D);
  host.y = b.in(p.y, p.y_element, span(p.frames, p.y_frame_stride, y_tokens));
  host.gate = b.in(p.gate, p.row_element, span(p.frames, p.gate_stride, p.D));
  host.out = b.out(p.out, p.element, p.frames * p.S * p.D);
  gated_residual_cpu(host);
}

void gated_residual_backward(const GatedResidualBackwardParams& p, Buffers& b) {
  GatedResidualBackwardParams host = p;
  host.element = host.y_element = host.row_element = kF32;
  const int64_t grad_tokens = span(p.S, p.grad_token_stride, p.D);
  host.grad = b.in(p.grad, p.element, span(p.frames, p.grad_frame_stride, grad_tokens));
  const int64_t y_tokens = span(p.S, p.y_token_stride, p.D);
  host.y = b.in(p.y, p.y_element, span(p.frames, p.y_frame_stride, y_tokens));
  host.gate = b.in(p.gate, p.row_element, span(p.frames, p.gate_stride, p.D));
  host.grad_y = b.out(p.grad_y, p.y_element, p.frames * p.S * p.D);
  host.grad_gate = b.out(p.grad_gate, p.row_element, p.frames * p.D);
  b.out(p.partial_sums, p.frames * token_chunks(p.S) * p.D);
  host.partial_sums = nullptr;
  gated_residual_backward_cpu(host);
}

void gelu(const GeluParams& p, Buffers& b) {
  gelu_tanh_cpu({.element = kF32,
                 .x = b.in(p.x, p.element, p.count),
                 .y = b.out(p.y, p.element, p.count),
                 .count = p.count});
}

void gelu_backward(const GeluBackwardParams& p, Buffers& b) {
  gelu_tanh_backward_cpu({.element = kF32,
                          .grad_y = b.in(p.grad_y, p.element, p.count),
                          .x = b.in(p.x, p.element, p.count),
                          .grad_x = b.out(p.grad_x, p.element, p.count),
                          .count = p.count});
}

RopeParams host_rope(const RopeParams& p, Buffers& b) {
  RopeParams host = p;
  host.element = kF32;
  const int64_t token = span(p.N, p.x_head_stride, p.K);
  host.x = b.in(p.x, p.element, span(p.B, p.x_batch_stride, span(p.L, p.x_token_stride, token)));
  host.cos = b.in(p.cos, kF32, p.L * p.num_pairs);
  host.sin = b.in(p.sin, kF32, p.L * p.num_pairs);
  host.y = b.out(p.y, p.element, p.B * p.L * p.N * p.K);
  return host;
}

void rope(const RopeParams& p, Buffers& b) {
  rope_cpu(host_rope(p, b));
}

void rope_latents(const RopeLatentsParams& p, Buffers& b) {
  const Element element = p.query.element;
  const int64_t B = p.query.B, P = 2 * p.num_pairs, rows = p.window.tokens + p.own.tokens;
  RopeLatentsParams host = p;
  host.query = host_rope(p.query, b);
  for (LatentPartParams* part : {&host.window, &host.own}) {
    const auto extent = [&](int64_t batch, int64_t token, int64_t inner) {
      return span(B, batch, span(part->tokens, token, inner));
    };
    const int64_t content = extent(part->content_batch_stride, part->content_token_stride, p.R);
    const int64_t scales = extent(part->scale_batch_stride, part->scale_token_stride, 1);
    // The CPU's loop reads eight bits and their factors as they are stored.
    part->content =
        part->scale ? b.bytes(part->content, content) : b.in(part->content, element, content);
    part->scale = b.bytes(part->scale, 2 * scales);
    part->key = b.in(part->key, element, extent(part->key_batch_stride, part->key_token_stride, P));
  }
  host.cos = b.in(p.cos, kF32, rows * p.num_pairs);
  host.sin = b.in(p.sin, kF32, rows * p.num_pairs);
  host.rows = b.out(p.rows, element, B * rows * (p.R + P));
  rope_latents_cpu(host);
}

void merge_part(const MergePartParams& p, Buffers& b) {
  MergePartParams host = p;
  host.element = kF32;
  host.out =
      b.out(p.out, kF32, span(p.B, p.out_batch_stride, span(p.L, p.out_token_stride, p.N * p.V)));
  host.lse = b.out(p.lse, kF32, span(p.B, p.lse_batch_stride, span(p.N, p.lse_head_stride, p.L)));
  const int64_t heads = span(p.N, p.part_head_stride, p.V);
  host.part = b.in(
      p.part, p.element, span(p.B, p.part_batch_stride, span(p.L, p.part_token_stride, heads)));
  host.part_lse = b.in(
      p.part_lse, kF32, span(p.B, p.part_lse_batch_stride, span(p.N, p.part_lse_head_stride, p.L)));
  merge_part_cpu(host);
}

void adamw(const AdamwParams& p, Buffers& b) {
  AdamwParams host = p;
  host.param = b.out(p.param, p.count);
  host.grad = b.in(p.grad, kF32, p.count);
  host.exp_avg = b.out(p.exp_avg, p.count);
  host.exp_avg_sq = b.out(p.exp_avg_sq, p.count);
  host.grad_scale = b.in(p.grad_scale, kF32, 1);
  host.average = b.out(p.average, p.count);
  host.rounded = b.out_bytes(p.rounded, 2 * p.count);
  host.rounded_average = b.out_bytes(p.rounded_average, 2 * p.count);
  adamw_cpu(host);
}

template <class Params, void (*kernel)(const Params&, Buffers&)>
void run(const Params& params, int) {
  note_launch("vmla");
  const auto work = [params] {
    const at::AutoDispatchBelowADInplaceOrView below;
    const at::NoGradGuard no_grad;
    Buffers buffers;
    kernel(params, buffers);
  };
  work();
  remember(work);
}

std::string why_unusable() {
  return {};
}

constexpr cuda::KernelTable kTable{
    .why_unusable = why_unusable,
    .lock_pages = lock_pages,
    .unlock_pages = unlock_pages,
    .record = record,
    .rms_norm = run<RmsNormParams, rms_norm>,
    .rms_norm_backward = run<RmsNormBackwardParams, rms_norm_backward>,
    .layer_norm_modulate = run<LayerNormModulateParams, layer_norm_modulate>,
    .layer_norm_modulate_backward =
        run<LayerNormModulateBackwardParams, layer_norm_modulate_backward>,
    .gated_residual = run<GatedResidualParams, gated_residual>,
    .gated_residual_backward = run<GatedResidualBackwardParams, gated_residual_backward>,
    .gelu_tanh = run<GeluParams, gelu>,
    .gelu_tanh_backward = run<GeluBackwardParams, gelu_backward>,
    .rope = run<RopeParams, rope>,
    .rope_latents = run<RopeLatentsParams, rope_latents>,
    .merge_part = run<MergePartParams, merge_part>,
    .adamw = run<AdamwParams, adamw>,
};

[[maybe_unused]] const bool kStarted = (start_device(), true);

}  // namespace
}  // namespace vmla::standin

extern "C" __attribute__((visibility("default"))) const char* vmla_cuda_table_hash() {
  return kKernelTableHash;
}

extern "C" __attribute__((visibility("default"))) const vmla::kernels::cuda::KernelTable*
vmla_cuda_kernels() {
  return &vmla::standin::kTable;
}
