#pragma once

#include "model/conversion/low_rank.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace vmla::model {

/// What a method makes small when it writes a matrix M [m, n] as up [m, r] times down [r, n]:
/// E ||diag(row_weight) (M - up down) x||², x of second moment `moment`.
struct LowRankObjective {
  at::Tensor row_weight = {};  // [m, 1], fp64; undefined: ones
  at::Tensor moment = {};      // [n, n]; undefined: the identity
};

struct Refinement {
  LowRank factors;
  /// Root of the objective relative to that of zeros (0: exact, 1: as bad as zeros): of the start,
  /// then after each step that was made.
  std::vector<double> errors;
};

/// At most `steps` steps of alternating least squares (docs/algorithms.md 5.10): of each, the best
/// `up` for the down-projection as it is, then the best `down` for that. The error never rises; a
/// step that lowers it by less than 1e-12 of itself is not made and ends it, so that a start at the
/// optimum comes back bit for bit. Factors that were changed are brought to the form in which SVDs
/// give them: down = S^1/2 V^T in whitened coordinates. Their energy_kept is the share of the
/// objective that they explain; optimal_error stays the start's. fp64.
Refinement refine(const at::Tensor& matrix,
                  const LowRank& start,
                  const LowRankObjective& objective,
                  int64_t steps);

}  // namespace vmla::model
