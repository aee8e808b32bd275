#pragma once

#include "kernels/attention/attention.h"
#include "model/config/recompute.h"
#include "model/network/host_activations.h"
#include "model/weights/weight_source.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <vector>

namespace vmla::model {

/// What a unit computes: a pure function of its weights (in visitor order) and its inputs, of which
/// some may be undefined. `kept`: for its attention calls; null where nothing is to be kept.
using UnitBody = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& weights,
                                                       const std::vector<at::Tensor>& inputs,
                                                       kernels::KeptAttention* kept)>;

struct UnitCall {
  WeightSource& source;
  int64_t unit;
  GradMode grad = GradMode::kNone;
  Recompute recompute = Recompute::kNone;
  // Where the first input and the results of attention wait for a recompute; null: where they are.
  HostActivations* activations = nullptr;
  // Units to prefetch: the one after this in forward, and the one before it in backward, where it
  // will be recomputed next.
  std::optional<int64_t> next = std::nullopt, previous = std::nullopt;
};

/// Runs `body` as one autograd Function. Weights are acquired for the call and released after it.
/// Backward recomputes, for which it acquires the weights again, or uses the graph that forward
/// kept; it gives the weights' gradients to the source and returns those of the inputs. The body
/// must read nothing that may change: it can run a second time in backward. With GradMode::kNone
/// the body simply runs.
std::vector<at::Tensor> run_unit(const UnitCall& call,
                                 const UnitBody& body,
                                 const std::vector<at::Tensor>& inputs);

}  // namespace vmla::model
