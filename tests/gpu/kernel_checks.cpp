#include <ATen/ATen.h>

#include "kernels/adamw/adamw.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/merge_part.h"
#include "kernels/gelu/gelu.h"
#include "kernels/kernel_comparison.h"
#include "kernels/modulate/modulate.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rope_3d/rope_3d.h"
#include "kernels/rope_3d/rope_latents.h"
#include "tests/gpu/check.h"
#include "tests/kernels/attention_plans.h"
#include "tests/kernels/draws.h"

namespace vmla::tests::gpu {
namespace {

using kernels::AttentionOutput;
using kernels::RopeTable;

constexpr double kEps = 1e-6;
// fp32: some ten roundings of 2^-24 in a forward pass; gradients of gains and shifts are sums over
// a thousand rows in another order.
constexpr double kTolerance32 = 2e-6;
constexpr double kGradient32 = 1e-5;
// bf16: the result is rounded to 2^-9 of itself; what is summed from rounded parts twice that.
constexpr double kTolerance16 = 0x1p-8;
constexpr double kGradient16 = 0x1p-6;

using Operation = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

/// Output, then the gradients of all inputs for a fixed cotangent.
std::vector<at::Tensor> evaluate(const Operation& f, const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> leaves;
  for (const at::Tensor& input : inputs) leaves.push_back(input.detach().requires_grad_());
  const at::Tensor out = f(leaves);
  out.backward(draw(90, out.sizes()).to(out.options()));
  std::vector<at::Tensor> results{out};
  for (const at::Tensor& leaf : leaves) results.push_back(leaf.grad());
  return results;
}

/// The operation on the device in fp32 and bf16 against its reference on the CPU in fp64, which is
/// given the same rounded inputs.
void compare(const std::string& name,
             at::Device device,
             const Operation& f,
             const Operation& reference,
             const std::vector<at::Tensor>& inputs) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    std::vector<at::Tensor> rounded, exact;
    for (const at::Tensor& input : inputs) {
      rounded.push_back(input.to(device, dtype));
      exact.push_back(input.to(dtype).to(at::kDouble));
    }
    const std::vector<at::Tensor> actual = evaluate(f, rounded);
    const std::vector<at::Tensor> expected = evaluate(reference, exact);
    const bool fp32 = dtype == at::kFloat;
    for (size_t i = 0; i < actual.size(); ++i) {
      const std::string what =
          name + " in " + c10::toString(dtype) + (i == 0 ? "" : ", gradient " + std::to_string(i));
      require_near(
          what,
          actual[i],
          expected[i],
          i == 0 ? (fp32 ? kTolerance32 : kTolerance16) : (fp32 ? kGradient32 : kGradient16));
    }
  }
}

void check_rms_norm(at::Device device) {
  for (const int64_t D : {1, 7, 64, 257, 264}) {
    const auto pair = [](const std::vector<at::Tensor>& in, auto&& op) {
      const auto [first, second] = op(in[0], in[1], in[2], in[3]);
      return at::cat({first.flatten(), second.flatten()});
    };
    compare(
        "rms_norm_pair",
        device,
        [&](const auto& in) {
          return pair(in, [](auto&&... t) { return kernels::rms_norm_pair(t..., kEps); });
        },
        [&](const auto& in) {
          return pair(in, [](auto& x, auto& w, auto& other, auto& other_w) {
            return std::pair{kernels::rms_norm_reference(x, w, kEps),
                             kernels::rms_norm_reference(other, other_w, kEps)};
          });
        },
        {draw(1, {3, 40, D}), draw(2, {D}), draw(77, {2, 9, 24}), draw(78, {24})});
    compare(
        "rms_norm",
        device,
        [](const auto& in) { return kernels::rms_norm(in[0], in[1], kEps); },
        [](const auto& in) { return kernels::rms_norm_reference(in[0], in[1], kEps); },
        {draw(1, {3, 40, D}), draw(2, {D})});
  }
}

at::Tensor joined(const kernels::ResidualNorm& both) {
  return at::cat({both.sum_BFSD, both.norm_BFSD.to(both.sum_BFSD.scalar_type())}, -1);
}

