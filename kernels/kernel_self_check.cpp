#include "kernels/kernel_self_check.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "kernels/adamw/adamw.h"
#include "kernels/attention/merge_part.h"
#include "kernels/fused_dispatch.h"
#include "kernels/gelu/gelu.h"
#include "kernels/kernel_comparison.h"
#include "kernels/modulate/modulate.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rope_3d/rope_3d.h"
#include "kernels/rope_3d/rope_latents.h"

namespace vmla::kernels {
namespace {

constexpr double kEps = 1e-6;

std::string difference(const std::string& what,
                       const at::Tensor& actual,
                       const at::Tensor& expected,
                       double tolerance) {
  const auto [error, size] = deviation(actual, expected);
  if (error <= tolerance * size) return {};  // which a NaN is not
  return c10::str(what, " is off by ", error, ", at most ", tolerance * size, " is rounding");
}

/// inputs[0] is of the dtype under test; the others are rows in fp32, or of that dtype where the
/// operation takes no rows.
struct Case {
  FusedOp op;
  KernelOperation fused, reference;
  std::vector<at::Tensor> inputs;
  std::vector<bool> is_row;
};

std::string compare(const Case& c, at::Device device, at::ScalarType dtype) {
  std::vector<at::Tensor> given, exact;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const at::Tensor rounded = c.inputs[i].to(c.is_row[i] ? at::kFloat : dtype);
    given.push_back(rounded.to(device));
    exact.push_back(rounded.to(at::kDouble));
  }
  const std::vector<at::Tensor> actual = output_and_gradients(c.fused, given);
  const std::vector<at::Tensor> expected = output_and_gradients(c.reference, exact);
  const KernelTolerances allowed = kernel_tolerances(dtype);
  for (size_t i = 0; i < actual.size(); ++i) {
    const std::string what = i == 0 ? "its output" : c10::str("its gradient ", i);
    std::string problem = difference(c10::str(what, " in ", dtype == at::kFloat ? "fp32" : "bf16"),
                                     actual[i],
                                     expected[i],
                                     i == 0 ? allowed.output : allowed.gradient);
    if (!problem.empty()) return problem;
  }
  return {};
}

/// The rotation by a fixed table, which is no input to differentiate.
RopeTable table_for(const at::Tensor& x) {
  const at::ScalarType dtype = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return rope_table({0, 1, 5},
                    2,
                    3,
                    {{0, 5, 9, 13}, {6, 5, 5}},
                    at::TensorOptions().device(x.device()).dtype(dtype));
}

at::Tensor joined(const ResidualNorm& both) {
  return at::cat({both.sum_BFSD, both.norm_BFSD.to(both.sum_BFSD.scalar_type())}, -1);
}

/// in: query, content and key of the sequence.
template <class Op>
at::Tensor rotated_rows(const std::vector<at::Tensor>& in, const LatentPart& window, const Op& op) {
  const RopeTable table = table_for(in[0]);
  const RopeTable both{at::cat({table.cos, table.cos}), at::cat({table.sin, table.sin})};
  const RotatedLatents out = op(in[0], table, 3, window, LatentPart{in[1], in[2]}, both);
  return at::cat({out.query_BLNK.flatten(), out.rows_BMQ.flatten()});
}

/// With content and key of a window behind them.
template <class Op>
at::Tensor rotated_latents(const std::vector<at::Tensor>& in, const Op& op) {
  return rotated_rows(in, {in[3], in[4]}, op);
}

/// With a window in eight bits.
template <class Op>
at::Tensor rotated_eight_bits(const std::vector<at::Tensor>& in, const Op& op) {
  const at::Device device = in[0].device();
  const at::Tensor steps = (comparison_draw(18, in[1].sizes()) * 50).round().to(at::kChar);
  const at::Tensor scale = comparison_draw(19, {2, 18, 1}).abs().to(at::kBFloat16);
  return rotated_rows(in, {steps.to(device), in[2].detach(), scale.to(device)}, op);
}

/// Two chunks of tokens of D channels.
std::vector<Case> cases(int64_t D) {
  using In = const std::vector<at::Tensor>&;
  const at::Tensor x = comparison_draw(1, {1, 2, 131, D}), y = comparison_draw(2, {1, 2, 131, D});
  const at::Tensor row = comparison_draw(3, {1, 2, D}), other_row = comparison_draw(4, {1, 2, D});
  return {
      {FusedOp::kRmsNorm,
       [](In in) { return rms_norm(in[0], in[1], kEps); },
       [](In in) { return rms_norm_reference(in[0], in[1], kEps); },
       {x, comparison_draw(5, {D})},
       {false, true}},
      {FusedOp::kRmsNorm,
       [](In in) {
         const auto [first, second] = rms_norm_pair(in[0], in[1], in[2], in[3], kEps);
         return at::cat({first.flatten(), second.flatten()});
       },
       [](In in) {
         return at::cat({rms_norm_reference(in[0], in[1], kEps).flatten(),
                         rms_norm_reference(in[2], in[3], kEps).flatten()});
       },
       {comparison_draw(11, {9, D}),
        comparison_draw(5, {D}),
        comparison_draw(12, {5, 40}),
        comparison_draw(13, {40})},
       {false, true, false, true}},
      {FusedOp::kLayerNormModulate,
       [](In in) { return layer_norm_modulate(in[0], in[1], in[2], kEps); },
       [](In in) { return layer_norm_modulate_reference(in[0], in[1], in[2], kEps); },
       {x, row, other_row},
       {false, true, true}},
      // As a block in bf16 has them: a sum in fp32, of which bf16 is made and to which it is added.
      {FusedOp::kLayerNormModulate,
       [](In in) {
         return layer_norm_modulate(in[0].to(at::kFloat),
                                    in[1].to(at::kFloat),
                                    in[2].to(at::kFloat),
                                    kEps,
                                    in[0].scalar_type());
       },
       [](In in) { return layer_norm_modulate_reference(in[0], in[1], in[2], kEps); },
       {x, row, other_row},
       {false, true, true}},
      {FusedOp::kLayerNormModulate,
       [](In in) {
         return joined(residual_norm({in[0].to(at::kFloat),
                                      in[1],
                                      in[2],
                                      in[3],
                                      in[2],
                                      ScaleIs::kGain,
                                      kEps,
                                      in[1].scalar_type()}));
       },
       [](In in) {
         return joined(residual_norm_reference(
             {in[0], in[1], in[2], in[3], in[2], ScaleIs::kGain, kEps, at::kDouble}));
       },
       {x, y, row, other_row},
       {false, false, true, true}},
      {FusedOp::kLayerNormModulate,
       [](In in) {
         return joined(residual_norm({in[0].to(at::kFloat),
                                      in[1],
                                      /*gate_BFD=*/{},
                                      in[2],
                                      in[3],
                                      ScaleIs::kChange,
                                      kEps,
                                      in[1].scalar_type()}));
       },
       [](In in) {
         return joined(residual_norm_reference(
             {in[0], in[1], {}, in[2], in[3], ScaleIs::kChange, kEps, at::kDouble}));
       },
       {x, y, row, other_row},
       {false, false, true, true}},
      {FusedOp::kGatedResidual,
       [](In in) { return gated_residual(in[0], in[1], in[2]); },
       [](In in) { return gated_residual_reference(in[0], in[1], in[2]); },
       {x, y, row},
       {false, false, true}},
      {FusedOp::kGatedResidual,
       [](In in) { return gated_residual(in[0].to(at::kFloat), in[1], in[2].to(at::kFloat)); },
       [](In in) { return gated_residual_reference(in[0], in[1], in[2]); },
       {x, y, row},
       {false, false, true}},
      {FusedOp::kGeluTanh,
       [](In in) { return gelu_tanh(in[0]); },
       [](In in) { return gelu_tanh_reference(in[0]); },
       {2.0 * x},
       {false}},
      {FusedOp::kRope,
       [](In in) { return apply_rope(in[0], table_for(in[0]), 3); },
       [](In in) { return apply_rope_reference(in[0], table_for(in[0]), 3); },
       {comparison_draw(6, {2, 18, 3, 12})},
       {false}},
      {FusedOp::kRope,
       [](In in) { return rotated_eight_bits(in, rope_latents); },
       [](In in) { return rotated_eight_bits(in, rope_latents_reference); },
       {comparison_draw(6, {2, 18, 3, 12}),
        comparison_draw(7, {2, 18, D}),
        comparison_draw(8, {2, 18, 8})},
       {false, false, false}},
      {FusedOp::kRope,
       [](In in) { return rotated_latents(in, rope_latents); },
       [](In in) { return rotated_latents(in, rope_latents_reference); },
       {comparison_draw(6, {2, 18, 3, 12}),
        comparison_draw(7, {2, 18, D}),
        comparison_draw(8, {2, 18, 8}),
        comparison_draw(9, {2, 18, D}),
        comparison_draw(10, {2, 18, 8})},
       {false, false, false, false, false}},
  };
}

std::string check_adamw(at::Device device) {
  for (const double beta1 : {0.0, 0.9}) {
    const AdamwTrial trial = try_adamw(adamw_step_, device, at::kFloat, beta1);
    const AdamwTrial expected = try_adamw(adamw_step_reference_, at::kCPU, at::kDouble, beta1);
    std::string problem = difference(c10::str("its step with beta1 ", beta1),
                                     trial.written,
                                     expected.written,
                                     kernel_tolerances(at::kFloat).output);
    if (problem.empty() && !trial.is_rounded) problem = "its copies in bf16 are not the nearest";
    if (!problem.empty()) return problem;
  }
  return {};
}

/// Two parts of keys, of which the second sees the queries from the third on.
std::string check_merge_part(at::Device device) {
  for (const int64_t channels : {33, 264}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const auto run = [&](at::Device on, bool exact, auto&& merge) {
        const at::ScalarType sums = exact ? at::kDouble : at::kFloat;
        const auto given = [&](uint64_t stream, at::IntArrayRef sizes, at::ScalarType as) {
          return comparison_draw(stream, sizes).to(as).to(on, exact ? at::kDouble : as);
        };
        at::Tensor out = given(14, {2, 9, 3, channels}, at::kFloat).to(sums);
        at::Tensor lse = given(15, {2, 3, 9}, at::kFloat).to(sums);
        merge(out.narrow(1, 2, 7),
              lse.narrow(2, 2, 7),
              {given(16, {2, 7, 3, channels}, dtype), given(17, {2, 3, 7}, at::kFloat)});
        return at::cat({out.flatten(), lse.flatten()});
      };
      std::string problem =
          difference(c10::str("its sum in ", dtype == at::kFloat ? "fp32" : "bf16"),
                     run(device, false, merge_part_),
                     run(at::kCPU, true, merge_part_reference_),
                     kernel_tolerances(at::kFloat).output);
      if (!problem.empty()) return problem;
    }
  }
  return {};
}

