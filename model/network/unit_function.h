#pragma once

#include "model/weights/weight_source.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <vector>

namespace vmla::model {

/// What a unit computes: a pure function of its weights (visitor order) and inputs. Undefined
/// inputs are allowed.
using UnitBody = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& weights,
                                                       const std::vector<at::Tensor>& inputs)>;

struct UnitCall {
  WeightSource& source;
  int64_t unit;
  GradMode grad = GradMode::kNone;
  bool recompute = false;  // drop activations after forward, run the body again in backward
  // Whose weights are wanted next: after this forward, and after the body ran again in backward.
  std::optional<int64_t> next = std::nullopt, previous = std::nullopt;
};

/// Runs `body` as one autograd Function: weights are acquired for the call and released after it;
/// backward acquires them again, recomputes (or uses the graph that forward kept), hands the
/// weights' gradients to the source and returns those of the inputs. The body must not read
/// anything mutable: it may run a second time, later.
std::vector<at::Tensor> run_unit(const UnitCall& call,
                                 const UnitBody& body,
                                 const std::vector<at::Tensor>& inputs);

}  // namespace vmla::model