/// A branch's result added to a sum in fp32, with and without a gate.
void check_residual_norm(at::Device device) {
  using enum kernels::ScaleIs;
  const auto f32 = [](const at::Tensor& t) {
    return t.defined() && t.scalar_type() != at::kDouble ? t.to(at::kFloat) : t;
  };
  const auto apply = [&](const std::vector<at::Tensor>& in, kernels::ScaleIs scale_is, auto op) {
    const at::Tensor gate = in.size() > 4 ? in[4] : at::Tensor();
    return joined(op({f32(in[0]),
                      in[1],
                      f32(gate),
                      f32(in[2]),
                      f32(in[3]),
                      scale_is,
                      kEps,
                      in[1].scalar_type()}));
  };
  for (const int64_t D : {65, 264}) {
    std::vector<at::Tensor> inputs{
        draw(60, {2, 3, 35, D}), draw(61, {2, 3, 35, D}), draw(62, {2, 3, D}), draw(63, {2, 3, D})};
    for (const kernels::ScaleIs scale_is : {kChange, kGain}) {
      compare(
          "residual_norm",
          device,
          [&](const auto& in) { return apply(in, scale_is, kernels::residual_norm); },
          [&](const auto& in) { return apply(in, scale_is, kernels::residual_norm_reference); },
          inputs);
      inputs.push_back(draw(64, {2, 3, D}));  // the gate, with the second form
    }
    // The sum stays in fp32, of a branch in bf16 too.
    const auto given = [&](const at::Tensor& t) { return t.to(device, at::kFloat); };
    const at::Tensor update = inputs[1].to(at::kBFloat16);
    const at::Tensor sum = kernels::residual_norm({given(inputs[0]),
                                                   update.to(device),
                                                   given(inputs[4]),
                                                   given(inputs[2]),
                                                   given(inputs[3]),
                                                   kGain,
                                                   kEps,
                                                   at::kBFloat16})
                               .sum_BFSD;
    require_near("residual_norm, its sum",
                 sum,
                 kernels::gated_residual_reference(inputs[0], update.to(at::kDouble), inputs[4]),
                 kTolerance32);
  }
}

/// Channels one by one, and in packs (kernels/cuda/rows.cuh).
void check_modulation(at::Device device) {
  for (const int64_t D : {65, 264}) {
    const std::vector<at::Tensor> norm{
        draw(3, {2, 3, 35, D}), draw(4, {2, 3, D}), draw(5, {2, 3, D})};
    const std::vector<at::Tensor> residual{norm[0], draw(6, {2, 3, 35, D}), norm[1]};
    const Operation norm_reference = [](const auto& in) {
      return kernels::layer_norm_modulate_reference(in[0], in[1], in[2], kEps);
    };
    const Operation residual_reference = [](const auto& in) {
      return kernels::gated_residual_reference(in[0], in[1], in[2]);
    };
    compare(
        "layer_norm_modulate",
        device,
        [](const auto& in) { return kernels::layer_norm_modulate(in[0], in[1], in[2], kEps); },
        norm_reference,
        norm);
    compare(
        "gated_residual",
        device,
        [](const auto& in) { return kernels::gated_residual(in[0], in[1], in[2]); },
        residual_reference,
        residual);
    // With the residual sum in fp32, as a block in bf16 has it.
    compare(
        "layer_norm_modulate of fp32",
        device,
        [](const auto& in) {
          return kernels::layer_norm_modulate(in[0].to(at::kFloat),
                                              in[1].to(at::kFloat),
                                              in[2].to(at::kFloat),
                                              kEps,
                                              in[0].scalar_type());
        },
        norm_reference,
        norm);
    compare(
        "gated_residual to fp32",
        device,
        [](const auto& in) {
          return kernels::gated_residual(in[0].to(at::kFloat), in[1], in[2].to(at::kFloat));
        },
        residual_reference,
        residual);
  }
}

void check_gelu(at::Device device) {
  for (const int64_t n : {333, 264}) {
    compare(
        "gelu_tanh",
        device,
        [](const auto& in) { return kernels::gelu_tanh(in[0]); },
        [](const auto& in) { return kernels::gelu_tanh_reference(in[0]); },
        {2.0 * draw(7, {5, n})});
  }
}

void check_rope(at::Device device) {
  const kernels::RopePairSet pairs{{0, 5, 9, 13}, {6, 5, 5}};
  const auto table = [&](at::Device on, at::ScalarType dtype) {
    return kernels::rope_table({0, 1, 5}, 2, 3, pairs, at::TensorOptions().device(on).dtype(dtype));
  };
  const RopeTable exact = table(at::kCPU, at::kDouble);
  const RopeTable given = table(device, at::kFloat);
  compare(
      "apply_rope",
      device,
      [&](const auto& in) { return kernels::apply_rope(in[0], given, 3); },
      [&](const auto& in) { return kernels::apply_rope_reference(in[0], exact, 3); },
      {draw(8, {2, 18, 3, 12})});
}