std::string problem_of(FusedOp op, at::Device device) {
  try {
    if (op == FusedOp::kAdamw) return check_adamw(device);
    if (op == FusedOp::kMergePart) return check_merge_part(device);
    // A second block of channels of one lane, no multiple of a warp; and a row of packs
    // (kernels/cuda/rows.cuh), of which some lanes have one more.
    for (const int64_t channels : {33, 264}) {
      for (const Case& c : cases(channels)) {
        if (c.op != op) continue;
        for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
          std::string problem = compare(c, device, dtype);
          if (!problem.empty()) return problem;
        }
      }
    }
    return {};
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    return text.substr(0, text.find('\n'));
  }
}

}  // namespace

std::vector<KernelVerdict> check_kernels(at::Device device) {
  const at::AutoGradMode with_gradients(true);
  std::vector<KernelVerdict> verdicts;
  if (kernels_for(at::empty({0}, at::TensorOptions().device(device))) == nullptr) return verdicts;
  for (const FusedOp op : kFusedOps) {
    if (kernel_use(op) == KernelUse::kReference) continue;
    set_switched_off(op, false);
    verdicts.push_back({op, problem_of(op, device)});
    set_switched_off(op, !verdicts.back().problem.empty());
  }
  return verdicts;
}

std::string warning_of(const KernelVerdict& verdict) {
  return c10::str("kernels: ",
                  name_of(verdict.op),
                  " disagrees with its reference (",
                  verdict.problem,
                  "); ",
                  is_switched_off(verdict.op) && kernel_use(verdict.op) == KernelUse::kAuto
                      ? "it is switched off and the reference runs instead"
                      : "it stays on, as asked");
}

}  // namespace vmla::kernels
