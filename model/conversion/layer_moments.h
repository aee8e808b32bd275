#pragma once

#include <ATen/core/Tensor.h>

namespace vmla::model {

/// Second moments E[x̃ x̃ᵀ] of a layer's attention inputs x (normalised and modulated), where x̃ =
/// (x, 1): [D + 1, D + 1], fp64. Means and second moments of anything affine in x follow.
struct LayerMoments {
  at::Tensor keys;     // over the tokens as keys, each as often as queries attend to it
  at::Tensor queries;  // over the tokens whose flow is computed
};

}  // namespace vmla::model