/// With a window in the dtype of the sequence, and with one in eight bits.
void check_rope_latents(at::Device device) {
  const kernels::RopePairSet pairs{{0, 5, 9, 13}, {6, 5, 5}};
  const auto table = [&](std::vector<int64_t> times, at::Device on, at::ScalarType dtype) {
    return kernels::rope_table(times, 2, 3, pairs, at::TensorOptions().device(on).dtype(dtype));
  };
  const at::Tensor steps = (draw(70, {2, 12, 40}) * 50).round().to(at::kChar);
  const at::Tensor scale = draw(71, {2, 12, 1}).abs().to(at::kBFloat16);
  for (const bool eight_bits : {false, true}) {
    // in: query, own content and key, the window's key, and its content where it has a gradient.
    const auto apply = [&](const std::vector<at::Tensor>& in, auto op) {
      const at::Device on = in[0].device();
      const at::ScalarType dtype = in[0].scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
      const kernels::LatentPart window =
          eight_bits ? kernels::LatentPart{steps.to(on), in[3].detach(), scale.to(on)}
                     : kernels::LatentPart{in[4], in[3]};
      const kernels::RotatedLatents out = op(in[0],
                                             table({0, 1, 5}, on, dtype),
                                             3,
                                             window,
                                             kernels::LatentPart{in[1], in[2]},
                                             table({7, 2, 0, 1, 5}, on, dtype));
      // A term for the window's key, which in eight bits has no gradient of its own.
      return at::cat({out.query_BLNK.flatten(), out.rows_BMQ.flatten(), in[3].flatten()});
    };
    std::vector<at::Tensor> inputs{draw(72, {2, 18, 3, 12}),
                                   draw(73, {2, 18, 40}),
                                   draw(74, {2, 18, 8}),
                                   draw(75, {2, 12, 8})};
    if (!eight_bits) inputs.push_back(draw(76, {2, 12, 40}));
    compare(
        "rope_latents",
        device,
        [&](const auto& in) { return apply(in, kernels::rope_latents); },
        [&](const auto& in) { return apply(in, kernels::rope_latents_reference); },
        inputs);
  }
}

/// Every plan, with value heads as wide as the key heads and not, odd widths included.
void check_attention(at::Device device) {
  for (const TestPlan& plan : attention_plans(20)) {
    for (const auto& [K, V] : {std::pair<int64_t, int64_t>{32, 32}, {24, 16}, {33, 20}}) {
      const double scale = 1 / std::sqrt(static_cast<double>(K));
      const std::vector<at::Tensor> inputs{draw(9, {2, plan.queries, 3, K}),
                                           draw(10, {2, plan.keys, 3, K}),
                                           draw(11, {2, plan.values, 3, V})};
      for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
        std::vector<at::Tensor> rounded, exact;
        for (const at::Tensor& input : inputs) {
          rounded.push_back(input.to(device, dtype).requires_grad_());
          exact.push_back(input.to(dtype).to(at::kDouble).requires_grad_());
        }
        const AttentionOutput actual =
            kernels::segmented_attention(rounded[0], rounded[1], rounded[2], plan.segments, scale);
        const AttentionOutput expected = kernels::segmented_attention_reference(
            exact[0], exact[1], exact[2], plan.segments, scale);
        const std::string what = plan.name + ", K " + std::to_string(K) + ", V " +
                                 std::to_string(V) + ", " + c10::toString(dtype);
        // Scores of a few units are sums of K products; bf16 probabilities and parts are rounded.
        const double tolerance = dtype == at::kFloat ? 1e-5 : 3e-2;
        require_near(what + ": output", actual.out_BLNV, expected.out_BLNV, tolerance);
        require_near(what + ": lse", actual.lse_BNL, expected.lse_BNL, tolerance);
        // The reference divides by the weight of a row that sees no key; it has no gradient there.
        if (at::isneginf(expected.lse_BNL).any().item<bool>()) continue;
        const at::Tensor cotangent = draw(12, expected.out_BLNV.sizes());
        actual.out_BLNV.backward(cotangent.to(actual.out_BLNV.options()));
        expected.out_BLNV.backward(cotangent.to(dtype).to(at::kDouble));
        for (size_t i = 0; i < 3; ++i) {
          require_near(what + ": gradient " + std::to_string(i),
                       rounded[i].grad(),
                       exact[i].grad(),
                       2 * tolerance);
        }
      }
    }
  }
}

