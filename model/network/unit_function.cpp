#include "model/network/unit_function.h"

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace vmla::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Weights of a unit, acquired for the life of the object. Meanwhile the source may gather those of
/// `next`.
class AcquiredWeights {
 public:
  AcquiredWeights(WeightSource& source, int64_t unit, std::optional<int64_t> next)
      : source_(source), unit_(unit), tensors_(source.acquire(unit)) {
    if (next) source.prefetch(*next);
  }
  ~AcquiredWeights() { source_.release(unit_); }
  AcquiredWeights(const AcquiredWeights&) = delete;
  AcquiredWeights& operator=(const AcquiredWeights&) = delete;
  const std::vector<at::Tensor>& tensors() const { return tensors_; }

 private:
  WeightSource& source_;
  int64_t unit_;
  std::vector<at::Tensor> tensors_;
};

enum class Run { kForward, kRecompute };

/// The body's own autograd graph: leaves that are detached from the outer graph, and the body's
/// outputs.
struct InnerGraph {
  std::vector<at::Tensor> weights;
  std::vector<at::Tensor> inputs;
  std::vector<at::Tensor> outputs;
};

/// What backward needs; the autograd node keeps it alive.
struct UnitState : torch::CustomClassHolder {
  explicit UnitState(const UnitCall& c, UnitBody b) : call(c), body(std::move(b)) {}
  UnitCall call;
  UnitBody body;
  std::vector<at::Tensor> inputs;  // detached; kept for a recompute
  std::vector<bool> input_requires_grad;
  std::shared_ptr<InnerGraph> graph;            // where nothing is recomputed
  kernels::KeptAttention kept;                  // with Recompute::kSelective
  std::shared_ptr<HostActivations::Away> away;  // inputs[0] and what is kept of attention

  bool done = false;  // its backward has begun

  void send_away() {
    std::vector<at::Tensor> group = kept.hand_over();
    group.push_back(std::exchange(inputs[0], {}));
    away = call.activations->put(std::move(group));
  }
  void bring_back() {
    if (!away) return;
    std::vector<at::Tensor> group = call.activations->take(away);
    away.reset();
    inputs[0] = group.back();
    group.pop_back();
    kept.give_back(group);
  }
};

std::vector<at::Tensor> as_leaves(const std::vector<at::Tensor>& tensors,
                                  const std::function<bool(size_t)>& requires_grad) {
  std::vector<at::Tensor> leaves;
  leaves.reserve(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].defined()) {
      leaves.emplace_back();
      continue;
    }
    leaves.push_back(tensors[i].detach());
    if (requires_grad(i)) leaves.back().requires_grad_(true);
  }
  return leaves;
}

/// Runs the body on leaves of its own. With `record`, its outputs can be differentiated.
std::shared_ptr<InnerGraph> run_body(UnitState& state, Run run, bool record) {
  auto graph = std::make_shared<InnerGraph>();
  const UnitCall& call = state.call;
  const AcquiredWeights acquired(
      call.source, call.unit, run == Run::kForward ? call.next : call.previous);
  graph->weights =
      as_leaves(acquired.tensors(), [&](size_t) { return call.grad == GradMode::kFull; });
  graph->inputs = as_leaves(state.inputs, [&](size_t i) { return state.input_requires_grad[i]; });
  const at::AutoGradMode grad_mode(record);
  if (run == Run::kRecompute) state.kept.run_again();
  const bool keeps = call.recompute == Recompute::kSelective;
  graph->outputs = state.body(graph->weights, graph->inputs, keeps ? &state.kept : nullptr);
  return graph;
}

struct UnitFunction : torch::autograd::Function<UnitFunction> {
  /// `tensors`: the anchor, then the defined inputs. The anchor is an empty tensor that requires
  /// grad whenever the weights do. Without it autograd would build no node where no input requires
  /// grad, and the weights would get no gradient.
  static variable_list forward(AutogradContext* context,
                               at::TensorList /*tensors*/,
                               const c10::intrusive_ptr<UnitState>& state) {
    context->saved_data["state"] = at::IValue::make_capsule(state);
    // A unit that is recomputed records nothing now: its activations are freed as it runs.
    const bool records = state->call.recompute == Recompute::kNone;
    auto graph = run_body(*state, Run::kForward, records);
    if (state->call.grad == GradMode::kFull) state->call.source.expect_gradients(state->call.unit);
    variable_list outputs;
    for (const auto& output : graph->outputs) {
      outputs.push_back(output.defined() ? output.detach() : at::Tensor());
    }
    if (records) {
      state->graph = std::move(graph);
    } else if (state->call.activations != nullptr) {
      graph.reset();
      state->send_away();
    }
    return outputs;
  }

  static variable_list backward(AutogradContext* context, variable_list output_gradients) {
    const auto capsule = context->saved_data["state"].toCapsule();
    UnitState& state = static_cast<UnitState&>(*capsule);
    TORCH_CHECK(!std::exchange(state.done, true), "a second backward through the same pass");
    state.bring_back();
    auto graph =
        state.graph ? std::move(state.graph) : run_body(state, Run::kRecompute, /*record=*/true);
    state.graph.reset();
    // Autograd keeps this node until the whole backward is done.
    state.inputs.clear();

    variable_list outputs, gradients, leaves;
    for (size_t i = 0; i < graph->outputs.size(); ++i) {
      if (!output_gradients[i].defined() || !graph->outputs[i].defined() ||
          !graph->outputs[i].requires_grad()) {
        continue;
      }
      outputs.push_back(graph->outputs[i]);
      gradients.push_back(output_gradients[i]);
    }
    const bool full = state.call.grad == GradMode::kFull;
    if (full) leaves = graph->weights;
    for (const auto& input : graph->inputs) {
      if (input.defined() && input.requires_grad()) leaves.push_back(input);
    }
    variable_list found(leaves.size());
    if (!outputs.empty() && !leaves.empty()) {
      found = torch::autograd::grad(outputs,
                                    leaves,
                                    gradients,
                                    /*retain_graph=*/false,
                                    /*create_graph=*/false,
                                    /*allow_unused=*/true);
    }
    size_t next = 0;
    if (full) {
      state.call.source.add_gradients(
          state.call.unit,
          {found.begin(), found.begin() + static_cast<long>(graph->weights.size())});
      next = graph->weights.size();
    }
    variable_list result = {at::Tensor()};  // the anchor
    for (const auto& input : graph->inputs) {
      if (!input.defined()) continue;
      result.push_back(input.requires_grad() ? found[next++] : at::Tensor());
    }
    result.emplace_back();  // the state argument
    return result;
  }
};

}  // namespace

std::vector<at::Tensor> run_unit(const UnitCall& call,
                                 const UnitBody& body,
                                 const std::vector<at::Tensor>& inputs) {
  if (call.grad == GradMode::kNone) {
    const at::NoGradGuard no_grad;
    // A small model's pass is made of operations that take microseconds, of which autograd's part,
    // which looks at every operation and every view, is an eighth.
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const AcquiredWeights acquired(call.source, call.unit, call.next);
    return body(acquired.tensors(), inputs, nullptr);
  }
  auto state = c10::make_intrusive<UnitState>(call, body);
  variable_list arguments = {at::empty({0}).requires_grad_(call.grad == GradMode::kFull)};
  for (const auto& input : inputs) {
    state->input_requires_grad.push_back(input.defined() && input.requires_grad());
    state->inputs.push_back(input.defined() ? input.detach() : input);
    if (input.defined()) arguments.push_back(input);
  }
  return UnitFunction::apply(at::TensorList(arguments), state);
}

}  // namespace vmla::model
