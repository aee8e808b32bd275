#include <ATen/ATen.h>

#include <cstdio>
#include <limits>
#include <sstream>

#include "kernels/attention/attention.h"
#include "kernels/attention/gpu_attention.h"
#include "tests/gpu/check.h"
#include "tests/kernels/draws.h"
#include "tests/kernels/sdpa_cases.h"

// The attention kernels of the library, called as they are: does the backward of a part, given the
// merged output and LSE, return the part's exact share of the gradient, and how does each lay out
// its LSE?

namespace vmla::tests::gpu {
namespace {

constexpr int64_t kB = 2, kN = 3, kL = 100, kK = 64;
constexpr int64_t kFirst = 72;  // keys of the first part; the rest is the second
constexpr double kScale = 0.125;

struct Part {
  at::Tensor out;  // [B, N, L, K]
  at::Tensor lse;  // as the backend returns it
  at::Tensor seed, offset;
};
struct Grads {
  at::Tensor q, k, v;
};

struct Backend {
  std::string name;
  at::ScalarType dtype;
  std::function<Part(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v)> forward;
  // lse_BNL is the merged one, fp32, unpadded.
  std::function<Grads(const at::Tensor& g,
                      const at::Tensor& q,
                      const at::Tensor& k,
                      const at::Tensor& v,
                      const at::Tensor& out,
                      const at::Tensor& lse_BNL,
                      const Part& part)>
      backward;
};

Backend flash() {
  return {"flash",
          at::kBFloat16,
          [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
            auto r = at::_scaled_dot_product_flash_attention(q, k, v, 0.0, false, false, kScale);
            return Part{std::get<0>(r), std::get<1>(r), std::get<6>(r), std::get<7>(r)};
          },
          [](const at::Tensor& g,
             const at::Tensor& q,
             const at::Tensor& k,
             const at::Tensor& v,
             const at::Tensor& out,
             const at::Tensor& lse_BNL,
             const Part& part) {
            auto [dq, dk, dv] =
                at::_scaled_dot_product_flash_attention_backward(g,
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
                                                                 part.seed,
                                                                 part.offset,
                                                                 kScale);
            return Grads{dq, dk, dv};
          }};
}

Backend cudnn() {
  return {"cudnn",
          at::kBFloat16,
          [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
            auto r = at::_scaled_dot_product_cudnn_attention(
                q, k, v, std::nullopt, true, 0.0, false, false, kScale);
            return Part{std::get<0>(r), std::get<1>(r), std::get<6>(r), std::get<7>(r)};
          },
          [](const at::Tensor& g,
             const at::Tensor& q,
             const at::Tensor& k,
             const at::Tensor& v,
             const at::Tensor& out,
             const at::Tensor& lse_BNL,
             const Part& part) {
            const at::Tensor lse =
                part.lse.dim() == 4 ? lse_BNL.unsqueeze(-1).contiguous() : lse_BNL.contiguous();
            auto [dq, dk, dv] = at::_scaled_dot_product_cudnn_attention_backward(g,
                                                                                 q,
                                                                                 k,
                                                                                 v,
                                                                                 out,
                                                                                 lse,
                                                                                 part.seed,
                                                                                 part.offset,
                                                                                 at::Tensor(),
                                                                                 at::Tensor(),
                                                                                 at::Tensor(),
                                                                                 q.size(2),
                                                                                 k.size(2),
                                                                                 0.0,
                                                                                 false,
                                                                                 kScale);
            return Grads{dq, dk, dv};
          }};
}

Backend efficient(at::ScalarType dtype) {
  return {"efficient",
          dtype,
          [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
            auto [out, lse, seed, offset] = at::_scaled_dot_product_efficient_attention(
                q, k, v, std::nullopt, true, 0.0, false, kScale);
            return Part{out, lse, seed, offset};
          },
          [](const at::Tensor& g,
             const at::Tensor& q,
             const at::Tensor& k,
             const at::Tensor& v,
             const at::Tensor& out,
             const at::Tensor& lse_BNL,
             const Part& part) {
            const at::Tensor lse = at::constant_pad_nd(lse_BNL,
                                                       {0, part.lse.size(-1) - lse_BNL.size(-1)},
                                                       std::numeric_limits<double>::infinity());
            auto [dq, dk, dv, bias] =
                at::_scaled_dot_product_efficient_attention_backward(g,
                                                                     q,
                                                                     k,
                                                                     v,
                                                                     at::Tensor(),
                                                                     out,
                                                                     lse,
                                                                     part.seed,
                                                                     part.offset,
                                                                     0.0,
                                                                     {true, true, true, false},
                                                                     false,
                                                                     kScale);
            return Grads{dq, dk, dv};
          }};
}

Backend cpu_flash(at::ScalarType dtype) {
  return {"cpu flash",
          dtype,
          [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
            auto [out, lse] = at::_scaled_dot_product_flash_attention_for_cpu(
                q, k, v, 0.0, false, std::nullopt, kScale);
            return Part{out, lse, at::Tensor(), at::Tensor()};
          },
          [](const at::Tensor& g,
             const at::Tensor& q,
             const at::Tensor& k,
             const at::Tensor& v,
             const at::Tensor& out,
             const at::Tensor& lse_BNL,
             const Part&) {
            auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
                g, q, k, v, out, lse_BNL, 0.0, false, std::nullopt, kScale);
            return Grads{dq, dk, dv};
          }};
}

// The first L of whatever layout, as [B, N, L] fp32.
at::Tensor plain_lse(const at::Tensor& lse) {
  return (lse.dim() == 4 ? lse.squeeze(-1) : lse).narrow(2, 0, kL).to(at::kFloat);
}

void check_backend(const Backend& backend, at::Device device) {
  const std::string name = backend.name + (backend.dtype == at::kFloat ? " fp32" : " bf16");
  const auto exact_of = [](uint64_t stream, int64_t rows) {
    return draw(stream, {kB, rows, kN, kK}).to(at::kBFloat16).to(at::kDouble);
  };
  const at::Tensor q64 = exact_of(31, kL).requires_grad_();
  const at::Tensor k64 = exact_of(32, kL).requires_grad_();
  const at::Tensor v64 = exact_of(33, kL).requires_grad_();
  const at::Tensor g64 = exact_of(34, kL);
  const kernels::AttentionOutput whole =
      kernels::segmented_attention_reference(q64, k64, v64, {{0, kL, 0, 0, kL}}, kScale);
  whole.out_BLNV.backward(g64);

  const auto on_gpu = [&](const at::Tensor& t) {
    return t.detach()
        .to(device, backend.dtype)
        .transpose(1, 2);  // [B, N, L, K], strides of [B, L, N, K]
  };
  const at::Tensor q = on_gpu(q64), k = on_gpu(k64), v = on_gpu(v64), g = on_gpu(g64);
  const auto first = [](const at::Tensor& t) { return t.narrow(2, 0, kFirst); };
  const auto second = [](const at::Tensor& t) { return t.narrow(2, kFirst, kL - kFirst); };
  const Part a = backend.forward(q, first(k), first(v));
  const Part b = backend.forward(q, second(k), second(v));
  std::ostringstream layout;
  layout << a.lse.toString() << a.lse.sizes() << " strides " << a.lse.strides() << " for " << kL
         << " queries";
  std::printf("       %s returns its LSE as %s\n", name.c_str(), layout.str().c_str());

  const at::Tensor lse_a = plain_lse(a.lse);
  const at::Tensor lse_b = plain_lse(b.lse);
  const at::Tensor lse = at::logaddexp(lse_a, lse_b);
  const at::Tensor out = (a.out.to(at::kFloat) * (lse_a - lse).exp().unsqueeze(-1) +
                          b.out.to(at::kFloat) * (lse_b - lse).exp().unsqueeze(-1))
                             .to(backend.dtype)
                             .transpose(1, 2)
                             .contiguous()
                             .transpose(1, 2);
  const double tolerance = backend.dtype == at::kFloat ? 1e-5 : 2e-2;
  require_near(name + " merged LSE", lse, whole.lse_BNL, 1e-4);
  require_near(name + " merged output", out.transpose(1, 2), whole.out_BLNV, tolerance);
  const Grads da = backend.backward(g, q, first(k), first(v), out, lse, a);
  const Grads db = backend.backward(g, q, second(k), second(v), out, lse, b);
  const auto rows = [](const at::Tensor& t) { return t.transpose(1, 2); };
  require_near(name + " dq from merged LSE",
               rows(da.q.to(at::kFloat) + db.q.to(at::kFloat)),
               q64.grad(),
               tolerance);
  require_near(name + " dk from merged LSE", rows(at::cat({da.k, db.k}, 2)), k64.grad(), tolerance);
  require_near(name + " dv from merged LSE", rows(at::cat({da.v, db.v}, 2)), v64.grad(), tolerance);
}

/// The check that decides whether a run takes a kernel, and the shapes beyond it.
void check_chosen(kernels::GpuAttention kernel, at::Device device) {
  kernels::set_gpu_attention(kernel);
  const std::string problem = kernels::problem_of_gpu_attention(device);
  check_sdpa_cases(device);
  kernels::set_gpu_attention(kernels::GpuAttention::kFlash);
  TORCH_CHECK(problem.empty(), problem);
}

}  // namespace

std::vector<Check> backend_checks(at::Device device) {
  std::vector<Backend> backends{cpu_flash(at::kFloat), cpu_flash(at::kBFloat16)};
  if (device.is_cuda()) {
    backends = {flash(), cudnn(), efficient(at::kFloat), efficient(at::kBFloat16)};
  }
  std::vector<Check> checks;
  for (const Backend& backend : backends) {
    checks.push_back(
        {"merged log-sum-exp of " + backend.name + " in " + c10::toString(backend.dtype),
         [backend](at::Device on) { check_backend(backend, on); }});
  }
  for (const auto& [name, kernel] : {std::pair("flash", kernels::GpuAttention::kFlash),
                                     std::pair("cudnn", kernels::GpuAttention::kCudnn)}) {
    checks.push_back({std::string("attention of two parts, wide heads, slices and fp64: ") + name,
                      [kernel](at::Device on) { check_chosen(kernel, on); }});
  }
  return checks;
}

}  // namespace vmla::tests::gpu