/// Attention to further keys joined with what is there, in fp32 and with parts in bf16; and into
/// rows that nothing was merged into.
void check_merge_part(at::Device device) {
  for (const int64_t V : {65, 128}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const auto run = [&](at::Device on, bool exact, auto&& merge) {
        const auto given = [&](uint64_t stream, at::IntArrayRef sizes, at::ScalarType as) {
          return draw(stream, sizes).to(as).to(on, exact ? at::kDouble : as);
        };
        at::Tensor out = given(80, {2, 9, 3, V}, at::kFloat),
                   lse = given(81, {2, 3, 9}, at::kFloat);
        lse.narrow(2, 4, 2).fill_(-std::numeric_limits<double>::infinity());
        merge(out.narrow(1, 1, 8),
              lse.narrow(2, 1, 8),
              {given(82, {2, 3, 8, V}, dtype).transpose(1, 2), given(83, {2, 3, 8}, at::kFloat)});
        return std::pair{out, lse};
      };
      const auto [out, lse] = run(device, false, kernels::merge_part_);
      const auto [exact_out, exact_lse] = run(at::kCPU, true, kernels::merge_part_reference_);
      require_near("merge_part", out, exact_out, kTolerance32);
      require_near("merge_part, lse", lse, exact_lse, kTolerance32);
    }
  }
}

void check_adamw(at::Device device) {
  for (const double beta1 : {0.0, 0.9}) {
    const auto trial = kernels::try_adamw(kernels::adamw_step_, device, at::kFloat, beta1);
    const auto expected =
        kernels::try_adamw(kernels::adamw_step_reference_, at::kCPU, at::kDouble, beta1);
    const std::string name = "adamw, beta1 " + std::to_string(beta1);
    require_near(name, trial.written, expected.written, kTolerance32);
    if (!trial.is_rounded) throw std::runtime_error(name + ": copies in bf16 are not the nearest");
  }
}

/// x in bf16 beside weights and modulation in fp32, rows that are no multiple of a warp or a chunk,
/// and inputs with gaps between rows: what the operations get in training with bf16.
void check_mixed(at::Device device) {
  const auto half = [&](const at::Tensor& t) { return t.to(device, at::kBFloat16); };
  const at::Tensor wide = draw(40, {2, 3, 130, 70});
  const at::Tensor x = half(wide.narrow(-1, 2, 65)).requires_grad_();
  const at::Tensor y = half(draw(41, {2, 3, 130, 65})).requires_grad_();
  const at::Tensor rows = draw(42, {2, 3, 2, 65}, at::kFloat).to(device).requires_grad_();
  const at::Tensor weight = draw(43, {65}, at::kFloat).to(device).requires_grad_();
  const at::Tensor cotangent = half(draw(44, {2, 3, 130, 65}));
  const std::vector<at::Tensor> inputs{x, y, rows, weight};
  const auto exact_of = [](const at::Tensor& t) {
    return t.detach().to(at::kCPU, at::kDouble).requires_grad_();
  };
  const std::vector<at::Tensor> exact{exact_of(x), exact_of(y), exact_of(rows), exact_of(weight)};
  const at::Tensor out = kernels::gated_residual(
      kernels::layer_norm_modulate(x, rows.select(2, 0), rows.select(2, 1), kEps),
      kernels::rms_norm(y, weight, kEps),
      rows.select(2, 1));
  const at::Tensor expected = kernels::gated_residual_reference(
      kernels::layer_norm_modulate_reference(
          exact[0], exact[2].select(2, 0), exact[2].select(2, 1), kEps),
      kernels::rms_norm_reference(exact[1], exact[3], kEps),
      exact[2].select(2, 1));
  require_near("mixed output", out, expected, 2 * kTolerance16);
  out.backward(cotangent);
  expected.backward(exact_of(cotangent).detach());
  for (size_t i = 0; i < inputs.size(); ++i) {
    require_near(
        "mixed, gradient " + std::to_string(i), inputs[i].grad(), exact[i].grad(), kGradient16);
  }
}

/// Rows with gaps and an odd offset, transposed inputs, and a cotangent that is one number
/// repeated.
void check_views(at::Device device) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const auto given = [&](const at::Tensor& t) { return t.to(device, dtype); };
    const std::vector<at::Tensor> inputs{
        given(draw(50, {2, 3, 70, 71})).narrow(-1, 3, 65).requires_grad_(),
        given(draw(51, {65, 70, 3, 2})).permute({3, 2, 1, 0}).requires_grad_(),
        given(draw(52, {2, 3, 2, 65})).select(2, 1).requires_grad_(),
        given(draw(53, {65, 2})).select(1, 1).requires_grad_()};
    std::vector<at::Tensor> exact;
    for (const at::Tensor& input : inputs) {
      exact.push_back(input.detach().to(at::kCPU, at::kDouble).requires_grad_());
    }
    const at::Tensor out = kernels::gelu_tanh(
        kernels::gated_residual(kernels::layer_norm_modulate(inputs[0], inputs[2], inputs[2], kEps),
                                kernels::rms_norm(inputs[1], inputs[3], kEps),
                                inputs[2]));
    const at::Tensor expected = kernels::gelu_tanh_reference(kernels::gated_residual_reference(
        kernels::layer_norm_modulate_reference(exact[0], exact[2], exact[2], kEps),
        kernels::rms_norm_reference(exact[1], exact[3], kEps),
        exact[2]));
    const bool fp32 = dtype == at::kFloat;
    require_near("views", out, expected, 2 * (fp32 ? kTolerance32 : kTolerance16));
    const at::Tensor one = draw(54, {1, 1, 1, 65}).to(dtype);
    out.backward(one.to(device).expand(out.sizes()));
    expected.backward(one.to(at::kDouble).expand(out.sizes()));
    for (size_t i = 0; i < inputs.size(); ++i) {
      require_near("views, gradient " + std::to_string(i),
                   inputs[i].grad(),
                   exact[i].grad(),
                   2 * (fp32 ? kGradient32 : kGradient16));
    }
  }
}

/// No rows, no frames, no tokens: outputs without elements, gradients of what rows share are zeros.
void check_empty(at::Device device) {
  const kernels::RopeTable table = kernels::rope_table(
      {0}, 2, 3, {{0, 5, 9, 13}, {6, 5, 5}}, at::TensorOptions().device(device).dtype(at::kFloat));
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const auto zeros = [&](at::IntArrayRef sizes) {
      return at::zeros(sizes, at::TensorOptions().device(device).dtype(dtype)).requires_grad_();
    };
    for (const auto& [frames, S] : {std::pair<int64_t, int64_t>{0, 5}, {3, 0}}) {
      const at::Tensor x = zeros({1, frames, S, 33}), row = zeros({1, frames, 33});
      const at::Tensor weight = zeros({33});
      const at::Tensor out = kernels::gelu_tanh(
          kernels::gated_residual(kernels::layer_norm_modulate(x, row, row, kEps),
                                  kernels::rms_norm(x, weight, kEps),
                                  row));
      const kernels::ResidualNorm both =
          kernels::residual_norm({x, x, row, row, row, kernels::ScaleIs::kChange, kEps, dtype});
      (out.sum() + both.sum_BFSD.sum() + both.norm_BFSD.sum()).backward();
      for (const at::Tensor& leaf : {x, row, weight}) {
        require_near("empty", leaf.grad(), at::zeros(leaf.sizes(), at::kDouble), 0);
      }
    }
    const at::Tensor heads = zeros({0, 6, 3, 12});
    const at::Tensor latents = zeros({0, 6, 5}), keys = zeros({0, 6, 8});
    const kernels::RotatedLatents rotated =
        kernels::rope_latents(heads, table, 3, {}, {latents, keys}, table);
    (kernels::apply_rope(heads, table, 3).sum() + rotated.rows_BMQ.sum()).backward();
    require_near("empty", heads.grad(), at::zeros({0, 6, 3, 12}, at::kDouble), 0);
  }
}

}  // namespace

std::vector<Check> kernel_checks() {
  return {{"rms_norm", check_rms_norm},
          {"modulation", check_modulation},
          {"residual norm", check_residual_norm},
          {"gelu", check_gelu},
          {"rope", check_rope},
          {"rope with latents", check_rope_latents},
          {"attention", check_attention},
          {"parts of attention", check_merge_part},
          {"adamw", check_adamw},
          {"bf16 beside fp32", check_mixed},
          {"views", check_views},
          {"empty tensors", check_empty}};
}

}  // namespace vmla::tests::gpu
